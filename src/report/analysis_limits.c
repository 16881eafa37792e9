/* What the figures do not show. */
#include "report/analysis_int.h"
#include "report/phrases.h"

#include <string.h>

static void say_sweep_limits(kvli_say *s, const kvl_report *r, const kvli_curve *c) {
    const kvl_content *content = s->content;
    KVLI_SAY(s,
             "One model (%s), one protocol (%s%s%s), %zu texts. Other models, lengths "
             "and schedules may differ; in particular the cap and how often is compressed.",
             "一个模型（%s）、一种协议（%s%s%s）、%zu "
             "篇文本。其他模型、长度和压缩时机可能不同，尤其是上限与压缩频率。",
             content->model, content->protocol_name,
             content->preset[0] != '\0' ? kvl_word(s->lang, ", preset ", "，预设 ") : "", content->preset,
             r->n_samples);
    kvli_say_end(s, KVL_PASSAGE_ITEM);
    if (c != NULL && c->is_few) {
        KVLI_SAY(s,
                 "%zu text%s, fewer than %d: where intervals are given, they lean on the assumption that "
                 "texts vary "
                 "as a normal distribution does; nothing is claimed of other texts.",
                 "%zu 篇文本%s，少于 %d "
                 "篇：凡给出的置信区间都依赖于“文本间差异近似正态”的假设；不对其他文本下结论。",
                 r->n_samples, r->n_samples == 1 || s->lang == KVL_ZH ? "" : "s", KVL_FEW_CLUSTERS);
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    } else {
        KVLI_PUT(
            s,
            "Each interval speaks of its row alone. A best point chosen among several is, by that choice, a "
            "little too good.",
            "每个置信区间只针对所在的一行。从多个点中选出的最佳点会因这一选择而略显过好。");
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
    if (s->content->n_failed != 0) {
        KVLI_SAY(s, "%zu of %zu cells could not be computed and are left out.",
                 "%2$zu 个单元中有 %1$zu 个无法计算，未计入。", s->content->n_failed,
                 s->content->n_cells + s->content->n_failed);
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
    for (size_t i = 0; i < r->n_notes; i++) {
        kvl_str note = {0};
        kvli_put_note(&note, s->lang, r->notes[i]);
        KVLI_SAY(s, "Note: %s.", "注：%s。", kvl_str_text(&note));
        kvl_str_free(&note);
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
}

void kvli_say_limits(kvli_say *s, const kvli_facts *f) {
    const kvl_content *c = s->content;
    kvli_head(s, "What this does not show", "局限");
    if (c->sweep != NULL) {
        say_sweep_limits(s, c->sweep, kvli_main_curve(f->curves, f->n));
    }
    KVLI_PUT(
        s,
        "NLL and PPL are means over tokens of running text. They do not show retrieval, instructions or long "
        "generation.",
        "NLL 与 PPL 是连续文本各 token 的平均值，不反映检索、指令遵循或长文本生成。");
    kvli_say_end(s, KVL_PASSAGE_ITEM);
    if (c->cause != NULL) {
        KVLI_PUT(s,
                 "\"Supported\" means that every deciding prediction came true on these texts; another "
                 "account that "
                 "predicts the same is not excluded.",
                 "“得到支持”指在这些文本上所有决定性预测都成立；不排除作出相同预测的其他解释。");
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
    if (c->time != NULL) {
        KVLI_PUT(s, "Times are those of one machine and one moment; a median of repetitions is no interval.",
                 "时间只属于一台机器的某一时刻；多次重复的中位数并非区间。");
        kvli_say_end(s, KVL_PASSAGE_ITEM);
    }
}
