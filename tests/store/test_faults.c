/* Failing writes, full disks and power cuts at every single operation: what was acknowledged stays. */
#include "shim.h"

#include "store/store_int.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { n_records = 8 };

static char path[512], wal[512], shm[512];

static void remove_all(void) {
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock"};
    for (size_t i = 0; i < 5; i++) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

/* Puts all records, opening the store anew after half of them, until something fails. Which were
 * acknowledged is *n; whatever fails says E_IO and names the file. */
static void put_until_failure(size_t first, size_t *n) {
    kvl_store *s = NULL;
    kvl_err err = {0};
    kvl_status status = KVL_OK;
    *n = first;
    for (size_t i = first; i < n_records && status == KVL_OK; i++) {
        made_up m;
        make_up(&m, 'a', i);
        if (i == n_records / 2) {
            kvl_store_close(s);
            s = NULL;
        }
        status = s == NULL ? kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, &err) : KVL_OK;
        if (status == KVL_OK) {
            status = kvl_store_put(s, &m.record, &err);
            *n += status == KVL_OK;
        }
    }
    kvl_store_close(s);
    if (status != KVL_OK && (status != KVL_E_IO || strstr(err.msg, path) == NULL)) {
        fail_msg("operation %ld: %s: %s", shim.fail_at, kvl_status_name(status), err.msg);
    }
}

static void no_fault(void *ud, const char *line) { fail_msg("operation %ld: %s", *(long *)ud, line); }

/* The first n are there, nothing is damaged, and the rest can be put. */
static void check_and_finish(size_t n, long fail_at) {
    size_t n_faults = 0, n_done = 0;
    if (n > 0) {
        kvl_store *reader = open_store(path, KVL_STORE_READ);
        check_made_up(reader, 'a', 0, n);
        kvl_store_close(reader);
    }
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    check_made_up(s, 'a', 0, n);
    assert_ok(kvl_store_verify(s, no_fault, &fail_at, &n_faults, NULL));
    kvl_store_close(s);
    put_until_failure(n, &n_done);
    assert_int_equal(n_done, n_records);
    s = open_store(path, KVL_STORE_READ);
    check_made_up(s, 'a', 0, n_records);
    assert_ok(kvl_store_verify(s, no_fault, &fail_at, &n_faults, NULL));
    kvl_store_close(s);
}

/* One operation fails, or all from it on; then everything works again. */
static void fail_everywhere(size_t n_before, bool goes_on, int code) {
    bool has_failed = true;
    long k = 0;
    shim_start();
    for (; has_failed; k++) {
        size_t n = 0;
        shim_arm(-1, false, 0);
        remove_all();
        if (n_before > 0) {
            kvl_store *s = open_store(path, KVL_STORE_WRITE);
            put_made_up(s, 'a', 0, n_before);
            kvl_store_close(s);
        }
        shim_arm(k, goes_on, code);
        put_until_failure(n_before, &n);
        has_failed = shim.has_failed;
        shim_arm(-1, false, 0);
        check_and_finish(n, k);
    }
    shim_stop();
    assert_true(k > 40);
    print_message("%ld operations\n", k - 1);
}

static void test_failing_writes(void **state) {
    (void)state;
    fail_everywhere(0, false, 0);
    fail_everywhere(3, true, 0);
}

static void test_no_room_anywhere(void **state) {
    (void)state;
    fail_everywhere(3, true, SQLITE_FULL);
}

static void test_power_cuts(void **state) {
    (void)state;
    bool has_failed = true;
    long k = 0;
    shim_start();
    for (; has_failed; k++) {
        for (uint64_t draw = 0; draw < 4; draw++) {
            size_t n = 0;
            remove_all();
            shim_arm(k, true, 0);
            put_until_failure(0, &n);
            has_failed = shim.has_failed;
            /* shared memory does not outlive the machine */
            shim_cut_power(draw < 2 ? (shim_loss)draw : LOSE_SOME, (uint64_t)k * 4 + draw);
            unlink(shm);
            check_and_finish(n, k);
        }
    }
    shim_stop();
    assert_true(k > 40);
    print_message("%ld operations\n", k - 1);
}

static void test_full_by_pages(void **state) {
    (void)state;
    remove_all();
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    kvl_err err = {0};
    size_t n = 0;
    made_up m;
    assert_int_equal(sqlite3_exec(s->db, "PRAGMA max_page_count = 24", NULL, NULL, NULL), SQLITE_OK);
    for (kvl_status status = KVL_OK; status == KVL_OK; n += status == KVL_OK) {
        make_up(&m, 'a', n);
        status = kvl_store_put(s, &m.record, &err);
    }
    assert_int_equal(err.status, KVL_E_IO);
    char words[64];
    snprintf(words, sizeof words, "storing a record of %zu bytes",
             strlen(m.identity) + strlen(m.record.facts) + sizeof m.nll);
    assert_non_null(strstr(err.msg, words));
    assert_non_null(strstr(err.msg, path));
    assert_true(n > 10);
    check_made_up(s, 'a', 0, n);
    assert_int_equal(sqlite3_exec(s->db, "PRAGMA max_page_count = 10000", NULL, NULL, NULL), SQLITE_OK);
    put_made_up(s, 'a', n, n + 10);
    check_made_up(s, 'a', 0, n + 10);
    kvl_store_close(s);
}

static void test_full_by_limit(void **state) {
    (void)state;
    struct rlimit before, limit;
    struct stat st;
    kvl_err err = {0};
    remove_all();
    kvl_store *s = open_store(path, KVL_STORE_WRITE);
    put_made_up(s, 'a', 0, 5);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)st.st_size + 20000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    size_t n = 5;
    for (kvl_status status = KVL_OK; status == KVL_OK; n += status == KVL_OK) {
        made_up m;
        make_up(&m, 'a', n);
        status = kvl_store_put(s, &m.record, &err);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err.status, KVL_E_IO);
    assert_non_null(strstr(err.msg, path));
    check_made_up(s, 'a', 0, n);
    put_made_up(s, 'a', n, n + 5);
    kvl_store_close(s);
    s = open_store(path, KVL_STORE_READ);
    check_made_up(s, 'a', 0, n + 5);
    kvl_store_close(s);
}

/* Memory ends at call k: E_NOMEM, and afterwards all is as before. */
static void test_no_memory(void **state) {
    (void)state;
    char group[KVL_KEY_TEXT] = {0};
    kvl_status status = KVL_E_NOMEM;
    int64_t k = 0;
    memset(group, 'a', KVL_KEY_TEXT - 1);
    for (; status != KVL_OK; k++) {
        kvl_store *s = NULL;
        made_up m;
        kvl_record found = {0};
        kvl_records list = {0};
        kvl_store_groups groups = {0};
        kvl_document d = {(char *)"k", (char *)"m", group, (char *)"", (char *)"c", NULL, (char *)"x", 1};
        kvl_document d_found = {0};
        bool is_there = false;
        size_t n_faults = 0;
        remove_all();
        make_up(&m, 'a', 4);
        kvl_alloc_fail_after(k);
        status = kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, NULL);
        status = status == KVL_OK ? kvl_store_put(s, &m.record, NULL) : status;
        status = status == KVL_OK ? kvl_store_put(s, &m.record, NULL) : status;
        status = status == KVL_OK ? kvl_store_put_document(s, &d, NULL) : status;
        status = status == KVL_OK ? kvl_store_get(s, m.record.key, &found, &is_there, NULL) : status;
        status = status == KVL_OK ? kvl_store_list(s, group, &list, NULL) : status;
        status = status == KVL_OK ? kvl_store_find_groups(s, &groups, NULL) : status;
        status = status == KVL_OK ? kvl_store_get_document(s, "k", NULL, &d_found, &is_there, NULL) : status;
        status = status == KVL_OK ? kvl_store_verify(s, no_fault, &k, &n_faults, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_record_free(&found);
        kvl_records_free(&list);
        kvl_store_groups_free(&groups);
        kvl_document_free(&d_found);
        if (s != NULL) {
            put_made_up(s, 'a', 4, 5);
            check_made_up(s, 'a', 4, 5);
            kvl_store_close(s);
        }
    }
    assert_true(k > 50);
}

int main(void) {
    snprintf(path, sizeof path, "%s", test_temp_path("faulty.db"));
    snprintf(wal, sizeof wal, "%s", test_temp_path("faulty.db-wal"));
    snprintf(shm, sizeof shm, "%s", test_temp_path("faulty.db-shm"));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_by_pages),  cmocka_unit_test(test_full_by_limit),
        cmocka_unit_test(test_failing_writes), cmocka_unit_test(test_no_room_anywhere),
        cmocka_unit_test(test_power_cuts),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
