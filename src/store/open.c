/* Opening and closing: what kind of file it is, where it lies, settings. */
#define _GNU_SOURCE
#include "store/store_int.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Whether there is a file, and that it is an ordinary one. */
static kvl_status look(bool *is_there, const char *path, bool is_write, kvl_err *err) {
    struct stat st;
    *is_there = stat(path, &st) == 0;
    if (!*is_there) {
        return is_write && errno == ENOENT
                   ? KVL_OK
                   : kvl_fail(err, KVL_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return kvl_fail(err, KVL_E_IO, "%s: expected a regular file, found something else", path);
    }
    if (is_write && st.st_nlink > 1) { /* each name would have a log and a lock of its own */
        return kvl_fail(err, KVL_E_IO, "%s: expected a file with one name, found %lu (hard links)", path,
                        (unsigned long)st.st_nlink);
    }
    return KVL_OK;
}

/* A log beside the file: the file is not whole without it. */
static bool has_log(const char *file, const char *ending) {
    kvl_str path = {0};
    struct stat st;
    kvl_str_printf(&path, "%s%s", file, ending);
    const bool has = path.failed || (stat(path.data, &st) == 0 && st.st_size > 0);
    kvl_str_free(&path);
    return has;
}

static bool lies_on_network(const char *path) {
    struct statfs fs;
    return statfs(path, &fs) == 0 && kvli_is_network((uint64_t)fs.f_type);
}

/* Opens it as bytes that nobody changes: no log, no shared memory, no locks. */
static int open_still(sqlite3 **db, const char *path) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    kvl_str uri = {0};
    kvl_str_puts(&uri, "file:");
    for (const char *c = path; *c != '\0'; c++) {
        kvl_str_printf(&uri, strchr(plain, *c) != NULL ? "%c" : "%%%02x", (unsigned char)*c);
    }
    kvl_str_puts(&uri, "?immutable=1");
    const int rc = uri.failed ? SQLITE_NOMEM
                              : sqlite3_open_v2(uri.data, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    kvl_str_free(&uri);
    return rc;
}

/* Settings of this connection alone; none writes to the file. */
static kvl_status configure(kvl_store *s, kvl_err *err) {
    int ok = sqlite3_extended_result_codes(s->db, 1);
    ok |= sqlite3_busy_timeout(s->db, 5000);
    ok |= sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* only the writer moves its log into the file: before 3.51.3 two that do so at once may damage it */
    ok |= sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, s->lock < 0, NULL);
    if (ok != SQLITE_OK) {
        return kvli_fail_sql(s, ok, "settings", err);
    }
    return kvli_exec(s,
                     "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; "
                     "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY",
                     "settings", err);
}

/* A setting as it is now, as text. */
static kvl_status expect(kvl_store *s, const char *sql, const char *expected, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = false;
    KVL_TRY(kvli_prepare(s, &stmt, sql, err));
    kvl_status status = kvli_step(s, stmt, &is_row, sql, err);
    const char *found = is_row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (status == KVL_OK && (found == NULL || strcmp(found, expected) != 0)) {
        status = kvl_fail(err, KVL_E_STORE, "%s: %s: expected %s, found %s", s->path, sql, expected,
                          found != NULL ? found : "nothing");
    }
    kvli_release(stmt);
    return status;
}

static kvl_status check_settings(kvl_store *s, kvl_err *err) {
    KVL_TRY(expect(s, "PRAGMA synchronous", "2", err));
    KVL_TRY(expect(s, "PRAGMA foreign_keys", "1", err));
    KVL_TRY(expect(s, "PRAGMA trusted_schema", "0", err));
    return expect(s, "PRAGMA busy_timeout", "5000", err);
}

static kvl_status open_to_write(kvl_store *s, const char *path, kvl_store_wait *wait, void *ud,
                                kvl_err *err) {
    const int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc != SQLITE_OK) {
        return kvli_fail_sql(s, rc, "opening it", err);
    }
    /* links are followed here, so that all names of a store share one lock */
    const char *file = sqlite3_db_filename(s->db, "main");
    if (lies_on_network(file)) {
        return kvl_fail(err, KVL_E_IO,
                        "%s: expected a local disk, found a network file system, where a store is not safe",
                        s->path);
    }
    if (sqlite3_db_readonly(s->db, "main") != 0) {
        return kvl_fail(err, KVL_E_IO,
                        "%s: cannot be written: no permission; --store FILE keeps results elsewhere",
                        s->path);
    }
    KVL_TRY(kvli_lock(&s->lock, file, wait, ud, err));
    KVL_TRY(configure(s, err));
    /* before anything is written: is this ours? An empty file becomes a store */
    KVL_TRY(kvli_schema_check(s, true, err));
    KVL_TRY(expect(s, "PRAGMA journal_mode = WAL", "wal", err));
    return check_settings(s, err);
}

static kvl_status open_to_read(kvl_store *s, const char *path, kvl_err *err) {
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READONLY, NULL);
    const char *file = s->db != NULL ? sqlite3_db_filename(s->db, "main") : NULL;
    if (rc != SQLITE_OK || file == NULL) {
        return kvli_fail_sql(s, rc, "opening it", err);
    }
    const bool is_whole = !has_log(file, "-wal") && !has_log(file, "-journal");
    const bool is_far = lies_on_network(file);
    if (is_far && !is_whole) {
        return kvl_fail(err, KVL_E_IO,
                        "%s: expected a local disk, found a network file system and a log that is not "
                        "merged yet",
                        s->path);
    }
    /* where its log cannot be made (read-only medium, folder of somebody else) nobody writes either */
    rc = is_far ? SQLITE_CANTOPEN : sqlite3_exec(s->db, "SELECT 1 FROM sqlite_schema", NULL, NULL, NULL);
    if (is_whole && (rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY)) {
        sqlite3_close(s->db);
        s->db = NULL;
        rc = open_still(&s->db, path);
        if (rc != SQLITE_OK) {
            return kvli_fail_sql(s, rc, "opening it", err);
        }
    }
    if (!is_whole && (rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY)) {
        return kvl_fail(
            err, KVL_E_IO,
            "%s: a writer was stopped before its log was merged: expected a folder that can be written to, "
            "or that a command which writes (kvlab sweep) opens it first",
            s->path);
    }
    KVL_TRY(configure(s, err));
    KVL_TRY(kvli_schema_check(s, false, err));
    return check_settings(s, err);
}

kvl_status kvl_store_open(kvl_store **out, const char *path, kvl_store_mode mode, kvl_store_wait *wait,
                          void *ud, kvl_err *err) {
    bool is_there = false;
    *out = NULL;
    KVL_TRY(look(&is_there, path, mode == KVL_STORE_WRITE, err));
    kvl_store *s = kvl_calloc(1, sizeof *s);
    kvl_str full = {0};
    kvl_status status = KVL_OK;
    if (s == NULL) {
        return kvl_fail_nomem(err, path);
    }
    s->lock = -1;
    s->path = kvl_strdup(path);
    /* names like ":memory:" and "file:" are files here */
    kvl_str_printf(&full, "%s%s", path[0] == '/' ? "" : "./", path);
    if (s->path == NULL || full.failed) {
        status = kvl_fail_nomem(err, path);
        goto done;
    }
    KVL_GO(mode == KVL_STORE_WRITE ? open_to_write(s, full.data, wait, ud, err)
                                   : open_to_read(s, full.data, err));
    *out = s;
    s = NULL;
done:
    kvl_store_close(s);
    kvl_str_free(&full);
    return status;
}

void kvl_store_close(kvl_store *s) {
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->n_statements; i++) {
        sqlite3_finalize(s->statements[i].stmt);
    }
    sqlite3_close(s->db);
    kvli_unlock(s->lock);
    kvl_free(s->path);
    kvl_free(s);
}
