/* Facts of a curve: where it is worst and best, and whether light compression is told apart from heavy. */
#include "report/analysis_int.h"

#include "base/alloc.h"
#include "stats/resample.h"

#include <math.h>
#include <string.h>

bool kvli_counts(const kvl_report_row *row) {
    return !row->is_baseline && row->has_evicted && isfinite(row->delta.mean);
}

static kvl_estimate no_estimate(void) {
    const double none = (double)NAN;
    return (kvl_estimate){.mean = none, .low = none, .high = none, .p = none};
}

/* Whether the texts of both rows are known, more than one, and of the same tokens. */
static bool is_paired(const kvl_report *r, const kvl_report_row *a, const kvl_report_row *b) {
    if (a->texts == NULL || b->texts == NULL || r->n_samples < 2) {
        return false;
    }
    for (size_t i = 0; i < r->n_samples; i++) {
        if (a->texts[i].n_scored != b->texts[i].n_scored || a->texts[i].n_scored == 0 ||
            !isfinite(a->texts[i].nll_sum) || !isfinite(b->texts[i].nll_sum)) {
            return false;
        }
    }
    return true;
}

/* With the interval that the report's rows have too: by resamples, or where there are none by Student's t. */
static kvl_status find_gap(kvli_curve *c, const kvl_resamples *resamples, kvl_err *err) {
    const kvl_report *r = c->report;
    c->gap = no_estimate();
    c->gap.mean =
        c->spike->delta.mean - c->best->delta.mean; /* on the same tokens: they share the baseline */
    if (!is_paired(r, c->spike, c->best)) {
        return KVL_OK;
    }
    double *sums = kvl_calloc(r->n_samples, sizeof *sums);
    size_t *counts = kvl_calloc(r->n_samples, sizeof *counts);
    kvl_status status = sums != NULL && counts != NULL ? KVL_OK : kvl_fail_nomem(err, "analysis");
    for (size_t i = 0; status == KVL_OK && i < r->n_samples; i++) {
        sums[i] = c->spike->texts[i].nll_sum - c->best->texts[i].nll_sum;
        counts[i] = c->spike->texts[i].n_scored;
        c->n_higher += sums[i] > 0;
    }
    if (status == KVL_OK) {
        c->n_texts = r->n_samples;
        c->gap = resamples != NULL ? kvl_bootstrap_mean(resamples, sums, counts)
                                   : kvl_cluster_mean(sums, counts, r->n_samples);
    }
    kvl_free(sums);
    kvl_free(counts);
    return status;
}

static void find_ends(kvli_curve *c) {
    for (size_t i = c->first; i < c->end; i++) {
        const kvl_report_row *row = &c->report->rows[i];
        if (!kvli_counts(row)) {
            continue;
        }
        c->lightest = c->lightest == NULL ? row : c->lightest;
        c->worst = c->worst == NULL || row->delta.mean > c->worst->delta.mean ? row : c->worst;
        c->best = c->best == NULL || row->delta.mean < c->best->delta.mean ? row : c->best;
        c->is_few = c->is_few || !kvli_is_told(&row->delta);
        if (row->stage == KVL_STAGE_BEST) {
            c->range_light = c->range_light == NULL ? row : c->range_light;
            c->range_heavy = row;
        } else if (row->stage == KVL_STAGE_EXPLOSION &&
                   (c->spike == NULL || row->delta.mean > c->spike->delta.mean)) {
            c->spike = row;
        }
    }
}

static kvl_status find_curve(kvli_curve *out, const kvl_report *r, size_t first,
                             const kvl_resamples *resamples, kvl_err *err) {
    kvli_curve *c = out;
    *c = (kvli_curve){.report = r, .first = first, .end = kvli_group_end(r, first), .gap = no_estimate()};
    for (size_t i = 0; i < r->n_rows && c->full == NULL; i++) {
        c->full = r->rows[i].is_baseline ? &r->rows[i] : NULL;
    }
    find_ends(c);
    if (c->spike == NULL) {
        return KVL_OK;
    }
    KVL_TRY(find_gap(c, resamples, err));
    c->has_spike = !kvli_is_told(&c->gap) || c->gap.low > 0;
    return KVL_OK;
}

kvl_status kvli_curves_find(kvli_curve **out, size_t *n, const kvl_report *r, kvl_err *err) {
    *n = 0;
    *out = kvl_calloc(r->n_rows, sizeof **out);
    if (*out == NULL) {
        return kvl_fail_nomem(err, "analysis");
    }
    kvl_resamples *resamples = NULL; /* drawn once for all curves */
    kvl_status status = r->n_resamples != 0 && r->n_samples >= 2
                            ? kvl_resamples_create(&resamples, r->n_samples, r->n_resamples, r->seed, err)
                            : KVL_OK;
    for (size_t first = 0; first < r->n_rows && status == KVL_OK; first = kvli_group_end(r, first)) {
        if (!r->rows[first].is_baseline) {
            status = find_curve(&(*out)[(*n)++], r, first, resamples, err);
        }
    }
    kvl_resamples_destroy(resamples);
    return status;
}

const kvli_curve *kvli_main_curve(const kvli_curve *curves, size_t n) {
    const kvli_curve *found = NULL;
    for (size_t i = 0; i < n; i++) {
        const bool is_knorm = strcmp(curves[i].report->rows[curves[i].first].press, "knorm") == 0;
        if (curves[i].best != NULL && (found == NULL || is_knorm)) {
            found = &curves[i];
            if (is_knorm) {
                break;
            }
        }
    }
    return found;
}

bool kvli_explains(const kvli_curve *curve) {
    return curve != NULL && curve->best != NULL && curve->lightest->period_tok > 0 &&
           strncmp(curve->best->policy, "knorm:", 6) == 0;
}
