/* The whole store, row by row: for export, and to find every fault. */
#include "store/store_int.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

/* ---- for whoever copies it ---- */

static kvl_status count_cells(kvl_store *s, const char *group, size_t *n, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = false;
    KVL_TRY(kvli_prepare(s, &stmt,
                         "SELECT coalesce(sum(n_done + n_failed), 0) FROM tally "
                         "WHERE group_key = coalesce(?1, group_key)",
                         err));
    kvl_status status = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC) == SQLITE_OK
                            ? kvli_step(s, stmt, &is_row, "counting records", err)
                            : kvl_fail_nomem(err, s->path);
    *n = is_row ? (size_t)sqlite3_column_int64(stmt, 0) : 0;
    kvli_release(stmt);
    return status;
}

static kvl_status each_cell(kvl_store *s, const char *group, kvl_store_cell *each, void *ud, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    size_t n = 0, n_expected = 0;
    bool is_row = true;
    KVL_TRY(count_cells(s, group, &n_expected, err));
    KVL_TRY(kvli_prepare(s, &stmt,
                         KVLI_SELECT_WHOLE KVLI_FROM_WHOLE
                         " WHERE group_key = coalesce(?1, group_key) ORDER BY cell.id",
                         err));
    kvl_status status = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC) == SQLITE_OK
                            ? KVL_OK
                            : kvl_fail_nomem(err, s->path);
    while (status == KVL_OK) {
        kvli_cell cell = {0};
        KVL_GO(kvli_step(s, stmt, &is_row, "reading records", err));
        if (!is_row) {
            break;
        }
        status = kvli_read_cell(s, stmt, true, &cell, err);
        if (status == KVL_OK) {
            status = each(ud, &cell.record, cell.why, cell.n_attempts, err);
        }
        n++;
        kvli_cell_free(&cell);
    }
    if (status == KVL_OK && n != n_expected) {
        status = kvl_fail(err, KVL_E_STORE, "%s: damaged: expected %zu records, found %zu", s->path,
                          n_expected, n);
    }
done:
    kvli_release(stmt);
    return status;
}

kvl_status kvl_store_each_cell(kvl_store *s, const char *group, kvl_store_cell *each, void *ud,
                               kvl_err *err) {
    KVL_TRY(kvli_begin(s, false, err));
    return kvli_end(s, each_cell(s, group, each, ud, err), "reading records", err);
}

kvl_status kvl_store_each_document(kvl_store *s, kvl_store_document *each, void *ud, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = true;
    kvl_status status = KVL_OK;
    KVL_TRY(kvli_prepare(s, &stmt, KVLI_SELECT_DOCUMENT " ORDER BY id", err));
    while (status == KVL_OK) {
        kvl_document d = {0};
        KVL_GO(kvli_step(s, stmt, &is_row, "reading documents", err));
        if (!is_row) {
            break;
        }
        status = kvli_read_document(s, stmt, &d, err);
        if (status == KVL_OK) {
            status = each(ud, &d, err);
        }
        kvl_document_free(&d);
    }
done:
    kvli_release(stmt);
    return status;
}

/* ---- for whoever doubts it ---- */

typedef struct verification {
    kvl_store *s;
    kvl_store_found *found;
    void *ud;
    size_t n_faults;
} verification;

/* A damaged row is a fault, and the walk goes on; anything else ends it. */
static kvl_status note(verification *v, kvl_status status, const kvl_err *fault, kvl_err *err) {
    if (status == KVL_E_STORE) {
        v->n_faults++;
        v->found(v->ud, fault->msg);
        return KVL_OK;
    }
    return status == KVL_OK ? KVL_OK : kvl_fail(err, status, "%s", fault->msg);
}

/* Statements whose every row names a fault: text of `columns` columns; "ok" is none. */
static kvl_status check_by_sql(verification *v, const char *sql, const char *what, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = true;
    kvl_err fault = {0};
    kvl_status status = kvli_prepare(v->s, &stmt, sql, &fault);
    while (status == KVL_OK && is_row) {
        status = kvli_step(v->s, stmt, &is_row, what, &fault);
        const char *text = status == KVL_OK && is_row ? (const char *)sqlite3_column_text(stmt, 0) : "ok";
        if (text == NULL || strcmp(text, "ok") != 0) {
            KVL_TRY(note(v,
                         kvl_fail(&fault, KVL_E_STORE, "%s: damaged: %s: %s", v->s->path, what,
                                  text != NULL ? text : "a row without a name"),
                         &fault, err));
        }
    }
    kvli_release(stmt);
    return note(v, status, &fault, err);
}

/* Reads the row of each id by itself, so that one damaged page hides no other row. */
static kvl_status check_row(verification *v, const char *sql, sqlite3_int64 id, bool is_cell, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = false;
    kvl_err fault = {0};
    kvli_cell cell = {0};
    kvl_document document = {0};
    kvl_status status = kvli_prepare(v->s, &stmt, sql, &fault);
    if (status == KVL_OK) {
        status = sqlite3_bind_int64(stmt, 1, id) == SQLITE_OK ? KVL_OK : kvl_fail_nomem(&fault, v->s->path);
    }
    if (status == KVL_OK) {
        status = kvli_step(v->s, stmt, &is_row, is_cell ? "reading a record" : "reading a document", &fault);
    }
    if (status == KVL_OK && is_row) {
        status = is_cell ? kvli_read_cell(v->s, stmt, true, &cell, &fault)
                         : kvli_read_document(v->s, stmt, &document, &fault);
    }
    kvli_cell_free(&cell);
    kvl_document_free(&document);
    kvli_release(stmt);
    return note(v, status, &fault, err);
}

static kvl_status check_rows(verification *v, const char *ids, const char *sql, bool is_cell, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = true;
    kvl_err fault = {0};
    kvl_status status = kvli_prepare(v->s, &stmt, ids, &fault);
    while (status == KVL_OK && is_row) {
        status = kvli_step(v->s, stmt, &is_row, is_cell ? "listing records" : "listing documents", &fault);
        if (status == KVL_OK && is_row) {
            KVL_GO(check_row(v, sql, sqlite3_column_int64(stmt, 0), is_cell, err));
        }
    }
    status = note(v, status, &fault, err);
done:
    kvli_release(stmt);
    return status;
}

static kvl_status verify(verification *v, kvl_err *err) {
    KVL_TRY(check_by_sql(v, "PRAGMA integrity_check", "pages", err));
    KVL_TRY(check_by_sql(v,
                         "SELECT 'body ' || cell || ' of no record' FROM body "
                         "WHERE cell NOT IN (SELECT id FROM cell)",
                         "bodies", err));
    KVL_TRY(check_by_sql(v,
                         "SELECT 'group ' || g || ': expected as many records as counted, found ' || "
                         "sum(n) || ' more' FROM (SELECT group_key AS g, -n_done AS n, 'done' AS kind "
                         "FROM tally UNION ALL SELECT group_key, -n_failed, 'failed' FROM tally UNION ALL "
                         "SELECT group_key, 1, iif(why IS NULL, 'done', 'failed') FROM cell) "
                         "GROUP BY g, kind HAVING sum(n) <> 0",
                         "counts", err));
    KVL_TRY(check_rows(v, "SELECT id FROM cell NOT INDEXED",
                       KVLI_SELECT_WHOLE KVLI_FROM_WHOLE " WHERE cell.id = ?1", true, err));
    return check_rows(v, "SELECT id FROM document NOT INDEXED", KVLI_SELECT_DOCUMENT " WHERE id = ?1", false,
                      err);
}

kvl_status kvl_store_verify(kvl_store *s, kvl_store_found *found, void *ud, size_t *n_faults, kvl_err *err) {
    verification v = {.s = s, .found = found, .ud = ud};
    KVL_TRY(kvli_begin(s, false, err));
    const kvl_status status = kvli_end(s, verify(&v, err), "verifying it", err);
    *n_faults = v.n_faults;
    return status;
}
