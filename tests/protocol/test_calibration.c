/* Statistics of a model: against kvpress, by hand, as a file, and what happens without them. */
#include "support.h"

#include "cache/calibration.h"
#include "engine/engine.h"
#include "engine/plan.h"
#include "file/tensors.h"
#include "protocol/calibrate.h"

#include <math.h>
#include <string.h>

enum { n_models = 2 };
static const char *const model_names[] = {"llama", "qwen3"};
static kvl_model *models[n_models];
static kvl_engine *engines[n_models];
static kvl_calibration *calibrations[n_models];

static const char *model_path(size_t m) {
    char name[64];
    snprintf(name, sizeof name, "tests/golden/press/%s", model_names[m]);
    return test_path(name);
}

static int open_models(void **state) {
    (void)state;
    const kvl_engine_options options = {.n_threads = 2};
    for (size_t m = 0; m < n_models; m++) {
        if (kvl_model_open(&models[m], model_path(m), 1, NULL) != KVL_OK ||
            kvl_engine_create(&engines[m], models[m], &options, NULL) != KVL_OK) {
            return -1;
        }
        calibrations[m] = test_calibrate(engines[m]);
    }
    return 0;
}

static int close_models(void **state) {
    (void)state;
    for (size_t m = 0; m < n_models; m++) {
        kvl_engine_destroy(engines[m]);
        kvl_model_close(models[m]);
        kvl_calibration_destroy(calibrations[m]);
    }
    return 0;
}

/* ---- against kvpress ---- */

static void assert_near(const char *what, const float *found, const float *expected, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)expected[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)found[i] - (double)expected[i]) <= 2e-6 * most)) {
            fail_msg("%s, number %zu: expected %.9g, found %.9g", what, i, (double)expected[i],
                     (double)found[i]);
        }
    }
}

static void test_moments(void **state) {
    (void)state;
    const kvl_shape *s = &models[0]->shape;
    const size_t n_mean = (size_t)s->n_layers * s->n_heads * s->head_dim;
    kvl_tensors *file = NULL;
    float *golden = kvl_calloc(n_mean * s->head_dim, sizeof *golden);
    assert_non_null(golden);
    assert_ok(
        kvl_tensors_open_file(&file, test_path("tests/golden/press/statistics.llama.safetensors"), NULL));
    assert_ok(kvl_tensors_read_f32(file, kvl_tensors_find(file, "query_mean"), golden, NULL));
    assert_near("mean", calibrations[0]->means, golden, n_mean);
    assert_ok(kvl_tensors_read_f32(file, kvl_tensors_find(file, "query_cov"), golden, NULL));
    assert_near("covariance", calibrations[0]->covariances, golden, n_mean * s->head_dim);
    kvl_tensors_close(file);
    kvl_free(golden);
}

/* Numbers of nested lists, one after another. */
static size_t flatten(const json_t *list, float *out) {
    size_t n = 0;
    size_t i;
    const json_t *item;
    if (json_is_number(list)) {
        *out = (float)json_number_value(list);
        return 1;
    }
    json_array_foreach(list, i, item) { n += flatten(item, out + n); }
    return n;
}

/* Of each case with that field, the model's numbers. */
static void check_golden(const char *file, const char *field, size_t row) {
    char path[96];
    float golden[4096];
    size_t n_found = 0, i;
    const json_t *item;
    snprintf(path, sizeof path, "tests/golden/press/%s.json", file);
    json_t *json = test_load_json(path);
    json_array_foreach(json_object_get(json, "cases"), i, item) {
        const size_t m = strcmp(json_string_value(json_object_get(item, "model")), "llama") == 0 ? 0 : 1;
        const kvl_shape *s = &models[m]->shape;
        const size_t n = flatten(json_object_get(item, field), golden);
        const float *found = row == 1 ? calibrations[m]->head_scores : calibrations[m]->filters;
        assert_int_equal(n, (size_t)s->n_layers * s->n_kv_heads * row);
        assert_near(field, found, golden, n);
        n_found++;
    }
    assert_true(n_found >= 2);
    json_decref(json);
}

static void test_filters(void **state) {
    (void)state;
    check_golden("qfilter", "filters", models[0]->shape.head_dim);
}

static void test_head_scores(void **state) {
    (void)state;
    check_golden("duo-attention", "head_scores", 1);
}

/* ---- by hand ---- */

/* Ranks of scores 0.4 0.1 0.3 0.1 (of 3 layers with 2 heads the last two 0.9): 3 0 2 1 4 5. */
static void test_ranks(void **state) {
    (void)state;
    static const float scores[] = {0.4f, 0.1f, 0.3f, 0.1f, 0.9f, 0.9f};
    static const uint32_t ranks[] = {3, 0, 2, 1, 4, 5};
    kvl_calibration *c = NULL;
    assert_ok(kvl_calibration_create(&c, models[0], NULL));
    assert_int_equal(c->n_layers * c->n_kv_heads, 6);
    memcpy(c->head_scores, scores, sizeof scores);
    kvl_calibration_seal(c);
    assert_memory_equal(c->ranks, ranks, sizeof ranks);
    const uint64_t hash = c->hash;
    c->filters[5] = 1;
    kvl_calibration_seal(c);
    assert_true(c->hash != hash);
    kvl_calibration_destroy(c);
}

static void feed(size_t m, kvl_stream *s, size_t n) {
    kvl_row rows[128];
    for (size_t i = 0; i < n; i++) {
        rows[i] = (kvl_row){.stream = s, .token = (int32_t)((i * 7919 + 13) % 61), .target = -1};
    }
    assert_ok(kvl_engine_forward(engines[m], rows, n, NULL));
}

/* A filter that is the axis i scores a key by its i-th number. */
static void test_qfilter_by_hand(void **state) {
    (void)state;
    enum { n = 20 };
    const kvl_policy p = test_policy("qfilter:size=5");
    kvl_shape *s = &models[0]->shape;
    kvl_calibration *c = NULL;
    kvl_stream *stream = NULL;
    float keys[n * 32], scores[3 * 2 * n];
    assert_ok(kvl_calibration_create(&c, models[0], NULL));
    for (uint32_t i = 0; i < 6; i++) {
        c->filters[i * s->head_dim + i] = 1;
    }
    kvl_calibration_seal(c);
    s->calibration = c;
    assert_ok(kvl_stream_create(&stream, engines[0], NULL));
    assert_ok(kvl_stream_watch(stream, s, kvl_policy_needs(&p, s), NULL));
    feed(0, stream, n);
    assert_ok(kvl_engine_rank(engines[0], stream, &p, scores, NULL));
    for (uint32_t i = 0; i < 6; i++) {
        kvl_cache_copy_keys(stream->cache, i / 2, i % 2, keys);
        for (size_t j = 0; j < n; j++) {
            assert_true(scores[i * n + j] == keys[j * s->head_dim + i]);
        }
    }
    kvl_stream_destroy(stream);
    s->calibration = NULL;
    kvl_calibration_destroy(c);
}

/* Streaming heads of duo-attention hold first and newest tokens, the others all; twice; counted exactly. */
static void test_duo_by_hand(void **state) {
    (void)state;
    enum { n = 40, n_more = 10 };
    const kvl_policy p = test_policy("duo-attention(heads=0.34,sinks=3,recent=5)"); /* 2 of 6 */
    kvl_shape *s = &models[0]->shape;
    kvl_calibration c = *calibrations[0];
    uint32_t ranks[] = {3, 0, 2, 1, 4, 5};
    kvl_stream *stream = NULL;
    kvl_plan plan;
    c.ranks = ranks;
    s->calibration = &c;
    assert_ok(kvl_stream_create(&stream, engines[0], NULL));
    assert_ok(kvl_stream_watch(stream, s, kvl_policy_needs(&p, s), NULL));
    for (size_t round = 0; round < 2; round++) {
        feed(0, stream, round == 0 ? n : n_more);
        const int32_t n_seen = round == 0 ? n : n + n_more;
        assert_true(kvl_policy_fires(&p, stream, s));
        assert_ok(kvl_engine_compress(engines[0], &(kvl_compress_job){stream, &p}, 1, NULL));
        for (uint32_t i = 0; i < 6; i++) {
            const kvl_head_entries e = kvl_cache_entries(stream->cache, i / 2, i % 2);
            const bool is_streaming = ranks[i] < 2;
            assert_int_equal(e.n, is_streaming ? 8 : n_seen);
            for (int32_t j = 0; j < (int32_t)e.n; j++) {
                assert_int_equal(e.positions[j], !is_streaming || j < 3 ? j : n_seen - 8 + j);
            }
        }
        if (round == 0) {
            kvl_plan_make(&plan, models[0], &p, 2, n);
            assert_int_equal(plan.kv_live_bytes, kvl_cache_live_bytes(stream->cache));
            assert_int_equal(plan.n_kept, 8);
        }
    }
    kvl_stream_destroy(stream);
    s->calibration = NULL;
}

static void test_without(void **state) {
    (void)state;
    static const char *const texts[] = {"qfilter:size=5", "expected-attention-stats:size=5",
                                        "adakv(qfilter):size=5"};
    const kvl_shape *s = &models[0]->shape;
    for (size_t i = 0; i < 3; i++) {
        const kvl_policy p = test_policy(texts[i]);
        kvl_stream *stream = NULL;
        kvl_err err = {0};
        assert_ok(kvl_stream_create(&stream, engines[0], NULL));
        assert_ok(kvl_stream_watch(stream, s, kvl_policy_needs(&p, s), NULL));
        feed(0, stream, 20);
        assert_int_equal(kvl_engine_compress(engines[0], &(kvl_compress_job){stream, &p}, 1, &err),
                         KVL_E_CHECK);
        assert_non_null(strstr(err.msg, "expected statistics of the model (kvlab calibrate), found none"));
        kvl_stream_destroy(stream);
    }
}

/* ---- making them ---- */

static bool stop(void) { return false; }

static void test_same_bits(void **state) {
    (void)state;
    kvl_engine *alone = NULL;
    const kvl_engine_options options = {.n_threads = 1};
    assert_ok(kvl_engine_create(&alone, models[1], &options, NULL));
    kvl_calibration *c = test_calibrate(alone);
    assert_int_equal(c->hash, calibrations[1]->hash);
    assert_int_equal(c->n_tokens, 270);
    assert_string_equal(kvl_str_text(&c->texts), "first:0000000000000001:120 second:0000000000000002:150");
    kvl_calibration_destroy(c);
    kvl_engine_destroy(alone);
}

static void test_refused_texts(void **state) {
    (void)state;
    int32_t ids[] = {5, 6, 7, 8, 9};
    kvl_sample item = {.name = "tiny", .ids = {.ids = ids, .n = 4}};
    const kvl_samples texts = {.items = &item, .n = 1};
    kvl_calibration *c = NULL;
    kvl_err err = {0};
    assert_int_equal(kvl_calibrate(&c, engines[0], &texts, 100, NULL, &err), KVL_E_TEXT);
    assert_string_equal(err.msg, "text tiny: expected more than 4 tokens, found 4");
    assert_null(c);
    item.ids.n = 5;
    assert_int_equal(kvl_calibrate(&c, engines[0], &texts, 100, stop, &err), KVL_E_INTERRUPTED);
    assert_ok(kvl_calibrate(&c, engines[0], &texts, 100, NULL, NULL)); /* one query: no variance */
    assert_true(c->covariances[0] == 0);
    kvl_calibration_destroy(c);
}

/* ---- files ---- */

static void expect_load(size_t m, const char *path, kvl_status expected, const char *word) {
    kvl_calibration *c = NULL;
    kvl_err err = {0};
    const kvl_status status = kvl_calibration_load(&c, path, models[m], &err);
    if (status != expected || strstr(err.msg, word) == NULL || strchr(err.msg, '\n') != NULL) {
        fail_msg("expected %s with '%s', found %s: %s", kvl_status_name(expected), word,
                 kvl_status_name(status), err.msg);
    }
    assert_null(c);
}

static void test_round_trip(void **state) {
    (void)state;
    const char *path = test_temp_path("one.safetensors");
    const kvl_calibration *was = calibrations[0];
    kvl_calibration *c = NULL;
    kvl_model *headers = NULL;
    const size_t n = (size_t)was->n_layers * was->n_heads * was->head_dim;
    assert_ok(kvl_calibration_save(was, path, NULL));
    assert_ok(kvl_model_open_headers(&headers, model_path(0), NULL));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(kvl_calibration_load(&c, path, i == 0 ? models[0] : headers, NULL));
        assert_memory_equal(c->means, was->means, n * sizeof(float));
        assert_memory_equal(c->covariances, was->covariances, n * c->head_dim * sizeof(float));
        assert_memory_equal(c->filters, was->filters, n / 2 * sizeof(float));
        assert_memory_equal(c->ranks, was->ranks, 6 * sizeof *c->ranks);
        assert_int_equal(c->hash, was->hash);
        assert_int_equal(c->n_tokens, 270);
        assert_string_equal(kvl_str_text(&c->texts), kvl_str_text(&was->texts));
        kvl_calibration_destroy(c);
    }
    kvl_model_close(headers);
}

static void test_wrong_files(void **state) {
    (void)state;
    const char *path = test_temp_path("two.safetensors");
    const char *broken = test_temp_path("broken.safetensors");
    char *bytes = NULL;
    size_t n = 0;
    assert_ok(kvl_calibration_save(calibrations[0], path, NULL));
    expect_load(1, path, KVL_E_CONFIG, "expected statistics of the model qwen3 (hash ");
    expect_load(0, test_temp_path("absent"), KVL_E_IO, "absent");
    expect_load(0, test_path("tests/golden/press/statistics.llama.safetensors"), KVL_E_CONFIG,
                "expected statistics of format 'kvlab calibration 1'");
    assert_ok(kvl_file_load(&bytes, &n, path, 1 << 24, NULL));
    for (size_t cut = 0; cut < n; cut += n / 7) {
        kvl_calibration *c = NULL;
        test_save(broken, bytes, cut);
        assert_true(kvl_calibration_load(&c, broken, models[0], NULL) != KVL_OK);
    }
    bytes[n - 3] ^= 1; /* of the last number */
    test_save(broken, bytes, n);
    expect_load(0, broken, KVL_E_CONFIG, "expected contents of hash");
    bytes[n - 3] ^= 1;
    char *hash = strstr(bytes + 8, "layout_hash");
    assert_non_null(hash);
    strchr(hash, ':')[4] = 'x';
    test_save(broken, bytes, n);
    expect_load(0, broken, KVL_E_CONFIG, "layout_hash: expected 16 hexadecimal digits");
    kvl_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),         cmocka_unit_test(test_filters),
        cmocka_unit_test(test_head_scores),     cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_qfilter_by_hand), cmocka_unit_test(test_duo_by_hand),
        cmocka_unit_test(test_without),         cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refused_texts),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_wrong_files),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
