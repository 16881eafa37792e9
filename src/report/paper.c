/* What a section of a paper says: method, results, mechanism, comparison, limits, how to do it again. */
#include "report/paper_int.h"

#include "report/analysis_int.h"
#include "report/phrases.h"
#include "report/published.h"
#include "report/report_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

void kvli_paper_title(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    KVL_SAY(out, lang, "KV cache compression on %s", "%s 上的 KV 缓存压缩", c->model);
}

void kvli_paper_caption(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_chart *chart = kvl_chart_find("curve");
    if (c->sweep == NULL || chart == NULL || !chart->has(c)) {
        return;
    }
    chart->describe(out, c, lang);
}

/* ---- method ---- */

static void say_statistics(kvli_say *s, const kvl_report *r, const kvli_curve *c) {
    if (c != NULL && c->is_few) {
        KVLI_SAY(
            s,
            "With %zu text%s (fewer than %d) figures are point estimates; bars of the figure are Student's "
            "t, which takes texts to vary as a normal distribution does.",
            "文本只有 %zu 篇%s（少于 %d 篇），数字为点估计；图中的竖线用 Student t，假定文本间差异近似正态。",
            r->n_samples, r->n_samples == 1 || s->lang == KVL_ZH ? "" : "s", KVL_FEW_CLUSTERS);
    } else if (r->n_resamples != 0) {
        KVLI_SAY(
            s,
            "Intervals (95 %%) are from a bootstrap over %s (%zu resamples, seed %llu, widened percentiles), "
            "on "
            "differences paired by token.",
            "95 %% 置信区间由对%s的自助法得到（%zu 次重抽样，种子 %llu，加宽的分位数），差值按 token 配对。",
            r->block_tokens != 0 ? kvl_word(s->lang, "blocks of one text", "同一文本的区块")
                                 : kvl_word(s->lang, "texts", "文本"),
            r->n_resamples, (unsigned long long)r->seed);
    } else {
        KVLI_PUT(s, "Intervals (95 %) are Student's t over texts, on differences paired by token.",
                 "95 % 置信区间为按文本的 Student t 区间，差值按 token 配对。");
    }
    KVLI_SAY(s, "\"No loss\" is said only where the whole interval lies within %g nats/token.",
             "只有当整个区间在每 token %g nats 以内时才称“无损失”。", KVL_MARGIN_NATS);
}

static void say_method(kvli_say *s, const kvli_facts *f) {
    const kvl_content *content = s->content;
    const kvl_report *r = content->sweep;
    const kvli_curve *c = kvli_main_curve(f->curves, f->n);
    kvli_head(s, "Method", "方法");
    if (r == NULL) {
        kvli_missing(s, "No curve is stored", "没有已存的曲线", "kvlab sweep");
        kvli_say_end(s, KVL_PASSAGE_TEXT);
        return;
    }
    kvl_str words = {0};
    kvli_put_protocol(&words, s->lang, r->protocol);
    KVLI_SAY(s, "Model: %s. Protocol: %s%s%s (%s).", "模型：%s。协议：%s%s%s（%s）。", content->model,
             content->protocol_name,
             content->preset[0] != '\0' ? kvl_word(s->lang, ", preset ", "，预设 ") : "", content->preset,
             kvl_str_text(&words));
    kvl_str_clear(&words);
    KVLI_PUT(s, "Presses: ", "压缩规则：");
    for (size_t i = 0; i < f->n; i++) {
        kvl_str_printf(&s->line, "%s%s", i != 0 ? kvl_word(s->lang, ", ", "、") : "",
                       r->rows[f->curves[i].first].press);
    }
    kvl_str_puts(&s->line, kvl_word(s->lang, ".", "。"));
    if (c != NULL) {
        KVLI_SAY(
            s,
            "%zu text%s, %zu tokens scored under each policy. Reported is the mean negative log-likelihood "
            "(NLL) in nats per token above the full cache on the same tokens, and perplexity (PPL).",
            "%zu 篇文本%s，每个策略计分 %zu 个 token。报告相同 token 上每 token 的平均负对数似然 (NLL) "
            "相对完整缓存的增量（nats），以及困惑度 (PPL)。",
            r->n_samples, r->n_samples == 1 || s->lang == KVL_ZH ? "" : "s", c->best->n_scored);
    }
    say_statistics(s, r, c);
    kvli_put_protocol(&words, s->lang, r->how);
    KVLI_SAY(s, "Computed with %s.", "计算环境：%s。", kvl_str_text(&words));
    kvl_str_free(&words);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
}

/* ---- the table ---- */

static void add_row(kvli_say *s, const kvl_report_row *row) {
    char text[64];
    kvli_say_cell(s, row->is_baseline ? kvl_word(s->lang, "full cache", "完整缓存") : row->press);
    kvli_say_cell(s, row->is_baseline ? "1" : kvli_keep(row).text);
    snprintf(text, sizeof text, isfinite(row->ppl) ? "%.2f" : "n/a", row->ppl);
    kvli_say_cell(s, text);
    kvli_say_cell(s, row->is_baseline ? "–" : kvli_nats(&row->delta).text);
    kvli_say_cell(s, kvli_size((double)row->kv_bytes).text);
    kvli_say_cell(s, row->is_baseline || row->has_evicted ? kvl_term_stage(s->lang, row->stage)
                                                          : kvl_word(s->lang, "nothing evicted", "未驱逐"));
}

static void say_table(kvli_say *s) {
    static const char *const heads[][2] = {
        {"press", "压缩规则"},         {"keep", "保留率"}, {"PPL", "PPL"}, {"ΔNLL [95 %]", "ΔNLL [95 %]"},
        {"keys and values", "键和值"}, {"stage", "阶段"}};
    enum { n_columns = sizeof heads / sizeof heads[0] };
    const kvl_report *r = s->content->sweep;
    for (size_t i = 0; i < n_columns; i++) {
        kvli_say_cell(s, heads[i][s->lang == KVL_ZH]);
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        add_row(s, &r->rows[i]);
    }
    KVLI_SAY(s,
             "%s: NLL in nats/token above the full cache on the same tokens; PPL %s; keys and values at the "
             "end of a "
             "text, mean.",
             "%s：相同 token 上相对完整缓存的 NLL（nats/token）；PPL 为%s；键和值为文本结束时的平均大小。",
             s->content->model,
             r->has_mean_ppl ? kvl_word(s->lang, "as the mean over texts", "各文本的平均值")
                             : kvl_word(s->lang, "of all tokens together", "全部 token 合并计算"));
    kvli_say_table(s, n_columns);
}

/* ---- commands and references ---- */

static void say_command(kvli_say *s, const char *en, const char *zh, const char *command) {
    if (command != NULL) {
        KVLI_SAY(s, "%s: `%s`", "%s：`%s`", kvl_word(s->lang, en, zh), command);
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
}

static void say_commands(kvli_say *s) {
    const kvl_content *c = s->content;
    kvli_head(s, "Reproduction", "复现");
    KVLI_SAY(s, "Every figure follows from records in %s; kvlab %s makes them by:",
             "所有数字均来自 %s 中的记录；kvlab %s 的命令：", c->store != NULL ? c->store : "-",
             c->version != NULL ? c->version : KVL_VERSION);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
    say_command(s, "curve", "曲线", c->sweep != NULL ? c->sweep->command : NULL);
    say_command(s, "cause", "原因", c->cause != NULL ? c->cause->command : NULL);
    say_command(s, "recommendation", "推荐", c->choice != NULL ? c->choice->command : NULL);
    say_command(s, "retrieval", "检索", c->needle != NULL ? c->needle->command : NULL);
    say_command(s, "time", "时间", c->time != NULL ? c->time->command : NULL);
}

static void say_references(kvli_say *s) {
    kvli_head(s, "References", "参考文献");
    KVLI_PUT(s,
             "A. Devoto, Y. Zhao, S. Scardapane, P. Minervini. A Simple and Effective L2 Norm-Based Strategy "
             "for KV "
             "Cache Compression. EMNLP 2024. arXiv:2406.11430.",
             "A. Devoto, Y. Zhao, S. Scardapane, P. Minervini. A Simple and Effective L2 Norm-Based Strategy "
             "for KV "
             "Cache Compression. EMNLP 2024. arXiv:2406.11430.");
    kvli_say_end(s, KVL_PASSAGE_ITEM);
    KVLI_PUT(s,
             "The published U-curve analysis: " KVL_PUBLISHED_REPOSITORY ", commit " KVL_PUBLISHED_COMMIT
             ", U_CURVE_EXPLANATION_CN.md. https://github.com/" KVL_PUBLISHED_REPOSITORY,
             "已发表的 U 形曲线分析：" KVL_PUBLISHED_REPOSITORY "，commit " KVL_PUBLISHED_COMMIT
             "，U_CURVE_EXPLANATION_CN.md。https://github.com/" KVL_PUBLISHED_REPOSITORY);
    kvli_say_end(s, KVL_PASSAGE_ITEM);
}

/* ---- all of it ---- */

static void say_all(kvli_say *s, const kvli_facts *f) {
    say_method(s, f);
    kvli_head(s, "Results", "结果");
    kvl_analysis_answer(&s->line, s->content, s->lang);
    kvli_say_end(s, KVL_PASSAGE_TEXT);
    if (s->content->sweep != NULL) {
        say_table(s);
        kvli_say_stages(s, f);
    }
    kvli_say_mechanism(s, f);
    kvli_say_published(s, f);
    kvli_say_limits(s, f);
    say_commands(s);
    say_references(s);
}

kvl_status kvli_paper_make(kvl_passages *out, const kvl_content *c, kvl_lang lang, kvl_err *err) {
    return kvli_say_with(out, c, lang, say_all, err);
}

/* ---- characters ---- */

uint32_t kvli_next_char(const char *text, size_t *n_bytes) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c);
    *n_bytes = n > 0 ? (size_t)n : 1;
    return n <= 0 || kvli_is_hidden(c) ? 0xfffd : (uint32_t)c;
}
