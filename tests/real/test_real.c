/* Two real models, against llama.cpp and transformers on whole texts: tests/golden/real. The ids are the
 * golden's, so that this does not depend on a tokenizer. Models: tools/get-smollm2, tools/get-gemma3; a test
 * whose model is not there is skipped. */
#include "quality_golden.h"

#include <stdlib.h>
#include <string.h>

enum { n_short = 40, chunk_rows = 512, status_skipped = 77 };

typedef struct real_model {
    const char *name;
    const char *variable; /* of the environment: path of the GGUF file */
    const char *file;     /* where it is otherwise */
    const char *golden;
    kvl_model *model;
    json_t *json;
} real_model;

static real_model smollm2 = {"smollm2",
                             "KVL_TEST_SMOLLM2",
                             "models-extra/SmolLM2-135M-Instruct.Q4_1.gguf",
                             "tests/golden/real/smollm2.json",
                             NULL,
                             NULL};
static real_model gemma3 = {"gemma3",
                            "KVL_TEST_GEMMA3",
                            "models-extra/gemma-3-270m.Q4_K_M.gguf",
                            "tests/golden/real/gemma3.json",
                            NULL,
                            NULL};

static const char *path_of(const real_model *r) {
    const char *path = getenv(r->variable);
    return path != NULL ? path : test_path(r->file);
}

static int open_real(void **state) {
    real_model *r = *state;
    if (!kvl_file_exists(path_of(r))) {
        return 0;
    }
    kvl_err err = {0};
    if (kvl_model_open(&r->model, path_of(r), 2, &err) != KVL_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    r->json = test_load_json(r->golden);
    return 0;
}

static int close_real(void **state) {
    real_model *r = *state;
    kvl_model_close(r->model);
    json_decref(r->json);
    r->model = NULL;
    r->json = NULL;
    return 0;
}

static kvl_engine *engine_of(const real_model *r, unsigned n_threads) {
    kvl_engine *e = NULL;
    const kvl_engine_options options = {.n_threads = n_threads};
    assert_ok(kvl_engine_create(&e, r->model, &options, NULL));
    return e;
}

/* NLLs of tokens 1 .. n-1 given those before, the text fed in chunks. */
static void score(kvl_engine *e, const json_t *ids, size_t n, size_t chunk, double *nll) {
    kvl_stream *s = NULL;
    kvl_row rows[chunk_rows];
    assert_ok(kvl_stream_create(&s, e, NULL));
    for (size_t first = 0; first + 1 < n; first += chunk) {
        size_t n_rows = kvl_min_size(chunk, n - 1 - first);
        for (size_t i = 0; i < n_rows; i++) {
            rows[i] = (kvl_row){.stream = s,
                                .token = (int32_t)json_integer_value(json_array_get(ids, first + i)),
                                .target = (int32_t)json_integer_value(json_array_get(ids, first + i + 1))};
        }
        assert_ok(kvl_engine_forward(e, rows, n_rows, NULL));
        for (size_t i = 0; i < n_rows; i++) {
            nll[first + i] = rows[i].nll;
        }
    }
    kvl_stream_destroy(s);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Every token's NLL against one oracle; the largest difference. */
static double compare(const real_model *r, const json_t *text, const char *oracle, const double *nll,
                      size_t n) {
    const json_t *theirs = json_object_get(text, oracle);
    const double tolerance = number(json_object_get(r->json, "tolerance"), oracle);
    double worst = 0;
    assert_int_equal(json_array_size(theirs), n);
    for (size_t t = 0; t < n; t++) {
        double want = json_number_value(json_array_get(theirs, t));
        double difference = fabs(nll[t] - want);
        if (!(difference <= tolerance)) {
            fail_msg("%s, %s, NLL of token %zu: expected %.6f as %s, found %.6f", r->golden,
                     json_string_value(json_object_get(text, "name")), t + 1, want, oracle, nll[t]);
        }
        worst = fmax(worst, difference);
    }
    return worst;
}

static void check_text(const real_model *r, kvl_engine *e, const json_t *text) {
    const json_t *ids = json_object_get(text, "ids");
    const size_t n = json_array_size(ids) - 1; /* scored */
    double *nll = kvl_calloc(n, sizeof *nll);
    double sum = 0;
    assert_true(n > 100);
    score(e, ids, n + 1, chunk_rows, nll);
    double from_transformers = compare(r, text, "transformers", nll, n);
    double from_llama_cpp = compare(r, text, "llama_cpp", nll, n);
    for (size_t t = 0; t < n; t++) {
        sum += nll[t];
    }
    double mean = sum / (double)n;
    const json_t *means = json_object_get(text, "mean");
    const json_t *tolerance = json_object_get(r->json, "tolerance");
    double rounded = number(means, "llama_cpp_rounded");
    print_message("%s: %zu tokens, mean NLL %.6f (llama.cpp on the file itself: %.6f); tokens differ from "
                  "transformers by "
                  "at most %.1e, from llama.cpp on float32 weights by %.1e\n",
                  json_string_value(json_object_get(text, "name")), n, mean, rounded, from_transformers,
                  from_llama_cpp);
    assert_true(fabs(mean - number(means, "llama_cpp")) <= number(tolerance, "llama_cpp_mean"));
    assert_true(fabs(mean - rounded) <= number(tolerance, "llama_cpp_rounded_mean"));
    kvl_free(nll);
}

static void test_nlls_equal_transformers_and_llama_cpp(void **state) {
    const real_model *r = *state;
    if (r->model == NULL) {
        skip();
    }
    const json_t *texts = json_object_get(r->json, "texts");
    kvl_engine *e = engine_of(r, 2);
    assert_int_equal(json_array_size(texts), 7);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        check_text(r, e, json_array_get(texts, i));
    }
    kvl_engine_destroy(e);
}

/* At once, token by token and in odd chunks, by one thread and by two: the same bits. */
static void test_same_bits_however_it_is_cut(void **state) {
    const real_model *r = *state;
    if (r->model == NULL) {
        skip();
    }
    static const size_t chunks[] = {1, 7, n_short};
    const json_t *ids = json_object_get(json_array_get(json_object_get(r->json, "texts"), 0), "ids");
    double whole[n_short] = {0};
    for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
        kvl_engine *e = engine_of(r, n_threads);
        for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
            double nll[n_short] = {0};
            score(e, ids, n_short, chunks[i], nll);
            if (n_threads == 1 && i == 0) {
                memcpy(whole, nll, sizeof whole);
            }
            assert_memory_equal(nll, whole, sizeof whole);
        }
        kvl_engine_destroy(e);
    }
}

/* Inputs rounded to 8 bits: each text's mean stays near that of f32, and all together are nearer to it than
 * those of llama.cpp, which rounds to 8 bits too. */
static void test_int8_is_near_f32(void **state) {
    const real_model *r = *state;
    if (r->model == NULL) {
        skip();
    }
    enum { n_texts = 7 };
    kvl_model *model = NULL;
    kvl_engine *e = NULL;
    double ours = 0, theirs = 0;
    assert_ok(kvl_model_open_as(&model, path_of(r), KVL_ARITH_INT8, 2, NULL));
    assert_ok(kvl_engine_create(&e, model, &(kvl_engine_options){.n_threads = 2}, NULL));
    for (size_t i = 0; i < n_texts; i++) {
        const json_t *text = json_array_get(json_object_get(r->json, "texts"), i);
        const json_t *ids = json_object_get(text, "ids");
        const size_t n = json_array_size(ids) - 1;
        double *nll = kvl_calloc(n, sizeof *nll);
        double sum = 0;
        score(e, ids, n + 1, chunk_rows, nll);
        for (size_t t = 0; t < n; t++) {
            sum += nll[t];
        }
        const json_t *means = json_object_get(text, "mean");
        const double exact = number(means, "llama_cpp");
        const double difference = fabs(sum / (double)n - exact);
        assert_true(difference > 1e-6 && difference < 0.02);
        ours += difference / n_texts;
        theirs += fabs(number(means, "llama_cpp_rounded") - exact) / n_texts;
        kvl_free(nll);
    }
    print_message("means differ from f32 by %.4f, those of llama.cpp by %.4f\n", ours, theirs);
    assert_true(ours < theirs);
    kvl_engine_destroy(e);
    kvl_model_close(model);
}

static double mean_of(kvl_engine *e, const json_t *ids) {
    const size_t n = json_array_size(ids) - 1;
    double *nll = kvl_calloc(n, sizeof *nll);
    double sum = 0;
    score(e, ids, n + 1, chunk_rows, nll);
    for (size_t t = 0; t < n; t++) {
        sum += nll[t];
    }
    kvl_free(nll);
    return sum / (double)n;
}

static const json_t *ids_of(const real_model *r, const char *name) {
    const json_t *texts = json_object_get(r->json, "texts");
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        if (strcmp(json_string_value(json_object_get(text, "name")), name) == 0) {
            return json_object_get(text, "ids");
        }
    }
    fail_msg("no text %s", name);
    return NULL;
}

/* Caches of a type, "+hadamard" behind its name where they are rotated. */
static double mean_with(const real_model *r, kvl_engine *e, const json_t *ids, const char *type) {
    char name[32];
    snprintf(name, sizeof name, "%s", type);
    r->model->shape.has_hadamard = strchr(name, '+') != NULL;
    name[strcspn(name, "+")] = 0;
    assert_ok(kvl_kv_type_find(&r->model->shape.key_type, name, NULL));
    r->model->shape.value_type = r->model->shape.key_type;
    return mean_of(e, ids);
}

/* Quantised caches take a text's mean as far from that of an f16 cache as llama.cpp's do, which rounds
 * queries too. Where it has other blocks (pairs to rotate lie side by side in Llama's files; its own
 * rotation) no further. A window of 32 tokens in full and the rotation take most of it away. */
static void test_quantised_caches_are_as_llama_cpp(void **state) {
    const real_model *r = *state;
    if (r->model == NULL) {
        skip();
    }
    json_t *golden = test_load_json("tests/golden/real/caches.json");
    kvl_engine *e = engine_of(r, 2);
    const char *text, *type;
    json_t *means, *mean;
    json_object_foreach(json_object_get(json_object_get(golden, "mean"), r->name), text, means) {
        const json_t *ids = ids_of(r, text);
        const double plain = mean_with(r, e, ids, "f16");
        json_object_foreach(means, type, mean) {
            if (strncmp(type, "f16", 3) == 0) {
                continue;
            }
            const double ours = mean_with(r, e, ids, type) - plain;
            const double theirs = json_number_value(mean) - number(means, "f16");
            print_message("%s, %s: %+.4f, llama.cpp %+.4f\n", text, type, ours, theirs);
            assert_true(ours < (strchr(type, '+') != NULL ? 2 : 1.3) * theirs + 0.005);
            assert_true(fabs(ours - theirs) < 0.03 || r != &gemma3 || strchr(type, '+') != NULL);
            assert_true(fabs(ours) < 0.005 || strncmp(type, "q8_0", 4) != 0);
        }
        const double q4_0 = mean_with(r, e, ids, "q4_0") - plain;
        r->model->shape.n_residual = 32;
        const double helped = mean_with(r, e, ids, "q4_0+hadamard") - plain;
        r->model->shape.n_residual = 0;
        print_message("%s, q4_0, newest 32 in full, hadamard: %+.4f\n", text, helped);
        assert_true(q4_0 > 0.01 && fabs(helped) < 0.4 * q4_0);
    }
    kvl_engine_destroy(e);
    json_decref(golden);
}

#define TESTS_OF(r)                                                                                          \
    {"nlls_" #r, test_nlls_equal_transformers_and_llama_cpp, open_real, close_real, &(r)},                   \
        {"bits_" #r, test_same_bits_however_it_is_cut, open_real, close_real, &(r)},                         \
        {"int8_" #r, test_int8_is_near_f32, open_real, close_real, &(r)}, {                                  \
        "caches_" #r, test_quantised_caches_are_as_llama_cpp, open_real, close_real, &(r)                    \
    }

static void test_quality_equals_transformers(void **state) {
    const real_model *r = *state;
    if (r->model == NULL) {
        skip();
    }
    check_quality_golden("tests/golden/real/quality.smollm2.json", r->model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TESTS_OF(smollm2),
        TESTS_OF(gemma3),
        {"quality_smollm2", test_quality_equals_transformers, open_real, close_real, &smollm2},
    };
    if (!kvl_file_exists(path_of(&smollm2)) && !kvl_file_exists(path_of(&gemma3))) {
        print_message("no model: see tools/get-smollm2, tools/get-gemma3\n");
        return status_skipped;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
