/* kvlab needle as a user runs it: formats, the full-cache-first rule, errors. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONLY_RESULT " 2>/dev/null #"
#define SMALL "needle -n 2 -c 160 --depth 0,100 --max-new 4 -P knorm,streaming "

static const char *run(const char *args) {
    int exit_code = -1;
    const char *text = test_run(&exit_code, args);
    if (exit_code != 0) {
        fail_msg("%s: exit code %d: %s", args, exit_code, text);
    }
    return text;
}

static const char *fail_of(const char *args, int expected) {
    int exit_code = -1;
    const char *text = test_run(&exit_code, args);
    assert_int_equal(exit_code, expected);
    return text;
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

/* The bundled model cannot do it: its own grid shows rates, all others say why there are none. */
static void grids_say_where_the_full_cache_fails(void **state) {
    (void)state;
    const char *text = run(SMALL "--task needle,passkey" ONLY_RESULT);
    assert_non_null(strstr(text, "## needle"));
    assert_non_null(strstr(text, "## passkey"));
    assert_int_equal(count(text, "### full cache"), 2);
    assert_int_equal(count(text, "0/2   0 % [0, 66]"), 2 * 2);
    assert_int_equal(count(text, "full cache fails"), 2 * 2 * 2);
    assert_int_equal(count(text, "no cell to compare; left out: 2 cells where it fails"), 4);
    assert_non_null(strstr(text, "question fed after the compression, chat format none, filler books"));
    assert_non_null(strstr(text, "filler noise"));
    assert_non_null(strstr(text, "again: kvlab needle -n 2"));
}

static json_int_t get(const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    if (!json_is_integer(value)) {
        fail_msg("no whole number %s", name);
    }
    return json_integer_value(value);
}

static const char *get_text(const json_t *o, const char *name) {
    const char *text = json_string_value(json_object_get(o, name));
    assert_non_null(text);
    return text;
}

static void check_trial(const json_t *o) {
    const json_t *expected = json_object_get(o, "expected");
    const json_int_t n_ids = (json_int_t)json_array_size(json_object_get(o, "ids"));
    assert_int_equal(get(o, "n_tokens"), 160);
    assert_true(get(o, "depth") == 0 || get(o, "depth") == 100);
    assert_int_equal(strlen(get_text(o, "prompt_hash")), 16);
    assert_true(n_ids == 4 || json_is_true(json_object_get(o, "has_ended")));
    assert_true(get(o, "needle_at") < get(o, "needle_end") && get(o, "needle_end") <= get(o, "n_context"));
    assert_int_equal(json_is_true(json_object_get(o, "is_right")),
                     get(o, "n_found") == (json_int_t)json_array_size(expected));
    assert_non_null(json_object_get(o, "generated"));
    const bool is_full = strcmp(get_text(o, "press"), "none") == 0;
    assert_int_equal(get(o, "n_events"), is_full ? 0 : 1);
    const json_int_t n_first =
        strcmp(get_text(o, "question"), "after") == 0 ? get(o, "n_context") : get(o, "n_tokens") - 1;
    assert_int_equal(get(o, "kept_max"), is_full ? n_first : (n_first + 1) / 2);
    assert_true(get(o, "kv_bytes_live") > 0);
}

static void check_lines(const char *args, const char *moment) {
    const char *output = run(args);
    char *text = kvl_strndup(output, strlen(output));
    size_t n_trials = 0, n_cells = 0, n_pairs = 0;
    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n');
        json_t *o = NULL;
        assert_non_null(end);
        assert_ok(kvl_json_parse(&o, line, (size_t)(end - line), "line", &assert_ok_err));
        const char *schema = get_text(o, "schema");
        assert_string_equal(get_text(o, "question"), moment);
        assert_string_equal(get_text(o, "chat"), "none");
        assert_string_equal(get_text(o, "filler"), "noise");
        assert_int_equal(get(o, "seed"), 5);
        if (strcmp(schema, "kvlab.needle-trial/1") == 0) {
            check_trial(o);
            n_trials++;
        } else if (strcmp(schema, "kvlab.needle-cell/1") == 0) {
            const bool is_full = strcmp(get_text(o, "press"), "none") == 0;
            assert_int_equal(get(o, "n"), 2);
            assert_true(json_is_false(json_object_get(o, "full_passes")));
            assert_string_equal(get_text(o, "verdict"), is_full ? "rate" : "full cache fails");
            assert_int_equal(json_is_null(json_object_get(o, "rate")), !is_full);
            n_cells++;
        } else {
            assert_string_equal(schema, "kvlab.needle-pair/1");
            assert_int_equal(get(o, "n_cells"), 0);
            assert_int_equal(get(o, "n_cells_full_fails"), 2);
            assert_true(json_is_null(json_object_get(o, "p_mcnemar")));
            assert_true(json_is_null(json_object_get(o, "p_holm")));
            n_pairs++;
        }
        json_decref(o);
        line = end + 1;
    }
    assert_int_equal(n_trials, 3 * 4);
    assert_int_equal(n_cells, 3 * 2);
    assert_int_equal(n_pairs, 2);
    kvl_free(text);
}

static void lines_have_every_trial(void **state) {
    (void)state;
    check_lines(SMALL "--task passkey --seed 5 -o jsonl" ONLY_RESULT, "after");
    check_lines(SMALL "--task needle --filler noise --seed 5 --question before -o jsonl" ONLY_RESULT,
                "before");
}

static void csv_has_every_cell(void **state) {
    (void)state;
    const char *text = run(SMALL "-r 0.5,0.25 -o csv" ONLY_RESULT);
    assert_int_equal(count(text, "\n"), 1 + 5 * 2);
    assert_memory_equal(text, "task,policy,question,", 21);
    assert_int_equal(count(text, "needle,\"none\",after,none,books,160,"), 2);
    assert_int_equal(count(text, "full cache fails,,,,"), 4 * 2);
}

static void errors_are_one_line(void **state) {
    (void)state;
    static const struct {
        const char *args, *word;
        int exit_code;
    } cases[] = {
        {"needle --task nedle", "did you mean needle", 2},
        {"needle -c 1020", "--length: expected at most 992", 2},
        {"needle -c 40", "expected at least", 2},
        {"needle -c 200,200", "distinct", 2},
        {"needle --task passkey,needle,passkey", "found passkey twice", 2},
        {"needle --depth 101", "from 0 to 100", 2},
        {"needle --question never", "--question", 2},
        {"needle --chat chatml -c 200", "<|im_start|>", 2},
        {"needle --trials 0", "--trials", 2},
        {"needle -c 200 --memory 1MiB -P knorm", "expected at least", 5},
        {"needle word", "expected options only", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = fail_of(cases[i].args, cases[i].exit_code);
        if (strstr(text, cases[i].word) == NULL || count(text, "\n") != 1) {
            fail_msg("%s: %s", cases[i].args, text);
        }
    }
    assert_non_null(strstr(run("needle --help"), "tracking"));
}

static void it_can_be_stopped(void **state) {
    (void)state;
    char command[4096];
    snprintf(command, sizeof command,
             "--version >/dev/null; timeout --preserve-status -s INT 1 '%s' needle -n 400 2>&1 >/dev/null #",
             getenv("KVL_PROGRAM"));
    assert_non_null(strstr(fail_of(command, 130), "E_INTERRUPTED: stopped after"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_say_where_the_full_cache_fails),
        cmocka_unit_test(lines_have_every_trial),
        cmocka_unit_test(csv_has_every_cell),
        cmocka_unit_test(errors_are_one_line),
        cmocka_unit_test(it_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
