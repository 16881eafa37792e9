/* Compares a sweep's quality with a golden file of tools/golden/make_quality_goldens.py. */
#ifndef KVL_TESTS_QUALITY_GOLDEN_H
#define KVL_TESTS_QUALITY_GOLDEN_H

#include "support.h"

#include "protocol/sweep.h"

#include <math.h>
#include <stdio.h>

static inline void check_golden_number(const json_t *wanted, const char *key, size_t t, double found,
                                       double tolerance) {
    const double want = json_number_value(json_array_get(json_object_get(wanted, key), t));
    if (!(fabs(found - want) <= tolerance)) {
        fail_msg("%s, %s of token %zu: expected %.7g, found %.7g",
                 json_string_value(json_object_get(wanted, "policy")), key, t, want, found);
    }
}

static inline void check_golden_flag(const json_t *wanted, const char *key, size_t t, bool found) {
    assert_int_equal(json_is_true(json_array_get(json_object_get(wanted, key), t)), found);
}

static inline void check_quality_case(const json_t *wanted, kvl_engine *engine, double tolerance) {
    const json_t *ids = json_object_get(wanted, "ids");
    const size_t prefill = (size_t)json_integer_value(json_object_get(wanted, "prefill"));
    kvl_sample sample = {.name = "golden"};
    for (size_t t = 0; t < json_array_size(ids); t++) {
        assert_ok(
            kvl_ids_push(&sample.ids, (int32_t)json_integer_value(json_array_get(ids, t)), &assert_ok_err));
    }
    const kvl_policy policy = test_policy(json_string_value(json_object_get(wanted, "policy")));
    const kvl_samples samples = {.items = &sample, .n = 1};
    const kvl_sweep_config config = {
        .protocol = {.max_tokens = sample.ids.n, .prefill = prefill, .count_from = prefill},
        .samples = &samples,
        .policies = &policy,
        .n_policies = 1,
        .wants_quality = true};
    kvl_sweep sweep;
    assert_ok(kvl_sweep_run(&sweep, engine, &config, &assert_ok_err));
    const kvl_cell *c = kvl_sweep_cell(&sweep, 1, 0);
    assert_true(c->n_events > 0 && c->n_scored == json_array_size(json_object_get(wanted, "kl_nats")));
    for (size_t t = 0; t < c->n_scored; t++) {
        const kvl_token_quality *q = &c->quality[t];
        check_golden_number(wanted, "nll_nats", t, c->nll[t], tolerance);
        check_golden_number(wanted, "kl_nats", t, (double)q->kl, tolerance);
        check_golden_number(wanted, "entropy_nats", t, (double)q->entropy, tolerance);
        check_golden_number(wanted, "p_top", t, (double)q->p_top, tolerance);
        check_golden_flag(wanted, "is_hit", t, q->is_hit);
        check_golden_flag(wanted, "is_same_top", t, q->is_same_top);
    }
    kvl_sweep_free(&sweep);
    kvl_ids_free(&sample.ids);
}

/* Every case of a file, by a model that is open. */
static inline void check_quality_golden(const char *path, const kvl_model *model) {
    json_t *golden = test_load_json(path);
    const json_t *cases = json_object_get(golden, "cases");
    const double tolerance = json_number_value(json_object_get(golden, "tolerance"));
    kvl_engine *engine = NULL;
    const kvl_engine_options options = {.n_threads = 2};
    assert_ok(kvl_engine_create(&engine, model, &options, &assert_ok_err));
    assert_true(json_array_size(cases) >= 2);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_quality_case(json_array_get(cases, i), engine, tolerance);
    }
    kvl_engine_destroy(engine);
    json_decref(golden);
}

#endif
