/* Presses against kvpress: scores and kept entries of tiny random models, from tests/golden/press. */
#include "support.h"

#include "cache/calibration.h"
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Golden files of the same names. */
static const char *const names[] = {"block",
                                    "cam",
                                    "cap",
                                    "chunk",
                                    "chunkkv",
                                    "compactor",
                                    "composed",
                                    "critical-adakv",
                                    "criticalkv",
                                    "cur",
                                    "decoding",
                                    "dms",
                                    "duo-attention",
                                    "expected-attention",
                                    "expected-attention-stats",
                                    "finch",
                                    "key-rerotation",
                                    "keydiff",
                                    "merging",
                                    "knorm",
                                    "kvzip",
                                    "lagkv",
                                    "leverage",
                                    "noncausal",
                                    "observed",
                                    "per-layer",
                                    "prefill-decoding",
                                    "pyramid",
                                    "qfilter",
                                    "simlayerkv",
                                    "snapkv",
                                    "streaming",
                                    "think",
                                    "tova"};

static const char *const model_names[] = {"llama", "qwen3"};
enum { n_models = 2 };
static kvl_model *models[n_models];
static kvl_engine *engines[n_models];
static kvl_calibration *calibrations[n_models];
static json_t *all_ids;
static int32_t prompt_ids[3][16]; /* of kvzip */
static kvl_prompts prompts = {.first = prompt_ids[0], .next = prompt_ids[1], .suffix = prompt_ids[2]};
static int32_t text_ids[512]; /* of the case */

/* Ids of that name; returns how many. */
static size_t copy_ids(int32_t *out, size_t room, const char *name) {
    const json_t *ids = json_object_get(all_ids, name);
    const size_t n = json_array_size(ids);
    for (size_t i = 0; i < n && i < room; i++) {
        out[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    }
    return n <= room ? n : 0;
}

static int open_models(void **state) {
    (void)state;
    const kvl_engine_options options = {.n_threads = 2};
    for (size_t i = 0; i < n_models; i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/golden/press/%s", model_names[i]);
        if (kvl_model_open(&models[i], test_path(path), 1, NULL) != KVL_OK ||
            kvl_engine_create(&engines[i], models[i], &options, NULL) != KVL_OK) {
            return -1;
        }
    }
    all_ids = test_load_json("tests/golden/press/ids.json");
    prompts.n_first = copy_ids(prompt_ids[0], 16, "kvzip_first");
    prompts.n_next = copy_ids(prompt_ids[1], 16, "kvzip_next");
    prompts.n_suffix = copy_ids(prompt_ids[2], 16, "kvzip_suffix");
    for (size_t i = 0; i < n_models; i++) {
        kvl_engine_set_prompts(engines[i], &prompts);
        calibrations[i] = test_calibrate(engines[i]);
        models[i]->shape.calibration = calibrations[i];
    }
    return 0;
}

static int close_models(void **state) {
    (void)state;
    for (size_t i = 0; i < n_models; i++) {
        kvl_engine_destroy(engines[i]);
        kvl_model_close(models[i]);
        kvl_calibration_destroy(calibrations[i]);
    }
    json_decref(all_ids);
    return 0;
}

/* One golden case at one size. */
typedef struct trial {
    const json_t *golden; /* of the case */
    const json_t *size;   /* of the size */
    char text[256];       /* of the policy */
    kvl_policy policy;
    kvl_engine *engine;
    const kvl_shape *shape;
    kvl_stream *stream;
    size_t n_ties; /* heads whose last kept and first dropped entry are as good as equal */
    size_t n_heads;
} trial;

static void fail_at(const trial *t, const char *what, size_t layer, size_t head, double expected,
                    double found) {
    fail_msg("%s: %s of layer %zu, head %zu: expected %.9g, found %.9g", t->text, what, layer, head, expected,
             found);
}

static void feed(trial *t, const json_t *ids, size_t first, size_t n) {
    kvl_row *rows = kvl_calloc(n, sizeof *rows);
    assert_non_null(rows);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (kvl_row){.stream = t->stream,
                            .token = (int32_t)json_integer_value(json_array_get(ids, first + i)),
                            .target = -1};
    }
    assert_ok(kvl_engine_forward(t->engine, rows, n, NULL));
    kvl_free(rows);
}

static const json_t *at2(const json_t *a, size_t layer, size_t head) {
    return json_array_get(json_array_get(a, layer), head);
}

/* Of the sizes of a head's scores: what float32 loses is a share of it, small scores included. */
static double largest(const json_t *scores) {
    const json_t *x;
    size_t i;
    double most = 0;
    json_array_foreach(scores, i, x) { most = fmax(most, fabs(json_number_value(x))); }
    return most;
}

static void check_scores(trial *t, const json_t *scores) {
    const size_t n = (size_t)t->stream->n_seen;
    const json_t *protected = json_object_get(t->golden, "protected_first_last");
    const size_t n_first = (size_t)json_integer_value(json_array_get(protected, 0));
    const size_t n_last = (size_t)json_integer_value(json_array_get(protected, 1));
    float *ours = kvl_calloc((size_t)t->shape->n_layers * t->shape->n_kv_heads * n, sizeof *ours);
    assert_non_null(ours);
    assert_ok(kvl_engine_rank(t->engine, t->stream, &t->policy, ours, NULL));
    const float *at = ours;
    for (size_t layer = 0; layer < t->shape->n_layers; layer++) {
        for (size_t head = 0; head < t->shape->n_kv_heads; head++, at += n) {
            const double noise = 1e-5 * largest(at2(scores, layer, head));
            for (size_t j = n_first; j + n_last < n; j++) {
                const json_t *golden = json_array_get(at2(scores, layer, head), j);
                const double expected = json_number_value(golden);
                if (!json_is_null(golden) &&
                    !(fabs((double)at[j] - expected) <= fmax(1e-4 * fabs(expected), noise))) {
                    fail_at(t, "score", layer, head, expected, (double)at[j]);
                }
            }
        }
    }
    kvl_free(ours);
}

/* Margins below this share of the scores are ties: float sums in another order may turn them. */
static bool is_tie(const trial *t, size_t layer, size_t head) {
    const json_t *margin = at2(json_object_get(t->size, "margin"), layer, head);
    return json_is_number(margin) && json_number_value(margin) < 3e-7;
}

static void check_kept(trial *t) {
    const json_t *kept = json_object_get(t->size, "kept");
    for (uint32_t layer = 0; layer < t->shape->n_layers; layer++) {
        for (uint32_t head = 0; head < t->shape->n_kv_heads; head++) {
            const json_t *golden = at2(kept, layer, head);
            const kvl_head_entries entries = kvl_cache_entries(t->stream->cache, layer, head);
            t->n_heads++;
            if (is_tie(t, layer, head)) {
                t->n_ties++;
                continue;
            }
            if (entries.n != json_array_size(golden)) {
                fail_at(t, "number of entries", layer, head, (double)json_array_size(golden),
                        (double)entries.n);
            }
            for (size_t i = 0; i < entries.n; i++) {
                const json_int_t position = json_integer_value(json_array_get(golden, i));
                if (entries.positions[i] != position) {
                    fail_at(t, "position", layer, head, (double)position, (double)entries.positions[i]);
                }
            }
        }
    }
}

/* Key channels that stay, where some go: in all entries that are thin. */
static void check_channels(const trial *t) {
    const json_t *channels = json_object_get(t->size, "channels");
    for (uint32_t i = 0; channels != NULL && i < t->shape->n_layers * t->shape->n_kv_heads; i++) {
        const uint32_t layer = i / t->shape->n_kv_heads, head = i % t->shape->n_kv_heads;
        const json_t *golden = at2(channels, layer, head);
        const kvl_head_thin thin = kvl_cache_thin_keys(t->stream->cache, layer, head);
        if (thin.n_channels != json_array_size(golden) ||
            thin.n != kvl_cache_len(t->stream->cache, layer, head)) {
            fail_at(t, "number of channels", layer, head, (double)json_array_size(golden),
                    (double)thin.n_channels);
        }
        for (size_t c = 0; c < thin.n_channels; c++) {
            const json_int_t expected = json_integer_value(json_array_get(golden, c));
            if (thin.channels[c] != expected) {
                fail_at(t, "channel", layer, head, (double)expected, (double)thin.channels[c]);
            }
        }
    }
}

/* Keys and values of single entries, where presses change them. */
static void check_entries(const trial *t) {
    const json_t *golden;
    size_t index;
    json_array_foreach(json_object_get(t->size, "entries"), index, golden) {
        const uint32_t layer = (uint32_t)json_integer_value(json_object_get(golden, "layer"));
        const uint32_t head = (uint32_t)json_integer_value(json_object_get(golden, "head"));
        const json_int_t position = json_integer_value(json_object_get(golden, "position"));
        const kvl_head_entries entries = kvl_cache_entries(t->stream->cache, layer, head);
        const size_t n = entries.n;
        size_t rank = 0;
        while (rank < n && entries.positions[rank] != position) {
            rank++;
        }
        assert_true(rank < n || is_tie(t, layer, head));
        const size_t dim = t->shape->head_dim;
        const json_t *key = json_object_get(golden, "key");
        float *rows = kvl_calloc(n * dim, sizeof *rows);
        assert_non_null(rows);
        if (key != NULL) {
            kvl_cache_copy_keys(t->stream->cache, layer, head, rows);
        } else {
            kvl_cache_copy_values(t->stream->cache, layer, head, rows);
        }
        const json_t *expected = key != NULL ? key : json_object_get(golden, "value");
        for (size_t d = 0; rank < n && d < dim; d++) {
            const double want = json_number_value(json_array_get(expected, d));
            if (!(fabs((double)rows[rank * dim + d] - want) <= 1e-4 * fmax(1, fabs(want)))) {
                fail_at(t, key != NULL ? "key" : "value", layer, head, want, (double)rows[rank * dim + d]);
            }
        }
        kvl_free(rows);
    }
}

static void open_trial(trial *t) {
    const char *model_name = json_string_value(json_object_get(t->golden, "model"));
    const json_t *size = json_object_get(t->size, "size");
    kvl_err err = {0};
    const size_t m = strcmp(model_name, model_names[0]) == 0 ? 0 : 1;
    assert_string_equal(model_name, model_names[m]);
    t->engine = engines[m];
    t->shape = &models[m]->shape;
    snprintf(t->text, sizeof t->text, "%s", json_string_value(json_object_get(t->golden, "policy")));
    if (json_is_integer(size)) {
        const size_t len = strlen(t->text);
        snprintf(t->text + len, sizeof t->text - len, ":size=%lld", (long long)json_integer_value(size));
    }
    kvl_policy_init(&t->policy);
    if (kvl_policy_parse(&t->policy, t->text, &err) != KVL_OK) {
        fail_msg("%s: %s", t->text, err.msg);
    }
    assert_ok(kvl_stream_create(&t->stream, t->engine, NULL));
    assert_ok(kvl_stream_watch(t->stream, t->shape, kvl_policy_needs(&t->policy, t->shape), NULL));
}

static void compress_if_due(trial *t) {
    kvl_err err = {0};
    if (kvl_policy_fires(&t->policy, t->stream, t->shape) &&
        kvl_engine_compress(t->engine, &(kvl_compress_job){t->stream, &t->policy}, 1, &err) != KVL_OK) {
        fail_msg("%s: %s", t->text, err.msg);
    }
}

static void run_trial(trial *t) {
    const json_t *ids = json_object_get(all_ids, json_string_value(json_object_get(t->golden, "ids")));
    const json_t *scores = json_object_get(t->size, "scores");
    open_trial(t);
    t->stream->n_prefill = json_array_size(ids);
    t->stream->text = text_ids;
    t->stream->n_text = copy_ids(text_ids, 512, json_string_value(json_object_get(t->golden, "ids")));
    t->stream->seed = (uint64_t)json_integer_value(json_object_get(t->golden, "seed"));
    feed(t, ids, 0, json_array_size(ids));
    scores = scores != NULL ? scores : json_object_get(t->golden, "scores");
    if (scores != NULL) {
        check_scores(t, scores);
    }
    compress_if_due(t);
    for (json_int_t i = 0; i < json_integer_value(json_object_get(t->golden, "then")); i++) {
        feed(t, json_object_get(all_ids, "then"), (size_t)i, 1);
        compress_if_due(t);
    }
    check_kept(t);
    check_entries(t);
    check_channels(t);
    kvl_stream_destroy(t->stream);
}

static void test_goldens(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[96];
        size_t n_heads = 0, n_ties = 0;
        snprintf(path, sizeof path, "tests/golden/press/%s.json", names[i]);
        json_t *file = test_load_json(path);
        const json_t *golden, *size;
        size_t c, k;
        json_array_foreach(json_object_get(file, "cases"), c, golden) {
            json_array_foreach(json_object_get(golden, "sizes"), k, size) {
                trial t = {.golden = golden, .size = size};
                run_trial(&t);
                n_heads += t.n_heads;
                n_ties += t.n_ties;
            }
        }
        print_message("%s: %zu heads, %zu ties\n", names[i], n_heads, n_ties);
        assert_true(n_heads > 0 && n_ties * 5 <= n_heads);
        json_decref(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens)};
    return cmocka_run_group_tests(tests, open_models, close_models);
}
