/* What a sweep hands over at the end of each cell: its stream with the log of departures and, of the
 * baseline, all queries; none of it changes a bit. And figures of visibility, by hand. */
#include "bundled.h"

#include "protocol/sweep.h"
#include "protocol/visibility.h"

#include <math.h>
#include <string.h>

enum { n_policies = 6, n_samples = 2 };

static const char *const texts[n_policies] = {
    "knorm:keep=0.95:cap=32:skip=0",    "knorm:keep=0.5:cap=32:skip=0", "recency:keep=0.5:cap=32",
    "snapkv(window=8):keep=0.5:cap=64", "h2o:size=24:cap=48",           "random:keep=0.6:cap=40:cadence=16"};

static int open_all(void **state) {
    (void)state;
    return open_bundled("W1 W3");
}

typedef struct seen {
    const kvl_cell *cells[(n_policies + 1) * n_samples];
    size_t n;
    size_t n_queried; /* streams whose queries were all there at the end */
} seen;

static kvl_status finish(void *ud, const kvl_cell *cell, const kvl_stream *stream, kvl_err *err) {
    seen *s = ud;
    size_t n_events = 0;
    const kvl_departures *d = stream->departures;
    (void)err;
    s->cells[s->n++] = cell;
    assert_true(stream->n_seen == cell->n_tokens - 1 ||
                (cell->policy == 0 && stream->n_seen >= cell->n_tokens - 1));
    for (size_t i = 0; i + 1 < s->n; i++) { /* no cell of a sample comes behind its baseline */
        assert_true(s->cells[i]->sample != cell->sample || s->cells[i]->policy != 0);
    }
    assert_int_equal(kvl_departures_tokens(d), cell->n_tokens);
    (void)kvl_departures_events(d, &n_events);
    assert_int_equal(n_events, cell->n_events);
    for (uint32_t layer = 0; layer < model->shape.n_layers; layer++) {
        const uint32_t *left_at = kvl_departures_head(d, layer, 1);
        size_t n_kept = 0;
        for (size_t p = 0; p < cell->n_tokens - 1; p++) {
            n_kept += left_at[p] == KVL_STAYS;
        }
        assert_true(n_kept == kvl_cache_len(stream->cache, layer, 1) || cell->policy == 0);
    }
    if (stream->needs.n_queries == KVL_ALL_QUERIES) {
        assert_int_equal(cell->policy, 0);
        assert_int_equal(kvl_tap_oldest(stream->tap, stream->n_seen), 0);
        s->n_queried++;
    }
    return KVL_OK;
}

/* With memory for a part of the cells at once: texts and policies in several waves, the plan exact. */
static void check_waves(kvl_sweep_config *config, const kvl_sweep *whole, const kvl_sweep *plain) {
    const uint64_t fixed = whole->weight_bytes + whole->scratch_bytes;
    bool has_cut_policies = false;
    kvl_status status = KVL_OK;
    for (uint64_t percent = 60; status == KVL_OK; percent -= 10) {
        seen s = {0};
        kvl_sweep cut;
        config->memory_bytes = fixed + whole->kv_bytes * percent / 100;
        config->finish_ud = &s;
        status = kvl_sweep_run(&cut, engines[1], config, NULL);
        if (status == KVL_OK) {
            assert_int_equal(s.n, (n_policies + 1) * n_samples);
            assert_int_equal(s.n_queried, n_samples);
            assert_true(cut.n_waves > 1);
            assert_true(cut.kv_peak_bytes == cut.kv_bytes && fixed + cut.kv_bytes <= config->memory_bytes);
            for (size_t i = 0; i < s.n; i++) {
                assert_memory_equal(cut.cells[i].nll, plain->cells[i].nll,
                                    plain->cells[i].n_scored * sizeof(double));
            }
            has_cut_policies = has_cut_policies || cut.n_waves > n_samples;
            kvl_sweep_free(&cut);
        }
    }
    assert_int_equal(status, KVL_E_NOMEM);
    assert_true(has_cut_policies);
}

static void check_run(const kvl_protocol *protocol, bool wants_quality) {
    kvl_policy policies[n_policies];
    kvl_sweep plain, noted, plan;
    seen s = {0};
    for (size_t i = 0; i < n_policies; i++) {
        policies[i] = test_policy(texts[i]);
    }
    kvl_sweep_config config = {.protocol = *protocol,
                               .samples = &samples,
                               .policies = policies,
                               .n_policies = n_policies,
                               .wants_quality = wants_quality};
    assert_ok(kvl_sweep_run(&plain, engines[1], &config, NULL));
    config.wants_departures = true;
    config.baseline_needs = (kvl_needs){.n_queries = KVL_ALL_QUERIES};
    config.finish = finish;
    config.finish_ud = &s;
    assert_ok(kvl_sweep_plan(&plan, engines[1], &config, NULL));
    assert_int_equal(s.n, 0);
    assert_ok(kvl_sweep_run(&noted, engines[1], &config, NULL));
    assert_int_equal(s.n, (n_policies + 1) * n_samples);
    assert_int_equal(s.n_queried, n_samples);
    for (size_t i = 0; i < s.n; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_ptr_not_equal(s.cells[i], s.cells[k]);
        }
        assert_int_equal(noted.cells[i].n_events, plain.cells[i].n_events);
        assert_memory_equal(noted.cells[i].nll, plain.cells[i].nll, plain.cells[i].n_scored * sizeof(double));
    }
    assert_true(plan.kv_bytes == noted.kv_peak_bytes && plan.kv_bytes == noted.kv_bytes);
    assert_true(plan.kv_bytes > plain.kv_bytes);
    kvl_sweep_free(&noted);
    check_waves(&config, &plan, &plain);
    kvl_sweep_free(&plain);
    kvl_sweep_free(&plan);
}

static void test_lockstep_baseline(void **state) {
    (void)state;
    check_run(&(kvl_protocol){.max_tokens = 150}, false);
    check_run(&(kvl_protocol){.max_tokens = 150}, true);
}

static void test_one_pass_baseline(void **state) {
    (void)state;
    check_run(&(kvl_protocol){.max_tokens = 130, .baseline_tokens = 150}, false);
    check_run(&(kvl_protocol){.max_tokens = 130, .baseline_tokens = 130}, true);
}

static void test_prefill(void **state) {
    (void)state;
    check_run(&(kvl_protocol){.max_tokens = 150, .prefill = 70, .count_from = 70}, false);
}

static kvl_status refuse(void *ud, const kvl_cell *cell, const kvl_stream *stream, kvl_err *err) {
    (void)ud;
    (void)cell;
    (void)stream;
    return kvl_fail(err, KVL_E_IO, "full");
}

static void test_failure_ends(void **state) {
    (void)state;
    kvl_sweep s;
    kvl_policy p = test_policy(texts[0]);
    const kvl_sweep_config config = {.protocol = {.max_tokens = 40},
                                     .samples = &samples,
                                     .policies = &p,
                                     .n_policies = 1,
                                     .finish = refuse};
    assert_int_equal(kvl_sweep_run(&s, engines[0], &config, NULL), KVL_E_IO);
}

/* Two layers of one head, six tokens. Layer 0: position 1 left when 3 were seen, 3 at once, when 4 were. */
static void test_visibility(void **state) {
    (void)state;
    const kvl_shape shape = {.n_layers = 2, .n_kv_heads = 1};
    const uint64_t skip = 2; /* layer 1 */
    kvl_departures *d = NULL;
    float share[4];
    assert_ok(kvl_departures_create(&d, &shape, 6, NULL));
    kvl_departures_set(d, 0, 0, 1, 3);
    kvl_departures_set(d, 0, 0, 3, 4);
    kvl_departures_note_event(d, 3);
    kvl_departures_note_event(d, 4);
    kvl_visible_lags(share, 4, d, &skip, 4); /* keys 0, 2, 4 */
    assert_true(share[0] == 0 && share[1] == 1 && share[2] == 0 && share[3] == 1);
    kvl_visible_lags(share, 4, d, NULL, 2);
    assert_true(share[0] == 1 && share[1] == 1 && share[2] == 0);
    assert_true(kvl_visible_keys(d, &skip, 4) == 3 && kvl_visible_keys(d, NULL, 4) == 4);
    assert_true(kvl_step_phase(d, 2) == SIZE_MAX && kvl_step_phase(d, 3) == 0 && kvl_step_phase(d, 5) == 1);
    kvl_visibility v = {0};
    kvl_visibility_add(&v, d, &skip, 3, 6); /* queries 3, 4, 5 see 0 2 3, 0 2 4, 0 2 4 5 */
    kvl_visibility_add(&v, d, &skip, 2, 3); /* 0 1 2 */
    kvl_visibility_add_compressions(&v, d, &skip);
    kvl_visibility mean = kvl_visibility_mean(&v);
    assert_true(v.n == 4 && mean.n_keys == 13.0 / 4 && mean.lags[0] == 3.0 / 4 && mean.lags[1] == 2.0 / 4);
    assert_true(mean.run == (1 + 0 + 1 + 2) / 4.0 && mean.old == 0);
    assert_true(fabs(mean.age - (4 / 3.0 + 6 / 3.0 + 9 / 4.0 + 1) / 4) < 1e-15);
    assert_true(v.n_compressions == 2 && mean.n_newest == 0.5);
    kvl_departures_destroy(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lockstep_baseline), cmocka_unit_test(test_one_pass_baseline),
        cmocka_unit_test(test_prefill),           cmocka_unit_test(test_failure_ends),
        cmocka_unit_test(test_visibility),
    };
    return cmocka_run_group_tests(tests, open_all, close_bundled);
}
