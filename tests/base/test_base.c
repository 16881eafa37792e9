/* Errors, memory, strings, cursor, JSON limits, files, random numbers and threads. */
#include "support.h"

#include "base/cursor.h"
#include "base/machine.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/texts.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void test_status_table(void **state) {
    (void)state;
    assert_string_equal(kvl_status_name(KVL_E_TRUNC), "E_TRUNC");
    assert_int_equal(kvl_status_exit_code(KVL_OK), 0);
    assert_int_equal(kvl_status_exit_code(KVL_E_USAGE), 2);
    assert_int_equal(kvl_status_exit_code(KVL_E_JSON), 3);
    assert_int_equal(kvl_status_exit_code(KVL_E_IO), 4);
    assert_int_equal(kvl_status_exit_code(KVL_E_NOMEM), 5);
    assert_int_equal(kvl_status_exit_code(KVL_E_CHECK), 6);
    assert_int_equal(kvl_status_exit_code(KVL_E_INTERRUPTED), 130);
    for (int s = 0; s < KVL_N_STATUS; s++) {
        assert_true(strlen(kvl_status_text((kvl_status)s)) > 3);
    }
    assert_string_equal(kvl_status_name((kvl_status)9999), "E_UNKNOWN");
}

static void test_error_text_is_escaped_and_cut(void **state) {
    (void)state;
    kvl_err err = {0};
    char long_name[2000];
    memset(long_name, '\x1b', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(kvl_fail(&err, KVL_E_IO, "a\nb\x7f%s", long_name), KVL_E_IO);
    assert_int_equal(strncmp(err.msg, "a\\x0ab\\x7f\\x1b", 13), 0);
    assert_true(strlen(err.msg) < sizeof err.msg);
    assert_int_equal(kvl_fail(NULL, KVL_E_IO, "x"), KVL_E_IO);
}

static void test_memory(void **state) {
    (void)state;
    assert_null(kvl_calloc(SIZE_MAX, 2));
    assert_null(kvl_calloc(SIZE_MAX / 2, 1));
    for (size_t n = 0; n < 300; n += 37) {
        unsigned char *block = kvl_calloc(n, 3);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % KVL_ALIGN_BYTES, 0);
        for (size_t i = 0; i < 3 * n; i++) {
            assert_int_equal(block[i], 0);
        }
        kvl_free(block);
    }
    uint64_t before = kvl_alloc_count();
    kvl_alloc_fail_after(1);
    void *first = kvl_calloc(1, 1);
    assert_non_null(first);
    assert_null(kvl_calloc(1, 1));
    assert_null(kvl_strndup("abc", 3));
    kvl_alloc_fail_after(-1);
    assert_int_equal(kvl_alloc_count() - before, 3);
    kvl_free(first);
}

static void test_strings(void **state) {
    (void)state;
    kvl_str s = {.max_len = 10};
    assert_string_equal(kvl_str_text(&s), "");
    kvl_str_puts(&s, "abc");
    kvl_str_printf(&s, "%d", 42);
    assert_string_equal(kvl_str_text(&s), "abc42");
    kvl_str_puts(&s, "123456"); /* one too many */
    assert_true(s.failed);
    assert_int_equal(kvl_str_check(&s, "x", NULL), KVL_E_NOMEM);
    kvl_str_clear(&s);
    assert_false(s.failed);
    kvl_str_free(&s);
}

static void test_texts(void **state) {
    (void)state;
    kvl_texts t = {0};
    for (int i = 0; i < 100; i++) {
        kvl_texts_add(&t, "%.*d", i % 2 == 0 ? 1 : 3, i);
    }
    assert_int_equal(t.n, 100);
    assert_string_equal(kvl_texts_at(&t, 98), "98");
    assert_string_equal(kvl_texts_at(&t, 99), "099");
    kvl_alloc_fail_after(0);
    for (int i = 0; i < 100; i++) {
        kvl_texts_add(&t, "x");
    }
    kvl_alloc_fail_after(-1);
    assert_int_equal(kvl_str_check(&t.bytes, "x", NULL), KVL_E_NOMEM);
    kvl_texts_free(&t);
    assert_int_equal(kvl_control_bytes("a"), 0);
    assert_int_equal(kvl_control_bytes(""), 0);
    assert_int_equal(kvl_control_bytes("\n"), 1);
    assert_int_equal(kvl_control_bytes("\x7f"), 1);
    assert_int_equal(kvl_control_bytes("\xc2\x9b"), 2); /* begins sequences, as ESC [ does */
    assert_int_equal(kvl_control_bytes("\xc2\xa0"), 0);
    assert_int_equal(kvl_control_bytes("\xc2"), 0);
    assert_int_equal(kvl_text_columns("a\xc2\xa0z"), 3);
}

static void test_cursor(void **state) {
    (void)state;
    static const uint8_t bytes[12] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x80};
    kvl_cursor c = kvl_cursor_open(bytes, sizeof bytes);
    assert_int_equal(kvl_cursor_u32le(&c), 1);
    assert_true(kvl_cursor_u64le(&c) == 0x8000000000000002u);
    assert_false(c.failed);
    assert_null(kvl_cursor_take(&c, 1));
    assert_true(c.failed);
    for (uint64_t i = 0; i < 1000; i++) { /* no length, however large, gets past the end */
        c = kvl_cursor_open(bytes, sizeof bytes);
        c.pos = kvl_rng_draw(1, 0, i) % 13;
        uint64_t n = kvl_rng_draw(2, 0, i) >> (kvl_rng_draw(3, 0, i) % 64);
        assert_true((kvl_cursor_take(&c, n) != NULL) == (n <= 12 - kvl_rng_draw(1, 0, i) % 13));
    }
}

static kvl_status parse(const char *text) {
    json_t *json = NULL;
    kvl_err err = {0};
    kvl_status status = kvl_json_parse(&json, text, strlen(text), "j", &err);
    assert_true((json != NULL) == (status == KVL_OK));
    assert_true(status == KVL_OK || strncmp(err.msg, "j: ", 3) == 0);
    json_decref(json);
    return status;
}

/* Takes both; one that could not be made makes the whole fail, without a leak. */
static void test_json_join(void **state) {
    (void)state;
    json_t *o = kvl_json_join(json_pack("{s:i}", "a", 1), json_pack("{s:i}", "b", 2));
    assert_int_equal(json_integer_value(json_object_get(o, "a")), 1);
    assert_int_equal(json_integer_value(json_object_get(o, "b")), 2);
    json_decref(o);
    assert_null(kvl_json_join(json_object(), NULL));
    assert_null(kvl_json_join(NULL, json_object()));
}

static void test_json_limits(void **state) {
    (void)state;
    char deep[200];
    for (int depth = 63; depth <= 66; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        deep[2 * depth] = '\0';
        assert_int_equal(parse(deep), depth <= KVL_JSON_MAX_DEPTH ? KVL_OK : KVL_E_DEPTH);
    }
    assert_int_equal(parse("{\"a\":1,\"a\":2}"), KVL_E_DUP);
    assert_int_equal(parse("{\"a\":1,\"\\u0061\":2}"), KVL_E_DUP);
    assert_int_equal(parse("[1,]"), KVL_E_JSON);
    assert_int_equal(parse("[NaN]"), KVL_E_JSON);
    assert_int_equal(parse("[1e400]"), KVL_E_NUM);
    assert_int_equal(parse("[18446744073709551616]"), KVL_E_NUM);
    assert_int_equal(parse("[\"\xff\"]"), KVL_E_UTF8);
    assert_int_equal(parse("[\"[[[[[[\"]"), KVL_OK); /* brackets in strings are no depth */
    assert_int_equal(parse("\xef\xbb\xbf{}"), KVL_E_JSON);
    assert_int_equal(parse(""), KVL_E_JSON);
}

static void test_files(void **state) {
    (void)state;
    kvl_file f;
    kvl_err err = {0};
    char *bytes = NULL;
    size_t n = 0;
    test_save(test_temp_path("a"), "hello", 5);
    assert_int_equal(kvl_file_open(&f, test_temp_path("a"), NULL), KVL_OK);
    char part[4];
    assert_int_equal(kvl_file_read(&f, 1, part, 4, NULL), KVL_OK);
    assert_memory_equal(part, "ello", 4);
    assert_int_equal(kvl_file_read(&f, 3, part, 4, &err), KVL_E_IO); /* shorter than asked */
    assert_non_null(strstr(err.msg, "found 2"));
    kvl_file_close(&f);
    assert_int_equal(kvl_file_load(&bytes, &n, test_temp_path("a"), 4, NULL), KVL_E_LIMIT);
    assert_int_equal(kvl_file_open(&f, test_temp_dir(), NULL), KVL_E_IO);
    assert_int_equal(kvl_file_open(&f, "/dev/zero", NULL), KVL_E_IO);
    assert_int_equal(mkfifo(test_temp_path("pipe"), 0600), 0);
    assert_int_equal(kvl_file_open(&f, test_temp_path("pipe"), NULL), KVL_E_IO); /* and does not wait */
    assert_int_equal(kvl_file_open(&f, test_temp_path("none"), NULL), KVL_E_IO);
    assert_int_equal(kvl_dir_create(test_temp_path("x/y/z"), NULL), KVL_OK);
    assert_int_equal(kvl_dir_create(test_temp_path("x/y/z"), NULL), KVL_OK);
    assert_int_equal(kvl_dir_create(test_temp_path("a/b"), NULL), KVL_E_IO);
    assert_int_equal(kvl_file_save(test_temp_dir(), "x", 1, NULL), KVL_E_IO);
    assert_int_equal(kvl_file_save("/dev/null", "x", 1, NULL), KVL_E_IO); /* it must stay a device */
    assert_int_equal(kvl_file_save(test_temp_path("a/b"), "x", 1, NULL), KVL_E_IO);
    assert_true(kvl_clock_ns() > 0 && kvl_cpu_count() >= 1 && kvl_peak_rss_bytes() > 100000);
}

/* Golden draws: results must be the same on every machine for ever. */
static void test_random_numbers(void **state) {
    (void)state;
    assert_true(kvl_rng_mix(0) == 0xe220a8397b1dcdafu); /* first output of SplitMix64 from state 0 */
    assert_true(kvl_rng_mix(0x9e3779b97f4a7c15u) == 0x6e789e6aa1b965f4u); /* and the second */
    double mean = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        float u = kvl_rng_unit(1, 2, i);
        assert_true(u >= 0 && u < 1);
        mean += (double)u / 100000;
    }
    assert_true(mean > 0.497 && mean < 0.503);
}

enum { n_items = 1000 };

static void count_item(void *ud, size_t item, unsigned thread) {
    atomic_int *counts = ud;
    assert_true(thread < 4);
    atomic_fetch_add(&counts[item], 1);
}

static void test_pool_runs_every_item_once(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++) {
        kvl_pool *pool = NULL;
        assert_int_equal(kvl_pool_create(&pool, threads, NULL), KVL_OK);
        assert_int_equal(kvl_pool_threads(pool), threads);
        for (size_t n = 0; n <= n_items; n += n < 5 ? 1 : 199) {
            static atomic_int counts[n_items];
            memset(counts, 0, sizeof counts);
            kvl_pool_run(pool, n, count_item, counts);
            for (size_t i = 0; i < n_items; i++) {
                assert_int_equal(atomic_load(&counts[i]), i < n);
            }
        }
        kvl_pool_destroy(pool);
    }
    kvl_pool *pool = NULL;
    assert_int_equal(kvl_pool_create(&pool, 0, NULL), KVL_E_USAGE);
    kvl_pool_destroy(NULL);
}

static void save_below(const char *root, const char *path, const char *text) {
    char dir[4096];
    kvl_str file = {0};
    kvl_str_printf(&file, "%s%s", root, path);
    snprintf(dir, sizeof dir, "%s", kvl_str_text(&file));
    *strrchr(dir, '/') = '\0';
    assert_int_equal(kvl_dir_create(dir, NULL), KVL_OK);
    test_save(kvl_str_text(&file), text, strlen(text));
    kvl_str_free(&file);
}

static void test_machine(void **state) {
    (void)state;
    kvl_machine m;
    const char *root = test_temp_path("machine");
    kvl_machine_read(&m, root); /* nothing there */
    assert_string_equal(m.cpu, "");
    assert_true(m.memory_total_bytes == 0 && m.memory_limit_bytes == 0 && !(m.cpu_quota > 0));
    assert_true(m.n_online >= 1 && m.clock_resolution_ns >= 1);
    save_below(root, "/proc/meminfo", "MemTotal:  16 kB\nMemFree: 1 kB\nMemAvailable:    8 kB\n");
    save_below(root, "/proc/cpuinfo",
               "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Some CPU @ 2 GHz\ncores: 8\n");
    save_below(root, "/proc/self/cgroup", "1:cpu:/x\n0::/a/b\n");
    save_below(root, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    save_below(root, "/sys/fs/cgroup/a/b/memory.max", "5000000\n");
    save_below(root, "/sys/fs/cgroup/a/cpu.max", "150000 100000\n"); /* limits above the own group count */
    save_below(root, "/sys/fs/cgroup/a/memory.max", "max\n");
    save_below(root, "/sys/fs/cgroup/cpu.max", "800000 100000\n");
    kvl_machine_read(&m, root);
    assert_string_equal(m.cpu, "Some CPU @ 2 GHz");
    assert_int_equal(m.memory_total_bytes, 16384);
    assert_int_equal(m.memory_available_bytes, 8192);
    assert_int_equal(m.memory_limit_bytes, 5000000);
    assert_true(m.cpu_quota > 1.49 && m.cpu_quota < 1.51);
    root = test_temp_path("machine1"); /* version 1: -1 and 2^63 - 4096 are no limits */
    save_below(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    save_below(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    save_below(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    kvl_machine_read(&m, root);
    assert_true(m.memory_limit_bytes == 0 && !(m.cpu_quota > 0));
    save_below(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    kvl_machine_read(&m, root);
    assert_true(m.cpu_quota > 0.49 && m.cpu_quota < 0.51);
}

static void test_sha256(void **state) {
    (void)state;
    kvl_err err = {0};
    char digits[KVL_SHA256_TEXT];
    /* examples of FIPS 180-2, and of nothing */
    assert_int_equal(kvl_sha256(digits, "abc", 3, &err), KVL_OK);
    assert_string_equal(digits, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(kvl_sha256(digits, "", 0, &err), KVL_OK);
    assert_string_equal(digits, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_table),
        cmocka_unit_test(test_error_text_is_escaped_and_cut),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_json_join),
        cmocka_unit_test(test_json_limits),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_pool_runs_every_item_once),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
