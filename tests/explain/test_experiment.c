/* Evidence of the bundled model against transformers, against plain sweeps, and with itself. */
#include "bundled.h"

#include "explain/experiment.h"

#include <math.h>
#include <string.h>

static kvl_evidence run(unsigned engine, const char *id, const kvl_samples *texts) {
    kvl_evidence ev;
    const kvl_hypothesis *h = kvl_hypothesis_find(id);
    const kvl_explain_config config = {.hypotheses = &h, .n_hypotheses = 1, .texts = texts, .seed = 1};
    assert_ok(kvl_explain_run(&ev, engines[engine], &config, NULL));
    return ev;
}

/* Key norms and attention received: tools/golden/make_explain_goldens.py. */
static void test_norms(void **state) {
    (void)state;
    json_t *golden = test_load_json("tests/golden/explain.json");
    json_t *texts = json_object_get(golden, "texts");
    kvl_evidence ev = run(1, "H12", &samples);
    const kvl_norm_facts *f = &ev.norms;
    assert_int_equal(f->n_texts, json_array_size(texts));
    for (size_t t = 0; t < f->n_texts; t++) {
        const json_t *text = json_array_get(texts, t);
        const json_t *ids = json_object_get(text, "ids");
        for (size_t i = 0; i < json_array_size(ids); i++) {
            assert_int_equal(samples.items[t].ids.ids[i], json_integer_value(json_array_get(ids, i)));
        }
        for (size_t l = 0; l < f->n_layers; l++) {
            const json_t *layer = json_array_get(json_object_get(text, "layers"), l);
            const double seen[] = {f->correlation[t * f->n_layers + l], f->lost_norm[t * f->n_layers + l],
                                   f->lost_best[t * f->n_layers + l]};
            for (size_t k = 0; k < 3; k++) {
                assert_true(fabs(seen[k] - json_number_value(json_array_get(layer, k))) < 1e-3);
            }
        }
    }
    kvl_evidence_free(&ev);
    json_decref(golden);
}

/* An arm is what a sweep of its policy gives, to the bit, whatever rides along; with one thread and two. */
static void test_arms_are_cells(void **state) {
    (void)state;
    kvl_evidence ev[2] = {run(0, "H11", &samples), run(1, "H11", &samples)};
    for (size_t a = 0; a < ev[0].n_arms; a++) {
        const kvl_arm *arm = &ev[0].arms[a];
        kvl_sweep sweep;
        kvl_policy policy = test_policy(arm->policy);
        const kvl_sweep_config config = {.protocol = {.max_tokens = ev[0].studies[arm->study].n_tokens},
                                         .samples = &samples,
                                         .policies = &policy,
                                         .n_policies = a == 0 ? 0 : 1};
        assert_ok(kvl_sweep_run(&sweep, engines[0], &config, NULL));
        for (size_t t = 0; t < samples.n; t++) {
            const kvl_cell *cell = kvl_sweep_cell(&sweep, a == 0 ? 0 : 1, t);
            assert_int_equal(arm->texts[t].n, cell->n_scored);
            for (size_t i = 0; i < cell->n_scored; i++) {
                assert_true(arm->texts[t].steps[i].nll == cell->nll[i]);
                assert_memory_equal(&arm->texts[t].steps[i], &ev[1].arms[a].texts[t].steps[i],
                                    offsetof(kvl_step, evicted_rank));
            }
        }
        kvl_sweep_free(&sweep);
    }
    kvl_evidence_free(&ev[0]);
    kvl_evidence_free(&ev[1]);
}

/* What recency keeps is known by hand: at keep 0.5 and a cap of 32, entries are 17 to 32, the nearest always
 * seen. */
static void test_steps(void **state) {
    (void)state;
    kvl_evidence ev = run(1, "H11", &samples);
    const kvl_arm *arm = kvl_evidence_find(&ev, KVL_STUDY_STEP, "recency:keep=0.5:cap=32:skip=0");
    assert_non_null(arm);
    for (size_t i = 0; i < arm->texts[0].n; i++) {
        const kvl_step *s = &arm->texts[0].steps[i];
        const size_t expected = i < 32 ? i + 1 : 17 + i % 16;
        assert_true(s->n_visible == (float)expected);
        assert_true(i < 4 || (s->lag[0] == 1 && s->lag[3] == 1));
        assert_int_equal(s->phase, i < 32 ? UINT32_MAX : i % 16);
    }
    assert_true(arm->texts[0].first_token == 0);
    kvl_evidence_free(&ev);
}

static bool refuse(void *ud, const kvl_explain_progress *p) {
    size_t *calls = ud;
    assert_true(p->rows_done <= p->rows_total);
    return ++*calls < 3;
}

static void test_interrupt(void **state) {
    (void)state;
    kvl_evidence ev;
    size_t calls = 0;
    const kvl_hypothesis *h = kvl_hypothesis_find("H11");
    const kvl_explain_config config = {
        .hypotheses = &h, .n_hypotheses = 1, .texts = &samples, .progress = refuse, .progress_ud = &calls};
    assert_int_equal(kvl_explain_run(&ev, engines[1], &config, NULL), KVL_E_INTERRUPTED);
    kvl_evidence_free(&ev);
    assert_int_equal(calls, 3);
}

/* Memory that ends anywhere is an error, and nothing is lost. */
static void test_out_of_memory(void **state) {
    (void)state;
    const kvl_hypothesis *h = kvl_hypothesis_find("H11");
    const kvl_explain_config config = {.hypotheses = &h, .n_hypotheses = 1, .texts = &samples};
    for (int64_t n = 0; n < 400; n += 37) {
        kvl_evidence ev;
        kvl_alloc_fail_after(n);
        const kvl_status status = kvl_explain_run(&ev, engines[1], &config, NULL);
        kvl_alloc_fail_after(-1);
        assert_int_equal(status, KVL_E_NOMEM);
        kvl_evidence_free(&ev);
    }
}

static int open_two(void **state) {
    (void)state;
    return open_bundled("A1-A2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),     cmocka_unit_test(test_arms_are_cells), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_interrupt), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, open_two, close_bundled);
}
