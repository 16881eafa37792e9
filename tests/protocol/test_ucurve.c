/* The published protocol on the embedded model, against an independent float32 implementation (golden file),
 * and the identities that pin it down. */
#include "support.h"

#include "engine/engine_int.h"
#include "protocol/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static kvl_model *model;
static kvl_tokenizer *tokenizer;
static kvl_engine *engine;
static kvl_samples samples;
static json_t *golden;

static int open_all(void **state) {
    (void)state;
    test_load_presets();
    kvl_err err = {0};
    kvl_engine_options options = {0};
    golden = test_load_json("tests/golden/ucurve.novels-7m.json");
    bool is_open =
        kvl_model_open(&model, test_path("models/novels-7m"), 2, &err) == KVL_OK &&
        kvl_tokenizer_open(&tokenizer, test_path("models/novels-7m/tokenizer.json"), &err) == KVL_OK &&
        kvl_engine_create(&engine, model, &options, &err) == KVL_OK &&
        kvl_samples_load(&samples, "W1 W2 W3 P1 P2", test_path("data"), tokenizer, &err) == KVL_OK;
    if (!is_open) {
        fprintf(stderr, "%s\n", err.msg);
    }
    return is_open ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    kvl_samples_free(&samples);
    kvl_engine_destroy(engine);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    json_decref(golden);
    return 0;
}

static kvl_sweep sweep_of(const kvl_protocol *protocol, const kvl_policy *policies, size_t n) {
    kvl_sweep s;
    kvl_err err = {0};
    kvl_sweep_config config = {
        .protocol = *protocol, .samples = &samples, .policies = policies, .n_policies = n};
    if (kvl_sweep_run(&s, engine, &config, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return s;
}

/* All presses of one policy text at the preset's compressed ratios. */
static size_t at_all_ratios(kvl_policy *out, const char *text) {
    const double *ratio = kvl_preset_find("ucurve")->keep_ratios;
    size_t n = 0;
    for (; *ratio > 0; ratio++) {
        if (*ratio < 1) {
            out[n] = test_policy(text);
            out[n++].keep_ratio = *ratio;
        }
    }
    return n;
}

static const kvl_protocol ucurve = {.max_tokens = 256, .baseline_tokens = 512};

static const char *ratio_key(double ratio) {
    static char key[16];
    snprintf(key, sizeof key, "%g", ratio);
    return key;
}

static void check_nll(const kvl_cell *c, const char *key) {
    const json_t *want = json_object_get(json_object_get(golden, "nll_W1_stream"), key);
    assert_int_equal(json_array_size(want), c->n_scored);
    for (size_t t = 0; t < c->n_scored; t++) {
        double expected = json_number_value(json_array_get(want, t));
        if (!(fabs(c->nll[t] - expected) < 1e-3)) {
            fail_msg("W1, keep %s, step %zu: expected %.9g nats, found %.9g", key, t, expected, c->nll[t]);
        }
    }
}

static void check_ppl(const kvl_cell *c, double ratio) {
    const json_t *row = json_object_get(json_object_get(golden, "ppl"), ratio_key(ratio));
    double want = json_number_value(json_object_get(row, samples.items[c->sample].name));
    double got = exp(c->nll_sum / (double)c->n_scored);
    if (!(fabs(got / want - 1) < 1e-4)) {
        fail_msg("%s, keep %g: expected PPL %.9g, found %.9g", samples.items[c->sample].name, ratio, want,
                 got);
    }
}

static void test_equals_the_independent_implementation(void **state) {
    (void)state;
    kvl_policy policies[16];
    size_t n = at_all_ratios(policies, "knorm:cap=32:skip=0");
    assert_int_equal(n, 10);
    kvl_sweep s = sweep_of(&ucurve, policies, n);
    double mean[16] = {0};
    for (size_t i = 0; i < samples.n; i++) {
        assert_int_equal(
            samples.items[i].ids.n,
            json_integer_value(json_object_get(json_object_get(golden, "n_tokens"), samples.items[i].name)));
        check_ppl(&s.one_pass[i], 1);
        assert_int_equal(s.one_pass[i].n_scored, kvl_min_size(samples.items[i].ids.n, 512) - 1);
        for (size_t p = 1; p <= n; p++) {
            const kvl_cell *c = kvl_sweep_cell(&s, p, i);
            check_ppl(c, policies[p - 1].keep_ratio);
            mean[p] += exp(c->nll_sum / (double)c->n_scored) / (double)samples.n;
        }
    }
    for (size_t p = 1; p <= n; p++) {
        const char *key = ratio_key(policies[p - 1].keep_ratio);
        double want = json_number_value(json_object_get(json_object_get(golden, "mean_ppl"), key));
        assert_true(fabs(mean[p] / want - 1) < 1e-4);
        if (json_object_get(json_object_get(golden, "nll_W1_stream"), key) != NULL) {
            check_nll(kvl_sweep_cell(&s, p, 0), key);
        }
        const json_t *lengths = json_object_get(json_object_get(golden, "cache_lengths_after_P1"), key);
        for (size_t l = 0; l < json_array_size(lengths); l++) {
            assert_true(kvl_sweep_cell(&s, p, 3)->kept_per_layer[l] ==
                        json_number_value(json_array_get(lengths, l)));
        }
    }
    check_nll(kvl_sweep_cell(&s, 0, 0), "1");
    kvl_sweep_free(&s);
}

static void test_first_ids(void **state) {
    (void)state;
    for (size_t i = 0; i < samples.n; i++) {
        const json_t *want = json_object_get(json_object_get(golden, "first_ids"), samples.items[i].name);
        assert_int_equal(json_array_size(want), 24);
        for (size_t t = 0; t < 24; t++) {
            assert_int_equal(samples.items[i].ids.ids[t], json_integer_value(json_array_get(want, t)));
        }
    }
}

/* Section "cache size as a function of the step": after the first trigger the length runs from K to 31 with
 * period 32 - K, layer 0 holds everything; and the kept set is a running top-K. One pass of one stream, step
 * by step. */
static void check_sawtooth(double ratio, size_t k, size_t period) {
    kvl_policy policy = test_policy("knorm:cap=32:skip=0");
    policy.keep_ratio = ratio;
    kvl_stream *s = NULL;
    size_t n_events = 0;
    static float norms[6][4][256];
    assert_int_equal(kvl_stream_create(&s, engine, NULL), KVL_OK);
    for (size_t t = 0; t < 255; t++) {
        kvl_row row = {.stream = s, .token = samples.items[3].ids.ids[t], .target = -1};
        assert_int_equal(kvl_engine_forward(engine, &row, 1, NULL), KVL_OK);
        size_t cycle = t < 31 ? 0 : (t - 31) % period;
        size_t expected = t <= 31 ? t + 1 : k + 1 + (t - 32) % period;
        assert_int_equal(kvl_cache_len(s->cache, 0, 0), t + 1);
        for (uint32_t l = 1; l < 6; l++) {
            for (uint32_t h = 0; h < 4; h++) {
                kvl_head_entries e = kvl_cache_entries(s->cache, l, h);
                assert_int_equal(e.n, expected); /* what the query of step t saw */
                double sum = 0;
                for (uint32_t d = 0; d < 64; d++) {
                    const float *keys = e.keys;
                    double x = (double)keys[((e.n - 1) / 16 * 64 + d) * 16 + (e.n - 1) % 16];
                    sum += x * x;
                }
                norms[l][h][t] = (float)sqrt(sum);
            }
        }
        bool must_fire = t >= 31 && cycle == 0;
        assert_int_equal(kvl_policy_fires(&policy, s, &model->shape), must_fire);
        if (!must_fire) {
            continue;
        }
        kvl_compress_job job = {.stream = s, .policy = &policy};
        assert_int_equal(kvl_engine_compress(engine, &job, 1, NULL), KVL_OK);
        n_events++;
        for (uint32_t l = 1; l < 6;
             l++) { /* running top-K: no dropped key of the whole past is below a kept one */
            for (uint32_t h = 0; h < 4; h++) {
                kvl_head_entries e = kvl_cache_entries(s->cache, l, h);
                bool is_kept[256] = {false};
                float worst_kept = 0;
                assert_int_equal(e.n, k);
                for (size_t j = 0; j < e.n; j++) {
                    is_kept[e.positions[j]] = true;
                    worst_kept = fmaxf(worst_kept, norms[l][h][e.positions[j]]);
                    assert_true(j == 0 || e.positions[j] > e.positions[j - 1]);
                }
                for (size_t past = 0; past <= t; past++) {
                    assert_true(is_kept[past] || norms[l][h][past] >= worst_kept);
                }
            }
        }
    }
    assert_int_equal(n_events, (255 - 32) / period + 1);
    kvl_stream_destroy(s);
}

static void test_sawtooth_and_running_top_k(void **state) {
    (void)state;
    static const struct {
        double ratio;
        size_t k, period;
    } rows[] = {{.95, 31, 1}, {.9, 29, 3},  {.85, 28, 4}, {.8, 26, 6},  {.75, 24, 8}, {.7, 23, 9},
                {.6, 20, 12}, {.5, 16, 16}, {.4, 13, 19}, {.3, 10, 22}, {.1, 4, 28}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_sawtooth(rows[i].ratio, rows[i].k, rows[i].period);
    }
}

static void test_order_does_not_matter(void **state) {
    (void)state;
    kvl_policy policies[32];
    size_t n = at_all_ratios(policies, "knorm:cap=32:skip=0");
    n += at_all_ratios(policies + n, "knorm:cap=32:skip=0:order=score");
    kvl_sweep s = sweep_of(&ucurve, policies, n);
    for (size_t p = 1; p <= n / 2; p++) {
        for (size_t i = 0; i < samples.n; i++) {
            const kvl_cell *by_time = kvl_sweep_cell(&s, p, i);
            const kvl_cell *by_score = kvl_sweep_cell(&s, p + n / 2, i);
            assert_true(fabs(by_score->nll_sum / by_time->nll_sum - 1) < 1e-6);
        }
    }
    kvl_sweep_free(&s);
}

/* A threshold that never fires is the baseline, bit for bit; and every policy is, before its first event. */
static void test_dead_policy_is_the_baseline(void **state) {
    (void)state;
    kvl_policy policies[16];
    size_t n = at_all_ratios(policies, "knorm:cap=512:skip=0");
    kvl_protocol dead = {.max_tokens = 512, .baseline_tokens = 512};
    policies[n++] = test_policy("random(redrawn):keep=0.5:cap=100");
    kvl_sweep s = sweep_of(&dead, policies, n);
    for (size_t i = 0; i < samples.n; i++) {
        const kvl_cell *none = kvl_sweep_cell(&s, 0, i);
        for (size_t p = 1; p < n; p++) {
            const kvl_cell *c = kvl_sweep_cell(&s, p, i);
            assert_int_equal(c->n_events, 0);
            assert_memory_equal(c->nll, none->nll, none->n_scored * sizeof(double));
        }
        assert_int_equal(s.one_pass[i].n_scored, none->n_scored);
        assert_memory_equal(s.one_pass[i].nll, none->nll,
                            none->n_scored * sizeof(double)); /* one pass = stepwise */
        const kvl_cell *random = kvl_sweep_cell(&s, n, i);
        assert_int_equal(random->first_event, 99);
        assert_memory_equal(random->nll, none->nll, 100 * sizeof(double));
        assert_memory_not_equal(random->nll + 100, none->nll + 100, sizeof(double));
    }
    kvl_sweep_free(&s);
}

/* A cell alone has the bits it has in company: forking and batching are exact. */
static void test_solo_equals_company(void **state) {
    (void)state;
    kvl_policy policies[5] = {
        test_policy("knorm:keep=0.9:cap=32:skip=0"), test_policy("random(static):keep=0.5:cap=40"),
        test_policy("recency:keep=0.3:cap=32:skip=0+1"), test_policy("streaming:size=24:cap=32:cadence=5"),
        test_policy("knorm(high):keep=0.5:cap=64:positions=cache-length")};
    kvl_protocol prefill = {.max_tokens = 200, .prefill = 48, .count_from = 48};
    kvl_sweep company = sweep_of(&prefill, policies, 5);
    for (size_t p = 0; p < 5; p++) {
        kvl_sweep solo = sweep_of(&prefill, &policies[p], 1);
        for (size_t i = 0; i < samples.n; i++) {
            const kvl_cell *a = kvl_sweep_cell(&company, p + 1, i);
            const kvl_cell *b = kvl_sweep_cell(&solo, 1, i);
            assert_int_equal(a->n_scored, a->n_tokens - 1 - 48);
            assert_int_equal(a->n_scored, b->n_scored);
            assert_true(a->n_events > 0 && a->n_events == b->n_events);
            assert_memory_equal(a->nll, b->nll, a->n_scored * sizeof(double));
        }
        kvl_sweep_free(&solo);
    }
    kvl_sweep_free(&company);
}

/* Published figures: the 11-row table is the mean over 3 + 2 samples, the 6-row one over 2 + 2. */
static void test_published_aggregation(void **state) {
    (void)state;
    assert_true(fabs((76.04 + 52.61) / 2 - 64.32) < 0.01);
    static const struct {
        double wiki, pg19, n_wiki, mean;
    } rows[] = {{64.32, 39.49, 2, 51.91},    {185.50, 146.12, 2, 165.81}, {138.64, 105.55, 2, 122.10},
                {75.03, 39.49, 3, 60.81},    {196.39, 146.12, 3, 176.28}, {158.97, 121.29, 3, 143.90},
                {156.99, 116.20, 3, 140.67}, {157.54, 105.55, 3, 136.74}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double mean = (rows[i].n_wiki * rows[i].wiki + 2 * rows[i].pg19) / (rows[i].n_wiki + 2);
        assert_true(fabs(mean - rows[i].mean) < 0.011);
    }
}

static void test_two_phase_lengths(void **state) {
    (void)state;
    assert_int_equal(kvl_two_phase_prefill(185), 135);
    assert_int_equal(kvl_two_phase_prefill(197), 147);
    assert_int_equal(kvl_two_phase_prefill(152), 102);
    assert_int_equal(kvl_two_phase_prefill(521), 256);
    assert_int_equal(kvl_two_phase_prefill(40), 32);
}

static void test_identity_check_passes(void **state) {
    (void)state;
    for (size_t i = 0; i < samples.n; i++) {
        assert_int_equal(kvl_identity_check(engine, &samples.items[i], NULL), KVL_OK);
    }
}

/* An addition that depends on how often it was called: what an engine with a scheduling fault would do. */
static void unsteady_add(float *y, const float *x, size_t n) {
    static unsigned n_calls;
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
    y[0] += 1e-4f * (float)(n_calls++ % 7);
}

static void test_identity_check_can_fail(void **state) {
    (void)state;
    kvl_engine *faulty = NULL;
    kvl_engine_options options = {.n_threads = 1};
    kvl_err err = {0};
    assert_int_equal(kvl_engine_create(&faulty, model, &options, NULL), KVL_OK);
    kvl_kernels kernels = *faulty->kernels;
    kernels.add = unsteady_add;
    faulty->kernels = &kernels;
    assert_int_equal(kvl_identity_check(faulty, &samples.items[0], &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "identity check on W1: token "));
    assert_int_equal(kvl_status_exit_code(err.status), 6);
    kvl_engine_destroy(faulty);
}

static bool stop_at_once(void *ud, const kvl_sweep_progress *p) {
    (void)ud;
    assert_in_range(p->rows_done, 1, p->rows_total);
    return false;
}

static void test_stop_leaves_nothing(void **state) {
    (void)state;
    kvl_sweep s;
    kvl_err err = {0};
    kvl_policy policy = test_policy("knorm:keep=0.5:cap=32");
    kvl_sweep_config config = {.protocol = ucurve,
                               .samples = &samples,
                               .policies = &policy,
                               .n_policies = 1,
                               .progress = stop_at_once};
    assert_int_equal(kvl_sweep_run(&s, engine, &config, &err), KVL_E_INTERRUPTED);
    assert_null(s.cells);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_policy policy = test_policy("knorm:keep=0.5:cap=8");
    kvl_protocol brief = {.max_tokens = 12, .baseline_tokens = 12};
    for (int64_t k = 0; k < 4000; k += k < 120 ? 1 : 97) {
        kvl_sweep s;
        kvl_sweep_config config = {
            .protocol = brief, .samples = &samples, .policies = &policy, .n_policies = 1};
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_sweep_run(&s, engine, &config, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_sweep_free(&s);
    }
}

static void test_every_preset_is_sound(void **state) {
    (void)state;
    size_t n = 0;
    const kvl_preset *const *all = kvl_presets(&n);
    assert_int_equal(n, 14);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(kvl_preset_find(all[i]->name), all[i]);
        assert_true(all[i]->keep_ratios[0] == 1.0);
        for (const char *const *text = all[i]->policies; *text != NULL; text++) {
            (void)test_policy(*text);
        }
        kvl_samples loaded;
        assert_int_equal(kvl_samples_load(&loaded, all[i]->samples, test_path("data"), tokenizer, NULL),
                         KVL_OK);
        kvl_samples_free(&loaded);
    }
    assert_null(kvl_preset_find("ucurves"));
}

static void test_bad_samples(void **state) {
    (void)state;
    static const char *const names[] = {"Q1", "W0", "W999999", "P11", "C2", ""};
    for (size_t i = 0; i < 5; i++) {
        kvl_samples loaded;
        assert_int_equal(kvl_samples_load(&loaded, names[i], test_path("data"), tokenizer, NULL),
                         KVL_E_USAGE);
    }
    kvl_samples loaded = {0};
    kvl_err err = {0};
    test_save(test_temp_path("empty.txt"), "", 0);
    test_save(test_temp_path("blank.txt"), " \n\t\n", 4);
    test_save(test_temp_path("one.txt"), "a", 1);
    assert_int_equal(kvl_samples_add_file(&loaded, test_temp_path("empty.txt"), tokenizer, &err), KVL_E_TEXT);
    assert_non_null(strstr(err.msg, "empty.txt"));
    assert_int_equal(kvl_samples_add_file(&loaded, test_temp_path("blank.txt"), tokenizer, &err), KVL_E_TEXT);
    assert_int_equal(kvl_samples_add_file(&loaded, test_temp_path("one.txt"), tokenizer, &err), KVL_E_TEXT);
    assert_int_equal(kvl_samples_add_file(&loaded, test_temp_path("absent.txt"), tokenizer, &err), KVL_E_IO);
    kvl_samples_free(&loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_the_independent_implementation),
        cmocka_unit_test(test_first_ids),
        cmocka_unit_test(test_sawtooth_and_running_top_k),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_dead_policy_is_the_baseline),
        cmocka_unit_test(test_solo_equals_company),
        cmocka_unit_test(test_published_aggregation),
        cmocka_unit_test(test_two_phase_lengths),
        cmocka_unit_test(test_identity_check_passes),
        cmocka_unit_test(test_identity_check_can_fail),
        cmocka_unit_test(test_stop_leaves_nothing),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_every_preset_is_sound),
        cmocka_unit_test(test_bad_samples),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
