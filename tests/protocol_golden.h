/* Protocols of windows against the programs whose definitions they share: golden files of
 * tools/golden/make_protocol_goldens.py. */
#ifndef KVL_TESTS_PROTOCOL_GOLDEN_H
#define KVL_TESTS_PROTOCOL_GOLDEN_H

#include "support.h"

#include "protocol/sweep.h"
#include "protocol/windows.h"

#include <math.h>

/* A model, and the text of its golden file. */
typedef struct golden_model {
    kvl_model *model;
    kvl_tokenizer *tokenizer;
    kvl_engine *engine;
    json_t *json;
} golden_model;

static size_t golden_number(const golden_model *g, const char *key) {
    return (size_t)json_integer_value(json_object_get(json_object_get(g->json, "settings"), key));
}

static void golden_open(golden_model *g, const char *path, const char *golden) {
    const kvl_engine_options options = {.n_threads = 2};
    assert_ok(kvl_model_open(&g->model, path, 2, NULL));
    assert_ok(kvl_tokenizer_open(&g->tokenizer, path, NULL));
    assert_ok(kvl_engine_create(&g->engine, g->model, &options, NULL));
    g->json = test_load_json(golden);
    size_t n = 0;
    char *text = test_load("data/wiki.test.raw", &n);
    test_save(test_temp_path("text.txt"), text, kvl_utf8_prefix(text, n, golden_number(g, "chars")));
    kvl_free(text);
}

static void golden_close(golden_model *g) {
    kvl_engine_destroy(g->engine);
    kvl_tokenizer_close(g->tokenizer);
    kvl_model_close(g->model);
    json_decref(g->json);
}

/* The windows of the golden text; free with kvl_samples_free. */
static kvl_samples golden_windows(const golden_model *g, const char *protocol, kvl_window_rule rule) {
    const kvl_window_protocol *p = kvl_window_protocol_find(protocol);
    kvl_samples text = {0};
    kvl_samples windows;
    assert_ok(kvl_samples_add_file(&text, test_temp_path("text.txt"), g->tokenizer, NULL));
    assert_int_equal(text.items[0].ids.n, json_integer_value(json_object_get(g->json, "n_ids")));
    assert_ok(kvl_texts_set_head(&text, p, KVL_BOS_MODEL, g->tokenizer, NULL));
    assert_ok(kvl_window_rule_fit(&rule, p, g->model->shape.n_context, NULL, NULL));
    assert_ok(kvl_windows_cut(&windows, &text, p, &rule, 0, NULL));
    kvl_samples_free(&text);
    return windows;
}

/* PPL of a policy over all windows. */
static double golden_ppl(const kvl_sweep *s, size_t policy) {
    double nll = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->n_samples; i++) {
        nll += kvl_sweep_cell(s, policy, i)->nll_sum;
        n += kvl_sweep_cell(s, policy, i)->n_scored;
    }
    return exp(nll / (double)n);
}

static void golden_near(const char *what, double found, double expected, double tolerance) {
    if (!(fabs(found / expected - 1) <= tolerance)) {
        fail_msg("%s: expected %.8g within %g, found %.8g", what, expected, tolerance, found);
    }
}

/* Runs a protocol without compression: windows, tokens and PPL are the golden's within a relative tolerance.
 * With `policy` also with that: it must make the scored tokens worse by a tenth at least. */
static void golden_check(const golden_model *g, const char *protocol, kvl_window_rule rule, double tolerance,
                         const char *policy) {
    const json_t *want = json_object_get(g->json, protocol);
    const json_t *sums = json_object_get(want, "windows");
    kvl_samples windows = golden_windows(g, protocol, rule);
    kvl_policy parsed = {0};
    kvl_sweep s;
    size_t n_scored = 0;
    kvl_sweep_config config = {.protocol = {.has_windows = true},
                               .samples = &windows,
                               .policies = &parsed,
                               .n_policies = policy != NULL};
    if (policy != NULL) {
        parsed = test_policy(policy);
    }
    for (size_t i = 0; i < windows.n; i++) {
        config.protocol.max_tokens = kvl_max_size(config.protocol.max_tokens, windows.items[i].ids.n);
    }
    assert_ok(kvl_sweep_run(&s, g->engine, &config, NULL));
    for (size_t i = 0; i < windows.n; i++) {
        n_scored += kvl_sweep_cell(&s, 0, i)->n_scored;
        if (sums != NULL) { /* lm_eval tells the sum only */
            golden_near(windows.items[i].name, kvl_sweep_cell(&s, 0, i)->nll_sum,
                        json_number_value(json_array_get(sums, i)), tolerance);
            assert_int_equal(kvl_sweep_cell(&s, 0, i)->n_scored,
                             json_integer_value(json_array_get(json_object_get(want, "counts"), i)));
        }
    }
    assert_true(sums == NULL || windows.n == json_array_size(sums));
    assert_int_equal(n_scored, json_integer_value(json_object_get(want, "n_scored")));
    const double ppl = golden_ppl(&s, 0);
    printf("%s: PPL %.8g, golden %.8g\n", protocol, ppl, json_number_value(json_object_get(want, "ppl")));
    golden_near(protocol, ppl, json_number_value(json_object_get(want, "ppl")), tolerance);
    assert_true(policy == NULL || golden_ppl(&s, 1) > 1.1 * ppl);
    kvl_sweep_free(&s);
    kvl_samples_free(&windows);
}

#endif
