/* Cells -> the rows of the curve table. */
#include "cli/sweep_protocol.h"
#include "cli/sweep_run.h"

#include "base/alloc.h"
#include "stats/blocks.h"
#include "stats/inference.h"

#include <math.h>
#include <string.h>

enum { BOOTSTRAP_SEED = 1 };

kvl_str *kvl_sweep_add_note(kvl_sweep_run_info *info) {
    static const size_t n_max = sizeof info->notes / sizeof info->notes[0];
    return info->n_notes < n_max ? &info->notes[info->n_notes++] : NULL;
}

static double cell_ppl(const kvl_cell *c) { return exp(c->nll_sum / (double)c->n_scored); }

/* The baseline as the protocol defines it: one pass where it has one, the same tokens otherwise. */
static const kvl_cell *baseline_cell(const kvl_sweep *s, size_t sample) {
    return s->one_pass != NULL ? &s->one_pass[sample] : kvl_sweep_cell(s, 0, sample);
}

/* What an outcome left at the end: the mean share of all entries, of layers that may be compressed. */
static double kept_share(const kvl_sweep *s, size_t policy) {
    double share = 0;
    for (size_t i = 0; i < s->n_samples; i++) {
        const kvl_cell *c = kvl_sweep_cell(s, policy, i);
        share += c->kept_mean / (double)((c->n_tokens - 1) * s->n_samples);
    }
    return share;
}

/* Keep ratio of a policy: its own; for fixed sizes and bytes the share of what the mean text has; for
 * outcomes what they were. */
static double keep_of(const kvl_sweep *s, size_t policy) {
    const kvl_policy *p = &s->policies[policy];
    if (kvl_policy_press(p)->is_identity) {
        return 1.0;
    }
    if (kvl_press_is_outcome(p->tree)) {
        return kept_share(s, policy);
    }
    if (p->size_tok == 0 && p->n_bytes == 0) {
        return p->keep_ratio;
    }
    double n_tokens = 0;
    double n_bytes = 0;
    for (size_t i = 0; i < s->n_samples; i++) {
        const kvl_cell *full = kvl_sweep_cell(s, 0, i);
        const size_t n = kvl_sweep_cell(s, policy, i)->n_budget;
        const size_t n_cached = full->n_tokens - 1; /* the last token is only predicted */
        n_tokens += (double)n / (double)s->n_samples;
        n_bytes += (double)full->kv_bytes_live * (double)kvl_min_size(n, n_cached) /
                   (double)(n_cached * s->n_samples);
    }
    return fmin(1.0, p->size_tok != 0 ? (double)p->size_tok / n_tokens : (double)p->n_bytes / n_bytes);
}

static double period_of(const kvl_sweep *s, size_t policy) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->n_samples; i++) {
        const kvl_cell *c = kvl_sweep_cell(s, policy, i);
        if (c->n_events >= 2) {
            sum += (double)(c->last_event - c->first_event) / (double)(c->n_events - 1);
            n++;
        }
    }
    return n != 0 ? sum / (double)n : 0;
}

/* The cluster of the sample behind one of this cluster: windows of a text, which follow each other, are one.
 */
static size_t next_cluster(const kvl_samples *samples, size_t i, size_t cluster) {
    return i + 1 < samples->n && samples->items[i + 1].text != samples->items[i].text ? cluster + 1 : cluster;
}

static size_t n_clusters(const kvl_samples *samples) {
    size_t cluster = 0;
    for (size_t i = 0; i < samples->n; i++) {
        cluster = next_cluster(samples, i, cluster);
    }
    return cluster + 1;
}

/* Bytes of the text of sample `first`, if its windows score each of its tokens just once; otherwise 0. */
static size_t scored_bytes(const kvl_sweep_run_info *info, size_t first) {
    const size_t index = info->samples->items[first].text;
    const kvl_sample *text = &info->texts->items[index];
    size_t next = text->has_bos ? 1 : 0;
    for (size_t i = first; i < info->samples->n && info->samples->items[i].text == index; i++) {
        const kvl_cell *c = kvl_sweep_cell(&info->sweep, 0, i);
        const size_t begin = info->samples->items[i].begin;
        if (begin + c->first_scored + 1 != next) {
            return 0;
        }
        next = begin + c->n_tokens;
    }
    return next == text->ids.n ? text->n_bytes : 0;
}

/* Over clusters: by their resamples, or where there are none, because they are few, by Student's t. */
static kvl_estimate mean_of(const kvl_resamples *r, const double *sums, const size_t *counts, size_t n) {
    return r != NULL ? kvl_bootstrap_mean(r, sums, counts) : kvl_cluster_mean(sums, counts, n);
}

/* Figures of each text, and over all of them.
 *   sums, counts  [samples] scratch */
static void fill_quality(kvl_report_row *row, const kvl_sweep_run_info *info, size_t policy,
                         kvl_report_text *texts, double *sums, size_t *counts, const kvl_resamples *r) {
    const kvl_sweep *s = &info->sweep;
    double nll = 0;
    double mean_ppl = 0;
    row->texts = texts;
    for (size_t i = 0, k = 0; i < s->n_samples; k = next_cluster(info->samples, i, k), i++) {
        const kvl_cell *c = policy == 0 ? baseline_cell(s, i) : kvl_sweep_cell(s, policy, i);
        if (texts[k].n_windows++ == 0) {
            texts[k].name = info->texts->items[info->samples->items[i].text].name;
            texts[k].n_bytes = c == kvl_sweep_cell(s, policy, i) ? scored_bytes(info, i) : 0;
            sums[k] = 0;
        }
        texts[k].n_scored += c->n_scored;
        texts[k].nll_sum += c->nll_sum;
        mean_ppl += cell_ppl(c) / (double)s->n_samples;
        row->n_scored += c->n_scored;
        nll += c->nll_sum;
        sums[k] += policy == 0 ? 0 : c->nll_sum - kvl_sweep_cell(s, 0, i)->nll_sum;
        counts[k] = texts[k].n_scored;
    }
    row->pooled_nll = nll / (double)row->n_scored;
    row->ppl = info->has_mean_ppl ? mean_ppl : exp(row->pooled_nll);
    const size_t n = n_clusters(info->samples);
    row->delta = mean_of(r, sums, counts, n);
    row->smallest = n >= KVL_FEW_CLUSTERS ? kvl_smallest_detectable(sums, counts, n) : (double)NAN;
}

/* One text has no other to be told from; where it is long its blocks are the clusters. */
static bool has_blocks(const kvl_sweep_run_info *info) {
    size_t n_scored = 0;
    for (size_t i = 0; i < info->sweep.n_samples; i++) {
        n_scored += kvl_sweep_cell(&info->sweep, 0, i)->n_scored;
    }
    return n_clusters(info->samples) == 1 && n_scored >= (size_t)KVL_FEW_BLOCKS * KVL_BLOCK_TOKENS;
}

static kvl_status fill_blocks(kvl_report_row *row, const kvl_sweep_run_info *info, size_t policy,
                              kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    double *x = kvl_calloc(row->n_scored, sizeof *x);
    if (x == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    for (size_t i = 0, n = 0; i < s->n_samples; i++) {
        const kvl_cell *c = kvl_sweep_cell(s, policy, i);
        for (size_t t = 0; t < c->n_scored; t++) {
            x[n++] = c->nll[t] - kvl_sweep_cell(s, 0, i)->nll[t];
        }
    }
    kvl_block_estimates e;
    const kvl_status status = kvl_bootstrap_blocks(&e, x, row->n_scored, KVL_BLOCK_TOKENS,
                                                   KVL_BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED, err);
    kvl_free(x);
    if (status == KVL_OK) {
        row->delta = e.blocks;
        row->delta_half = e.half;
        row->delta_twice = e.twice;
        row->smallest = e.smallest;
    }
    return status;
}

/* The difference over the steps after a cell's first compression only: what came before cannot differ.
 *   sums, counts  [samples] scratch */
static void fill_affected(kvl_report_row *row, const kvl_sweep_run_info *info, size_t policy, double *sums,
                          size_t *counts, const kvl_resamples *r) {
    const kvl_sweep *s = &info->sweep;
    size_t n = 0;
    memset(sums, 0, s->n_samples * sizeof *sums);
    memset(counts, 0, s->n_samples * sizeof *counts);
    for (size_t i = 0, k = 0; i < s->n_samples; k = next_cluster(info->samples, i, k), i++) {
        const kvl_cell *c = kvl_sweep_cell(s, policy, i);
        const kvl_cell *none = kvl_sweep_cell(s, 0, i);
        size_t first = c->first_event + 1 > c->first_scored ? c->first_event + 1 - c->first_scored : 0;
        for (size_t t = first; t < c->n_scored && c->n_events != 0; t++) {
            sums[k] += c->nll[t] - none->nll[t];
            counts[k]++;
            row->n_affected++;
        }
    }
    for (size_t k = 0; k < n_clusters(info->samples); k++) { /* a text without any is no cluster */
        if (counts[k] != 0) {
            sums[n] = sums[k];
            counts[n++] = counts[k];
        }
    }
    if (n != 0) { /* resamples are of all clusters */
        row->delta_affected = mean_of(n == n_clusters(info->samples) ? r : NULL, sums, counts, n);
    }
}

static void fill_sizes(kvl_report_row *row, const kvl_sweep *s, size_t policy) {
    row->kept_min = SIZE_MAX;
    for (size_t i = 0; i < s->n_samples; i++) {
        const kvl_cell *c = kvl_sweep_cell(s, policy, i);
        row->kept_min = kvl_min_size(row->kept_min, c->kept_min);
        row->kept_max = kvl_max_size(row->kept_max, c->kept_max);
        row->kept_mean += c->kept_mean / (double)s->n_samples;
        row->kv_bytes += c->kv_bytes_live / s->n_samples;
        row->has_evicted = row->has_evicted || c->n_events != 0;
    }
    row->period_tok = period_of(s, policy);
}

/* Whether a policy's text has the key=value word [n_word]. */
static bool has_word(const kvl_policy *p, const char *word, size_t n_word) {
    kvl_str text = {0};
    bool has = false;
    kvl_policy_text(p, &text);
    for (const char *at = kvl_str_text(&text); !has && (at = strchr(at, ':')) != NULL;) {
        at++;
        has = strncmp(at, word, n_word) == 0 && (at[n_word] == ':' || at[n_word] == '\0');
    }
    kvl_str_free(&text);
    return has;
}

static bool has_same_press(const kvl_policy *a, const kvl_policy *b) {
    return memcmp(a->tree, b->tree, sizeof a->tree) == 0;
}

/* Name of a row's curve: its press, and those keys in which policies of the same press differ (but the
 * budget). */
static void name_curve(const kvl_sweep *s, size_t policy, kvl_str *out) {
    kvl_str text = {0};
    const kvl_policy *own = &s->policies[policy];
    kvl_policy_press_text(own, out);
    kvl_policy_text(own, &text);
    for (const char *at = kvl_str_text(&text); (at = strchr(at, ':')) != NULL;) {
        at++;
        size_t n = strcspn(at, ":");
        bool is_budget =
            strncmp(at, "keep=", 5) == 0 || strncmp(at, "size=", 5) == 0 || strncmp(at, "bytes=", 6) == 0;
        bool is_common = true;
        for (size_t i = 1; i < s->n_policies && !is_budget; i++) {
            is_common =
                is_common && (!has_same_press(own, &s->policies[i]) || has_word(&s->policies[i], at, n));
        }
        if (!is_budget && !is_common) {
            kvl_str_printf(out, ":%.*s", (int)n, at);
        }
    }
    kvl_str_free(&text);
}

static kvl_status make_rows(kvl_sweep_report *out, const kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    const size_t n_texts = n_clusters(info->samples);
    const bool is_block = has_blocks(info);
    double *sums = kvl_calloc(s->n_samples, sizeof *sums);
    size_t *counts = kvl_calloc(s->n_samples, sizeof *counts);
    kvl_resamples *resamples = NULL;
    kvl_status status = KVL_OK;
    if (sums == NULL || counts == NULL) {
        KVL_GO(kvl_fail_nomem(err, "report"));
    }
    if (n_texts >= KVL_FEW_CLUSTERS) {
        KVL_GO(kvl_resamples_create(&resamples, n_texts, KVL_BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED, err));
    }
    out->report.block_tokens = is_block ? KVL_BLOCK_TOKENS : 0;
    out->report.n_resamples = is_block || resamples != NULL ? KVL_BOOTSTRAP_RESAMPLES : 0;
    out->report.seed = BOOTSTRAP_SEED;
    for (size_t p = 0; p < s->n_policies; p++) {
        kvl_report_row *row = &out->rows[p];
        name_curve(s, p, &out->texts[2 * p]);
        kvl_policy_text(&s->policies[p], &out->texts[2 * p + 1]);
        KVL_GO(kvl_str_check(&out->texts[2 * p + 1], "report", err));
        row->press = kvl_str_text(&out->texts[2 * p]);
        row->policy = kvl_str_text(&out->texts[2 * p + 1]);
        row->is_baseline = p == 0;
        row->keep_ratio = keep_of(s, p);
        fill_quality(row, info, p, &out->per_text[p * n_texts], sums, counts, resamples);
        KVL_GO(is_block && p != 0 ? fill_blocks(row, info, p, err) : KVL_OK);
        fill_sizes(row, s, p);
        fill_affected(row, info, p, sums, counts, resamples);
        row->change_percent = 100.0 * (row->ppl / out->rows[0].ppl - 1.0);
    }
done:
    kvl_resamples_destroy(resamples);
    kvl_free(sums);
    kvl_free(counts);
    return status;
}

/* Stages of one run of rows with the same press: a curve of its own. */
static kvl_status stage_group(kvl_sweep_report *out, size_t first, size_t n, kvl_err *err) {
    const size_t n_texts = out->report.n_samples;
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

static kvl_status make_stages(kvl_sweep_report *out, const kvl_sweep *s, kvl_err *err) {
    for (size_t first = 1; first < s->n_policies;) {
        size_t n = 1;
        while (first + n < s->n_policies && strcmp(out->rows[first + n].press, out->rows[first].press) == 0 &&
               out->rows[first + n].keep_ratio < out->rows[first + n - 1].keep_ratio) {
            n++;
        }
        KVL_TRY(stage_group(out, first, n, err));
        first += n;
    }
    return KVL_OK;
}

static void describe(kvl_sweep_report *out, const kvl_sweep_run_info *info) {
    char cache[KVL_CACHE_TEXT];
    const kvl_model *model = kvl_engine_model(info->engine);
    const char *other = kvl_sweep_other_protocol(info->options);
    kvl_str_printf(&out->title, "%s%s%s on %s", info->options->preset->name, other[0] != '\0' ? " by " : "",
                   other, model->name);
    kvl_sweep_describe_protocol(&out->protocol, info);
    kvl_cache_text(cache, &model->shape);
    kvl_str_printf(&out->how,
                   "kvlab %s, %s, %u thread%s, %s (stored %s), cache %s, model hash %016llx; identity "
                   "check passed; %zu tokens "
                   "computed, %zu if every cell ran alone",
                   KVL_VERSION, kvl_engine_isa(info->engine), kvl_engine_threads(info->engine),
                   kvl_engine_threads(info->engine) == 1 ? "" : "s", kvl_arith_name(model->arith),
                   model->stored_dtype, cache, (unsigned long long)model->hash, info->sweep.rows_computed,
                   info->sweep.rows_naive);
    if (info->sweep.n_waves > 1) {
        kvl_str_printf(&out->how, ", in %zu waves", info->sweep.n_waves);
    }
    for (size_t i = 0; i < info->n_notes; i++) {
        out->notes[i] = kvl_str_text(&info->notes[i]);
    }
    const kvl_report method = out->report; /* of the intervals */
    out->report = (kvl_report){
        .title = kvl_str_text(&out->title),
        .protocol = kvl_str_text(&out->protocol),
        .how = kvl_str_text(&out->how),
        .command = info->command,
        .notes = out->notes,
        .n_notes = info->n_notes,
        .rows = out->rows,
        .n_rows = out->n_rows,
        .n_samples = n_clusters(info->samples),
        .block_tokens = method.block_tokens,
        .n_resamples = method.n_resamples,
        .seed = method.seed,
        .has_mean_ppl = info->has_mean_ppl,
    };
}

kvl_status kvl_sweep_report_make(kvl_sweep_report *out, const kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    *out = (kvl_sweep_report){.n_rows = s->n_policies};
    out->report.n_samples = n_clusters(info->samples);
    out->rows = kvl_calloc(out->n_rows, sizeof *out->rows);
    out->per_text = kvl_calloc(out->n_rows * out->report.n_samples, sizeof *out->per_text);
    out->texts = kvl_calloc(2 * out->n_rows, sizeof *out->texts);
    kvl_status status = out->rows != NULL && out->texts != NULL && out->per_text != NULL
                            ? KVL_OK
                            : kvl_fail_nomem(err, "report");
    if (status == KVL_OK) {
        status = make_rows(out, info, err);
    }
    if (status == KVL_OK) {
        status = make_stages(out, s, err);
    }
    if (status == KVL_OK) {
        describe(out, info);
    } else {
        kvl_sweep_report_free(out);
    }
    return status;
}

void kvl_sweep_report_free(kvl_sweep_report *r) {
    for (size_t i = 0; r->texts != NULL && i < 2 * r->n_rows; i++) {
        kvl_str_free(&r->texts[i]);
    }
    kvl_free(r->texts);
    kvl_free(r->rows);
    kvl_free(r->per_text);
    kvl_str_free(&r->title);
    kvl_str_free(&r->protocol);
    kvl_str_free(&r->how);
    *r = (kvl_sweep_report){0};
}
