/* The written analysis: the answer, then its parts in order. */
#include "report/analysis_int.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* ---- the answer ---- */

static void answer_few(kvl_str *out, const kvli_curve *c, kvl_lang lang) {
    KVL_SAY(
        out, lang,
        "On these %zu texts, too few for an interval, light compression is worse than heavy: %s at keep %s "
        "costs %+.3f nats/token above the full cache by point estimate, at its best setting (keep %s) "
        "%+.3f",
        "在这 %zu 篇文本上（数量过少，无法给出置信区间），轻度压缩比重度压缩更差：%s 在保留率 %s "
        "时相对完整缓存的"
        "点估计为每 token %+.3f nats，在其最佳设置（保留率 %s）时为 %+.3f",
        c->report->n_samples, c->spike->press, kvli_keep(c->spike).text, c->spike->delta.mean,
        kvli_keep(c->best).text, c->best->delta.mean);
    if (c->n_texts != 0) {
        KVL_SAY(out, lang, ", and it is the worse of the two in %zu of %zu texts.",
                "，且在 %2$zu 篇中的 %1$zu 篇上更差。", c->n_higher, c->n_texts);
    } else {
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
    }
}

static void answer_one(kvl_str *out, const kvli_curve *c, kvl_lang lang) {
    if (c->has_spike && kvli_is_told(&c->gap)) {
        KVL_SAY(
            out, lang,
            "Light compression is worse than heavy here: %s at keep %s costs %s nats/token above the full "
            "cache (PPL of the same tokens %s), and %s above its best setting, keep %s.",
            "此处轻度压缩比重度压缩更差：%s 在保留率 %s 时比完整缓存每 token 多 %s nats（相同 token 的 PPL "
            "%s），比其最佳设置多 %s "
            "nats（最佳保留率为 %s）。",
            c->spike->press, kvli_keep(c->spike).text, kvli_nats(&c->spike->delta).text,
            kvli_ppl_change(&c->spike->delta).text, kvli_nats(&c->gap).text, kvli_keep(c->best).text);
    } else if (c->has_spike) {
        answer_few(out, c, lang);
    } else {
        KVL_SAY(out, lang,
                "No spike at light compression was told apart: %s at keep %s, the lightest setting, is at %s "
                "nats/token above the full cache, the lowest point (keep %s) at %s%s.",
                "未检出轻度压缩处的尖峰：%s 最轻的设置（保留率 %s）相对完整缓存为每 token %s "
                "nats，最低点（保留率 %s）为 "
                "%s nats%s。",
                c->lightest->press, kvli_keep(c->lightest).text, kvli_nats(&c->lightest->delta).text,
                kvli_keep(c->best).text, kvli_nats(&c->best->delta).text,
                c->is_few ? kvl_word(lang, " (point estimates: too few texts for an interval)",
                                     "（点估计：文本过少，无法给出置信区间）")
                          : "");
    }
}

/* Of several presses: which have a spike. */
static void answer_many(kvl_str *out, const kvli_facts *f, kvl_lang lang) {
    size_t n_spikes = 0, n_others = 0;
    kvl_str spikes = {0}, others = {0};
    bool is_few = false;
    for (size_t i = 0; i < f->n; i++) {
        const kvli_curve *c = &f->curves[i];
        if (c->best == NULL) {
            continue;
        }
        is_few = is_few || c->is_few;
        if (c->has_spike) {
            KVL_SAY(&spikes, lang, "%s%s (keep %s: %s nats/token, best %s)",
                    "%s%s（保留率 %s：每 token %s nats，最佳 %s）",
                    n_spikes++ != 0 ? kvl_word(lang, ", ", "、") : "", c->spike->press,
                    kvli_keep(c->spike).text, kvli_nats(&c->spike->delta).text,
                    kvli_nats(&c->best->delta).text);
        } else {
            kvl_str_printf(&others, "%s%s", n_others++ != 0 ? kvl_word(lang, ", ", "、") : "",
                           c->best->press);
        }
    }
    if (n_spikes != 0) {
        KVL_SAY(out, lang, "Light compression is worse than heavy for %s",
                "以下压缩规则的轻度压缩比重度压缩更差：%s", kvl_str_text(&spikes));
    }
    if (n_others != 0) {
        KVL_SAY(out, lang, "%s for %s", "%s：%s",
                n_spikes != 0 ? kvl_word(lang, "; no such spike was told apart", "；未检出尖峰的压缩规则")
                              : kvl_word(lang, "No spike at light compression was told apart",
                                         "未检出轻度压缩处的尖峰，所测压缩规则"),
                kvl_str_text(&others));
    }
    kvl_str_puts(out, is_few ? kvl_word(lang, " (point estimates: too few texts for an interval).",
                                        "（点估计：文本过少，无法给出置信区间）。")
                             : kvl_word(lang, ".", "。"));
    out->failed = out->failed || spikes.failed || others.failed;
    kvl_str_free(&spikes);
    kvl_str_free(&others);
}

/* The row that takes fewest bytes among those whose loss is shown to be within the margin; NULL: none. */
static const kvl_report_row *find_safe(const kvl_report *r) {
    const kvl_report_row *safe = NULL;
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        if (kvli_counts(row) && kvl_equivalence(row->delta, KVL_MARGIN_NATS) == KVL_EQUIVALENT &&
            (safe == NULL || row->kv_bytes < safe->kv_bytes)) {
            safe = row;
        }
    }
    return safe;
}

static const kvl_report_row *find_lowest(const kvli_facts *f) {
    const kvl_report_row *lowest = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const kvl_report_row *best = f->curves[i].best;
        if (best != NULL && (lowest == NULL || best->delta.mean < lowest->delta.mean)) {
            lowest = best;
        }
    }
    return lowest;
}

static void answer_safe(kvl_str *out, const kvli_facts *f, const kvli_curve *c, kvl_lang lang) {
    const kvl_report_row *safe = find_safe(c->report);
    const kvl_report_row *row = safe != NULL ? safe : find_lowest(f);
    const char *full = c->full != NULL ? kvl_word(lang, " instead of ", "，完整缓存为 ") : "";
    const kvli_words full_size = c->full != NULL ? kvli_size((double)c->full->kv_bytes) : (kvli_words){""};
    if (safe != NULL) {
        KVL_SAY(
            out, lang,
            "The largest compression shown to be without loss (whole interval within %g nats/token) is %s at "
            "keep %s: %s nats/token (PPL of the same tokens %s), with %s of keys and values%s%s",
            "已证明无损失（整个置信区间在每 token %g nats 以内）的最大压缩是 %s、保留率 %s：每 token %s "
            "nats（相同 token 的 PPL "
            "%s），键和值占 %s%s%s",
            KVL_MARGIN_NATS, row->press, kvli_keep(row).text, kvli_nats(&row->delta).text,
            kvli_ppl_change(&row->delta).text, kvli_size((double)row->kv_bytes).text, full, full_size.text);
    } else {
        KVL_SAY(
            out, lang,
            "No setting was shown to be without loss (within %g nats/token); the lowest point estimate is %s "
            "at keep %s: %s nats/token (PPL of the same tokens %s), with %s of keys and values%s%s",
            "没有任何设置被证明无损失（每 token %g nats 以内）；点估计最低的是 %s、保留率 %s：每 token %s "
            "nats（相同 token 的 PPL "
            "%s），键和值占 %s%s%s",
            KVL_MARGIN_NATS, row->press, kvli_keep(row).text, kvli_nats(&row->delta).text,
            kvli_ppl_change(&row->delta).text, kvli_size((double)row->kv_bytes).text, full, full_size.text);
    }
    kvl_str_puts(out, kvl_word(lang, ".", "。"));
}

/* What was confirmed on texts it was not chosen on goes before a row of the curve. */
static void answer_recommended(kvl_str *out, const kvl_content *content, const kvl_choice_line *a,
                               kvl_lang lang) {
    KVL_SAY(
        out, lang,
        "The setting found by search and confirmed on %zu texts that it was not chosen on is %s, cache %s: "
        "loss %s nats/token with %.0f %% of the full cache's bytes.",
        "搜索得到、并在 %zu 篇未参与选择的文本上确认的设置是 %s，缓存 %s：损失每 token %s nats，"
        "字节数为完整缓存的 %.0f %%。",
        content->choice->n_clusters, a->policy, a->cache, kvli_nats(&a->loss).text, 100 * a->kv_share);
}

/* ---- the cause, in a sentence ---- */

static const char *verdict_on(const kvl_cause_content *cause, const char *id) {
    for (size_t i = 0; i < cause->n_verdicts; i++) {
        if (strcmp(cause->verdicts[i].id, id) == 0) {
            return cause->verdicts[i].verdict;
        }
    }
    return NULL;
}

static void answer_by_experiment(kvl_str *out, const kvl_cause_content *cause, bool is_of_curve,
                                 kvl_lang lang) {
    const char *verdict = verdict_on(cause, "H8");
    if (!is_of_curve) {
        kvl_str_puts(out, kvl_word(lang, "For KnormPress compressed step by step (kvlab explain), ",
                                   "对逐步压缩的 KnormPress（kvlab explain），"));
    }
    if (verdict == NULL || (strcmp(verdict, "supported") != 0 && strcmp(verdict, "refuted") != 0)) {
        kvl_str_puts(out,
                     kvl_word(lang,
                              is_of_curve ? "Whether the loss of the newest tokens causes it could not be "
                                            "told by the experiments run."
                                          : "whether the loss of the newest tokens is the cause could not "
                                            "be told by the experiments run.",
                              "已做的实验无法判断原因是否为最新 token 的丢失。"));
        return;
    }
    if (strcmp(verdict, "refuted") == 0) {
        kvl_str_puts(out, kvl_word(lang,
                                   is_of_curve
                                       ? "The experiments refute the loss of the newest tokens as its cause."
                                       : "the experiments refute the loss of the newest tokens as the cause.",
                                   "实验否定了“丢失最新 token”这一原因。"));
        return;
    }
    KVL_SAY(
        out, lang,
        "%s experiments support one cause, the loss of the newest tokens: at keep 0.95, at steps that read a "
        "compressed cache, %s of the heads on average still see the token just before",
        "%s实验支持的原因是最新 token 的丢失：保留率 0.95 时，在读取压缩缓存的各步中，平均只有 %s "
        "的注意力头还能看到前一个 token",
        kvl_word(lang, is_of_curve ? "The" : "the", ""), kvli_share(&cause->lag_one).text);
    const size_t most = kvli_best_protection(cause);
    if (cause->n_protections != 0 && kvli_is_above(&cause->removed[most], 0)) {
        KVL_SAY(out, lang, ", and protecting the newest %zu keys removes %s of its loss",
                "，保护最新的 %zu 个键可消除该损失的 %s", cause->protections[most],
                kvli_share(&cause->removed[most]).text);
    }
    kvl_str_puts(out, kvl_word(lang, ".", "。"));
}

static void answer_cause(kvl_str *out, const kvl_content *content, const kvli_curve *c, kvl_lang lang) {
    if (content->cause != NULL) {
        answer_by_experiment(out, content->cause, kvli_explains(c) && c->has_spike, lang);
    } else if (c != NULL && c->has_spike && c->spike->period_tok > 0 &&
               c->best->period_tok > c->spike->period_tok) {
        KVL_SAY(out, lang,
                "The cache of %s is compressed %s at keep %s and %s at its best setting, which would fit a "
                "loss of the newest tokens, but",
                "%s 的缓存%s 压缩一次（保留率 %s），最佳设置%s 压缩一次，这与丢失最新 token 相符，但",
                c->spike->press, kvli_period(lang, c->spike->period_tok).text, kvli_keep(c->spike).text,
                kvli_period(lang, c->best->period_tok).text);
        kvli_put_missing(out, content, lang, "the cause was not tested", "原因未经检验", "kvlab explain");
    } else {
        kvli_put_missing(out, content, lang, "The cause was not tested", "原因未经检验", "kvlab explain");
    }
}

static bool has_spike(const kvli_facts *f) {
    bool has = false;
    for (size_t i = 0; i < f->n; i++) {
        has = has || f->curves[i].has_spike;
    }
    return has;
}

/* Whether any setting compresses so lightly that a spike could be seen. */
static bool has_light(const kvli_facts *f) {
    const double light = 0.8;
    for (size_t i = 0; i < f->n; i++) {
        if (f->curves[i].lightest != NULL &&
            (isnan(f->curves[i].lightest->keep_ratio) || f->curves[i].lightest->keep_ratio >= light)) {
            return true;
        }
    }
    return false;
}

static void answer(kvl_str *out, const kvl_content *content, const kvli_facts *f, kvl_lang lang) {
    const kvli_curve *c = kvli_main_curve(f->curves, f->n);
    size_t n_curves = 0;
    for (size_t i = 0; i < f->n; i++) {
        n_curves += f->curves[i].best != NULL;
    }
    if (content->sweep == NULL) {
        kvli_put_missing(out, content, lang, "No curve is stored for this model", "此模型没有已存的曲线",
                         "kvlab sweep");
    } else if (c == NULL) {
        kvl_str_puts(out, kvl_word(lang,
                                   "No policy of this sweep evicted anything, so it says nothing about "
                                   "compression.",
                                   "本次扫描中没有任何策略驱逐过条目，因此不能说明压缩的影响。"));
    } else if (!has_light(f) && !has_spike(f)) {
        kvl_str_puts(out,
                     kvl_word(lang,
                              "Light compression (keep 0.8 and above) was not run, so nothing is said of "
                              "a spike there.",
                              "没有测量轻度压缩（保留率 0.8 及以上），因此不能说明那里有无尖峰。"));
    } else if (n_curves > 1) {
        answer_many(out, f, lang);
    } else {
        answer_one(out, c, lang);
    }
    const kvl_choice_line *recommended = kvli_recommended(content);
    if (recommended != NULL) {
        kvli_space(out, lang);
        answer_recommended(out, content, recommended, lang);
    } else if (c != NULL) {
        kvli_space(out, lang);
        answer_safe(out, f, c, lang);
    }
    kvli_space(out, lang);
    answer_cause(out, content, c, lang);
}

static kvl_status find_facts(kvli_facts *f, const kvl_content *content, kvl_err *err) {
    *f = (kvli_facts){0};
    return content->sweep != NULL ? kvli_curves_find(&f->curves, &f->n, content->sweep, err) : KVL_OK;
}

void kvl_analysis_answer(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    kvli_facts f;
    kvl_str text = {0};
    kvl_err ignored;
    if (find_facts(&f, c, &ignored) == KVL_OK) {
        answer(&text, c, &f, lang);
        kvl_str_puts(out, kvl_str_text(&text));
        out->failed = out->failed || text.failed;
    } else {
        out->failed = true;
    }
    kvl_str_free(&text);
    kvl_free(f.curves);
}

/* ---- all of it ---- */

kvl_status kvli_say_with(kvl_passages *out, const kvl_content *c, kvl_lang lang, kvli_sayer *say,
                         kvl_err *err) {
    kvli_say s = {.out = out, .content = c, .lang = lang};
    kvli_facts f;
    *out = (kvl_passages){0};
    kvl_status status = find_facts(&f, c, err);
    if (status == KVL_OK) {
        say(&s, &f);
        status = s.failed || s.line.failed ? kvl_fail_nomem(err, "analysis") : KVL_OK;
    }
    kvl_str_free(&s.line);
    kvl_str_free(&s.cells);
    kvl_free(f.curves);
    return status;
}

static void say_all(kvli_say *s, const kvli_facts *f) {
    kvli_say_stages(s, f);
    kvli_say_mechanism(s, f);
    kvli_say_advice(s, f);
    kvli_say_published(s, f);
}

kvl_status kvl_analysis_make(kvl_passages *out, const kvl_content *c, kvl_lang lang, kvl_err *err) {
    return kvli_say_with(out, c, lang, say_all, err);
}
