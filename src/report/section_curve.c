/* The curve: quality against what is kept, with intervals, stages, worst, best and the full cache. */
#include "report/phrases.h"
#include "report/section.h"

static bool has(const kvl_content *c) { return c->sweep != NULL; }

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_report *r = p->content->sweep;
    kvl_page_paragraph(
        p,
        kvl_word(
            p->lang,
            "From left to right less of the cache is kept; the full cache is on the left. Bars are "
            "95 % intervals of the difference to the full cache on the same tokens. A stage is named "
            "where these intervals tell it apart from the best setting: explosion is worse with less "
            "thrown away, decline is worse with more thrown away.",
            "自左向右，保留的缓存越来越少；最左是完整缓存。竖线是在相同 token 上与完整缓存之差的 95 % "
            "置信区间。"
            "只有当这些区间能与最佳设置区分开时才标出阶段：“爆炸区”指丢得更少反而更差，“衰退区”指丢得更多因而"
            "更差。"));
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("curve"), r->command, err));
    kvl_str_puts(p->out, r->n_notes != 0 ? "<ul class=\"notes\">\n" : "");
    for (size_t i = 0; i < r->n_notes; i++) {
        kvl_str_puts(p->out, "<li>");
        kvl_str note = {0};
        kvli_put_note(&note, p->lang, r->notes[i]);
        kvl_html_text(p->out, kvl_str_text(&note));
        kvl_str_free(&note);
        kvl_str_puts(p->out, "</li>\n");
    }
    kvl_str_puts(p->out, r->n_notes != 0 ? "</ul>\n" : "");
    return KVL_OK;
}

const kvl_section kvli_section_curve = {.id = "curve",
                                        .title_en = "The curve",
                                        .title_zh = "曲线",
                                        .has = has,
                                        .write = write,
                                        .command = "kvlab sweep --preset ucurve"};
