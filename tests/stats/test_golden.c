/* Statistics against numpy and scipy (tools/golden/make_stats_goldens.py), and their bad input. */
#include "support.h"

#include "base/rng.h"
#include "stats/blocks.h"
#include "stats/inference.h"
#include "stats/order.h"
#include "stats/quality.h"
#include "stats/rates.h"
#include "stats/regression.h"

#include <math.h>
#include <string.h>

static json_t *golden;

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Numbers of a list, of lists of lists or of truths too; the caller frees them. */
static double *numbers(const json_t *list, size_t *n) {
    const size_t n_rows = json_array_size(list);
    const size_t k = json_is_array(json_array_get(list, 0)) ? json_array_size(json_array_get(list, 0)) : 1;
    double *out = kvl_calloc(n_rows * k, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n_rows * k; i++) {
        const json_t *value = json_array_get(list, i / k);
        value = json_is_array(value) ? json_array_get(value, i % k) : value;
        out[i] = json_is_true(value) ? 1 : json_number_value(value);
    }
    *n = n_rows;
    return out;
}

static void near(const char *what, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fmax(fabs(want), 1))) {
        fail_msg("%s: expected %.17g, found %.17g", what, want, got);
    }
}

static void near_all(const char *what, const double *got, const json_t *want, size_t n, double tolerance) {
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++) {
        near(what, got[i], json_number_value(json_array_get(want, i)), tolerance);
    }
}

static void same_estimate(kvl_estimate e, const json_t *want) {
    near("mean", e.mean, number(want, "mean"), 1e-12);
    near("low", e.low, number(want, "low"), 1e-12);
    near("high", e.high, number(want, "high"), 1e-12);
    near("p", e.p, number(want, "p"), 1e-14);
    assert_true(e.low < e.mean && e.mean < e.high);
}

static void test_bootstrap(void **state) {
    (void)state;
    const json_t *cases = json_object_get(golden, "bootstrap");
    assert_int_equal(json_array_size(cases), 4);
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c);
        size_t n = 0;
        double *num = numbers(json_object_get(one, "num"), &n);
        double *den = numbers(json_object_get(one, "den"), &n);
        kvl_resamples *r = NULL;
        assert_ok(kvl_resamples_create(&r, n, (size_t)number(one, "n_resamples"),
                                       (uint64_t)json_integer_value(json_object_get(one, "seed")),
                                       &assert_ok_err));
        same_estimate(kvl_bootstrap_ratio(r, num, den, number(one, "null")), json_object_get(one, "want"));
        if (!json_is_true(json_object_get(one, "is_ratio")) && number(one, "null") == 0) {
            size_t counts[64];
            for (size_t i = 0; i < n; i++) {
                counts[i] = (size_t)den[i];
            }
            same_estimate(kvl_bootstrap_mean(r, num, counts), json_object_get(one, "want"));
        }
        kvl_resamples_destroy(r);
        kvl_free(num);
        kvl_free(den);
    }
}

static void test_blocks(void **state) {
    (void)state;
    const json_t *one = json_object_get(golden, "blocks");
    const size_t n = (size_t)number(one, "n_tokens");
    double *x = kvl_calloc(n, sizeof *x);
    for (size_t t = 0; t < n; t++) {
        x[t] = (double)kvl_rng_unit(3, 0, t) - 0.5;
    }
    kvl_block_estimates e;
    assert_ok(kvl_bootstrap_blocks(&e, x, n, KVL_BLOCK_TOKENS, 200, 5, &assert_ok_err));
    const json_t *want = json_object_get(one, "want");
    same_estimate(e.half, json_object_get(want, "half"));
    same_estimate(e.blocks, json_object_get(want, "blocks"));
    same_estimate(e.twice, json_object_get(want, "twice"));
    assert_true(e.blocks.n_clusters == 31 && !e.blocks.is_few && e.half.n_clusters == 62 && !e.half.is_few);
    assert_true(e.twice.n_clusters == 15 && e.twice.is_few);
    const size_t too_short = 30 * KVL_BLOCK_TOKENS - 1; /* 29 blocks */
    assert_ok(kvl_bootstrap_blocks(&e, x, too_short, KVL_BLOCK_TOKENS, 200, 5, &assert_ok_err));
    assert_true(e.blocks.is_few && e.blocks.n_clusters == 29);
    assert_int_equal(kvl_equivalence(e.blocks, 10), KVL_UNDECIDED);
    assert_ok(kvl_bootstrap_blocks(&e, x, 100, KVL_BLOCK_TOKENS, 200, 5, &assert_ok_err));
    assert_true(e.blocks.is_few && !e.blocks.has_interval && isnan(e.blocks.p));
    assert_int_equal(kvl_bootstrap_blocks(&e, x, n, KVL_BLOCK_TOKENS - 1, 200, 5, NULL), KVL_E_USAGE);
    assert_int_equal(kvl_bootstrap_blocks(&e, x, 0, KVL_BLOCK_TOKENS, 200, 5, NULL), KVL_E_USAGE);
    kvl_free(x);
}

static void test_rates(void **state) {
    (void)state;
    size_t i = 0;
    const json_t *one = NULL;
    json_array_foreach(json_object_get(golden, "wilson"), i, one) {
        size_t hits = (size_t)json_integer_value(json_array_get(one, 0));
        size_t n = (size_t)json_integer_value(json_array_get(one, 1));
        kvl_estimate e = kvl_wilson(hits, n);
        near("Wilson, low", e.low, json_number_value(json_array_get(one, 2)), 1e-13);
        near("Wilson, high", e.high, json_number_value(json_array_get(one, 3)), 1e-13);
        assert_true(e.mean == (double)hits / (double)n && e.n_clusters == n && e.high > e.low);
    }
    assert_true(i == 5 && !kvl_wilson(0, 0).has_interval);
    assert_true(kvl_wilson(0, 30).high > 0.1 && kvl_wilson(30, 30).low < 0.9); /* a width at the ends too */
    json_array_foreach(json_object_get(golden, "mcnemar"), i, one) {
        double p = kvl_mcnemar((size_t)json_integer_value(json_array_get(one, 0)),
                               (size_t)json_integer_value(json_array_get(one, 1)));
        double want = json_number_value(json_array_get(one, 2));
        assert_true(fabs(p - want) <= 1e-10 * want);
    }
    assert_true(i == 6 && kvl_mcnemar(0, 0) == 1);
}

static void test_spearman(void **state) {
    (void)state;
    size_t c = 0;
    size_t n = 0;
    const json_t *one = NULL;
    json_array_foreach(json_object_get(golden, "spearman"), c, one) {
        double *x = numbers(json_object_get(one, "x"), &n);
        double *y = numbers(json_object_get(one, "y"), &n);
        near("Spearman", kvl_spearman(x, y, n), number(one, "want"), 1e-13);
        near("Spearman", kvl_spearman(x, x, n), 1, 1e-15);
        y[0] = (double)NAN;
        assert_true(isnan(kvl_spearman(x, y, n)));
        kvl_free(x);
        kvl_free(y);
    }
    assert_int_equal(c, 2);
    static const double flat[] = {1, 1, 1}, rising[] = {1, 2, 3};
    assert_true(isnan(kvl_spearman(flat, rising, 3)) && isnan(kvl_spearman(rising, rising, 1)));
}

static void test_least_squares(void **state) {
    (void)state;
    size_t c = 0;
    size_t n = 0;
    const json_t *one = NULL;
    double loo[64];
    kvl_fit fit;
    json_array_foreach(json_object_get(golden, "fits"), c, one) {
        const size_t k = json_array_size(json_object_get(one, "coefficients"));
        double *x = numbers(json_object_get(one, "x"), &n);
        double *y = numbers(json_object_get(one, "y"), &n);
        assert_ok(kvl_least_squares(&fit, loo, x, y, n, k, &assert_ok_err));
        near_all("coefficient", fit.coefficients, json_object_get(one, "coefficients"), k, 1e-12);
        near_all("left out", loo, json_object_get(one, "loo"), n, 1e-12);
        near("R^2", fit.r2, number(one, "r2"), 1e-12);
        near("R^2 left out", fit.r2_loo, number(one, "r2_loo"), 1e-12);
        assert_true(fit.r2_loo < fit.r2);

        kvl_err err = {0};
        for (size_t i = 0; i < n; i++) { /* the last column twice the first */
            x[i * k + k - 1] = 2 * x[i * k];
        }
        assert_int_equal(kvl_least_squares(&fit, NULL, x, y, n, k, &err), KVL_E_CHECK);
        assert_non_null(strstr(err.msg, "independent"));
        assert_int_equal(kvl_least_squares(&fit, NULL, x, y, k, k, NULL), KVL_E_USAGE);
        y[1] = (double)INFINITY;
        assert_int_equal(kvl_least_squares(&fit, NULL, x, y, n, 1, NULL), KVL_E_CHECK);
        x[0] = (double)NAN;
        y[1] = 0;
        assert_int_equal(kvl_least_squares(&fit, NULL, x, y, n, 1, NULL), KVL_E_CHECK);
        kvl_free(x);
        kvl_free(y);
    }
    assert_int_equal(c, 2);
    /* columns of very different size and nearly the same direction, an exact fit: y = 3 - 2 x, x about 1e6 */
    double x[10 * 2];
    double y[10];
    for (size_t i = 0; i < 10; i++) {
        x[2 * i] = 1;
        x[2 * i + 1] = 1e6 + (double)i;
        y[i] = 3 - 2 * x[2 * i + 1];
    }
    assert_ok(kvl_least_squares(&fit, loo, x, y, 10, 2, &assert_ok_err));
    near("slope", fit.coefficients[1], -2, 1e-9);
    near("R^2", fit.r2, 1, 1e-14);
    /* a row that alone carries a column cannot be foretold */
    for (size_t i = 0; i < 10; i++) {
        x[2 * i + 1] = i == 4;
        y[i] = (double)i;
    }
    assert_ok(kvl_least_squares(&fit, loo, x, y, 10, 2, &assert_ok_err));
    assert_true(isnan(loo[4]) && !isnan(loo[5]) && isnan(fit.r2_loo));
}

typedef struct token_arrays {
    double *nll, *nll_full;
    float floats[3][2048];
    bool truths[2][2048];
    kvl_token_list list;
} token_arrays;

static void load_tokens(token_arrays *a, const json_t *one) {
    static const char *const keys[] = {"entropy", "p_top", "kl", "is_hit", "is_same_top"};
    size_t n = 0;
    a->nll = numbers(json_object_get(one, "nll"), &n);
    a->nll_full = numbers(json_object_get(one, "nll_full"), &n);
    assert_in_range(n, 1, 2048);
    for (size_t k = 0; k < 5; k++) {
        double *x = numbers(json_object_get(one, keys[k]), &n);
        for (size_t i = 0; i < n; i++) {
            if (k < 3) {
                a->floats[k][i] = (float)x[i];
            } else {
                a->truths[k - 3][i] = x[i] != 0;
            }
        }
        kvl_free(x);
    }
    a->list = (kvl_token_list){a->nll,       a->nll_full,  a->floats[0], a->floats[1],
                               a->floats[2], a->truths[0], a->truths[1], n};
}

static void test_quality(void **state) {
    (void)state;
    const json_t *one = json_object_get(golden, "quality");
    const json_t *want = json_object_get(one, "want");
    token_arrays *a = kvl_calloc(1, sizeof *a);
    load_tokens(a, one);
    kvl_quality q;
    assert_ok(kvl_summarise_quality(&q, &a->list, &assert_ok_err));
    const struct {
        const char *name;
        double got;
    } means[] = {{"nll", q.nll},
                 {"nll_full", q.nll_full},
                 {"kl", q.kl},
                 {"same_top", q.same_top},
                 {"change", q.change},
                 {"change_rms", q.change_rms},
                 {"entropy", q.entropy},
                 {"nll_minus_entropy", q.nll_minus_entropy},
                 {"p_top", q.p_top},
                 {"accuracy", q.accuracy},
                 {"calibration_error", q.calibration_error},
                 {"nll_hit", q.nll_hit},
                 {"nll_miss", q.nll_miss}};
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        near(means[i].name, means[i].got, number(want, means[i].name), 1e-12);
    }
    near_all("tails of |dNLL|", q.delta_tails, json_object_get(want, "delta_tails"), KVL_N_TAILS, 1e-12);
    near_all("tails of KL", q.kl_tails, json_object_get(want, "kl_tails"), KVL_N_TAILS, 1e-12);
    near_all("change", q.change_points, json_object_get(want, "change_points"), KVL_N_CHANGES, 1e-12);

    const kvl_token_list only = {.nll = a->nll, .n = a->list.n};
    assert_ok(kvl_summarise_quality(&q, &only, &assert_ok_err));
    assert_true(q.nll > 0 && isnan(q.kl) && isnan(q.nll_full) && isnan(q.change_points[10]) &&
                isnan(q.accuracy));
    assert_true(isnan(q.same_top) && isnan(q.delta_tails[4]) && isnan(q.calibration_error) &&
                isnan(q.entropy));
    kvl_token_list bad = a->list;
    bad.n = 0;
    assert_int_equal(kvl_summarise_quality(&q, &bad, NULL), KVL_E_USAGE);
    kvl_alloc_fail_after(0);
    assert_int_equal(kvl_summarise_quality(&q, &a->list, NULL), KVL_E_NOMEM);
    kvl_alloc_fail_after(-1);
    a->floats[2][7] = NAN;
    kvl_err err = {0};
    assert_int_equal(kvl_summarise_quality(&q, &a->list, &err), KVL_E_CHECK);
    assert_string_equal(err.msg, "KL divergence of scored token 7: expected a finite number, found nan");
    kvl_free(a->nll);
    kvl_free(a->nll_full);
    kvl_free(a);
}

/* A cell against itself, and one that is always sure and always right. */
static void test_quality_of_the_same(void **state) {
    (void)state;
    static const double nll[] = {0.5, 3, 0.25};
    static const float zeros[3] = {0}, ones[] = {1, 1, 1};
    static const bool all[] = {true, true, true};
    const kvl_token_list same = {nll, nll, zeros, ones, zeros, all, all, 3};
    kvl_quality q;
    assert_ok(kvl_summarise_quality(&q, &same, &assert_ok_err));
    for (size_t i = 0; i < KVL_N_TAILS; i++) {
        assert_true(q.delta_tails[i] == 0 && q.kl_tails[i] == 0);
    }
    assert_true(q.change_points[0] == 0 && q.change_points[10] == 0 && q.change_rms == 0 && q.kl == 0);
    assert_true(q.same_top == 1 && q.accuracy == 1 && q.calibration_error == 0 && isnan(q.nll_miss));
    near("nll", q.nll, 1.25, 1e-15);
    /* 12 ln 2 nats over 12 bytes are one bit per byte */
    near("bits per byte", kvl_bits_per_byte(12 * log(2.0), 12), 1, 1e-15);
}

static void test_power(void **state) {
    (void)state;
    const json_t *one = json_object_get(golden, "power");
    size_t n = 0;
    double *sums = numbers(json_object_get(one, "sums"), &n);
    double *counts = numbers(json_object_get(one, "counts"), &n);
    size_t whole[64];
    for (size_t i = 0; i < n; i++) {
        whole[i] = (size_t)counts[i];
    }
    near("p", kvl_cluster_mean(sums, whole, n).p, number(one, "p"), 1e-12);
    near("smallest detectable", kvl_smallest_detectable(sums, whole, n), number(one, "smallest"), 1e-12);
    kvl_free(sums);
    kvl_free(counts);
}

/* Any order, many ties. */
static void test_sort(void **state) {
    (void)state;
    double x[1000];
    for (uint64_t kind = 0; kind < 4; kind++) {
        for (size_t n = 0; n <= 1000; n += n < 40 ? 1 : 320) {
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                double drawn = (double)kvl_rng_unit(n, kind, i);
                x[i] = kind == 0 ? drawn : kind == 1 ? floor(drawn * 3) : kind == 2 ? (double)i : -(double)i;
                sum += x[i];
            }
            kvl_sort(x, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(i == 0 || x[i - 1] <= x[i]);
                sum -= x[i];
            }
            assert_true(fabs(sum) < 1e-9);
        }
    }
    assert_true(isnan(kvl_quantile(x, 0, 0.5)));
}

int main(void) {
    golden = test_load_json("tests/golden/stats.json");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_spearman),
        cmocka_unit_test(test_least_squares),
        cmocka_unit_test(test_quality),
        cmocka_unit_test(test_quality_of_the_same),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_sort),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return n_failed;
}
