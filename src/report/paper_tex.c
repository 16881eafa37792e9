/* A section of a paper as LaTeX: to be read by \input into a document with graphicx and booktabs. */
#include "report/paper_int.h"

#include <string.h>

/* ---- text ---- */

/* What a character is written as; NULL: itself. */
static const char *escape_ascii(char c, bool is_code) {
    switch (c) {
    case '\\': return "\\textbackslash{}";
    case '{': return "\\{";
    case '}': return "\\}";
    case '$': return "\\$";
    case '&': return "\\&";
    case '#': return "\\#";
    case '%': return "\\%";
    case '_': return "\\_";
    case '^': return "\\textasciicircum{}";
    case '~': return "\\textasciitilde{}";
    case '<': return "\\textless{}";
    case '>': return "\\textgreater{}";
    case '|': return "\\textbar{}";
    case '"': return "\\textquotedbl{}";
    case '\'': return is_code ? "\\textquotesingle{}" : NULL;
    case '[': return "{[}"; /* behind a line's end it would be an option */
    case '*': return "{*}";
    default: return NULL;
    }
}

/* The same of others that pdfLaTeX does not know as text. */
static const char *escape_wide(uint32_t c) {
    switch (c) {
    case 0x394: return "$\\Delta$";
    case 0x2013: return "--";
    case 0x2014: return "---";
    case 0x2026: return "\\dots{}";
    case 0x2248: return "$\\approx$";
    case 0x2019: return "'";
    case 0x201c: return "``";
    case 0x201d: return "''";
    case 0xb1: return "$\\pm$";
    case 0xd7: return "$\\times$";
    case 0xb7: return "$\\cdot$";
    case 0xb2: return "$^2$";
    default: return NULL;
    }
}

/* Whether a hyphen is the sign of a number, by what stands around it. */
static bool is_minus(const kvl_str *out, char next, bool is_code) {
    const char before = out->len != 0 ? out->data[out->len - 1] : ' ';
    return !is_code && next >= '0' && next <= '9' && strchr(" ]{}(", before) != NULL;
}

/* English is for pdfLaTeX: characters beyond Latin-1 are named there; Chinese is for ctex, which has them. */
static void put_text(kvl_str *out, const char *text, kvl_lang lang) {
    bool is_code = false;
    while (*text != '\0') {
        size_t n = 0;
        const uint32_t c = kvli_next_char(text, &n);
        const char *escaped = c < 0x80 ? escape_ascii((char)c, is_code) : escape_wide(c);
        if (c == '`') {
            kvl_str_puts(out, is_code ? "}" : "\\texttt{");
            is_code = !is_code;
        } else if (c == '-') {
            kvl_str_puts(out, is_minus(out, text[1], is_code) ? "$-$" : text[1] == '-' ? "-{}" : "-");
        } else if (escaped != NULL) {
            kvl_str_puts(out, escaped);
        } else if (c == 0xfffd || (lang != KVL_ZH && c >= 0x100) || c == 0xa0 || c == 0xad) {
            kvl_str_printf(out, "{[}U+%04X]", (unsigned)c);
        } else {
            kvl_str_append(out, text, n);
        }
        text += n;
    }
    kvl_str_puts(out, is_code ? "}" : "");
}

/* ---- blocks ---- */

static void put_table(kvl_str *out, const kvl_passage *p, kvl_lang lang) {
    kvl_str_puts(out, "\\begin{table}[htbp]\n\\centering\\small\n\\caption{");
    put_text(out, p->text, lang);
    kvl_str_puts(out, "}\n\\begin{tabular}{");
    for (size_t k = 0; k < p->n_columns; k++) {
        kvl_str_puts(out, "l");
    }
    kvl_str_puts(out, "}\n\\toprule\n");
    for (size_t i = 0; i < p->n_rows; i++) {
        for (size_t k = 0; k < p->n_columns; k++) {
            kvl_str_puts(out, k == 0 ? "" : " & ");
            put_text(out, p->cells[i * p->n_columns + k], lang);
        }
        kvl_str_puts(out, i == 0 ? " \\\\\n\\midrule\n" : " \\\\\n");
    }
    kvl_str_puts(out, "\\bottomrule\n\\end{tabular}\n\\end{table}\n\n");
}

static void put_figure(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure) {
    kvl_str caption = {0};
    kvli_paper_caption(&caption, c, lang);
    if (caption.len != 0) {
        kvl_str_printf(out,
                       "\\begin{figure}[htbp]\n\\centering\n\\includegraphics[width=\\linewidth]{%s.pdf}\n"
                       "\\caption{",
                       figure);
        put_text(out, kvl_str_text(&caption), lang);
        kvl_str_puts(out, "}\n\\end{figure}\n\n");
    }
    out->failed = out->failed || caption.failed;
    kvl_str_free(&caption);
}

/* Items of a list, up to what is none; returns the index behind. Those behind the last head are references.
 */
static size_t put_items(kvl_str *out, const kvl_passages *all, size_t i, bool is_references, kvl_lang lang) {
    kvl_str_puts(out, is_references ? "\\begin{thebibliography}{9}\n" : "\\begin{itemize}\n");
    for (size_t n = 1; i < all->n && all->items[i].kind == KVL_PASSAGE_ITEM; i++, n++) {
        if (is_references) {
            kvl_str_printf(out, "\\bibitem{kvlab%zu} ", n);
        } else {
            kvl_str_puts(out, "\\item ");
        }
        put_text(out, all->items[i].text, lang);
        kvl_str_puts(out, "\n");
    }
    kvl_str_puts(out, is_references ? "\\end{thebibliography}\n" : "\\end{itemize}\n\n");
    return i;
}

static void put_preamble(kvl_str *out, kvl_lang lang) {
    kvl_str_puts(out, lang == KVL_ZH
                          ? "% 用 XeLaTeX 编译：\\documentclass{ctexart}，\\usepackage{graphicx,booktabs}\n"
                          : "% for \\input into a document with \\usepackage[T1]{fontenc} and "
                            "\\usepackage{graphicx,booktabs,textcomp}\n");
}

kvl_status kvl_paper_write_tex(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure,
                               kvl_err *err) {
    kvl_passages all = {0};
    kvl_str title = {0};
    size_t last_head = 0;
    bool has_figure = false;
    kvl_status status = kvli_paper_make(&all, c, lang, err);
    KVL_GO(status);
    kvli_paper_title(&title, c, lang);
    put_preamble(out, lang);
    kvl_str_puts(out, "\\section{");
    put_text(out, kvl_str_text(&title), lang);
    kvl_str_puts(out, "}\n\n");
    for (size_t i = 0; i < all.n; i++) {
        last_head = all.items[i].kind == KVL_PASSAGE_HEAD ? i : last_head;
    }
    for (size_t i = 0; i < all.n; i++) {
        const kvl_passage *p = &all.items[i];
        if (p->kind == KVL_PASSAGE_HEAD && i != last_head) { /* references bring their own */
            kvl_str_puts(out, "\\subsection{");
            put_text(out, p->text, lang);
            kvl_str_puts(out, "}\n\n");
        } else if (p->kind == KVL_PASSAGE_TEXT) {
            put_text(out, p->text, lang);
            kvl_str_puts(out, "\n\n");
        } else if (p->kind == KVL_PASSAGE_ITEM) {
            i = put_items(out, &all, i, i > last_head, lang) - 1;
        } else if (p->kind == KVL_PASSAGE_TABLE) {
            put_table(out, p, lang);
            if (!has_figure) {
                put_figure(out, c, lang, figure);
            }
            has_figure = true;
        }
    }
    out->failed = out->failed || title.failed;
    KVL_GO(kvl_str_check(out, "paper", err));
done:
    kvl_str_free(&title);
    kvl_passages_free(&all);
    return status;
}
