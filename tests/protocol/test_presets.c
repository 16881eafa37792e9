/* Every preset's protocol and policies on a tiny model of every family, from both kinds of file: the same
 * code runs them all. Texts are random ids; what is checked is that each cell is whole and that something was
 * evicted where the policy says so. */
#include "support.h"

#include "base/rng.h"
#include "protocol/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

static void check_list(const double *found, const double *expected, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(found[i] == expected[i]);
    }
    assert_true(found[n] == 0);
}

/* Every field of some, as they were published. */
static void test_fields(void **state) {
    (void)state;
    static const double u[] = {1, .95, .9, .85, .8, .75, .7, .6, .5, .4, .3};
    static const double tenths[] = {1, .95, .9, .8, .7, .6, .5, .4, .3, .2, .1};
    static const double nine[] = {1, .9, .8, .7, .6, .5, .4, .3, .2, .1};
    test_load_presets();
    const kvl_preset *p = kvl_preset_find("ucurve");
    assert_string_equal(p->summary,
                        "the published U-curve: KnormPress, 32-entry trigger, 11 keep ratios, 5 samples");
    assert_string_equal(p->samples, "W1 W2 W3 P1 P2");
    assert_string_equal(p->policies[0], "knorm:cap=32:skip=0");
    assert_null(p->policies[1]);
    check_list(p->keep_ratios, u, 11);
    assert_true(p->protocol.max_tokens == 256 && p->protocol.baseline_tokens == 512);
    assert_true(p->protocol.prefill == 0 && p->protocol.count_from == 0);
    assert_false(p->protocol.is_two_phase || p->protocol.has_windows);
    assert_true(p->has_mean_ppl && p->note == NULL && p->windows == NULL);
    p = kvl_preset_find("prefill-continue");
    assert_string_equal(p->samples, "B1 B2 B3 B4 B5");
    assert_string_equal(p->policies[0], "knorm:cadence=once:order=score");
    assert_null(p->policies[1]);
    check_list(p->keep_ratios, tenths, 11);
    assert_true(p->protocol.max_tokens == 769 && p->protocol.baseline_tokens == 0);
    assert_true(p->protocol.prefill == 512 && p->protocol.count_from == 512);
    assert_string_equal(p->windows, "prefill-continue");
    assert_false(p->has_mean_ppl || p->protocol.is_two_phase);
    assert_null(p->note);
    p = kvl_preset_find("ucurve-compare");
    assert_string_equal(p->policies[0], "knorm:cap=256:skip=0");
    assert_string_equal(p->policies[1], "recency:cap=256:skip=0");
    check_list(p->keep_ratios, nine, 10);
    assert_true(p->protocol.prefill == 256 && p->protocol.count_from == 256 && p->has_mean_ppl);
    assert_string_equal(p->note, "the original used other PG-19 books (longer than 50,000 characters); here: "
                                 "the first five of the test split");
    assert_true(kvl_preset_find("ucurve-2phase")->protocol.is_two_phase);
    assert_string_equal(kvl_preset_find("kv-fix512")->policies[3],
                        "knorm:size=512:cap=512:trigger=gt:recent=153:skip=0+1");
}

static kvl_preset *read(const char *text, const char *path, kvl_status expected) {
    kvl_yaml *doc = NULL;
    kvl_preset *preset = NULL;
    assert_ok(kvl_yaml_parse(&doc, text, strlen(text), path, NULL));
    assert_int_equal(kvl_preset_read(&preset, doc, path, NULL), expected);
    assert_true((preset != NULL) == (expected == KVL_OK));
    kvl_yaml_free(doc);
    return preset;
}

/* What may be left out, and forms that come to the same. */
static void test_reading(void **state) {
    (void)state;
    static const double three[] = {1, .5, .25};
    kvl_preset *p = read("policies: knorm\nratio: [0.25, \"0.5,0.25\"]\nsamples: [W1, W2]\n"
                         "stream: {max-tokens: 9, prefill: 4}\nthreads: 3\n",
                         "some/where/a.b.yaml", KVL_OK);
    assert_string_equal(p->name, "a.b");
    assert_string_equal(p->samples, "W1 W2");
    check_list(p->keep_ratios, three, 3); /* 1 is the baseline of every list */
    assert_true(p->protocol.prefill == 4 && p->protocol.count_from == 4);
    kvl_preset_destroy(p);
    p = read("policies: [knorm]\nprotocol: hf-strided\n", "x.yml", KVL_OK);
    assert_string_equal(p->name, "x");
    assert_string_equal(p->windows, "hf-strided");
    assert_null(p->samples);
    check_list(p->keep_ratios, three, 1);
    kvl_preset_destroy(p);
    read("policies: []\nprotocol: hf-strided\n", "x", KVL_E_USAGE);
    read("policies: [knorm]\n", "x", KVL_E_MISSING);
    read("protocol: hf-strided\n", "x", KVL_E_MISSING);
    read("policies: [knorm]\nprotocol: hf-strided\n", "..", KVL_E_USAGE);
    kvl_str many = {0};
    kvl_str_puts(&many, "protocol: hf-strided\npolicies:\n");
    for (size_t i = 0; i < 257; i++) {
        kvl_str_puts(&many, "  - knorm\n");
    }
    read(kvl_str_text(&many), "x", KVL_E_USAGE);
    kvl_str_free(&many);
    kvl_preset_destroy(NULL);
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "policies: [a, b]\nsamples: [W1, W2]\nnote: n\nstream: {max-tokens: 9}\n";
    kvl_yaml *doc = NULL;
    assert_ok(kvl_yaml_parse(&doc, text, sizeof text - 1, "x", NULL));
    int64_t k = 0;
    for (kvl_status status = KVL_E_NOMEM; status != KVL_OK; k++) {
        kvl_preset *preset = NULL;
        kvl_alloc_fail_after(k);
        status = kvl_preset_read(&preset, doc, "x", NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_preset_destroy(preset);
    }
    assert_true(k > 5);
    kvl_yaml_free(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_preset_on_every_family),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
