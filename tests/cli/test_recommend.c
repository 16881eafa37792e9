/* kvlab recommend as a user runs it. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static const char *run(int expected, const char *args) {
    char command[700];
    int exit_code = -1;
    snprintf(command, sizeof command, "recommend -q -t 2 %s", args);
    const char *text = test_run(&exit_code, command);
    if (exit_code != expected) {
        print_error("kvlab %s: %s\n", command, text);
    }
    assert_int_equal(exit_code, expected);
    return text;
}

#define SMALL "-P streaming,knorm -r 0.5,0.25 --prompt 64 --new 16 --same-types --no-chart "

static void test_help(void **state) {
    (void)state;
    const char *text = run(0, "--help");
    assert_non_null(strstr(text, "usage: kvlab recommend"));
    assert_non_null(strstr(text, "--max-dnll"));
    assert_non_null(strstr(text, "searched by default: snapkv"));
}

static void test_usage(void **state) {
    (void)state;
    const struct {
        const char *args, *words;
    } cases[] = {
        {"--max-dnll 0", "--max-dnll: expected a number above 0 and at most 10, found '0'"},
        {"--ttft 10%", "--ttft: expected a change as +10% or -5%, or milliseconds as 120ms, found '10%'"},
        {"--tpot -3ms", "--tpot: expected"},
        {"--kv-budget 1MiB --max-kv-ratio 0.5", "--kv-budget: expected no --max-kv-ratio"},
        {"--budget some", "--budget: expected"},
        {"-r 1", "--ratio: expected a keep ratio above 0 and below 1"},
        {"-P nosuch", "nosuch"},
        {"-P none --same-types --prompt 64 --new 16", "expected a press that evicts, or smaller types"},
        {"-o json", "--output: expected"},
        {"--prompt 1000 --new 100", "expected at most 1024 tokens"},
        {"word", "expected options only, found 'word'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_non_null(strstr(run(2, cases[i].args), cases[i].words));
    }
}

/* From end to end: a generous limit gives the smallest setting, ready to be used; a hard one says so first.
 */
static void test_answers(void **state) {
    (void)state;
    const char *text = run(0, SMALL "--max-dnll 5");
    assert_true(strncmp(text, "use  -P ", 8) == 0);
    assert_non_null(strstr(text, ":cadence=once"));
    assert_non_null(strstr(text, "held-out texts"));
    assert_non_null(strstr(text, "kvlab sweep --preset prefill-continue -P "));
    assert_non_null(strstr(text, "B6-B10 A31-A60"));
    /* what it says to run can be run */
    const char *at = strstr(text, "kvlab sweep --preset");
    const char *end = strstr(at, " -f TEXT");
    char command[700];
    int exit_code = -1;
    snprintf(command, sizeof command, "%.*s -q --no-chart -f %s", (int)(end - at) - 6, at + 6,
             test_path("README.md"));
    text = test_run(&exit_code, command);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "prefill 64"));
    text = run(0, SMALL "--max-dnll 0.0000001");
    assert_true(strncmp(text, "none qualifies: ", 16) == 0);
    assert_non_null(strstr(text, "nearest  -P "));
    assert_non_null(strstr(text, "lacks    quality"));
    assert_non_null(strstr(text, "not shown to be below 1e-07; smallest detectable difference about 0.0"));
    text = run(0, "-P knorm -r 0.25 --prompt 64 --new 16 --same-types --no-chart --max-dnll 0.01");
    assert_non_null(strstr(text, "held-out texts: above 0.01\n"));
    text = run(0, SMALL "--kv-budget 100");
    assert_true(strncmp(text, "none qualifies: ", 16) == 0);
    assert_non_null(strstr(text, "nothing that was tried fits: the least is"));
    text = run(0, SMALL "--max-kv-ratio 1e-9"); /* not: no limit */
    assert_non_null(strstr(text, "at most 1 B\n"));
    text = run(0, "-P streaming -r 0.5 --prompt 64 --new 16 --no-chart --max-dnll 0.01");
    assert_non_null(
        strstr(text, "no setting that evicts came to the finals; nearest on the texts to choose on:"));
    assert_non_null(strstr(text, "nats/token, limit 0.01\n"));
}

/* One object a finalist and one for the full cache; what is named the answer lacks nothing. */
static void test_records(void **state) {
    (void)state;
    json_t *line = NULL;
    size_t n_answers = 0;
    size_t n_lines = 0;
    size_t n_again = 0;
    const char *text = run(0, SMALL "--max-dnll 5 -o jsonl");
    while (*text == '{') {
        const size_t n = strcspn(text, "\n");
        assert_ok(kvl_json_parse(&line, text, n, "line", &assert_ok_err));
        if (json_is_true(json_object_get(line, "is_answer"))) {
            assert_string_equal(json_string_value(json_object_get(line, "lacks")), "");
            const char *policy = json_string_value(json_object_get(line, "policy"));
            test_policy(policy); /* can be read back */
            n_answers++;
        }
        assert_true(json_integer_value(json_object_get(line, "kv_bytes_peak")) > 0);
        const json_t *all = json_object_get(line, "repetitions");
        assert_int_equal(json_array_size(json_object_get(all, "ttft_ns")), 11);
        assert_int_equal(json_array_size(json_object_get(all, "compress_ns")), 11);
        assert_int_equal(json_array_size(json_object_get(all, "tpot_ns")), 11);
        assert_int_equal(json_array_size(json_object_get(line, "same_tpot_ratio")), 3);
        const json_t *again = json_object_get(json_object_get(line, "repetitions_again"), "tpot_ns");
        n_again += json_array_size(again);
        json_decref(line);
        n_lines++;
        text += n + 1;
    }
    assert_int_equal(n_answers, 1);
    assert_int_equal(n_again, 11); /* of the full cache alone */
    assert_true(n_lines > 2);
    text = run(0, SMALL "--max-dnll 5 -o csv");
    assert_true(strncmp(text, "policy,cache,is_answer,", 23) == 0);
}

/* A single text is parted in halves, which is said; a picture is written. */
static void test_own_text(void **state) {
    (void)state;
    char args[600];
    snprintf(args, sizeof args,
             "-P streaming -r 0.5 --prompt 24 --new 4 --same-types --max-dnll 5 --out %s -f %s",
             test_temp_dir(), test_path("README.md"));
    const char *text = run(0, args);
    assert_non_null(strstr(text, "second half of the file"));
    assert_non_null(strstr(text, "held-out windows"));
    assert_non_null(strstr(text, "intervals take windows for independent"));
    assert_true(kvl_file_exists(test_temp_path("recommend.novels-7m.png")));
    assert_true(kvl_file_exists(test_temp_path("recommend.novels-7m.svg")));
    assert_true(kvl_file_exists(test_temp_path("recommend.novels-7m.pdf")));
    test_save(test_temp_path("short.txt"), "too short", 9);
    snprintf(args, sizeof args, "-P streaming --no-chart -f %s", test_temp_path("short.txt"));
    assert_non_null(strstr(run(3, args), "texts: expected one of at least 641 tokens to choose on"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),    cmocka_unit_test(test_usage),    cmocka_unit_test(test_answers),
        cmocka_unit_test(test_records), cmocka_unit_test(test_own_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
