/* One text, token by token: norms of keys, and which tokens receive attention. */
#include "report/mechanism.h"
#include "report/section.h"

static bool has(const kvl_content *c) { return c->portrait != NULL; }

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_portrait *portrait = p->content->portrait;
    kvl_str text = {0};
    KVL_SAY(&text, p->lang,
            "One text (%s, %zu tokens) read with the full cache: the length of each key, and the attention "
            "it receives from "
            "the tokens behind it. It is one example and carries no interval.",
            "用完整缓存读一篇文本（%s，%zu 个 token）：每个键的范数，以及它从其后 token "
            "得到的注意力。这只是一个例子，没有置信区间。",
            portrait->text, portrait->n_tokens);
    kvl_page_paragraph(p, kvl_str_text(&text));
    kvl_str_free(&text);
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("norms"), portrait->command, err));
    return kvl_page_chart(p, kvl_chart_find("importance"), portrait->command, err);
}

const kvl_section kvli_section_tokens = {.id = "tokens",
                                         .title_en = "Tokens: norm and attention",
                                         .title_zh = "逐个 token：键范数与注意力",
                                         .has = has,
                                         .write = write,
                                         .command = "kvlab sweep --preset ucurve --portrait"};
