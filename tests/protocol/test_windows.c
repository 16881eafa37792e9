/* How protocols cut texts, against lists written by hand; and a sweep of windows. */
#include "bundled.h"

#include "protocol/sweep.h"
#include "protocol/windows.h"

#include <math.h>
#include <string.h>

static int setup(void **state) {
    (void)state;
    return open_bundled("W1 W2 W3");
}

static void check_cut(const char *name, kvl_window_rule given, size_t n_context, size_t n,
                      const kvl_window *want, size_t n_want) {
    const kvl_window_protocol *p = kvl_window_protocol_find(name);
    kvl_window_list list = {0};
    kvl_str note = {0};
    assert_non_null(p);
    assert_ok(kvl_window_rule_fit(&given, p, n_context, &note, NULL));
    assert_ok(p->cut(&list, &given, n, NULL));
    for (size_t i = 0; i < kvl_min_size(list.n, n_want); i++) {
        const kvl_window *w = &list.items[i];
        if (w->begin != want[i].begin || w->end != want[i].end || w->first_scored != want[i].first_scored) {
            fail_msg("%s, %zu tokens, window %zu: expected %zu to %zu from %zu, found %zu to %zu from %zu",
                     name, n, i, want[i].begin, want[i].end, want[i].first_scored, w->begin, w->end,
                     w->first_scored);
        }
    }
    if (list.n != n_want) {
        fail_msg("%s, %zu tokens: expected %zu windows, found %zu", name, n, n_want, list.n);
    }
    kvl_str_free(&note);
    kvl_free(list.items);
}

#define CHECK_CUT(name, rule, n_context, n, ...)                                                             \
    check_cut(name, (kvl_window_rule)rule, n_context, n, (const kvl_window[]){__VA_ARGS__},                  \
              sizeof((const kvl_window[]){__VA_ARGS__}) / sizeof(kvl_window))
#define RULE(...)                                                                                            \
    { __VA_ARGS__ }

/* Tokens of a list of n are 0 .. n-1; {begin, end, step that predicts the first scored token}. */
static void test_cuts(void **state) {
    (void)state;
    /* windows of 6, stride 4, of 13 tokens: 0-5, 4-9, 8-12; scored 1-5, 6-9, 10-12 */
    CHECK_CUT("hf-strided", RULE(.window = 6, .stride = 4), 64, 13, {0, 6, 0}, {4, 10, 1}, {8, 13, 1});
    /* the last window brings one new token only */
    CHECK_CUT("hf-strided", RULE(.window = 6, .stride = 4), 64, 11, {0, 6, 0}, {4, 10, 1}, {8, 11, 1});
    CHECK_CUT("hf-strided", RULE(.window = 6, .stride = 4), 64, 10, {0, 6, 0}, {4, 10, 1});
    CHECK_CUT("hf-strided", RULE(.window = 6, .stride = 4), 64, 5, {0, 5, 0});
    /* side by side: first tokens are no targets; a last window of one token has none */
    CHECK_CUT("hf-strided", RULE(.window = 4, .stride = 4), 64, 9, {0, 4, 0}, {4, 8, 0});
    CHECK_CUT("hf-strided", RULE(.window = 4, .stride = 4), 64, 10, {0, 4, 0}, {4, 8, 0}, {8, 10, 0});
    /* chunks of 8: logits 4 to 6 predict tokens 5 to 7; of 7: logits 3 to 5 */
    CHECK_CUT("llama-chunk", RULE(.window = 8), 64, 23, {0, 8, 4}, {8, 16, 4});
    CHECK_CUT("llama-chunk", RULE(.window = 8), 64, 24, {0, 8, 4}, {8, 16, 4}, {16, 24, 4});
    CHECK_CUT("llama-chunk", RULE(.window = 7), 64, 14, {0, 7, 3}, {7, 14, 3});
    /* inputs of 5; token 0 is the prefix: 1-5, 6-10, then 11-12 with as much context as fits */
    CHECK_CUT("lm-eval-rolling", RULE(.window = 5), 64, 13, {0, 6, 0}, {5, 11, 0}, {7, 13, 3});
    CHECK_CUT("lm-eval-rolling", RULE(.window = 5), 64, 11, {0, 6, 0}, {5, 11, 0});
    CHECK_CUT("lm-eval-rolling", RULE(.window = 5), 64, 7, {0, 6, 0}, {1, 7, 4});
    CHECK_CUT("lm-eval-rolling", RULE(.window = 5), 64, 4, {0, 4, 0});
    /* prefill 4: token 4 is fed behind the look, 5-7 scored, then 8-10, then 11 */
    CHECK_CUT("prefill-continue", RULE(.prefill = 4, .score = 3), 64, 12, {0, 8, 4}, {3, 11, 4}, {6, 12, 4});
    CHECK_CUT("prefill-continue", RULE(.prefill = 4, .score = 3), 64, 11, {0, 8, 4}, {3, 11, 4});
    CHECK_CUT("prefill-continue", RULE(.prefill = 4, .score = 3, .stride = 5), 64, 12, {0, 8, 4}, {5, 12, 4});
    CHECK_CUT("prefill-continue", RULE(.prefill = 4, .score = 3), 64, 6, {0, 6, 4});
    CHECK_CUT("single-shot", RULE(.prefill = 4, .score = 3), 64, 17, {0, 8, 4}, {8, 16, 4});
    CHECK_CUT("single-shot", RULE(.prefill = 4, .score = 3), 64, 22, {0, 8, 4}, {8, 16, 4}, {16, 22, 4});
    /* the peers' own numbers; contexts that are shorter */
    CHECK_CUT("llama-chunk", RULE(0), 2048, 1100, {0, 512, 256}, {512, 1024, 256});
    CHECK_CUT("llama-chunk", RULE(0), 128, 300, {0, 128, 64}, {128, 256, 64});
    CHECK_CUT("hf-strided", RULE(0), 1024, 1600, {0, 1024, 0}, {512, 1536, 511}, {1024, 1600, 511});
    CHECK_CUT("lm-eval-rolling", RULE(0), 1024, 1100, {0, 1025, 0}, {75, 1100, 949});
    CHECK_CUT("prefill-continue", RULE(0), 1024, 1100, {0, 769, 512}, {256, 1025, 512}, {512, 1100, 512});
    CHECK_CUT("prefill-continue", RULE(0), 64, 80, {0, 64, 42}, {21, 80, 42});
}

/* Too short for one window. */
static void test_no_window(void **state) {
    (void)state;
    check_cut("llama-chunk", (kvl_window_rule){.window = 8}, 64, 7, NULL, 0);
    check_cut("hf-strided", (kvl_window_rule){.window = 8, .stride = 4}, 64, 1, NULL, 0);
    check_cut("lm-eval-rolling", (kvl_window_rule){.window = 8}, 64, 1, NULL, 0);
    check_cut("prefill-continue", (kvl_window_rule){.prefill = 4, .score = 2}, 64, 5, NULL, 0);
}

/* Whatever the numbers: each protocol scores a token once at most, in order; those that score all do. */
static void test_every_token_once(void **state) {
    (void)state;
    static const char *const names[] = {"hf-strided", "lm-eval-rolling", "prefill-continue", "llama-chunk"};
    for (size_t i = 0; i < 4; i++) {
        const kvl_window_protocol *p = kvl_window_protocol_find(names[i]);
        for (size_t window = 4; window < 12; window++) {
            for (size_t n = 2; n < 60; n++) {
                kvl_window_rule rule = {0};
                kvl_window_list list = {0};
                if (p->most.window != 0) {
                    rule.window = window;
                    rule.stride = p->most.stride != 0 ? 1 + window / 2 : 0;
                } else {
                    rule.prefill = window;
                    rule.score = 1 + window % 5;
                }
                assert_ok(kvl_window_rule_fit(&rule, p, 64, NULL, NULL));
                assert_ok(p->cut(&list, &rule, n, NULL));
                size_t next = i < 2 ? 1 : 0;
                for (size_t k = 0; k < list.n; k++) {
                    const kvl_window *w = &list.items[k];
                    const size_t first = w->begin + w->first_scored + 1;
                    assert_true(i == 3 || k == 0 ? first >= next : first == next);
                    assert_true(first < w->end && w->end <= n);
                    assert_true(w->end - w->begin <= rule.window + (i == 1));
                    next = w->end;
                }
                assert_true(i >= 2 || next == n);
                kvl_free(list.items);
            }
        }
    }
}

static void test_bad_numbers(void **state) {
    (void)state;
    static const struct {
        const char *protocol;
        kvl_window_rule rule;
        const char *message;
    } bad[] = {
        {"llama-chunk", {.stride = 4}, "--stride: protocol llama-chunk has no such number"},
        {"llama-chunk", {.window = 65}, "--ctx-size: expected from 4 to 64 (the model's context), found 65"},
        {"llama-chunk", {.window = 3}, "--ctx-size: expected from 4 to 64"},
        {"lm-eval-rolling", {.prefill = 4}, "--prefill: protocol lm-eval-rolling has no such number"},
        {"prefill-continue", {.window = 8}, "--ctx-size: protocol prefill-continue has no such number"},
        {"prefill-continue",
         {.prefill = 60, .score = 4},
         "--prefill and --score: expected at most 63 together"},
        {"hf-strided", {.window = 8, .stride = 9}, "--stride: expected at most 8 (the window), found 9"},
        {"stream", {.score = 4}, "--score: protocol stream has no such number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kvl_window_rule rule = bad[i].rule;
        kvl_err err = {0};
        assert_int_equal(
            kvl_window_rule_fit(&rule, kvl_window_protocol_find(bad[i].protocol), 64, NULL, &err),
            KVL_E_USAGE);
        if (strncmp(err.msg, bad[i].message, strlen(bad[i].message)) != 0) {
            fail_msg("expected '%s', found '%s'", bad[i].message, err.msg);
        }
    }
    assert_null(kvl_window_protocol_find("llama-chunks"));
}

/* First ids of the windows of one short text, for each policy of BOS. The bundled tokenizer puts none in
 * front and knows none but its EOS, 0. */
static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *protocol;
        kvl_bos bos;
        int32_t ids[3]; /* of the text's tokens, the first of each window; -1: the head */
    } cases[] = {
        {"llama-chunk", KVL_BOS_MODEL, {0, 8, 16}},       {"llama-chunk", KVL_BOS_NEVER, {0, 8, 16}},
        {"llama-chunk", KVL_BOS_ALWAYS, {-1, -1, -1}},    {"hf-strided", KVL_BOS_MODEL, {0, 4, 8}},
        {"hf-strided", KVL_BOS_ALWAYS, {-1, 3, 7}},       {"lm-eval-rolling", KVL_BOS_MODEL, {-1, 7, 15}},
        {"lm-eval-rolling", KVL_BOS_ALWAYS, {-1, 7, 15}}, {"lm-eval-rolling", KVL_BOS_NEVER, {0, 8, 16}},
    };
    assert_int_equal(kvl_tokenizer_start(tokenizer), -1);
    assert_int_equal(kvl_tokenizer_eos(tokenizer), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const kvl_window_protocol *p = kvl_window_protocol_find(cases[i].protocol);
        kvl_window_rule rule = {.window = 8, .stride = p->most.stride != 0 ? 4 : 0};
        kvl_samples texts;
        kvl_samples windows;
        assert_ok(kvl_samples_load(&texts, "W1", test_path("data"), tokenizer, NULL));
        const int32_t *text = samples.items[0].ids.ids;
        for (size_t again = 0; again < 2; again++) { /* nothing is put twice */
            assert_ok(kvl_texts_set_head(&texts, p, cases[i].bos, tokenizer, NULL));
        }
        assert_ok(kvl_window_rule_fit(&rule, p, 64, NULL, NULL));
        assert_ok(kvl_windows_cut(&windows, &texts, p, &rule, 40, NULL));
        for (size_t k = 0; k < 3; k++) {
            const kvl_sample *w = &windows.items[k];
            const int32_t want = cases[i].ids[k] < 0 ? 0 : text[cases[i].ids[k]];
            if (w->ids.ids[0] != want || w->has_bos != (cases[i].ids[k] < 0)) {
                fail_msg("case %zu, window %zu: expected to begin with %d, found %d", i, k, want,
                         w->ids.ids[0]);
            }
            assert_int_equal(w->ids.ids[1], text[w->begin + 1 - texts.items[0].has_bos]);
        }
        kvl_samples_free(&windows);
        kvl_samples_free(&texts);
    }
}

static kvl_sweep run(const kvl_samples *windows, const char *const *policies, size_t n, kvl_policy *parsed) {
    kvl_sweep s;
    kvl_err err = {0};
    size_t longest = 0;
    for (size_t i = 0; i < windows->n; i++) {
        longest = kvl_max_size(longest, windows->items[i].ids.n);
    }
    for (size_t i = 0; i < n; i++) {
        parsed[i] = test_policy(policies[i]);
    }
    const kvl_sweep_config config = {.protocol = {.has_windows = true, .max_tokens = longest},
                                     .samples = windows,
                                     .policies = parsed,
                                     .n_policies = n};
    if (kvl_sweep_run(&s, engines[1], &config, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return s;
}

/* Windows begin anew: each has the NLLs of its tokens alone, and scored tokens read what a policy left. */
static void test_sweep_of_windows(void **state) {
    (void)state;
    static const char *const policies[] = {"knorm:keep=0.25:cadence=once:skip=none",
                                           "knorm:keep=0.5:cap=16:skip=none"};
    kvl_policy parsed[2];
    kvl_samples windows;
    const kvl_window_protocol *p = kvl_window_protocol_find("hf-strided");
    kvl_window_rule rule = {.window = 32, .stride = 16};
    assert_ok(kvl_window_rule_fit(&rule, p, 64, NULL, NULL));
    assert_ok(kvl_windows_cut(&windows, &samples, p, &rule, 60, NULL));
    kvl_sweep s = run(&windows, policies, 2, parsed);
    for (size_t i = 0; i < windows.n; i++) {
        const kvl_sample *w = &windows.items[i];
        const kvl_cell *none = kvl_sweep_cell(&s, 0, i);
        const kvl_cell *once = kvl_sweep_cell(&s, 1, i);
        const kvl_cell *steps = kvl_sweep_cell(&s, 2, i);
        kvl_stream *stream = NULL;
        kvl_row rows[64];
        assert_ok(kvl_stream_create(&stream, engines[0], NULL));
        for (size_t t = 0; t + 1 < w->ids.n; t++) {
            rows[t] = (kvl_row){.stream = stream, .token = w->ids.ids[t], .target = w->ids.ids[t + 1]};
        }
        assert_ok(kvl_engine_forward(engines[0], rows, w->ids.n - 1, NULL));
        assert_int_equal(none->n_scored, w->ids.n - 1 - w->first_scored);
        for (size_t t = 0; t < none->n_scored; t++) {
            assert_true(none->nll[t] == rows[w->first_scored + t].nll);
        }
        kvl_stream_destroy(stream);
        /* no context, nothing to compress once; otherwise after the prefill, and every scored token reads it
         */
        assert_int_equal(once->n_events, w->prefill != 0);
        assert_true((once->nll[0] != none->nll[0]) == (w->prefill != 0));
        assert_true(once->n_events == 0 || once->first_event + 1 == w->first_scored);
        assert_true(steps->n_events >= 1);
        assert_int_equal(w->text, i / (windows.n / samples.n));
    }
    kvl_sweep_free(&s);
    kvl_samples_free(&windows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_no_window),
        cmocka_unit_test(test_every_token_once),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_sweep_of_windows),
    };
    return cmocka_run_group_tests(tests, setup, close_bundled);
}
