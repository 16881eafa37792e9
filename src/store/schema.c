/* The tables of a store, how a new one is made, and what is looked at when one is opened. */
#include "store/store_int.h"

#include <stdio.h>
#include <string.h>

/* Columns that reports sort and sum stand in `cell`; what is long stands in `body`, so that a list reads none
 * of it. why IS NULL: done. */
#define KEY_CHECK(column) " CHECK (length(" column ") = 64)"
#define WHOLE(column) column " INTEGER NOT NULL CHECK (" column " >= 0), "
#define FINITE(column) column " REAL NOT NULL CHECK (abs(" column ") < 9e999), "
static const char table_cell[] =
    "CREATE TABLE cell (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE" KEY_CHECK(
        "key") ", "
               "group_key TEXT NOT NULL" KEY_CHECK(
                   "group_key") ", role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 2), "
                                "model TEXT NOT NULL, preset TEXT NOT NULL, protocol TEXT NOT NULL, press "
                                "TEXT NOT NULL, "
                                "policy TEXT NOT NULL, sample TEXT NOT NULL, text TEXT NOT NULL, text_key "
                                "TEXT NOT NULL, "
                                "keep_ratio REAL CHECK (keep_ratio BETWEEN 0 AND 1), " WHOLE("first_token")
                                    WHOLE("n_tokens") WHOLE("n_budget") WHOLE("first_scored")
                                        WHOLE("n_scored") WHOLE("n_text_bytes") WHOLE("n_events")
                                            WHOLE("first_event") WHOLE("last_event") WHOLE("kept_min") WHOLE(
                                                "kept_max") FINITE("kept_mean") WHOLE("kv_bytes_live")
                                                WHOLE("wall_ns") FINITE("nll_sum") WHOLE("n_affected")
                                                    FINITE("nll_affected") FINITE("nll_affected_full")
                                                        WHOLE("n_attempts") "why TEXT, made TEXT NOT NULL, "
                                                                            "sha256 TEXT NOT NULL" KEY_CHECK(
                                                                                "sha256") ") STRICT";
static const char table_body[] =
    "CREATE TABLE body (cell INTEGER PRIMARY KEY REFERENCES cell(id) ON DELETE CASCADE, "
    "identity TEXT NOT NULL, facts TEXT NOT NULL, nll BLOB NOT NULL CHECK (length(nll) % 8 = 0), "
    "sha256 TEXT NOT NULL" KEY_CHECK("sha256") ") STRICT";
/* How many cells a group has: a list that lost a row to a damaged index is found out by it. */
static const char table_tally[] =
    "CREATE TABLE tally (group_key TEXT PRIMARY KEY" KEY_CHECK("group_key") ", " WHOLE("n_done")
        WHOLE("n_failed") "newest INTEGER NOT NULL) STRICT";
static const char table_document[] =
    "CREATE TABLE document (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, model TEXT NOT NULL, "
    "key TEXT NOT NULL" KEY_CHECK(
        "key") ", group_key TEXT NOT NULL, command TEXT NOT NULL, "
               "made TEXT NOT NULL, lines BLOB NOT NULL, sha256 TEXT NOT NULL" KEY_CHECK(
                   "sha256") ", "
                             "UNIQUE (kind, key)) STRICT";

/* In the order of sqlite_schema; names sorted as `check_tables` asks for them. */
static const struct {
    const char *name, *sql;
} objects[] = {
    {"body", table_body},
    {"cell", table_cell},
    {"cell_group", "CREATE INDEX cell_group ON cell(group_key, role, policy)"},
    {"document", table_document},
    {"document_kind", "CREATE INDEX document_kind ON document(kind, model)"},
    {"tally", table_tally},
};
enum { n_objects = sizeof objects / sizeof objects[0], version = 1 };

static kvl_status read_number(kvl_store *s, const char *sql, sqlite3_int64 *out, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = false;
    *out = 0;
    KVL_TRY(kvli_prepare(s, &stmt, sql, err));
    const kvl_status status = kvli_step(s, stmt, &is_row, "reading its header", err);
    *out = is_row ? sqlite3_column_int64(stmt, 0) : 0;
    kvli_release(stmt);
    return status;
}

static kvl_status make_tables(kvl_store *s, kvl_err *err) {
    char header[96];
    (void)snprintf(header, sizeof header, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   KVLI_APPLICATION_ID, version);
    KVL_TRY(kvli_begin(s, true, err));
    kvl_status status = kvli_exec(s, header, "making it", err);
    for (size_t i = 0; i < n_objects && status == KVL_OK; i++) {
        status = kvli_exec(s, objects[i].sql, "making it", err);
    }
    return kvli_end(s, status, "making it", err);
}

/* The tables are word for word those above, and there are no others. */
static kvl_status check_tables(kvl_store *s, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = true;
    kvl_status status = KVL_OK;
    size_t n = 0;
    KVL_TRY(kvli_prepare(s, &stmt,
                         "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_autoindex%' "
                         "ORDER BY name",
                         err));
    while (status == KVL_OK && is_row) {
        status = kvli_step(s, stmt, &is_row, "reading its tables", err);
        const char *name = is_row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        const char *sql = is_row ? (const char *)sqlite3_column_text(stmt, 1) : NULL;
        const char *expected = n < n_objects ? objects[n].name : "none more";
        if (status != KVL_OK || (!is_row && n == n_objects)) {
            break;
        }
        if (n == n_objects || name == NULL || sql == NULL || strcmp(name, expected) != 0 ||
            strcmp(sql, objects[n].sql) != 0) {
            status =
                kvl_fail(err, KVL_E_STORE, "%s: damaged: tables: expected %s, found %s", s->path, expected,
                         name == NULL                  ? "none"
                         : strcmp(name, expected) == 0 ? "another one of that name"
                                                       : name);
        }
        n++;
    }
    kvli_release(stmt);
    return status;
}

kvl_status kvli_schema_check(kvl_store *s, bool is_write, kvl_err *err) {
    sqlite3_int64 id = 0, found = 0, n_tables = 0;
    KVL_TRY(read_number(s, "PRAGMA application_id", &id, err));
    KVL_TRY(read_number(s, "PRAGMA user_version", &found, err));
    KVL_TRY(read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, err));
    if (id == 0 && found == 0 && n_tables == 0) {
        return is_write ? make_tables(s, err)
                        : kvl_fail(err, KVL_E_STORE, "%s: expected a store, found an empty file", s->path);
    }
    if (id != KVLI_APPLICATION_ID) {
        return kvl_fail(err, KVL_E_STORE,
                        "%s: expected a store, found a database of something else (application id %lld)",
                        s->path, (long long)id);
    }
    if (found != version) {
        return kvl_fail(err, KVL_E_STORE, "%s: expected a store of version %d, found version %lld%s", s->path,
                        version, (long long)found, found > version ? ", which a newer program has made" : "");
    }
    return check_tables(s, err);
}
