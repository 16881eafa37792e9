/* kvlab sweep --trace and kvlab trace as a user runs them. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static char path[512];

static int write_trace(void **state) {
    (void)state;
    char args[1024];
    int exit_code = -1;
    snprintf(path, sizeof path, "%s", test_temp_path("a.trace"));
    snprintf(
        args, sizeof args,
        "sweep --samples 'W1 W3' -P 'knorm,adakv(knorm):size=20' -r 0.95,0.5 --max-tokens 90 --no-chart -q "
        "--trace %s",
        path);
    test_run(&exit_code, args);
    return exit_code;
}

static const char *trace(int expected, const char *args) {
    char command[1024];
    int exit_code = -1;
    snprintf(command, sizeof command, "trace %s %s", path, args);
    const char *out = test_run(&exit_code, command);
    if (exit_code != expected) {
        fail_msg("kvlab %s: expected exit code %d, found %d: %s", command, expected, exit_code, out);
    }
    return out;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) {
        n++;
    }
    return n;
}

static void test_summary(void **state) {
    (void)state;
    const char *out = trace(0, "");
    assert_non_null(strstr(out, "trace of novels-7m"));
    assert_int_equal(count(out, "\n  knorm:keep=0.95:"), 4);
    assert_int_equal(count(out, "\n  adakv(knorm"), 4);
    assert_int_equal(count(out, "knorm:keep=0.95:cap=32:skip=0"), 4);
    out = trace(0, "-o md --text W1 -P knorm:keep=0.5");
    assert_int_equal(count(out, "\n| knorm:keep=0.5:cap=32:skip=0 |"), 4);
    assert_int_equal(count(out, "knorm:keep=0.95"), 0);
    assert_int_equal(count(out, "\n|---|--:|"), 4);
}

static void test_steps(void **state) {
    (void)state;
    const char *out = trace(0, "-o csv --text W3");
    assert_int_equal(count(out, "\n"), 1 + 4 * 89);
    assert_int_equal(count(out, "\n\"none\",\"W3\","), 89);
    out = trace(0, "-o csv --heads --text W3 -P none --step 5 --layer 2");
    assert_int_equal(count(out, "\n"), 1 + 4);
    assert_int_equal(count(out, ",0 1 2 3 4 5\n"), 4);
    assert_int_equal(count(out, ",000000000000001f,"), 4);
    json_t *json = NULL;
    out = trace(0, "-o jsonl --heads --text W1 -P knorm:keep=0.95 --step 60 --layer 3 --head 1");
    assert_ok(kvl_json_parse(&json, out, strlen(out), "step", NULL));
    assert_int_equal(json_array_size(json_object_get(json, "kept")), 32);
    assert_int_equal(json_array_size(json_object_get(json, "norms")), 32);
    assert_int_equal(json_integer_value(json_object_get(json, "phase")), 0);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json, "kept"), 31)), 60);
    json_decref(json);
    out = trace(0, "-o jsonl --text W1 -P knorm:keep=0.95 --step 60");
    assert_ok(kvl_json_parse(&json, out, strlen(out), "step", NULL));
    assert_true(json_number_value(json_object_get(json, "keys")) == 32);
    json_decref(json);
}

static void test_picture(void **state) {
    (void)state;
    const char *out = trace(0, "-P knorm:keep=0.95 --text W1 --step 50 --layer 0");
    assert_int_equal(count(out, "   51    0.0 %  ###################################################\n"), 4);
    out = trace(0, "-P knorm:keep=0.95 --text W1 --step 50 --layer 4 --head 2");
    assert_non_null(strstr(out, "1 a mark"));
    assert_int_equal(count(strstr(out, " %  "), "#"), 32);
}

static void test_errors(void **state) {
    (void)state;
    int exit_code = -1;
    assert_non_null(
        strstr(trace(2, "-P snapkv"), "--policy: 'snapkv' begins 0 policies; expected one of none, "));
    assert_non_null(strstr(trace(2, "-P knorm:keep=0."), "begins 2 policies"));
    assert_non_null(strstr(trace(2, "--text W2"), "--text: expected one of the 2 texts"));
    assert_non_null(strstr(trace(2, "--step 5 --layer 6"), "--layer: expected a number below 6, found 6"));
    assert_non_null(strstr(trace(2, "--step 89"), "--step: expected a number below 89"));
    assert_non_null(strstr(trace(2, "--step -1"), "--step: expected a whole number"));
    assert_non_null(strstr(trace(2, "--heads"), "--heads: expected -o csv or jsonl"));
    assert_non_null(strstr(trace(2, "--head 1"), "--layer, --head: expected --heads, or --step"));
    assert_non_null(strstr(trace(2, "--step 5 --layer 1 -o csv"), "--layer, --head: expected --heads, or"));
    assert_non_null(strstr(test_run(&exit_code, "trace"), "expected a file"));
    assert_int_equal(exit_code, 2);
    assert_non_null(strstr(test_run(&exit_code, "trace README.md"), "E_IO"));
    test_save(test_temp_path("b"), "KVLTRACf and more", 17);
    char args[600];
    snprintf(args, sizeof args, "trace %s", test_temp_path("b"));
    assert_non_null(strstr(test_run(&exit_code, args), "expected a trace"));
    assert_int_equal(exit_code, 3);
    assert_non_null(strstr(test_run(&exit_code, "trace -h"), "--heads"));
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(test_run(&exit_code, "sweep --timing --trace x"), "--trace"));
    assert_int_equal(exit_code, 2);
}

/* What is noted counts, before running. */
static void test_plan(void **state) {
    (void)state;
    int exit_code = -1;
    double bytes[2];
    for (size_t i = 0; i < 2; i++) {
        json_t *json = NULL;
        const char *out =
            test_run(&exit_code, i == 0 ? "sweep --dry-run -o json" : "sweep --dry-run -o json --trace x");
        assert_int_equal(exit_code, 0);
        assert_ok(kvl_json_parse(&json, out, strlen(out), "plan", NULL));
        bytes[i] = json_number_value(json_object_get(json, "kv_bytes"));
        json_decref(json);
    }
    assert_true(bytes[1] > bytes[0] && bytes[0] > 0);
    assert_false(kvl_file_exists("x"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary), cmocka_unit_test(test_steps), cmocka_unit_test(test_picture),
        cmocka_unit_test(test_errors),  cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, write_trace, NULL);
}
