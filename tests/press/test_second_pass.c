/* Presses that look at the text again: the true future and the repeated context, against attention computed
 * here; choices among all layers; what is missing is told. */
#include "bundled.h"

#include "kernel/kernel.h"
#include "protocol/sweep.h"
#include "protocol/timing.h"

#include <math.h>
#include <string.h>

static const int32_t words[] = {300, 301, 302, 303, 304, 305};
static const kvl_prompts prompts = {
    .first = words, .n_first = 3, .next = words + 2, .n_next = 2, .suffix = words + 5, .n_suffix = 1};

static int open_all(void **state) {
    (void)state;
    return open_bundled("P1 P2 B1");
}

enum { n_seen = 50, n_text = 80 };

/* A stream that has seen n tokens of the first sample and notes the queries of all. */
static kvl_stream *stream_of(kvl_engine *engine, const int32_t *ids, size_t n, size_t n_known) {
    kvl_stream *s = NULL;
    kvl_row rows[2 * n_text];
    assert_ok(kvl_stream_create(&s, engine, NULL));
    assert_ok(kvl_stream_watch(s, &model->shape, (kvl_needs){.n_queries = KVL_ALL_QUERIES}, NULL));
    s->text = ids;
    s->n_text = n_known;
    for (size_t t = 0; t < n; t++) {
        rows[t] = (kvl_row){.stream = s, .token = ids[t], .target = -1};
    }
    assert_ok(kvl_engine_forward(engine, rows, n, NULL));
    return s;
}

/* Attention weight of the query of token i on entry j of a stream, over the entries of `seen` (all if NULL)
 * that it sees, in double. */
static double weight(const kvl_stream *s, uint32_t layer, uint32_t head, size_t i, size_t j, const bool *seen,
                     const float *keys) {
    const size_t dim = model->shape.head_dim;
    const float *q = kvl_tap_query(s->tap, layer, head, i);
    double sum = 0, own = 0;
    for (size_t k = 0; k <= i; k++) {
        double x = 0;
        for (size_t d = 0; d < dim; d++) {
            x += (double)q[d] * (double)keys[k * dim + d];
        }
        x = exp(x * (double)model->shape.attn_scale);
        sum += seen == NULL || seen[k] ? x : 0;
        own = k == j ? x : own;
    }
    return own / sum;
}

/* The scores of the oracle are the mean weights that tokens 50 .. 59 give in a run over all 60. */
static void test_oracle_by_hand(void **state) {
    (void)state;
    const int32_t *ids = samples.items[0].ids.ids;
    const kvl_shape *s = &model->shape;
    const kvl_policy policy = test_policy("oracle(future=10):keep=0.5");
    kvl_stream *stream = stream_of(engines[0], ids, n_seen, n_text);
    kvl_stream *whole = stream_of(engines[0], ids, n_seen + 10, n_text);
    float scores[6 * 4 * n_seen], keys[(n_seen + 10) * 64];
    assert_ok(kvl_engine_rank(engines[0], stream, &policy, scores, NULL));
    for (uint32_t i = 0; i < s->n_layers * s->n_kv_heads; i += 5) {
        kvl_cache_copy_keys(whole->cache, i / s->n_kv_heads, i % s->n_kv_heads, keys);
        for (size_t j = 0; j < n_seen; j += 7) {
            double mean = 0;
            for (size_t t = n_seen; t < n_seen + 10; t++) {
                mean += weight(whole, i / s->n_kv_heads, i % s->n_kv_heads, t, j, NULL, keys) / 10;
            }
            assert_true(fabs((double)scores[i * n_seen + j] - mean) <= 1e-5 * mean + 1e-9);
        }
    }
    kvl_stream_destroy(stream);
    kvl_stream_destroy(whole);
}

/* kvzip in two chunks: largest weights over the passes "first suffix chunk" and "next last-8 suffix chunk",
 * over sinks, chunk and pass. */
static void test_kvzip_by_hand(void **state) {
    (void)state;
    const int32_t *ids = samples.items[0].ids.ids;
    const kvl_shape *s = &model->shape;
    const kvl_policy policy = test_policy("kvzip(chunk=30):keep=0.5");
    kvl_stream *stream = stream_of(engines[0], ids, n_seen, n_text);
    float scores[6 * 4 * n_seen], keys[2 * n_text * 64];
    kvl_engine_set_prompts(engines[0], &prompts);
    assert_ok(kvl_engine_rank(engines[0], stream, &policy, scores, NULL));
    for (size_t chunk = 0; chunk < 2; chunk++) {
        int32_t text[2 * n_text];
        size_t n = n_seen;
        const size_t from = chunk * 30, to = chunk == 0 ? 30 : n_seen;
        memcpy(text, ids, n_seen * sizeof *text);
        memcpy(text + n, chunk == 0 ? words : words + 2, (chunk == 0 ? 3 : 2) * sizeof *text);
        n += chunk == 0 ? 3 : 2;
        memcpy(text + n, ids + from - (chunk == 0 ? 0 : 8), (chunk == 0 ? 0 : 8) * sizeof *text);
        n += chunk == 0 ? 0 : 8;
        text[n++] = words[5];
        memcpy(text + n, ids + from, (to - from) * sizeof *text);
        n += to - from;
        bool seen[2 * n_text];
        for (size_t k = 0; k < n; k++) {
            seen[k] = k >= n_seen || (k >= from && k < to) || (k < 4 && k < from);
        }
        kvl_stream *whole = stream_of(engines[0], text, n, n);
        for (uint32_t i = 0; i < s->n_layers * s->n_kv_heads; i += 7) {
            kvl_cache_copy_keys(whole->cache, i / s->n_kv_heads, i % s->n_kv_heads, keys);
            for (size_t j = chunk == 0 ? 4 : from; j < to; j += 9) {
                double most = 0;
                for (size_t t = n_seen; t < n; t++) {
                    most = fmax(most, weight(whole, i / s->n_kv_heads, i % s->n_kv_heads, t, j, seen, keys));
                }
                assert_true(fabs((double)scores[i * n_seen + j] - most) <= 1e-5 * most + 1e-9);
            }
        }
        kvl_stream_destroy(whole);
    }
    kvl_engine_set_prompts(engines[0], NULL);
    kvl_stream_destroy(stream);
}

/* Of all layers together the best stay: no entry that went has a better score than one that stayed. */
static void test_all_layers(void **state) {
    (void)state;
    const int32_t *ids = samples.items[0].ids.ids;
    const kvl_shape *s = &model->shape;
    const kvl_policy policy = test_policy("kvzip:keep=0.3:skip=2");
    kvl_engine_set_prompts(engines[1], &prompts);
    kvl_stream *stream = stream_of(engines[1], ids, n_seen, n_text);
    float scores[6 * 4 * n_seen];
    float least = INFINITY, most = 0;
    size_t n_kept = 0, fewest = n_seen;
    assert_ok(kvl_engine_rank(engines[1], stream, &policy, scores, NULL));
    assert_ok(kvl_engine_compress(engines[1], &(kvl_compress_job){stream, &policy}, 1, NULL));
    for (uint32_t i = 0; i < s->n_layers * s->n_kv_heads; i++) {
        const kvl_head_entries e = kvl_cache_entries(stream->cache, i / s->n_kv_heads, i % s->n_kv_heads);
        bool is_kept[n_seen] = {false};
        if (i / s->n_kv_heads == 2) {
            assert_int_equal(e.n, n_seen);
            continue;
        }
        for (size_t j = 0; j < e.n; j++) {
            is_kept[e.positions[j]] = true;
        }
        for (size_t j = 0; j < n_seen; j++) {
            const float score = scores[i * n_seen + j];
            least = is_kept[j] ? fminf(least, score) : least;
            most = is_kept[j] ? most : fmaxf(most, score);
        }
        assert_true(is_kept[0] && is_kept[3]);
        n_kept += e.n;
        fewest = kvl_min_size(fewest, e.n);
    }
    assert_int_equal(n_kept, 5 * s->n_kv_heads * 15);
    assert_true(least >= most && fewest < 15);
    kvl_stream_destroy(stream);
    kvl_engine_set_prompts(engines[1], NULL);
}

static void check_error(const char *text, size_t n_known, const char *part) {
    const kvl_policy policy = test_policy(text);
    kvl_err err = {0};
    kvl_stream *stream = stream_of(engines[0], samples.items[0].ids.ids, n_seen, n_known);
    assert_int_equal(kvl_engine_compress(engines[0], &(kvl_compress_job){stream, &policy}, 1, &err),
                     KVL_E_USAGE);
    assert_non_null(strstr(err.msg, part));
    kvl_stream_destroy(stream);
}

static void test_errors(void **state) {
    (void)state;
    check_error("oracle:size=9", n_seen, "press oracle: expected tokens of the text behind the compression");
    check_error("kvzip:size=9", n_text, "found no prompts");
    kvl_engine_set_prompts(engines[0], &prompts);
    check_error("kvzip:size=9", n_seen - 1, "found no context");
    kvl_engine_set_prompts(engines[0], NULL);
    const kvl_policy policy = test_policy("oracle:size=9");
    kvl_err err = {0};
    kvl_timing timing;
    const kvl_timing_config config = {.sample = &samples.items[0],
                                      .policies = &policy,
                                      .n_policies = 1,
                                      .n_prompt = 30,
                                      .n_new = 2,
                                      .n_repetitions = 1};
    assert_int_equal(kvl_timing_run(&timing, engines[0], &config, &err), KVL_E_USAGE);
}

static kvl_sweep sweep_of(kvl_engine *engine, const char *const *texts, size_t n, size_t max_tokens,
                          size_t prefill, size_t max_steps) {
    kvl_policy policies[8];
    kvl_sweep sweep;
    kvl_err err = {0};
    for (size_t i = 0; i < n; i++) {
        policies[i] = test_policy(texts[i]);
    }
    kvl_engine_set_prompts(engine, &prompts);
    const kvl_sweep_config config = {
        .protocol = {.max_tokens = max_tokens, .prefill = prefill, .count_from = prefill},
        .samples = &samples,
        .policies = policies,
        .n_policies = n,
        .max_steps = max_steps};
    if (kvl_sweep_run(&sweep, engine, &config, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    kvl_engine_set_prompts(engine, NULL);
    return sweep;
}

static void test_bits(void **state) {
    (void)state;
    static const char *const texts[] = {
        "oracle(future=9):keep=0.3:cap=40:cadence=8", "kvzip(chunk=32):keep=0.3:cap=50:cadence=16",
        "kvzip(layerwise=on):size=30:cadence=32", "adakv(oracle):size=20:cap=60:cadence=once",
        "prefill-decoding(kvzip:size=30,decoding(oracle,interval=8):size=30)"};
    kvl_sweep a = sweep_of(engines[1], texts, 5, 100, 50, 0);
    kvl_sweep b = sweep_of(engines[0], texts, 5, 100, 50, 1);
    assert_true(kvl_engine_scratch_bytes(engines[1]) <= a.scratch_bytes);
    for (size_t i = 0; i < a.n_policies * a.n_samples; i++) {
        assert_true(a.cells[i].n_events == b.cells[i].n_events && a.cells[i].n_scored == b.cells[i].n_scored);
        assert_memory_equal(a.cells[i].nll, b.cells[i].nll, a.cells[i].n_scored * sizeof(double));
        assert_true(i < a.n_samples || a.cells[i].n_events != 0);
    }
    kvl_sweep_free(&a);
    kvl_sweep_free(&b);
}

/* Who knows the future's attention does better than who guesses it from the past's. */
static void test_oracle_is_better(void **state) {
    (void)state;
    static const char *const texts[] = {"oracle:keep=0.1:cadence=once",
                                        "snapkv(window=16):keep=0.1:cadence=once",
                                        "observed:keep=0.1:cadence=once"};
    kvl_sweep s = sweep_of(engines[1], texts, 3, 512, 384, 0);
    double mean[4] = {0}; /* the full cache first */
    for (size_t p = 0; p < 4; p++) {
        for (size_t i = 0; i < s.n_samples; i++) {
            const kvl_cell *c = kvl_sweep_cell(&s, p, i);
            mean[p] += c->nll_sum / (double)c->n_scored / (double)s.n_samples;
        }
    }
    assert_true(mean[0] < mean[1] && mean[1] < mean[2] && mean[2] < mean[3]);
    kvl_sweep_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle_by_hand), cmocka_unit_test(test_kvzip_by_hand),
        cmocka_unit_test(test_all_layers),     cmocka_unit_test(test_errors),
        cmocka_unit_test(test_bits),           cmocka_unit_test(test_oracle_is_better),
    };
    return cmocka_run_group_tests(tests, open_all, close_bundled);
}
