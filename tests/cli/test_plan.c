/* kvlab plan as a user runs it. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static json_t *plan_of(const char *args) {
    char command[512];
    json_t *json = NULL;
    int exit_code = -1;
    snprintf(command, sizeof command, "plan -o json -t 2 %s", args);
    const char *text = test_run(&exit_code, command);
    assert_int_equal(exit_code, 0);
    assert_ok(kvl_json_parse(&json, text, strlen(text), "plan", &assert_ok_err));
    return json;
}

static json_int_t get(const json_t *json, size_t row, const char *name) {
    const json_t *value = json_object_get(json_array_get(json_object_get(json, "rows"), row), name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static size_t n_rows(const json_t *json) { return json_array_size(json_object_get(json, "rows")); }

static void test_numbers(void **state) {
    (void)state;
    json_t *json = plan_of("-c 1000 -P knorm:skip=0 -r 0.5,0.1");
    assert_int_equal(n_rows(json), 3);
    assert_int_equal(json_integer_value(json_object_get(json, "kv_bytes_per_token")), 12288);
    for (size_t i = 0; i < 3; i++) { /* five of six layers are compressed */
        json_int_t kept = (json_int_t[]){1000, 500, 100}[i];
        assert_int_equal(get(json, i, "kept_entries"), kept);
        assert_int_equal(get(json, i, "kv_prefill_bytes"), 1000 * 12288);
        assert_int_equal(get(json, i, "kv_live_bytes"), (1000 + 5 * kept) * 12288 / 6);
        assert_true(get(json, i, "kv_peak_bytes") > 1000 * 12288);
        json_int_t program = json_integer_value(json_object_get(json, "program_bytes"));
        json_int_t weights = json_integer_value(json_object_get(json, "weight_bytes"));
        assert_true(program > 1 << 20);
        assert_true(get(json, i, "process_peak_bytes") >=
                    program + weights + get(json, i, "kv_reserved_bytes") + get(json, i, "scratch_bytes"));
    }
    assert_null(json_object_get(json_array_get(json_object_get(json, "rows"), 0), "longest_prompt_tokens"));
    json_decref(json);
    json = plan_of("-P streaming:size=10 -r 0.5"); /* a size is a size, whatever the ratios */
    assert_int_equal(n_rows(json), 2);
    assert_int_equal(get(json, 1, "kept_entries"), 10);
    json_decref(json);
    json = plan_of("-P none");
    assert_int_equal(n_rows(json), 1);
    json_decref(json);
}

/* Equal bytes, whatever takes them: 12288 a token in f32, 3264 in q8_0; a skipped layer keeps 1000 tokens. */
static void test_budgets(void **state) {
    (void)state;
    json_t *json = plan_of("-c 1000 --kv-budget 1MiB,512KiB");
    assert_int_equal(n_rows(json), 3);
    assert_int_equal(get(json, 1, "kept_entries"), 85);
    assert_int_equal(get(json, 1, "kv_live_bytes"), 85 * 12288);
    assert_int_equal(get(json, 2, "kept_entries"), 42);
    json_decref(json);
    json = plan_of("-c 1000 --kv-budget 1MiB -r 0.5 -ctk q8_0 -ctv q8_0");
    assert_int_equal(n_rows(json), 3);
    assert_int_equal(get(json, 1, "kept_entries"), 500);
    assert_int_equal(get(json, 2, "kept_entries"), 321);
    json_decref(json);
    json = plan_of("-c 1000 -P knorm:skip=0:bytes=3MiB -r 0.5");
    assert_int_equal(n_rows(json), 2);
    assert_int_equal(get(json, 1, "kept_entries"), 107); /* (3145728 - 1000 * 2048) / 10240 = 107.2 */
    json_decref(json);
    json = plan_of("-c 1000 --compression-ratio 0.75");
    assert_int_equal(n_rows(json), 2);
    assert_int_equal(get(json, 1, "kept_entries"), 250);
    json_decref(json);
}

/* What is said to fit has a plan that fits. */
static void test_longest(void **state) {
    (void)state;
    char args[128];
    json_t *json = plan_of("--memory 0.25GiB -r 0.5");
    for (size_t i = 0; i < 2; i++) {
        json_int_t longest = get(json, i, "longest_prompt_tokens");
        assert_in_range(longest, 1024, 100000);
        snprintf(args, sizeof args, "-r 0.5 -c %lld", (long long)longest);
        json_t *there = plan_of(args); /* the program itself may be a little larger than it was */
        assert_true(get(there, i, "process_peak_bytes") <= (256 + 2) << 20);
        assert_true(get(there, i, "process_peak_bytes") > 128 << 20);
        json_decref(there);
    }
    json_decref(json);
    json = plan_of("--memory 1MiB");
    assert_int_equal(get(json, 0, "longest_prompt_tokens"), 0);
    json_decref(json);
}

static void test_notes_and_formats(void **state) {
    (void)state;
    int exit_code = -1;
    char args[4096];
    assert_non_null(strstr(test_run(&exit_code, "plan -c 2000"), "beyond the model's context of 1024"));
    assert_int_equal(exit_code, 0);
    snprintf(args, sizeof args, "plan -o md -m '%s'", test_path("tests/golden/families/gemma3/model.gguf"));
    const char *text = test_run(&exit_code, args);
    assert_non_null(strstr(text, "6 of 7 layers see the last 8 tokens only"));
    assert_non_null(strstr(text, "| 0.5 | 32 |"));
    snprintf(args, sizeof args, "plan -c 65 --memory 1GiB -o csv -m '%s'",
             test_path("tests/golden/families/gpt2"));
    text = test_run(&exit_code, args);
    assert_non_null(strstr(text, "keep_ratio,kept_entries,"));
    assert_non_null(strstr(text, ",64\n0.5,33,")); /* learned positions end there */
}

static void test_errors(void **state) {
    (void)state;
    static const struct {
        const char *args, *part;
        int exit_code;
    } cases[] = {
        {"plan -P snapkw", "unknown press 'snapkw'", 2},
        {"plan -r 0", "--ratio: expected", 2},
        {"plan --kv-budget 0", "--kv-budget: expected a size", 2},
        {"plan --kv-budget 9KiB", "policy knorm: bytes: expected at least 12288 for 1024 tokens", 2},
        {"plan -r 0.5,", "separated by commas", 2},
        {"plan -c 0", "--ctx: expected", 2},
        {"plan --memory 8GB", "expected a size as 8GiB", 2},
        {"plan --memory 0", "--memory", 2},
        {"plan -o xml", "--output", 2},
        {"plan novels", "expected options only", 2},
        {"plan --rati 5", "did you mean --ratio", 2},
        {"plan -m /nowhere", "E_IO", 4},
        {"plam", "did you mean plan", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int exit_code = -1;
        const char *text = test_run(&exit_code, cases[i].args);
        if (strstr(text, cases[i].part) == NULL || exit_code != cases[i].exit_code) {
            fail_msg("%s: exit code %d, %s", cases[i].args, exit_code, text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_longest), cmocka_unit_test(test_notes_and_formats),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
