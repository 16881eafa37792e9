/* Speed tests inside the library: the work that is counted, the cache that is left, errors; and the limits.
 */
#include "support.h"

#include "kernel/kernel.h"
#include "kernel/limits.h"
#include "protocol/bench.h"

#include <string.h>

enum { n_repetitions = 2 };

static kvl_model *model;
static kvl_engine *engine;

static void open_engine(const char *path) {
    kvl_engine_options options = {.n_threads = 2};
    assert_ok(kvl_model_open(&model, test_path(path), 1, &assert_ok_err));
    assert_ok(kvl_engine_create(&engine, model, &options, &assert_ok_err));
}

static void close_engine(void) {
    kvl_engine_destroy(engine);
    kvl_model_close(model);
}

/* The bundled model: 6 layers, 4 heads of 64, 256 wide, 1024 inside, 4096 ids; 32-bit caches. */
static void test_work(void **state) {
    (void)state;
    open_engine("models/novels-7m");
    kvl_policy policies[] = {test_policy("none"), test_policy("knorm:keep=0.25:skip=0")};
    double samples[2][n_repetitions] = {{0}};
    kvl_bench_result results[2] = {{.samples_ns = samples[0]}, {.samples_ns = samples[1]}};
    kvl_bench_config config = {.n_prompt = 3,
                               .n_gen = 2,
                               .n_depth = 40,
                               .n_batch = 7,
                               .n_repetitions = n_repetitions,
                               .has_warmup = true,
                               .policies = policies,
                               .n_policies = 2};
    assert_ok(kvl_bench_run(results, engine, &config, &assert_ok_err));
    for (size_t p = 0; p < 2; p++) {
        double n_cached = p == 0 ? 6 * 40 : 40 + 5 * 10; /* of one head of every layer */
        double matrices = 3 * 2.0 * 6 * (256 * 768 + 256 * 256 + 2 * 256 * 1024);
        double attention = 4.0 * 64 * 4 * (3 * n_cached + 6 * (1 + 2 + 3));
        assert_true(results[p].n_flop == matrices + attention + 2.0 * 256 * 4096);
        double weights = (double)(model->weight_bytes - model->kinds[KVL_WEIGHT_EMBEDDING].resident_bytes);
        assert_true(results[p].n_bytes == 2 * weights + 4 * 2.0 * 64 * 4 * (2 * n_cached + 6 * (4 + 5)));
        assert_int_equal(results[p].kv_bytes_live, (n_cached + 6 * 5) * 4 * 2 * 64 * 4);
        assert_true(results[p].kv_bytes_reserved >= results[p].kv_bytes_live);
        assert_true(results[p].scratch_bytes == kvl_engine_scratch_bytes(engine));
        assert_true(results[p].peak_rss_bytes > model->weight_bytes);
        assert_true((results[p].compress_ns > 0) == (p == 1));
        for (size_t i = 0; i < n_repetitions; i++) {
            assert_true(samples[p][i] > 0);
        }
    }
    close_engine();
}

/* Tied output: the embedding is read whole. Local layers see their window. */
static void test_work_of_local_layers(void **state) {
    (void)state;
    open_engine("tests/golden/families/gemma3/model.gguf");
    const kvl_shape *s = &model->shape;
    kvl_policy none = test_policy("none");
    double samples[n_repetitions];
    kvl_bench_result result = {.samples_ns = samples};
    kvl_bench_config config = {.n_gen = 1,
                               .n_depth = 20,
                               .n_batch = 64,
                               .n_repetitions = n_repetitions,
                               .policies = &none,
                               .n_policies = 1};
    assert_ok(kvl_bench_run(&result, engine, &config, &assert_ok_err));
    uint32_t n_local = kvl_model_local_layers(model);
    double n_seen = (double)n_local * s->window + (double)(s->n_layers - n_local) * 21;
    assert_true(n_local > 0 && s->window < 21 && result.n_flop == 0);
    assert_true(result.n_bytes == (double)model->weight_bytes + n_seen * s->n_kv_heads * 2 * s->head_dim * 4);
    close_engine();
}

static void test_errors(void **state) {
    (void)state;
    open_engine("tests/golden/families/gpt2");
    kvl_policy policies[] = {test_policy("none"), test_policy("knorm:keep=0.5")};
    double samples[2][n_repetitions];
    kvl_bench_result results[2] = {{.samples_ns = samples[0]}, {.samples_ns = samples[1]}};
    kvl_bench_config config = {.n_prompt = 4,
                               .n_gen = 2,
                               .n_depth = 1,
                               .n_batch = 8,
                               .n_repetitions = n_repetitions,
                               .has_warmup = true,
                               .policies = policies,
                               .n_policies = 2};
    kvl_err err = {0};
    assert_int_equal(kvl_bench_run(results, engine, &config, &err), KVL_E_USAGE); /* ceil(0.5 * 1) of 1 */
    assert_non_null(strstr(err.msg, "press knorm: expected to evict at depth 1"));
    config.n_depth = 64; /* learned positions end there */
    assert_int_equal(kvl_bench_run(results, engine, &config, &err), KVL_E_USAGE);
    config.n_depth = 16;
    kvl_status status = KVL_E_NOMEM;
    size_t n_failures = 0;
    for (int64_t n = 0; status == KVL_E_NOMEM; n++, n_failures++) {
        kvl_alloc_fail_after(n);
        status = kvl_bench_run(results, engine, &config, &err);
        kvl_alloc_fail_after(-1);
    }
    assert_int_equal(status, KVL_OK);
    assert_true(n_failures > 10);
    close_engine();
}

static void test_limits(void **state) {
    (void)state;
    kvl_pool *pool = NULL;
    kvl_limits limits;
    assert_ok(kvl_pool_create(&pool, 2, &assert_ok_err));
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        assert_ok(kvl_limits_measure(&limits, *isa, KVL_ARITH_F32, pool, &assert_ok_err));
        assert_true(limits.flop_per_ns > 0 && limits.bytes_per_ns > 0);
    }
    assert_ok(kvl_limits_measure(&limits, "abacus", KVL_ARITH_F32, pool, &assert_ok_err));
    assert_true(limits.flop_per_ns == 0.0 && limits.bytes_per_ns > 0);
    kvl_alloc_fail_after(0);
    assert_int_equal(kvl_limits_measure(&limits, "c", KVL_ARITH_F32, pool, NULL), KVL_E_NOMEM);
    kvl_alloc_fail_after(-1);
    kvl_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_work_of_local_layers),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
