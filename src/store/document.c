/* Documents: what a command found, one of a kind and key. */
#include "store/store_int.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

void kvl_document_free(kvl_document *d) {
    char *const texts[] = {d->kind, d->model, d->key, d->group, d->command, d->made, d->lines};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kvl_free(texts[i]);
    }
    *d = (kvl_document){0};
}

/* Of all columns, the lines last. */
static kvl_status sum_of(char out[KVL_SHA256_TEXT], const kvl_document *d, kvl_err *err) {
    const char *const texts[] = {d->kind, d->model, d->key, d->group, d->command, d->made};
    kvl_str bytes = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kvl_str_append(&bytes, texts[i], strlen(texts[i]) + 1); /* the NUL parts them */
    }
    kvl_str_append(&bytes, d->lines, d->n_bytes);
    kvl_status status = kvl_str_check(&bytes, "checksum", err);
    if (status == KVL_OK) {
        status = kvl_sha256(out, bytes.data, bytes.len, err);
    }
    kvl_str_free(&bytes);
    return status;
}

static kvl_status write(kvl_store *s, const kvl_document *d, const char *doing, kvl_err *err) {
    const char *const texts[] = {d->kind, d->key, d->model, d->group, d->command, d->made};
    char sum[KVL_SHA256_TEXT];
    sqlite3_stmt *stmt = NULL;
    KVL_TRY(sum_of(sum, d, err));
    KVL_TRY(kvli_prepare(s, &stmt, "DELETE FROM document WHERE kind = ?1 AND key = ?2", err));
    int rc = sqlite3_bind_text(stmt, 1, d->kind, -1, SQLITE_STATIC);
    rc |= sqlite3_bind_text(stmt, 2, d->key, -1, SQLITE_STATIC);
    KVL_TRY(rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path));
    KVL_TRY(kvli_prepare(s, &stmt,
                         "INSERT INTO document(kind, key, model, group_key, command, made, lines, sha256) "
                         "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                         err));
    rc = sqlite3_bind_blob64(stmt, 7, d->n_bytes != 0 ? d->lines : "", d->n_bytes, SQLITE_STATIC);
    rc |= sqlite3_bind_text(stmt, 8, sum, -1, SQLITE_STATIC);
    for (int i = 0; i < 6; i++) {
        rc |= sqlite3_bind_text(stmt, i + 1, texts[i], -1, SQLITE_STATIC);
    }
    const kvl_status status =
        rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path);
    kvli_release(stmt);
    return status;
}

kvl_status kvl_store_put_document(kvl_store *s, const kvl_document *d, kvl_err *err) {
    char doing[64], now[21];
    kvl_document dated = *d;
    kvl_utc_text(now);
    dated.made = d->made != NULL ? d->made : now;
    (void)snprintf(doing, sizeof doing, "storing a document of %zu bytes", d->n_bytes);
    KVL_TRY(kvli_begin(s, true, err));
    return kvli_end(s, write(s, &dated, doing, err), doing, err);
}

kvl_status kvli_read_document(kvl_store *s, sqlite3_stmt *stmt, kvl_document *out, kvl_err *err) {
    char **const texts[] = {&out->kind, &out->model, &out->key, &out->group, &out->command, &out->made};
    char sum[KVL_SHA256_TEXT];
    *out = (kvl_document){0};
    for (int i = 0; i < 6; i++) {
        KVL_TRY(kvli_column_text(s, stmt, i, texts[i], err));
    }
    const void *lines = sqlite3_column_blob(stmt, 6);
    out->n_bytes = (size_t)sqlite3_column_bytes(stmt, 6);
    out->lines = kvl_strndup(lines != NULL ? lines : "", lines != NULL ? out->n_bytes : 0);
    if (out->lines == NULL || (lines == NULL && out->n_bytes != 0)) {
        return kvl_fail_nomem(err, s->path);
    }
    const char *found = (const char *)sqlite3_column_text(stmt, 7);
    KVL_TRY(sum_of(sum, out, err));
    return found != NULL && strcmp(sum, found) == 0
               ? KVL_OK
               : kvl_fail(err, KVL_E_STORE, "%s: damaged: document %s %s: it is not that of its checksum",
                          s->path, out->kind, out->key);
}

kvl_status kvl_store_get_document(kvl_store *s, const char *kind, const char *model, kvl_document *out,
                                  bool *is_there, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    *out = (kvl_document){0};
    *is_there = false;
    KVL_TRY(kvli_prepare(s, &stmt,
                         KVLI_SELECT_DOCUMENT " WHERE kind = ?1 AND model = coalesce(?2, model) "
                                              "ORDER BY id DESC LIMIT 1",
                         err));
    int rc = sqlite3_bind_text(stmt, 1, kind, -1, SQLITE_STATIC);
    rc |= sqlite3_bind_text(stmt, 2, model, -1, SQLITE_STATIC);
    kvl_status status = rc == SQLITE_OK ? kvli_step(s, stmt, is_there, "looking for a document", err)
                                        : kvl_fail_nomem(err, s->path);
    if (status == KVL_OK && *is_there) {
        status = kvli_read_document(s, stmt, out, err);
    }
    if (status == KVL_OK && *is_there && strcmp(out->kind, kind) != 0) {
        status = kvl_fail(err, KVL_E_STORE, "%s: damaged: index of documents: asked for %s, found %s",
                          s->path, kind, out->kind);
    }
    kvli_release(stmt);
    if (status != KVL_OK) {
        *is_there = false;
        kvl_document_free(out);
    }
    return status;
}
