/* The parts that pages are made of: text, paragraphs, commands, figures, tables. */
#include "report/report_int.h"
#include "report/section.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- text ---- */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Appends n bytes of text. */
static void put_text(kvl_str *out, const char *text, size_t n_text) {
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    for (size_t left = n_text; left != 0;) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t n = utf8proc_iterate(s, (utf8proc_ssize_t)kvl_min_size(left, 4), &c);
        if (n <= 0 || (kvli_is_hidden(c) && c != '\n' && c != '\t')) {
            kvl_str_puts(out, replacement);
            n = n <= 0 ? 1 : n;
        } else if (c == '&') {
            kvl_str_puts(out, "&amp;");
        } else if (c == '<') {
            kvl_str_puts(out, "&lt;");
        } else if (c == '>') {
            kvl_str_puts(out, "&gt;");
        } else if (c == '"') {
            kvl_str_puts(out, "&quot;");
        } else if (c == '\'') {
            kvl_str_puts(out, "&#39;");
        } else {
            kvl_str_append(out, (const char *)s, (size_t)n);
        }
        s += n;
        left -= (size_t)n;
    }
}

void kvl_html_text(kvl_str *out, const char *text) { put_text(out, text, strlen(text)); }

void kvl_html_prose(kvl_str *out, const char *text) {
    for (;;) {
        const char *open = strchr(text, '`');
        const char *close = open != NULL ? strchr(open + 1, '`') : NULL;
        if (close == NULL) {
            kvl_html_text(out, text);
            return;
        }
        put_text(out, text, (size_t)(open - text));
        kvl_str_puts(out, "<code>");
        put_text(out, open + 1, (size_t)(close - open - 1));
        kvl_str_puts(out, "</code>");
        text = close + 1;
    }
}

/* An element of one line with text in it. */
static void put_element(kvl_str *out, const char *tag, const char *text) {
    kvl_str_printf(out, "<%s>", tag);
    kvl_html_text(out, text);
    kvl_str_printf(out, "</%s>", tag);
}

void kvl_page_paragraph(kvl_page *p, const char *text) {
    kvl_str_puts(p->out, "<p>");
    kvl_html_prose(p->out, text);
    kvl_str_puts(p->out, "</p>\n");
}

void kvl_page_command(kvl_page *p, const char *command) {
    kvl_str_puts(p->out, "<pre class=\"command\"><code>");
    kvl_html_text(p->out, command);
    kvl_str_puts(p->out, "</code></pre>\n");
}

/* ---- figures ---- */

/* One width of a chart; the page shows the one that fits. */
static kvl_status put_drawing(kvl_page *p, const kvl_chart *chart, bool is_wide, const char *description,
                              kvl_err *err) {
    const double width = is_wide ? 760 : 340;
    const char *title = kvl_word(p->lang, chart->title_en, chart->title_zh);
    char id[80];
    kvl_figure *f = NULL;
    snprintf(id, sizeof id, "chart-%s-%s", chart->id, is_wide ? "wide" : "narrow");
    KVL_TRY(kvl_figure_create(&f, width, chart->height(p->content, width), err));
    chart->draw(f, p->content, p->lang);
    kvl_str_printf(p->out, "<div class=\"%s\">", is_wide ? "wide" : "narrow");
    const kvl_status status = kvl_figure_write_svg(p->out, f, id, title, description, err);
    kvl_str_puts(p->out, "</div>\n");
    kvl_figure_destroy(f);
    return status;
}

kvl_status kvl_page_chart(kvl_page *p, const kvl_chart *chart, const char *command, kvl_err *err) {
    kvl_str description = {0};
    if (chart == NULL || !chart->has(p->content)) {
        return KVL_OK;
    }
    chart->describe(&description, p->content, p->lang);
    kvl_str_printf(p->out, "<figure id=\"figure-%s\">\n", chart->id);
    kvl_status status = put_drawing(p, chart, true, kvl_str_text(&description), err);
    if (status == KVL_OK) {
        status = put_drawing(p, chart, false, kvl_str_text(&description), err);
    }
    kvl_str_puts(p->out, "<figcaption>");
    put_element(p->out, "strong", kvl_word(p->lang, chart->title_en, chart->title_zh));
    kvl_str_puts(p->out, " ");
    kvl_html_text(p->out, kvl_str_text(&description));
    if (command != NULL) {
        kvl_str_puts(p->out, " ");
        put_element(p->out, "code", command);
    }
    kvl_str_puts(p->out, "</figcaption>\n</figure>\n");
    kvl_str_free(&description);
    return status;
}

/* ---- tables ---- */

void kvl_page_table(kvl_page *p, const char *caption, const char *const *heads, const bool *is_number,
                    size_t n_columns, const char *const *cells, size_t n_rows) {
    kvl_str *out = p->out;
    kvl_str_puts(out, "<p class=\"caption\">");
    kvl_html_text(out, caption);
    kvl_str_puts(out, "</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"");
    kvl_html_text(out, caption);
    kvl_str_puts(out, "\"><table>\n<thead><tr>");
    for (size_t c = 0; c < n_columns; c++) {
        kvl_str_puts(out, is_number[c] ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">");
        kvl_html_text(out, heads[c]);
        kvl_str_puts(out, "</th>");
    }
    kvl_str_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t r = 0; r < n_rows; r++) {
        kvl_str_puts(out, "<tr>");
        for (size_t c = 0; c < n_columns; c++) {
            kvl_str_puts(out, is_number[c] ? "<td class=\"n\">" : "<td>");
            kvl_html_text(out, cells[r * n_columns + c]);
            kvl_str_puts(out, "</td>");
        }
        kvl_str_puts(out, "</tr>\n");
    }
    kvl_str_puts(out, "</tbody></table></div>\n");
}
