/* Presses that act by a schedule: when and on what, lengths over time, bounded memory, the same bits in
 * whatever passes and on however many threads; and parts of a head as a press sees them. */
#include "bundled.h"

#include "engine/plan.h"
#include "kernel/kernel.h"
#include "protocol/bench.h"
#include "protocol/sweep.h"
#include "protocol/timing.h"

#include <string.h>

static int open_all(void **state) {
    (void)state;
    return open_bundled("P1 P2");
}

/* ---- when, and on what ---- */

/* What is left of n entries at n_seen tokens, 10 of them the prompt; "none" for no compression. */
static void check_turns(const char *text, uint64_t n_prefill, const size_t *targets, size_t n) {
    const kvl_policy policy = test_policy(text);
    for (size_t i = 0; i < n; i++) {
        const kvl_moment at = {.n_seen = i + 1, .n_prefill = n_prefill};
        if (kvl_policy_target(&policy, &model->shape, &at, 0, 0, i + 1) != targets[i]) {
            fail_msg("%s: after %zu tokens: expected %zu, found %zu", text, i + 1, targets[i],
                     kvl_policy_target(&policy, &model->shape, &at, 0, 0, i + 1));
        }
    }
}

static void test_turns(void **state) {
    (void)state;
    /* without a schedule: from the end of the prompt on */
    check_turns("knorm:size=3", 5, (const size_t[]){1, 2, 3, 4, 3, 3}, 6);
    /* every third token behind the prompt of 5, or of all; keep is a share of all tokens */
    check_turns("decoding(knorm,interval=3):size=4", 5, (const size_t[]){1, 2, 3, 4, 5, 6, 7, 4, 9, 10, 4},
                11);
    check_turns("decoding(knorm,interval=3):keep=0.5", 0, (const size_t[]){1, 2, 2, 4, 5, 3, 7, 8, 5}, 9);
    /* every third token of the prompt of 8 and its end; keep is a share of the prompt */
    check_turns("block(knorm,block=3):keep=0.5", 8, (const size_t[]){1, 2, 3, 4, 5, 4, 7, 4, 9}, 9);
    check_turns("block(knorm,block=3):size=2", 0, (const size_t[]){1, 2, 3, 4, 5, 6}, 6);
    /* cap and cadence are those of policies without a schedule */
    check_turns("block(knorm,block=3):size=2:cap=7:cadence=once", 7, (const size_t[]){1, 2, 2, 4, 5, 2, 2},
                7);
    /* parts with budgets of their own, or the policy's */
    check_turns("prefill-decoding(knorm:size=2,decoding(knorm,interval=2):size=3)", 4,
                (const size_t[]){1, 2, 3, 2, 5, 3, 7, 3}, 8);
    check_turns("prefill-decoding(block(knorm,block=2),knorm:keep=0.5):size=3", 5,
                (const size_t[]){1, 2, 3, 3, 3, 3, 4}, 7);
    check_turns("prefill-decoding(knorm,knorm):size=3", 0, (const size_t[]){1, 2, 3, 3, 3}, 5);
    kvl_policy policy;
    kvl_err err = {0};
    kvl_policy_init(&policy);
    assert_int_equal(kvl_policy_parse(&policy, "adakv(prefill-decoding(knorm,knorm))", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "outermost"));
}

/* ---- lengths over time ---- */

static size_t mean_length(const kvl_stream *s) {
    const kvl_shape *shape = &model->shape;
    return (size_t)(kvl_cache_live_bytes(s->cache) / kvl_shape_kv_bytes(shape));
}

/* A prompt of 20 and 12 tokens behind it, one by one: the mean length of heads after each. */
static void check_lengths(const char *text, const size_t *lengths) {
    const kvl_policy policy = test_policy(text);
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, engines[0], NULL));
    s->n_prefill = 20;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(&policy, &model->shape), NULL));
    for (size_t t = 0; t < 32; t++) {
        kvl_row row = {.stream = s, .token = samples.items[0].ids.ids[t], .target = -1};
        assert_ok(kvl_engine_forward(engines[0], &row, 1, NULL));
        if (kvl_policy_fires(&policy, s, &model->shape)) {
            assert_ok(kvl_engine_compress(engines[0], &(kvl_compress_job){s, &policy}, 1, NULL));
        }
        if (mean_length(s) != lengths[t]) {
            fail_msg("%s: after %zu tokens: expected %zu entries, found %zu", text, t + 1, lengths[t],
                     mean_length(s));
        }
    }
    kvl_stream_destroy(s);
}

static void test_lengths(void **state) {
    (void)state;
    static const size_t decoding[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                      17, 18, 19, 20, 21, 22, 23, 12, 13, 14, 15, 12, 13, 14, 15, 12};
    check_lengths("decoding(knorm,interval=4):size=12", decoding);
    check_lengths("decoding(snapkv(window=3),interval=4):size=12", decoding);
    check_lengths("decoding(adakv(snapkv(window=3)),interval=4):size=12", decoding);
    static const size_t block[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 12,
                                   13, 14, 15, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    check_lengths("block(knorm,block=4):keep=0.6", block);
    check_lengths("adakv(block(snapkv(window=3),block=4)):size=12", block);
    static const size_t both[] = {1,  2,  3,  4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                  17, 18, 19, 8, 9, 7, 8, 7, 8, 7,  8,  7,  8,  7,  8,  7};
    check_lengths("prefill-decoding(observed:size=8,decoding(tova,interval=2):size=7)", both);
}

/* Scores of knorm of a full cache, which do not change: who is below the threshold goes when it leaves the
 * window of 8, for each head by itself, and never otherwise. */
static void test_threshold(void **state) {
    (void)state;
    enum { n_prompt = 30, n_text = 44, window = 8 };
    const kvl_shape *s = &model->shape;
    const kvl_policy policy = test_policy("dms(knorm,threshold=-11,window=8):sinks=2");
    const kvl_policy ranking = test_policy("knorm");
    kvl_stream *full = NULL, *stream = NULL;
    float scores[6 * 4 * n_text];
    size_t n_gone = 0, n_kept = 0;
    assert_ok(kvl_stream_create(&full, engines[0], NULL));
    assert_ok(kvl_stream_create(&stream, engines[1], NULL));
    stream->n_prefill = n_prompt;
    for (size_t t = 0; t < n_text; t++) {
        kvl_row rows[] = {{.stream = full, .token = samples.items[1].ids.ids[t], .target = -1},
                          {.stream = stream, .token = samples.items[1].ids.ids[t], .target = -1}};
        assert_ok(kvl_engine_forward(engines[0], &rows[0], 1, NULL));
        assert_ok(kvl_engine_forward(engines[1], &rows[1], 1, NULL));
        if (kvl_policy_fires(&policy, stream, s)) {
            assert_true(t + 1 >= n_prompt);
            assert_ok(kvl_engine_compress(engines[1], &(kvl_compress_job){stream, &policy}, 1, NULL));
        }
        if (t + 1 < n_prompt) {
            continue;
        }
        /* keys of the first layer are those of the full run; later layers have seen what was left */
        assert_ok(kvl_engine_rank(engines[0], full, &ranking, scores, NULL));
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            const kvl_head_entries e = kvl_cache_entries(stream->cache, 0, head);
            size_t at = 0;
            for (size_t j = 0; j <= t; j++) {
                const bool stays = j < 2 || j + window > t || scores[head * (t + 1) + j] >= -11;
                assert_true(stays == (at < e.n && (size_t)e.positions[at] == j));
                at += stays;
                n_gone += !stays;
                n_kept += stays && j >= 2 && j + window <= t;
            }
            assert_int_equal(at, e.n);
        }
    }
    assert_true(n_gone > 50 && n_kept > 50); /* both happen */
    kvl_stream_destroy(full);
    kvl_stream_destroy(stream);
}

/* ---- memory ---- */

static void test_bounded_memory(void **state) {
    (void)state;
    enum { n_prompt = 512, budget = 64, block = 32 };
    static const char *const texts[] = {"none", "knorm:size=64", "block(knorm,block=32):size=64",
                                        "block(snapkv(window=16),block=32):size=64",
                                        "block(adakv(snapkv(window=16)),block=32):size=64"};
    kvl_policy policies[5];
    kvl_timing timings[5];
    for (size_t i = 0; i < 5; i++) {
        policies[i] = test_policy(texts[i]);
    }
    const kvl_timing_config config = {.sample = &samples.items[0],
                                      .policies = policies,
                                      .n_policies = 5,
                                      .n_prompt = n_prompt,
                                      .n_new = 4,
                                      .n_repetitions = 1};
    assert_ok(kvl_timing_run(timings, engines[1], &config, NULL));
    const kvl_shape *s = &model->shape;
    const uint64_t n_heads = (uint64_t)s->n_layers * s->n_kv_heads;
    const uint64_t full = n_heads * kvl_cache_head_bytes(s, false, n_prompt);
    assert_true(timings[0].kv_bytes_peak >= full && timings[1].kv_bytes_peak >= full);
    for (size_t i = 1; i < 5; i++) {
        assert_int_equal(timings[i].kv_bytes_live, budget * kvl_shape_kv_bytes(s));
    }
    /* room grows by half at a time: what the budget and a block take, and as much again, at most */
    for (size_t i = 2; i < 4; i++) {
        const size_t cap = kvl_cache_grown_cap(0, (budget + block) * 3 / 2);
        assert_true(timings[i].kv_bytes_peak <= n_heads * kvl_cache_head_bytes(s, false, cap));
    }
    assert_true(timings[4].kv_bytes_peak < full / 2);
    for (size_t i = 0; i < 4; i++) { /* foretold */
        kvl_plan plan;
        kvl_plan_make(&plan, model, &policies[i], 2, n_prompt);
        assert_int_equal(plan.kv_live_bytes, timings[i].kv_bytes_live);
        assert_true(timings[i].kv_bytes_peak <= plan.kv_peak_bytes);
        assert_true(i < 2 || plan.kv_peak_bytes < full / 3);
    }
}

/* The speed test feeds the prompt by blocks where there is no depth, and makes the depth by blocks. */
static void test_bench(void **state) {
    (void)state;
    const kvl_policy policies[] = {test_policy("none"), test_policy("block(knorm,block=16):size=32"),
                                   test_policy("decoding(knorm,interval=4):size=40")};
    double samples_ns[3][1];
    kvl_bench_result results[3] = {
        {.samples_ns = samples_ns[0]}, {.samples_ns = samples_ns[1]}, {.samples_ns = samples_ns[2]}};
    const uint64_t entry = kvl_shape_kv_bytes(&model->shape);
    kvl_bench_config config = {.n_prompt = 128,
                               .n_gen = 8,
                               .n_batch = 50,
                               .n_repetitions = 1,
                               .policies = policies,
                               .n_policies = 3};
    assert_ok(kvl_bench_run(results, engines[1], &config, NULL));
    assert_int_equal(results[0].kv_bytes_live, 136 * entry);
    assert_int_equal(results[1].kv_bytes_live, 40 * entry);
    assert_int_equal(results[2].kv_bytes_live, 40 * entry);
    assert_true(results[0].keep_ratio == 1 && results[1].keep_ratio == 40.0 / 136);
    assert_true(results[1].kv_bytes_peak < 100 * entry && results[0].kv_bytes_peak >= 136 * entry);
    /* a block of 16 meets 32 entries, the first blocks fewer */
    const double per_entry = 4.0 * 64;
    const double none = 128 * 129 / 2.0;
    const double block = 48 * 49 / 2.0 + 5 * 16 * (32 + 17 / 2.0);
    assert_true(results[0].n_flop - results[1].n_flop == per_entry * 24 * (none - block));
    config.n_depth = 128;
    assert_ok(kvl_bench_run(results, engines[1], &config, NULL));
    assert_true(results[1].keep_ratio == 168.0 / 264 && results[2].keep_ratio == 40.0 / 264);
    assert_int_equal(results[1].kv_bytes_live, (32 + 136) * entry);
    assert_int_equal(results[2].kv_bytes_live, 40 * entry);
}

/* ---- bits ---- */

static const char *const texts[] = {
    "decoding(knorm,interval=5):size=20",
    "decoding(snapkv(window=4),interval=7):keep=0.3",
    "block(knorm,block=16):keep=0.25",
    "block(random(redrawn),block=8):size=30:positions=cache-length",
    "block(observed,block=16):size=30:order=score",
    "block(tova,block=24):keep=0.4:sinks=2",
    "prefill-decoding(snapkv(window=8):keep=0.5,decoding(tova,interval=4):size=30)",
    "prefill-decoding(block(knorm,block=16):size=40,decoding(knorm,interval=8):size=30)",
    "block-oracle(snapkv(window=8),block=16):keep=0.4:cadence=once",
    "cam(knorm,merge=3,interval=1):size=40",
    "cam(tova,merge=8,interval=5):size=40",
    /* lengths of heads that compete cannot be planned exactly */
    "decoding(adakv(snapkv(window=4)),interval=6):size=24:skip=0",
    "dms(knorm,threshold=-11,window=12)",
    "prefill-decoding(block(knorm,block=16):size=40,dms(knorm,threshold=-11,window=20))",
};
enum { n_texts = sizeof texts / sizeof texts[0], n_planned = n_texts - 3 };

static kvl_sweep sweep_of(kvl_engine *engine, size_t n_policies, size_t max_steps, size_t prefill) {
    kvl_policy policies[n_texts];
    kvl_sweep sweep;
    kvl_err err = {0};
    for (size_t i = 0; i < n_texts; i++) {
        policies[i] = test_policy(texts[i]);
    }
    const kvl_sweep_config config = {
        .protocol = {.max_tokens = 110, .prefill = prefill, .count_from = prefill},
        .samples = &samples,
        .policies = policies,
        .n_policies = n_policies,
        .max_steps = max_steps};
    if (kvl_sweep_run(&sweep, engine, &config, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return sweep;
}

static void check_same(const kvl_sweep *a, const kvl_sweep *b) {
    for (size_t i = 0; i < a->n_policies * a->n_samples; i++) {
        const kvl_cell *x = &a->cells[i];
        const kvl_cell *y = &b->cells[i];
        assert_true(x->n_scored == y->n_scored && x->n_events == y->n_events);
        assert_true(x->first_event == y->first_event && x->last_event == y->last_event);
        assert_memory_equal(x->nll, y->nll, x->n_scored * sizeof *x->nll);
        assert_int_equal(x->kv_bytes_live, y->kv_bytes_live);
    }
}

static void test_bits(void **state) {
    (void)state;
    for (size_t prefill = 0; prefill <= 70; prefill += 70) {
        kvl_sweep all = sweep_of(engines[1], n_texts, 0, prefill);
        kvl_sweep single = sweep_of(engines[0], n_texts, 1, prefill);
        kvl_sweep planned = sweep_of(engines[1], n_planned, 0, prefill);
        check_same(&all, &single);
        assert_true(planned.kv_peak_bytes == planned.kv_bytes);
        for (size_t p = 1; p <= n_texts; p++) {
            const bool is_idle = prefill == 0 && strncmp(texts[p - 1], "block(", 6) == 0;
            const kvl_cell *c = kvl_sweep_cell(&all, p, 0);
            assert_true(is_idle ? c->n_events == 0 : c->n_events != 0);
            assert_int_equal(c->n_scored, 109 - prefill);
        }
        kvl_sweep_free(&all);
        kvl_sweep_free(&single);
        kvl_sweep_free(&planned);
    }
}

/* A stream after its prompt of 60 tokens, fed in passes of n_batch. */
static kvl_stream *prefilled(kvl_engine *engine, const char *text, size_t n_batch) {
    const kvl_policy policy = test_policy(text);
    kvl_stream *s = NULL;
    kvl_row rows[60];
    int32_t top = -1;
    assert_ok(kvl_stream_create(&s, engine, NULL));
    s->n_prefill = 60;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(&policy, &model->shape), NULL));
    assert_ok(
        kvl_timing_prefill(engine, s, &policy, samples.items[0].ids.ids, 60, n_batch, rows, &top, NULL));
    if (kvl_policy_fires(&policy, s, &model->shape)) {
        assert_ok(kvl_engine_compress(engine, &(kvl_compress_job){s, &policy}, 1, NULL));
    }
    return s;
}

static void check_same_cache(kvl_stream *a, kvl_stream *b) {
    const kvl_shape *s = &model->shape;
    float rows[2][60 * 64];
    for (uint32_t i = 0; i < s->n_layers * s->n_kv_heads; i++) {
        const uint32_t layer = i / s->n_kv_heads;
        const uint32_t head = i % s->n_kv_heads;
        const size_t n = kvl_cache_len(a->cache, layer, head);
        assert_int_equal(kvl_cache_len(b->cache, layer, head), n);
        assert_memory_equal(kvl_cache_entries(a->cache, layer, head).positions,
                            kvl_cache_entries(b->cache, layer, head).positions, n * sizeof(int32_t));
        kvl_cache_copy_keys(a->cache, layer, head, rows[0]);
        kvl_cache_copy_keys(b->cache, layer, head, rows[1]);
        assert_memory_equal(rows[0], rows[1], n * s->head_dim * sizeof(float));
    }
    kvl_stream_destroy(a);
    kvl_stream_destroy(b);
}

static void test_block_passes(void **state) {
    (void)state;
    static const char *const blocks[] = {"block(knorm,block=7):size=20",
                                         "block(snapkv(window=5),block=7):size=20",
                                         "block(adakv(tova),block=11):keep=0.3"};
    for (size_t i = 0; i < 3; i++) {
        check_same_cache(prefilled(engines[0], blocks[i], 60), prefilled(engines[1], blocks[i], 9));
    }
    /* one block is the whole prompt: the wrapped press as it is */
    check_same_cache(prefilled(engines[0], "block(snapkv(window=5),block=60):size=20", 60),
                     prefilled(engines[0], "snapkv(window=5):size=20", 60));
}

/* ---- parts of heads ---- */

/* Norms do not depend on who competes: the choice block by block is that of all at once. Of tova's votes
 * those of a part are the attention weights over that part. */
static void test_block_oracle(void **state) {
    (void)state;
    check_same_cache(prefilled(engines[0], "block-oracle(knorm,block=7):size=20", 60),
                     prefilled(engines[0], "knorm:size=20", 60));
    check_same_cache(prefilled(engines[0], "block-oracle(snapkv(window=5),block=40):size=20", 60),
                     prefilled(engines[0], "snapkv(window=5):size=20", 60));
    check_same_cache(prefilled(engines[0], "block-oracle(observed,block=9):size=20", 60),
                     prefilled(engines[0], "observed:size=20", 60));
}

static void test_part_of_head(void **state) {
    (void)state;
    kvl_stream *s = prefilled(engines[0], "none", 60);
    const size_t dim = model->shape.head_dim;
    static const uint32_t slots[] = {0, 3, 4, 5, 20, 58, 59};
    static const int32_t positions[] = {0, 3, 4, 5, 20, 58, 59};
    float all[60 * 64], part[7 * 64];
    const kvl_kernels *kernels = NULL;
    assert_ok(kvl_kernels_get(&kernels, NULL, NULL));
    const kvl_layer_view in = {
        .shape = &model->shape, .kernels = kernels, .layer = 1, .cache = s->cache, .n_seen = 60};
    const kvl_head_view view = {.in = &in, .head = 2, .n = 7, .slots = slots, .positions = positions};
    kvl_cache_copy_keys(s->cache, 1, 2, all);
    kvl_view_keys(&view, part);
    for (size_t j = 0; j < 7; j++) {
        assert_memory_equal(part + j * dim, all + slots[j] * dim, dim * sizeof(float));
    }
    kvl_cache_copy_values(s->cache, 1, 2, all);
    kvl_view_values(&view, part);
    for (size_t j = 0; j < 7; j++) {
        assert_memory_equal(part + j * dim, all + slots[j] * dim, dim * sizeof(float));
    }
    kvl_stream_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),          cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bounded_memory), cmocka_unit_test(test_bench),
        cmocka_unit_test(test_threshold),      cmocka_unit_test(test_bits),
        cmocka_unit_test(test_block_passes),   cmocka_unit_test(test_block_oracle),
        cmocka_unit_test(test_part_of_head),
    };
    return cmocka_run_group_tests(tests, open_all, close_bundled);
}
