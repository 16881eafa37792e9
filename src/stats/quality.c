/* Summaries of tokens: means, tails, calibration. */
#include "stats/quality.h"

#include "base/alloc.h"
#include "stats/order.h"

#include <math.h>

const double kvl_tail_shares[KVL_N_TAILS] = {0.5, 0.9, 0.99, 0.999, 1};
const double kvl_change_shares[KVL_N_CHANGES] = {0.999, 0.99, 0.95, 0.9,  0.75, 0.5,
                                                 0.25,  0.1,  0.05, 0.01, 0.001};

static double mean_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static double mean_of_floats(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    return sum / (double)n;
}

static double share_of(const bool *x, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += x[i] ? 1 : 0;
    }
    return (double)count / (double)n;
}

/* Quantiles of x, which is left sorted. */
static void set_points(double *points, const double *shares, size_t n_points, double *x, size_t n) {
    kvl_sort(x, n);
    for (size_t i = 0; i < n_points; i++) {
        points[i] = kvl_quantile(x, n, shares[i]);
    }
}

static void summarise_change(kvl_quality *out, const kvl_token_list *t, double *scratch) {
    double squares = 0;
    out->nll_full = mean_of(t->nll_full, t->n);
    for (size_t i = 0; i < t->n; i++) {
        scratch[i] = fabs(t->nll[i] - t->nll_full[i]);
    }
    set_points(out->delta_tails, kvl_tail_shares, KVL_N_TAILS, scratch, t->n);
    for (size_t i = 0; i < t->n; i++) {
        scratch[i] = exp(-t->nll[i]) - exp(-t->nll_full[i]);
        squares += scratch[i] * scratch[i];
    }
    out->change = mean_of(scratch, t->n);
    out->change_rms = sqrt(squares / (double)t->n);
    set_points(out->change_points, kvl_change_shares, KVL_N_CHANGES, scratch, t->n);
}

static void summarise_kl(kvl_quality *out, const kvl_token_list *t, double *scratch) {
    out->kl = mean_of_floats(t->kl, t->n);
    for (size_t i = 0; i < t->n; i++) {
        scratch[i] = (double)t->kl[i];
    }
    set_points(out->kl_tails, kvl_tail_shares, KVL_N_TAILS, scratch, t->n);
}

static void summarise_hits(kvl_quality *out, const kvl_token_list *t) {
    double sums[2] = {0};
    size_t counts[2] = {0};
    for (size_t i = 0; i < t->n; i++) {
        sums[t->is_hit[i]] += t->nll[i];
        counts[t->is_hit[i]]++;
    }
    out->accuracy = share_of(t->is_hit, t->n);
    out->nll_hit = counts[1] > 0 ? sums[1] / (double)counts[1] : (double)NAN;
    out->nll_miss = counts[0] > 0 ? sums[0] / (double)counts[0] : (double)NAN;
}

static double calibration_error(const kvl_token_list *t) {
    double gaps[KVL_CALIBRATION_BINS] = {0}; /* sums of hit - p_top */
    for (size_t i = 0; i < t->n; i++) {
        double p = (double)t->p_top[i];
        double bin = fmin(fmax(ceil(p * KVL_CALIBRATION_BINS) - 1, 0), KVL_CALIBRATION_BINS - 1);
        gaps[(size_t)bin] += (t->is_hit[i] ? 1 : 0) - p;
    }
    double sum = 0;
    for (size_t bin = 0; bin < KVL_CALIBRATION_BINS; bin++) {
        sum += fabs(gaps[bin]);
    }
    return sum / (double)t->n;
}

/* NULL is in order. */
static kvl_status check(const double *x, const float *floats, size_t n, const char *what, kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        double value = x != NULL ? x[i] : floats != NULL ? (double)floats[i] : 0;
        if (!isfinite(value)) {
            return kvl_fail(err, KVL_E_CHECK, "%s of scored token %zu: expected a finite number, found %g",
                            what, i, value);
        }
    }
    return KVL_OK;
}

static void set_unknown(kvl_quality *out) {
    *out = (kvl_quality){.nll_full = (double)NAN,
                         .kl = (double)NAN,
                         .same_top = (double)NAN,
                         .change = (double)NAN,
                         .change_rms = (double)NAN,
                         .entropy = (double)NAN,
                         .nll_minus_entropy = (double)NAN,
                         .p_top = (double)NAN,
                         .accuracy = (double)NAN,
                         .calibration_error = (double)NAN,
                         .nll_hit = (double)NAN,
                         .nll_miss = (double)NAN};
    for (size_t i = 0; i < KVL_N_TAILS; i++) {
        out->delta_tails[i] = out->kl_tails[i] = (double)NAN;
    }
    for (size_t i = 0; i < KVL_N_CHANGES; i++) {
        out->change_points[i] = (double)NAN;
    }
}

kvl_status kvl_summarise_quality(kvl_quality *out, const kvl_token_list *tokens, kvl_err *err) {
    const kvl_token_list *t = tokens;
    if (t->n == 0) {
        return kvl_fail(err, KVL_E_USAGE,
                        "quality of predictions: expected a scored token or more, found none");
    }
    KVL_TRY(check(t->nll, NULL, t->n, "NLL", err));
    KVL_TRY(check(t->nll_full, NULL, t->n, "NLL with the full cache", err));
    KVL_TRY(check(NULL, t->entropy, t->n, "entropy", err));
    KVL_TRY(check(NULL, t->p_top, t->n, "top probability", err));
    KVL_TRY(check(NULL, t->kl, t->n, "KL divergence", err));
    double *scratch = kvl_alloc(t->n, sizeof *scratch);
    if (scratch == NULL) {
        return kvl_fail_nomem(err, "quality of predictions");
    }
    set_unknown(out);
    out->n = t->n;
    out->nll = mean_of(t->nll, t->n);
    if (t->nll_full != NULL) {
        summarise_change(out, t, scratch);
    }
    if (t->kl != NULL) {
        summarise_kl(out, t, scratch);
    }
    if (t->is_same_top != NULL) {
        out->same_top = share_of(t->is_same_top, t->n);
    }
    if (t->entropy != NULL) {
        out->entropy = mean_of_floats(t->entropy, t->n);
        out->nll_minus_entropy = out->nll - out->entropy;
    }
    if (t->p_top != NULL) {
        out->p_top = mean_of_floats(t->p_top, t->n);
    }
    if (t->is_hit != NULL) {
        summarise_hits(out, t);
    }
    if (t->is_hit != NULL && t->p_top != NULL) {
        out->calibration_error = calibration_error(t);
    }
    kvl_free(scratch);
    return KVL_OK;
}

double kvl_bits_per_byte(double sum_nll, size_t n_bytes) {
    return sum_nll / (0.69314718055994530942 * (double)n_bytes);
}
