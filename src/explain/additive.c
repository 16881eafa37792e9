/* Fitting the additive model. */
#include "explain/additive.h"

#include "explain/arms.h"
#include "stats/regression.h"

#include <math.h>
#include <string.h>

enum { N_COLUMNS = 3 };

static bool is_on_curve(const char *policy) {
    for (size_t i = 0; i < KVLI_N_CURVE; i++) {
        if (strcmp(policy, kvli_curve[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Policies of which R and S tell all that the model knows: the same layers, true positions, the cache's own
 * cap. */
static bool is_comparable(const char *policy) {
    return strcmp(policy, "none") != 0 && strstr(policy, "skip=none") == NULL &&
           strstr(policy, "order=") == NULL;
}

static kvl_additive_point measure(const kvl_evidence *ev, const kvl_arm *arm) {
    kvl_additive_point p = {.policy = arm->policy, .is_of_fit = is_on_curve(arm->policy)};
    const size_t n_texts = ev->studies[arm->study].n_texts;
    double n_steps = 0;
    double lost[KVL_EVIDENCE_LAGS + 1] = {0};
    for (size_t t = 0; t < n_texts; t++) {
        const kvl_account *a = &arm->texts[t];
        for (size_t i = 0; i < a->n; i++) {
            p.log_ppl += a->steps[i].nll;
            p.visible += (double)a->steps[i].n_visible;
        }
        n_steps += (double)a->n;
        for (size_t j = 1; j <= KVL_EVIDENCE_LAGS; j++) {
            lost[j] += (1 - a->lag_visible[j]) / (double)n_texts;
        }
    }
    p.log_ppl /= n_steps;
    p.visible /= n_steps;
    for (size_t j = 1; j <= KVL_EVIDENCE_LAGS; j++) {
        p.missing += ldexp(lost[j], 1 - (int)j);
    }
    return p;
}

static double predict(const kvl_additive *a, const kvl_additive_point *p, double cap) {
    return a->constant + a->per_missing * p->missing + a->per_entry * (cap - p->visible);
}

/* How well the predictions of points that were not fitted hold. */
static void judge_others(kvl_additive *a) {
    double n = 0, sum = 0, squares = 0, residual = 0, error = 0;
    for (size_t i = 0; i < a->n; i++) {
        const kvl_additive_point *p = &a->points[i];
        if (!p->is_of_fit) {
            n++;
            sum += p->log_ppl;
            squares += p->log_ppl * p->log_ppl;
            residual += (p->log_ppl - p->fitted) * (p->log_ppl - p->fitted);
            error += fabs(p->log_ppl - p->fitted);
        }
    }
    const double spread = squares - sum * sum / n;
    a->mean_error_others = n > 0 ? error / n : (double)NAN;
    a->r_squared_others = n >= 3 && spread > 0 ? 1 - residual / spread : (double)NAN;
}

kvl_status kvl_additive_fit(kvl_additive *out, const kvl_evidence *ev, kvl_err *err) {
    const double cap = (double)kvl_study_cap(KVL_STUDY_STEP);
    double x[KVL_ADDITIVE_POINTS * N_COLUMNS];
    double y[KVL_ADDITIVE_POINTS];
    double left_out[KVL_ADDITIVE_POINTS];
    size_t n = 0;
    kvl_fit fit;
    *out = (kvl_additive){0};
    for (size_t i = 0; i < ev->n_arms && out->n < KVL_ADDITIVE_POINTS; i++) {
        const kvl_arm *arm = &ev->arms[i];
        if (arm->study != KVL_STUDY_STEP || !is_comparable(arm->policy)) {
            continue;
        }
        kvl_additive_point *p = &out->points[out->n++];
        *p = measure(ev, arm);
        if (p->is_of_fit) {
            x[n * N_COLUMNS] = 1;
            x[n * N_COLUMNS + 1] = p->missing;
            x[n * N_COLUMNS + 2] = cap - p->visible;
            y[n++] = p->log_ppl;
        }
    }
    if (n < 2 * N_COLUMNS) {
        return KVL_OK;
    }
    const kvl_status status = kvl_least_squares(&fit, left_out, x, y, n, N_COLUMNS, err);
    if (status == KVL_E_CHECK) { /* R or S is the same everywhere: nothing to fit */
        return KVL_OK;
    }
    KVL_TRY(status);
    out->n_fitted = n;
    out->constant = fit.coefficients[0];
    out->per_missing = fit.coefficients[1];
    out->per_entry = fit.coefficients[2];
    out->r_squared = fit.r2;
    out->r_squared_left_out = fit.r2_loo;
    n = 0;
    for (size_t i = 0; i < out->n; i++) {
        kvl_additive_point *p = &out->points[i];
        p->fitted = predict(out, p, cap);
        p->left_out = p->is_of_fit ? left_out[n++] : p->fitted;
    }
    judge_others(out);
    return KVL_OK;
}
