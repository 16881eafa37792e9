/* What a page does not show, as it follows from what is and is not in it. */
#include "report/analysis_int.h"

#include "base/alloc.h"

static bool has(const kvl_content *c) {
    (void)c;
    return true;
}

/* One item of the list; the text is emptied. */
static void put_item(kvl_page *p, kvl_str *text) {
    kvl_str_puts(p->out, "<li>");
    kvl_html_text(p->out, kvl_str_text(text));
    kvl_str_puts(p->out, "</li>\n");
    kvl_str_clear(text);
}

/* ---- what a sweep leaves open ---- */

static void put_texts(kvl_page *p, kvl_str *text, const kvl_report *r) {
    if (r->block_tokens != 0) {
        KVL_SAY(
            text, p->lang,
            "Intervals come from blocks of one text (at least %zu tokens each): they speak of this text, not "
            "of others.",
            "区间来自同一篇文本的分块（每块至少 %zu 个 token）：只说明这篇文本，不说明别的文本。",
            r->block_tokens);
        put_item(p, text);
    }
}

static void put_rows(kvl_page *p, kvl_str *text, const kvl_report *r) {
    size_t n_idle = 0, n_open = 0, n_acting = 0;
    double largest = 0;
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        const bool is_acting = !row->is_baseline && row->has_evicted;
        n_idle += !row->is_baseline && !row->has_evicted;
        n_acting += is_acting;
        if (is_acting && kvl_equivalence(row->delta, KVL_MARGIN_NATS) == KVL_UNDECIDED) {
            n_open++;
            largest = row->smallest > largest ? row->smallest : largest;
        }
    }
    if (n_open != 0) {
        KVL_SAY(text, p->lang,
                "%zu of %zu settings are undecided: neither a difference to the full cache nor its absence "
                "(within %g nats) is shown. True differences of up to %.3f nats per token could be missed.",
                "%zu 个设置（共 %zu 个）未有定论：既没有显示与完整缓存有差别，也没有显示差别在 %g nats "
                "之内；每 token 至多 %.3f nats 的真实差别可能被漏掉。",
                n_open, n_acting, KVL_MARGIN_NATS, largest);
        put_item(p, text);
    }
    if (n_idle != 0) {
        KVL_SAY(text, p->lang, "%zu settings evicted nothing: their rows say nothing about the press.",
                "%zu 个设置没有驱逐任何条目：它们的行对压缩规则本身说明不了什么。", n_idle);
        put_item(p, text);
    }
}

static void put_sweep(kvl_page *p, kvl_str *text) {
    const kvl_content *c = p->content;
    if (c->sweep == NULL) {
        return;
    }
    put_texts(p, text, c->sweep);
    put_rows(p, text, c->sweep);
}

/* ---- what lies outside ---- */

static void put_scope(kvl_page *p, kvl_str *text) {
    const kvl_content *c = p->content;
    if (c->sweep == NULL) {
        KVL_SAY(text, p->lang,
                "One model: %s. Nothing here says how another one behaves, least of all a much larger one.",
                "只有一个模型：%s。这里的一切都不说明别的模型会怎样，尤其是大得多的模型。", c->model);
        put_item(p, text);
    }
    if (c->time == NULL && (c->bench != NULL || c->choice != NULL)) {
        kvl_str_puts(text,
                     kvl_word(p->lang,
                              "Times are of one machine, and of what else it did meanwhile; ratios travel "
                              "better than milliseconds.",
                              "时间来自一台机器，也受它当时其他工作影响；比值比毫秒数更可移植。"));
        put_item(p, text);
    }
    if (c->needle == NULL) {
        kvl_str_puts(text,
                     kvl_word(p->lang,
                              "Whether single facts are still found was not tested; kvlab needle does that.",
                              "个别事实是否还能找到，这里没有检验；kvlab needle 可以检验。"));
        put_item(p, text);
    }
    if (c->cause == NULL) {
        kvl_str_puts(text,
                     kvl_word(p->lang, "Why the curve has its shape was not tested; kvlab explain does that.",
                              "曲线为何是这种形状，这里没有检验；kvlab explain 可以检验。"));
        put_item(p, text);
    } else {
        KVL_SAY(
            text, p->lang,
            "The cause was tested on %zu texts with one cap; what single steps have in common goes together "
            "with the loss, it does not prove it.",
            "原因是在 %zu 篇文本、一种上限下检验的；单步之间的共同之处只是与损失同时出现，并不是证明。",
            c->cause->n_texts);
        put_item(p, text);
    }
}

/* Sections that have nothing to show, and what would fill them. */
static void put_missing(kvl_page *p) {
    size_t n = 0;
    size_t n_missing = 0;
    const kvl_section *const *sections = kvl_sections(&n);
    for (size_t i = 0; i < n; i++) {
        const kvl_section *s = sections[i];
        if (s->has(p->content) || s->command == NULL) {
            continue;
        }
        if (n_missing++ == 0) {
            kvl_str_printf(
                p->out, "<h3>%s</h3>\n<ul>\n",
                kvl_word(p->lang, "Not measured yet, and what would do it", "尚未测量，以及测量所用的命令"));
        }
        kvl_str_printf(p->out, "<li>%s%s<code>", kvl_word(p->lang, s->title_en, s->title_zh),
                       kvl_word(p->lang, ": ", "："));
        kvl_str command = {0};
        kvl_command_for(&command, p->content, s->command);
        kvl_html_text(p->out, kvl_str_text(&command));
        kvl_str_free(&command);
        kvl_str_puts(p->out, "</code></li>\n");
    }
    kvl_str_puts(p->out, n_missing != 0 ? "</ul>\n" : "");
}

static void put_others(kvl_page *p) {
    const kvl_content *c = p->content;
    if (c->n_other_groups == 0) {
        return;
    }
    kvl_str_printf(p->out, "<h3>%s</h3>\n<ul>\n",
                   kvl_word(p->lang, "Also in this store, and not mixed in", "结果库中另有（未混入本页）"));
    for (size_t i = 0; i < c->n_other_groups; i++) {
        kvl_str_puts(p->out, "<li>");
        kvl_html_text(p->out, kvl_str_text(&c->other_groups[i]));
        kvl_str_puts(p->out, "</li>\n");
    }
    kvl_str_puts(p->out, "</ul>\n");
}

/* What the written analysis says of its limits, without its head. */
static kvl_status put_analysis(kvl_page *p, kvl_err *err) {
    kvl_passages passages = {0};
    const kvl_status status = kvli_say_with(&passages, p->content, p->lang, kvli_say_limits, err);
    for (size_t i = 0; i < passages.n; i++) {
        if (passages.items[i].kind == KVL_PASSAGE_ITEM) {
            kvl_str_puts(p->out, "<li>");
            kvl_html_prose(p->out, passages.items[i].text);
            kvl_str_puts(p->out, "</li>\n");
        }
    }
    kvl_passages_free(&passages);
    return status;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_str text = {0};
    kvl_str_puts(p->out, "<ul>\n");
    KVL_TRY(put_analysis(p, err));
    put_sweep(p, &text);
    put_scope(p, &text);
    kvl_str_puts(p->out, "</ul>\n");
    put_missing(p);
    put_others(p);
    const kvl_status status = kvl_str_check(&text, "page", err);
    kvl_str_free(&text);
    return status;
}

const kvl_section kvli_section_limits = {.id = "limits",
                                         .title_en = "What it does not show",
                                         .title_zh = "它没有说明什么",
                                         .has = has,
                                         .write = write};
