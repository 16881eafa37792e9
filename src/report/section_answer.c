/* The answer, in at most three sentences. */
#include "report/page.h"

static bool has(const kvl_content *c) {
    (void)c;
    return true;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_str text = {0};
    kvl_analysis_answer(&text, p->content, p->lang);
    kvl_page_paragraph(p, kvl_str_text(&text));
    const kvl_status status = kvl_str_check(&text, "answer", err);
    kvl_str_free(&text);
    return status;
}

const kvl_section kvli_section_answer = {
    .id = "answer", .title_en = "The answer", .title_zh = "结论", .has = has, .write = write};
