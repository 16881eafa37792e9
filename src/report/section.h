/* Sections of a page, and charts in them. Adding one: a file section_<name>.c (or chart_<name>.c) and a line
 * in section_list.def (chart_list.def). */
#ifndef KVL_REPORT_SECTION_H
#define KVL_REPORT_SECTION_H

#include "report/content.h"
#include "report/figure.h"
#include "report/words.h"

typedef struct kvl_chart {
    const char *id; /* "curve": file name and anchor */
    const char *title_en, *title_zh;
    /* Whether there is anything to draw. */
    bool (*has)(const kvl_content *c);
    /* Height for a width: 340 (telephones) or 760. */
    double (*height)(const kvl_content *c, double width);
    void (*draw)(kvl_figure *f, const kvl_content *c, kvl_lang lang);
    /* Appends the text alternative: what the chart shows, with its main numbers, in one to three sentences.
     */
    void (*describe)(kvl_str *out, const kvl_content *c, kvl_lang lang);
} kvl_chart;

/* All charts; *n of them; and by id, NULL: none. */
const kvl_chart *const *kvl_charts(size_t *n);
const kvl_chart *kvl_chart_find(const char *id);

/* The chart that shows a sweep best: "curve", or "curves" where its presses are more than lines can be told
 * apart; NULL: nothing to draw. */
const kvl_chart *kvl_chart_of_sweep(const kvl_content *c);

/* What stands around a chart in a picture of its own. */
typedef struct kvl_caption {
    const char *title, *line, *command;
} kvl_caption;

/* Writes a chart, 760 pixels wide, as path.png, path.svg and path.pdf; caption NULL: the chart alone. E_IO.
 */
kvl_status kvl_chart_save(const kvl_chart *chart, const kvl_content *c, kvl_lang lang,
                          const kvl_caption *caption, const char *path, kvl_err *err) KVL_MUST_USE;

/* A page that is being written: HTML is appended to `out`. */
typedef struct kvl_page {
    kvl_str *out;
    const kvl_content *content;
    kvl_lang lang;
} kvl_page;

typedef struct kvl_section {
    const char *id; /* anchor */
    const char *title_en, *title_zh;
    bool (*has)(const kvl_content *c);
    kvl_status (*write)(kvl_page *p, kvl_err *err); /* what stands under the heading */
    const char
        *command; /* that would measure it, as "kvlab explain": told where the section is left out; or NULL */
} kvl_section;

const kvl_section *const *kvl_sections(size_t *n);

/* ---- for sections ---- */

/* Appends text with & < > " ' escaped; bytes that are no UTF-8 become U+FFFD, control characters U+FFFD. */
void kvl_html_text(kvl_str *out, const char *text);
/* The same of prose, in which commands stand between back quotes: they become <code>. */
void kvl_html_prose(kvl_str *out, const char *text);
/* A paragraph of prose; of a format in two languages use KVL_SAY into a string first. */
void kvl_page_paragraph(kvl_page *p, const char *text);
/* A chart as <figure>, in both widths, with caption (its title and description) and command [may be NULL]. */
kvl_status kvl_page_chart(kvl_page *p, const kvl_chart *chart, const char *command,
                          kvl_err *err) KVL_MUST_USE;
/* A table that can be sorted by its heads and scrolls by itself where the page is narrow. Cells are plain
 * text, row by row [n_rows, n_columns]; numbers (is_number [n_columns]) stand right. */
void kvl_page_table(kvl_page *p, const char *caption, const char *const *heads, const bool *is_number,
                    size_t n_columns, const char *const *cells, size_t n_rows);
/* A command that a reader can copy. */
void kvl_page_command(kvl_page *p, const char *command);

#endif
