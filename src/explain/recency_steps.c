/* Step by step: what does the excess NLL go with, missing recent tokens or the norms of what went? */
#include "explain/recency.h"

#include <math.h>

/* Share of lags 1 to 4 that is missing, the nearest weighing most: 8, 4, 2, 1 fifteenths. */
static double missing(const kvl_step *s) {
    double sum = 0;
    double weight = 8.0 / 15;
    for (int j = 0; j < KVL_STEP_LAGS; j++) {
        sum += weight * (1 - (double)s->lag[j]);
        weight /= 2;
    }
    return sum;
}

static double rank(const kvl_step *s) { return (double)s->evicted_rank; }

/* One step of all texts: x and the excess NLL, less their means over the texts that have the step; so nothing
 * is seen that only goes along with the length of the text so far. */
typedef struct step_means {
    double n, x, excess;
} step_means;

/* The steps of a text that count: affected, and of a known x. */
static bool counts(const kvl_evidence *ev, const kvl_account *a, size_t i, kvl_step_value *x) {
    return i < a->n && a->first + i >= ev->studies[KVL_STUDY_STEP].first_affected && !isnan(x(&a->steps[i]));
}

static double excess_of(const kvl_arm *arm, const kvl_arm *full, size_t text, size_t i) {
    return arm->texts[text].steps[i].nll - full->texts[text].steps[i].nll;
}

static step_means mean_step(const kvl_evidence *ev, const kvl_arm *arm, const kvl_arm *full, size_t i,
                            kvl_step_value *x) {
    step_means m = {0};
    for (size_t t = 0; t < ev->studies[KVL_STUDY_STEP].n_texts; t++) {
        if (counts(ev, &arm->texts[t], i, x)) {
            m.n++;
            m.x += x(&arm->texts[t].steps[i]);
            m.excess += excess_of(arm, full, t, i);
        }
    }
    m.x /= m.n;
    m.excess /= m.n;
    return m;
}

/* Sums whose share is the change of the excess NLL that goes with one standard deviation of x. */
static kvl_sums slope(const kvl_evidence *ev, const kvl_arm *arm, const kvl_arm *full, kvl_step_value *x) {
    kvl_sums s = {.study = KVL_STUDY_STEP, .n = ev->studies[KVL_STUDY_STEP].n_texts};
    double n = 0;
    double squares = 0;
    size_t n_steps = 0;
    for (size_t t = 0; t < s.n; t++) {
        n_steps = kvl_max_size(n_steps, arm->texts[t].n);
    }
    for (size_t i = 0; i < n_steps; i++) {
        const step_means m = mean_step(ev, arm, full, i, x);
        for (size_t t = 0; t < s.n; t++) {
            if (counts(ev, &arm->texts[t], i, x)) {
                const double d = x(&arm->texts[t].steps[i]) - m.x;
                s.num[t] += d * (excess_of(arm, full, t, i) - m.excess);
                s.den[t] += d * d;
                squares += d * d;
                n++;
            }
        }
    }
    const double deviation = n > 0 ? sqrt(squares / n) : 0;
    s.is_missing = !(deviation > 1e-9);
    for (size_t t = 0; t < s.n; t++) {
        s.num[t] *= deviation;
    }
    return s;
}

void kvli_judge_steps(const kvl_evidence *ev, const char *policy, kvl_judgement *out) {
    const kvl_arm *arm = kvl_evidence_find(ev, KVL_STUDY_STEP, policy);
    const kvl_arm *full = kvl_evidence_find(ev, KVL_STUDY_STEP, "none");
    kvl_sums by_lags = {.is_missing = true};
    kvl_sums by_rank = {.is_missing = true};
    if (arm != NULL && full != NULL) {
        by_lags = slope(ev, arm, full, missing);
        by_rank = slope(ev, arm, full, rank);
    }
    kvl_find(out, kvl_sums_mean(ev, &by_lags, 0), "nats/token per sd", KVL_ABOVE, 0, false,
             "(h) steps of 0.95: excess NLL with one standard deviation more of lags 1-4 missing");
    kvl_find(out, kvl_sums_mean(ev, &by_rank, 0), "nats/token per sd", KVL_NO_SIDE, 0, false,
             "(h) the same with the norm rank of what was evicted last");
}
