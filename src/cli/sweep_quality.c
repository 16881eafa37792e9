/* Cells with the quality of their predictions -> summaries -> table, JSON. */
#include "cli/sweep_quality.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "stats/quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- bytes ---- */

static kvl_status decoded(char **out, size_t *n_bytes, const kvl_tokenizer *tokenizer, const kvl_ids *ids,
                          size_t n, kvl_err *err) {
    return kvl_tokenizer_decode(tokenizer, out, n_bytes, ids->ids, n, true, err);
}

/* Whether a text is what its ids decode to. */
static kvl_status check_text(bool *is_exact, const kvl_sample *text, const kvl_tokenizer *tokenizer,
                             kvl_err *err) {
    char *bytes = NULL;
    size_t n = 0;
    KVL_TRY(decoded(&bytes, &n, tokenizer, &text->ids, text->ids.n, err));
    *is_exact = n == text->n_bytes && kvl_hash_bytes(KVL_HASH_INIT, bytes, n) == text->hash;
    kvl_free(bytes);
    return KVL_OK;
}

kvl_status kvl_sweep_decoded_bytes(size_t *out, size_t first, size_t end, const kvl_sample *sample,
                                   const kvl_tokenizer *tokenizer, kvl_err *err) {
    char *before = NULL, *all = NULL;
    size_t n_before = 0, n_all = 0;
    kvl_status status = KVL_OK;
    KVL_GO(decoded(&before, &n_before, tokenizer, &sample->ids, first, err));
    KVL_GO(decoded(&all, &n_all, tokenizer, &sample->ids, end, err));
    const bool is_prefix = n_before <= n_all && memcmp(before, all, n_before) == 0;
    *out = is_prefix ? n_all - n_before : 0;
done:
    kvl_free(before);
    kvl_free(all);
    return status;
}

/* Bytes of the tokens that a cell scored. */
static kvl_status count_bytes(size_t *out, const kvl_cell *c, const kvl_sample *sample,
                              const kvl_tokenizer *tokenizer, kvl_err *err) {
    return kvl_sweep_decoded_bytes(out, c->n_tokens - c->n_scored, c->n_tokens, sample, tokenizer, err);
}

kvl_status kvl_sweep_count_bytes(kvl_sweep_run_info *info, const kvl_tokenizer *tokenizer, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    size_t text = SIZE_MAX;
    bool is_exact = false;
    info->n_bytes = kvl_calloc(s->n_samples, sizeof *info->n_bytes);
    info->one_pass_bytes = kvl_calloc(s->n_samples, sizeof *info->one_pass_bytes);
    if (info->n_bytes == NULL || info->one_pass_bytes == NULL) {
        return kvl_fail_nomem(err, "quality");
    }
    for (size_t i = 0; i < s->n_samples; i++) {
        const kvl_sample *sample = &info->samples->items[i];
        if (sample->text != text) {
            text = sample->text;
            KVL_TRY(check_text(&is_exact, &info->texts->items[text], tokenizer, err));
        }
        if (is_exact) {
            KVL_TRY(count_bytes(&info->n_bytes[i], kvl_sweep_cell(s, 0, i), sample, tokenizer, err));
        }
        if (is_exact && s->one_pass != NULL) {
            KVL_TRY(count_bytes(&info->one_pass_bytes[i], &s->one_pass[i], sample, tokenizer, err));
        }
    }
    return KVL_OK;
}

void kvl_sweep_free_bytes(kvl_sweep_run_info *info) {
    kvl_free(info->n_bytes);
    kvl_free(info->one_pass_bytes);
    kvl_free(info->text_bytes);
}

/* ---- summaries ---- */

/* Predictions of some cells, one after another. */
typedef struct tokens {
    kvl_token_list list;
    double *nll, *nll_full;
    float *entropy, *p_top, *kl;
    bool *is_hit, *is_same_top;
    double delta_sum, delta_affected_sum; /* nats */
    size_t n_affected;                    /* behind the first compression of their cell */
    double nll_sum;
    size_t n_bytes; /* 0: not known of all cells */
} tokens;

static void free_tokens(tokens *t) {
    kvl_free(t->nll);
    kvl_free(t->nll_full);
    kvl_free(t->entropy);
    kvl_free(t->p_top);
    kvl_free(t->kl);
    kvl_free(t->is_hit);
    kvl_free(t->is_same_top);
}

/* Room for n tokens. */
static kvl_status alloc_tokens(tokens *t, size_t n, kvl_err *err) {
    *t = (tokens){.nll = kvl_calloc(n, sizeof *t->nll),
                  .nll_full = kvl_calloc(n, sizeof *t->nll_full),
                  .entropy = kvl_calloc(n, sizeof *t->entropy),
                  .p_top = kvl_calloc(n, sizeof *t->p_top),
                  .kl = kvl_calloc(n, sizeof *t->kl),
                  .is_hit = kvl_calloc(n, sizeof *t->is_hit),
                  .is_same_top = kvl_calloc(n, sizeof *t->is_same_top)};
    bool has_all = t->nll != NULL && t->nll_full != NULL && t->entropy != NULL && t->p_top != NULL &&
                   t->kl != NULL && t->is_hit != NULL && t->is_same_top != NULL;
    t->list =
        (kvl_token_list){t->nll, t->nll_full, t->entropy, t->p_top, t->kl, t->is_hit, t->is_same_top, 0};
    return has_all ? KVL_OK : kvl_fail_nomem(err, "quality");
}

/* The first scored token of a cell whose query read a compressed cache; n_scored if there is none. */
static size_t first_affected(const kvl_cell *c) {
    const size_t first_step = c->n_tokens - 1 - c->n_scored;
    const size_t first = c->first_event + 1 > first_step ? c->first_event + 1 - first_step : 0;
    return c->n_events != 0 ? kvl_min_size(first, c->n_scored) : c->n_scored;
}

static void add_cell(tokens *t, const kvl_cell *c, const kvl_cell *full) {
    const size_t first = first_affected(c);
    for (size_t i = 0; i < c->n_scored; i++) {
        const size_t to = t->list.n + i;
        const double delta = c->nll[i] - full->nll[i];
        t->nll[to] = c->nll[i];
        t->nll_full[to] = full->nll[i];
        t->entropy[to] = c->quality[i].entropy;
        t->p_top[to] = c->quality[i].p_top;
        t->kl[to] = c->quality[i].kl;
        t->is_hit[to] = c->quality[i].is_hit;
        t->is_same_top[to] = c->quality[i].is_same_top;
        t->delta_sum += delta;
        t->delta_affected_sum += i >= first ? delta : 0;
    }
    t->nll_sum += c->nll_sum;
    t->n_affected += c->n_scored - first;
    t->list.n += c->n_scored;
}

/* ---- JSON ---- */

static void set_number(json_t *o, const char *key, double value) {
    json_object_set_new(o, key, kvl_json_number(value));
}

static void set_count(json_t *o, const char *key, size_t n) {
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* "kl_p99_9_nats": a quantile by its share in per cent; "median", "max". */
static void set_points(json_t *o, const char *before, const char *behind, const double *shares,
                       const double *points, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char share[16] = "median";
        char key[64];
        if (shares[i] != 0.5) {
            snprintf(share, sizeof share, shares[i] < 1 ? "p%g" : "max", 100 * shares[i]);
        }
        char *dot = strchr(share, '.');
        if (dot != NULL) {
            *dot = '_';
        }
        snprintf(key, sizeof key, "%s_%s%s", before, share, behind);
        set_number(o, key, points[i]);
    }
}

static void set_summary(json_t *o, const tokens *t, const kvl_quality *q) {
    set_number(o, "kl_mean_nats", q->kl);
    set_points(o, "kl", "_nats", kvl_tail_shares, q->kl_tails, KVL_N_TAILS);
    set_number(o, "same_top_share", q->same_top);
    set_number(o, "target_probability_change_mean", q->change);
    set_number(o, "target_probability_change_rms", q->change_rms);
    set_points(o, "target_probability_change", "", kvl_change_shares, q->change_points, KVL_N_CHANGES);
    set_number(o, "entropy_mean_nats", q->entropy);
    set_number(o, "nll_minus_entropy_mean_nats", q->nll_minus_entropy);
    set_number(o, "top_probability_mean", q->p_top);
    set_number(o, "accuracy", q->accuracy);
    set_number(o, "expected_calibration_error", q->calibration_error);
    set_number(o, "nll_hit_mean_nats", q->nll_hit);
    set_number(o, "nll_miss_mean_nats", q->nll_miss);
    json_object_set_new(o, "scored_bytes",
                        t->n_bytes != 0 ? json_integer((json_int_t)t->n_bytes) : json_null());
    set_number(o, "bits_per_byte", t->n_bytes != 0 ? kvl_bits_per_byte(t->nll_sum, t->n_bytes) : (double)NAN);
    set_number(o, "delta_nll_mean_nats", t->delta_sum / (double)t->list.n);
    set_points(o, "abs_delta_nll", "_nats", kvl_tail_shares, q->delta_tails, KVL_N_TAILS);
    set_count(o, "n_affected", t->n_affected);
    set_number(o, "delta_nll_affected_mean_nats",
               t->n_affected != 0 ? t->delta_affected_sum / (double)t->n_affected : (double)NAN);
}

kvl_status kvl_sweep_set_quality(json_t *o, const kvl_sweep_run_info *info, const kvl_cell *cell,
                                 kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    const bool is_one_pass = s->one_pass != NULL && cell == &s->one_pass[cell->sample];
    tokens t;
    kvl_quality q;
    kvl_status status = alloc_tokens(&t, cell->n_scored, err);
    if (status == KVL_OK) {
        add_cell(&t, cell, is_one_pass ? cell : kvl_sweep_cell(s, 0, cell->sample));
        t.n_bytes = (is_one_pass ? info->one_pass_bytes : info->n_bytes)[cell->sample];
        status = kvl_summarise_quality(&q, &t.list, err);
    }
    if (status == KVL_OK) {
        set_summary(o, &t, &q);
    }
    free_tokens(&t);
    return status;
}

void kvl_sweep_set_predictions(json_t *o, const kvl_cell *cell) {
    json_t *kl = json_array(), *entropy = json_array(), *p_top = json_array();
    json_t *is_hit = json_array(), *is_same_top = json_array();
    for (size_t i = 0; i < cell->n_scored; i++) {
        const kvl_token_quality *q = &cell->quality[i];
        json_array_append_new(kl, kvl_json_number((double)q->kl));
        json_array_append_new(entropy, kvl_json_number((double)q->entropy));
        json_array_append_new(p_top, kvl_json_number((double)q->p_top));
        json_array_append_new(is_hit, json_boolean(q->is_hit));
        json_array_append_new(is_same_top, json_boolean(q->is_same_top));
    }
    json_object_set_new(o, "kl_nats", kl);
    json_object_set_new(o, "entropy_nats", entropy);
    json_object_set_new(o, "top_probability", p_top);
    json_object_set_new(o, "is_hit", is_hit);
    json_object_set_new(o, "is_same_top", is_same_top);
}

/* ---- table ---- */

enum { n_columns = 16, cell_bytes = 32 };

static const struct {
    const char *head;
    int width;
} columns[n_columns] = {{"KL mean", 8},  {"median", 8}, {"p99", 8},       {"max", 8},
                        {"same top", 8}, {"Δp RMS", 7}, {"entropy", 7},   {"top p", 6},
                        {"accuracy", 8}, {"ECE", 6},    {"NLL-entr.", 9}, {"bit/byte", 8},
                        {"ΔNLL", 8},     {"scored", 7}, {"ΔNLL aff.", 9}, {"affected", 8}};

static void fill_columns(char cells[n_columns][cell_bytes], const tokens *t, const kvl_quality *q) {
    const double delta = t->delta_sum / (double)t->list.n;
    const double affected = t->delta_affected_sum / (double)t->n_affected;
    const double shown[4] = {q->kl, q->kl_tails[0], q->kl_tails[2], q->kl_tails[KVL_N_TAILS - 1]};
    for (size_t i = 0; i < 4; i++) {
        snprintf(cells[i], cell_bytes, "%.4f", shown[i]);
    }
    snprintf(cells[4], cell_bytes, "%.2f %%", 100 * q->same_top);
    snprintf(cells[5], cell_bytes, "%.2f %%", 100 * q->change_rms);
    snprintf(cells[6], cell_bytes, "%.4f", q->entropy);
    snprintf(cells[7], cell_bytes, "%.4f", q->p_top);
    snprintf(cells[8], cell_bytes, "%.2f %%", 100 * q->accuracy);
    snprintf(cells[9], cell_bytes, "%.4f", q->calibration_error);
    snprintf(cells[10], cell_bytes, "%+.4f", q->nll_minus_entropy);
    snprintf(cells[11], cell_bytes, t->n_bytes != 0 ? "%.4f" : "-", /* not known */
             t->n_bytes != 0 ? kvl_bits_per_byte(t->nll_sum, t->n_bytes) : 0);
    snprintf(cells[12], cell_bytes, "%+.4f", delta);
    snprintf(cells[13], cell_bytes, "%zu", t->list.n);
    snprintf(cells[14], cell_bytes, t->n_affected != 0 ? "%+.4f" : "-", affected);
    snprintf(cells[15], cell_bytes, "%zu", t->n_affected);
}

static void write_line(kvl_str *out, const char *const *cells, const char *policy, bool is_markdown) {
    kvl_str_puts(out, is_markdown ? "|" : "");
    for (size_t c = 0; c < n_columns; c++) {
        const int gap = is_markdown ? 0 : columns[c].width - (int)kvl_text_columns(cells[c]);
        kvl_str_printf(out, is_markdown ? " %*s%s |" : "%*s%s  ", gap > 0 ? gap : 0, "", cells[c]);
    }
    kvl_str_printf(out, is_markdown ? " %s |\n" : "%s\n", policy);
}

static void write_head(kvl_str *out, bool is_markdown) {
    const char *heads[n_columns];
    for (size_t c = 0; c < n_columns; c++) {
        heads[c] = columns[c].head;
    }
    kvl_str_puts(out, is_markdown ? "\n### " : "\n");
    kvl_str_puts(out, "quality of predictions, against those of the full cache on the same tokens\n\n");
    write_line(out, heads, "policy", is_markdown);
    for (size_t c = 0; is_markdown && c <= n_columns; c++) {
        kvl_str_puts(out, c == 0 ? "|---:|" : c < n_columns ? "---:|" : "---|\n");
    }
}

static kvl_status write_policy(kvl_str *out, const kvl_sweep_run_info *info, size_t policy, tokens *t,
                               bool is_markdown, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    bool has_bytes = true;
    kvl_quality q;
    for (size_t i = 0; i < s->n_samples; i++) {
        add_cell(t, kvl_sweep_cell(s, policy, i), kvl_sweep_cell(s, 0, i));
        has_bytes = has_bytes && info->n_bytes[i] != 0;
        t->n_bytes += info->n_bytes[i];
    }
    t->n_bytes = has_bytes ? t->n_bytes : 0;
    KVL_TRY(kvl_summarise_quality(&q, &t->list, err));
    char cells[n_columns][cell_bytes];
    const char *texts[n_columns];
    kvl_str name = {0};
    fill_columns(cells, t, &q);
    for (size_t c = 0; c < n_columns; c++) {
        texts[c] = cells[c];
    }
    kvl_policy_text(&s->policies[policy], &name);
    write_line(out, texts, kvl_str_text(&name), is_markdown);
    kvl_str_free(&name);
    return KVL_OK;
}

kvl_status kvl_sweep_write_quality(kvl_str *out, const kvl_sweep_run_info *info, bool is_markdown,
                                   kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    size_t n = 0;
    for (size_t i = 0; i < s->n_samples; i++) {
        n += kvl_sweep_cell(s, 0, i)->n_scored;
    }
    write_head(out, is_markdown);
    kvl_status status = KVL_OK;
    for (size_t p = 0; p < s->n_policies && status == KVL_OK; p++) {
        tokens t;
        status = alloc_tokens(&t, n, err);
        if (status == KVL_OK) {
            status = write_policy(out, info, p, &t, is_markdown, err);
        }
        free_tokens(&t);
    }
    kvl_str_puts(out,
                 "\nKL, entropy, NLL in nats. Δp: change of the probability of the token that came. ECE: "
                 "expected calibration error, 15 bins.\naffected: tokens whose query read a compressed "
                 "cache. -: not known (the ids do not decode to exactly the text), or none.\n");
    return status;
}
