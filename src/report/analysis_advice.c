/* Advice: ranges with verdicts, the recommended policy, protections, time and retrieval. */
#include "report/analysis_int.h"

#include "stats/rates.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- ranges ---- */

typedef enum advice {
    USE,       /* no loss beyond the margin, or a gain */
    WITH_CARE, /* a loss is told, and what is saved may be worth it */
    AVOID,     /* a lighter setting that is worse than a heavier one */
    UNDECIDED, /* the interval allows both */
    FEW,       /* there is none */
} advice;

static advice judge(const kvl_report_row *row, const kvli_curve *c) {
    if (!kvli_is_told(&row->delta)) {
        return FEW;
    }
    if (kvl_equivalence(row->delta, KVL_MARGIN_NATS) == KVL_EQUIVALENT || kvli_is_below(&row->delta, 0)) {
        return USE;
    }
    if (row->stage == KVL_STAGE_EXPLOSION && c->has_spike && row->keep_ratio >= c->best->keep_ratio &&
        row->delta.low > c->best->delta.high) {
        return AVOID;
    }
    return kvli_is_above(&row->delta, 0) ? WITH_CARE : UNDECIDED;
}

static const char *advice_text(kvl_lang lang, advice a) {
    static const char *const words[][2] = {
        [USE] = {"use", "可用"},
        [WITH_CARE] = {"with care: a loss is shown", "谨慎使用：已检出损失"},
        [AVOID] = {"avoid: keeps more, loses more", "避免：保留更多、损失更大"},
        [UNDECIDED] = {"undecided: interval too wide", "未定：区间过宽"},
        [FEW] = {"undecided: too few texts", "未定：文本过少"},
    };
    return words[a][lang == KVL_ZH];
}

/* Lowest and highest change of rows a .. b, each with its interval. */
static void put_change(kvl_str *out, const kvli_curve *c, size_t first, size_t last) {
    const kvl_report_row *low = NULL, *high = NULL;
    for (size_t i = first; i <= last; i++) {
        const kvl_report_row *row = &c->report->rows[i];
        if (kvli_counts(row)) {
            low = low == NULL || row->delta.mean < low->delta.mean ? row : low;
            high = high == NULL || row->delta.mean > high->delta.mean ? row : high;
        }
    }
    kvl_str_puts(out, kvli_ppl_change(&low->delta).text);
    if (low != high) {
        kvl_str_printf(out, " … %s", kvli_ppl_change(&high->delta).text);
    }
}

static void put_range(kvl_str *out, const kvl_report_row *a, const kvl_report_row *b) {
    kvl_str_puts(out, kvli_keep(a).text);
    if (a != b) {
        kvl_str_printf(out, " – %s", kvli_keep(b).text);
    }
}

static void put_sizes(kvl_str *out, const kvl_report_row *a, const kvl_report_row *b) {
    kvl_str_puts(out, kvli_size((double)a->kv_bytes).text);
    if (a->kv_bytes != b->kv_bytes) {
        kvl_str_printf(out, " – %s", kvli_size((double)b->kv_bytes).text);
    }
}

static size_t range_end(const kvli_curve *c, size_t first) {
    const kvl_report_row *rows = c->report->rows;
    size_t last = first;
    for (size_t i = first + 1; i < c->end; i++) {
        if (!kvli_counts(&rows[i])) {
            continue;
        }
        if (rows[i].stage != rows[first].stage || judge(&rows[i], c) != judge(&rows[first], c)) {
            break;
        }
        last = i;
    }
    return last;
}

static void add_row(kvli_say *s, const kvli_curve *c, size_t first, size_t last) {
    const kvl_report_row *a = &c->report->rows[first], *b = &c->report->rows[last];
    kvl_str text = {0};
    kvli_say_cell(s, a->press);
    put_range(&text, a, b);
    kvli_say_cell(s, kvl_str_text(&text));
    kvli_say_cell(s, kvl_term_stage(s->lang, a->stage));
    kvl_str_clear(&text);
    put_change(&text, c, first, last);
    kvli_say_cell(s, kvl_str_text(&text));
    kvl_str_clear(&text);
    put_sizes(&text, a, b);
    kvli_say_cell(s, kvl_str_text(&text));
    kvli_say_cell(s, advice_text(s->lang, judge(a, c)));
    s->failed = s->failed || text.failed;
    kvl_str_free(&text);
}

static void say_ranges(kvli_say *s, const kvli_facts *f) {
    static const char *const heads[][2] = {{"press", "压缩规则"},
                                           {"keep", "保留率"},
                                           {"stage", "阶段"},
                                           {"PPL change [95 %]", "PPL 变化 [95 %]"},
                                           {"keys and values", "键和值"},
                                           {"verdict", "判断"}};
    enum { n_columns = sizeof heads / sizeof heads[0] };
    for (size_t i = 0; i < n_columns; i++) {
        kvli_say_cell(s, heads[i][s->lang == KVL_ZH]);
    }
    for (size_t k = 0; k < f->n; k++) {
        const kvli_curve *c = &f->curves[k];
        for (size_t i = c->first; i < c->end; i++) {
            if (kvli_counts(&c->report->rows[i])) {
                const size_t last = range_end(c, i);
                add_row(s, c, i, last);
                i = last;
            }
        }
    }
    KVLI_SAY(
        s,
        "Ranges of keep ratios. PPL against the full cache on the same tokens. Use: the whole interval is "
        "within %g nats/token, or below 0. With care: it lies above 0. Avoid: it keeps no less than the best "
        "setting and its interval lies above the best one's.",
        "各保留率范围。PPL 为相同 token 上相对完整缓存的变化。可用：整个区间在每 token %g nats 以内或小于 "
        "0。谨慎使用：区间大于 0。"
        "避免：保留不少于最佳设置，且区间高于最佳设置的区间。",
        KVL_MARGIN_NATS);
    kvli_say_table(s, n_columns);
}

/* ---- protection of the newest tokens ---- */

static void say_protection(kvli_say *s) {
    const kvl_cause_content *c = s->content->cause;
    const size_t most = c != NULL ? kvli_best_protection(c) : 0;
    if (c == NULL || c->n_protections == 0 || !isfinite(c->removed[most].mean)) {
        kvli_missing(s, "Whether protecting the newest tokens helps was not measured",
                     "未测量保护最新 token 是否有效", "kvlab explain --only H8");
    } else if (kvli_is_above(&c->removed[most], 0)) {
        KVLI_SAY(s,
                 "Protect the newest tokens where a ranking is applied again and again (`recent=%zu` in a "
                 "policy): it "
                 "removes %s of the loss at keep 0.95, the largest share of those tried.",
                 "反复压缩时应保护最新的 token（在策略中写 `recent=%zu`）：可消除保留率 0.95 处损失的 "
                 "%s，为所试设置中最大。",
                 c->protections[most], kvli_share(&c->removed[most]).text);
    } else {
        KVLI_SAY(s, "Protecting the newest tokens was not shown to help (at most %s of the loss).",
                 "未证明保护最新 token 有效（至多为损失的 %s）。", kvli_share(&c->removed[most]).text);
    }
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

/* ---- the recommended policy ---- */

const kvl_choice_line *kvli_recommended(const kvl_content *content) {
    const kvl_choice_content *c = content->choice;
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        if (c->lines[i].is_answer) {
            return &c->lines[i];
        }
    }
    return NULL;
}

static void say_choice(kvli_say *s) {
    const kvl_choice_content *c = s->content->choice;
    const kvl_choice_line *a = kvli_recommended(s->content);
    if (c == NULL) {
        kvli_missing(s, "A setting to deploy was not searched", "未搜索可部署的设置", "kvlab recommend");
    } else if (a == NULL) {
        KVLI_SAY(
            s,
            "Of the settings searched none met the limits on held-out texts (`%s`): keep the full cache, or "
            "relax them.",
            "所搜索的设置在留出文本上均未满足限制（`%s`）：保留完整缓存，或放宽限制。", c->command);
    } else {
        KVLI_SAY(s,
                 "Recommended by search, judged on %zu texts it was not chosen on: %s, cache %s: loss %s "
                 "nats/token, "
                 "%s of keys and values (%.0f %% of the full cache)",
                 "搜索推荐的设置（在 %zu 篇未参与选择的文本上评判）：%s，缓存 %s：损失每 token %s "
                 "nats，键和值 %s（完整缓存的 %.0f %%）",
                 c->n_clusters, a->policy, a->cache, kvli_nats(&a->loss).text, kvli_size(a->kv_bytes).text,
                 100 * a->kv_share);
        if (isfinite(a->ttft_ratio) && isfinite(a->tpot_ratio)) {
            KVL_SAY(&s->line, s->lang, ", TTFT %.2f times and TPOT %.2f times the full cache's (medians)",
                    "，TTFT 与 TPOT 分别为完整缓存的 %.2f 倍和 %.2f 倍（中位数）", a->ttft_ratio,
                    a->tpot_ratio);
        }
        KVL_SAY(&s->line, s->lang, "; `%s`.", "；`%s`。", c->command);
    }
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

/* ---- retrieval, time ---- */

/* Cells in which the full cache passes, together. */
static void say_grid(kvli_say *s, const kvl_needle_grid *g) {
    size_t n_right = 0, n_full = 0, n = 0;
    for (size_t i = 0; i < g->n_lengths * g->n_depths; i++) {
        if (g->is_judged[i]) {
            n_right += g->n_right[i];
            n_full += g->n_right_full[i];
            n += g->n_trials[i];
        }
    }
    if (n != 0 && strcmp(g->policy, "none") == 0) {
        const kvl_estimate full = kvl_wilson(n_full, n);
        KVLI_SAY(s, "Retrieval (%s), full cache: %zu of %zu right, %.0f %% [%.0f, %.0f].",
                 "大海捞针（%s），完整缓存：%zu/%zu 正确，%.0f %% [%.0f, %.0f]。", g->task, n_full, n,
                 100 * full.mean, 100 * full.low, 100 * full.high);
    } else if (n == 0) {
        KVLI_SAY(
            s, "Retrieval (%s), %s: no cell could be judged (the full cache fails, or nothing was evicted).",
            "大海捞针（%s），%s：没有可评判的格（完整缓存失败或没有驱逐）。", g->task, g->policy);
    } else {
        const kvl_estimate rate = kvl_wilson(n_right, n), full = kvl_wilson(n_full, n);
        KVLI_SAY(
            s,
            "Retrieval (%s), %s: %zu of %zu right, %.0f %% [%.0f, %.0f], the full cache %zu, %.0f %% [%.0f, "
            "%.0f].",
            "大海捞针（%s），%s：%zu/%zu 正确，%.0f %% [%.0f, %.0f]，完整缓存 %zu，%.0f %% [%.0f, %.0f]。",
            g->task, g->policy, n_right, n, 100 * rate.mean, 100 * rate.low, 100 * rate.high, n_full,
            100 * full.mean, 100 * full.low, 100 * full.high);
    }
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

static void say_needles(kvli_say *s) {
    const kvl_needle_content *c = s->content->needle;
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        say_grid(s, &c->grids[i]);
    }
    if (c == NULL) {
        kvli_missing(s, "Retrieval was not measured, and mean NLL does not show it",
                     "未测量检索能力（大海捞针），而平均 NLL 反映不出它", "kvlab needle -P knorm -r 0.5");
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
}

static void say_time(kvli_say *s) {
    const kvl_time_content *t = s->content->time;
    if (t == NULL || t->n < 2) {
        kvli_missing(s, "Time was not measured", "未测量时间", "kvlab sweep --timing");
        kvli_say_end(s, KVL_PASSAGE_ITEM);
        return;
    }
    const kvl_time_line *full = &t->lines[0];
    double ttft_low = (double)INFINITY, ttft_high = 0, tpot_low = (double)INFINITY, tpot_high = 0;
    for (size_t i = 1; i < t->n; i++) {
        ttft_low = fmin(ttft_low, t->lines[i].ttft_ns);
        ttft_high = fmax(ttft_high, t->lines[i].ttft_ns);
        tpot_low = fmin(tpot_low, t->lines[i].tpot_ns);
        tpot_high = fmax(tpot_high, t->lines[i].tpot_ns);
    }
    KVLI_SAY(s,
             "Time, medians of %zu repetitions without intervals, prompt of %zu tokens, %u threads: TTFT "
             "%.3g ms with "
             "the full cache, %.3g to %.3g ms with policies; TPOT %.3g ms, and %.3g to %.3g ms.",
             "时间（%zu 次重复的中位数，无区间；提示 %zu 个 token，%u 线程）：TTFT 完整缓存 %.3g ms，各策略 "
             "%.3g 至 %.3g ms；TPOT "
             "完整缓存 %.3g ms，各策略 %.3g 至 %.3g ms。",
             t->n_repetitions, t->n_prompt, t->n_threads, full->ttft_ns * 1e-6, ttft_low * 1e-6,
             ttft_high * 1e-6, full->tpot_ns * 1e-6, tpot_low * 1e-6, tpot_high * 1e-6);
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

void kvli_say_advice(kvli_say *s, const kvli_facts *f) {
    kvli_head(s, "Advice", "实用建议");
    if (kvli_main_curve(f->curves, f->n) != NULL) {
        say_ranges(s, f);
    }
    say_choice(s);
    say_protection(s);
    say_needles(s);
    say_time(s);
}
