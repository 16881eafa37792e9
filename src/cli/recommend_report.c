/* What `kvlab recommend` found: the answer first, then the front, then how it was made. */
#include "cli/recommend_report.h"

#include "base/alloc.h"
#include "base/json.h"
#include "cli/args.h"
#include "stats/resample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

/* ---- words ---- */

static const kvl_trial *trial_of(const kvl_recommend_info *info, const kvl_finalist *f) {
    return f == &info->result->full ? NULL : &info->result->trials[f->trial];
}

static void put_policy(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_trial *trial = trial_of(info, f);
    kvl_str text = {0};
    if (trial == NULL) {
        kvl_str_puts(out, "none");
        return;
    }
    kvl_policy_text(&trial->policy, &text);
    const char *all = kvl_str_text(&text);
    const char *cap = strstr(all, ":cap=1:"); /* what a text has anyway */
    kvl_str_append(out, all, cap != NULL ? (size_t)(cap - all) : text.len);
    kvl_str_puts(out, cap != NULL ? cap + strlen(":cap=1") : "");
    kvl_str_free(&text);
}

/* Short, for the picture: "knorm, keep 0.5, sinks 4, q8_0". */
static void put_name(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_trial *trial = trial_of(info, f);
    const kvl_policy *p = &trial->policy;
    const kvl_form *form = &info->config->forms[trial->form];
    kvl_policy_press_text(p, out);
    if (!trial->is_fixed) {
        kvl_str_printf(out, ", keep %g", p->keep_ratio);
    }
    if (p->protections.n_sinks != 0) {
        kvl_str_printf(out, ", sinks %llu", (ull)p->protections.n_sinks);
    }
    if (p->protections.n_recent != 0) {
        kvl_str_printf(out, ", recent %llu", (ull)p->protections.n_recent);
    }
    kvl_str_printf(out, ", %s", kvl_kv_type_name(form->key_type));
    if (form->value_type != form->key_type) {
        kvl_str_printf(out, "/%s", kvl_kv_type_name(form->value_type));
    }
}

static void put_types(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_trial *trial = trial_of(info, f);
    const kvl_form *form = &info->config->forms[trial != NULL ? trial->form : 0];
    kvl_str_printf(out, "%s/%s", kvl_kv_type_name(form->key_type), kvl_kv_type_name(form->value_type));
}

/* As a shell reads it. */
static void put_quoted(kvl_str *out, const char *word) {
    const bool is_plain = strpbrk(word, " ()>&|;'\"$*?") == NULL;
    kvl_str_printf(out, is_plain ? "%s" : "'%s'", word);
}

/* Options of the model and of how it is run. */
static void put_model(kvl_str *out, const kvl_recommend_options *o) {
    const struct {
        const char *option, *value;
    } words[] = {{"-m", o->model.path},
                 {"-hf", o->model.hf_repo},
                 {"-hff", o->model.hf_file},
                 {"--arith", o->arith != KVL_ARITH_F32 ? kvl_arith_name(o->arith) : NULL}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].value != NULL) {
            kvl_str_printf(out, " %s ", words[i].option);
            put_quoted(out, words[i].value);
        }
    }
}

/* -P and the types of the cache, where they are not the program's own. */
static void put_setting(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_trial *trial = trial_of(info, f);
    const kvl_form *form = &info->config->forms[trial->form];
    const kvl_shape *shape = &info->model->shape;
    kvl_str policy = {0};
    put_policy(&policy, info, f);
    kvl_str_puts(out, "-P ");
    put_quoted(out, kvl_str_text(&policy));
    kvl_str_free(&policy);
    if (form->key_type != KVL_KV_F32) {
        kvl_str_printf(out, " -ctk %s", kvl_kv_type_name(form->key_type));
    }
    if (form->value_type != KVL_KV_F32) {
        kvl_str_printf(out, " -ctv %s", kvl_kv_type_name(form->value_type));
    }
    if (shape->n_residual != 0) {
        kvl_str_printf(out, " --kv-residual %u", shape->n_residual);
    }
    kvl_str_puts(out, shape->has_hadamard ? " --kv-hadamard on" : "");
}

static void put_lacks(kvl_str *out, unsigned lacks) {
    static const char *const words[] = {"quality", "bytes", "TTFT", "TPOT"};
    const char *gap = "";
    for (unsigned i = 0; i < 4; i++) {
        if ((lacks >> i & 1) != 0) {
            kvl_str_printf(out, "%s%s", gap, words[i]);
            gap = ", ";
        }
    }
}

static double percent_of_full(const kvl_recommend_info *info, uint64_t bytes) {
    return 100.0 * (double)bytes / (double)info->result->full.claim.bytes;
}

/* The loss with its interval, to four digits; what rounds to 0 has no sign. */
static void put_loss(kvl_str *out, const kvl_estimate *e) {
    const double x[] = {e->mean, e->low, e->high};
    double shown[3];
    for (size_t i = 0; i < 3; i++) {
        shown[i] = fabs(x[i]) < 5e-5 ? 0.0 : x[i];
    }
    kvl_str_printf(out, e->has_interval ? "%+.4f [%+.4f, %+.4f]" : "%+.4f", shown[0], shown[1], shown[2]);
}

/* ---- the answer ---- */

static void put_quality(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_claim *c = &f->claim;
    const double limit = info->options->wish.max_loss;
    const bool is_shown = (f->lacks & KVL_LACKS_QUALITY) == 0;
    kvl_str_puts(out, "  loss     ");
    put_loss(out, &c->loss);
    if (!c->loss.has_interval) {
        kvl_str_puts(out, " nats/token; a single window gives no interval\n");
        return;
    }
    kvl_str_printf(out, " nats/token on %zu held-out %s: ", info->result->n_clusters,
                   info->result->is_by_window ? "windows" : "texts");
    if (c->loss.is_few) {
        kvl_str_printf(out, "too few for a statement (expected %d)\n", (int)KVL_FEW_CLUSTERS);
    } else if (!is_shown && c->loss.high < limit) {
        kvl_str_printf(out, "below %g by itself, not as one of %zu settings tested (p = %.3f)\n", limit,
                       info->result->n_finalists, c->p);
    } else if (!is_shown) {
        kvl_str_printf(out, "not shown to be below %g\n", limit);
    } else if (c->loss.high < 0) {
        kvl_str_puts(out, "better than the full cache there\n");
    } else {
        kvl_str_printf(out,
                       c->loss.low > -limit ? "equivalent within %g (p = %.2g)\n" : "below %g (p = %.2g)\n",
                       limit, c->p);
    }
}

/* "1.5 MiB instead of 6.0 MiB" */
static void put_instead(kvl_str *out, uint64_t own, uint64_t full) {
    char texts[2][KVL_BYTES_TEXT];
    kvl_print_bytes(texts[0], own);
    kvl_print_bytes(texts[1], full);
    kvl_str_printf(out, "%s instead of %s", texts[0], texts[1]);
}

static void put_bytes(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_finalist *none = &info->result->full;
    kvl_str_puts(out, "  cache    ");
    put_instead(out, f->claim.bytes, none->claim.bytes);
    kvl_str_printf(out, " at the end (%.3g %%)\n  peak     ", percent_of_full(info, f->claim.bytes));
    put_instead(out, f->kv_bytes_peak, none->kv_bytes_peak);
    kvl_str_puts(out, " allocated while the prompt is read\n");
}

static void put_time(kvl_str *out, const char *name, const char *what, const kvl_median *ns,
                     const kvl_median *ratio, const kvl_median *full_ns, const kvl_median *same) {
    kvl_str_printf(out, "  %s     %.3g ms instead of %.3g (%+.1f %% [%+.1f, %+.1f])%s", name,
                   ns->value * 1e-6, full_ns->value * 1e-6, 100 * (ratio->value - 1), 100 * (ratio->low - 1),
                   100 * (ratio->high - 1), what);
    const bool is_within = ratio->low <= same->high && ratio->high >= same->low;
    kvl_str_puts(out, is_within ? "; no difference told\n" : "\n");
}

static void put_cost(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    const kvl_recommend *r = info->result;
    char compress[64];
    put_quality(out, info, f);
    put_bytes(out, info, f);
    snprintf(compress, sizeof compress, ", of which %.3g compress", f->compress_ns * 1e-6);
    put_time(out, "TTFT", compress, &f->claim.ttft_ns, &f->claim.ttft_ratio, &r->full.claim.ttft_ns,
             &r->same_ttft);
    put_time(out, "TPOT", "", &f->claim.tpot_ns, &f->claim.tpot_ratio, &r->full.claim.tpot_ns, &r->same_tpot);
}

static void put_commands(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    kvl_str_puts(out, "\n  score a text of yours:  kvlab sweep --preset prefill-continue");
    put_model(out, info->options);
    kvl_str_puts(out, " ");
    put_setting(out, info, f);
    kvl_str_printf(out, " --prefill %zu --score %zu -f TEXT\n  time it:                kvlab bench",
                   info->config->n_prompt, info->config->n_new);
    put_model(out, info->options);
    kvl_str_puts(out, " ");
    put_setting(out, info, f);
    kvl_str_printf(out, " -d %zu -p 0 -n %zu\n\n", info->config->n_prompt, info->config->n_new);
}

static void put_limits(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_wish *w = &info->options->wish;
    char bytes[KVL_BYTES_TEXT];
    kvl_str_printf(out, "loss below %g nats/token", w->max_loss);
    if (w->max_bytes != 0) {
        kvl_print_bytes(bytes, w->max_bytes);
        kvl_str_printf(out, ", at most %s", bytes);
    }
    const struct {
        const char *name;
        const kvl_time_limit *limit;
    } times[] = {{"TTFT", &w->ttft}, {"TPOT", &w->tpot}};
    for (size_t i = 0; i < 2; i++) {
        if (times[i].limit->ratio > 0) {
            kvl_str_printf(out, ", %s within %+.4g %%", times[i].name, 100 * (times[i].limit->ratio - 1));
        } else if (times[i].limit->ns > 0) {
            kvl_str_printf(out, ", %s within %.4g ms", times[i].name, times[i].limit->ns * 1e-6);
        }
    }
}

static void put_least(kvl_str *out, const kvl_recommend_info *info) {
    uint64_t least = UINT64_MAX;
    char bytes[KVL_BYTES_TEXT];
    for (size_t i = 0; i < info->result->n_trials; i++) {
        const uint64_t own = info->result->trials[i].bytes;
        least = own < least ? own : least;
    }
    kvl_print_bytes(bytes, least);
    kvl_str_printf(out, "nothing that was tried fits: the least is %s at the end of %zu + %zu tokens\n\n",
                   bytes, info->config->n_prompt, info->config->n_new);
}

static void put_answer(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    if (r->answer < r->n_finalists) {
        const kvl_finalist *f = &r->finalists[r->answer];
        kvl_str_puts(out, "use  ");
        put_setting(out, info, f);
        kvl_str_puts(out, "\n\n");
        put_cost(out, info, f);
        put_commands(out, info, f);
        return;
    }
    kvl_str_puts(out, "none qualifies: ");
    put_limits(out, info);
    kvl_str_puts(out, "\n\n");
    if (r->n_finalists == 0) {
        put_least(out, info);
        return;
    }
    const kvl_finalist *f = &r->finalists[r->nearest];
    kvl_str_puts(out, "nearest  ");
    put_setting(out, info, f);
    kvl_str_puts(out, "\n  lacks    ");
    put_lacks(out, f->lacks);
    kvl_str_puts(out, "\n");
    put_cost(out, info, f);
    put_commands(out, info, f);
}

/* ---- the front ---- */

enum { N_COLUMNS = 8, CELL_BYTES = 128 };

static const struct {
    const char *head;
    bool is_left;
} columns[N_COLUMNS] = {
    {"", true},         {"setting", true},  {"cache", true},
    {"KV", false},      {"of full", false}, {"loss [95 % interval]", true},
    {"TTFT ms", false}, {"TPOT ms", false},
};

static bool is_shown(const kvl_recommend *r, size_t i) {
    return i == r->n_finalists || i == r->answer || !r->finalists[i].is_behind;
}

static void put_cells(char cells[N_COLUMNS][CELL_BYTES], const kvl_recommend_info *info, size_t i) {
    const kvl_recommend *r = info->result;
    const kvl_finalist *f = i < r->n_finalists ? &r->finalists[i] : &r->full;
    const kvl_claim *c = &f->claim;
    kvl_str text = {0};
    char bytes[KVL_BYTES_TEXT];
    snprintf(cells[0], CELL_BYTES, "%s",
             f == &r->full    ? " "
             : i == r->answer ? "=>"
             : f->lacks == 0  ? "ok"
                              : "-");
    put_policy(&text, info, f);
    snprintf(cells[1], CELL_BYTES, "%s", kvl_str_text(&text));
    kvl_str_clear(&text);
    put_types(&text, info, f);
    snprintf(cells[2], CELL_BYTES, "%s", kvl_str_text(&text));
    kvl_print_bytes(bytes, c->bytes);
    snprintf(cells[3], CELL_BYTES, "%s", bytes);
    snprintf(cells[4], CELL_BYTES, "%.3g %%", percent_of_full(info, c->bytes));
    kvl_str_clear(&text);
    put_loss(&text, &c->loss);
    snprintf(cells[5], CELL_BYTES, "%s", f == &r->full ? "0" : kvl_str_text(&text));
    kvl_str_free(&text);
    snprintf(cells[6], CELL_BYTES, "%.3g", c->ttft_ns.value * 1e-6);
    snprintf(cells[7], CELL_BYTES, "%.3g", c->tpot_ns.value * 1e-6);
}

static void put_row(kvl_str *out, char cells[N_COLUMNS][CELL_BYTES], const int *widths, bool is_markdown) {
    kvl_str_puts(out, is_markdown ? "|" : "");
    for (int i = 0; i < N_COLUMNS; i++) {
        if (is_markdown) {
            kvl_str_printf(out, " %s |", cells[i]);
        } else {
            kvl_str_printf(out, columns[i].is_left ? "%-*s%s" : "%*s%s", widths[i], cells[i],
                           i + 1 < N_COLUMNS ? "  " : "\n");
        }
    }
    kvl_str_puts(out, is_markdown ? "\n" : "");
}

static void put_front(kvl_str *out, const kvl_recommend_info *info, bool is_markdown) {
    const kvl_recommend *r = info->result;
    char cells[N_COLUMNS][CELL_BYTES];
    int widths[N_COLUMNS] = {0};
    size_t n_left_out = 0;
    for (int c = 0; c < N_COLUMNS; c++) {
        widths[c] = (int)strlen(columns[c].head);
    }
    for (size_t i = 0; i <= r->n_finalists; i++) {
        n_left_out += !is_shown(r, i);
        put_cells(cells, info, i);
        for (int c = 0; c < N_COLUMNS && is_shown(r, i); c++) {
            widths[c] = (int)kvl_max_size((size_t)widths[c], strlen(cells[c]));
        }
    }
    for (int c = 0; c < N_COLUMNS; c++) {
        snprintf(cells[c], CELL_BYTES, "%s", columns[c].head);
    }
    put_row(out, cells, widths, is_markdown);
    for (int c = 0; c < N_COLUMNS && is_markdown; c++) {
        kvl_str_printf(out, "%s%s%s", c == 0 ? "|" : "", columns[c].is_left ? "---|" : "---:|",
                       c + 1 < N_COLUMNS ? "" : "\n");
    }
    for (size_t i = 0; i <= r->n_finalists; i++) {
        if (is_shown(r, i)) {
            put_cells(cells, info, i);
            put_row(out, cells, widths, is_markdown);
        }
    }
    kvl_str_printf(
        out,
        "\n=> the answer, ok: qualifies too, -: does not. Left out: %zu of %zu finalists that another "
        "one equals or beats in loss, bytes, TTFT and TPOT.\n",
        n_left_out, r->n_finalists);
}

/* ---- how ---- */

static void put_noise(kvl_str *out, const kvl_recommend *r) {
    const struct {
        const char *name;
        const kvl_median *same;
    } times[] = {{"TTFT", &r->same_ttft}, {"TPOT", &r->same_tpot}};
    for (size_t i = 0; i < 2; i++) {
        const kvl_median *same = times[i].same;
        const bool is_noisy = same->low > 1 || same->high < 1 || same->high - same->low > 0.04;
        kvl_str_printf(out, "%s %s %.3f [%.3f, %.3f]%s", i == 0 ? "" : ",", times[i].name, same->value,
                       same->low, same->high, is_noisy ? ": too noisy for smaller differences" : "");
    }
    kvl_str_puts(out, "\n");
}

static void put_how(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    const kvl_recommend_config *c = info->config;
    double seconds = 0;
    size_t n_shared = 0;
    for (size_t i = 0; i < KVL_RECOMMEND_STAGES; i++) {
        seconds += (double)r->wall_ns[i] * 1e-9;
    }
    for (size_t i = 0; i < r->n_trials; i++) {
        n_shared += r->trials[i].is_whole;
    }
    kvl_str_puts(out, "\nhow\n");
    kvl_str_printf(
        out,
        "  protocol   %zu tokens prefilled with the full cache, compressed once, the next %zu scored; "
        "full cache: %.4f nats/token\n",
        c->n_prompt, c->n_new, r->full_nll);
    kvl_str_printf(out, "%s", info->texts);
    kvl_str_printf(out,
                   "  searched   %zu settings: %zu on every window to choose on, %zu on every second one; "
                   "%zu finalists of the front\n",
                   r->n_trials, n_shared, r->n_trials - n_shared, r->n_finalists);
    kvl_str_printf(
        out,
        "  confirmed  %d bootstrap resamples of the %zu %s, one family of %zu: qualifies where the "
        "interval ends below the limit and Holm's one-sided p is below %g\n",
        (int)KVL_BOOTSTRAP_RESAMPLES, r->n_clusters, r->is_by_window ? "windows" : "texts", r->n_finalists,
        KVL_CHOICE_ALPHA);
    kvl_str_printf(
        out,
        "  timed      medians of %zu repetitions in turn, after one to warm up; %zu tokens decoded; "
        "TTFT: prompt and compression; intervals by ranks\n             the full cache against itself:",
        c->n_repetitions, c->n_timed);
    put_noise(out, r);
    kvl_str_printf(
        out,
        "  run        %zu tokens through the model, %.0f s; kvlab %s, %s, %u threads, %s, model %016llx\n",
        r->rows, seconds, KVL_VERSION, r->isa, r->n_threads, kvl_arith_name(info->model->arith),
        (ull)info->model->hash);
    kvl_str_printf(out, "  again      %s\n", info->command);
}

/* ---- records ---- */

static json_t *median_json(const kvl_median *m) {
    return json_pack("[o, o, o]", kvl_json_number(m->value), kvl_json_number(m->low),
                     kvl_json_number(m->high));
}

static kvl_status put_object(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f,
                             bool is_answer, kvl_err *err) {
    const kvl_recommend_config *c = info->config;
    const kvl_claim *claim = &f->claim;
    kvl_str policy = {0};
    kvl_str types = {0};
    kvl_str lacks = {0};
    put_policy(&policy, info, f);
    put_types(&types, info, f);
    put_lacks(&lacks, f->lacks);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "schema",
        "kvlab.recommend/1", "model", info->model->name, "policy", kvl_str_text(&policy), "cache",
        kvl_str_text(&types), "is_answer", (int)is_answer, "lacks", kvl_str_text(&lacks), "is_dominated",
        (int)f->is_behind, "n_prompt", (json_int_t)c->n_prompt, "n_new", (json_int_t)c->n_new, "kv_bytes_end",
        (json_int_t)claim->bytes, "kv_bytes_live", (json_int_t)f->kv_bytes_live, "kv_bytes_peak",
        (json_int_t)f->kv_bytes_peak, "peak_rss_bytes", (json_int_t)f->peak_rss_bytes, "loss",
        json_pack("[o, o, o]", kvl_json_number(claim->loss.mean), kvl_json_number(claim->loss.low),
                  kvl_json_number(claim->loss.high)));
    kvl_str_free(&policy);
    kvl_str_free(&types);
    kvl_str_free(&lacks);
    const json_t *all =
        json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s}", "p_holm", kvl_json_number(claim->p),
                  "n_clusters", (json_int_t)info->result->n_clusters, "ttft_ns", median_json(&claim->ttft_ns),
                  "ttft_ratio", median_json(&claim->ttft_ratio), "tpot_ns", median_json(&claim->tpot_ns),
                  "tpot_ratio", median_json(&claim->tpot_ratio), "compress_ns",
                  kvl_json_number(f->compress_ns), "n_settings", (json_int_t)info->result->n_trials,
                  "n_finalists", (json_int_t)info->result->n_finalists, "command", info->command);
    json_object_update(o, (json_t *)(uintptr_t)all);
    json_decref((json_t *)(uintptr_t)all);
    return kvl_json_write(out, o, false, err);
}

static void put_csv(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    kvl_str_puts(out, "policy,cache,is_answer,lacks,is_dominated,kv_bytes_end,kv_bytes_live,kv_bytes_peak,"
                      "peak_rss_bytes,loss,loss_low,loss_high,p_holm,ttft_ns,tpot_ns,compress_ns,ttft_ratio,"
                      "tpot_ratio\n");
    for (size_t i = 0; i <= r->n_finalists; i++) {
        const kvl_finalist *f = i < r->n_finalists ? &r->finalists[i] : &r->full;
        const kvl_claim *c = &f->claim;
        kvl_str_puts(out, "\"");
        put_policy(out, info, f);
        kvl_str_puts(out, "\",");
        put_types(out, info, f);
        kvl_str_printf(out, ",%d,\"", i == r->answer && i < r->n_finalists);
        put_lacks(out, f->lacks);
        kvl_str_printf(
            out, "\",%d,%llu,%llu,%llu,%llu,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g\n",
            f->is_behind, (ull)c->bytes, (ull)f->kv_bytes_live, (ull)f->kv_bytes_peak, (ull)f->peak_rss_bytes,
            c->loss.mean, c->loss.low, c->loss.high, c->p, c->ttft_ns.value, c->tpot_ns.value, f->compress_ns,
            c->ttft_ratio.value, c->tpot_ratio.value);
    }
}

kvl_status kvl_recommend_write(kvl_str *out, const kvl_recommend_info *info, kvl_err *err) {
    const kvl_recommend *r = info->result;
    const bool is_markdown = info->options->format == KVL_RECOMMEND_MD;
    if (info->options->format == KVL_RECOMMEND_JSONL) {
        for (size_t i = 0; i <= r->n_finalists; i++) {
            const bool is_full = i == r->n_finalists;
            KVL_TRY(put_object(out, info, is_full ? &r->full : &r->finalists[i], !is_full && i == r->answer,
                               err));
        }
    } else if (info->options->format == KVL_RECOMMEND_CSV) {
        put_csv(out, info);
    } else {
        kvl_str_puts(out, is_markdown ? "```\n" : "");
        put_answer(out, info);
        kvl_str_puts(out, is_markdown ? "```\n\n" : "");
        put_front(out, info, is_markdown);
        kvl_str_puts(out, is_markdown ? "\n```" : "");
        put_how(out, info);
        kvl_str_puts(out, is_markdown ? "```\n" : "");
    }
    return kvl_str_check(out, "recommend", err);
}

/* ---- the picture ---- */

kvl_status kvl_recommend_chart(const kvl_recommend_info *info, const char *path, kvl_err *err) {
    const kvl_recommend *r = info->result;
    kvl_trade_point points[KVL_MAX_FINALISTS];
    kvl_str names[KVL_MAX_FINALISTS] = {{0}};
    char title[160];
    char protocol[200];
    for (size_t i = 0; i < r->n_finalists; i++) {
        const kvl_finalist *f = &r->finalists[i];
        put_name(&names[i], info, f);
        points[i] = (kvl_trade_point){.name = kvl_str_text(&names[i]),
                                      .bytes = (double)f->claim.bytes,
                                      .loss = f->claim.loss.mean,
                                      .low = f->claim.loss.low,
                                      .high = f->claim.loss.high,
                                      .is_answer = i == r->answer,
                                      .is_behind = f->is_behind,
                                      .qualifies = f->lacks == 0};
    }
    snprintf(title, sizeof title, "what a smaller cache costs on %s", info->model->name);
    snprintf(protocol, sizeof protocol,
             "%zu tokens compressed once, the next %zu scored; %zu held-out %s, 95 %% intervals; filled: "
             "qualifies; pale: another one is as good in loss, bytes and times",
             info->config->n_prompt, info->config->n_new, r->n_clusters,
             r->is_by_window ? "windows" : "texts");
    const kvl_trade trade = {.title = title,
                             .protocol = protocol,
                             .command = info->command,
                             .points = points,
                             .n_points = r->n_finalists,
                             .full_bytes = (double)r->full.claim.bytes,
                             .max_loss = info->options->wish.max_loss,
                             .max_bytes = (double)info->options->wish.max_bytes};
    const kvl_status status = kvl_chart_trade(&trade, path, err);
    for (size_t i = 0; i < r->n_finalists; i++) {
        kvl_str_free(&names[i]);
    }
    return status;
}
