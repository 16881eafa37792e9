/* From findings to verdicts: one rule for all. */
#include "explain/hypothesis.h"

#include "stats/inference.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KVL_HYPOTHESIS(name) extern const kvl_hypothesis kvl_hypothesis_##name;
#include "explain/hypotheses.def"
#undef KVL_HYPOTHESIS

static const kvl_hypothesis *const hypotheses[] = {
#define KVL_HYPOTHESIS(name) &kvl_hypothesis_##name,
#include "explain/hypotheses.def"
#undef KVL_HYPOTHESIS
};
enum { N_HYPOTHESES = sizeof hypotheses / sizeof hypotheses[0] };

const kvl_hypothesis *const *kvl_hypotheses(size_t *n) {
    *n = N_HYPOTHESES;
    return hypotheses;
}

const kvl_hypothesis *kvl_hypothesis_find(const char *id) {
    for (size_t i = 0; i < N_HYPOTHESES; i++) {
        const char *have = hypotheses[i]->id;
        if (toupper((unsigned char)id[0]) == have[0] && strcmp(id + 1, have + 1) == 0) {
            return hypotheses[i];
        }
    }
    return NULL;
}

const char *kvl_outcome_name(kvl_outcome o) {
    static const char *const names[] = {"undecided", "as predicted", "against"};
    return names[o];
}

const char *kvl_conclusion_name(kvl_conclusion v) {
    static const char *const names[] = {"cannot tell here", "supported", "refuted"};
    return names[v];
}

kvl_finding *kvl_find(kvl_judgement *out, kvl_estimate effect, const char *unit, kvl_side side,
                      double threshold, bool is_deciding, const char *what, ...) {
    kvl_finding *f = &out->findings[out->n < KVL_MAX_FINDINGS - 1 ? out->n++ : KVL_MAX_FINDINGS - 1];
    va_list args;
    *f = (kvl_finding){.unit = unit,
                       .effect = effect,
                       .side = side,
                       .threshold = threshold,
                       .p_adjusted = effect.p,
                       .is_deciding = is_deciding,
                       .is_missing = isnan(effect.mean)};
    va_start(args, what);
    vsnprintf(f->what, sizeof f->what, what, args);
    va_end(args);
    return f;
}

kvl_finding *kvl_find_nll(kvl_judgement *out, const kvl_evidence *ev, kvl_study_id study, const char *a,
                          const char *b, kvl_side side, double threshold, bool is_deciding,
                          const char *what) {
    const kvl_sums s = a != NULL && b != NULL ? kvl_contrast(ev, study, a, b, kvl_step_nll, KVL_ALL_STEPS)
                                              : (kvl_sums){.is_missing = true};
    return kvl_find(out, kvl_sums_mean(ev, &s, threshold), "nats/token", side, threshold, is_deciding, "%s",
                    what);
}

/* On which side of its threshold the whole interval lies. */
static kvl_outcome outcome_of(const kvl_finding *f) {
    enum { alpha_percent = 5 };
    const kvl_estimate *e = &f->effect;
    if (f->is_missing || f->side == KVL_NO_SIDE || !e->has_interval || e->is_few ||
        !(f->p_adjusted * 100 < alpha_percent)) {
        return KVL_OUTCOME_UNDECIDED;
    }
    if (e->low > f->threshold) {
        return f->side == KVL_ABOVE ? KVL_OUTCOME_PREDICTED : KVL_OUTCOME_AGAINST;
    }
    if (e->high < f->threshold) {
        return f->side == KVL_BELOW ? KVL_OUTCOME_PREDICTED : KVL_OUTCOME_AGAINST;
    }
    return KVL_OUTCOME_UNDECIDED;
}

/* Adjusts the p values of all findings of a run that predict something. */
static void adjust(kvl_judgement *out, size_t n) {
    double p[N_HYPOTHESES * KVL_MAX_FINDINGS] = {0};
    double adjusted[N_HYPOTHESES * KVL_MAX_FINDINGS];
    kvl_finding *of[N_HYPOTHESES * KVL_MAX_FINDINGS];
    size_t n_p = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < out[i].n; k++) {
            kvl_finding *f = &out[i].findings[k];
            if (!f->is_missing && f->side != KVL_NO_SIDE && f->effect.has_interval) {
                of[n_p] = f;
                p[n_p++] = f->effect.p;
            }
        }
    }
    kvl_holm(adjusted, p, n_p);
    for (size_t i = 0; i < n_p; i++) {
        of[i]->p_adjusted = adjusted[i];
    }
}

static kvl_conclusion conclude(kvl_judgement *j) {
    const kvl_finding *undecided = NULL;
    size_t n_deciding = 0;
    for (size_t i = 0; i < j->n; i++) {
        const kvl_finding *f = &j->findings[i];
        if (!f->is_deciding) {
            continue;
        }
        n_deciding++;
        if (f->outcome == KVL_OUTCOME_AGAINST) {
            snprintf(j->why, sizeof j->why, "against it: %s", f->what);
            return KVL_REFUTED;
        }
        undecided = f->outcome == KVL_OUTCOME_UNDECIDED && undecided == NULL ? f : undecided;
    }
    if (undecided != NULL || n_deciding == 0) {
        snprintf(j->why, sizeof j->why, "%s: %s",
                 undecided != NULL && undecided->is_missing ? "not run here" : "undecided",
                 undecided != NULL ? undecided->what : "nothing decides");
        return KVL_CANNOT_TELL;
    }
    snprintf(j->why, sizeof j->why, "all %zu deciding findings are as predicted", n_deciding);
    return KVL_SUPPORTED;
}

void kvl_judge(kvl_judgement *out, const kvl_evidence *ev, const kvl_hypothesis *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (kvl_judgement){0};
        list[i]->judge(ev, &out[i]);
    }
    adjust(out, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < out[i].n; k++) {
            out[i].findings[k].outcome = outcome_of(&out[i].findings[k]);
        }
        out[i].verdict = list[i]->conclude != NULL ? list[i]->conclude(ev, &out[i]) : conclude(&out[i]);
    }
}
