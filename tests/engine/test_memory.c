/* The plan against what is really allocated, to the byte: every family, both kinds of files, several
 * policies. */
#include "support.h"

#include "engine/engine.h"
#include "engine/plan.h"

#include <stdio.h>
#include <string.h>

static const char *const families[] = {
    "gemma2",       "gemma3",     "gpt2",    "gpt_neox", "llama",        "llama_bias", "llama_linear",
    "llama_llama3", "llama_tied", "mistral", "phi3",     "phi3_partial", "qwen2",      "qwen3",
};
enum { n_families = sizeof families / sizeof families[0] };

static const char *const policies[] = {"none", "knorm:keep=0.5", "streaming:keep=0.1:skip=0",
                                       "knorm:keep=0.9:order=score",
                                       "recency:keep=0.3:positions=cache-length"};
enum { n_policies = sizeof policies / sizeof policies[0] };

static kvl_model *headers_of(const char *path) {
    kvl_model *m = NULL;
    kvl_err err = {0};
    if (kvl_model_open_headers(&m, path, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return m;
}

static void forward(kvl_engine *e, kvl_stream *s, size_t n) {
    kvl_row *rows = kvl_calloc(n, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (kvl_row){.stream = s, .token = (int32_t)(i % 60), .target = -1};
    }
    rows[n - 1].wants_top = true;
    assert_int_equal(kvl_engine_forward(e, rows, n, NULL), KVL_OK);
    kvl_free(rows);
}

/* Runs the deployment and compares it with the plan made from headers. */
static void check_run(const kvl_model *model, const kvl_model *headers, const char *policy_text,
                      unsigned n_threads, size_t n) {
    kvl_engine *e = NULL;
    kvl_stream *s = NULL;
    kvl_plan plan;
    kvl_policy policy = test_policy(policy_text);
    const kvl_engine_options options = {.n_threads = n_threads};
    kvl_plan_make(&plan, headers, &policy, n_threads, n);
    assert_int_equal(kvl_engine_create(&e, model, &options, NULL), KVL_OK);
    assert_int_equal(kvl_stream_create(&s, e, NULL), KVL_OK);
    assert_int_equal(kvl_stream_watch(s, &model->shape, kvl_policy_needs(&policy, &model->shape), NULL),
                     KVL_OK);
    s->is_cache_length_position = policy.is_cache_length_position;
    forward(e, s, n);
    uint64_t full = kvl_cache_reserved_bytes(s->cache);
    assert_int_equal(kvl_cache_live_bytes(s->cache), plan.kv_prefill_bytes);
    assert_int_equal(kvl_tap_bytes(s->tap), plan.noted_bytes);
    if (kvl_policy_fires(&policy, s, &model->shape)) {
        kvl_compress_job job = {.stream = s, .policy = &policy};
        assert_int_equal(kvl_engine_compress(e, &job, 1, NULL), KVL_OK);
    }
    assert_true(kvl_cache_live_bytes(s->cache) == plan.kv_live_bytes ||
                (model->shape.n_residual != 0 && kvl_cache_live_bytes(s->cache) < plan.kv_live_bytes));
    assert_int_equal(kvl_cache_reserved_bytes(s->cache), plan.kv_reserved_bytes);
    assert_int_equal(kvl_cache_len(s->cache, model->shape.n_layers - 1, 0), plan.n_kept);
    assert_int_equal(kvl_engine_scratch_bytes(e), plan.scratch_bytes);
    if (model->shape.n_residual == 0) { /* the room of windows goes by passes */
        assert_int_equal(kvl_cache_reserve(s->cache, plan.n_room, NULL), KVL_OK);
        assert_int_equal(kvl_cache_reserved_bytes(s->cache), plan.kv_reserved_bytes);
        assert_int_equal(kvl_cache_reserve(s->cache, plan.n_room + 1, NULL), KVL_OK);
        assert_true(kvl_cache_reserved_bytes(s->cache) > plan.kv_reserved_bytes);
    }
    assert_true(plan.kv_peak_bytes >= full && plan.kv_peak_bytes <= full * 3);
    assert_true(plan.peak_bytes >= plan.weight_bytes + plan.scratch_bytes + plan.kv_reserved_bytes);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

static void check_model(const char *path, size_t most_tokens) {
    kvl_model *model = NULL;
    kvl_model *headers = headers_of(path);
    uint64_t sum = 0;
    assert_int_equal(kvl_model_open(&model, path, 2, NULL), KVL_OK);
    assert_int_equal(headers->weight_bytes, model->weight_bytes);
    assert_int_equal(headers->n_params, model->n_params);
    assert_memory_equal(headers->kinds, model->kinds, sizeof model->kinds);
    assert_string_equal(headers->stored_dtype, model->stored_dtype);
    for (int i = 0; i < KVL_N_WEIGHT_KINDS; i++) {
        sum += model->kinds[i].resident_bytes;
    }
    assert_int_equal(sum, model->weight_bytes);
    for (size_t p = 0; p < n_policies; p++) {
        check_run(model, headers, policies[p], 1, 1);
        check_run(model, headers, policies[p], 3, most_tokens / 2 - 3);
        check_run(model, headers, policies[p], 2, most_tokens);
    }
    kvl_model_close(headers);
    kvl_model_close(model);
}

static void test_families(void **state) {
    (void)state;
    char path[256];
    for (size_t i = 0; i < n_families; i++) {
        /* beyond the context, so that the rotation table grows; learned positions end there */
        size_t n = strcmp(families[i], "gpt2") == 0 ? 63 : 200;
        snprintf(path, sizeof path, "tests/golden/families/%s", families[i]);
        check_model(test_path(path), n);
        snprintf(path, sizeof path, "tests/golden/families/%s/model.gguf", families[i]);
        if (kvl_file_exists(test_path(path))) {
            check_model(test_path(path), n);
        }
    }
}

static void test_embedded_model(void **state) {
    (void)state;
    kvl_model *model = NULL;
    const char *path = test_path("models/novels-7m");
    kvl_model *headers = headers_of(path);
    assert_int_equal(kvl_model_open(&model, path, 2, NULL), KVL_OK);
    check_run(model, headers, "none", 2, 1000);
    check_run(model, headers, "knorm:keep=0.2", 2, 700);
    check_run(model, headers, "streaming:size=40:skip=0+4", 1, 513);
    check_run(model, headers, "snapkv(window=16):keep=0.3", 2, 700);
    check_run(model, headers, "observed:keep=0.3", 3, 513);
    for (uint32_t i = 0; i < 8; i++) { /* quantised, with and without windows; streaming keeps the newest */
        headers->shape.key_type = (kvl_kv_type)(KVL_KV_Q8_0 + i % 4);
        headers->shape.value_type = (kvl_kv_type)((i + 2) % KVL_N_KV_TYPES);
        headers->shape.n_residual = i % 2 * 45;
        model->shape = headers->shape;
        check_run(model, headers, "none", 2, 300 + i);
        check_run(model, headers, "streaming:size=40", 2, 17 * (i + 1));
        check_run(model, headers, "streaming:keep=0.7:skip=2", 1, 257 + 10 * i);
    }
    kvl_model_close(headers);
    kvl_model_close(model);
}

/* More tokens do not need less, but for heads that are copied or not (one for each thread): the search leans
 * on that; and what it finds is an edge. */
static void test_longest(void **state) {
    (void)state;
    kvl_model *m = headers_of(test_path("models/novels-7m"));
    for (size_t p = 0; p < n_policies; p++) {
        kvl_policy policy = test_policy(policies[p]);
        uint64_t before = 0;
        kvl_plan plan;
        for (size_t n = 1; n < 3000; n += n % 5 + 1) {
            kvl_plan_make(&plan, m, &policy, 3, n);
            assert_true(plan.peak_bytes + 3 * kvl_cache_head_bytes(&m->shape, false, n) >= before);
            before = plan.peak_bytes;
        }
        for (uint64_t memory = 32 << 20; memory <= 256 << 20; memory += 17 << 20) {
            size_t n = kvl_plan_longest(m, &policy, 3, 1 << 20, memory);
            assert_in_range(n, 1, (1 << 20) - 1);
            kvl_plan_make(&plan, m, &policy, 3, n);
            assert_true(plan.peak_bytes <= memory);
            kvl_plan_make(&plan, m, &policy, 3, n + 1);
            assert_true(plan.peak_bytes > memory);
        }
        assert_int_equal(kvl_plan_longest(m, &policy, 3, 1 << 20, 1000), 0);
        assert_int_equal(kvl_plan_longest(m, &policy, 3, 100, 1u << 30), 100);
    }
    kvl_model_close(m);
}

/* By hand: 6 layers x 4 heads of 64, 100 tokens. */
static void test_by_hand(void **state) {
    (void)state;
    kvl_model *m = headers_of(test_path("models/novels-7m"));
    kvl_policy policy = test_policy("knorm:keep=0.2");
    kvl_plan plan;
    kvl_plan_make(&plan, m, &policy, 1, 100);
    assert_int_equal(plan.n_kept, 20);
    assert_int_equal(plan.kv_prefill_bytes, 100 * 24 * 64 * 2 * 4);
    assert_int_equal(plan.kv_live_bytes, 20 * 24 * 64 * 2 * 4);
    assert_int_equal(plan.kv_reserved_bytes,
                     32 * 24 * (64 * 2 * 4 + 4)); /* whole panels of 16, room for one */
    assert_int_equal(plan.kv_peak_bytes,
                     (112 * 24 + 32) * (64 * 2 * 4 + 4)); /* all, and a head being copied */
    uint64_t activations = (uint64_t)256 * (5 * 256 + 3 * 256 + 256 + 1024) + 64 * 256;
    uint64_t parts = 64 * 16 * 32; /* 16 pieces of the vocabulary; three sums, a maximum and where it is */
    uint64_t rotary = 1024 * 16;
    uint64_t thread = (112 + 100 * 64) + (448 + 100 * 24) / 4; /* scores and keys; slots and candidates */
    assert_int_equal(plan.scratch_bytes, (activations + rotary + thread) * 4 + parts);
    kvl_model_close(m);
}

static void test_headers_only(void **state) {
    (void)state;
    kvl_model *m = headers_of(test_path("models/novels-7m"));
    kvl_engine *e = NULL;
    kvl_err err = {0};
    const kvl_engine_options options = {.n_threads = 1};
    assert_null(m->layers[0].qkv.segments[0].panels.data);
    assert_int_equal(m->layers[0].qkv.n_out, 768);
    assert_int_equal(kvl_engine_create(&e, m, &options, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "found headers only"));
    kvl_model_close(m);
    for (int64_t k = 0;; k++) {
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_model_open_headers(&m, test_path("tests/golden/families/llama"), NULL);
        kvl_alloc_fail_after(-1);
        if (status == KVL_OK) {
            break;
        }
        assert_null(m);
        assert_int_equal(status, KVL_E_NOMEM);
    }
    kvl_model_close(m);
    assert_int_equal(kvl_model_open_headers(&m, test_path("tests"), NULL), KVL_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),     cmocka_unit_test(test_embedded_model),
        cmocka_unit_test(test_longest),      cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_headers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
