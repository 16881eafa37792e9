/* The options of every command that keeps results or reads them, and the store they come to. */
#ifndef KVL_CLI_STORE_ARG_H
#define KVL_CLI_STORE_ARG_H

#include "cli/args.h"
#include "store/store.h"

enum { KVL_ARG_STORE = 1700, KVL_ARG_NO_STORE };

/* Lines for a command's option table. */
#define KVL_STORE_FILE_ARGS                                                                                  \
    {                                                                                                        \
        KVL_ARG_STORE, 0, "store", "FILE",                                                                   \
            "where results are kept (default: what KVL_STORE names, else out/results.db; none: nowhere)"     \
    }
#define KVL_STORE_ARGS                                                                                       \
    KVL_STORE_FILE_ARGS, { KVL_ARG_NO_STORE, 0, "no-store", NULL, "keep nothing, and read nothing kept" }

typedef struct kvl_store_arg {
    const char *path; /* borrowed; NULL when not given */
    bool is_off;
} kvl_store_arg;

/* Takes an option of these lists; false when the id is none of them. */
bool kvl_store_arg_take(kvl_store_arg *a, int id, const char *value);
/* Appends the path of the store: the option's, else KVL_STORE's, else results.db in out_dir [NULL: "out"].
 * Nothing where none is wanted: --no-store, or a path "none". */
kvl_status kvl_store_arg_path(kvl_str *out, const kvl_store_arg *a, const char *out_dir,
                              kvl_err *err) KVL_MUST_USE;
/* Opens it; for writing the folder out_dir is made if it is not there. While another process writes to it, a
 * line on stderr says so, and a request to stop ends the waiting with E_INTERRUPTED. *out is the caller's
 * (kvl_store_close); NULL where none is wanted, which is E_USAGE for reading. */
kvl_status kvl_store_arg_open(kvl_store **out, const kvl_store_arg *a, const char *out_dir,
                              kvl_store_mode mode, kvl_err *err) KVL_MUST_USE;

#endif
