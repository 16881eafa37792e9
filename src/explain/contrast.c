/* Contrasts between arms: sums over steps, text by text, and their estimates. */
#include "explain/hypothesis.h"

#include "base/compiler.h"

#include <math.h>

double kvl_step_nll(const kvl_step *step) { return step->nll; }

double kvl_step_entropy(const kvl_step *step) { return (double)step->entropy; }

double kvl_step_p_top(const kvl_step *step) { return (double)step->p_top; }

static bool is_in_phase(const kvl_step *s, const kvl_range *range) {
    return range->phase_end == 0 || (s->phase >= range->phase_from && s->phase < range->phase_end);
}

/* The affected steps of an account that lie in a range: [*first, *end). */
static void find_steps(size_t *first, size_t *end, const kvl_account *a, size_t first_affected,
                       const kvl_range *range) {
    const size_t skipped = first_affected > a->first ? kvl_min_size(first_affected - a->first, a->n) : 0;
    const double n = (double)(a->n - skipped);
    *first = skipped + (size_t)(n * range->from);
    *end = skipped + (size_t)(n * range->end);
}

kvl_sums kvl_contrast(const kvl_evidence *ev, kvl_study_id study, const char *a, const char *b,
                      kvl_step_value *value, kvl_range range) {
    const kvl_arm *arm = kvl_evidence_find(ev, study, a);
    const kvl_arm *other = b != NULL ? kvl_evidence_find(ev, study, b) : NULL;
    kvl_sums s = {.study = study, .n = ev->studies[study].n_texts};
    s.is_missing = arm == NULL || (b != NULL && other == NULL) || s.n == 0;
    for (size_t t = 0; t < s.n && !s.is_missing; t++) {
        const kvl_account *account = &arm->texts[t];
        size_t first = 0;
        size_t end = 0;
        find_steps(&first, &end, account, ev->studies[study].first_affected, &range);
        for (size_t i = first; i < end; i++) {
            if (is_in_phase(&account->steps[i], &range)) {
                s.num[t] += value(&account->steps[i]);
                s.num[t] -= other != NULL ? value(&other->texts[t].steps[i]) : 0;
                s.den[t]++;
            }
        }
    }
    return s;
}

kvl_estimate kvl_no_estimate(void) {
    return (kvl_estimate){.mean = (double)NAN, .low = (double)NAN, .high = (double)NAN, .p = (double)NAN};
}

kvl_estimate kvl_sums_mean(const kvl_evidence *ev, const kvl_sums *s, double null) {
    return s->is_missing ? kvl_no_estimate()
                         : kvl_bootstrap_ratio(ev->studies[s->study].resamples, s->num, s->den, null);
}

kvl_estimate kvl_sums_share(const kvl_evidence *ev, const kvl_sums *a, const kvl_sums *b, double null) {
    return a->is_missing || b->is_missing
               ? kvl_no_estimate()
               : kvl_bootstrap_ratio(ev->studies[a->study].resamples, a->num, b->num, null);
}

kvl_estimate kvl_sums_difference(const kvl_evidence *ev, const kvl_sums *a, const kvl_sums *b, double scale,
                                 double null) {
    if (a->is_missing || b->is_missing) {
        return kvl_no_estimate();
    }
    double scaled[KVL_MAX_TEXTS];
    for (size_t t = 0; t < b->n; t++) {
        scaled[t] = scale * b->num[t];
    }
    return kvl_bootstrap_difference(ev->studies[a->study].resamples, a->num, a->den, scaled, b->den, null);
}

const char *kvl_best_of(const kvl_evidence *ev, kvl_study_id study, const char *const *policies, size_t n) {
    const char *best = NULL;
    double least = (double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        const kvl_sums s = kvl_contrast(ev, study, policies[i], "none", kvl_step_nll, KVL_ALL_STEPS);
        double sum = 0;
        for (size_t t = 0; t < s.n; t++) {
            sum += s.num[t];
        }
        if (!s.is_missing && sum < least) {
            least = sum;
            best = policies[i];
        }
    }
    return best;
}
