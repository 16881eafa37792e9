/* Every preset's protocol and policies on a tiny model of every family, from both kinds of file: the same
 * code runs them all. Texts are random ids; what is checked is that each cell is whole and that something was
 * evicted where the policy says so. */
#include "support.h"

#include "base/rng.h"
#include "protocol/sweep.h"

#include <math.h>
#include <stdio.h>

enum { n_tokens = 60, max_policies = 64 };

static const char *const families[] = {"gpt_neox",     "gpt2",       "llama",   "llama_llama3",
                                       "llama_linear", "llama_yarn", "mistral", "qwen2",
                                       "qwen3",        "gemma2",     "gemma3",  "phi3"};

static void make_samples(kvl_samples *out, kvl_sample items[2], int32_t ids[2][n_tokens], uint32_t n_vocab) {
    for (size_t i = 0; i < 2; i++) {
        for (size_t t = 0; t < n_tokens; t++) {
            ids[i][t] = (int32_t)(kvl_rng_draw(11, i, t) % n_vocab);
        }
        items[i] = (kvl_sample){.ids = {ids[i], n_tokens, n_tokens}, .hash = i + 1};
        snprintf(items[i].name, sizeof items[i].name, "R%zu", i + 1);
    }
    *out = (kvl_samples){items, 2};
}

/* The preset's policies at three ratios, with budgets that a short text exceeds. */
static size_t make_policies(kvl_policy *out, const kvl_preset *preset) {
    static const double ratios[] = {0.95, 0.5, 0.3};
    size_t n = 0;
    for (const char *const *text = preset->policies; *text != NULL; text++) {
        for (size_t r = 0; r < 3 && n < max_policies; r++) {
            kvl_policy_init(&out[n]);
            assert_ok(kvl_policy_parse(&out[n], *text, NULL));
            out[n].keep_ratio = ratios[r];
            out[n].cap_tok = kvl_min_size(out[n].cap_tok, 24);
            out[n].size_tok = kvl_min_size(out[n].size_tok, 20);
            out[n].skip[0] &= 1; /* some have two layers: one must remain */
            n += !kvl_policy_press(&out[n])->is_identity;
        }
    }
    return n;
}

static void check_cell(const kvl_preset *preset, const char *family, const kvl_cell *c) {
    bool is_whole = c->n_scored == c->n_tokens - 1 - c->first_scored && c->n_scored != 0;
    for (size_t i = 0; is_whole && i < c->n_scored; i++) {
        is_whole = isfinite(c->nll[i]) && c->nll[i] > 0;
    }
    if (!is_whole) {
        fail_msg("%s on %s: policy %zu is not whole", preset->name, family, c->policy);
    }
}

static void run_preset(const kvl_preset *preset, kvl_engine *e, const kvl_samples *samples,
                       const char *family) {
    static kvl_policy policies[max_policies];
    kvl_sweep s;
    kvl_err err = {0};
    kvl_protocol protocol = preset->protocol;
    protocol.max_tokens = n_tokens;
    protocol.baseline_tokens = kvl_min_size(protocol.baseline_tokens, n_tokens);
    protocol.prefill = kvl_min_size(protocol.prefill, 32);
    protocol.count_from = kvl_min_size(protocol.count_from, 32);
    const size_t n = make_policies(policies, preset);
    const kvl_sweep_config config = {
        .protocol = protocol, .samples = samples, .policies = policies, .n_policies = n};
    if (kvl_sweep_run(&s, e, &config, &err) != KVL_OK) {
        fail_msg("%s on %s: %s", preset->name, family, err.msg);
    }
    size_t n_events = 0;
    for (size_t p = 0; p < s.n_policies; p++) {
        for (size_t i = 0; i < samples->n; i++) {
            check_cell(preset, family, kvl_sweep_cell(&s, p, i));
            n_events += kvl_sweep_cell(&s, p, i)->n_events;
        }
    }
    if (n_events == 0) {
        fail_msg("%s on %s: nothing was evicted", preset->name, family);
    }
    kvl_sweep_free(&s);
}

static void test_every_preset_on_every_family(void **state) {
    (void)state;
    test_load_presets();
    for (size_t f = 0; f < 2 * sizeof families / sizeof families[0]; f++) {
        const char *family = families[f / 2];
        char path[256];
        kvl_model *m = NULL;
        kvl_engine *e = NULL;
        kvl_samples samples;
        kvl_sample items[2];
        int32_t ids[2][n_tokens];
        size_t n_presets = 0;
        const kvl_preset *const *presets = kvl_presets(&n_presets);
        snprintf(path, sizeof path, "tests/golden/families/%s%s", family, f % 2 == 0 ? "" : "/model.gguf");
        if (!kvl_file_exists(test_path(path))) {
            assert_string_equal(family, "mistral"); /* its window has no place in GGUF */
            continue;
        }
        assert_ok(kvl_model_open(&m, test_path(path), 2, NULL));
        assert_ok(kvl_engine_create(&e, m, &(kvl_engine_options){.n_threads = 2}, NULL));
        make_samples(&samples, items, ids, m->shape.n_vocab);
        assert_ok(kvl_identity_check(e, &samples.items[0], NULL));
        assert_true(n_presets > 10);
        for (size_t i = 0; i < n_presets; i++) {
            run_preset(presets[i], e, &samples, path);
        }
        kvl_engine_destroy(e);
        kvl_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_preset_on_every_family)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
