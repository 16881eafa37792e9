/* Rate and distortion: how much worse predictions get with fewer bytes. */
#include "report/section.h"

static bool has(const kvl_content *c) {
    const kvl_chart *chart = kvl_chart_find("rate");
    return chart != NULL && chart->has(c);
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_page_paragraph(
        p,
        kvl_word(p->lang,
                 "What one more byte of cache buys. Rate is the memory that keys and values still take at "
                 "the end of a text; distortion is the loss on the same tokens. A press whose line lies "
                 "lower spends its bytes better.",
                 "多留一个字节能换来什么。“率”是文本结束时键与值仍占用的内存；“失真”是相同 token 上的损失。曲"
                 "线越低，字节用得越好。"));
    return kvl_page_chart(p, kvl_chart_find("rate"), p->content->sweep->command, err);
}

const kvl_section kvli_section_rate = {.id = "rate",
                                       .title_en = "Rate and distortion",
                                       .title_zh = "率失真",
                                       .has = has,
                                       .write = write,
                                       .command = "kvlab sweep --preset ucurve-compare"};
