/* What a sweep shares and how it is cut: waves against the run in one piece, bits and bytes; rows that are
 * computed once. */
#include "support.h"

#include "protocol/sweep.h"
#include "protocol/timing.h"

#include <string.h>

enum { MAX_POLICIES = 24 };

static kvl_model *model;
static kvl_tokenizer *tokenizer;
static kvl_engine *engine;
static kvl_samples short_texts; /* W1 W2 W3 P1 P2 */
static kvl_samples books;       /* B1 B2 */

static int open_all(void **state) {
    (void)state;
    test_load_presets();
    kvl_engine_options options = {.n_threads = 1}; /* many short runs */
    const char *data = test_path("data");
    bool is_open = kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) == KVL_OK &&
                   kvl_tokenizer_open(&tokenizer, test_path("models/novels-7m"), NULL) == KVL_OK &&
                   kvl_engine_create(&engine, model, &options, NULL) == KVL_OK &&
                   kvl_samples_load(&short_texts, "W1 W2 W3 P1 P2", data, tokenizer, NULL) == KVL_OK &&
                   kvl_samples_load(&books, "B1 B2", data, tokenizer, NULL) == KVL_OK;
    return is_open ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    kvl_samples_free(&short_texts);
    kvl_samples_free(&books);
    kvl_engine_destroy(engine);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    return 0;
}

/* A configuration with its policies. */
typedef struct grid {
    kvl_sweep_config config;
    kvl_policy policies[MAX_POLICIES];
} grid;

static void add(grid *g, const char *text) {
    kvl_err err = {0};
    kvl_policy *p = &g->policies[g->config.n_policies++];
    kvl_policy_init(p);
    if (kvl_policy_parse(p, text, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
}

static void set_grid(grid *g, const kvl_samples *samples, const kvl_protocol *protocol) {
    *g = (grid){.config = {.protocol = *protocol, .samples = samples}};
    g->config.policies = g->policies;
}

/* Policies and protocol of a preset at some of its ratios, on the short texts or on books. */
static void set_preset(grid *g, const char *name, size_t max_tokens) {
    const kvl_preset *preset = kvl_preset_find(name);
    kvl_protocol protocol = preset->protocol;
    protocol.max_tokens = max_tokens;
    protocol.baseline_tokens = kvl_min_size(protocol.baseline_tokens, max_tokens);
    set_grid(g, preset->samples[0] == 'B' ? &books : &short_texts, &protocol);
    for (size_t i = 0; preset->policies[i] != NULL; i++) {
        for (size_t r = 1; preset->keep_ratios[r] > 0 && r <= 3; r++) {
            add(g, preset->policies[i]);
            kvl_policy *p = &g->policies[g->config.n_policies - 1];
            p->keep_ratio = preset->keep_ratios[r];
            if (p->size_tok != 0) {
                break;
            }
        }
    }
}

static kvl_sweep run(const grid *g, uint64_t memory_bytes) {
    kvl_sweep s;
    kvl_err err = {0};
    kvl_sweep_config config = g->config;
    config.memory_bytes = memory_bytes;
    if (kvl_sweep_run(&s, engine, &config, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return s;
}

static void check_same_cell(const kvl_cell *a, const kvl_cell *b, size_t n_layers) {
    assert_int_equal(a->n_scored, b->n_scored);
    assert_memory_equal(a->nll, b->nll, a->n_scored * sizeof(double));
    for (size_t t = 0; a->quality != NULL && b->quality != NULL && t < a->n_scored; t++) {
        const kvl_token_quality *p = &a->quality[t];
        const kvl_token_quality *q = &b->quality[t];
        assert_true(p->entropy == q->entropy && p->p_top == q->p_top && p->kl == q->kl);
        assert_true(p->is_hit == q->is_hit && p->is_same_top == q->is_same_top);
    }
    assert_memory_equal(a->kept_per_layer, b->kept_per_layer, n_layers * sizeof(double));
    assert_true(a->nll_sum == b->nll_sum && a->kept_mean == b->kept_mean);
    assert_true(a->n_events == b->n_events && a->first_event == b->first_event);
    assert_true(a->last_event == b->last_event && a->kv_bytes_live == b->kv_bytes_live);
}

static void check_same(const kvl_sweep *a, const kvl_sweep *b) {
    assert_true(a->n_policies == b->n_policies && a->n_samples == b->n_samples);
    for (size_t i = 0; i < a->n_policies * a->n_samples; i++) {
        check_same_cell(&a->cells[i], &b->cells[i], a->n_layers);
    }
    for (size_t i = 0; a->one_pass != NULL && i < a->n_samples; i++) {
        check_same_cell(&a->one_pass[i], &b->one_pass[i], a->n_layers);
    }
}

/* Every cell lies in one wave; but for the baseline where the one pass covers it. */
static void check_cover(const kvl_sweep *s, bool is_covered) {
    for (size_t i = 0; i < s->n_policies * s->n_samples; i++) {
        const kvl_cell *c = &s->cells[i];
        size_t n = 0;
        for (size_t k = 0; k < s->n_waves; k++) {
            const kvl_wave *w = &s->waves[k];
            n += c->policy >= w->first_policy && c->policy < w->end_policy && c->sample >= w->first_sample &&
                 c->sample < w->end_sample;
        }
        assert_int_equal(n, is_covered && c->policy == 0 ? 0 : 1);
    }
}

/* Bytes as planned, and really allocated: nothing above the plan, the plan within the limit. */
static void check_bytes(const kvl_sweep *s, uint64_t memory_bytes) {
    uint64_t most = 0;
    for (size_t k = 0; k < s->n_waves; k++) {
        most = s->waves[k].kv_bytes > most ? s->waves[k].kv_bytes : most;
    }
    assert_true(s->kv_bytes >= most);
    assert_true(s->kv_peak_bytes == s->kv_bytes);
    assert_true(kvl_engine_scratch_bytes(engine) <= s->scratch_bytes);
    assert_true(memory_bytes == 0 || s->weight_bytes + s->scratch_bytes + s->kv_bytes <= memory_bytes);
    assert_int_equal(s->rows_computed, s->rows_planned);
    assert_true(s->rows_planned <= s->rows_naive);
}

/* The smallest limit that is not refused. */
static uint64_t smallest_limit(const grid *g) {
    kvl_sweep_config config = g->config;
    uint64_t refused = 1;
    uint64_t taken = (uint64_t)1 << 40;
    while (taken - refused > 1) {
        kvl_sweep s;
        config.memory_bytes = refused + (taken - refused) / 2;
        kvl_status status = kvl_sweep_plan(&s, engine, &config, NULL);
        *(status == KVL_OK ? &taken : &refused) = config.memory_bytes;
        kvl_sweep_free(&s);
    }
    return taken;
}

static void check_preset(const char *name, size_t max_tokens, bool is_covered) {
    grid g;
    set_preset(&g, name, max_tokens);
    kvl_sweep whole = run(&g, 0);
    assert_int_equal(whole.n_waves, 1);
    check_cover(&whole, is_covered);
    check_bytes(&whole, 0);
    g.config.wants_quality = true;
    kvl_sweep with_quality = run(&g, 0);
    assert_int_equal(with_quality.n_waves, 1);
    check_bytes(&with_quality, 0);
    assert_int_equal(with_quality.rows_computed, whole.rows_computed);
    check_same(&whole, &with_quality);
    kvl_sweep_free(&whole);
    whole = with_quality;
    uint64_t fixed = whole.weight_bytes + whole.scratch_bytes;
    /* cut by samples; and by policies too, cell by cell */
    const uint64_t limits[] = {fixed + whole.kv_bytes / 2, smallest_limit(&g)};
    for (size_t i = 0; i < 2; i++) {
        kvl_sweep cut = run(&g, limits[i]);
        assert_true(cut.n_waves > 1);
        assert_true(i == 0 || cut.n_waves > cut.n_samples);
        check_cover(&cut, is_covered);
        check_bytes(&cut, limits[i]);
        check_same(&whole, &cut);
        kvl_sweep_free(&cut);
    }
    kvl_sweep_free(&whole);
}

static void test_waves_change_no_bits(void **state) {
    (void)state;
    check_preset("ucurve", 70, true);
    check_preset("ucurve-fair", 60, false);
    check_preset("ucurve-2phase", 100, false);
    check_preset("ucurve-compare", 275, false);
    check_preset("kv-l2", 120, false);
    check_preset("prefill-continue", 525, false);
}

/* However many tokens a pass takes of a stream: the same cells; and each plan is its run. */
static void check_blocks(const grid *g) {
    static const size_t max_steps[] = {1, 2, 7, 0};
    kvl_sweep single = {0};
    for (size_t i = 0; i < sizeof max_steps / sizeof max_steps[0]; i++) {
        grid cut = *g;
        cut.config.policies = cut.policies;
        cut.config.max_steps = max_steps[i];
        kvl_sweep s = run(&cut, 0);
        check_bytes(&s, 0);
        if (i == 0) {
            single = s;
            assert_int_equal(s.waves[0].n_passes,
                             g->config.protocol.max_tokens - 1 - g->config.protocol.prefill);
            continue;
        }
        check_same(&single, &s);
        assert_int_equal(s.rows_computed, single.rows_computed);
        assert_true(s.waves[0].n_passes < single.waves[0].n_passes);
        kvl_sweep_free(&s);
    }
    kvl_sweep_free(&single);
}

static void test_blocks_change_no_bits(void **state) {
    (void)state;
    grid g;
    set_preset(&g, "ucurve", 90);
    check_blocks(&g);
    g.config.wants_quality = true;
    check_blocks(&g);
    set_grid(&g, &short_texts, &(kvl_protocol){.max_tokens = 80, .prefill = 20, .count_from = 30});
    add(&g, "knorm:keep=0.9:cap=32:order=score");
    add(&g, "knorm:keep=0.9:cap=32:cadence=once");
    add(&g, "knorm:keep=0.8:cap=32:skip=0:sinks=2:recent=4");
    add(&g, "knorm:keep=0.9:cap=32:positions=cache-length");
    add(&g, "random(redrawn):keep=0.7:cap=18");
    add(&g, "recency:size=12:cap=16:cadence=5");
    add(&g, "template:keep=0.6:cap=24:skip=1+3");
    g.config.wants_quality = true;
    check_blocks(&g);
    model->shape.key_type = KVL_KV_F16;
    model->shape.value_type = KVL_KV_F16;
    check_blocks(&g);
    model->shape.key_type = KVL_KV_F32;
    model->shape.value_type = KVL_KV_F32;
}

/* The smallest limit that is not refused suffices, and the one below is refused with the figure it needs. */
static void test_too_little_memory(void **state) {
    (void)state;
    grid g;
    kvl_sweep s;
    kvl_err err = {0};
    set_preset(&g, "ucurve", 40);
    g.config.memory_bytes = 1;
    assert_int_equal(kvl_sweep_plan(&s, engine, &g.config, &err), KVL_E_NOMEM);
    assert_null(s.cells);
    assert_non_null(strstr(err.msg, "MiB of memory for one cell (weights "));
    assert_non_null(strstr(err.msg, "found a limit of 0.0 MiB"));
    assert_int_equal(kvl_status_exit_code(err.status), 5);
    uint64_t taken = smallest_limit(&g);
    s = run(&g, taken);
    assert_true(s.weight_bytes + s.scratch_bytes + s.kv_bytes == taken);
    assert_int_equal(s.n_waves, s.n_samples * (s.n_policies - 1)); /* cell by cell */
    check_bytes(&s, taken);
    kvl_sweep_free(&s);
}

/* A plan tells of every cell what the run will. */
static void test_plan_foretells(void **state) {
    (void)state;
    grid g;
    kvl_sweep plan;
    set_preset(&g, "kv-fix512", 540);
    add(&g, "random(static):keep=0.4:cap=40:cadence=7:sinks=3:recent=5:positions=cache-length");
    add(&g, "streaming:size=24:cap=50:cadence=once:skip=1+3:order=score");
    add(&g, "streaming:size=29:cap=50:cadence=once:skip=1+3:order=score");
    add(&g, "streaming:keep=0.9:cap=50:cadence=once:skip=1+3:order=score");
    assert_int_equal(kvl_sweep_plan(&plan, engine, &g.config, NULL), KVL_OK);
    kvl_sweep s = run(&g, 0);
    assert_int_equal(plan.rows_computed, 0);
    assert_true(plan.rows_planned == s.rows_computed && plan.kv_bytes == s.kv_peak_bytes);
    for (size_t i = 0; i < s.n_policies * s.n_samples; i++) {
        const kvl_cell *a = &plan.cells[i];
        const kvl_cell *b = &s.cells[i];
        assert_null(a->nll);
        assert_true(a->n_scored == b->n_scored && a->n_events == b->n_events);
        assert_true(a->first_event == b->first_event && a->last_event == b->last_event);
        assert_true(a->kept_min == b->kept_min && a->kept_max == b->kept_max);
        assert_true(a->kv_bytes_live == b->kv_bytes_live);
    }
    kvl_sweep_free(&plan);
    kvl_sweep_free(&s);
}

/* The prefill of a sample is computed once for all ratios and presses; what follows once per cell. */
static void test_prefill_is_shared(void **state) {
    (void)state;
    grid g;
    size_t expected = 0;
    set_grid(&g, &short_texts, &(kvl_protocol){.max_tokens = 100, .is_two_phase = true});
    add(&g, "knorm:keep=0.9:skip=0");
    add(&g, "knorm:keep=0.5:skip=0");
    add(&g, "recency:keep=0.5:skip=0");
    kvl_sweep s = run(&g, 0);
    for (size_t i = 0; i < short_texts.n; i++) {
        size_t n = kvl_min_size(100, short_texts.items[i].ids.n);
        size_t prefill = kvl_two_phase_prefill(n);
        expected += prefill + 4 * (n - 1 - prefill);
    }
    assert_int_equal(s.rows_computed, expected);
    assert_int_equal(s.rows_naive, 4 * 5 * 99);
    kvl_sweep_free(&s);
}

/* Cells stay together as long as they act alike, and have the bits they have alone. */
static void check_company(const char *a, const char *b, size_t n_rows_of_b) {
    const char *const texts[2] = {a, b};
    kvl_protocol protocol = {.max_tokens = 64};
    kvl_samples two = {short_texts.items, 2};
    grid both;
    set_grid(&both, &two, &protocol);
    add(&both, a);
    add(&both, b);
    kvl_sweep together = run(&both, 0);
    for (size_t i = 0; i < 2; i++) {
        grid solo;
        set_grid(&solo, &two, &protocol);
        add(&solo, texts[i]);
        kvl_sweep alone = run(&solo, 0);
        for (size_t k = 0; k < two.n; k++) {
            check_same_cell(kvl_sweep_cell(&together, i + 1, k), kvl_sweep_cell(&alone, 1, k),
                            together.n_layers);
        }
        if (i == 0) {
            assert_int_equal(together.rows_computed, alone.rows_computed + n_rows_of_b);
        }
        kvl_sweep_free(&alone);
    }
    kvl_sweep_free(&together);
}

static void test_cells_that_act_alike(void **state) {
    (void)state;
    /* both keep 31 of 32 for ever */
    check_company("knorm:keep=0.95:cap=32:skip=0", "knorm:keep=0.94:cap=32:skip=0", 0);
    /* the first compression is common (after step 31), the next one not (16 steps later) */
    check_company("knorm:keep=0.5:cap=32", "knorm:keep=0.5:cap=32:cadence=once", 2 * (63 - 48));
    /* each difference parts them at the first compression */
    const char *const others[] = {"knorm(high):keep=0.5:cap=32",
                                  "knorm:keep=0.5:cap=32:skip=0",
                                  "knorm:keep=0.5:cap=32:recent=3",
                                  "knorm:keep=0.5:cap=32:sinks=2",
                                  "knorm:keep=0.5:cap=32:order=score",
                                  "recency:keep=0.5:cap=32",
                                  "knorm:keep=0.5:cap=32:positions=cache-length",
                                  "knorm:size=17:cap=32"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        check_company("knorm:keep=0.5:cap=32", others[i], 2 * (63 - 32));
    }
    /* and these never act */
    check_company("knorm:keep=0.5:cap=512", "recency:keep=1:cap=8", 0);
}

/* Policies that nest have the bits that they have alone, whatever is beside them. */
static void check_nested(const char *const *texts, size_t n) {
    kvl_protocol protocol = {.max_tokens = 140, .prefill = 90, .count_from = 90};
    kvl_samples two = {short_texts.items, 2};
    grid all;
    set_grid(&all, &two, &protocol);
    for (size_t i = 0; i < n; i++) {
        add(&all, texts[i]);
    }
    kvl_sweep together = run(&all, 0);
    check_bytes(&together, 0);
    for (size_t i = 0; i < n; i++) {
        grid solo;
        set_grid(&solo, &two, &protocol);
        add(&solo, texts[i]);
        kvl_sweep alone = run(&solo, 0);
        for (size_t k = 0; k < two.n; k++) {
            assert_true(kvl_sweep_cell(&alone, 1, k)->n_events != 0);
            check_same_cell(kvl_sweep_cell(&together, i + 1, k), kvl_sweep_cell(&alone, 1, k),
                            together.n_layers);
        }
        kvl_sweep_free(&alone);
    }
    /* a wave without the baseline: the lane itself becomes the base */
    kvl_sweep cut = run(&all, together.weight_bytes + together.scratch_bytes + together.kv_bytes / 3);
    assert_true(cut.n_waves > 2);
    check_bytes(&cut, 0);
    check_same(&together, &cut);
    kvl_sweep_free(&cut);
    kvl_sweep_free(&together);
}

static void test_nested_cells(void **state) {
    (void)state;
    static const char *const rankings[] = {
        "knorm:keep=0.3:cadence=once:order=score",
        "knorm:keep=0.9:cadence=once:order=score",
        "recency:keep=0.5:cadence=once:order=score",
        "knorm:keep=0.5:cadence=once",
        "knorm:keep=0.5:cadence=once:order=score",
        "knorm:keep=0.501:cadence=once:order=score", /* keeps as many */
        "knorm:size=7:cap=90:cadence=once:order=score",
        "knorm:keep=0.5:cap=110:cadence=once:order=score", /* later */
        "knorm:keep=0.8:cap=110:cadence=once:order=score",
        "recency:size=9:cadence=once:order=score",
        "random(static):keep=0.6:cadence=once:order=score:positions=cache-length",
        "random(static):keep=0.2:cadence=once:order=score:positions=cache-length",
        "knorm:keep=0.5:cap=100:order=score",
    };
    /* the first does the same as the second, but will act again; and in the other order */
    static const char *const mixed[] = {"knorm:keep=0.5:cap=80:order=score",
                                        "knorm:keep=0.5:cadence=once:order=score",
                                        "knorm:keep=0.3:cadence=once:order=score"};
    const char *const turned[] = {mixed[1], mixed[2], mixed[0]};
    /* a cache that counts attention beside its entries is nobody's base */
    static const char *const watched[] = {
        "observed:keep=0.5:cadence=once:order=score", "observed:keep=0.3:cadence=once:order=score",
        "knorm:keep=0.5:cadence=once:order=score", "knorm:keep=0.3:cadence=once:order=score"};
    check_nested(rankings, sizeof rankings / sizeof rankings[0]);
    check_nested(mixed, 3);
    check_nested(turned, 3);
    check_nested(watched, 4);
}

/* Room of a head that was prefilled with so many entries, and then given others one by one. */
static size_t grown_room(size_t n_prefill, size_t n_steps) {
    size_t cap = n_prefill != 0 ? kvl_cache_grown_cap(0, n_prefill) : 0;
    for (size_t i = 1; i <= n_steps; i++) {
        cap = kvl_cache_grown_cap(cap, n_prefill + i);
    }
    return cap;
}

/* At its end a sweep of nested ratios holds the baseline, one ranking, and what came later for each ratio. */
static void test_nested_bytes(void **state) {
    (void)state;
    enum { n_prefill = 96, n_steps = 31, n_ratios = 9 };
    const kvl_shape *shape = &model->shape;
    const size_t n_heads = (size_t)shape->n_layers * shape->n_kv_heads;
    kvl_samples one = {books.items, 1};
    uint64_t bytes[2];
    for (int is_sorted = 0; is_sorted < 2; is_sorted++) {
        grid g;
        set_grid(&g, &one,
                 &(kvl_protocol){
                     .max_tokens = n_prefill + n_steps + 1, .prefill = n_prefill, .count_from = n_prefill});
        g.config.max_steps = 1; /* room grows with each */
        for (size_t i = 1; i <= n_ratios; i++) {
            add(&g, is_sorted ? "knorm:cadence=once:order=score" : "knorm:cadence=once");
            g.policies[i - 1].keep_ratio = 1.0 - 0.1 * (double)i;
        }
        kvl_sweep s = run(&g, 0);
        check_bytes(&s, 0);
        bytes[is_sorted] = s.kv_peak_bytes;
        /* a cell's own figure counts what it sees, shared or not */
        assert_int_equal(kvl_sweep_cell(&s, 5, 0)->kv_bytes_live, (48 + n_steps) * kvl_shape_kv_bytes(shape));
        kvl_sweep_free(&s);
    }
    assert_int_equal(bytes[1],
                     n_heads * (kvl_cache_head_bytes(shape, false, grown_room(n_prefill, n_steps)) +
                                kvl_cache_head_bytes(shape, false, grown_room(n_prefill, 0)) +
                                n_ratios * kvl_cache_head_bytes(shape, false, grown_room(0, n_steps))));
    assert_true(3 * bytes[1] < 2 * bytes[0]);
}

/* What the callback saw. */
typedef struct watch {
    size_t n_finished, n_one_pass, n_cells, rows_done;
    bool is_seen[MAX_POLICIES][8];
} watch;

static bool look(void *ud, const kvl_sweep_progress *p) {
    watch *w = ud;
    assert_true(p->rows_done >= w->rows_done && p->rows_done <= p->rows_total);
    w->rows_done = p->rows_done;
    w->n_cells = p->cells_total;
    if (p->finished != NULL && p->is_one_pass) { /* told, but no cell of the sweep */
        w->n_one_pass++;
        assert_true(p->finished->nll_sum > 0);
        assert_int_equal(p->cells_done, w->n_finished);
    } else if (p->finished != NULL) {
        assert_false(w->is_seen[p->finished->policy][p->finished->sample]);
        w->is_seen[p->finished->policy][p->finished->sample] = true;
        assert_true(p->finished->nll_sum > 0 && p->finished->kept_max > 0);
        assert_int_equal(p->cells_done, ++w->n_finished);
    }
    return true;
}

static void test_progress_tells_of_every_cell(void **state) {
    (void)state;
    static const char *const presets[] = {"ucurve", "ucurve-fair"};
    for (size_t i = 0; i < 2; i++) {
        grid g;
        watch w = {0};
        set_preset(&g, presets[i], 60);
        g.config.progress = look;
        g.config.progress_ud = &w;
        kvl_sweep s = run(&g, 0);
        assert_int_equal(w.n_finished, s.n_policies * s.n_samples);
        assert_int_equal(w.n_one_pass, s.one_pass != NULL ? s.n_samples : 0);
        assert_int_equal(w.n_cells, w.n_finished);
        assert_int_equal(w.rows_done, s.rows_planned);
        kvl_sweep_free(&s);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    grid g;
    kvl_sweep s;
    set_preset(&g, "ucurve", 34);
    g.config.wants_quality = true;
    add(&g, "knorm:keep=0.5:cap=32:cadence=once:order=score");
    add(&g, "knorm:keep=0.4:cap=32:cadence=once:order=score");
    assert_int_equal(kvl_sweep_plan(&s, engine, &g.config, NULL), KVL_OK);
    g.config.memory_bytes = s.weight_bytes + s.scratch_bytes + s.kv_bytes / 3;
    kvl_sweep_free(&s);
    kvl_status status = KVL_E_NOMEM;
    for (int64_t k = 0; status != KVL_OK && k < 100000; k += k < 300 ? 1 : 211) {
        kvl_alloc_fail_after(k);
        status = kvl_sweep_run(&s, engine, &g.config, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_sweep_free(&s);
    }
    assert_int_equal(status, KVL_OK);
}

static void test_time_of_a_pass(void **state) {
    (void)state;
    double ns = 0;
    assert_int_equal(kvl_timing_pass(&ns, engine, 5, NULL), KVL_OK);
    assert_true(ns > 0);
    kvl_status status = KVL_E_NOMEM;
    for (int64_t k = 0; status != KVL_OK && k < 2000; k++) {
        kvl_alloc_fail_after(k);
        status = kvl_timing_pass(&ns, engine, 2, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK ? ns > 0 : status == KVL_E_NOMEM && ns == 0);
    }
    assert_int_equal(status, KVL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waves_change_no_bits),
        cmocka_unit_test(test_blocks_change_no_bits),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_plan_foretells),
        cmocka_unit_test(test_prefill_is_shared),
        cmocka_unit_test(test_cells_that_act_alike),
        cmocka_unit_test(test_nested_cells),
        cmocka_unit_test(test_nested_bytes),
        cmocka_unit_test(test_progress_tells_of_every_cell),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_time_of_a_pass),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
