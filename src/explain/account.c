/* From a cell's arrays and its stream's log to what judges read. */
#include "explain/experiment_int.h"

#include "protocol/visibility.h"

#include <math.h>
#include <string.h>

/* What the queries of the scored steps saw. Lags are averaged over the steps that have so many tokens before
 * them. */
static void fill_sight(kvl_account *a, const kvl_departures *log, const kvl_policy *policy) {
    const uint64_t *skip = policy->skip;
    size_t n_steps[KVL_EVIDENCE_LAGS + 1] = {0};
    for (size_t i = 0; i < a->n; i++) {
        const size_t t = a->first + i;
        const size_t phase = kvl_step_phase(log, t);
        float share[KVL_EVIDENCE_LAGS];
        kvl_visible_lags(share, KVL_EVIDENCE_LAGS, log, skip, t);
        a->steps[i].n_visible = (float)kvl_visible_keys(log, skip, t);
        a->steps[i].phase = phase < UINT32_MAX ? (uint32_t)phase : UINT32_MAX;
        memcpy(a->steps[i].lag, share, sizeof a->steps[i].lag);
        for (size_t j = 1; j <= kvl_min_size(t, KVL_EVIDENCE_LAGS); j++) {
            a->lag_visible[j] += (double)share[j - 1];
            n_steps[j]++;
        }
    }
    for (size_t j = 1; j <= KVL_EVIDENCE_LAGS; j++) {
        a->lag_visible[j] /= (double)kvl_max_size(n_steps[j], 1);
    }
}

/* Share of compressed heads that still hold position 0. */
static double find_first_token(const kvl_departures *log, const kvl_policy *policy) {
    size_t n = 0;
    size_t n_held = 0;
    for (uint32_t layer = 0; layer < kvl_departures_layers(log); layer++) {
        for (uint32_t head = 0; head < kvl_departures_heads(log) && !kvl_policy_skips(policy, layer);
             head++) {
            n++;
            n_held += kvl_departures_head(log, layer, head)[0] == KVL_STAYS;
        }
    }
    return (double)n_held / (double)kvl_max_size(n, 1);
}

kvl_status kvli_account_fill(kvli_study_run *r, const kvl_cell *cell, const kvl_stream *stream,
                             kvl_err *err) {
    static const kvl_policy all_layers;
    kvl_account *a = &r->ev->arms[r->first_arm + cell->policy].texts[cell->sample];
    KVL_TRY(kvl_account_create(a, cell->n_scored, cell->first_scored, err));
    for (size_t i = 0; i < a->n; i++) {
        a->steps[i].nll = cell->nll[i];
        if (cell->quality != NULL) {
            a->steps[i].entropy = cell->quality[i].entropy;
            a->steps[i].p_top = cell->quality[i].p_top;
            a->steps[i].is_hit = cell->quality[i].is_hit;
        }
    }
    if (stream->departures == NULL) {
        return KVL_OK;
    }
    const kvl_policy *policy = cell->policy == 0 ? &all_layers : &r->policies[cell->policy - 1];
    fill_sight(a, stream->departures, policy);
    a->first_token = find_first_token(stream->departures, policy);
    return KVL_OK;
}

/* Mean over what one head evicted at a moment of its norm's rank among the keys so far: 0 lowest, 1 highest.
 * Adds to *sum and *n. */
static void rank_event(double *sum, size_t *n, const uint32_t *left_at, const float *norms, size_t event) {
    for (size_t p = 0; p < event; p++) {
        if (left_at[p] == event) {
            size_t below = 0;
            for (size_t q = 0; q < event; q++) {
                below += norms[q] < norms[p];
            }
            *sum += (double)below / (double)(event - 1);
            (*n)++;
        }
    }
}

void kvli_account_rank(kvl_account *a, const kvl_departures *log, const kvl_policy *policy,
                       const float *norms) {
    const size_t n_tokens = kvl_departures_tokens(log);
    const uint32_t n_heads = kvl_departures_heads(log);
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(log, &n_events);
    for (size_t e = 0; e < n_events; e++) {
        double sum = 0;
        size_t n = 0;
        for (uint32_t layer = 0; layer < kvl_departures_layers(log); layer++) {
            for (uint32_t head = 0; head < n_heads && !kvl_policy_skips(policy, layer); head++) {
                rank_event(&sum, &n, kvl_departures_head(log, layer, head),
                           norms + ((size_t)layer * n_heads + head) * n_tokens, events[e]);
            }
        }
        const size_t end = e + 1 < n_events ? events[e + 1] : a->first + a->n;
        for (size_t t = kvl_max_size(events[e], a->first); t < end && t < a->first + a->n; t++) {
            a->steps[t - a->first].evicted_rank = n != 0 ? (float)(sum / (double)n) : (float)NAN;
        }
    }
}
