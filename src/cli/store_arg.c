/* From --store, --no-store and the environment to an open store. */
#include "cli/store_arg.h"

#include "base/os.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool kvl_store_arg_take(kvl_store_arg *a, int id, const char *value) {
    switch (id) {
    case KVL_ARG_STORE: a->path = value; return true;
    case KVL_ARG_NO_STORE: a->is_off = true; return true;
    default: return false;
    }
}

/* The path that is named; NULL: none is. */
static const char *named_path(const kvl_store_arg *a) {
    const char *path = a->path != NULL ? a->path : getenv("KVL_STORE");
    return path != NULL && path[0] != '\0' ? path : NULL;
}

static const char *folder(const char *out_dir) { return out_dir != NULL ? out_dir : "out"; }

kvl_status kvl_store_arg_path(kvl_str *out, const kvl_store_arg *a, const char *out_dir, kvl_err *err) {
    const char *path = named_path(a);
    if (a->is_off && a->path != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "expected --store or --no-store, found both");
    }
    if (a->is_off || (path != NULL && strcmp(path, "none") == 0)) {
        return KVL_OK;
    }
    if (path != NULL) {
        kvl_str_puts(out, path);
    } else {
        kvl_str_printf(out, "%s/results.db", folder(out_dir));
    }
    return kvl_str_check(out, "path of the store", err);
}

typedef struct waiting {
    const char *path;
    long told; /* the process that was named last; -1: none */
} waiting;

static bool wait_on(void *ud, long pid) {
    waiting *w = ud;
    if (pid != w->told) {
        w->told = pid;
        if (pid != 0) {
            fprintf(stderr, "waiting for process %ld, which writes to %s\n", pid, w->path);
        } else {
            fprintf(stderr, "waiting for another process, which writes to %s\n", w->path);
        }
    }
    return !kvl_is_stopping();
}

/* Who asks for results before there are any is told where they come from. */
static kvl_status expect_store(const char *path, kvl_err *err) {
    return kvl_file_exists(path)
               ? KVL_OK
               : kvl_fail(err, KVL_E_IO,
                          "%s: expected a store, found no such file; kvlab sweep makes one, "
                          "--store FILE names another",
                          path);
}

kvl_status kvl_store_arg_open(kvl_store **out, const kvl_store_arg *a, const char *out_dir,
                              kvl_store_mode mode, kvl_err *err) {
    kvl_str path = {0};
    *out = NULL;
    kvl_status status = kvl_store_arg_path(&path, a, out_dir, err);
    KVL_GO(status);
    if (path.len != 0) {
        waiting w = {.path = kvl_str_text(&path), .told = -1};
        KVL_GO(mode == KVL_STORE_WRITE && named_path(a) == NULL ? kvl_dir_create(folder(out_dir), err)
                                                                : KVL_OK);
        KVL_GO(mode == KVL_STORE_READ ? expect_store(kvl_str_text(&path), err) : KVL_OK);
        KVL_GO(kvl_store_open(out, kvl_str_text(&path), mode, wait_on, &w, err));
    } else if (mode == KVL_STORE_READ) {
        KVL_GO(kvl_fail(err, KVL_E_USAGE, "--store: expected a file with results, found none"));
    }
done:
    kvl_str_free(&path);
    return status;
}
