/* The cause: what is still visible, how often is compressed, what protection removes, and all verdicts. */
#include "report/cells.h"
#include "report/explain_words.h"
#include "report/terms.h"
#include "report/chart_int.h"
#include "report/mechanism.h"

#include <math.h>
#include <string.h>

static bool has(const kvl_content *c) { return c->cause != NULL || kvl_chart_find("period")->has(c); }

/* ---- what was run ---- */

static void put_intro(kvl_page *p, const kvl_cause_content *c) {
    kvl_str text = {0};
    kvl_str light = {0};
    kvl_str lag = {0};
    kvl_str texts = {0};
    kvli_put_texts(&texts, p->lang, c->texts);
    if (isfinite(c->excess_light.mean)) {
        kvli_put_estimate(&light, &c->excess_light);
        KVL_SAY(&text, p->lang,
                "Experiments on %zu texts (%s), in which one thing is changed at a time: KnormPress "
                "compresses after each "
                "token once the cache holds 32 entries. Keeping 95 %% this way costs %s nats per token above "
                "the full "
                "cache.",
                "在 %zu 篇文本（%s）上每次只改变一个因素的实验：缓存达到 32 个条目后，KnormPress 在每个 "
                "token 之后压缩。这样保留 95 "
                "%% 时，每 token 比完整缓存多 %s nats。",
                c->n_texts, kvl_str_text(&texts), kvl_str_text(&light));
    }
    if (isfinite(c->lag_one.mean)) {
        kvli_put_share(&lag, &c->lag_one);
        KVL_SAY(
            &text, p->lang,
            " At steps that read a compressed cache the token just before is then seen by %s of the heads.",
            "在读取压缩缓存的各步中，前一个 token 只有 %s 的注意力头能看到。", kvl_str_text(&lag));
    }
    if (text.len != 0) {
        kvl_page_paragraph(p, kvl_str_text(&text));
    }
    kvl_str_free(&text);
    kvl_str_free(&light);
    kvl_str_free(&lag);
    kvl_str_free(&texts);
}

/* ---- verdicts ---- */

/* The finding a verdict rests on: the first deciding one that says why, or the first of all. */
static const kvl_finding_line *telling(const kvl_verdict_line *v) {
    for (size_t i = 0; i < v->n_findings; i++) {
        const kvl_finding_line *f = &v->findings[i];
        if (f->is_deciding && strstr(v->why, f->what) != NULL) {
            return f;
        }
    }
    for (size_t i = 0; i < v->n_findings; i++) {
        if (v->findings[i].is_deciding) {
            return &v->findings[i];
        }
    }
    return NULL;
}

/* In front of the word, for readers of any language. */
static const char *verdict_mark(const char *verdict) {
    return strcmp(verdict, "supported") == 0 ? "✓" : strcmp(verdict, "refuted") == 0 ? "✗" : "?";
}

static void put_p(kvl_texts *cells, double p) {
    if (isnan(p)) {
        kvli_cell(cells, "–");
    } else {
        kvli_cell(cells, p < 0.001 ? "< 0.001" : "%.3f", p);
    }
}

/* What a finding is about, its effect, unit and p; without one the reason why there is none. */
static void put_effect(kvl_texts *cells, kvl_lang lang, const kvl_finding_line *f, const char *why) {
    kvl_str what = {0};
    if (f == NULL) {
        kvli_put_finding(&what, lang, why);
        kvli_cell(cells, "%s", kvl_str_text(&what));
        kvl_str_free(&what);
        kvli_cell(cells, "–");
        kvli_cell(cells, "–");
        put_p(cells, (double)NAN);
        return;
    }
    kvli_put_finding(&what, lang, f->what);
    kvli_cell(cells, "%s", kvl_str_text(&what));
    kvli_cell_estimate(cells, &f->effect, 4);
    kvli_cell(cells, "%s", kvl_term_unit(lang, f->unit));
    put_p(cells, f->p_adjusted);
    kvl_str_free(&what);
}

static kvl_status put_verdicts(kvl_page *p, const kvl_cause_content *c, kvl_err *err) {
    static const kvli_column columns[] = {
        {.head_en = "", .head_zh = ""},
        {.head_en = "claim", .head_zh = "假设"},
        {.head_en = "verdict", .head_zh = "判定"},
        {.head_en = "deciding finding", .head_zh = "决定性结果"},
        {.head_en = "effect [95 %]", .head_zh = "效应 [95 %]", .is_number = true},
        {.head_en = "unit", .head_zh = "单位"},
        {.head_en = "p (Holm)", .head_zh = "p（Holm）", .is_number = true},
    };
    kvl_texts cells = {0};
    for (size_t i = 0; i < c->n_verdicts; i++) {
        const kvl_verdict_line *v = &c->verdicts[i];
        kvli_cell(&cells, "%s", v->id);
        kvli_cell(&cells, "%s", kvli_claim_words(p->lang, v->id, v->claim));
        kvli_cell(&cells, "%s %s", verdict_mark(v->verdict), kvl_term_verdict(p->lang, v->verdict));
        put_effect(&cells, p->lang, telling(v), v->why);
    }
    return kvli_cells_put(
        p, &cells,
        kvl_word(p->lang,
                 "Hypotheses and verdicts. A claim is refuted when one deciding finding lies wholly on "
                 "the other side, supported when all lie as predicted.",
                 "假设与判定。只要一项决定性结果的区间全部落在相反一侧即被否定；全部符合预测才算得到支持。"),
        columns, sizeof columns / sizeof columns[0], err);
}

static kvl_status put_findings(kvl_page *p, const kvl_cause_content *c, kvl_err *err) {
    static const kvli_column columns[] = {
        {.head_en = "", .head_zh = ""},
        {.head_en = "finding", .head_zh = "结果"},
        {.head_en = "effect [95 %]", .head_zh = "效应 [95 %]", .is_number = true},
        {.head_en = "unit", .head_zh = "单位"},
        {.head_en = "p (Holm)", .head_zh = "p（Holm）", .is_number = true},
        {.head_en = "outcome", .head_zh = "与预测相比"},
        {.head_en = "decides", .head_zh = "决定性"},
    };
    kvl_texts cells = {0};
    for (size_t i = 0; i < c->n_verdicts; i++) {
        for (size_t k = 0; k < c->verdicts[i].n_findings; k++) {
            const kvl_finding_line *f = &c->verdicts[i].findings[k];
            kvli_cell(&cells, "%s", c->verdicts[i].id);
            put_effect(&cells, p->lang, f, "");
            kvli_cell(&cells, "%s", kvli_outcome_words(p->lang, f->outcome));
            kvli_cell(&cells, "%s", f->is_deciding ? kvl_word(p->lang, "yes", "是") : "");
        }
    }
    kvl_str_printf(p->out, "<details>\n<summary>%s</summary>\n",
                   kvl_word(p->lang, "All findings", "全部结果"));
    KVL_TRY(kvli_cells_put(
        p, &cells,
        kvl_word(
            p->lang,
            "All findings of the run. The p values of those that predict something are adjusted together "
            "(Holm), so that the chance of any false one is at most 5 %.",
            "该次运行的全部结果。有预测的各项 p 值合并校正（Holm），出现任一错误判定的概率至多 5 %。"),
        columns, sizeof columns / sizeof columns[0], err));
    kvl_str_puts(p->out, "</details>\n");
    return KVL_OK;
}

extern const kvl_section kvli_section_cause;

static kvl_status put_experiments(kvl_page *p, const kvl_cause_content *c, kvl_err *err) {
    put_intro(p, c);
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("lags"), c->command, err));
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("protection"), c->command, err));
    if (c->n_verdicts != 0) {
        KVL_TRY(put_verdicts(p, c, err));
        KVL_TRY(put_findings(p, c, err));
    }
    kvl_page_command(p, c->command);
    return KVL_OK;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_content *c = p->content;
    if (c->sweep != NULL) {
        KVL_TRY(kvl_page_chart(p, kvl_chart_find("period"), c->sweep->command, err));
    }
    if (c->cause != NULL) {
        return put_experiments(p, c->cause, err);
    }
    kvl_page_paragraph(p, kvl_word(p->lang, "Why that is so was not tested. This command would do it:",
                                   "尚未检验其原因。可用下面的命令检验："));
    kvl_page_command(p, kvli_section_cause.command);
    return KVL_OK;
}

const kvl_section kvli_section_cause = {.id = "cause",
                                        .title_en = "The cause",
                                        .title_zh = "原因",
                                        .has = has,
                                        .write = write,
                                        .command = "kvlab explain"};
