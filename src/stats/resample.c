/* The bootstrap of resample.h: one pass over a matrix of multiplicities for each contrast. */
#include "stats/resample.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "stats/distribution.h"
#include "stats/order.h"

#include <math.h>
#include <string.h>

enum { min_resamples = 40, max_resamples = 10000000, max_clusters = UINT16_MAX };
static const uint64_t purpose = 0x626f6f7473747261; /* "bootstra": apart from other draws of the seed */

struct kvl_resamples {
    size_t n;            /* clusters */
    size_t n_resamples;  /* B */
    uint16_t *times;     /* [n, B] how often list b holds cluster i: lists side by side, so that sums over
                            clusters run in order for many lists at once */
    double *widen;       /* [B / 2] w(1), w(2), ... */
    double *top;         /* [B] scratch */
    double *bottom;      /* [B] resampled sums of `summed`: many contrasts share their counts */
    double *summed;      /* [n] */
    double *other;       /* [B] scratch */
    double *residual;    /* [n] scratch */
    double *denominator; /* [n] scratch */
};

static void draw(kvl_resamples *r, uint64_t seed) {
    for (size_t b = 0; b < r->n_resamples; b++) {
        for (size_t j = 0; j < r->n; j++) {
            r->times[(kvl_rng_draw(seed ^ purpose, b, j) % r->n) * r->n_resamples + b]++;
        }
    }
}

static void set_widening(kvl_resamples *r) {
    const double df = (double)r->n - 1;
    const double bessel = sqrt((double)r->n / df);
    double t = 10;
    double z = 4;
    for (size_t k = 1; k <= r->n_resamples / 2; k++) {
        double share = (double)k / (double)(r->n_resamples + 1);
        t = kvli_t_quantile(share, df, t);
        z = kvli_normal_quantile(share, z);
        r->widen[k - 1] = bessel * t / z;
    }
}

kvl_status kvl_resamples_create(kvl_resamples **out, size_t n_clusters, size_t n_resamples, uint64_t seed,
                                kvl_err *err) {
    *out = NULL;
    if (n_clusters < 1 || n_clusters > max_clusters) {
        return kvl_fail(err, KVL_E_USAGE, "clusters of a bootstrap: expected 1 to %d, found %zu",
                        max_clusters, n_clusters);
    }
    if (n_resamples < min_resamples || n_resamples > max_resamples) {
        return kvl_fail(err, KVL_E_USAGE, "resamples of a bootstrap: expected %d to %d, found %zu",
                        min_resamples, max_resamples, n_resamples);
    }
    kvl_resamples *r = kvl_calloc(1, sizeof *r);
    if (r == NULL) {
        return kvl_fail_nomem(err, "resamples");
    }
    r->n = n_clusters;
    r->n_resamples = n_resamples;
    r->times = kvl_calloc(n_clusters * n_resamples, sizeof *r->times);
    r->widen = kvl_calloc(n_resamples / 2, sizeof *r->widen);
    r->top = kvl_calloc(n_resamples, sizeof *r->top);
    r->bottom = kvl_calloc(n_resamples, sizeof *r->bottom);
    r->summed = kvl_calloc(n_clusters, sizeof *r->summed);
    r->other = kvl_calloc(n_resamples, sizeof *r->other);
    r->residual = kvl_calloc(n_clusters, sizeof *r->residual);
    r->denominator = kvl_calloc(n_clusters, sizeof *r->denominator);
    if (r->times == NULL || r->widen == NULL || r->top == NULL || r->bottom == NULL || r->summed == NULL ||
        r->other == NULL || r->residual == NULL || r->denominator == NULL) {
        kvl_resamples_destroy(r);
        return kvl_fail_nomem(err, "resamples");
    }
    if (n_clusters >= 2) {
        draw(r, seed);
        set_widening(r);
    }
    *out = r;
    return KVL_OK;
}

void kvl_resamples_destroy(kvl_resamples *r) {
    if (r == NULL) {
        return;
    }
    kvl_free(r->times);
    kvl_free(r->widen);
    kvl_free(r->top);
    kvl_free(r->bottom);
    kvl_free(r->summed);
    kvl_free(r->other);
    kvl_free(r->residual);
    kvl_free(r->denominator);
    kvl_free(r);
}

/* num - ratio den; exactly 0 everywhere where what is left is rounding. */
static void set_residuals(const kvl_resamples *r, const double *num, const double *den, double ratio) {
    bool is_constant = true;
    for (size_t i = 0; i < r->n; i++) {
        r->residual[i] = num[i] - ratio * den[i];
        is_constant &= fabs(r->residual[i]) <= 1e-13 * fabs(num[i]);
    }
    for (size_t i = 0; is_constant && i < r->n; i++) {
        r->residual[i] = 0;
    }
}

/* sums[b] = sum over clusters of x, each as often as list b holds it. */
static void resample_sums(double *restrict sums, const kvl_resamples *r, const double *x) {
    for (size_t b = 0; b < r->n_resamples; b++) {
        sums[b] = 0;
    }
    for (size_t i = 0; i < r->n; i++) {
        const uint16_t *restrict times = r->times + i * r->n_resamples;
        const double value = x[i];
        for (size_t b = 0; b < r->n_resamples; b++) {
            sums[b] += times[b] * value;
        }
    }
}

/* Turns r->top, the resampled sums of residuals, into deviations; false where a resampled denominator has
 * lost the sign of the whole, or a number is not finite. */
static bool set_deviations(const kvl_resamples *r, double whole) {
    bool is_defined = true;
    for (size_t b = 0; b < r->n_resamples; b++) {
        is_defined &= r->bottom[b] * whole > 0;
        r->top[b] /= r->bottom[b];
        is_defined &= isfinite(r->top[b]) != 0;
    }
    return is_defined;
}

static double p_of_gap(const kvl_resamples *r, double gap) {
    const size_t half = r->n_resamples / 2;
    const double *d = r->top;
    size_t low = 0;
    size_t high = 0;
    while (low < half && r->widen[low] * d[low] <= gap) {
        low++;
    }
    while (high < half && r->widen[high] * d[r->n_resamples - 1 - high] >= gap) {
        high++;
    }
    double share = (double)(1 + kvl_min_size(low, high)) / (double)(r->n_resamples + 1);
    return fmin(2 * share, 1);
}

/* The ratio by itself, so far without an interval, and its deviations in r->top; false: it has none. */
static bool deviate(const kvl_resamples *r, double *ratio, const double *num, const double *den) {
    double top = 0;
    double bottom = 0;
    for (size_t i = 0; i < r->n; i++) {
        top += num[i];
        bottom += den[i];
    }
    *ratio = bottom == 0 ? (double)NAN : top / bottom;
    if (r->n < 2 || !isfinite(*ratio)) {
        return false;
    }
    set_residuals(r, num, den, *ratio);
    resample_sums(r->top, r, r->residual);
    if (memcmp(r->summed, den, r->n * sizeof *den) != 0) { /* at first zeros, whose sums are there too */
        resample_sums(r->bottom, r, den);
        memcpy(r->summed, den, r->n * sizeof *den);
    }
    return set_deviations(r, bottom);
}

/* A statistic whose deviations, if it has any, are in r->top. */
static kvl_estimate estimate_of(const kvl_resamples *r, double mean, bool has_deviations, double null) {
    kvl_estimate e = {.mean = mean,
                      .low = mean,
                      .high = mean,
                      .p = (double)NAN,
                      .n_clusters = r->n,
                      .is_few = r->n < KVL_FEW_CLUSTERS};
    if (!has_deviations) {
        return e;
    }
    kvl_sort(r->top, r->n_resamples);
    const size_t k = (size_t)(0.025 * (double)(r->n_resamples + 1));
    e.has_interval = true;
    e.low = e.mean + r->widen[k - 1] * r->top[k - 1];
    e.high = e.mean + r->widen[k - 1] * r->top[r->n_resamples - k];
    double gap = null - e.mean;
    e.p = p_of_gap(r, fabs(gap) <= 1e-13 * fabs(e.mean) ? 0 : gap);
    return e;
}

kvl_estimate kvl_bootstrap_ratio(const kvl_resamples *r, const double *num, const double *den, double null) {
    double ratio = 0;
    const bool has_deviations = deviate(r, &ratio, num, den);
    return estimate_of(r, ratio, has_deviations, null);
}

kvl_estimate kvl_bootstrap_difference(const kvl_resamples *r, const double *num_a, const double *den_a,
                                      const double *num_b, const double *den_b, double null) {
    double a = 0;
    double b = 0;
    bool has_deviations = deviate(r, &b, num_b, den_b);
    memcpy(r->other, r->top, r->n_resamples * sizeof *r->other);
    has_deviations &= deviate(r, &a, num_a, den_a);
    for (size_t i = 0; i < r->n_resamples && has_deviations; i++) {
        r->top[i] -= r->other[i];
    }
    return estimate_of(r, a - b, has_deviations, null);
}

kvl_estimate kvl_bootstrap_mean(const kvl_resamples *r, const double *sums, const size_t *counts) {
    for (size_t i = 0; i < r->n; i++) {
        r->denominator[i] = (double)counts[i];
    }
    return kvl_bootstrap_ratio(r, sums, r->denominator, 0);
}
