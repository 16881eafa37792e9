/* Token by token: what does the NLL go with, missing recent tokens or the norms of what went?
 *
 * The settings of the curve are compared on one and the same token, so that nothing of the token itself is
 * seen: at that step one has just compressed, another has not.
 */
#include "explain/arms.h"
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

/* A token under the settings of the curve: what differs between them is not the token. */
typedef struct token {
    double lags[KVLI_N_CURVE], rank[KVLI_N_CURVE], nll[KVLI_N_CURVE]; /* [n] less their means */
    size_t n;
} token;

static void subtract_mean(double *x, size_t n) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] -= mean;
    }
}

/* Settings that had compressed before the step; n is below 2 where nothing can be compared. */
static token read_token(const kvl_arm *const *arms, size_t text, size_t i) {
    token t = {.n = 0};
    for (size_t k = 0; k < KVLI_N_CURVE; k++) {
        const kvl_step *s = &arms[k]->texts[text].steps[i];
        if (!isnan(s->evicted_rank)) {
            t.lags[t.n] = missing(s);
            t.rank[t.n] = (double)s->evicted_rank;
            t.nll[t.n++] = s->nll;
        }
    }
    subtract_mean(t.lags, t.n);
    subtract_mean(t.rank, t.n);
    subtract_mean(t.nll, t.n);
    return t;
}

typedef struct moments {
    double n, xx, xz, zz;
} moments;

/* Of x and z over all tokens; x is the one whose slope is sought. */
static moments find_moments(const kvl_arm *const *arms, size_t n_texts, bool is_rank) {
    moments m = {0};
    for (size_t t = 0; t < n_texts; t++) {
        for (size_t i = 0; i < arms[0]->texts[t].n; i++) {
            const token at = read_token(arms, t, i);
            const double *x = is_rank ? at.rank : at.lags;
            const double *z = is_rank ? at.lags : at.rank;
            for (size_t k = 0; k < at.n; k++) {
                m.n++;
                m.xx += x[k] * x[k];
                m.xz += x[k] * z[k];
                m.zz += z[k] * z[k];
            }
        }
    }
    return m;
}

/* Sums whose share is the change of NLL that goes with one standard deviation of x, z held: of x what z does
 * not foretell is taken (Frisch and Waugh 1933). */
static kvl_sums slope(const kvl_arm *const *arms, size_t n_texts, bool is_rank) {
    kvl_sums s = {.study = KVL_STUDY_STEP, .n = n_texts};
    const moments m = find_moments(arms, n_texts, is_rank);
    const double deviation = m.n > 0 ? sqrt(m.xx / m.n) : 0;
    s.is_missing = !(deviation > 1e-9 && m.zz > 0 && m.xx * m.zz > m.xz * m.xz * (1 + 1e-9));
    for (size_t t = 0; t < n_texts && !s.is_missing; t++) {
        for (size_t i = 0; i < arms[0]->texts[t].n; i++) {
            const token at = read_token(arms, t, i);
            const double *x = is_rank ? at.rank : at.lags;
            const double *z = is_rank ? at.lags : at.rank;
            for (size_t k = 0; k < at.n; k++) {
                const double rest = x[k] - m.xz / m.zz * z[k];
                s.num[t] += rest * at.nll[k] * deviation;
                s.den[t] += rest * rest;
            }
        }
    }
    return s;
}

void kvli_judge_steps(const kvl_evidence *ev, kvl_judgement *out) {
    const kvl_arm *arms[KVLI_N_CURVE];
    kvl_sums by_lags = {.is_missing = true};
    kvl_sums by_rank = {.is_missing = true};
    bool is_run = true;
    for (size_t k = 0; k < KVLI_N_CURVE; k++) {
        arms[k] = kvl_evidence_find(ev, KVL_STUDY_STEP, kvli_curve[k]);
        is_run &= arms[k] != NULL;
    }
    if (is_run) {
        by_lags = slope(arms, ev->studies[KVL_STUDY_STEP].n_texts, false);
        by_rank = slope(arms, ev->studies[KVL_STUDY_STEP].n_texts, true);
    }
    kvl_find(out, kvl_sums_mean(ev, &by_lags, 0), "nats/token per sd", KVL_ABOVE, 0, false,
             "(h) one token under all settings of the curve: NLL with one standard deviation more of lags "
             "1-4 missing");
    kvl_find(out, kvl_sums_mean(ev, &by_rank, 0), "nats/token per sd", KVL_NO_SIDE, 0, false,
             "(h) the same with the norm rank of what was evicted last, each with the other held");
}
