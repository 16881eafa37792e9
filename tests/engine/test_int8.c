/* Arithmetic int8: a quantised model against an independent implementation that rounds inputs alike, on every
 * instruction set, and the same bits however the text is cut. */
#include "support.h"

#include "engine/engine.h"
#include "kernel/kernel.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { most_tokens = 64, most_vocab = 100 };

typedef struct golden {
    json_t *json;
    size_t n;
    int32_t ids[most_tokens];
} golden;

static void load_golden(golden *g) {
    g->json = test_load_json("tests/golden/int8/golden.json");
    const json_t *ids = json_object_get(g->json, "ids");
    g->n = json_array_size(ids);
    assert_in_range(g->n, 2, most_tokens);
    for (size_t t = 0; t < g->n; t++) {
        g->ids[t] = (int32_t)json_integer_value(json_array_get(ids, t));
    }
}

/* Logits [n, V] of the text fed in chunks, by the file's model in that arithmetic. */
static void run(float logits[most_tokens][most_vocab], const golden *g, kvl_arith arith, const char *isa,
                unsigned n_threads, size_t chunk) {
    kvl_model *model = NULL;
    kvl_engine *e = NULL;
    kvl_stream *s = NULL;
    assert_ok(kvl_model_open_as(&model, test_path("tests/golden/int8/model.gguf"), arith, 2, NULL));
    assert_ok(kvl_engine_create(&e, model, &(kvl_engine_options){n_threads, isa}, NULL));
    assert_ok(kvl_stream_create(&s, e, NULL));
    assert_in_range(model->shape.n_vocab, 2, most_vocab);
    memset(logits, 0, sizeof(float) * most_tokens * most_vocab);
    for (size_t t = 0; t < g->n; t += chunk) {
        kvl_row rows[most_tokens];
        const size_t n = kvl_min_size(chunk, g->n - t);
        for (size_t i = 0; i < n; i++) {
            rows[i] = (kvl_row){.stream = s, .token = g->ids[t + i], .target = -1, .logits = logits[t + i]};
        }
        assert_ok(kvl_engine_forward(e, rows, n, NULL));
    }
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
    kvl_model_close(model);
}

/* The largest difference from the golden logits. */
static double distance(float logits[most_tokens][most_vocab], const golden *g) {
    const json_t *positions = json_object_get(g->json, "positions");
    const json_t *rows = json_object_get(g->json, "logits");
    double most = 0;
    assert_true(json_array_size(positions) >= 2);
    for (size_t k = 0; k < json_array_size(positions); k++) {
        const json_t *row = json_array_get(rows, k);
        const size_t t = (size_t)json_integer_value(json_array_get(positions, k));
        for (size_t v = 0; v < json_array_size(row); v++) {
            most = fmax(most, fabs((double)logits[t][v] - json_number_value(json_array_get(row, v))));
        }
    }
    return most;
}

static void test_logits_equal_transformers_with_rounded_inputs(void **state) {
    (void)state;
    static float logits[most_tokens][most_vocab];
    golden g;
    load_golden(&g);
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        run(logits, &g, KVL_ARITH_INT8, *isa, 2, most_tokens);
        /* numbers half-way between two whole ones may fall to either side */
        const double most = distance(logits, &g);
        if (!(most < 5e-3)) {
            fail_msg("%s: logits differ by %g", *isa, most);
        }
        run(logits, &g, KVL_ARITH_F32, *isa, 2, most_tokens);
        assert_true(distance(logits, &g) > 2e-2); /* so the comparison tells the arithmetics apart */
    }
    json_decref(g.json);
}

static void test_same_bits_however_it_is_cut(void **state) {
    (void)state;
    static float whole[most_tokens][most_vocab], cut[most_tokens][most_vocab];
    golden g;
    load_golden(&g);
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        run(whole, &g, KVL_ARITH_INT8, *isa, 1, most_tokens);
        for (size_t chunk = 1; chunk < 20; chunk += 6) {
            run(cut, &g, KVL_ARITH_INT8, *isa, 1 + (unsigned)chunk % 3, chunk);
            assert_memory_equal(cut, whole, sizeof whole);
        }
    }
    json_decref(g.json);
}

static void test_models_without_blocks_are_refused(void **state) {
    (void)state;
    kvl_model *model = NULL;
    kvl_err err = {0};
    assert_int_equal(kvl_model_open_as(&model, test_path("models/novels-7m"), KVL_ARITH_INT8, 2, &err),
                     KVL_E_UNSUPPORTED);
    assert_null(model);
    assert_non_null(strstr(err.msg, "arithmetic int8: expected weights in quantised blocks"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_equal_transformers_with_rounded_inputs),
        cmocka_unit_test(test_same_bits_however_it_is_cut),
        cmocka_unit_test(test_models_without_blocks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
