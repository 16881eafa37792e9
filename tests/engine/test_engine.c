/* The forward pass: logits against transformers, and the same bits however a text is cut, batched or
 * threaded. */
#include "support.h"

#include "engine/engine.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { n_tokens = 300, max_streams = 8 };

static const char *const variants[] = {"neox/width80", "neox/sequential", "neox/shards3",
                                       "neox/bf16",    "neox/f16",        "neox/tied",
                                       "neox/rot100",  "neox/nobias",     "neox/gelu_tanh"};

static kvl_engine *engine_of(const kvl_model *model, unsigned n_threads, const char *isa) {
    kvl_engine *e = NULL;
    kvl_err err = {0};
    kvl_engine_options options = {.n_threads = n_threads, .isa = isa};
    if (kvl_engine_create(&e, model, &options, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return e;
}

static kvl_stream *stream_of(const kvl_engine *e) {
    kvl_stream *s = NULL;
    assert_int_equal(kvl_stream_create(&s, e, NULL), KVL_OK);
    return s;
}

/* `folder` has golden.json; `file` is the model in it: "" for the folder itself. */
static void check_logits(const char *folder, const char *file, const char *isa) {
    char path[256];
    kvl_model *model = NULL;
    kvl_err err = {0};
    snprintf(path, sizeof path, "tests/golden/%s%s", folder, file);
    if (kvl_model_open(&model, test_path(path), 2, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    snprintf(path, sizeof path, "tests/golden/%s/golden.json", folder);
    json_t *golden = test_load_json(path);
    const json_t *ids = json_object_get(golden, "ids");
    const json_t *positions = json_object_get(golden, "positions");
    const json_t *logits = json_object_get(golden, "logits");
    kvl_engine *e = engine_of(model, 2, isa);
    kvl_stream *s = stream_of(e);
    kvl_row rows[64] = {0};
    size_t n = json_array_size(ids);
    assert_in_range(n, 2, 64);
    float *seen = kvl_calloc(n * model->shape.n_vocab, sizeof(float));
    for (size_t t = 0; t < n; t++) {
        rows[t] = (kvl_row){.stream = s,
                            .token = (int32_t)json_integer_value(json_array_get(ids, t)),
                            .target = -1,
                            .logits = seen + t * model->shape.n_vocab};
    }
    assert_int_equal(kvl_engine_forward(e, rows, n, NULL), KVL_OK);
    assert_true(json_array_size(positions) >= 2);
    for (size_t k = 0; k < json_array_size(positions); k++) {
        size_t t = (size_t)json_integer_value(json_array_get(positions, k));
        const json_t *row = json_array_get(logits, k);
        assert_int_equal(json_array_size(row), model->shape.n_vocab);
        for (size_t v = 0; v < model->shape.n_vocab; v++) {
            double want = json_number_value(json_array_get(row, v));
            double got = (double)seen[t * model->shape.n_vocab + v];
            if (!(fabs(got - want) <= 2e-5 * fmax(1.0, fabs(want)))) {
                fail_msg("%s%s (%s): position %zu, logit %zu: expected %.9g, found %.9g", folder, file,
                         kvl_engine_isa(e), t, v, want, got);
            }
        }
    }
    kvl_free(seen);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
    kvl_model_close(model);
    json_decref(golden);
}

static void test_logits_equal_transformers(void **state) {
    (void)state;
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
            check_logits(variants[i], "", *isa);
        }
    }
}

/* Each family from both kinds of files. Mistral in GGUF is a Llama, which has no window there. */
static void test_families_equal_transformers(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        bool has_gguf;
    } families[] = {
        {"families/gpt2", true},         {"families/gpt_neox", true},   {"families/llama", true},
        {"families/llama_tied", true},   {"families/llama_bias", true}, {"families/llama_llama3", true},
        {"families/llama_linear", true}, {"families/llama_yarn", true}, {"families/mistral", false},
        {"families/qwen2", true},        {"families/qwen3", true},      {"families/phi3", true},
        {"families/phi3_partial", true}, {"families/gemma2", true},     {"families/gemma3", true},
        {"families/mistral_full", true},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        check_logits(families[i].folder, "", NULL);
        if (families[i].has_gguf) {
            check_logits(families[i].folder, "/model.gguf", NULL);
        }
    }
}

static kvl_model *model;
static int32_t ids[n_tokens];

static int open_model(void **state) {
    (void)state;
    if (kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) != KVL_OK) {
        return -1;
    }
    for (size_t t = 0; t < n_tokens; t++) {
        ids[t] = (int32_t)((t * 7919 + 13) % 4000);
    }
    return 0;
}

static int close_model(void **state) {
    (void)state;
    kvl_model_close(model);
    return 0;
}

/* NLLs of the text cut into chunks of the given size; `beside` other streams take part in every pass. */
static void nll_in_chunks(kvl_engine *e, size_t chunk, size_t beside, double *nll) {
    kvl_stream *s = stream_of(e);
    kvl_stream *others[max_streams];
    for (size_t i = 0; i < beside; i++) {
        others[i] = stream_of(e);
    }
    for (size_t t = 0; t + 1 < n_tokens;) {
        kvl_row rows[n_tokens + max_streams];
        size_t n = 0;
        for (size_t i = 0; i < beside; i++) { /* mixed in before and between */
            rows[n++] = (kvl_row){.stream = others[i], .token = (int32_t)(i + 1), .target = i % 2 ? 5 : -1};
        }
        size_t first = n;
        for (size_t k = 0; k < chunk && t + 1 < n_tokens; k++, t++) {
            rows[n++] = (kvl_row){.stream = s, .token = ids[t], .target = ids[t + 1]};
        }
        assert_int_equal(kvl_engine_forward(e, rows, n, NULL), KVL_OK);
        for (size_t k = first; k < n; k++) {
            nll[t - (n - first) + (k - first)] = rows[k].nll;
        }
    }
    for (size_t i = 0; i < beside; i++) {
        kvl_stream_destroy(others[i]);
    }
    kvl_stream_destroy(s);
}

static void test_same_bits_on_every_path(void **state) {
    (void)state;
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        static const size_t chunks[] = {1, 7, 64, 299};
        double whole[n_tokens] = {0};
        kvl_engine *e = engine_of(model, 1, *isa);
        nll_in_chunks(e, n_tokens, 0, whole);
        kvl_engine_destroy(e);
        for (unsigned threads = 1; threads <= 3; threads++) {
            e = engine_of(model, threads, *isa);
            for (size_t i = strcmp(*isa, "c") == 0 ? 2 : 0; i < 4; i++) { /* the slow one: long chunks */
                double nll[n_tokens] = {0};
                nll_in_chunks(e, chunks[i], i == 1 ? 5 : 0, nll);
                assert_memory_equal(nll, whole, sizeof nll);
            }
            kvl_engine_destroy(e);
        }
    }
}

static void test_isa_paths_agree(void **state) {
    (void)state;
    double plain[n_tokens] = {0};
    kvl_engine *e = engine_of(model, 2, "c");
    nll_in_chunks(e, n_tokens, 0, plain);
    kvl_engine_destroy(e);
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        double nll[n_tokens] = {0};
        e = engine_of(model, 2, *isa);
        nll_in_chunks(e, n_tokens, 0, nll);
        kvl_engine_destroy(e);
        for (size_t t = 0; t + 1 < n_tokens; t++) {
            assert_true(fabs(nll[t] - plain[t]) < 1e-4);
        }
    }
}

/* bfloat16 products: near f32 (random text: nats differ by a few per cent at most), never the same numbers,
 * and their own bits on every path of one instruction set. */
static void test_bf16_arithmetic(void **state) {
    (void)state;
    kvl_model *exact = model;
    double plain[n_tokens] = {0};
    kvl_engine *e = engine_of(exact, 2, NULL);
    nll_in_chunks(e, n_tokens, 0, plain);
    kvl_engine_destroy(e);
    assert_ok(kvl_model_open_as(&model, test_path("models/novels-7m"), KVL_ARITH_BF16, 2, NULL));
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        double whole[n_tokens] = {0}, nll[n_tokens] = {0};
        double shift = 0, most = 0;
        e = engine_of(model, 1, *isa);
        nll_in_chunks(e, n_tokens, 0, whole);
        kvl_engine_destroy(e);
        e = engine_of(model, 3, *isa);
        nll_in_chunks(e, 7, 5, nll);
        kvl_engine_destroy(e);
        assert_memory_equal(nll, whole, sizeof nll);
        for (size_t t = 0; t + 1 < n_tokens; t++) {
            shift += (whole[t] - plain[t]) / (n_tokens - 1);
            most = fmax(most, fabs(whole[t] - plain[t]));
        }
        assert_true(fabs(shift) < 0.02 && most < 1 && most > 1e-4);
    }
    kvl_model_close(model);
    model = exact;
}

/* The same numbers by tiles where the machine has them; refused where it has none. */
static void test_amx_arithmetic(void **state) {
    (void)state;
    kvl_model *plain = model;
    kvl_gemm_fn *gemm = NULL;
    kvl_engine *e = NULL;
    kvl_err err = {0};
    const kvl_engine_options options = {.n_threads = 1};
    const kvl_status status = kvl_amx_gemm(&gemm, NULL);
    assert_ok(kvl_model_open_as(&model, test_path("models/novels-7m"), KVL_ARITH_AMX_BF16, 2, NULL));
    assert_int_equal(kvl_engine_create(&e, model, &options, &err), status);
    if (status == KVL_OK) {
        double whole[n_tokens] = {0}, nll[n_tokens] = {0};
        nll_in_chunks(e, n_tokens, 0, whole);
        nll_in_chunks(e, 7, 5, nll);
        assert_memory_equal(nll, whole, sizeof nll);
    } else {
        assert_null(e);
        assert_non_null(strstr(err.msg, "arithmetic amx_bf16: expected a processor with AMX"));
    }
    kvl_engine_destroy(e);
    kvl_model_close(model);
    model = plain;
}

static void test_fork_continues_with_the_same_bits(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 2, NULL);
    kvl_stream *a = stream_of(e);
    kvl_row rows[40];
    for (size_t t = 0; t < 40; t++) {
        rows[t] = (kvl_row){.stream = a, .token = ids[t], .target = -1};
    }
    assert_int_equal(kvl_engine_forward(e, rows, 40, NULL), KVL_OK);
    kvl_stream *b = NULL;
    assert_int_equal(kvl_stream_fork(&b, a, NULL), KVL_OK);
    for (size_t t = 40; t < 60; t++) {
        kvl_row pair[2] = {{.stream = b, .token = ids[t], .target = ids[t + 1]},
                           {.stream = a, .token = ids[t], .target = ids[t + 1]}};
        assert_int_equal(kvl_engine_forward(e, pair, 2, NULL), KVL_OK);
        assert_memory_equal(&pair[0].nll, &pair[1].nll, sizeof pair[0].nll);
    }
    kvl_stream_destroy(a);
    kvl_stream_destroy(b);
    kvl_engine_destroy(e);
}

/* Zeroing what the cache holds must ruin the scores: queries really read it (and the current token alone is
 * left). */
static void test_scores_come_from_the_cache(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 2, NULL);
    double full[n_tokens] = {0};
    nll_in_chunks(e, n_tokens, 0, full);
    kvl_stream *s = stream_of(e);
    double sum_full = 0;
    double sum_cut = 0;
    for (size_t t = 0; t + 1 < n_tokens; t++) {
        kvl_row row = {.stream = s, .token = ids[t], .target = ids[t + 1]};
        assert_int_equal(kvl_engine_forward(e, &row, 1, NULL), KVL_OK);
        for (uint32_t l = 0; l < model->shape.n_layers; l++) {
            for (uint32_t h = 0; h < model->shape.n_kv_heads; h++) {
                uint32_t nothing = 0;
                assert_int_equal(kvl_cache_keep(s->cache, l, h, &nothing, 0, NULL), KVL_OK);
            }
        }
        sum_full += full[t];
        sum_cut += row.nll;
    }
    assert_true(fabs(sum_cut - sum_full) > 1.0);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

/* From "ready" to "token done" nothing is allocated: decoding after a prompt, also after a compression. */
static void test_decoding_allocates_nothing(void **state) {
    (void)state;
    enum { n_prompt = 200, n_new = 60 };
    for (int compressed = 0; compressed < 2; compressed++) {
        kvl_engine *e = engine_of(model, 2, NULL);
        kvl_stream *s = stream_of(e);
        kvl_row rows[n_prompt];
        kvl_policy policy;
        for (size_t t = 0; t < n_prompt; t++) {
            rows[t] = (kvl_row){.stream = s, .token = ids[t], .target = -1, .wants_top = t + 1 == n_prompt};
        }
        assert_ok(kvl_engine_forward(e, rows, n_prompt, NULL));
        kvl_policy_init(&policy);
        assert_ok(kvl_policy_parse(&policy, "knorm:keep=0.3:cadence=once", NULL));
        if (compressed) {
            assert_ok(kvl_engine_compress(e, &(kvl_compress_job){s, &policy}, 1, NULL));
        }
        assert_ok(kvl_stream_reserve(e, s, n_new, NULL));
        const uint64_t before = kvl_alloc_count();
        int32_t token = rows[n_prompt - 1].top;
        for (size_t t = 0; t < n_new; t++) {
            kvl_row row = {.stream = s, .token = token, .target = 5, .wants_top = true};
            assert_ok(kvl_engine_forward(e, &row, 1, NULL));
            token = row.top;
        }
        assert_int_equal(kvl_alloc_count(), before);
        kvl_stream_destroy(s);
        kvl_engine_destroy(e);
    }
}

static void test_bad_rows(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 1, NULL);
    kvl_stream *s = stream_of(e);
    kvl_err err = {0};
    kvl_row beyond = {.stream = s, .token = 4096, .target = -1};
    assert_int_equal(kvl_engine_forward(e, &beyond, 1, &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "expected a token id below 4096, found 4096"));
    kvl_row target = {.stream = s, .token = 1, .target = 5000};
    assert_int_equal(kvl_engine_forward(e, &target, 1, &err), KVL_E_USAGE);
    assert_int_equal(s->n_seen, 0);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

/* Weights may be finite and logits not: the pass stops and says which token. */
static void test_nonfinite_logits(void **state) {
    (void)state;
    kvl_model *wild = NULL;
    kvl_err err = {0};
    assert_int_equal(kvl_model_open(&wild, test_path("tests/golden/neox/sequential"), 2, NULL), KVL_OK);
    for (size_t i = 0; i < wild->shape.width; i++) {
        wild->final_norm.gain[i] = 3e38f;
    }
    kvl_engine *e = engine_of(wild, 1, NULL);
    kvl_stream *s = stream_of(e);
    kvl_row row = {.stream = s, .token = 1, .target = 2};
    assert_int_equal(kvl_engine_forward(e, &row, 1, &err), KVL_E_CHECK);
    assert_int_equal(kvl_status_exit_code(err.status), 6);
    assert_non_null(strstr(err.msg, "expected finite logits"));
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
    kvl_model_close(wild);
}

static void test_bad_options(void **state) {
    (void)state;
    kvl_engine *e = NULL;
    kvl_err err = {0};
    kvl_engine_options isa = {.n_threads = 1, .isa = "avx9"};
    assert_int_equal(kvl_engine_create(&e, model, &isa, &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "avx9"));
    kvl_engine_options threads = {.n_threads = 100000};
    assert_int_equal(kvl_engine_create(&e, model, &threads, &err), KVL_E_USAGE);
    assert_null(e);
}

static void test_no_memory(void **state) {
    (void)state;
    for (int64_t k = 0; k < 80; k++) {
        kvl_engine *e = NULL;
        kvl_stream *s = NULL;
        kvl_engine_options options = {.n_threads = 2};
        kvl_row rows[20];
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_engine_create(&e, model, &options, NULL);
        status = status == KVL_OK ? kvl_stream_create(&s, e, NULL) : status;
        for (size_t t = 0; t < 20; t++) {
            rows[t] = (kvl_row){.stream = s, .token = ids[t], .target = ids[t + 1]};
        }
        status = status == KVL_OK ? kvl_engine_forward(e, rows, 20, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_stream_destroy(s);
        kvl_engine_destroy(e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_equal_transformers),
        cmocka_unit_test(test_families_equal_transformers),
        cmocka_unit_test(test_same_bits_on_every_path),
        cmocka_unit_test(test_isa_paths_agree),
        cmocka_unit_test(test_bf16_arithmetic),
        cmocka_unit_test(test_amx_arithmetic),
        cmocka_unit_test(test_fork_continues_with_the_same_bits),
        cmocka_unit_test(test_scores_come_from_the_cache),
        cmocka_unit_test(test_decoding_allocates_nothing),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_nonfinite_logits),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
