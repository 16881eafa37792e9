/* Beside the published figures, as ratios and by shape, and beside the paper where protocols allow it. */
#include "report/analysis_int.h"
#include "report/published.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* PPL as a ratio to the report's own full cache, by the report's own aggregate. */
enum { LEAST_OF_A_SHAPE = 3 }; /* keep ratios */

/* Of all published tables. */
#define PUBLISHED_PROTOCOL "stream"

static double own_ratio(const kvl_report_row *row) { return 1 + row->change_percent / 100; }

static void say_source(kvli_say *s, const kvl_published *p, size_t n_texts) {
    KVLI_SAY(
        s,
        "Published: %s on Pythia-70M, %s (%s, %s, commit %s), without intervals. It is another model, so "
        "that "
        "levels of PPL say nothing: compared are ratios to each one's own full cache, and where the curve is "
        "worst and best.",
        "已发表：Pythia-70M 上的 %s，%s（%s，%s，commit %s），无置信区间。模型不同，PPL "
        "的绝对值不可比：这里比较的是相对各自完整缓存的"
        "比值，以及曲线最差与最佳的位置。",
        p->press, kvl_word(s->lang, p->made_en, p->made_zh), p->file, KVL_PUBLISHED_REPOSITORY,
        KVL_PUBLISHED_COMMIT);
    if (n_texts != p->n_texts) {
        KVLI_SAY(s, "Texts differ too: %zu here, %zu there.", "文本也不同：此处 %zu 篇，原文 %zu 篇。",
                 n_texts, p->n_texts);
    }
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

static void say_ratios(kvli_say *s, const kvl_published *p, const kvli_curve *c) {
    static const char *const heads[][2] = {{"keep", "保留率"},
                                           {"published PPL / full cache", "已发表 PPL / 完整缓存"},
                                           {"here", "此处"},
                                           {"stage here", "此处阶段"}};
    for (size_t i = 0; i < 4; i++) {
        kvli_say_cell(s, heads[i][s->lang == KVL_ZH]);
    }
    for (size_t i = c->first; i < c->end; i++) {
        const kvl_report_row *row = &c->report->rows[i];
        const double ratio = kvl_published_ratio(p, row->keep_ratio);
        char text[32];
        if (!kvli_counts(row) || !isfinite(ratio) || !isfinite(row->change_percent)) {
            continue;
        }
        kvli_say_cell(s, kvli_keep(row).text);
        snprintf(text, sizeof text, "%.2f", ratio);
        kvli_say_cell(s, text);
        snprintf(text, sizeof text, "%.2f", own_ratio(row));
        kvli_say_cell(s, text);
        kvli_say_cell(s, kvl_term_stage(s->lang, row->stage));
    }
    KVLI_SAY(s, "PPL of %s as a ratio to the full cache of the same table.", "%s 的 PPL 与同表完整缓存之比。",
             p->press);
    kvli_say_table(s, 4);
}

/* ---- the shape ---- */

/* Contiguous rows around the lowest whose PPL is within 5 % of it. */
typedef struct flat_range {
    double light, heavy;
} flat_range;

static flat_range published_flat(const kvl_published *p) {
    const size_t best = (size_t)(kvl_published_best(p) - p->rows);
    const double most = 1.05 * p->rows[best].ppl;
    size_t a = best, b = best;
    while (a > 0 && p->rows[a - 1].ppl <= most) {
        a--;
    }
    while (b + 1 < p->n && p->rows[b + 1].ppl <= most) {
        b++;
    }
    return (flat_range){p->rows[a].keep_ratio, p->rows[b].keep_ratio};
}

static const kvl_published_row *published_row(const kvl_published *p, double keep_ratio) {
    for (size_t i = 0; i < p->n; i++) {
        if (fabs(p->rows[i].keep_ratio - keep_ratio) < 1e-9) {
            return &p->rows[i];
        }
    }
    return NULL;
}

static void say_shape(kvli_say *s, const kvl_published *p, const kvli_curve *c) {
    const kvl_report_row *worst = NULL, *best = NULL;
    const kvl_published_row *p_worst = NULL, *p_best = NULL; /* of the keep ratios measured here too */
    size_t n_both = 0;
    for (size_t i = c->first; i < c->end; i++) {
        const kvl_report_row *row = &c->report->rows[i];
        if (kvli_counts(row) && isfinite(row->change_percent) &&
            isfinite(kvl_published_ratio(p, row->keep_ratio))) {
            worst = worst == NULL || row->change_percent > worst->change_percent ? row : worst;
            best = best == NULL || row->change_percent < best->change_percent ? row : best;
            const kvl_published_row *there = published_row(p, row->keep_ratio);
            p_worst = p_worst == NULL || there->ppl > p_worst->ppl ? there : p_worst;
            p_best = p_best == NULL || there->ppl < p_best->ppl ? there : p_best;
            n_both++;
        }
    }
    if (worst == NULL) {
        KVLI_PUT(s, "No keep ratio of the published table was measured here.",
                 "此处没有测量已发表表格中的任何保留率。");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    if (n_both < LEAST_OF_A_SHAPE) {
        KVLI_PUT(s, "Too few keep ratios were measured on both sides to compare the shape of the curves.",
                 "两边都测量的保留率过少，不比较曲线的形状。");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    const bool is_same = fabs(worst->keep_ratio - p_worst->keep_ratio) < 1e-9;
    KVLI_SAY(
        s,
        "Of the keep ratios measured on both sides, by point estimates, the worst is keep %g there (%.2f "
        "times the full cache) and keep %g here "
        "(%.2f)%s; "
        "the best is keep %g there (%.2f) and keep %g here (%.2f).",
        "在两边都测量的保留率中，按点估计最差的一行原文为保留率 %g（完整缓存的 %.2f 倍），此处为 %g（%.2f "
        "倍）%s；最佳的一行原文为 %g（%.2f 倍），此处为 "
        "%g（%.2f 倍）。",
        p_worst->keep_ratio, p_worst->ppl / p->full, worst->keep_ratio, own_ratio(worst),
        is_same ? kvl_word(s->lang, ", the same place", "，位置相同")
                : kvl_word(s->lang, ", another place", "，位置不同"),
        p_best->keep_ratio, p_best->ppl / p->full, best->keep_ratio, own_ratio(best));
    const flat_range flat = published_flat(p);
    if (flat.light > flat.heavy) {
        KVLI_SAY(s, "Published rows from keep %g to %g lie within 5 %% of the lowest.",
                 "原文保留率 %g 至 %g 的各行与最低值相差不超过 5 %%。", flat.light, flat.heavy);
    }
    if (c->range_light != c->range_heavy && c->range_light != NULL) {
        KVLI_SAY(s, "Here keep %s to %s are not told apart from the best.",
                 "此处保留率 %s 至 %s 与最佳设置无法区分。", kvli_keep(c->range_light).text,
                 kvli_keep(c->range_heavy).text);
    }
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- time to first token ---- */

static const kvl_finding_line *ttft_finding(const kvl_cause_content *c) {
    for (size_t i = 0; c != NULL && i < c->n_verdicts; i++) {
        const kvl_verdict_line *v = &c->verdicts[i];
        for (size_t k = 0; strcmp(v->id, "H10") == 0 && k < v->n_findings; k++) {
            if (v->findings[k].is_deciding) {
                return &v->findings[k];
            }
        }
    }
    return NULL;
}

static void say_ttft(kvli_say *s) {
    const kvl_finding_line *f = ttft_finding(s->content->cause);
    KVLI_PUT(s,
             "The published 92.9 % better time to first token (TTFT) sets 0.0873 s, a tenth of the time of a "
             "whole "
             "generation, against 0.0062 s, the time of a prefill read before anything was compressed.",
             "已发表的首 token 延迟 (TTFT) 改善 92.9 % 是用整个生成时间的十分之一（0.0873 "
             "s）与压缩之前读取的预填充时间（0.0062 s）相比。");
    if (f != NULL && isfinite(f->effect.mean)) {
        KVLI_SAY(s, "Measured here on both sides alike, %s of TTFT is saved.",
                 "此处两边以同样方式测量，节省的 TTFT 为 %s。", kvli_share(&f->effect).text);
    } else {
        kvli_missing(s, "It was not measured here with an interval", "此处没有带区间的测量",
                     "kvlab explain --only H10");
    }
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- the paper ---- */

static void say_premise(kvli_say *s) {
    const kvl_cause_content *c = s->content->cause;
    for (size_t i = 0; c != NULL && i < c->n_verdicts; i++) {
        if (strcmp(c->verdicts[i].id, "H12") == 0) {
            KVLI_SAY(s, "Its premise, low norm and high attention, was tested on this model (H12): %s.",
                     "其前提（低键范数对应高注意力）在此模型上经过检验（H12）：%s。",
                     kvl_term_verdict(s->lang, c->verdicts[i].verdict));
            return;
        }
    }
    kvli_missing(s, "Its premise was not tested on this model", "其前提未在此模型上检验",
                 "kvlab explain --only H12");
}

static void say_paper(kvli_say *s) {
    const char *preset = s->content->preset;
    const bool is_theirs = preset != NULL && strcmp(preset, "paper-quick") == 0;
    KVLI_SAY(
        s,
        "The paper on KnormPress (%s) reports that keys of low L2 norm usually receive high attention, and "
        "that "
        "the cache can be reduced by 50 %% in language modelling and needle-in-a-haystack tasks and by 90 %% "
        "in "
        "passkey retrieval without losing accuracy.",
        "KnormPress 的论文（%s）报告：L2 范数低的键通常得到高注意力；在语言建模与大海捞针任务中缓存可减少 50 "
        "%%，在 passkey 检索中可减少 "
        "90 %%，而不损失准确率。",
        KVL_PAPER);
    KVLI_PUT(s,
             is_theirs
                 ? "This preset is the protocol of its quick script; model and texts are others, so only the "
                   "absence or presence of a loss can be compared."
                 : "These figures are not comparable with it: it lets the cache grow to about 2000 entries "
                   "before it evicts, on models of 2 to 8 billion parameters; `kvlab sweep --preset "
                   "paper-quick` runs its quick script.",
             is_theirs ? "本预设即其快速脚本的协议；模型与文本不同，因此只能比较有无损失。"
                       : "此处的数字与之不可比：该文在 20 亿至 80 亿参数的模型上，让缓存增长到约 2000 "
                         "个条目后才驱逐；其快速脚本可用 `kvlab sweep "
                         "--preset paper-quick` 运行。");
    say_premise(s);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

static bool has_knorm(const kvli_facts *f) {
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->curves[i].report->rows[f->curves[i].first].press, "knorm") == 0) {
            return true;
        }
    }
    return false;
}

void kvli_say_published(kvli_say *s, const kvli_facts *f) {
    /* A preset whose protocol was changed is not the published one any more. */
    const char *protocol = s->content->protocol_name;
    const char *preset =
        protocol != NULL && strcmp(protocol, PUBLISHED_PROTOCOL) != 0 ? "" : s->content->preset;
    size_t n = 0;
    kvli_head(s, "Beside published figures", "与已发表结果的比较");
    for (size_t i = 0; i < f->n; i++) {
        const kvli_curve *c = &f->curves[i];
        const kvl_published *p =
            kvl_published_find(preset != NULL ? preset : "", c->report->rows[c->first].press);
        if (p != NULL && c->best != NULL) {
            say_source(s, p, c->report->n_samples);
            say_ratios(s, p, c);
            say_shape(s, p, c);
            n++;
        }
    }
    if (n == 0) {
        KVLI_PUT(
            s,
            "No published table was made by this protocol, so none is compared; `kvlab sweep --preset "
            "ucurve` "
            "runs the published one.",
            "没有按此协议得出的已发表表格，故不作比较；`kvlab sweep --preset ucurve` 运行已发表的协议。");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
    } else {
        say_ttft(s);
    }
    if (has_knorm(f) || s->content->cause != NULL) {
        say_paper(s);
    }
}
