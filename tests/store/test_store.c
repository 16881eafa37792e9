/* Records and documents go into a store and come out as the same bits; settings; files that are none. */
#include "made_up.h"

#include "store/store_int.h"

#include <sys/stat.h>
#include <unistd.h>

static char group_a[KVL_KEY_TEXT], group_b[KVL_KEY_TEXT];

static kvl_store *fresh(const char *name) { return open_store(test_temp_path(name), KVL_STORE_WRITE); }

static const char *pragma(kvl_store *s, const char *sql) {
    static char text[64];
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return text;
}

static void test_settings(void **state) {
    (void)state;
    const struct {
        const char *sql, *expected;
    } settings[] = {{"PRAGMA journal_mode", "wal"},     {"PRAGMA synchronous", "2"},
                    {"PRAGMA foreign_keys", "1"},       {"PRAGMA trusted_schema", "0"},
                    {"PRAGMA busy_timeout", "5000"},    {"PRAGMA application_id", "1263946835"},
                    {"PRAGMA user_version", "1"},       {"PRAGMA cell_size_check", "1"},
                    {"PRAGMA integrity_check(1)", "ok"}};
    kvl_store *s = fresh("settings.db");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        assert_string_equal(pragma(s, settings[i].sql), settings[i].expected);
    }
    /* every table is STRICT and refuses what cannot be */
    assert_string_equal(pragma(s, "SELECT count(*) FROM pragma_table_list WHERE strict = 1"), "4");
    assert_int_equal(sqlite3_exec(s->db, "UPDATE cell SET n_scored = -1", NULL, NULL, NULL), SQLITE_OK);
    put_made_up(s, 'a', 0, 1);
    assert_int_equal(sqlite3_exec(s->db, "UPDATE cell SET n_scored = -1", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_CHECK);
    assert_int_equal(sqlite3_exec(s->db, "UPDATE cell SET nll_sum = 9e999", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_CHECK);
    assert_int_equal(sqlite3_exec(s->db, "UPDATE cell SET n_scored = 'x'", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_DATATYPE);
    kvl_store_close(s);
}

static void test_records(void **state) {
    (void)state;
    const char *path = test_temp_path("records.db");
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    put_made_up(s, 'a', 0, 40);
    check_made_up(s, 'a', 0, 40);
    kvl_store_close(s);
    s = open_store(path, KVL_STORE_READ);
    check_made_up(s, 'a', 0, 40);
    made_up m;
    kvl_record found;
    bool is_there = true;
    make_up(&m, 'a', 40);
    assert_ok(kvl_store_get(s, m.record.key, &found, &is_there, NULL));
    assert_false(is_there);
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_USAGE); /* it is open for reading */
    kvl_store_close(s);
}

static void test_second_put(void **state) {
    (void)state;
    kvl_store *s = fresh("second.db");
    made_up m;
    kvl_err err;
    kvl_store_groups groups;
    put_made_up(s, 'a', 3, 5);
    put_made_up(s, 'a', 3, 5); /* the same bits: left as it is */
    assert_ok(kvl_store_find_groups(s, &groups, NULL));
    assert_int_equal(groups.items[0].n_cells, 2);
    kvl_store_groups_free(&groups);
    make_up(&m, 'a', 4);
    m.nll[7] = nextafter(m.nll[7], 100);
    assert_int_equal(kvl_store_put(s, &m.record, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, m.record.key));
    assert_non_null(strstr(err.msg, "NLL 7"));
    m.record.n_scored--;
    assert_int_equal(kvl_store_put(s, &m.record, &err), KVL_E_CHECK);
    check_made_up(s, 'a', 3, 5);
    kvl_store_close(s);
}

static void test_refused_records(void **state) {
    (void)state;
    kvl_store *s = fresh("refused.db");
    made_up m;
    make_up(&m, 'a', 9);
    m.record.key[5] ^= 1;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.record.group[0] = '\0';
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.nll[3] = (double)NAN;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.record.nll_sum = (double)INFINITY;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.record.wall_ns = UINT64_MAX;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.record.n_tokens = ((size_t)1 << 40) + 1;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    make_up(&m, 'a', 9);
    m.record.keep_ratio = 1.5;
    assert_int_equal(kvl_store_put(s, &m.record, NULL), KVL_E_CHECK);
    kvl_store_groups groups;
    assert_ok(kvl_store_find_groups(s, &groups, NULL));
    assert_int_equal(groups.n, 0);
    kvl_store_groups_free(&groups);
    kvl_store_close(s);
}

static void test_list(void **state) {
    (void)state;
    kvl_store *s = fresh("list.db");
    kvl_records list;
    /* out of order: a policy comes before the baselines, samples fall */
    const size_t arrival[] = {9, 8, 3, 5, 1, 0, 2, 11, 10, 4, 6, 7};
    const size_t expected[] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7};
    for (size_t i = 0; i < 12; i++) {
        put_made_up(s, 'a', arrival[i], arrival[i] + 1);
        put_made_up(s, 'b', i, i + 1);
    }
    assert_ok(kvl_store_list(s, group_a, &list, NULL));
    assert_int_equal(list.n, 12);
    for (size_t i = 0; i < 12; i++) {
        made_up m;
        make_up(&m, 'a', expected[i]);
        assert_true(made_up_is(&m, &list.items[i], false));
        assert_null(list.items[i].nll);
        assert_null(list.items[i].identity);
        assert_null(list.items[i].facts);
    }
    kvl_records_free(&list);
    memset(group_a, 'c', 64);
    assert_ok(kvl_store_list(s, group_a, &list, NULL));
    memset(group_a, 'a', 64);
    assert_int_equal(list.n, 0);
    kvl_records_free(&list);

    kvl_store_groups groups;
    put_made_up(s, 'a', 12, 13);
    assert_ok(kvl_store_find_groups(s, &groups, NULL));
    assert_int_equal(groups.n, 2);
    assert_string_equal(groups.items[0].group, group_a); /* newest first */
    assert_string_equal(groups.items[1].group, group_b);
    assert_string_equal(groups.items[0].model, "novels-7m");
    assert_string_equal(groups.items[0].preset, "ucurve");
    assert_string_equal(groups.items[0].protocol, "decode");
    assert_int_equal(groups.items[0].n_cells, 13);
    assert_int_equal(strlen(groups.items[0].newest), 20);
    kvl_store_groups_free(&groups);
    kvl_store_close(s);
}

typedef struct failure {
    const made_up *made;
    size_t n, n_attempts;
    char why[64];
} failure;

static kvl_status take_failure(void *ud, const kvl_record *r, const char *why, size_t n_attempts,
                               kvl_err *err) {
    failure *f = ud;
    (void)err;
    if (why != NULL) {
        assert_true(made_up_is(f->made, r, false));
        f->n++;
        f->n_attempts = n_attempts;
        (void)snprintf(f->why, sizeof f->why, "%s", why);
    }
    return KVL_OK;
}

static void test_failures(void **state) {
    (void)state;
    kvl_store *s = fresh("failures.db");
    made_up m;
    kvl_record found;
    failure found_failure = {0};
    kvl_store_groups groups;
    bool is_there = true;
    size_t n = 9;
    make_up(&m, 'a', 6);
    assert_ok(kvl_store_count_attempts(s, m.record.key, &n, NULL));
    assert_int_equal(n, 0);
    m.record.nll = NULL;
    for (size_t i = 1; i <= 4; i++) {
        assert_ok(kvl_store_put_failed(s, &m.record, i < 4 ? "first" : "NaN in layer 3", NULL));
        assert_ok(kvl_store_count_attempts(s, m.record.key, &n, NULL));
        assert_int_equal(n, i);
    }
    assert_ok(kvl_store_get(s, m.record.key, &found, &is_there, NULL));
    assert_false(is_there);
    put_made_up(s, 'a', 7, 8);
    assert_ok(kvl_store_find_groups(s, &groups, NULL));
    assert_int_equal(groups.items[0].n_cells, 1);
    assert_int_equal(groups.items[0].n_failed, 1);
    kvl_store_groups_free(&groups);
    found_failure.made = &m;
    assert_ok(kvl_store_each_cell(s, group_a, take_failure, &found_failure, NULL));
    assert_int_equal(found_failure.n, 1);
    assert_string_equal(found_failure.why, "NaN in layer 3");
    assert_int_equal(found_failure.n_attempts, 4);

    /* once it succeeds it is a cell like others, and a later failure does not undo that */
    put_made_up(s, 'a', 6, 7);
    check_made_up(s, 'a', 6, 8);
    assert_ok(kvl_store_put_failed(s, &m.record, "late", NULL));
    assert_ok(kvl_store_count_attempts(s, m.record.key, &n, NULL));
    assert_int_equal(n, 0);
    check_made_up(s, 'a', 6, 8);
    found_failure.n = 0;
    assert_ok(kvl_store_each_cell(s, group_a, take_failure, &found_failure, NULL));
    assert_int_equal(found_failure.n, 0);
    assert_ok(kvl_store_find_groups(s, &groups, NULL));
    assert_int_equal(groups.items[0].n_cells, 2);
    assert_int_equal(groups.items[0].n_failed, 0);
    kvl_store_groups_free(&groups);
    kvl_store_close(s);
}

static kvl_document document(const char *kind, const char *model, char key, const char *lines, size_t n) {
    static char keys[4][KVL_KEY_TEXT];
    static size_t next;
    char *text = keys[next++ % 4];
    memset(text, key, 64);
    return (kvl_document){.kind = (char *)kind,
                          .model = (char *)model,
                          .key = text,
                          .group = (char *)"",
                          .command = (char *)"kvlab explain",
                          .lines = (char *)lines,
                          .n_bytes = n};
}

static void check_document(kvl_store *s, const char *kind, const char *model, const char *lines, size_t n) {
    kvl_document found;
    bool is_there = false;
    assert_ok(kvl_store_get_document(s, kind, model, &found, &is_there, NULL));
    assert_int_equal(is_there, lines != NULL);
    if (lines != NULL) {
        assert_string_equal(found.kind, kind);
        assert_int_equal(found.n_bytes, n);
        assert_memory_equal(found.lines, lines, n + 1);
        assert_int_equal(strlen(found.made), 20);
        assert_string_equal(found.command, "kvlab explain");
    }
    kvl_document_free(&found);
}

static void test_documents(void **state) {
    (void)state;
    kvl_store *s = fresh("documents.db");
    kvl_document d = document("explain", "m1", 'a', "{\"x\":\"\0\"}\n", 10);
    assert_ok(kvl_store_put_document(s, &d, NULL));
    check_document(s, "explain", "m1", "{\"x\":\"\0\"}\n", 10);
    d = document("explain", "m2", 'b', "{}", 2);
    assert_ok(kvl_store_put_document(s, &d, NULL));
    check_document(s, "explain", "m1", "{\"x\":\"\0\"}\n", 10);
    check_document(s, "explain", NULL, "{}", 2);
    check_document(s, "explain", "m3", NULL, 0);
    check_document(s, "bench", NULL, NULL, 0);
    /* the same key again replaces it, and is the newest then */
    d = document("explain", "m1", 'a', "", 0);
    assert_ok(kvl_store_put_document(s, &d, NULL));
    check_document(s, "explain", NULL, "", 0);
    assert_string_equal(pragma(s, "SELECT count(*) FROM document"), "2");
    d = document("bench", "m1", 'a', "x", 1);
    assert_ok(kvl_store_put_document(s, &d, NULL));
    check_document(s, "explain", NULL, "", 0);
    check_document(s, "bench", "m1", "x", 1);
    kvl_store_close(s);
}

static void refuse(const char *path, kvl_store_mode mode, kvl_status status, const char *words) {
    kvl_store *s = NULL;
    kvl_err err = {0};
    assert_int_equal(kvl_store_open(&s, path, mode, NULL, NULL, &err), status);
    assert_null(s);
    if (strstr(err.msg, words) == NULL || strstr(err.msg, path) == NULL) {
        fail_msg("expected '%s', found '%s'", words, err.msg);
    }
}

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Refused in both modes, and left as it is. */
static void refuse_both(const char *path, const char *words) {
    kvl_file file;
    assert_ok(kvl_file_open(&file, path, NULL));
    const uint64_t n_bytes = file.n_bytes;
    kvl_file_close(&file);
    refuse(path, KVL_STORE_READ, KVL_E_STORE, words);
    refuse(path, KVL_STORE_WRITE, KVL_E_STORE, words);
    assert_ok(kvl_file_open(&file, path, NULL));
    assert_int_equal(file.n_bytes, n_bytes);
    kvl_file_close(&file);
}

static void test_files_that_are_none(void **state) {
    (void)state;
    const char *path = test_temp_path("none.db");
    refuse(path, KVL_STORE_READ, KVL_E_IO, "No such file");
    refuse(test_temp_path("no-folder/none.db"), KVL_STORE_WRITE, KVL_E_IO, "unable to open");
    refuse(test_temp_dir(), KVL_STORE_READ, KVL_E_IO, "regular file");
    assert_int_equal(mkfifo(test_temp_path("pipe"), 0600), 0);
    refuse(test_temp_path("pipe"), KVL_STORE_WRITE, KVL_E_IO, "regular file");
    char noise[9000];
    memset(noise, 'x', sizeof noise);
    test_save(path, noise, sizeof noise);
    refuse_both(path, "no database");
    test_save(path, noise, 10);
    refuse_both(path, "no database");
    test_save(path, noise, 0);
    refuse(path, KVL_STORE_READ, KVL_E_STORE, "empty file");
    kvl_store_close(open_store(path, KVL_STORE_WRITE)); /* an empty file becomes a store */

    path = test_temp_path("other.db");
    run_sql(path, "CREATE TABLE t (a)");
    refuse_both(path, "something else");
    run_sql(path, "PRAGMA application_id = 7");
    refuse_both(path, "application id 7");

    path = test_temp_path("newer.db");
    kvl_store_close(open_store(path, KVL_STORE_WRITE));
    run_sql(path, "PRAGMA user_version = 2");
    refuse_both(path, "expected a store of version 1, found version 2, which a newer program has made");

    path = test_temp_path("more.db");
    kvl_store_close(open_store(path, KVL_STORE_WRITE));
    run_sql(path, "CREATE VIEW x AS SELECT 1");
    refuse_both(path, "found x");
    run_sql(path, "DROP VIEW x; DROP INDEX cell_group");
    refuse_both(path, "expected cell_group");
    run_sql(path, "CREATE INDEX cell_group ON cell(group_key)");
    refuse_both(path, "another one of that name");

    path = test_temp_path("linked.db");
    kvl_store_close(open_store(path, KVL_STORE_WRITE));
    assert_int_equal(link(path, test_temp_path("second-name.db")), 0);
    refuse(path, KVL_STORE_WRITE, KVL_E_IO, "hard links");
}

typedef struct walk_count {
    size_t n_done, n_failed, n_documents, stop_at;
} walk_count;

static kvl_status count_cell(void *ud, const kvl_record *r, const char *why, size_t n_attempts,
                             kvl_err *err) {
    walk_count *w = ud;
    made_up m;
    make_up(&m, r->group[0], w->n_done + w->n_failed);
    assert_true(made_up_is(&m, r, why == NULL));
    assert_int_equal(n_attempts, why != NULL);
    w->n_done += why == NULL;
    w->n_failed += why != NULL;
    return w->n_done == w->stop_at ? kvl_fail(err, KVL_E_TEXT, "enough") : KVL_OK;
}

static kvl_status count_document(void *ud, const kvl_document *d, kvl_err *err) {
    walk_count *w = ud;
    (void)err;
    assert_string_equal(d->lines, "{}\n");
    assert_int_equal(d->key[0], (char)('a' + w->n_documents));
    w->n_documents++;
    return KVL_OK;
}

static void no_fault(void *ud, const char *line) {
    (void)ud;
    fail_msg("%s", line);
}

static void check_whole(kvl_store *s) {
    walk_count w = {0};
    size_t n_faults = 1;
    assert_ok(kvl_store_each_cell(s, group_a, count_cell, &w, NULL));
    assert_ok(kvl_store_each_document(s, count_document, &w, NULL));
    assert_int_equal(w.n_done, 9);
    assert_int_equal(w.n_failed, 1);
    assert_int_equal(w.n_documents, 2);
    assert_ok(kvl_store_verify(s, no_fault, NULL, &n_faults, NULL));
    assert_int_equal(n_faults, 0);
}

static void test_walk_and_backup(void **state) {
    (void)state;
    kvl_store *s = fresh("walk.db");
    made_up m;
    walk_count w = {.stop_at = 4};
    put_made_up(s, 'a', 0, 9);
    make_up(&m, 'a', 9);
    assert_ok(kvl_store_put_failed(s, &m.record, "why", NULL));
    put_made_up(s, 'b', 0, 4);
    for (char key = 'a'; key <= 'b'; key++) {
        const kvl_document d = document("needle", "m1", key, "{}\n", 3);
        assert_ok(kvl_store_put_document(s, &d, NULL));
    }
    check_whole(s);
    assert_int_equal(kvl_store_each_cell(s, group_a, count_cell, &w, NULL), KVL_E_TEXT);

    /* while it is open; and of a store that is open for reading */
    kvl_store *reader = open_store(test_temp_path("walk.db"), KVL_STORE_READ);
    assert_ok(kvl_store_backup(s, test_temp_path("copy-1.db"), NULL));
    assert_ok(kvl_store_backup(reader, test_temp_path("copy-2.db"), NULL));
    assert_int_equal(kvl_store_backup(s, test_temp_path("copy-1.db"), NULL), KVL_E_IO);
    assert_int_equal(kvl_store_backup(s, test_temp_path("no-folder/copy.db"), NULL), KVL_E_IO);
    kvl_store_close(reader);
    kvl_store_close(s);
    const char *const copies[] = {"copy-1.db", "copy-2.db"};
    for (size_t i = 0; i < 2; i++) {
        s = open_store(test_temp_path(copies[i]), KVL_STORE_READ);
        check_whole(s);
        kvl_store_close(s);
        s = open_store(test_temp_path(copies[i]), KVL_STORE_WRITE);
        put_made_up(s, 'b', 4, 5);
        check_made_up(s, 'b', 0, 5);
        kvl_store_close(s);
    }
}

/* Names that mean something to SQLite are files here. */
static void test_names(void **state) {
    (void)state;
    const char *const names[] = {":memory:", "file:x?mode=memory", "a b%20#c.db"};
    char old[4096];
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(test_temp_dir()), 0);
    for (size_t i = 0; i < 3; i++) {
        kvl_store *s = open_store(names[i], KVL_STORE_WRITE);
        put_made_up(s, 'a', i, i + 1);
        kvl_store_close(s);
        assert_true(kvl_file_exists(names[i]));
        s = open_store(names[i], KVL_STORE_READ);
        check_made_up(s, 'a', i, i + 1);
        kvl_store_close(s);
    }
    assert_int_equal(chdir(old), 0);
}

static void test_network(void **state) {
    (void)state;
    assert_true(kvli_is_network(0x6969));
    assert_true(kvli_is_network(0xffffffffff534d42)); /* as a signed word has it */
    assert_false(kvli_is_network(0xef53));            /* ext4 */
    assert_false(kvli_is_network(0x01021994));        /* tmpfs */
}

int main(void) {
    memset(group_a, 'a', 64);
    memset(group_b, 'b', 64);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),   cmocka_unit_test(test_records),
        cmocka_unit_test(test_second_put), cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_list),       cmocka_unit_test(test_failures),
        cmocka_unit_test(test_documents),  cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_walk_and_backup),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
