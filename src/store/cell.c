/* Cells: one transaction each, done or failed; and lists of them. */
#include "store/store_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <stdio.h>
#include <string.h>

/* ---- writing ---- */

/* The row of a key, if there is one. */
static kvl_status find(kvl_store *s, const char *key, kvli_cell *out, bool *is_there, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    *out = (kvli_cell){0};
    *is_there = false;
    KVL_TRY(kvli_prepare(s, &stmt, KVLI_SELECT_WHOLE KVLI_FROM_WHOLE " WHERE key = ?1", err));
    kvl_status status = sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC) == SQLITE_OK
                            ? kvli_step(s, stmt, is_there, "looking for a record", err)
                            : kvl_fail_nomem(err, s->path);
    if (status == KVL_OK && *is_there) {
        status = kvli_read_cell(s, stmt, true, out, err);
    }
    if (status == KVL_OK && *is_there && strcmp(out->record.key, key) != 0) {
        status = kvl_fail(err, KVL_E_STORE, "%s: damaged: index of keys: asked for %s, found %s", s->path,
                          key, out->record.key);
    }
    kvli_release(stmt);
    return status;
}

static kvl_status compare_done(const kvl_store *s, const kvl_record *old, const kvl_record *new,
                               kvl_err *err) {
    if (old->n_scored != new->n_scored) {
        return kvl_fail(err, KVL_E_CHECK, "%s: record %s: stored with %zu NLLs, found %zu now", s->path,
                        old->key, old->n_scored, new->n_scored);
    }
    for (size_t i = 0; i < old->n_scored; i++) {
        if (memcmp(&old->nll[i], &new->nll[i], sizeof *old->nll) != 0) {
            return kvl_fail(err, KVL_E_CHECK, "%s: record %s: NLL %zu: stored as %.17g, found %.17g now",
                            s->path, old->key, i, old->nll[i], new->nll[i]);
        }
    }
    return KVL_OK;
}

/* Counts a row of the group, which may take the place of a failed one. */
static kvl_status count(kvl_store *s, const char *group, bool is_done, bool was_failed, sqlite3_int64 id,
                        const char *doing, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    KVL_TRY(kvli_prepare(
        s, &stmt, "INSERT OR IGNORE INTO tally(group_key, n_done, n_failed, newest) VALUES (?1, 0, 0, 0)",
        err));
    int rc = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC);
    KVL_TRY(rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path));
    KVL_TRY(kvli_prepare(s, &stmt,
                         "UPDATE tally SET n_done = n_done + ?2, n_failed = n_failed + ?3, newest = ?4 "
                         "WHERE group_key = ?1",
                         err));
    rc = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC);
    rc |= sqlite3_bind_int(stmt, 2, is_done);
    rc |= sqlite3_bind_int(stmt, 3, !is_done - was_failed);
    rc |= sqlite3_bind_int64(stmt, 4, id);
    return rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path);
}

static kvl_status drop(kvl_store *s, const char *key, const char *doing, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    KVL_TRY(kvli_prepare(s, &stmt, "DELETE FROM cell WHERE key = ?1", err));
    return sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC) == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err)
                                                                           : kvl_fail_nomem(err, s->path);
}

/* Inside a transaction. A done cell stays as it is; a failed one gives way, and its attempts go on counting.
 */
static kvl_status put(kvl_store *s, const kvl_record *record, const char *why, const char *doing,
                      kvl_err *err) {
    kvli_cell old, new = {.record = *record, .n_attempts = why != NULL, .why = (char *)(uintptr_t)why};
    char made[21];
    bool is_there = false;
    sqlite3_int64 id = 0;
    kvl_utc_text(made);
    new.made = made;
    kvl_status status = find(s, record->key, &old, &is_there, err);
    if (status != KVL_OK || (is_there && old.why == NULL)) {
        status = status == KVL_OK && why == NULL ? compare_done(s, &old.record, record, err) : status;
        goto done;
    }
    if (is_there) {
        if (strcmp(old.record.group, record->group) != 0) {
            status = kvl_fail(err, KVL_E_CHECK, "%s: record %s: expected group %s, as before, found %s",
                              s->path, record->key, old.record.group, record->group);
            goto done;
        }
        new.n_attempts += old.n_attempts;
        KVL_GO(drop(s, record->key, doing, err));
    }
    KVL_GO(kvli_write_cell(s, &new, doing, &id, err));
    KVL_GO(count(s, record->group, why == NULL, is_there, id, doing, err));
done:
    kvli_cell_free(&old);
    return status;
}

static kvl_status put_alone(kvl_store *s, const kvl_record *record, const char *why, kvl_err *err) {
    char doing[64];
    const size_t n_texts = strlen(record->identity) + (record->facts != NULL ? strlen(record->facts) : 0);
    (void)snprintf(doing, sizeof doing, "storing a record of %zu bytes",
                   n_texts + (why == NULL ? record->n_scored * sizeof(double) : strlen(why)));
    KVL_TRY(kvli_begin(s, true, err));
    return kvli_end(s, put(s, record, why, doing, err), doing, err);
}

kvl_status kvl_store_put(kvl_store *s, const kvl_record *record, kvl_err *err) {
    KVL_TRY(kvli_check_record(record, true, err));
    return put_alone(s, record, NULL, err);
}

kvl_status kvl_store_put_failed(kvl_store *s, const kvl_record *record, const char *why, kvl_err *err) {
    KVL_TRY(kvli_check_record(record, false, err));
    return put_alone(s, record, why, err);
}

/* ---- reading one ---- */

kvl_status kvl_store_get(kvl_store *s, const char *key, kvl_record *out, bool *is_there, kvl_err *err) {
    kvli_cell cell;
    *out = (kvl_record){0};
    const kvl_status status = find(s, key, &cell, is_there, err);
    *is_there = status == KVL_OK && *is_there && cell.why == NULL;
    if (*is_there) {
        *out = cell.record;
        cell.record = (kvl_record){0};
    }
    kvli_cell_free(&cell);
    return status;
}

kvl_status kvl_store_count_attempts(kvl_store *s, const char *key, size_t *n, kvl_err *err) {
    kvli_cell cell;
    bool is_there = false;
    const kvl_status status = find(s, key, &cell, &is_there, err);
    *n = status == KVL_OK && is_there && cell.why != NULL ? cell.n_attempts : 0;
    kvli_cell_free(&cell);
    return status;
}

/* ---- lists ---- */

/* How many done cells the group must have. */
static kvl_status tally(kvl_store *s, const char *group, size_t *n, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = false;
    *n = 0;
    KVL_TRY(kvli_prepare(s, &stmt, "SELECT n_done FROM tally WHERE group_key = ?1", err));
    kvl_status status = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC) == SQLITE_OK
                            ? kvli_step(s, stmt, &is_row, "counting records", err)
                            : kvl_fail_nomem(err, s->path);
    if (status == KVL_OK && is_row) {
        *n = (size_t)sqlite3_column_int64(stmt, 0);
    }
    kvli_release(stmt);
    return status;
}

static kvl_status list(kvl_store *s, const char *group, kvl_records *out, kvl_err *err) {
    static const char sql[] =
        KVLI_SELECT_CELL " FROM cell JOIN (SELECT role AS r, policy AS p, min(id) AS first FROM cell "
                         "WHERE group_key = ?1 AND why IS NULL GROUP BY role, policy) "
                         "ON role = r AND policy = p WHERE group_key = ?1 AND why IS NULL "
                         "ORDER BY role = 0, role, first, text, first_token, sample, id";
    sqlite3_stmt *stmt = NULL;
    size_t n = 0, n_expected = 0;
    bool is_row = true;
    KVL_TRY(tally(s, group, &n_expected, err));
    out->items = kvl_calloc(n_expected, sizeof *out->items);
    if (out->items == NULL) {
        return kvl_fail_nomem(err, s->path);
    }
    KVL_TRY(kvli_prepare(s, &stmt, sql, err));
    kvl_status status = sqlite3_bind_text(stmt, 1, group, -1, SQLITE_STATIC) == SQLITE_OK
                            ? KVL_OK
                            : kvl_fail_nomem(err, s->path);
    while (status == KVL_OK) {
        kvli_cell cell = {0};
        KVL_GO(kvli_step(s, stmt, &is_row, "listing records", err));
        if (!is_row) {
            break;
        }
        status = kvli_read_cell(s, stmt, false, &cell, err);
        if (status == KVL_OK && strcmp(cell.record.group, group) != 0) {
            status = kvl_fail(err, KVL_E_STORE, "%s: damaged: index of groups: record %s: not of group %s",
                              s->path, cell.record.key, group);
        }
        if (status == KVL_OK && n < n_expected) {
            out->items[out->n++] = cell.record;
            cell.record = (kvl_record){0};
        }
        n++;
        kvli_cell_free(&cell);
    }
    if (status == KVL_OK && n != n_expected) {
        status = kvl_fail(err, KVL_E_STORE, "%s: damaged: group %s: expected %zu records, found %zu", s->path,
                          group, n_expected, n);
    }
done:
    kvli_release(stmt);
    return status;
}

kvl_status kvl_store_list(kvl_store *s, const char *group, kvl_records *out, kvl_err *err) {
    *out = (kvl_records){0};
    KVL_TRY(kvli_begin(s, false, err));
    const kvl_status status = kvli_end(s, list(s, group, out, err), "listing records", err);
    if (status != KVL_OK) {
        kvl_records_free(out);
    }
    return status;
}
