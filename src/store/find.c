/* Keys by their beginnings. */
#include "store/store_int.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

kvl_status kvl_store_find_key(kvl_store *s, const char *prefix, char out[KVL_KEY_TEXT], size_t *n_found,
                              kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    char last[KVL_KEY_TEXT + 1]; /* behind all keys that begin so: digits go to f */
    bool is_row = true;
    *n_found = 0;
    if (strlen(prefix) >= KVL_KEY_TEXT || strspn(prefix, "0123456789abcdef") != strlen(prefix)) {
        return KVL_OK;
    }
    (void)snprintf(last, sizeof last, "%sg", prefix);
    KVL_TRY(kvli_prepare(s, &stmt, "SELECT key FROM cell WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 2",
                         err));
    int rc = sqlite3_bind_text(stmt, 1, prefix, -1, SQLITE_STATIC);
    rc |= sqlite3_bind_text(stmt, 2, last, -1, SQLITE_STATIC);
    kvl_status status = rc == SQLITE_OK ? KVL_OK : kvl_fail_nomem(err, s->path);
    while (status == KVL_OK) {
        status = kvli_step(s, stmt, &is_row, "looking for a key", err);
        if (status != KVL_OK || !is_row) {
            break;
        }
        if ((*n_found)++ == 0) {
            (void)snprintf(out, KVL_KEY_TEXT, "%s", (const char *)sqlite3_column_text(stmt, 0));
        }
    }
    kvli_release(stmt);
    return status;
}
