/* kvlab explain as a user runs it: small runs of the bundled model. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static const char *run(int expected, const char *args) {
    int exit_code = -1;
    const char *out = test_run(&exit_code, args);
    if (exit_code != expected) {
        fail_msg("%s: expected exit code %d, found %d: %s", args, expected, exit_code, out);
    }
    return out;
}

#define assert_has(text, word) assert_non_null(strstr(text, word))

static void test_options(void **state) {
    (void)state;
    const char *help = run(0, "explain --help");
    assert_has(help, "--budget");
    assert_has(help, "H12");
    assert_has(run(2, "explain --only H13"), "--only: expected H1 to H12, found 'H13'");
    assert_has(run(2, "explain --budget long"), "--budget: expected quick or full");
    assert_has(run(2, "explain --samples A1"), "texts: expected at least 2");
    assert_has(run(2, "explain words"), "expected options only, found 'words'");
}

/* Too few texts: effects are shown, nothing is decided. */
static void test_few_texts(void **state) {
    (void)state;
    const char *out = run(0, "explain -q --only H9,h9 --samples 'A1-A3'");
    assert_has(out, "## H9 0.9-0.95 is always worst: cannot tell here");
    assert_has(out, "too few clusters");
    assert_has(out, "Again: `kvlab explain -q --only H9,h9 --samples A1-A3 --only H9`");
    assert_has(out, "- single-shot: 3 texts of up to 289 tokens");
}

/* Texts too short for any study are refused: what is expected, what was found. */
static void test_short_texts(void **state) {
    (void)state;
    char args[1200];
    char first[512];
    snprintf(first, sizeof first, "%s", test_temp_path("short.txt"));
    test_save(first, "a short text", 12);
    test_save(test_temp_path("other.txt"), "another text", 12);
    snprintf(args, sizeof args, "explain -q --only H9 -f %s -f %s", first, test_temp_path("other.txt"));
    assert_has(run(3, args), "texts: expected at least 2 of 132 tokens or more, the longest has");
}

/* JSON lines: each a document; the hypothesis has its findings, arms their excess. */
static void test_jsonl(void **state) {
    (void)state;
    const char *at = run(0, "explain -q --only h11 --samples 'A1-A3' -o jsonl");
    size_t n_arms = 0;
    size_t n_findings = 0;
    while (*at != '\0') {
        json_t *o = NULL;
        const size_t n = strcspn(at, "\n");
        assert_ok(kvl_json_parse(&o, at, n, "line", NULL));
        const char *schema = json_string_value(json_object_get(o, "schema"));
        assert_non_null(schema);
        n_arms += strcmp(schema, "kvlab.arm/1") == 0;
        n_findings += json_array_size(json_object_get(o, "findings"));
        json_decref(o);
        at += n + (at[n] == '\n');
    }
    assert_int_equal(n_arms, 5); /* the full cache and four */
    assert_int_equal(n_findings, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_few_texts),
        cmocka_unit_test(test_short_texts),
        cmocka_unit_test(test_jsonl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
