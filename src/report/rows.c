/* The rows of a report: what the records of each policy say about it. */
#include "report/rows_int.h"

#include "base/alloc.h"
#include "stats/blocks.h"

#include <math.h>
#include <string.h>

enum { BOOTSTRAP_SEED = 1 };

/* What the rows of one report share. */
typedef struct maker {
    kvl_rows *out;
    kvli_matrix m;
    kvl_resamples *resamples; /* NULL: few clusters, Student's t */
    double *sums;             /* [n_samples] scratch */
    size_t *counts;           /* [n_samples] scratch */
    bool is_block;
    double *full_nll; /* [tokens of all samples] of the full cache, where is_block */
    kvl_rows_load *load;
    void *ud;
} maker;

/* Over clusters: by their resamples, or where there are none, because they are few, by Student's t. */
static kvl_estimate mean_of(const kvl_resamples *r, const double *sums, const size_t *counts, size_t n) {
    return r != NULL ? kvl_bootstrap_mean(r, sums, counts) : kvl_cluster_mean(sums, counts, n);
}

/* Bytes of the text that the windows [first, end) of it score, if they follow each other; 0: not known. */
static size_t text_bytes(const kvli_matrix *m, size_t first) {
    const kvl_record *r = kvli_matrix_cell(m, 0, first);
    size_t n_bytes = 0;
    size_t next = r->begin + r->first_scored + 1;
    for (size_t i = first; i < m->n_samples && m->cluster[i] == m->cluster[first]; i++) {
        r = kvli_matrix_cell(m, 0, i);
        if (r->n_text_bytes == 0 || r->begin + r->first_scored + 1 != next) {
            return 0;
        }
        n_bytes += r->n_text_bytes;
        next = r->begin + r->n_tokens;
    }
    return n_bytes;
}

/* Figures of each text, and over all of them. */
static void fill_quality(kvl_report_row *row, const maker *k, size_t policy, kvl_report_text *texts) {
    const kvli_matrix *m = &k->m;
    double nll = 0;
    double mean_ppl = 0;
    row->texts = texts;
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *own = kvli_matrix_cell(m, policy, i);
        const bool is_one_pass = policy == 0 && m->one_pass != NULL;
        const kvl_record *r = is_one_pass ? m->one_pass[i] : own;
        kvl_report_text *text = &texts[m->cluster[i]];
        if (text->n_windows++ == 0) {
            text->name = r->text;
            text->n_bytes = is_one_pass ? 0 : text_bytes(m, i);
            k->sums[m->cluster[i]] = 0;
        }
        text->n_scored += r->n_scored;
        text->nll_sum += r->nll_sum;
        mean_ppl += exp(r->nll_sum / (double)r->n_scored) / (double)m->n_samples;
        row->n_scored += r->n_scored;
        nll += r->nll_sum;
        k->sums[m->cluster[i]] += policy == 0 ? 0 : r->nll_sum - kvli_matrix_cell(m, 0, i)->nll_sum;
        k->counts[m->cluster[i]] = text->n_scored;
    }
    row->pooled_nll = nll / (double)row->n_scored;
    row->ppl = k->out->has_mean_ppl ? mean_ppl : exp(row->pooled_nll);
    row->delta = mean_of(k->resamples, k->sums, k->counts, m->n_clusters);
    row->smallest = m->n_clusters >= KVL_FEW_CLUSTERS
                        ? kvl_smallest_detectable(k->sums, k->counts, m->n_clusters)
                        : (double)NAN;
}

/* The difference over the steps after a cell's first compression only: what came before cannot differ. */
static void fill_affected(kvl_report_row *row, const maker *k, size_t policy) {
    const kvli_matrix *m = &k->m;
    size_t n = 0;
    memset(k->sums, 0, m->n_samples * sizeof *k->sums);
    memset(k->counts, 0, m->n_samples * sizeof *k->counts);
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *r = kvli_matrix_cell(m, policy, i);
        k->sums[m->cluster[i]] += r->nll_affected - r->nll_affected_full;
        k->counts[m->cluster[i]] += r->n_affected;
        row->n_affected += r->n_affected;
    }
    for (size_t c = 0; c < m->n_clusters; c++) { /* a text without any is no cluster */
        if (k->counts[c] != 0) {
            k->sums[n] = k->sums[c];
            k->counts[n++] = k->counts[c];
        }
    }
    if (n != 0) { /* resamples are of all clusters */
        row->delta_affected = mean_of(n == m->n_clusters ? k->resamples : NULL, k->sums, k->counts, n);
    }
}

static double period_of(const kvli_matrix *m, size_t policy) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *r = kvli_matrix_cell(m, policy, i);
        if (r->n_events >= 2) {
            sum += (double)(r->last_event - r->first_event) / (double)(r->n_events - 1);
            n++;
        }
    }
    return n != 0 ? sum / (double)n : 0;
}

static void fill_sizes(kvl_report_row *row, const kvli_matrix *m, size_t policy) {
    row->kept_min = SIZE_MAX;
    for (size_t i = 0; i < m->n_samples; i++) {
        const kvl_record *r = kvli_matrix_cell(m, policy, i);
        row->kept_min = kvl_min_size(row->kept_min, r->kept_min);
        row->kept_max = kvl_max_size(row->kept_max, r->kept_max);
        row->kept_mean += r->kept_mean / (double)m->n_samples;
        row->kv_bytes += r->kv_bytes_live / m->n_samples;
        row->has_evicted = row->has_evicted || r->n_events != 0;
    }
    row->period_tok = period_of(m, policy);
}

/* ---- one long text: its blocks are the clusters ---- */

static size_t n_matched(const kvli_matrix *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_samples; i++) {
        n += kvli_matrix_cell(m, 0, i)->n_scored;
    }
    return n;
}

/* NLLs of all samples of a policy, one after another. */
static kvl_status load_row(double *nll, const maker *k, size_t policy, kvl_err *err) {
    for (size_t i = 0; i < k->m.n_samples; i++) {
        const kvl_record *r = kvli_matrix_cell(&k->m, policy, i);
        const size_t n = kvli_matrix_cell(&k->m, 0, i)->n_scored;
        if (r->n_scored != n) {
            return kvl_fail(err, KVL_E_STORE,
                            "%s on %s: expected %zu scored tokens as of the full cache, found %zu", r->policy,
                            r->sample, n, r->n_scored);
        }
        KVL_TRY(k->load(k->ud, r, nll, err));
        nll += n;
    }
    return KVL_OK;
}

static kvl_status fill_blocks(kvl_report_row *row, const maker *k, size_t policy, kvl_err *err) {
    const size_t n = n_matched(&k->m);
    double *x = kvl_calloc(n, sizeof *x);
    kvl_block_estimates e;
    kvl_status status = x != NULL ? load_row(x, k, policy, err) : kvl_fail_nomem(err, "report");
    for (size_t t = 0; t < n && status == KVL_OK; t++) {
        x[t] -= k->full_nll[t];
    }
    if (status == KVL_OK) {
        status =
            kvl_bootstrap_blocks(&e, x, n, KVL_BLOCK_TOKENS, KVL_BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED, err);
    }
    kvl_free(x);
    if (status == KVL_OK) {
        row->delta = e.blocks;
        row->delta_half = e.half;
        row->delta_twice = e.twice;
        row->smallest = e.smallest;
    }
    return status;
}

/* ---- rows ---- */

static kvl_status fill_row(const maker *k, size_t policy, kvl_err *err) {
    kvl_rows *out = k->out;
    kvl_report_row *row = &out->rows[policy];
    kvl_str *press = &out->texts[2 * policy];
    kvl_str *text = &out->texts[2 * policy + 1];
    kvli_name_curve(press, &k->m, policy);
    kvl_str_puts(text, kvli_matrix_cell(&k->m, policy, 0)->policy);
    KVL_TRY(kvl_str_check(press, "report", err));
    KVL_TRY(kvl_str_check(text, "report", err));
    row->press = kvl_str_text(press);
    row->policy = kvl_str_text(text);
    row->is_baseline = policy == 0;
    row->keep_ratio = kvli_keep_of(&k->m, policy);
    fill_quality(row, k, policy, &out->per_text[policy * out->n_texts]);
    KVL_TRY(k->is_block && policy != 0 ? fill_blocks(row, k, policy, err) : KVL_OK);
    fill_sizes(row, &k->m, policy);
    row->change_percent = 100.0 * (row->ppl / out->rows[0].ppl - 1.0);
    return KVL_OK;
}

static kvl_status prepare(maker *k, kvl_err *err) {
    kvl_rows *out = k->out;
    const size_t n = n_matched(&k->m);
    out->n_rows = k->m.n_policies;
    out->n_texts = k->m.n_clusters;
    out->n_left_out = k->m.n_left_out;
    out->rows = kvl_calloc(out->n_rows, sizeof *out->rows);
    out->per_text = kvl_calloc(out->n_rows * out->n_texts, sizeof *out->per_text);
    out->texts = kvl_calloc(2 * out->n_rows, sizeof *out->texts);
    k->sums = kvl_calloc(k->m.n_samples, sizeof *k->sums);
    k->counts = kvl_calloc(k->m.n_samples, sizeof *k->counts);
    if (out->rows == NULL || out->per_text == NULL || out->texts == NULL || k->sums == NULL ||
        k->counts == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    if (out->n_texts >= KVL_FEW_CLUSTERS) {
        KVL_TRY(
            kvl_resamples_create(&k->resamples, out->n_texts, KVL_BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED, err));
    }
    /* one text has no other to be told from */
    k->is_block = out->n_texts == 1 && n >= (size_t)KVL_FEW_BLOCKS * KVL_BLOCK_TOKENS;
    out->block_tokens = k->is_block ? KVL_BLOCK_TOKENS : 0;
    out->n_resamples = k->is_block || k->resamples != NULL ? KVL_BOOTSTRAP_RESAMPLES : 0;
    out->seed = BOOTSTRAP_SEED;
    if (k->is_block) {
        k->full_nll = kvl_calloc(n, sizeof *k->full_nll);
        return k->full_nll != NULL ? load_row(k->full_nll, k, 0, err) : kvl_fail_nomem(err, "report");
    }
    return KVL_OK;
}

/* ---- stages ---- */

/* Stages of one run of rows with the same press: a curve of its own. */
static kvl_status stage_group(kvl_rows *out, size_t first, size_t n, kvl_err *err) {
    const size_t n_texts = out->n_texts;
    double *sums = kvl_calloc(n * n_texts, sizeof *sums);
    size_t *counts = kvl_calloc(n_texts, sizeof *counts);
    bool *is_valid = kvl_calloc(n, sizeof *is_valid);
    kvl_stage *stages = kvl_calloc(n, sizeof *stages);
    kvl_status status = KVL_OK;
    if (sums == NULL || counts == NULL || is_valid == NULL || stages == NULL) {
        KVL_GO(kvl_fail_nomem(err, "report"));
    }
    for (size_t p = 0; p < n; p++) {
        is_valid[p] = out->rows[first + p].has_evicted;
        for (size_t i = 0; i < n_texts; i++) {
            sums[p * n_texts + i] = out->rows[first + p].texts[i].nll_sum;
            counts[i] = out->rows[first + p].texts[i].n_scored;
        }
    }
    size_t best = 0;
    kvl_find_stages(stages, &best, sums, counts, is_valid, n, n_texts);
    for (size_t p = 0; p < n; p++) {
        out->rows[first + p].stage = stages[p];
    }
done:
    kvl_free(sums);
    kvl_free(counts);
    kvl_free(is_valid);
    kvl_free(stages);
    return status;
}

static kvl_status make_stages(kvl_rows *out, kvl_err *err) {
    for (size_t first = 1; first < out->n_rows;) {
        size_t n = 1;
        while (first + n < out->n_rows && strcmp(out->rows[first + n].press, out->rows[first].press) == 0 &&
               out->rows[first + n].keep_ratio < out->rows[first + n - 1].keep_ratio) {
            n++;
        }
        KVL_TRY(stage_group(out, first, n, err));
        first += n;
    }
    return KVL_OK;
}

kvl_status kvl_rows_make(kvl_rows *out, const kvl_records *records, bool has_mean_ppl, kvl_rows_load *load,
                         void *ud, kvl_err *err) {
    *out = (kvl_rows){.has_mean_ppl = has_mean_ppl};
    maker k = {.out = out, .load = load, .ud = ud};
    kvl_status status = kvli_matrix_make(&k.m, records, err);
    KVL_GO(status);
    KVL_GO(prepare(&k, err));
    for (size_t p = 0; p < out->n_rows; p++) {
        KVL_GO(fill_row(&k, p, err));
    }
    for (size_t p = 0; p < out->n_rows; p++) { /* one after another: resamples remember the last counts */
        fill_affected(&out->rows[p], &k, p);
    }
    KVL_GO(make_stages(out, err));
done:
    kvl_resamples_destroy(k.resamples);
    kvl_free(k.sums);
    kvl_free(k.counts);
    kvl_free(k.full_nll);
    kvli_matrix_free(&k.m);
    return status;
}

void kvl_rows_report(kvl_report *report, const kvl_rows *r) {
    report->rows = r->rows;
    report->n_rows = r->n_rows;
    report->n_samples = r->n_texts;
    report->block_tokens = r->block_tokens;
    report->n_resamples = r->n_resamples;
    report->seed = r->seed;
    report->has_mean_ppl = r->has_mean_ppl;
}

void kvl_rows_free(kvl_rows *r) {
    for (size_t i = 0; r->texts != NULL && i < 2 * r->n_rows; i++) {
        kvl_str_free(&r->texts[i]);
    }
    kvl_free(r->texts);
    kvl_free(r->rows);
    kvl_free(r->per_text);
    *r = (kvl_rows){0};
}
