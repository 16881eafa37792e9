/* A record as a row and back, with the checksums over it. */
#include "store/store_int.h"

#include "base/alloc.h"
#include "base/sha256.h"

#include <math.h>
#include <string.h>

typedef enum column_kind { KEY, ROLE, TEXT, REAL, SIZE, U64 } column_kind;

static const struct {
    column_kind kind;
    size_t offset;
    const char *name;
} columns[] = {
#define COLUMN(kind, member, column) {kind, offsetof(kvl_record, member), column},
    KVLI_CELL_COLUMNS(COLUMN)
#undef COLUMN
};
enum { n_columns = sizeof columns / sizeof columns[0] };

void kvli_cell_free(kvli_cell *c) {
    kvl_record_free(&c->record);
    kvl_free(c->why);
    kvl_free(c->made);
    *c = (kvli_cell){0};
}

/* ---- members ---- */

static const char *text_of(const kvl_record *r, size_t i) {
    const char *at = (const char *)r + columns[i].offset;
    const char *text = columns[i].kind == KEY ? at : *(char *const *)at;
    return text != NULL ? text : "";
}

static double real_of(const kvl_record *r, size_t i) {
    /* SQLite knows no negative zero */
    return *(const double *)((const char *)r + columns[i].offset) + 0.0;
}

static uint64_t whole_of(const kvl_record *r, size_t i) {
    const char *at = (const char *)r + columns[i].offset;
    switch (columns[i].kind) {
    case ROLE: return (uint64_t) * (const kvl_record_role *)at;
    case SIZE: return *(const size_t *)at;
    default: return *(const uint64_t *)at;
    }
}

static bool is_whole(column_kind kind) { return kind == ROLE || kind == SIZE || kind == U64; }

/* The largest value of a whole number: sums of sizes do not overflow, whatever a store says. */
static uint64_t most_of(column_kind kind) {
    return kind == ROLE ? KVL_ROLE_ONE_PASS : kind == SIZE ? UINT64_C(1) << 40 : INT64_MAX;
}

/* ---- checksums ---- */

static void add_u64(kvl_str *s, uint64_t x) {
    char bytes[8];
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (char)(x >> (8 * i));
    }
    kvl_str_append(s, bytes, sizeof bytes);
}

static void add_bytes(kvl_str *s, const void *bytes, size_t n) {
    add_u64(s, n);
    kvl_str_append(s, bytes, n);
}

static void add_text(kvl_str *s, const char *text) { add_bytes(s, text, strlen(text)); }

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return isnan(x) ? UINT64_MAX : bits;
}

/* Of all columns of the row. */
static kvl_status row_sum(char out[KVL_SHA256_TEXT], const kvli_cell *c, kvl_err *err) {
    kvl_str bytes = {0};
    for (size_t i = 0; i < n_columns; i++) {
        switch (columns[i].kind) {
        case KEY:
        case TEXT: add_text(&bytes, text_of(&c->record, i)); break;
        case REAL: add_u64(&bytes, bits_of(real_of(&c->record, i))); break;
        default: add_u64(&bytes, whole_of(&c->record, i)); break;
        }
    }
    add_u64(&bytes, c->n_attempts);
    add_u64(&bytes, c->why != NULL);
    add_text(&bytes, c->why != NULL ? c->why : "");
    add_text(&bytes, c->made);
    kvl_status status = kvl_str_check(&bytes, "checksum", err);
    if (status == KVL_OK) {
        status = kvl_sha256(out, bytes.data, bytes.len, err);
    }
    kvl_str_free(&bytes);
    return status;
}

static kvl_status body_sum(char out[KVL_SHA256_TEXT], const kvl_record *r, const kvl_str *nll, kvl_err *err) {
    kvl_str bytes = {0};
    add_text(&bytes, r->identity != NULL ? r->identity : "");
    add_text(&bytes, r->facts != NULL ? r->facts : "");
    add_bytes(&bytes, kvl_str_text(nll), nll->len);
    kvl_status status = kvl_str_check(&bytes, "checksum", err);
    if (status == KVL_OK) {
        status = kvl_sha256(out, bytes.data, bytes.len, err);
    }
    kvl_str_free(&bytes);
    return status;
}

static bool is_hash(const char *text) { return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64; }

kvl_status kvli_check_record(const kvl_record *r, bool is_done, kvl_err *err) {
    char key[KVL_SHA256_TEXT];
    if (r->identity == NULL || !is_hash(r->key) || !is_hash(r->group)) {
        return kvl_fail(err, KVL_E_CHECK, "record: expected an identity, a key and a group, found '%.64s'",
                        r->key);
    }
    KVL_TRY(kvl_sha256(key, r->identity, strlen(r->identity), err));
    if (strcmp(key, r->key) != 0) {
        return kvl_fail(err, KVL_E_CHECK, "record: expected key %s, that of its identity, found %s", key,
                        r->key);
    }
    for (size_t i = 0; i < n_columns; i++) {
        const column_kind kind = columns[i].kind;
        if (kind == REAL && !isfinite(real_of(r, i)) &&
            columns[i].offset != offsetof(kvl_record, keep_ratio)) {
            return kvl_fail(err, KVL_E_CHECK, "record %.12s: %s: expected a finite number, found %g", r->key,
                            columns[i].name, real_of(r, i));
        }
        if (is_whole(kind) && whole_of(r, i) > most_of(kind)) {
            return kvl_fail(err, KVL_E_CHECK, "record %.12s: %s: expected at most %llu, found %llu", r->key,
                            columns[i].name, (unsigned long long)most_of(kind),
                            (unsigned long long)whole_of(r, i));
        }
    }
    if (!is_done) {
        return KVL_OK;
    }
    if (r->nll == NULL || r->n_scored == 0) {
        return kvl_fail(err, KVL_E_CHECK, "record %.12s: expected NLLs, found none", r->key);
    }
    for (size_t i = 0; i < r->n_scored; i++) {
        if (!isfinite(r->nll[i])) {
            return kvl_fail(err, KVL_E_CHECK, "record %.12s: NLL %zu: expected a finite number, found %g",
                            r->key, i, r->nll[i]);
        }
    }
    return KVL_OK;
}

/* ---- writing ---- */

static int bind_text(sqlite3_stmt *stmt, int i, const char *text) {
    return sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC);
}

static int bind_columns(sqlite3_stmt *stmt, const kvl_record *r) {
    int rc = SQLITE_OK;
    for (int i = 0; i < n_columns && rc == SQLITE_OK; i++) {
        switch (columns[i].kind) {
        case KEY:
        case TEXT: rc = bind_text(stmt, i + 1, text_of(r, (size_t)i)); break;
        case REAL: rc = sqlite3_bind_double(stmt, i + 1, real_of(r, (size_t)i)); break; /* NAN is NULL */
        default: rc = sqlite3_bind_int64(stmt, i + 1, (sqlite3_int64)whole_of(r, (size_t)i)); break;
        }
    }
    return rc;
}

#define COMMA_NAME(kind, member, column) column ", "
#define COMMA_MARK(kind, member, column) "?, "

static kvl_status write_row(kvl_store *s, const kvli_cell *c, const char *doing, kvl_err *err) {
    char sum[KVL_SHA256_TEXT];
    sqlite3_stmt *stmt = NULL;
    KVL_TRY(row_sum(sum, c, err));
    KVL_TRY(kvli_prepare(s, &stmt,
                         "INSERT INTO cell(" KVLI_CELL_COLUMNS(COMMA_NAME) "n_attempts, why, made, sha256) "
                                                                           "VALUES (" KVLI_CELL_COLUMNS(
                                                                               COMMA_MARK) "?, ?, ?, ?)",
                         err));
    int rc = bind_columns(stmt, &c->record);
    rc |= sqlite3_bind_int64(stmt, n_columns + 1, (sqlite3_int64)c->n_attempts);
    rc |= bind_text(stmt, n_columns + 2, c->why);
    rc |= bind_text(stmt, n_columns + 3, c->made);
    rc |= bind_text(stmt, n_columns + 4, sum);
    const kvl_status status =
        rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path);
    kvli_release(stmt); /* sum goes */
    return status;
}

kvl_status kvli_write_cell(kvl_store *s, const kvli_cell *c, const char *doing, sqlite3_int64 *id,
                           kvl_err *err) {
    const kvl_record *r = &c->record;
    char sum[KVL_SHA256_TEXT];
    sqlite3_stmt *stmt = NULL;
    kvl_str nll = {0};
    kvl_status status = KVL_OK;
    for (size_t i = 0; c->why == NULL && i < r->n_scored; i++) {
        uint64_t bits;
        memcpy(&bits, &r->nll[i], sizeof bits);
        add_u64(&nll, bits);
    }
    KVL_GO(kvl_str_check(&nll, "NLLs", err));
    KVL_GO(body_sum(sum, r, &nll, err));
    KVL_GO(write_row(s, c, doing, err));
    *id = sqlite3_last_insert_rowid(s->db);
    KVL_GO(kvli_prepare(
        s, &stmt, "INSERT INTO body(cell, identity, facts, nll, sha256) VALUES (?1, ?2, ?3, ?4, ?5)", err));
    int rc = sqlite3_bind_int64(stmt, 1, *id);
    rc |= bind_text(stmt, 2, r->identity);
    rc |= bind_text(stmt, 3, r->facts != NULL ? r->facts : "");
    rc |= sqlite3_bind_blob64(stmt, 4, kvl_str_text(&nll), nll.len, SQLITE_STATIC);
    rc |= bind_text(stmt, 5, sum);
    status = rc == SQLITE_OK ? kvli_run_sql(s, stmt, doing, err) : kvl_fail_nomem(err, s->path);
done:
    kvli_release(stmt);
    kvl_str_free(&nll);
    return status;
}

/* ---- reading ---- */

static kvl_status read_columns(kvl_store *s, sqlite3_stmt *stmt, kvl_record *r, kvl_err *err) {
    for (int i = 0; i < n_columns; i++) {
        char *at = (char *)r + columns[i].offset;
        const sqlite3_int64 whole = sqlite3_column_int64(stmt, i);
        switch (columns[i].kind) {
        case KEY: {
            const char *text = (const char *)sqlite3_column_text(stmt, i);
            if (text == NULL || !is_hash(text)) {
                return kvl_fail(err, KVL_E_STORE, "%s: damaged: %s: expected 64 hexadecimal digits, found %s",
                                s->path, columns[i].name, text != NULL ? text : "nothing");
            }
            memcpy(at, text, KVL_KEY_TEXT);
            break;
        }
        case TEXT: KVL_TRY(kvli_column_text(s, stmt, i, (char **)at, err)); break;
        case REAL:
            *(double *)at =
                sqlite3_column_type(stmt, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(stmt, i);
            break;
        case ROLE: *(kvl_record_role *)at = (kvl_record_role)whole; break;
        case SIZE: *(size_t *)at = (size_t)whole; break;
        case U64: *(uint64_t *)at = (uint64_t)whole; break;
        }
        if (is_whole(columns[i].kind) && (uint64_t)whole > most_of(columns[i].kind)) {
            return kvl_fail(err, KVL_E_STORE, "%s: damaged: record %s: %s: expected at most %llu, found %lld",
                            s->path, r->key, columns[i].name, (unsigned long long)most_of(columns[i].kind),
                            (long long)whole);
        }
    }
    return KVL_OK;
}

static kvl_status damaged(const kvl_store *s, const kvl_record *r, const char *what, kvl_err *err) {
    return kvl_fail(err, KVL_E_STORE, "%s: damaged: record %s: %s", s->path, r->key, what);
}

/* *nll stays SQLite's. */
static kvl_status read_nll(kvl_store *s, kvl_record *r, const uint8_t *bytes, size_t n, kvl_err *err) {
    if (n % 8 != 0 || n / 8 != r->n_scored) {
        return damaged(s, r, "expected as many NLLs as scored tokens, found another number", err);
    }
    r->nll = kvl_alloc(r->n_scored, sizeof *r->nll);
    if (r->nll == NULL) {
        return kvl_fail_nomem(err, s->path);
    }
    for (size_t i = 0; i < r->n_scored; i++) {
        uint64_t bits = 0;
        for (unsigned b = 0; b < 8; b++) {
            bits |= (uint64_t)bytes[8 * i + b] << (8 * b);
        }
        memcpy(&r->nll[i], &bits, sizeof bits);
    }
    return KVL_OK;
}

static kvl_status read_body(kvl_store *s, sqlite3_stmt *stmt, kvli_cell *c, kvl_err *err) {
    kvl_record *r = &c->record;
    const int at = n_columns + 4;
    char sum[KVL_SHA256_TEXT], key[KVL_SHA256_TEXT];
    KVL_TRY(kvli_column_text(s, stmt, at, &r->identity, err));
    KVL_TRY(kvli_column_text(s, stmt, at + 1, &r->facts, err));
    const void *bytes = sqlite3_column_blob(stmt, at + 2);
    const kvl_str nll = {.data = (char *)(uintptr_t)bytes, .len = (size_t)sqlite3_column_bytes(stmt, at + 2)};
    const char *found = (const char *)sqlite3_column_text(stmt, at + 3);
    KVL_TRY(body_sum(sum, r, &nll, err));
    if (found == NULL || strcmp(sum, found) != 0) {
        return damaged(s, r, "its NLLs, identity or facts are not those of its checksum", err);
    }
    KVL_TRY(kvl_sha256(key, r->identity, strlen(r->identity), err));
    if (strcmp(key, r->key) != 0) {
        return damaged(s, r, "its key is not that of its identity", err);
    }
    return c->why == NULL ? read_nll(s, r, bytes, nll.len, err) : KVL_OK;
}

kvl_status kvli_read_cell(kvl_store *s, sqlite3_stmt *stmt, bool is_whole, kvli_cell *out, kvl_err *err) {
    char sum[KVL_SHA256_TEXT];
    *out = (kvli_cell){0};
    KVL_TRY(read_columns(s, stmt, &out->record, err));
    out->n_attempts = (size_t)sqlite3_column_int64(stmt, n_columns);
    if (sqlite3_column_type(stmt, n_columns + 1) != SQLITE_NULL) {
        KVL_TRY(kvli_column_text(s, stmt, n_columns + 1, &out->why, err));
    }
    KVL_TRY(kvli_column_text(s, stmt, n_columns + 2, &out->made, err));
    KVL_TRY(row_sum(sum, out, err));
    const char *found = (const char *)sqlite3_column_text(stmt, n_columns + 3);
    if (found == NULL || strcmp(sum, found) != 0) {
        return damaged(s, &out->record, "its columns are not those of its checksum", err);
    }
    return is_whole ? read_body(s, stmt, out, err) : KVL_OK;
}
