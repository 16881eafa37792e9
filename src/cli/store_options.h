/* Options of the commands on a store, and what their operands name in it. */
#ifndef KVL_CLI_STORE_OPTIONS_H
#define KVL_CLI_STORE_OPTIONS_H

#include "cli/store_arg.h"

enum {
    KVL_STORE_GROUP = 1750,
    KVL_STORE_FORMAT,
    KVL_STORE_OUT,
    KVL_STORE_MARGIN,
    KVL_STORE_HELP,
    KVL_MOST_OPERANDS = 256
};

#define KVL_STORE_GROUP_ARG                                                                                  \
    {                                                                                                        \
        KVL_STORE_GROUP, 0, "group", "KEY",                                                                  \
            "of this group of cells (the beginning of its key; default: the newest)"                         \
    }
#define KVL_STORE_HELP_ARG                                                                                   \
    { KVL_STORE_HELP, 'h', "help", NULL, "this text" }

typedef struct kvl_store_options {
    kvl_store_arg store;
    const char *group, *out; /* NULL: not given */
    size_t format;           /* index into the command's, of which the first is the default */
    double margin;           /* nats per token */
    const char *operands[KVL_MOST_OPERANDS];
    size_t n_operands;
    bool is_help;
} kvl_store_options;

/* A command on a store: its help, and what it does once the options are read and the store is open. */
typedef struct kvl_store_command {
    const char *usage; /* printed in front of the options */
    const kvl_arg *table;
    size_t n_table;
    const char *const *formats; /* NULL: it has no -o */
    size_t n_formats;
    size_t least, most;  /* operands */
    const char *operand; /* what one is, for messages */
    kvl_store_mode mode;
    kvl_status (*run)(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err);
} kvl_store_command;

/* Reads options, opens the store, runs the command and prints what it appends to `out` (also when it fails).
 */
kvl_status kvl_store_command_run(const kvl_store_command *c, int argc, char **argv,
                                 kvl_err *err) KVL_MUST_USE;

/* The one group whose key begins so (NULL: the newest), as an index. E_USAGE: none, or several. */
kvl_status kvl_store_pick_group(size_t *out, const kvl_store_groups *groups, const char *prefix,
                                kvl_err *err) KVL_MUST_USE;

#endif
