/* Several steps of a stream in one pass, compressions between its rows, against single steps: the same NLLs,
 * entries and events, bit for bit, on every path; and the count that foretells their memory. */
#include "support.h"

#include "base/rng.h"
#include "engine/engine.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { n_tokens = 60, max_block = 23 };

static const char *const policies[] = {
    "knorm:keep=0.95:cap=20:skip=0",
    "knorm:keep=0.75:cap=17:skip=0",
    "knorm(high):keep=0.3:cap=33",
    "knorm:keep=0.9:cap=12:sinks=2:recent=3",
    "knorm:keep=0.7:cap=16:order=score",
    "knorm:keep=0.6:cap=16:positions=cache-length:skip=0",
    "knorm:keep=0.9:cap=16:positions=cache-length:skip=1",
    "knorm:size=9:cap=12:trigger=gt:cadence=5",
    "knorm:keep=0.2:cap=40:cadence=once",
    "random(redrawn):keep=0.9:cap=12",
    "random(static,seed=3):keep=0.8:cap=12",
    "recency:keep=0.5",
    "streaming(sinks=2):size=8",
    "template:keep=0.9:cap=12",
};
enum { n_policies = sizeof policies / sizeof policies[0] };

static kvl_model *model_of(const char *path) {
    kvl_model *model = NULL;
    assert_ok(kvl_model_open(&model, test_path(path), 2, &assert_ok_err));
    return model;
}

static kvl_engine *engine_of(const kvl_model *model, unsigned n_threads, const char *isa) {
    kvl_engine *e = NULL;
    const kvl_engine_options options = {.n_threads = n_threads, .isa = isa};
    assert_ok(kvl_engine_create(&e, model, &options, &assert_ok_err));
    return e;
}

static int32_t token_at(size_t t) { return (int32_t)(t * 7919 % 61); }

/* A text under a policy. */
typedef struct text_run {
    kvl_stream *stream;
    double nll[n_tokens];
} text_run;

static text_run start(const kvl_engine *e, const kvl_policy *policy) {
    text_run r = {0};
    assert_ok(kvl_stream_create(&r.stream, e, NULL));
    r.stream->seed = 77;
    r.stream->is_cache_length_position = policy->is_cache_length_position;
    return r;
}

static text_run run_single(kvl_engine *e, const kvl_policy *policy) {
    text_run r = start(e, policy);
    for (size_t t = 0; t < n_tokens; t++) {
        kvl_row row = {.stream = r.stream, .token = token_at(t), .target = token_at(t + 1)};
        assert_ok(kvl_engine_forward(e, &row, 1, &assert_ok_err));
        r.nll[t] = row.nll;
        if (kvl_policy_fires(policy, r.stream, &kvl_engine_model(e)->shape)) {
            assert_ok(kvl_engine_compress(e, &(kvl_compress_job){r.stream, policy}, 1, &assert_ok_err));
        }
    }
    return r;
}

/* The rows of tokens first .. first + n - 1; `shadow` goes ahead and tells when the policy fires. */
static void fill_rows(kvl_row *rows, size_t first, size_t n, kvl_stream *stream, kvl_stream *shadow,
                      const kvl_policy *policy, const kvl_shape *shape) {
    for (size_t i = 0; i < n; i++) {
        rows[i] =
            (kvl_row){.stream = stream, .token = token_at(first + i), .target = token_at(first + i + 1)};
        assert_ok(kvl_count_forward(shape, &(kvl_row){.stream = shadow}, 1, NULL));
        if (kvl_policy_fires(policy, shadow, shape)) {
            rows[i].evict = policy;
            assert_ok(kvl_count_compress(shape, &(kvl_compress_job){shadow, policy}, 1, NULL));
        }
    }
}

/* In blocks of random lengths, each beside the next tokens of a second stream that is never compressed, in
 * mixed order. A counting stream goes through the same passes: same lengths, same room at every moment. */
static text_run run_blocks(kvl_engine *e, const kvl_policy *policy, uint64_t seed, double *nll_beside) {
    const kvl_shape *shape = &kvl_engine_model(e)->shape;
    text_run r = start(e, policy);
    kvl_stream *beside = NULL, *shadow = NULL, *plan = NULL;
    assert_ok(kvl_stream_create(&beside, e, NULL));
    assert_ok(kvl_stream_create_counting(&shadow, shape, NULL));
    assert_ok(kvl_stream_create_counting(&plan, shape, NULL));
    for (size_t t = 0, n; t < n_tokens; t += n) {
        kvl_row own[max_block], planned[max_block], rows[2 * max_block];
        n = kvl_min_size(1 + kvl_rng_draw(seed, 1, t) % max_block, n_tokens - t);
        fill_rows(own, t, n, r.stream, shadow, policy, shape);
        for (size_t i = 0; i < n; i++) {
            planned[i] = own[i];
            planned[i].stream = plan;
            rows[2 * i] = own[i];
            rows[2 * i + 1] = own[i];
            rows[2 * i + 1].stream = beside;
            rows[2 * i + 1].evict = NULL;
        }
        assert_ok(kvl_engine_forward(e, rows, 2 * n, &assert_ok_err));
        assert_ok(kvl_count_forward(shape, planned, n, NULL));
        assert_int_equal(kvl_cache_most_bytes(plan->cache), kvl_cache_most_bytes(r.stream->cache));
        assert_int_equal(kvl_cache_reserved_bytes(plan->cache), kvl_cache_reserved_bytes(r.stream->cache));
        /* what a press leaves of a window cannot be counted ahead */
        const uint64_t live_bytes = kvl_cache_live_bytes(r.stream->cache);
        assert_true(kvl_cache_live_bytes(shadow->cache) >= live_bytes);
        assert_true(kvl_cache_live_bytes(shadow->cache) == live_bytes || shape->n_residual != 0);
        for (size_t i = 0; i < n; i++) {
            r.nll[t + i] = rows[2 * i].nll;
            nll_beside[t + i] = rows[2 * i + 1].nll;
        }
    }
    kvl_stream_destroy(beside);
    kvl_stream_destroy(shadow);
    kvl_stream_destroy(plan);
    return r;
}

static void check_same_head(const kvl_stream *a, const kvl_stream *b, uint32_t layer, uint32_t head,
                            size_t dim) {
    const size_t n = kvl_cache_len(a->cache, layer, head);
    float *rows = kvl_calloc(2 * n * dim, sizeof *rows);
    assert_int_equal(kvl_cache_len(b->cache, layer, head), n);
    assert_memory_equal(kvl_cache_entries(a->cache, layer, head).positions,
                        kvl_cache_entries(b->cache, layer, head).positions, n * sizeof(int32_t));
    kvl_cache_copy_keys(a->cache, layer, head, rows);
    kvl_cache_copy_keys(b->cache, layer, head, rows + n * dim);
    assert_memory_equal(rows, rows + n * dim, n * dim * sizeof *rows);
    kvl_cache_copy_values(a->cache, layer, head, rows);
    kvl_cache_copy_values(b->cache, layer, head, rows + n * dim);
    assert_memory_equal(rows, rows + n * dim, n * dim * sizeof *rows);
    kvl_free(rows);
}

static void check_same(const text_run *a, const text_run *b, const kvl_shape *shape) {
    assert_memory_equal(a->nll, b->nll, sizeof a->nll);
    assert_int_equal(a->stream->n_seen, b->stream->n_seen);
    assert_int_equal(a->stream->n_events, b->stream->n_events);
    for (uint32_t i = 0; i < shape->n_layers * shape->n_kv_heads; i++) {
        check_same_head(a->stream, b->stream, i / shape->n_kv_heads, i % shape->n_kv_heads, shape->head_dim);
    }
}

/* Every policy on one model: blocks by `blocks` against single steps by `single`. */
static void check_policies(kvl_engine *single, kvl_engine *blocks, uint64_t seed) {
    const kvl_shape *shape = &kvl_engine_model(single)->shape;
    kvl_policy none = test_policy("none");
    text_run full = run_single(single, &none);
    for (size_t p = 0; p < n_policies; p++) {
        kvl_policy policy = test_policy(policies[p]);
        double beside[n_tokens];
        text_run a = run_single(single, &policy);
        text_run b = run_blocks(blocks, &policy, seed + p, beside);
        assert_true(a.stream->n_events != 0);
        check_same(&a, &b, shape);
        assert_memory_equal(beside, full.nll, sizeof beside);
        kvl_stream_destroy(a.stream);
        kvl_stream_destroy(b.stream);
    }
    kvl_stream_destroy(full.stream);
}

/* Sliding windows, grouped queries, norms on queries and keys, learned positions, soft caps; three cache
 * types. */
static void test_families(void **state) {
    (void)state;
    static const char *const families[] = {"gpt_neox", "gpt2",  "llama",  "mistral",
                                           "phi3",     "qwen3", "gemma2", "gemma3"};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/golden/families/%s", families[i]);
        kvl_model *model = model_of(path);
        const size_t n_types = model->shape.head_dim % 32 == 0 ? KVL_N_KV_TYPES : KVL_KV_Q8_0;
        model->shape.key_type = (kvl_kv_type)(i % n_types);
        model->shape.value_type = (kvl_kv_type)(i / 2 % n_types);
        kvl_engine *single = engine_of(model, 1, NULL);
        kvl_engine *blocks = engine_of(model, 2, NULL);
        check_policies(single, blocks, 100 * i);
        kvl_engine_destroy(single);
        kvl_engine_destroy(blocks);
        kvl_model_close(model);
    }
}

/* Quantised caches with windows of newest tokens, shorter and longer than the text, and with rotated keys and
 * values. */
static void test_windows(void **state) {
    (void)state;
    static const char *const families[] = {"mistral", "qwen3", "gemma2", "gemma3"};
    static const uint32_t windows[] = {1, 7, 16, 100};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/golden/families/%s", families[i]);
        kvl_model *model = model_of(path);
        for (size_t k = 0; k < 4; k++) {
            model->shape.key_type = (kvl_kv_type)(KVL_KV_Q8_0 + (i + k) % 4);
            model->shape.value_type = (kvl_kv_type)((i + 2 * k) % KVL_N_KV_TYPES);
            model->shape.n_residual = windows[k];
            model->shape.has_hadamard = (i + k) % 2 != 0;
            kvl_engine *single = engine_of(model, 1, NULL);
            kvl_engine *blocks = engine_of(model, 2, NULL);
            check_policies(single, blocks, 100 * i + k);
            kvl_engine_destroy(single);
            kvl_engine_destroy(blocks);
        }
        kvl_model_close(model);
    }
}

/* Keys and values turned by a Hadamard matrix, and queries with them: the same text but for rounding, though
 * entries are stored turned; and a window over the whole text is a cache of f16. */
static void test_rotation_and_window_keep_the_text(void **state) {
    (void)state;
    kvl_model *model = model_of("tests/golden/families/gemma3");
    const kvl_policy none = test_policy("none");
    text_run runs[5];
    for (size_t i = 0; i < 5; i++) {
        const kvl_kv_type types[5] = {KVL_KV_F16, KVL_KV_Q4_0, KVL_KV_Q8_0, KVL_KV_Q8_0, KVL_KV_F32};
        model->shape.key_type = types[i];
        model->shape.value_type = types[i];
        model->shape.n_residual = i == 1 ? n_tokens : 0;
        model->shape.has_hadamard = i == 3 || i == 4;
        kvl_engine *e = engine_of(model, 1, NULL);
        runs[i] = run_single(e, &none);
        kvl_engine_destroy(e);
    }
    assert_memory_equal(runs[0].nll, runs[1].nll, sizeof runs[0].nll);
    assert_memory_not_equal(runs[2].nll, runs[3].nll, sizeof runs[0].nll);
    for (size_t t = 0; t < n_tokens; t++) {
        assert_true(fabs(runs[2].nll[t] - runs[0].nll[t]) < 0.05);
        assert_true(fabs(runs[3].nll[t] - runs[0].nll[t]) < 0.05);
        assert_true(fabs(runs[4].nll[t] - runs[0].nll[t]) < 0.005);
    }
    for (size_t i = 0; i < 5; i++) {
        kvl_stream_destroy(runs[i].stream);
    }
    kvl_model_close(model);
}

static void test_instruction_sets_and_threads(void **state) {
    (void)state;
    kvl_model *model = model_of("tests/golden/families/llama");
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        kvl_engine *single = engine_of(model, 1, *isa);
        for (unsigned n_threads = 1; n_threads <= 4; n_threads += 3) {
            kvl_engine *blocks = engine_of(model, n_threads, *isa);
            check_policies(single, blocks, n_threads);
            kvl_engine_destroy(blocks);
        }
        kvl_engine_destroy(single);
    }
    kvl_model_close(model);
}

static void score_nan(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    (void)scratch;
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = view->in->layer == 1 && view->head == 1 && j == 5 ? NAN : 0;
    }
}

/* A press that fails inside a pass stops it with its message. */
static void test_bad_score(void **state) {
    (void)state;
    static const kvl_press press = {.name = "broken", .score = score_nan};
    kvl_model *model = model_of("tests/golden/families/llama");
    kvl_engine *e = engine_of(model, 3, NULL);
    kvl_policy policy = test_policy("recency:size=4:cap=12");
    kvl_err err = {0};
    kvl_row rows[40];
    policy.tree[0].press = &press;
    text_run r = start(e, &policy);
    for (size_t t = 0; t < 40; t++) {
        rows[t] = (kvl_row){
            .stream = r.stream, .token = token_at(t), .target = -1, .evict = t % 12 == 11 ? &policy : NULL};
    }
    assert_int_equal(kvl_engine_forward(e, rows, 40, &err), KVL_E_CHECK);
    assert_string_equal(err.msg, "press broken: expected a number as score of slot 5, found NaN");
    kvl_stream_destroy(r.stream);
    kvl_engine_destroy(e);
    kvl_model_close(model);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_model *model = model_of("tests/golden/families/llama");
    kvl_policy policy = test_policy("knorm:keep=0.2:cap=40");
    kvl_status status = KVL_E_NOMEM;
    size_t n_failed = 0;
    for (int64_t k = 0; status != KVL_OK && k < 2000; k++) {
        kvl_engine *e = engine_of(model, 2, NULL);
        text_run r = start(e, &policy);
        kvl_row rows[200];
        for (size_t t = 0; t < 200; t++) {
            rows[t] = (kvl_row){.stream = r.stream,
                                .token = token_at(t),
                                .target = 1,
                                .evict = t % 50 == 49 ? &policy : NULL};
        }
        kvl_alloc_fail_after(k);
        status = kvl_engine_forward(e, rows, 200, NULL);
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        n_failed += status != KVL_OK;
        kvl_stream_destroy(r.stream);
        kvl_engine_destroy(e);
    }
    assert_int_equal(status, KVL_OK);
    assert_true(n_failed > 20); /* blocks of heads shrink and grow inside the pass */
    kvl_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_rotation_and_window_keep_the_text),
        cmocka_unit_test(test_instruction_sets_and_threads),
        cmocka_unit_test(test_bad_score),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
