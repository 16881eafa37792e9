/* A damaged store: whatever byte is changed and wherever the file ends, what it says is right, or it says
 * that it is damaged. Nothing else, and no crash. */
#include "made_up.h"

#include "store/store_int.h"

#include <sys/stat.h>
#include <unistd.h>

enum { n_records = 30, n_documents = 3, n_flips = 600 };

static char *whole; /* [n_whole] a sound store */
static size_t n_whole;
static char path[512];

static void count_fault(void *ud, const char *line) {
    assert_non_null(strstr(line, "damaged.db: damaged: "));
    assert_null(strchr(line, '\n'));
    (*(size_t *)ud)++;
}

/* What a damaged store may say: E_STORE, which names the file. */
static void check_refusal(kvl_status status, const kvl_err *err, size_t at) {
    if (status != KVL_E_STORE || strstr(err->msg, "damaged.db: ") == NULL) {
        fail_msg("byte %zu: %s: %s", at, kvl_status_name(status), err->msg);
    }
}

/* How many of the records are missing or refused; any that comes is the one that was stored. */
static size_t check_cells(kvl_store *s, size_t at) {
    size_t n_bad = 0;
    for (size_t i = 0; i < n_records; i++) {
        made_up m;
        kvl_record found;
        kvl_err err = {0};
        bool is_there = false;
        make_up(&m, 'a', i);
        const kvl_status status = kvl_store_get(s, m.record.key, &found, &is_there, &err);
        if (status == KVL_OK && is_there) {
            assert_true(made_up_is(&m, &found, true));
            kvl_record_free(&found);
        } else {
            n_bad++;
            if (status != KVL_OK) {
                check_refusal(status, &err, at);
            }
        }
    }
    return n_bad;
}

/* A list is complete and right, or refused. */
static size_t check_list(kvl_store *s, size_t at) {
    char group[KVL_KEY_TEXT] = {0};
    kvl_records list;
    kvl_err err = {0};
    memset(group, 'a', KVL_KEY_TEXT - 1);
    const kvl_status status = kvl_store_list(s, group, &list, &err);
    if (status != KVL_OK) {
        check_refusal(status, &err, at);
        return 1;
    }
    const size_t n = list.n;
    for (size_t i = 0; i < n; i++) {
        made_up m;
        make_up(&m, 'a', i);
        assert_true(made_up_is(&m, &list.items[i], false));
    }
    kvl_records_free(&list);
    if (n != n_records) { /* the group's count is gone with the group: it is not among the groups then */
        kvl_store_groups groups;
        assert_int_equal(n, 0);
        if (kvl_store_find_groups(s, &groups, &err) == KVL_OK) {
            for (size_t i = 0; i < groups.n; i++) {
                assert_string_not_equal(groups.items[i].group, group);
            }
            kvl_store_groups_free(&groups);
        }
    }
    return n != n_records;
}

static size_t check_documents(kvl_store *s, size_t at) {
    size_t n_bad = 0;
    for (size_t i = 0; i < n_documents; i++) {
        const char kind[] = {(char)('x' + i), '\0'};
        kvl_document found;
        kvl_err err = {0};
        bool is_there = false;
        const kvl_status status = kvl_store_get_document(s, kind, "m", &found, &is_there, &err);
        if (status == KVL_OK && is_there) {
            assert_int_equal(found.n_bytes, 5000);
            for (size_t j = 0; j < found.n_bytes; j++) {
                assert_int_equal(found.lines[j], 'x' + (char)i);
            }
            kvl_document_free(&found);
        } else {
            n_bad++;
            if (status != KVL_OK) {
                check_refusal(status, &err, at);
            }
        }
    }
    return n_bad;
}

/* Reads all of a store that may be damaged at byte `at`; whether anything was found out. */
static bool look_closely(kvl_store_mode mode, size_t at) {
    kvl_store *s = NULL;
    kvl_err err = {0};
    size_t n_faults = 0, n_called = 0;
    const kvl_status status = kvl_store_open(&s, path, mode, NULL, NULL, &err);
    if (status != KVL_OK) {
        check_refusal(status, &err, at);
        return true;
    }
    const size_t n_bad = check_cells(s, at) + check_list(s, at) + check_documents(s, at);
    const kvl_status verified = kvl_store_verify(s, count_fault, &n_called, &n_faults, &err);
    if (verified != KVL_OK) {
        check_refusal(verified, &err, at);
    } else {
        assert_int_equal(n_called, n_faults);
        if (n_bad != 0 && n_faults == 0) {
            fail_msg("byte %zu: %zu missing, and no fault was found", at, n_bad);
        }
    }
    kvl_store_close(s);
    return verified != KVL_OK || n_faults != 0;
}

static void put_file(const char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void make_whole(void) {
    char key[KVL_KEY_TEXT] = {0};
    char lines[5000];
    snprintf(path, sizeof path, "%s", test_temp_path("damaged.db"));
    unlink(path);
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    put_made_up(s, 'a', 0, n_records);
    put_made_up(s, 'b', 0, 4);
    for (size_t i = 0; i < n_documents; i++) {
        const char kind[] = {(char)('x' + i), '\0'};
        memset(key, 'a', KVL_KEY_TEXT - 1);
        memset(lines, kind[0], sizeof lines);
        const kvl_document d = {(char *)kind,    (char *)"m", key,   (char *)"",
                                (char *)"kvlab", NULL,        lines, sizeof lines};
        assert_ok(kvl_store_put_document(s, &d, NULL));
    }
    kvl_store_close(s);
    assert_ok(kvl_file_load(&whole, &n_whole, path, 1 << 24, NULL));
}

static void test_sound(void **state) {
    (void)state;
    assert_false(look_closely(KVL_STORE_READ, 0));
    assert_false(look_closely(KVL_STORE_WRITE, 0));
}

static void test_flipped_bytes(void **state) {
    (void)state;
    size_t n_found = 0;
    for (size_t i = 0; i < n_flips; i++) {
        /* half of them anywhere, half where pages and the file begin */
        const uint64_t luck = kvl_rng_draw(3, 0, i);
        const size_t at =
            i % 2 == 0 ? luck % n_whole : luck % (n_whole / 4096) * 4096 + kvl_rng_draw(3, 1, i) % 100;
        const char before = whole[at];
        const unsigned flip = 1 + (unsigned)(kvl_rng_draw(3, 2, i) % 255);
        whole[at] = (char)(before ^ (char)flip);
        put_file(whole, n_whole);
        n_found += look_closely(i % 3 == 0 ? KVL_STORE_WRITE : KVL_STORE_READ, at);
        whole[at] = before;
    }
    assert_true(n_found > n_flips / 3);
    print_message("%zu of %d changes were found out, the others changed nothing that is read\n", n_found,
                  n_flips);
}

static void test_truncated(void **state) {
    (void)state;
    for (size_t n = 1; n < n_whole; n += 1000) {
        put_file(whole, n);
        assert_true(look_closely(KVL_STORE_READ, n));
    }
    put_file(whole, n_whole - 1);
    assert_true(look_closely(KVL_STORE_WRITE, n_whole - 1));
    put_file(whole, n_whole);
    assert_false(look_closely(KVL_STORE_READ, 0));
}

/* Changes that leave the database sound, and only checksums show. */
static void change(const char *sql) {
    sqlite3 *db = NULL;
    put_file(whole, n_whole);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void note_line(void *ud, const char *line) { snprintf(ud, 512, "%s", line); }

static void test_checksums(void **state) {
    (void)state;
    const struct {
        const char *sql, *words;
    } changes[] = {
        {"UPDATE cell SET nll_sum = nll_sum + 1e-12 WHERE id = 7", "record $: its columns are not"},
        {"UPDATE cell SET policy = 'none' WHERE id = 7", "record $: its columns are not"},
        {"UPDATE cell SET keep_ratio = NULL WHERE id = 7", "record $: its columns are not"},
        {"UPDATE cell SET why = '' WHERE id = 7", "record $: its columns are not"},
        {"UPDATE cell SET made = '2020-01-01T00:00:00Z' WHERE id = 7", "record $: its columns are not"},
        {"UPDATE body SET facts = '{}' WHERE cell = 7", "record $: its NLLs, identity or facts are not"},
        {"UPDATE body SET nll = zeroblob(96) WHERE cell = 7",
         "record $: its NLLs, identity or facts are not"},
        {"UPDATE body SET nll = zeroblob(88) WHERE cell = 7",
         "record $: its NLLs, identity or facts are not"},
        {"UPDATE body SET (identity, facts, nll, sha256) = (SELECT identity, facts, nll, sha256 FROM body "
         "WHERE cell = 8) WHERE cell = 7",
         "record $: its key is not that of its identity"},
        {"DELETE FROM body WHERE cell = 7", "record $: its NLLs, identity or facts are not"},
        {"PRAGMA foreign_keys = OFF; DELETE FROM cell WHERE id = 7",
         "expected as many records as counted, found -1 more"},
        {"UPDATE tally SET n_done = n_done + 1", "expected as many records as counted, found -1 more"},
        {"DELETE FROM tally", "expected as many records as counted"},
        {"UPDATE document SET lines = x'78'", "document z"},
        {"UPDATE document SET model = 'other'", "document z"},
    };
    made_up m;
    make_up(&m, 'a', 6);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char line[512] = {0}, words[256] = {0};
        size_t n_faults = 0;
        const char *dollar = strchr(changes[i].words, '$');
        const int n_before = dollar != NULL ? (int)(dollar - changes[i].words) : 0;
        snprintf(words, sizeof words, "%.*s%s%s", n_before, changes[i].words,
                 dollar != NULL ? m.record.key : "", dollar != NULL ? dollar + 1 : changes[i].words);
        change(changes[i].sql);
        kvl_store *s = open_store(path, KVL_STORE_READ);
        assert_ok(kvl_store_verify(s, note_line, line, &n_faults, NULL));
        assert_true(n_faults > 0);
        if (strstr(line, words) == NULL) {
            fail_msg("expected '%s', found '%s'", words, line);
        }
        assert_true(check_cells(s, i) + check_list(s, i) + check_documents(s, i) > 0);
        kvl_store_close(s);
    }
}

/* What a killed writer leaves is a file and its log. A damaged log ends where the damage begins. */
static void test_damaged_log(void **state) {
    (void)state;
    char log_path[600];
    char *db = NULL, *log = NULL;
    size_t n_db = 0, n_log = 0;
    const char *live = test_temp_path("live.db");
    kvl_store *s = open_store(live, KVL_STORE_WRITE);
    put_made_up(s, 'a', 0, n_records);
    assert_ok(kvl_file_load(&db, &n_db, live, 1 << 24, NULL));
    assert_ok(kvl_file_load(&log, &n_log, test_temp_path("live.db-wal"), 1 << 24, NULL));
    kvl_store_close(s);
    snprintf(log_path, sizeof log_path, "%s-wal", path);
    for (size_t i = 0; i < 100; i++) {
        const size_t at = kvl_rng_draw(4, 0, i) % n_log;
        const char before = log[at];
        put_file(db, n_db);
        log[at] = (char)(before ^ 0x55);
        FILE *f = fopen(log_path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(log, 1, n_log, f), n_log);
        assert_int_equal(fclose(f), 0);
        log[at] = before;
        kvl_err err = {0};
        const kvl_status status = kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, &err);
        if (status != KVL_OK) {
            check_refusal(status, &err, at);
            continue;
        }
        size_t n_faults = 0, n_called = 0, n = 0;
        bool is_there = true;
        for (size_t k = 0; k < n_records; k++) {
            made_up m;
            kvl_record found;
            make_up(&m, 'a', k);
            const bool was_there = is_there;
            if (kvl_store_get(s, m.record.key, &found, &is_there, &err) != KVL_OK) {
                fail_msg("byte %zu: record %zu: %s", at, k, err.msg);
            }
            assert_true(was_there || !is_there); /* the first ones, without a gap */
            assert_true(!is_there || made_up_is(&m, &found, true));
            n += is_there;
            kvl_record_free(&found);
        }
        assert_ok(kvl_store_verify(s, count_fault, &n_called, &n_faults, NULL));
        assert_int_equal(n_faults, 0);
        put_made_up(s, 'a', n, n + 1);
        kvl_store_close(s);
    }
    unlink(log_path);
    kvl_free(db);
    kvl_free(log);
}

int main(void) {
    make_whole();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),       cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_truncated),   cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_damaged_log),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kvl_free(whole);
    return failed;
}
