/* Cells that are known are left out of a sweep, and the others keep their bits; long sweeps are cut. */
#include "support.h"

#include "base/rng.h"
#include "protocol/sweep.h"

#include <string.h>

enum { n_policies = 6, n_samples = 3, n_cells = (n_policies + 1) * n_samples };

static kvl_model *model;
static kvl_tokenizer *tokenizer;
static kvl_engine *engine;
static kvl_samples texts;
static kvl_policy policies[n_policies];

static int open_all(void **state) {
    (void)state;
    static const char *const words[n_policies] = {
        "knorm:keep=0.9:cap=32:skip=0",     "knorm:keep=0.5:cap=32:skip=0", "random:keep=0.5:cap=16",
        "snapkv(window=8):keep=0.5:cap=24", "recency:keep=0.3:cap=32",      "knorm:keep=0.3:cadence=once"};
    const kvl_engine_options options = {.n_threads = 1};
    for (size_t i = 0; i < n_policies; i++) {
        policies[i] = test_policy(words[i]);
    }
    const bool is_open = kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) == KVL_OK &&
                         kvl_tokenizer_open(&tokenizer, test_path("models/novels-7m"), NULL) == KVL_OK &&
                         kvl_engine_create(&engine, model, &options, NULL) == KVL_OK &&
                         kvl_samples_load(&texts, "W1 W3 P1", test_path("data"), tokenizer, NULL) == KVL_OK;
    return is_open ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    kvl_samples_free(&texts);
    kvl_engine_destroy(engine);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    return 0;
}

/* Which cells are known, what they are, and which ones the sweep said it had finished. */
typedef struct memory {
    const kvl_sweep *whole;
    bool is_known[n_cells], is_one_pass_known[n_samples];
    bool is_told[n_cells], is_one_pass_told[n_samples];
} memory;

static kvl_status recall(void *ud, kvl_cell *c, bool is_one_pass, bool *is_known, kvl_err *err) {
    (void)err;
    memory *m = ud;
    const size_t index = c->policy * n_samples + c->sample;
    const kvl_cell *from = is_one_pass ? &m->whole->one_pass[c->sample] : &m->whole->cells[index];
    *is_known = is_one_pass ? m->is_one_pass_known[c->sample] : m->is_known[index];
    if (*is_known) {
        double *kept = c->kept_per_layer;
        double *nll = kvl_calloc(from->n_scored, sizeof *nll);
        assert_non_null(nll);
        memcpy(nll, from->nll, from->n_scored * sizeof *nll);
        memcpy(kept, from->kept_per_layer, m->whole->n_layers * sizeof *kept);
        *c = *from;
        c->nll = nll;
        c->quality = NULL;
        c->kept_per_layer = kept;
    }
    return KVL_OK;
}

static bool note_finished(void *ud, const kvl_sweep_progress *p) {
    memory *m = ud;
    assert_true(p->rows_done <= p->wave_rows && p->wave_rows <= p->rows_total);
    assert_true(p->cells_done <= p->wave_cells && p->wave_cells <= p->cells_total);
    if (p->finished != NULL) {
        const size_t index = p->finished->policy * n_samples + p->finished->sample;
        bool *is_told = p->is_one_pass ? &m->is_one_pass_told[p->finished->sample] : &m->is_told[index];
        assert_false(*is_told);
        *is_told = true;
        assert_true(p->finished->n_scored != 0 && p->finished->kv_bytes_live != 0);
    }
    return true;
}

static kvl_sweep_config config_of(memory *m, const kvl_protocol *protocol) {
    return (kvl_sweep_config){.protocol = *protocol,
                              .samples = &texts,
                              .policies = policies,
                              .n_policies = n_policies,
                              .progress = m != NULL ? note_finished : NULL,
                              .progress_ud = m,
                              .recall = m != NULL ? recall : NULL,
                              .recall_ud = m};
}

static void check_same_cell(const kvl_cell *a, const kvl_cell *b, size_t n_layers) {
    assert_int_equal(a->n_scored, b->n_scored);
    assert_memory_equal(a->nll, b->nll, a->n_scored * sizeof *a->nll);
    assert_memory_equal(a->kept_per_layer, b->kept_per_layer, n_layers * sizeof *a->kept_per_layer);
    assert_true(a->nll_sum == b->nll_sum && a->kept_mean == b->kept_mean);
    assert_true(a->n_events == b->n_events && a->first_event == b->first_event);
    assert_true(a->last_event == b->last_event && a->kv_bytes_live == b->kv_bytes_live);
    for (size_t t = 0; a->quality != NULL && b->quality != NULL && t < a->n_scored; t++) {
        assert_true(a->quality[t].kl == b->quality[t].kl && a->quality[t].p_top == b->quality[t].p_top);
    }
}

static void check_same(const kvl_sweep *a, const kvl_sweep *b) {
    for (size_t i = 0; i < n_cells; i++) {
        check_same_cell(&a->cells[i], &b->cells[i], a->n_layers);
    }
    for (size_t i = 0; a->one_pass != NULL && i < n_samples; i++) {
        check_same_cell(&a->one_pass[i], &b->one_pass[i], a->n_layers);
    }
}

/* With a one-pass baseline that covers the other, one that does not, and none. */
static const kvl_protocol protocols[] = {{.max_tokens = 96, .baseline_tokens = 128},
                                         {.max_tokens = 96, .baseline_tokens = 128, .is_two_phase = true},
                                         {.max_tokens = 96, .prefill = 40, .count_from = 40}};

static void check_known(const kvl_sweep *whole, const kvl_protocol *protocol, uint64_t seed,
                        bool wants_quality) {
    memory m = {.whole = whole};
    size_t n_known = 0;
    kvl_sweep plan, part;
    for (size_t i = 0; i < n_cells; i++) {
        m.is_known[i] = kvl_rng_unit(seed, 1, i) < 0.5F;
        n_known += m.is_known[i];
    }
    for (size_t i = 0; i < n_samples; i++) {
        m.is_one_pass_known[i] = kvl_rng_unit(seed, 2, i) < 0.5F;
    }
    kvl_sweep_config config = config_of(&m, protocol);
    config.wants_quality = wants_quality;
    assert_ok(kvl_sweep_plan(&plan, engine, &config, NULL));
    assert_ok(kvl_sweep_run(&part, engine, &config, NULL));
    check_same(whole, &part);
    assert_true(part.n_known <= n_known);
    assert_true(part.rows_planned < whole->rows_planned && part.rows_naive < whole->rows_naive);
    assert_int_equal(part.rows_computed, plan.rows_planned);
    size_t n_told = 0;
    for (size_t i = 0; i < n_cells; i++) {
        assert_true(m.is_told[i] || m.is_known[i]);                    /* what is not known was run */
        assert_true(!m.is_told[i] || !m.is_known[i] || i < n_samples); /* of the known only baselines */
        n_told += m.is_told[i];
    }
    assert_int_equal(n_told, n_cells - part.n_known);
    for (size_t i = 0; whole->one_pass != NULL && i < n_samples; i++) {
        assert_true(m.is_one_pass_told[i] || m.is_one_pass_known[i]);
    }
    kvl_sweep_free(&plan);
    kvl_sweep_free(&part);
}

static void test_some(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof protocols / sizeof protocols[0]; k++) {
        kvl_sweep whole;
        kvl_sweep_config config = config_of(NULL, &protocols[k]);
        config.wants_quality = true;
        assert_ok(kvl_sweep_run(&whole, engine, &config, NULL));
        for (uint64_t seed = 0; seed < 4; seed++) {
            check_known(&whole, &protocols[k], seed, seed % 2 == 1);
        }
        kvl_sweep_free(&whole);
    }
}

static void test_all(void **state) {
    (void)state;
    kvl_sweep whole, none;
    kvl_sweep_config config = config_of(NULL, &protocols[0]);
    assert_ok(kvl_sweep_run(&whole, engine, &config, NULL));
    memory m = {.whole = &whole};
    memset(m.is_known, 1, sizeof m.is_known);
    memset(m.is_one_pass_known, 1, sizeof m.is_one_pass_known);
    config = config_of(&m, &protocols[0]);
    assert_ok(kvl_sweep_run(&none, engine, &config, NULL));
    check_same(&whole, &none);
    assert_int_equal(none.n_known, n_cells);
    assert_int_equal(none.rows_planned + none.rows_computed + none.rows_naive, 0);
    kvl_sweep_free(&none);
    kvl_sweep_free(&whole);
}

/* A wave that is too long is cut by samples, never below one. */
static void test_long_waves(void **state) {
    (void)state;
    kvl_sweep whole, cut;
    kvl_sweep_config config = config_of(NULL, &protocols[0]);
    assert_ok(kvl_sweep_run(&whole, engine, &config, NULL));
    assert_int_equal(whole.n_waves, 1);
    config.wave_products = 1;
    assert_ok(kvl_sweep_run(&cut, engine, &config, NULL));
    assert_int_equal(cut.n_waves, n_samples);
    assert_int_equal(cut.rows_planned, whole.rows_planned);
    check_same(&whole, &cut);
    kvl_sweep_free(&cut);
    kvl_sweep_free(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_some), cmocka_unit_test(test_all),
                                       cmocka_unit_test(test_long_waves)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
