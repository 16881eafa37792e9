/* SQLite's calls with every result looked at: statements, transactions, errors. */
#include "store/store_int.h"

#include "base/alloc.h"

#include <string.h>

kvl_status kvli_fail_sql(kvl_store *s, int rc, const char *doing, kvl_err *err) {
    const int system = s->db != NULL ? sqlite3_system_errno(s->db) : 0;
    const char *why =
        s->db != NULL && sqlite3_errcode(s->db) != SQLITE_OK ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return kvl_fail_nomem(err, s->path);
    case SQLITE_FULL:
        return kvl_fail(err, KVL_E_IO, "%s: %s: expected room for it, found none (%s)", s->path, doing, why);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return kvl_fail(err, KVL_E_IO, "%s: %s: %s%s%s", s->path, doing, why, system != 0 ? ": " : "",
                        system != 0 ? strerror(system) : "");
    case SQLITE_NOTADB:
        return kvl_fail(err, KVL_E_STORE, "%s: expected a store, found no database, or its header damaged",
                        s->path);
    case SQLITE_CONSTRAINT: /* one of a value; of a key, it would contradict what was just looked up */
        if (rc == SQLITE_CONSTRAINT_CHECK || rc == SQLITE_CONSTRAINT_NOTNULL) {
            return kvl_fail(err, KVL_E_CHECK, "%s: %s: refused: %s", s->path, doing, why);
        }
        return kvl_fail(err, KVL_E_STORE, "%s: damaged: %s: %s", s->path, doing, why);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return kvl_fail(err, KVL_E_STORE, "%s: %s: in use (%s)", s->path, doing, why);
    default: return kvl_fail(err, KVL_E_STORE, "%s: damaged: %s: %s", s->path, doing, why);
    }
}

kvl_status kvli_prepare(kvl_store *s, sqlite3_stmt **out, const char *sql, kvl_err *err) {
    for (size_t i = 0; i < s->n_statements; i++) {
        if (s->statements[i].sql == sql) {
            *out = s->statements[i].stmt;
            kvli_release(*out);
            return KVL_OK;
        }
    }
    *out = NULL;
    sqlite3_stmt *stmt = NULL;
    const int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK || s->n_statements == KVLI_MOST_STATEMENTS) {
        sqlite3_finalize(stmt);
        return kvli_fail_sql(s, rc, "reading its tables", err);
    }
    s->statements[s->n_statements].sql = sql;
    s->statements[s->n_statements++].stmt = *out = stmt;
    return KVL_OK;
}

void kvli_release(sqlite3_stmt *stmt) {
    if (stmt != NULL) {
        (void)sqlite3_reset(stmt); /* its result is that of the last step, which was looked at */
        (void)sqlite3_clear_bindings(stmt);
    }
}

kvl_status kvli_step(kvl_store *s, sqlite3_stmt *stmt, bool *is_row, const char *doing, kvl_err *err) {
    const int rc = sqlite3_step(stmt);
    *is_row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KVL_OK : kvli_fail_sql(s, rc, doing, err);
}

kvl_status kvli_run_sql(kvl_store *s, sqlite3_stmt *stmt, const char *doing, kvl_err *err) {
    bool is_row = false;
    const kvl_status status = kvli_step(s, stmt, &is_row, doing, err);
    kvli_release(stmt);
    return status;
}

kvl_status kvli_exec(kvl_store *s, const char *sql, const char *doing, kvl_err *err) {
    const int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? KVL_OK : kvli_fail_sql(s, rc, doing, err);
}

kvl_status kvli_column_text(kvl_store *s, sqlite3_stmt *stmt, int i, char **out, kvl_err *err) {
    const char *text = (const char *)sqlite3_column_text(stmt, i);
    const size_t n = (size_t)sqlite3_column_bytes(stmt, i);
    if (text == NULL && sqlite3_column_type(stmt, i) != SQLITE_NULL) {
        return kvl_fail_nomem(err, s->path);
    }
    if (text != NULL && strlen(text) != n) {
        return kvl_fail(err, KVL_E_STORE, "%s: damaged: column %s: expected text, found a NUL in it", s->path,
                        sqlite3_column_name(stmt, i));
    }
    *out = kvl_strndup(text != NULL ? text : "", n);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(err, s->path);
}

kvl_status kvli_begin(kvl_store *s, bool is_write, kvl_err *err) {
    return is_write && s->lock < 0
               ? kvl_fail(err, KVL_E_USAGE, "%s: is open for reading only", s->path)
               : kvli_exec(s, is_write ? "BEGIN IMMEDIATE" : "BEGIN", "beginning a transaction", err);
}

kvl_status kvli_end(kvl_store *s, kvl_status status, const char *doing, kvl_err *err) {
    if (status == KVL_OK) {
        status = kvli_exec(s, "COMMIT", doing, err);
    }
    /* a full disk or a failed write may have taken it back already */
    if (sqlite3_get_autocommit(s->db) == 0) {
        const int rc = sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        if (rc != SQLITE_OK && status == KVL_OK) {
            status = kvli_fail_sql(s, rc, doing, err);
        }
    }
    return status;
}

const char *kvl_store_path(const kvl_store *s) { return s->path; }
