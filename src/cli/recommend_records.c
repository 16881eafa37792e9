/* What `kvlab recommend` found, for machines and as a picture. */
#include "cli/recommend_words.h"

#include "base/json.h"
#include "report/section.h"
#include "stats/resample.h"

#include <math.h>
#include <stdio.h>

typedef unsigned long long ull; /* for %llu */

/* ---- JSON lines ---- */

static json_t *median_json(const kvl_median *m) {
    return json_pack("[o, o, o]", kvl_json_number(m->value), kvl_json_number(m->low),
                     kvl_json_number(m->high));
}

/* Every repetition of one of those that took turns; TTFT with the compression, as everywhere. */
static json_t *times_json(const kvl_recommend_info *info, size_t turn) {
    const size_t n = info->config->n_repetitions;
    const kvl_timing_sample *own = info->result->times + turn * n;
    json_t *ttft = json_array(), *compress = json_array(), *tpot = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(ttft, kvl_json_number(own[i].ttft_ns + own[i].compress_ns));
        json_array_append_new(compress, kvl_json_number(own[i].compress_ns));
        json_array_append_new(tpot, kvl_json_number(own[i].tpot_ns));
    }
    return json_pack("{s:o, s:o, s:o}", "ttft_ns", ttft, "compress_ns", compress, "tpot_ns", tpot);
}

static json_t *setting_json(const kvl_recommend_info *info, const kvl_finalist *f, bool is_answer) {
    const kvl_recommend_config *c = info->config;
    const kvl_claim *claim = &f->claim;
    kvl_str policy = {0}, types = {0}, lacks = {0};
    kvl_recommend_put_policy(&policy, kvl_recommend_trial(info, f));
    kvl_recommend_put_types(&types, info, kvl_recommend_trial(info, f));
    kvl_recommend_put_lacks(&lacks, f->lacks);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "schema", "kvlab.recommend/1",
        "model", info->model->name, "policy", kvl_str_text(&policy), "cache", kvl_str_text(&types),
        "is_answer", (int)is_answer, "lacks", kvl_str_text(&lacks), "is_dominated", (int)f->is_behind,
        "n_prompt", (json_int_t)c->n_prompt, "n_new", (json_int_t)c->n_new, "kv_bytes_end",
        (json_int_t)claim->bytes, "kv_bytes_live", (json_int_t)f->kv_bytes_live, "kv_bytes_peak",
        (json_int_t)f->kv_bytes_peak, "peak_rss_bytes", (json_int_t)f->peak_rss_bytes);
    kvl_str_free(&policy);
    kvl_str_free(&types);
    kvl_str_free(&lacks);
    return o;
}

/* Quality and time; turn: of f among those that were timed. */
static json_t *claim_json(const kvl_recommend_info *info, const kvl_finalist *f, size_t turn) {
    const kvl_claim *claim = &f->claim;
    return json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "loss",
                     json_pack("[o, o, o]", kvl_json_number(claim->loss.mean),
                               kvl_json_number(claim->loss.low), kvl_json_number(claim->loss.high)),
                     "p_holm", f == &info->result->full ? json_null() : kvl_json_number(claim->p),
                     "smallest_detectable",
                     f == &info->result->full ? json_null() : kvl_json_number(f->smallest), "n_clusters",
                     (json_int_t)info->result->n_clusters, "ttft_ns", median_json(&claim->ttft_ns),
                     "ttft_ratio", median_json(&claim->ttft_ratio), "tpot_ns", median_json(&claim->tpot_ns),
                     "tpot_ratio", median_json(&claim->tpot_ratio), "compress_ns",
                     kvl_json_number(f->compress_ns), "repetitions", times_json(info, turn));
}

/* How all of them were found. */
static json_t *run_json(const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (ull)info->model->hash);
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:s, s:I, s:s, s:s, s:s, s:s, s:o}",
                     "same_ttft_ratio", median_json(&r->same_ttft), "same_tpot_ratio",
                     median_json(&r->same_tpot), "n_settings", (json_int_t)r->n_trials, "n_finalists",
                     (json_int_t)r->n_finalists, "n_resamples", (json_int_t)KVL_BOOTSTRAP_RESAMPLES, "seed",
                     (json_int_t)KVL_RECOMMEND_SEED, "is_by_window", (int)r->is_by_window, "isa", r->isa,
                     "threads", (json_int_t)r->n_threads, "arith", kvl_arith_name(info->model->arith),
                     "model_hash", hash, "texts", info->texts, "command", info->command, "max_loss",
                     kvl_json_number(info->options->wish.max_loss));
}

/* Of the full cache's line: its second turn, and what came nearest where nothing that evicts is a finalist.
 */
static json_t *full_json(const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    json_t *missed = NULL;
    if (r->missed < r->n_trials) {
        const kvl_trial *t = &r->trials[r->missed];
        kvl_str policy = {0}, types = {0};
        kvl_recommend_put_policy(&policy, t);
        kvl_recommend_put_types(&types, info, t);
        missed =
            json_pack("{s:s, s:s, s:o, s:I}", "policy", kvl_str_text(&policy), "cache", kvl_str_text(&types),
                      "loss_when_chosen", kvl_json_number(t->loss), "kv_bytes_end", (json_int_t)t->bytes);
        kvl_str_free(&policy);
        kvl_str_free(&types);
    }
    return json_pack("{s:o, s:o}", "repetitions_again", times_json(info, 1), "nearest_that_evicts",
                     missed != NULL ? missed : json_null());
}

kvl_status kvl_recommend_write_lines(kvl_str *out, const kvl_recommend_info *info, kvl_err *err) {
    const kvl_recommend *r = info->result;
    for (size_t i = 0; i <= r->n_finalists; i++) {
        const bool is_full = i == r->n_finalists;
        const kvl_finalist *f = is_full ? &r->full : &r->finalists[i];
        json_t *o = kvl_json_join(setting_json(info, f, !is_full && i == r->answer),
                                  claim_json(info, f, is_full ? 0 : i + 2));
        o = kvl_json_join(o, run_json(info));
        KVL_TRY(kvl_json_write(out, is_full ? kvl_json_join(o, full_json(info)) : o, false, err));
    }
    return KVL_OK;
}

/* ---- CSV ---- */

void kvl_recommend_write_csv(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    kvl_str_puts(
        out, "policy,cache,is_answer,lacks,is_dominated,kv_bytes_end,kv_bytes_live,kv_bytes_peak,"
             "peak_rss_bytes,loss,loss_low,loss_high,p_holm,smallest_detectable,ttft_ns,tpot_ns,compress_ns,"
             "ttft_ratio,tpot_ratio\n");
    for (size_t i = 0; i <= r->n_finalists; i++) {
        const kvl_finalist *f = i < r->n_finalists ? &r->finalists[i] : &r->full;
        const kvl_claim *c = &f->claim;
        const bool has_interval = c->loss.has_interval && f != &r->full;
        kvl_str_puts(out, "\"");
        kvl_recommend_put_policy(out, kvl_recommend_trial(info, f));
        kvl_str_puts(out, "\",");
        kvl_recommend_put_types(out, info, kvl_recommend_trial(info, f));
        kvl_str_printf(out, ",%d,\"", i == r->answer && i < r->n_finalists);
        kvl_recommend_put_lacks(out, f->lacks);
        kvl_str_printf(out, "\",%d,%llu,%llu,%llu,%llu,%.17g", f->is_behind, (ull)c->bytes,
                       (ull)f->kv_bytes_live, (ull)f->kv_bytes_peak, (ull)f->peak_rss_bytes, c->loss.mean);
        if (has_interval) {
            kvl_str_printf(out, ",%.17g,%.17g,%.17g,%.17g", c->loss.low, c->loss.high, c->p, f->smallest);
        } else {
            kvl_str_puts(out, ",,,,");
        }
        kvl_str_printf(out, ",%.17g,%.17g,%.17g,%.17g,%.17g\n", c->ttft_ns.value, c->tpot_ns.value,
                       f->compress_ns, c->ttft_ratio.value, c->tpot_ratio.value);
    }
}

/* ---- the picture ---- */

/* A finalist, or the full cache, as a line of the chart. */
static kvl_choice_line line_of(const kvl_recommend_info *info, const kvl_finalist *f, kvl_str *policy,
                               kvl_str *cache) {
    const kvl_recommend *r = info->result;
    const kvl_claim *claim = &f->claim;
    const kvl_trial *trial = kvl_recommend_trial(info, f);
    kvl_recommend_put_policy(policy, trial);
    kvl_recommend_put_types(cache, info, trial);
    return (kvl_choice_line){.policy = policy->data,
                             .cache = cache->data,
                             .loss = claim->loss,
                             .kv_bytes = (double)claim->bytes,
                             .kv_share = (double)claim->bytes / (double)r->full.claim.bytes,
                             .ttft_ratio = claim->ttft_ratio.value,
                             .tpot_ratio = claim->tpot_ratio.value,
                             .is_full = f == &r->full,
                             .is_answer = r->answer < r->n_finalists && f == &r->finalists[r->answer],
                             .is_behind = f->is_behind,
                             .qualifies = f->lacks == 0};
}

kvl_status kvl_recommend_chart(const kvl_recommend_info *info, const char *path, kvl_err *err) {
    const kvl_recommend *r = info->result;
    kvl_choice_line lines[KVL_MAX_FINALISTS + 1];
    kvl_str texts[2 * (KVL_MAX_FINALISTS + 1)] = {{0}};
    char title[160];
    char line[200];
    for (size_t i = 0; i <= r->n_finalists; i++) {
        lines[i] =
            line_of(info, i < r->n_finalists ? &r->finalists[i] : &r->full, &texts[2 * i], &texts[2 * i + 1]);
    }
    lines[r->n_finalists].loss.has_interval = false; /* it is what others are compared with */
    kvl_choice_content choice = {.max_loss = info->options->wish.max_loss,
                                 .max_bytes = (double)info->options->wish.max_bytes,
                                 .n_clusters = r->n_clusters,
                                 .lines = lines,
                                 .n = r->n_finalists + 1};
    snprintf(title, sizeof title, "what a smaller cache costs on %s", info->model->name);
    snprintf(line, sizeof line,
             "%zu tokens compressed once, the next %zu scored; %zu held-out %s, 95 %% intervals; behind the "
             "front: another one is as good in loss, bytes and times",
             info->config->n_prompt, info->config->n_new, r->n_clusters,
             r->is_by_window ? "windows" : "texts");
    const kvl_content content = {.choice = &choice};
    const kvl_caption caption = {.title = title, .line = line, .command = info->command};
    const kvl_status status = kvl_chart_save(kvl_chart_find("pareto"), &content, KVL_EN, &caption, path, err);
    for (size_t i = 0; i < 2 * (r->n_finalists + 1); i++) {
        kvl_str_free(&texts[i]);
    }
    return status;
}
