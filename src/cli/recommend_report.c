/* What `kvlab recommend` found: the answer first, then the front, then how it was made. */
#include "cli/recommend_words.h"

#include "cli/args.h"
#include "stats/resample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

/* ---- words ---- */

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
    } else if (c->loss.low > limit) {
        kvl_str_printf(out, "above %g\n", limit);
    } else if (!is_shown) {
        if (c->loss.high < limit) {
            kvl_str_printf(out, "below %g by itself, not as one of %zu settings tested (p = %.3f)", limit,
                           info->result->n_finalists, c->p);
        } else {
            kvl_str_printf(out, "not shown to be below %g", limit);
        }
        kvl_str_printf(out, "; smallest detectable difference about %.2g\n", f->smallest);
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
    char compress[64] = "";
    const kvl_trial *trial = kvl_recommend_trial(info, f);
    put_quality(out, info, f);
    put_bytes(out, info, f);
    if (!kvl_policy_press(&trial->policy)->is_identity) {
        snprintf(compress, sizeof compress, ", of which %.3g compress", f->compress_ns * 1e-6);
    }
    put_time(out, "TTFT", compress, &f->claim.ttft_ns, &f->claim.ttft_ratio, &r->full.claim.ttft_ns,
             &r->same_ttft);
    put_time(out, "TPOT", "", &f->claim.tpot_ns, &f->claim.tpot_ratio, &r->full.claim.tpot_ns, &r->same_tpot);
}

static void put_commands(kvl_str *out, const kvl_recommend_info *info, const kvl_finalist *f) {
    kvl_str_puts(out, "\n  score a text of yours:  kvlab sweep --preset prefill-continue");
    kvl_recommend_put_model(out, info->options);
    kvl_str_puts(out, " ");
    kvl_recommend_put_setting(out, info, kvl_recommend_trial(info, f));
    kvl_str_printf(out, " --prefill %zu --score %zu -f TEXT\n  time it:                kvlab bench",
                   info->config->n_prompt, info->config->n_new);
    kvl_recommend_put_model(out, info->options);
    kvl_str_puts(out, " ");
    kvl_recommend_put_setting(out, info, kvl_recommend_trial(info, f));
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

/* Why nothing that evicts is among the finalists. */
static void put_missed(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    const kvl_wish *wish = &info->options->wish;
    char texts[2][KVL_BYTES_TEXT];
    if (r->missed == r->n_trials || r->n_finalists == 0) { /* what is missing was said then */
        return;
    }
    const kvl_trial *t = &r->trials[r->missed];
    kvl_str_puts(out, "no setting that evicts came to the finals; nearest on the texts to choose on:\n  ");
    kvl_recommend_put_setting(out, info, t);
    kvl_str_printf(out, ": loss %+.4f nats/token, limit %g", t->loss, wish->max_loss);
    if (wish->max_bytes != 0) {
        kvl_print_bytes(texts[0], t->bytes);
        kvl_print_bytes(texts[1], wish->max_bytes);
        kvl_str_printf(out, "; %s, limit %s", texts[0], texts[1]);
    }
    kvl_str_puts(out, "\n\n");
}

static void put_answer(kvl_str *out, const kvl_recommend_info *info) {
    const kvl_recommend *r = info->result;
    if (r->answer < r->n_finalists) {
        const kvl_finalist *f = &r->finalists[r->answer];
        kvl_str_puts(out, "use  ");
        kvl_recommend_put_setting(out, info, kvl_recommend_trial(info, f));
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
    kvl_recommend_put_setting(out, info, kvl_recommend_trial(info, f));
    kvl_str_puts(out, "\n  lacks    ");
    kvl_recommend_put_lacks(out, f->lacks);
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
    kvl_recommend_put_policy(&text, kvl_recommend_trial(info, f));
    snprintf(cells[1], CELL_BYTES, "%s", kvl_str_text(&text));
    kvl_str_clear(&text);
    kvl_recommend_put_types(&text, info, kvl_recommend_trial(info, f));
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
        "  confirmed  %d bootstrap resamples (seed %d) of the %zu %s, one family of %zu: qualifies where the "
        "interval ends below the limit and Holm's one-sided p is below %g\n",
        (int)KVL_BOOTSTRAP_RESAMPLES, (int)KVL_RECOMMEND_SEED, r->n_clusters,
        r->is_by_window ? "windows" : "texts", r->n_finalists, KVL_CHOICE_ALPHA);
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

kvl_status kvl_recommend_write(kvl_str *out, const kvl_recommend_info *info, kvl_err *err) {
    const bool is_markdown = info->options->format == KVL_RECOMMEND_MD;
    if (info->options->format == KVL_RECOMMEND_JSONL) {
        KVL_TRY(kvl_recommend_write_lines(out, info, err));
    } else if (info->options->format == KVL_RECOMMEND_CSV) {
        kvl_recommend_write_csv(out, info);
    } else {
        kvl_str_puts(out, is_markdown ? "```\n" : "");
        put_answer(out, info);
        put_missed(out, info);
        kvl_str_puts(out, is_markdown ? "```\n\n" : "");
        put_front(out, info, is_markdown);
        kvl_str_puts(out, is_markdown ? "\n```" : "");
        put_how(out, info);
        kvl_str_puts(out, is_markdown ? "```\n" : "");
    }
    return kvl_str_check(out, "recommend", err);
}
