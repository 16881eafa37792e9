/* The same curve for every press of the run. */
#include "report/chart_int.h"

static size_t count_presses(const kvl_report *r) {
    size_t first = 0;
    return kvli_find_presses(r, &first, 1);
}

static bool has(const kvl_content *c) { return count_presses(c->sweep) > 1; }

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_str text = {0};
    KVL_SAY(&text, p->lang,
            "%zu presses on the same texts and tokens, one panel each, all on the same scale; the full cache "
            "is the dashed line.",
            "%zu 种压缩规则，同样的文本与 token；每种一格，刻度全部相同；虚线为完整缓存。",
            count_presses(p->content->sweep));
    kvl_page_paragraph(p, kvl_str_text(&text));
    kvl_str_free(&text);
    return kvl_page_chart(p, kvl_chart_find("curves"), p->content->sweep->command, err);
}

const kvl_section kvli_section_presses = {.id = "presses",
                                          .title_en = "Every press",
                                          .title_zh = "各种压缩规则",
                                          .has = has,
                                          .write = write,
                                          .command = "kvlab sweep --preset ucurve-compare"};
