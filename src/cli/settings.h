/* Settings: what a command was told, by its command line, by a sweep file (-C FILE) and by a preset's file,
 * with where each came from. All are values of the command's one table of options and go through its one
 * function, so that a file is refused for the same reasons as a command line. docs/sweep-files.md. */
#ifndef KVL_CLI_SETTINGS_H
#define KVL_CLI_SETTINGS_H

#include "base/yaml.h"
#include "cli/args.h"

enum { KVL_ARG_CONFIG = 1400, KVL_ARG_SHOW_CONFIG };

/* Lines for a command's option table; kvl_settings_take and kvl_settings_apply take care of both. */
#define KVL_CONFIG_ARGS                                                                                      \
    {KVL_ARG_CONFIG, 'C', "config", "FILE",                                                                  \
     "options from a file; the command line wins (docs/sweep-files.md)"},                                    \
    {                                                                                                        \
        KVL_ARG_SHOW_CONFIG, 0, "show-config", NULL,                                                         \
            "print the options in effect as such a file; run nothing"                                        \
    }

/* Where a setting came from; a later one wins. */
typedef enum kvl_origin { KVL_FROM_DEFAULT, KVL_FROM_PRESET, KVL_FROM_FILE, KVL_FROM_LINE } kvl_origin;

typedef struct kvl_setting {
    const kvl_arg *arg; /* of the table */
    char *value;        /* owned; of a flag "true" or "false" */
    kvl_origin origin;
    char *place; /* owned: PATH:LINE; NULL where it is none of a file */
} kvl_setting;

typedef struct kvl_settings {
    const kvl_arg *table;
    size_t n_table;
    /* Options that stand for each other, as -m and -hf, in groups that end with 0 (ids of such options are
     * not 0): a setting puts out those of lower layers of its group. NULL: none. */
    const int (*groups)[4];
    size_t n_groups;
    kvl_setting *items;
    size_t n;
} kvl_settings;

/* Of a table and groups, both arrays. */
#define KVL_SETTINGS(the_table, the_groups)                                                                  \
    {                                                                                                        \
        .table = (the_table), .n_table = sizeof(the_table) / sizeof(the_table)[0], .groups = (the_groups),   \
        .n_groups = sizeof(the_groups) / sizeof(the_groups)[0]                                               \
    }

/* All of it for a command without presets: reads argv[2..] and the file of its -C, and hands what is in
 * effect to fn. With --help only the command line is read. Errors: E_USAGE, those of kvl_yaml_load
 * and fn. */
kvl_status kvl_settings_take(kvl_settings *s, int argc, char **argv, kvl_arg_fn *fn, void *ud,
                             kvl_err *err) KVL_MUST_USE;
/* Whether --show-config was given: the command prints what is in effect, and ends. */
bool kvl_settings_are_shown(const kvl_settings *s);
kvl_status kvl_settings_print(const kvl_settings *s, kvl_err *err) KVL_MUST_USE;

/* Adds those of a command line; operands are refused. */
kvl_status kvl_settings_add_line(kvl_settings *s, int argc, char **argv, int first,
                                 kvl_err *err) KVL_MUST_USE;
/* Adds one key of a file if it is an option: *is_taken. Lists give a setting for each item where the option
 * may be repeated; flags are true or false. Errors: E_USAGE, PATH:LINE of the key. */
kvl_status kvl_settings_add_key(kvl_settings *s, kvl_origin origin, const char *path, const kvl_yaml *node,
                                bool *is_taken, kvl_err *err) KVL_MUST_USE;
/* Adds one; value and place (PATH:LINE, or NULL) are copied. */
kvl_status kvl_settings_add(kvl_settings *s, int id, const char *value, kvl_origin origin, const char *place,
                            kvl_err *err) KVL_MUST_USE;
/* The last one in effect of an option, or NULL. */
const kvl_setting *kvl_settings_find(const kvl_settings *s, int id);
/* PATH:LINE: a document that is no mapping. */
kvl_status kvl_settings_fail_kind(const char *path, const kvl_yaml *doc, kvl_err *err);
/* PATH:LINE: unknown key 'x'; did you mean y. `more` [n_more] are keys that are none of the table. */
kvl_status kvl_settings_fail_key(const kvl_settings *s, const char *path, const kvl_yaml *node,
                                 const char *const *more, size_t n_more, kvl_err *err);
/* Hands all in effect to fn, lower layers first, but -C and --show-config; flags that are false are left out.
 * Errors of what a file says get PATH:LINE in front. */
kvl_status kvl_settings_apply(const kvl_settings *s, kvl_arg_fn *fn, void *ud, kvl_err *err) KVL_MUST_USE;
/* Appends all in effect as a sweep file, in the order of the table, each with where it came from; then, as a
 * comment, the keys that are not set. */
void kvl_settings_show(const kvl_settings *s, kvl_str *out);
void kvl_settings_free(kvl_settings *s);

#endif
