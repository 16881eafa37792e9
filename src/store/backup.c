/* A copy of a store that may be in use. */
#include "store/store_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Puts the bytes of a file, or the names in a folder, on the disk. */
static bool flush(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static kvl_status copy_into(kvl_store *s, const char *part, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    KVL_TRY(kvli_prepare(s, &stmt, "VACUUM INTO ?1", err));
    return sqlite3_bind_text(stmt, 1, part, -1, SQLITE_STATIC) == SQLITE_OK
               ? kvli_run_sql(s, stmt, "copying it", err)
               : kvl_fail_nomem(err, s->path);
}

kvl_status kvl_store_backup(kvl_store *s, const char *path, kvl_err *err) {
    kvl_str part = {0}, folder = {0};
    kvl_status status = KVL_OK;
    kvl_str_printf(&part, "%s%s.%ld.part", path[0] == '/' ? "" : "./", path, (long)getpid());
    kvl_str_puts(&folder, path);
    KVL_GO(kvl_str_check(&part, path, err));
    KVL_GO(kvl_str_check(&folder, path, err));
    if (kvl_file_exists(path)) { /* it could be a store in use */
        status = kvl_fail(err, KVL_E_IO, "%s: expected no file of this name, found one", path);
        goto done;
    }
    KVL_GO(copy_into(s, part.data, err));
    if (!flush(part.data) || rename(part.data, path) != 0 || !flush(dirname(folder.data))) {
        status = kvl_fail(err, KVL_E_IO, "%s: writing failed: %s", path, strerror(errno));
    }
done:
    if (status != KVL_OK && part.data != NULL) {
        unlink(part.data);
    }
    kvl_str_free(&part);
    kvl_str_free(&folder);
    return status;
}
