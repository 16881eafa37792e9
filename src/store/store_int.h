/* What the files of the store share: its handle, its statements, and the columns of a record. */
#ifndef KVL_STORE_STORE_INT_H
#define KVL_STORE_STORE_INT_H

#include "store/store.h"

#include <sqlite3.h>

/* ---- the handle ---- */

enum { KVLI_MOST_STATEMENTS = 64 };

struct kvl_store {
    sqlite3 *db;
    char *path; /* as given; for messages */
    int lock;   /* descriptor of PATH.lock; -1: open for reading */
    struct {
        const char *sql; /* a literal: told apart by its address */
        sqlite3_stmt *stmt;
    } statements[KVLI_MOST_STATEMENTS];
    size_t n_statements;
};

/* The error of a call of SQLite with result rc: a medium that refuses, a damaged file, or memory. `doing` is
 * what was asked for. */
kvl_status kvli_fail_sql(kvl_store *s, int rc, const char *doing, kvl_err *err);
/* The statement of a literal, ready to be bound; made at its first use and kept until the store is closed. */
kvl_status kvli_prepare(kvl_store *s, sqlite3_stmt **out, const char *sql, kvl_err *err) KVL_MUST_USE;
/* The next row, if there is one. */
kvl_status kvli_step(kvl_store *s, sqlite3_stmt *stmt, bool *is_row, const char *doing,
                     kvl_err *err) KVL_MUST_USE;
/* Runs a statement that gives no rows, and releases it. */
kvl_status kvli_run_sql(kvl_store *s, sqlite3_stmt *stmt, const char *doing, kvl_err *err) KVL_MUST_USE;
/* Ends the use of a statement: what was bound to it may go. NULL is nothing. */
void kvli_release(sqlite3_stmt *stmt);
/* Runs SQL text without rows of interest. */
kvl_status kvli_exec(kvl_store *s, const char *sql, const char *doing, kvl_err *err) KVL_MUST_USE;
/* Text of a column, owned by the caller; NULL in the file is "". E_STORE for a NUL inside. */
kvl_status kvli_column_text(kvl_store *s, sqlite3_stmt *stmt, int i, char **out, kvl_err *err) KVL_MUST_USE;

/* A transaction; `end` commits it if all went well until then, otherwise takes it back and keeps that error.
 */
kvl_status kvli_begin(kvl_store *s, bool is_write, kvl_err *err) KVL_MUST_USE;
kvl_status kvli_end(kvl_store *s, kvl_status status, const char *doing, kvl_err *err) KVL_MUST_USE;

/* ---- the file ---- */

enum { KVLI_APPLICATION_ID = 0x4b564c53 }; /* "KVLS" in the file's header */

/* Checks that it is a store of a version known here, or makes an empty file one (is_write). */
kvl_status kvli_schema_check(kvl_store *s, bool is_write, kvl_err *err) KVL_MUST_USE;
/* The lock beside the file of full path `file`; see kvl_store_open. */
kvl_status kvli_lock(int *out, const char *file, kvl_store_wait *wait, void *ud, kvl_err *err) KVL_MUST_USE;
void kvli_unlock(int lock);
/* Whether files of this kind of file system (statfs) may be changed by other hosts behind our back. */
bool kvli_is_network(uint64_t fs_type);

/* ---- records ---- */

/* Columns of the table `cell` that are members of a record: kind, member, column. Order counts: it is that of
 * the checksum. */
#define KVLI_CELL_COLUMNS(X)                                                                                 \
    X(KEY, key, "key")                                                                                       \
    X(KEY, group, "group_key")                                                                               \
    X(ROLE, role, "role")                                                                                    \
    X(TEXT, model, "model")                                                                                  \
    X(TEXT, preset, "preset")                                                                                \
    X(TEXT, protocol, "protocol")                                                                            \
    X(TEXT, press, "press")                                                                                  \
    X(TEXT, policy, "policy")                                                                                \
    X(TEXT, sample, "sample")                                                                                \
    X(TEXT, text, "text")                                                                                    \
    X(TEXT, text_key, "text_key")                                                                            \
    X(REAL, keep_ratio, "keep_ratio")                                                                        \
    X(SIZE, begin, "first_token")                                                                            \
    X(SIZE, n_tokens, "n_tokens")                                                                            \
    X(SIZE, n_budget, "n_budget")                                                                            \
    X(SIZE, first_scored, "first_scored")                                                                    \
    X(SIZE, n_scored, "n_scored")                                                                            \
    X(SIZE, n_text_bytes, "n_text_bytes")                                                                    \
    X(SIZE, n_events, "n_events")                                                                            \
    X(SIZE, first_event, "first_event")                                                                      \
    X(SIZE, last_event, "last_event")                                                                        \
    X(SIZE, kept_min, "kept_min")                                                                            \
    X(SIZE, kept_max, "kept_max")                                                                            \
    X(REAL, kept_mean, "kept_mean")                                                                          \
    X(U64, kv_bytes_live, "kv_bytes_live")                                                                   \
    X(U64, wall_ns, "wall_ns")                                                                               \
    X(REAL, nll_sum, "nll_sum")                                                                              \
    X(SIZE, n_affected, "n_affected")                                                                        \
    X(REAL, nll_affected, "nll_affected")                                                                    \
    X(REAL, nll_affected_full, "nll_affected_full")

#define KVLI_COMMA_COLUMN(kind, member, column) "cell." column ", "
/* What statements that read cells select first: kvli_read_cell expects it; and with bodies. */
#define KVLI_SELECT_CELL "SELECT " KVLI_CELL_COLUMNS(KVLI_COMMA_COLUMN) "n_attempts, why, made, cell.sha256"
#define KVLI_SELECT_WHOLE KVLI_SELECT_CELL ", identity, facts, nll, body.sha256"
#define KVLI_FROM_WHOLE " FROM cell LEFT JOIN body ON body.cell = cell.id"

/* A row of `cell`, with its row of `body` where that was read. */
typedef struct kvli_cell {
    kvl_record record;
    size_t n_attempts; /* failed ones */
    char *why;         /* of the last failure; NULL: the cell is done */
    char *made;        /* UTC */
} kvli_cell;
void kvli_cell_free(kvli_cell *c);

/* E_CHECK for a record that must not be stored: its key, its group, a number that is not finite. */
kvl_status kvli_check_record(const kvl_record *r, bool is_done, kvl_err *err) KVL_MUST_USE;
/* Writes the row and its body, behind all others. */
kvl_status kvli_write_cell(kvl_store *s, const kvli_cell *c, const char *doing, sqlite3_int64 *id,
                           kvl_err *err) KVL_MUST_USE;
/* Reads the row where stmt stands and checks it against its checksums; *out is the caller's, also after an
 * error. E_STORE names the key. */
kvl_status kvli_read_cell(kvl_store *s, sqlite3_stmt *stmt, bool is_whole, kvli_cell *out,
                          kvl_err *err) KVL_MUST_USE;
/* A document from columns kind, model, key, group_key, command, made, lines, sha256, checked. */
kvl_status kvli_read_document(kvl_store *s, sqlite3_stmt *stmt, kvl_document *out, kvl_err *err) KVL_MUST_USE;
#define KVLI_SELECT_DOCUMENT "SELECT kind, model, key, group_key, command, made, lines, sha256 FROM document"

#endif
