/* think: channels by hand; attention over thin keys, what follows it, and its bytes. */
#include "support.h"

#include "engine/engine.h"
#include "engine/plan.h"
#include "press/policy.h"

#include <string.h>

enum { n_text = 150, n_more = 20 };

static kvl_model *model;
static kvl_engine *engines[2]; /* of 1 and of 2 threads */

static int open_model(void **state) {
    (void)state;
    if (kvl_model_open(&model, test_path("tests/golden/press/llama"), 1, NULL) != KVL_OK) {
        return -1;
    }
    for (unsigned i = 0; i < 2; i++) {
        const kvl_engine_options options = {.n_threads = i + 1};
        if (kvl_engine_create(&engines[i], model, &options, NULL) != KVL_OK) {
            return -1;
        }
    }
    return 0;
}

static int close_model(void **state) {
    (void)state;
    kvl_engine_destroy(engines[0]);
    kvl_engine_destroy(engines[1]);
    kvl_model_close(model);
    return 0;
}

/* ---- by hand ---- */

/* Two query heads, two tokens in the window of three; keys of two entries. Means of squares:
 *   queries  {(1 + 9 + 0 + 0) / 4, (4 + 0 + 4 + 0) / 4, (0 + 1 + 0 + 1) / 4, 1 each} = {2.5, 2, 0.5, 1}
 *   keys     {(1 + 1) / 2, (4 + 0) / 2, (9 + 9) / 2, (2 + 2) / 2}                    = {1, 2, 9, 2}
 *   scores   {2.5, 4, 4.5, 2}: channels 3 and 0 go first, in this order */
static void test_by_hand(void **state) {
    (void)state;
    const kvl_shape shape = {.n_layers = 1, .n_heads = 2, .n_kv_heads = 1, .head_dim = 4, .attn_scale = 1};
    const kvl_policy p = test_policy("think(keep=0.75,window=2)");
    static const float queries[3][2][4] = {
        {{9, 9, 9, 9}, {9, 9, 9, 9}}, {{1, 2, 0, 1}, {0, 2, 0, 1}}, {{3, 0, 1, 1}, {0, 0, 1, -1}}};
    static const float keys[2][4] = {{1, 2, 3, 1.41421356f}, {-1, 0, -3, 1.41421356f}};
    kvl_cache *cache = NULL;
    kvl_tap *tap = NULL;
    const kvl_kernels *kernels = NULL;
    assert_ok(kvl_kernels_get(&kernels, NULL, NULL));
    assert_ok(kvl_cache_create(&cache, &shape, NULL));
    assert_ok(kvl_cache_reserve(cache, 2, NULL));
    assert_ok(kvl_tap_create(&tap, &shape, kvl_policy_needs(&p, &shape), NULL));
    assert_ok(kvl_tap_reserve(tap, 3, NULL));
    for (uint32_t t = 0; t < 3; t++) {
        for (uint32_t h = 0; h < 2; h++) {
            kvl_tap_note_plain(tap, kernels, 0, h, t, queries[t][h]);
            kvl_tap_note_rotated(tap, 0, h, t, queries[t][h]);
        }
        if (t != 0) {
            kvl_cache_append(cache, 0, 0, keys[t - 1], keys[t - 1], (int32_t)t);
        }
    }
    const kvl_layer_view view = {
        .shape = &shape, .kernels = kernels, .n_seen = 3, .cache = cache, .tap = tap};
    const kvl_head_view head = {
        .in = &view, .n = 2, .positions = kvl_cache_entries(cache, 0, 0).positions, .target = 2};
    float scratch[256], scores[4];
    uint16_t channels[4];
    const kvl_press_node *node = kvl_press_thinner(p.tree);
    assert_true(kvl_press_scratch_floats(p.tree, &shape, 2) <= 240);
    node->press->score_channels(node, &head, scores, scratch);
    static const float expected[] = {2.5f, 4, 4.5f, 2};
    for (size_t d = 0; d < 4; d++) {
        assert_true(scores[d] > expected[d] - 1e-5f && scores[d] < expected[d] + 1e-5f);
    }
    const kvl_moment now = {.n_seen = 3, .n_prefill = 3};
    assert_int_equal(kvl_policy_thinning(&p, &shape, &now, 0, 2).n_channels, 3);
    assert_int_equal(kvl_policy_target(&p, &shape, &now, 0, 0, 2), 2);
    kvl_press_channels(node, &head, channels, 3, scratch);
    assert_memory_equal(channels, ((const uint16_t[]){0, 1, 2}), 3 * sizeof *channels);
    kvl_press_channels(node, &head, channels, 2, scratch);
    assert_memory_equal(channels, ((const uint16_t[]){1, 2}), 2 * sizeof *channels);
    kvl_cache_destroy(cache);
    kvl_tap_destroy(tap);
}

/* ---- streams ---- */

static int32_t token_at(size_t t) { return (int32_t)((t * 7919 + 13) % 61); }

/* Feeds tokens first .. end - 1, `cut` at a time; nll [end - first] of their predictions. */
static void feed(kvl_engine *e, kvl_stream *s, size_t first, size_t end, size_t cut, double *nll) {
    kvl_row rows[n_text];
    for (size_t t = first; t < end; t += cut) {
        const size_t n = kvl_min_size(cut, end - t);
        for (size_t i = 0; i < n; i++) {
            rows[i] = (kvl_row){.stream = s, .token = token_at(t + i), .target = token_at(t + i + 1)};
        }
        assert_ok(kvl_engine_forward(e, rows, n, NULL));
        for (size_t i = 0; i < n && nll != NULL; i++) {
            nll[t - first + i] = rows[i].nll;
        }
    }
}

/* A prompt of n tokens, compressed. */
static kvl_stream *run(kvl_engine *e, const kvl_policy *p, size_t n, size_t cut) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, e, NULL));
    s->n_prefill = n;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    feed(e, s, 0, n, cut, NULL);
    assert_true(kvl_policy_fires(p, s, &model->shape));
    assert_ok(kvl_engine_compress(e, &(kvl_compress_job){s, p}, 1, NULL));
    assert_false(kvl_policy_fires(p, s, &model->shape)); /* once */
    return s;
}

/* The same stream with zeros in whole keys instead. */
static kvl_stream *zeroed(kvl_engine *e, const kvl_stream *thin, size_t n_prompt) {
    const kvl_shape *shape = &model->shape;
    static float keys[n_text * 64];
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, e, NULL));
    feed(e, s, 0, n_prompt, n_prompt, NULL);
    for (uint32_t i = 0; i < shape->n_layers * shape->n_kv_heads; i++) {
        const uint32_t layer = i / shape->n_kv_heads, head = i % shape->n_kv_heads;
        const kvl_head_thin t = kvl_cache_thin_keys(thin->cache, layer, head);
        kvl_cache_copy_keys(s->cache, layer, head, keys);
        for (size_t j = 0; j < t.n; j++) {
            float key[64] = {0};
            for (size_t c = 0; c < t.n_channels; c++) {
                key[t.channels[c]] = keys[j * shape->head_dim + t.channels[c]];
            }
            kvl_cache_set_key(s->cache, layer, head, j, key);
        }
    }
    return s;
}

/* Predictions behind the prompt have the bits of those over keys with zeros, for every type, number of
 * threads and cut. */
static void check_predictions(const char *text, size_t n_recent, size_t n_channels) {
    const kvl_policy p = test_policy(text);
    double want[n_more], got[n_more];
    for (size_t i = 0; i < 4; i++) {
        kvl_engine *e = engines[i % 2];
        kvl_stream *s = run(e, &p, n_text, i < 2 ? n_text : 19);
        for (uint32_t layer = 0; layer < model->shape.n_layers; layer++) {
            assert_int_equal(kvl_cache_thin_keys(s->cache, layer, 1).n, n_text - n_recent);
            assert_int_equal(kvl_cache_thin_keys(s->cache, layer, 1).n_channels, n_channels);
        }
        kvl_stream *z = zeroed(e, s, n_text);
        kvl_stream *fork = NULL;
        assert_ok(kvl_stream_fork(&fork, s, NULL));
        feed(e, z, n_text, n_text + n_more, n_more, want);
        feed(e, s, n_text, n_text + n_more, i < 2 ? n_more : 3, got);
        assert_memory_equal(got, want, sizeof want);
        feed(e, fork, n_text, n_text + n_more, 1, got);
        assert_memory_equal(got, want, sizeof want);
        kvl_stream_destroy(fork);
        kvl_stream_destroy(z);
        kvl_stream_destroy(s);
    }
}

static void test_predictions(void **state) {
    (void)state;
    const kvl_shape plain = model->shape;
    for (int type = 0; type < 3; type++) {
        model->shape.key_type = (kvl_kv_type)type;
        model->shape.value_type = (kvl_kv_type)((type + 1) % 3);
        check_predictions("think", 0, 20); /* ceil(0.6 * 32) */
        check_predictions("think(0.3,window=8,recent=37)", 37, 10);
    }
    model->shape = plain;
}

/* What is planned from headers, and counted beside a stream, is what is there. */
static void test_bytes(void **state) {
    (void)state;
    static const char *const texts[] = {"think", "think(0.5,recent=32)", "think(0.3):skip=1"};
    const kvl_shape *shape = &model->shape;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const kvl_policy p = test_policy(texts[i]);
        kvl_plan plan;
        kvl_stream *count = NULL;
        kvl_stream *s = run(engines[1], &p, n_text, n_text);
        kvl_plan_make(&plan, model, &p, 2, n_text);
        assert_int_equal(kvl_cache_live_bytes(s->cache), plan.kv_live_bytes);
        assert_int_equal(kvl_cache_reserved_bytes(s->cache), plan.kv_reserved_bytes);
        assert_int_equal(plan.n_kept, n_text);
        assert_ok(kvl_stream_create_counting(&count, shape, NULL));
        count->n_prefill = n_text;
        for (size_t t = 0; t < n_text; t++) {
            assert_ok(kvl_count_forward(shape, &(kvl_row){.stream = count}, 1, NULL));
            assert_int_equal(kvl_policy_fires(&p, count, shape), t + 1 == n_text);
        }
        assert_ok(kvl_count_compress(shape, &(kvl_compress_job){count, &p}, 1, NULL));
        assert_false(kvl_policy_fires(&p, count, shape));
        assert_int_equal(kvl_cache_live_bytes(count->cache), plan.kv_live_bytes);
        kvl_stream_destroy(count);
        assert_ok(kvl_stream_create_counting(&count, shape, NULL));
        assert_ok(kvl_count_follow(count, s, shape, NULL));
        assert_int_equal(kvl_cache_live_bytes(count->cache), plan.kv_live_bytes);
        kvl_stream_destroy(count);
        kvl_stream_destroy(s);
    }
}

/* Later compressions find thin keys, and leave those that stay thin. */
static void test_evictions_after(void **state) {
    (void)state;
    const kvl_policy think = test_policy("think");
    const kvl_policy snapkv = test_policy("snapkv(window=8):keep=0.5");
    static float keys[2][n_text * 64];
    kvl_stream *s = run(engines[1], &think, n_text, n_text);
    kvl_stream *full = NULL;
    double nll[n_more];
    assert_ok(kvl_stream_fork(&full, s, NULL));
    assert_ok(kvl_engine_compress(engines[1], &(kvl_compress_job){s, &snapkv}, 1, NULL));
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t layer = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const size_t dim = model->shape.head_dim;
        const kvl_head_entries e = kvl_cache_entries(s->cache, layer, head);
        assert_int_equal(e.n, n_text / 2);
        assert_int_equal(kvl_cache_thin_keys(s->cache, layer, head).n, n_text / 2);
        kvl_cache_copy_keys(s->cache, layer, head, keys[0]);
        kvl_cache_copy_keys(full->cache, layer, head, keys[1]);
        for (size_t j = 0; j < e.n; j++) {
            assert_memory_equal(keys[0] + j * dim, keys[1] + (size_t)e.positions[j] * dim,
                                dim * sizeof(float));
        }
    }
    feed(engines[1], s, n_text, n_text + n_more, 1, nll);
    kvl_stream_destroy(full);
    kvl_stream_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_evictions_after),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
