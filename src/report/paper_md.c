/* A section of a paper as Markdown. */
#include "report/paper_int.h"

#include <string.h>

/* Text with all that Markdown or HTML would read escaped, commands as code. */
static void put_text(kvl_str *out, const char *text) {
    bool is_code = false;
    while (*text != '\0') {
        size_t n = 0;
        const uint32_t c = kvli_next_char(text, &n);
        if (c == '`') {
            is_code = !is_code;
            kvl_str_puts(out, "`");
        } else if (c == 0xfffd) {
            kvl_str_puts(out, "\xef\xbf\xbd");
        } else if (c < 0x80 && strchr("\\*_{}[]<>#|!&~$^", (int)c) != NULL && (!is_code || c == '|')) {
            kvl_str_printf(out, "\\%c", (int)c);
        } else {
            kvl_str_append(out, text, n);
        }
        text += n;
    }
    kvl_str_puts(out, is_code ? "`" : "");
}

static void put_table(kvl_str *out, const kvl_passage *p) {
    for (size_t i = 0; i < p->n_rows; i++) {
        for (size_t k = 0; k < p->n_columns; k++) {
            kvl_str_puts(out, k == 0 ? "| " : " | ");
            put_text(out, p->cells[i * p->n_columns + k]);
        }
        kvl_str_puts(out, " |\n");
        for (size_t k = 0; k < p->n_columns && i == 0; k++) {
            kvl_str_puts(out, k + 1 == p->n_columns ? "|---|\n" : "|---");
        }
    }
    kvl_str_puts(out, "\n*");
    put_text(out, p->text);
    kvl_str_puts(out, "*\n\n");
}

static void put_figure(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure) {
    kvl_str caption = {0};
    kvli_paper_caption(&caption, c, lang);
    if (caption.len != 0) {
        kvl_str_puts(out, "![");
        put_text(out, kvl_word(lang, kvl_chart_find("curve")->title_en, kvl_chart_find("curve")->title_zh));
        kvl_str_printf(out, "](<%s.png>)\n\n*", figure);
        put_text(out, kvl_str_text(&caption));
        kvl_str_puts(out, "*\n\n");
    }
    out->failed = out->failed || caption.failed;
    kvl_str_free(&caption);
}

kvl_status kvl_paper_write_md(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure,
                              kvl_err *err) {
    kvl_passages passages = {0};
    kvl_str title = {0};
    bool has_figure = false;
    kvl_status status = kvli_paper_make(&passages, c, lang, err);
    KVL_GO(status);
    kvli_paper_title(&title, c, lang);
    kvl_str_puts(out, "# ");
    put_text(out, kvl_str_text(&title));
    kvl_str_puts(out, "\n\n");
    for (size_t i = 0; i < passages.n; i++) {
        const kvl_passage *p = &passages.items[i];
        const bool is_last_item = p->kind == KVL_PASSAGE_ITEM &&
                                  (i + 1 == passages.n || passages.items[i + 1].kind != KVL_PASSAGE_ITEM);
        if (p->kind == KVL_PASSAGE_TABLE) {
            put_table(out, p);
            if (!has_figure) {
                put_figure(out, c, lang, figure);
            }
            has_figure = true;
            continue;
        }
        kvl_str_puts(out, p->kind == KVL_PASSAGE_HEAD ? "## " : p->kind == KVL_PASSAGE_ITEM ? "- " : "");
        put_text(out, p->text);
        kvl_str_puts(out, p->kind == KVL_PASSAGE_ITEM && !is_last_item ? "\n" : "\n\n");
    }
    out->failed = out->failed || title.failed;
    KVL_GO(kvl_str_check(out, "paper", err));
done:
    kvl_str_free(&title);
    kvl_passages_free(&passages);
    return status;
}
