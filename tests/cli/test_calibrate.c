/* kvlab calibrate and --calibration as a user runs them. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A short text, so that statistics take no time. */
static const char *text_file(void) {
    static const char text[] =
        "The old man looked at the sea, and the sea looked back at him for a long time.";
    const char *path = test_temp_path("text.txt");
    test_save(path, text, sizeof text - 1);
    return path;
}

static const char *run(int expected, const char *format, ...) {
    char args[2048];
    int exit_code = -1;
    va_list list;
    va_start(list, format);
    vsnprintf(args, sizeof args, format, list);
    va_end(list);
    const char *out = test_run(&exit_code, args);
    if (exit_code != expected) {
        fail_msg("%s: expected exit code %d, found %d: %s", args, expected, exit_code, out);
    }
    return out;
}

/* 16 hexadecimal digits behind the last colon of the first line. */
static void read_hash(char hash[17], const char *out) {
    const char *end = strchr(out, '\n');
    assert_non_null(end);
    assert_true(end - out > 16);
    memcpy(hash, end - 16, 16);
    hash[16] = '\0';
    assert_int_equal(strspn(hash, "0123456789abcdef"), 16);
}

static const char sweep[] = "sweep -q --no-chart -o jsonl --max-tokens 60 -P qfilter,knorm -r 0.5";

/* Cells of qfilter name the statistics, others do not. */
static void check_cells(const char *lines, const char *hash) {
    size_t n_named = 0, n_others = 0;
    for (const char *at = strchr(lines, '{'); at != NULL; at = strstr(at, "\n{")) {
        json_t *cell = NULL;
        at += *at == '\n';
        const size_t n = strcspn(at, "\n");
        assert_ok(kvl_json_parse(&cell, at, n, "cell", NULL));
        const json_t *named = json_object_get(cell, "calibration");
        if (strcmp(json_string_value(json_object_get(cell, "press")), "qfilter") == 0) {
            assert_string_equal(json_string_value(named), hash);
            n_named++;
        } else {
            assert_true(json_is_null(named));
            n_others++;
        }
        json_decref(cell);
    }
    assert_int_equal(n_named, 5);
    assert_int_equal(n_others, 10); /* knorm, none */
}

static void test_file(void **state) {
    (void)state;
    char path[512], hash[17];
    snprintf(path, sizeof path, "%s", test_temp_path("own.safetensors"));
    const char *out = run(0, "calibrate -f '%s' -o '%s'", text_file(), path);
    read_hash(hash, out);
    assert_non_null(strstr(out, "calibration: 1 texts, "));
    assert_non_null(strstr(out, path));
    out = run(0, "%s --calibration '%s'", sweep, path);
    check_cells(out, hash);
    out = run(0, "%s --calibration '%s' -o table", sweep, path);
    assert_non_null(strstr(out, "note: statistics of the model: "));
    out = run(0, "bench -p 8 -n 0 -d 64 -r 1 -P qfilter -o jsonl --calibration '%s'", path);
    assert_non_null(strstr(out, hash));
    out = run(3, "sweep -m '%s' --calibration '%s'", test_path("tests/golden/press/llama"), path);
    assert_non_null(strstr(out, "expected statistics of the model llama (hash "));
}

/* Streaming heads: 12 of 24, each with 24 of 100 tokens. */
static void test_plan(void **state) {
    (void)state;
    static const char duo[] = "plan -o json -c 100 -P 'duo-attention(sinks=8,recent=16)' -r 0.5";
    char path[512];
    json_t *json = NULL;
    const char *out = run(2, "%s", duo);
    assert_non_null(strstr(out, "press duo-attention: expected --calibration FILE"));
    snprintf(path, sizeof path, "%s", test_temp_path("plan.safetensors"));
    (void)run(0, "calibrate -f '%s' -o '%s'", text_file(), path);
    out = run(0, "%s --calibration '%s'", duo, path);
    assert_ok(kvl_json_parse(&json, out, strlen(out), "plan", NULL));
    const json_t *row = json_array_get(json_object_get(json, "rows"), 1);
    assert_int_equal(json_integer_value(json_object_get(row, "kv_live_bytes")),
                     (12 * 100 + 12 * 24) * 2 * 64 * 4);
    json_decref(json);
    (void)run(0, "plan -c 100 -P qfilter"); /* its lengths do not follow from statistics */
}

/* Without a file: the usual place, else computed. */
static void test_usual_place(void **state) {
    (void)state;
    char hash[17], place[512];
    snprintf(place, sizeof place, "%s", test_temp_path("cache"));
    setenv("XDG_CACHE_HOME", place, 1);
    const char *out = run(0, "%s", sweep);
    assert_non_null(strstr(out, "calibration: 5 texts, 5120 tokens, "));
    assert_non_null(strstr(out, "for this run alone"));
    out = run(0, "calibrate -f '%s'", text_file());
    read_hash(hash, out);
    assert_non_null(strstr(out, "/cache/kvlab/calibration/"));
    out = run(0, "%s", sweep);
    assert_non_null(strstr(out, hash));
    assert_null(strstr(out, "for this run alone"));
    out = run(0, "sweep -q --no-chart --max-tokens 60 -P knorm -r 0.5"); /* nobody asks */
    assert_null(strstr(out, "calibration: "));
    unsetenv("XDG_CACHE_HOME");
}

static void test_errors(void **state) {
    (void)state;
    const char *out = run(2, "calibrate --max-tokens 0");
    assert_non_null(strstr(out, "--max-tokens: expected a whole number from 1 to "));
    out = run(3, "calibrate --max-tokens 4 -f '%s' -o '%s'", text_file(), test_temp_path("none"));
    assert_non_null(strstr(out, "expected more than 4 tokens, found 4"));
    assert_false(kvl_file_exists(test_temp_path("none")));
    out = run(4, "%s --calibration '%s'", sweep, test_temp_path("absent"));
    assert_non_null(strstr(out, "absent"));
    out = run(0, "calibrate --help");
    assert_non_null(strstr(out, "usage: kvlab calibrate"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_usual_place),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
