/* Bootstrap, families, equivalence and power, against numpy, by hand and by simulation. */
#include "support.h"

#include "base/rng.h"
#include "stats/inference.h"
#include "stats/resample.h"

#include <math.h>
#include <stdio.h>

static double normal(uint64_t run, uint64_t stream, uint64_t i) {
    return kvl_rng_normal(run + 77, stream, i);
}

static kvl_resamples *resamples(size_t n, size_t n_resamples) {
    kvl_resamples *r = NULL;
    assert_ok(kvl_resamples_create(&r, n, n_resamples, 1, &assert_ok_err));
    return r;
}

enum { n_docs = 40, n_tokens = 256 };

/* AR(1) 0.5 plus an effect of the document, true mean 0; also the squares over all tokens. */
static double simulate(double *sums, uint64_t run) {
    double squares = 0;
    for (uint64_t d = 0; d < n_docs; d++) {
        double x = normal(run, 2 * d, n_tokens) / sqrt(0.75);
        double effect = 0.15 * normal(run, 2 * d + 1, 0);
        sums[d] = 0;
        for (uint64_t t = 0; t < n_tokens; t++) {
            x = 0.5 * x + normal(run, 2 * d, t);
            sums[d] += x + effect;
            squares += (x + effect) * (x + effect);
        }
    }
    return squares;
}

static void test_coverage(void **state) {
    (void)state;
    enum { n_runs = 400 };
    kvl_resamples *r = resamples(n_docs, 2000);
    size_t counts[n_docs];
    for (size_t d = 0; d < n_docs; d++) {
        counts[d] = n_tokens;
    }
    int n_covered = 0;
    int n_naive = 0;
    int n_p = 0;
    for (uint64_t run = 0; run < n_runs; run++) {
        double sums[n_docs];
        double squares = simulate(sums, run);
        kvl_estimate e = kvl_bootstrap_mean(r, sums, counts);
        const double n = n_docs * n_tokens;
        double half = 1.96 * sqrt((squares / n - e.mean * e.mean) / n);
        n_covered += e.low <= 0 && e.high >= 0;
        n_naive += fabs(e.mean) <= half;
        n_p += e.p <= 0.05;
    }
    kvl_resamples_destroy(r);
    printf("coverage: clustered %.3f, tokens as independent %.3f\n", n_covered / (double)n_runs,
           n_naive / (double)n_runs);
    assert_in_range(n_covered, (int)(0.90 * n_runs), (int)(0.98 * n_runs));
    assert_in_range(n_naive, (int)(0.40 * n_runs), (int)(0.65 * n_runs));
    assert_int_equal(n_p, n_runs - n_covered); /* p <= 0.05 exactly where the interval leaves out 0 */
}

/* 100 cells without any effect, with nothing in common, the worst case. */
static void test_null_family(void **state) {
    (void)state;
    enum { n_runs = 150, n_cells = 100 };
    kvl_resamples *r = resamples(n_docs, 40 * n_cells);
    size_t counts[n_docs];
    for (size_t d = 0; d < n_docs; d++) {
        counts[d] = 100;
    }
    int n_flagged = 0;
    int n_flagged_raw = 0;
    for (uint64_t run = 0; run < n_runs; run++) {
        double p[n_cells];
        double adjusted[n_cells];
        bool is_flagged = false;
        bool is_flagged_raw = false;
        for (uint64_t cell = 0; cell < n_cells; cell++) {
            double sums[n_docs];
            for (size_t d = 0; d < n_docs; d++) {
                sums[d] = 10 * normal(1000 + run, cell, d);
            }
            p[cell] = kvl_bootstrap_mean(r, sums, counts).p;
        }
        kvl_holm(adjusted, p, n_cells);
        for (size_t cell = 0; cell < n_cells; cell++) {
            is_flagged |= adjusted[cell] <= 0.05;
            is_flagged_raw |= p[cell] <= 0.05;
        }
        n_flagged += is_flagged;
        n_flagged_raw += is_flagged_raw;
    }
    kvl_resamples_destroy(r);
    printf("null family: %.3f of runs flagged, %.3f without Holm\n", n_flagged / (double)n_runs,
           n_flagged_raw / (double)n_runs);
    assert_in_range(n_flagged, 1, (int)(0.07 * n_runs));
    assert_in_range(n_flagged_raw, (int)(0.95 * n_runs), n_runs);
}

static void test_degenerate(void **state) {
    (void)state;
    enum { n = 30 };
    kvl_resamples *r = resamples(n, 1000);
    double none[n] = {0};
    double tenth[n];
    double damage[n];
    double half[n];
    size_t counts[n];
    for (size_t i = 0; i < n; i++) {
        counts[i] = 1 + i % 7;
        tenth[i] = 0;
        for (size_t k = 0; k < counts[i]; k++) {
            tenth[i] += 0.1;
        }
        damage[i] = 1 + normal(1, 2, i) * 0.3;
        half[i] = 0.5 * damage[i];
    }
    kvl_estimate e = kvl_bootstrap_mean(r, none, counts); /* identical cells */
    assert_true(e.mean == 0 && e.low == 0 && e.high == 0 && e.p == 1 && e.has_interval && !e.is_few);
    e = kvl_bootstrap_mean(r, tenth, counts); /* constant data: no width */
    assert_true(e.low == e.mean && e.high == e.mean && fabs(e.mean - 0.1) < 1e-15);
    assert_true(fabs(e.p - 2.0 / 1001) < 1e-15); /* never 0 */
    for (size_t i = 0; i < n; i++) {
        damage[i] = (double)counts[i];
    }
    e = kvl_bootstrap_ratio(r, tenth, damage, 0.1); /* sums of tenths are not exact, equal they are */
    assert_true(e.low == e.mean && e.high == e.mean && e.p == 1);
    for (size_t i = 0; i < n; i++) {
        damage[i] = 1 + normal(1, 2, i) * 0.3;
    }
    e = kvl_bootstrap_ratio(r, half, damage, 0.5);
    assert_true(e.low == e.mean && e.high == e.mean && e.p == 1);

    /* a denominator that resampling takes through 0: a mean, but nothing more */
    for (size_t i = 0; i < n; i++) {
        damage[i] = (double)i - 13.07; /* never 0 itself */
    }
    e = kvl_bootstrap_ratio(r, half, damage, 0);
    assert_true(isfinite(e.mean) && !e.has_interval && isnan(e.p) && e.low == e.mean && e.high == e.mean);
    for (size_t i = 0; i < n; i++) {
        damage[i] = (double)i - 14.5;
    }
    e = kvl_bootstrap_ratio(r, half, damage, 0);
    assert_true(isnan(e.mean) && !e.has_interval && isnan(e.p));
    /* one that is negative throughout is as good as a positive one */
    for (size_t i = 0; i < n; i++) {
        damage[i] = -1 - (double)(i % 3);
    }
    e = kvl_bootstrap_ratio(r, half, damage, 0);
    assert_true(e.has_interval && e.low < e.mean && e.mean < e.high && e.high < 0);
    half[3] = (double)NAN;
    e = kvl_bootstrap_ratio(r, half, damage, 0);
    assert_true(!e.has_interval && isnan(e.p) && isnan(e.mean));
    kvl_resamples_destroy(r);
}

static void test_few(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 19, 20};
    double sums[20];
    size_t counts[20];
    for (size_t i = 0; i < 20; i++) {
        sums[i] = 1 + (double)i;
        counts[i] = 2;
    }
    for (size_t k = 0; k < 4; k++) {
        kvl_resamples *r = resamples(sizes[k], 200);
        kvl_estimate e = kvl_bootstrap_mean(r, sums, counts);
        kvl_estimate linear = kvl_cluster_mean(sums, counts, sizes[k]);
        assert_true(e.is_few == (sizes[k] < 20) && linear.is_few == e.is_few);
        assert_true(e.has_interval == (sizes[k] > 1) && e.n_clusters == sizes[k]);
        assert_true(isnan(e.p) == (sizes[k] < 2) && isnan(linear.p) == (sizes[k] < 2));
        assert_true(kvl_equivalence(e, 1000) == (sizes[k] < 20 ? KVL_UNDECIDED : KVL_EQUIVALENT));
        kvl_resamples_destroy(r);
    }
    kvl_resamples *r = NULL;
    assert_int_equal(kvl_resamples_create(&r, 0, 100, 1, NULL), KVL_E_USAGE);
    assert_int_equal(kvl_resamples_create(&r, 65536, 100, 1, NULL), KVL_E_USAGE);
    assert_int_equal(kvl_resamples_create(&r, 20, 39, 1, NULL), KVL_E_USAGE);
    for (int64_t fail = 0; fail < 7; fail++) {
        kvl_alloc_fail_after(fail);
        assert_int_equal(kvl_resamples_create(&r, 20, 100, 1, NULL), KVL_E_NOMEM);
        assert_null(r);
    }
    kvl_alloc_fail_after(-1);
    kvl_resamples_destroy(NULL);
}

/* Student's t: sums of test_interval_by_hand, mean 1.5 and error 0.763763: t = 1.963961, df 2, p = t / sqrt(t
 * t + 2) from one, 0.188506 */
static void test_p_of_t(void **state) {
    (void)state;
    double sums[3] = {1, 2, 6};
    size_t counts[3] = {2, 2, 2};
    kvl_estimate e = kvl_cluster_mean(sums, counts, 3);
    double t = 1.5 / (sqrt(14 * 1.5) / 6);
    assert_true(fabs(e.p - (1 - t / sqrt(t * t + 2))) < 1e-12);
    double none[3] = {0};
    e = kvl_cluster_mean(none, counts, 3);
    assert_true(e.p == 1 && e.low == 0 && e.high == 0);
}

static void test_holm(void **state) {
    (void)state;
    const double p[] = {0.01, 0.04, (double)NAN, 0.03, 0.005};
    const double want[] = {0.03, 0.06, (double)NAN, 0.06, 0.02};
    double got[5];
    kvl_holm(got, p, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(isnan(want[i]) ? isnan(got[i]) : fabs(got[i] - want[i]) < 1e-15);
    }
    static const double ties[] = {0.02, 0.5, 0.02, 0.9};
    static const double want_ties[] = {0.08, 1, 0.08, 1};
    kvl_holm(got, ties, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(got[i] - want_ties[i]) < 1e-15);
    }
}

static void test_equivalence(void **state) {
    (void)state;
    kvl_estimate e = {.has_interval = true, .n_clusters = 40};
    static const struct {
        double low, high;
        kvl_verdict want;
    } cases[] = {{-0.009, 0.009, KVL_EQUIVALENT}, {0.002, 0.009, KVL_EQUIVALENT}, {-0.3, 0.3, KVL_UNDECIDED},
                 {-0.001, 0.01, KVL_UNDECIDED},   {0.005, 0.02, KVL_DIFFERENT},   {-0.2, -0.1, KVL_DIFFERENT},
                 {0, 0, KVL_EQUIVALENT},          {-0.01, 0, KVL_UNDECIDED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e.low = cases[i].low;
        e.high = cases[i].high;
        assert_string_equal(kvl_verdict_name(kvl_equivalence(e, KVL_MARGIN_NATS)),
                            kvl_verdict_name(cases[i].want));
    }
    e.has_interval = false;
    assert_int_equal(kvl_equivalence(e, KVL_MARGIN_NATS), KVL_UNDECIDED);
}

/* The effect that the formula calls detectable is found in 80 % of runs, and 20 % less or more clearly less
 * or more often: so the effect found in exactly 80 % is within 20 % of it. */
static void test_power(void **state) {
    (void)state;
    enum { n_runs = 1000, n = 30 };
    size_t counts[n];
    int n_found[3] = {0};
    double pilots = 0;
    double sums[n];
    for (size_t i = 0; i < n; i++) {
        counts[i] = 50 + 10 * (i % 5);
    }
    for (uint64_t run = 0; run < n_runs; run++) { /* the pilots are other texts of the same kind */
        for (size_t i = 0; i < n; i++) {
            sums[i] = (double)counts[i] * 0.3 * normal(9000 + run, 1, i);
        }
        pilots += kvl_smallest_detectable(sums, counts, n) / n_runs;
    }
    for (uint64_t run = 0; run < n_runs; run++) {
        for (int k = 0; k < 3; k++) {
            for (size_t i = 0; i < n; i++) {
                double effect = pilots * (0.8 + 0.2 * k);
                sums[i] = (double)counts[i] * (0.3 * normal(run, 1, i) + effect);
            }
            n_found[k] += kvl_cluster_mean(sums, counts, n).p <= 0.05;
        }
    }
    printf("power at 0.8, 1, 1.2 of the smallest detectable effect: %.3f %.3f %.3f\n",
           n_found[0] / (double)n_runs, n_found[1] / (double)n_runs, n_found[2] / (double)n_runs);
    assert_true(n_found[0] < 0.8 * n_runs && n_found[2] > 0.8 * n_runs);
    assert_in_range(n_found[1], (int)(0.75 * n_runs), (int)(0.85 * n_runs));
    assert_true(isnan(kvl_smallest_detectable(sums, counts, 1)));
}

/* A difference of ratios: of a thing and itself exactly 0 without width; with one denominator the ratio of
 * the difference, interval and p included. */
static void test_difference(void **state) {
    (void)state;
    enum { n = 25 };
    double a[n], b[n], less[n], den[n], other[n];
    kvl_resamples *r = NULL;
    for (size_t i = 0; i < n; i++) {
        den[i] = 10 + (double)(i % 4);
        other[i] = 3 + (double)(i % 3);
        a[i] = den[i] * (1 + 0.2 * normal(50, 0, i));
        b[i] = den[i] * 0.3 * normal(50, 1, i);
        less[i] = a[i] - b[i];
    }
    assert_ok(kvl_resamples_create(&r, n, 2000, 3, NULL));
    const kvl_estimate none = kvl_bootstrap_difference(r, a, den, a, den, 0);
    assert_true(none.mean == 0 && none.low == 0 && none.high == 0 && none.p >= 1);
    const kvl_estimate d = kvl_bootstrap_difference(r, a, den, b, den, 0.9);
    const kvl_estimate same = kvl_bootstrap_ratio(r, less, den, 0.9);
    assert_true(fabs(d.mean - same.mean) < 1e-12 && fabs(d.low - same.low) < 1e-12 &&
                fabs(d.high - same.high) < 1e-12 && fabs(d.p - same.p) < 1e-12);
    /* other denominators: the means are subtracted, and the width is that of both */
    const kvl_estimate apart = kvl_bootstrap_difference(r, a, den, b, other, 0);
    const kvl_estimate left = kvl_bootstrap_ratio(r, a, den, 0);
    const kvl_estimate right = kvl_bootstrap_ratio(r, b, other, 0);
    assert_true(fabs(apart.mean - (left.mean - right.mean)) < 1e-12);
    assert_true(apart.high - apart.low > left.high - left.low);
    kvl_resamples_destroy(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_degenerate),  cmocka_unit_test(test_few),
        cmocka_unit_test(test_p_of_t),      cmocka_unit_test(test_holm),
        cmocka_unit_test(test_equivalence), cmocka_unit_test(test_power),
        cmocka_unit_test(test_coverage),    cmocka_unit_test(test_null_family),
        cmocka_unit_test(test_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
