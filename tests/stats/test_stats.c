/* Intervals and stages against hand calculations, tables and a simulation. */
#include "support.h"

#include "base/rng.h"
#include "stats/stats.h"

#include <math.h>

static void test_t_quantiles(void **state) {
    (void)state;
    /* tables of Student's t, 0.975 */
    assert_true(fabs(kvl_t975(1) - 12.7062) < 1e-3);
    assert_true(fabs(kvl_t975(2) - 4.30265) < 1e-4);
    assert_true(fabs(kvl_t975(4) - 2.77645) < 1e-4);
    assert_true(fabs(kvl_t975(9) - 2.26216) < 1e-4);
    assert_true(fabs(kvl_t975(30) - 2.04227) < 1e-4);
    assert_true(fabs(kvl_t975(1000) - 1.96234) < 1e-4);
}

/* Two windows, 511 tokens of 2.0 and 37 of 4.0: (1022 + 148) / 548 = 2.135036...; the mean of means would
 * be 3. */
static void test_pooled_not_averaged(void **state) {
    (void)state;
    double sums[2] = {1022, 148};
    size_t counts[2] = {511, 37};
    kvl_estimate e = kvl_cluster_mean(sums, counts, 2);
    assert_true(fabs(e.mean - 2.1350364963503650) < 1e-14);
    assert_true(fabs(exp(e.mean) - 8.457355) < 1e-5);
}

/* Sums 1, 2, 6 of 2, 2, 2 items: mean 1.5, residuals -2, -1, 3, squares 14; error sqrt(14 * 3 / 2) / 6 =
 * 0.763763; t(2) = 4.302653: half width 3.286207. */
static void test_interval_by_hand(void **state) {
    (void)state;
    double sums[3] = {1, 2, 6};
    size_t counts[3] = {2, 2, 2};
    kvl_estimate e = kvl_cluster_mean(sums, counts, 3);
    assert_true(e.has_interval && e.n_clusters == 3);
    assert_true(fabs(e.mean - 1.5) < 1e-15);
    assert_true(fabs(e.high - e.mean - 3.286207) < 1e-5);
    assert_true(fabs(e.mean - e.low - 3.286207) < 1e-5);
}

static void test_degenerate(void **state) {
    (void)state;
    double same[3] = {2, 4, 6};
    size_t counts[3] = {1, 2, 3};
    kvl_estimate e = kvl_cluster_mean(same, counts, 3);
    assert_true(e.mean == 2 && e.low == 2 && e.high == 2); /* constant data: no width */
    e = kvl_cluster_mean(same, counts, 1);
    assert_false(e.has_interval);
    assert_true(e.low == 2 && e.high == 2);
}

static double normal(uint64_t seed, uint64_t stream, uint64_t i) {
    double sum = 0;
    for (uint64_t k = 0; k < 12; k++) {
        sum += (double)kvl_rng_unit(seed, stream, 12 * i + k);
    }
    return sum - 6;
}

/* 20 documents of 256 tokens, AR(1) 0.5 plus a document effect: the interval must cover its nominal share. */
static void test_coverage(void **state) {
    (void)state;
    enum { n_runs = 1000, n_docs = 20, n_tok = 64 };
    int n_covered = 0;
    for (uint64_t run = 0; run < n_runs; run++) {
        double sums[n_docs];
        size_t counts[n_docs];
        for (uint64_t d = 0; d < n_docs; d++) {
            double x = 0;
            sums[d] = 0;
            counts[d] = n_tok / 2 + kvl_rng_draw(run, 5, d) % n_tok;
            for (uint64_t t = 0; t < counts[d]; t++) {
                x = 0.5 * x + normal(run, 100 + d, t);
                sums[d] += x + 0.3 * normal(run, 6, d);
            }
        }
        kvl_estimate e = kvl_cluster_mean(sums, counts, n_docs);
        n_covered += e.low <= 0 && e.high >= 0;
    }
    assert_in_range(n_covered, 900, 980);
}

/* Curves over 6 samples of 100 tokens: mean level per point, and a small deviation that differs between
 * samples. */
static void check_stages(const double *level, size_t n, double noise, const char *want, size_t want_best) {
    double sums[16 * 6];
    size_t counts[6];
    bool is_valid[16];
    kvl_stage stages[16];
    size_t best = 99;
    for (size_t p = 0; p < n; p++) {
        is_valid[p] = level[p] > 0;
        for (size_t i = 0; i < 6; i++) {
            counts[i] = 100;
            sums[p * 6 + i] = 100 * level[p] + noise * normal(p, i, 0) + 30 * (double)i;
        }
    }
    kvl_find_stages(stages, &best, sums, counts, is_valid, n, 6);
    assert_int_equal(best, want_best);
    for (size_t p = 0; p < n; p++) {
        static const char letters[] = "-EPBD";
        if (letters[stages[p]] != want[p]) {
            fail_msg("%s: point %zu is %s", want, p, kvl_stage_name(stages[p]));
        }
    }
}

static void test_stages(void **state) {
    (void)state;
    static const double u[] = {9, 6, 4, 3, 5, 8};
    static const double falling[] = {9, 8, 7, 6};
    static const double rising[] = {6, 7, 8, 9};
    static const double flat[] = {5, 5, 5, 5};
    static const double with_dead[] = {-1, 9, -1, 5, 5, -1, 9};
    static const double none[] = {-1, -1};
    check_stages(u, 6, 0.1, "EEEBDD", 3);
    check_stages(falling, 4, 0.1, "EEEB", 3);
    check_stages(rising, 4, 0.1, "BDDD", 0);
    check_stages(flat, 4, 0, "BBBB", 0);
    check_stages(with_dead, 7, 0, "-E-BB-D", 3);
    check_stages(none, 2, 0, "--", 2);
}

/* A slope whose neighbours cannot be told apart but whose ends can: best range, then plateau. */
static void test_plateau(void **state) {
    (void)state;
    double sums[3 * 4];
    size_t counts[4] = {1, 1, 1, 1};
    bool is_valid[3] = {true, true, true};
    kvl_stage stages[3];
    size_t best = 0;
    /* differences to the best: 1.5 +- 0.3 and 0.9 +- 1; the step between the two: 0.6 with samples of both
     * signs */
    static const double far[] = {1.2, 1.8, 1.5, 1.5}, near[] = {-0.4, 2.2, 1.4, 0.4};
    for (size_t i = 0; i < 4; i++) {
        sums[i] = 5 + far[i];
        sums[4 + i] = 5 + near[i];
        sums[8 + i] = 5;
    }
    kvl_find_stages(stages, &best, sums, counts, is_valid, 3, 4);
    assert_int_equal(best, 2);
    assert_int_equal(stages[1], KVL_STAGE_BEST);
    assert_int_equal(stages[0], KVL_STAGE_PLATEAU);
}

static void test_one_sample_claims_nothing(void **state) {
    (void)state;
    double sums[3] = {9, 3, 8};
    size_t counts[1] = {1};
    bool is_valid[3] = {true, true, true};
    kvl_stage stages[3];
    size_t best = 0;
    kvl_find_stages(stages, &best, sums, counts, is_valid, 3, 1);
    assert_int_equal(best, 1);
    assert_int_equal(stages[0], KVL_STAGE_PLATEAU);
    assert_int_equal(stages[1], KVL_STAGE_BEST);
    assert_int_equal(stages[2], KVL_STAGE_PLATEAU);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t_quantiles),      cmocka_unit_test(test_pooled_not_averaged),
        cmocka_unit_test(test_interval_by_hand), cmocka_unit_test(test_degenerate),
        cmocka_unit_test(test_coverage),         cmocka_unit_test(test_stages),
        cmocka_unit_test(test_plateau),          cmocka_unit_test(test_one_sample_claims_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
