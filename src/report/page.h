/* The whole report: one HTML file, or a section of a paper; and the analysis that both tell. */
#ifndef KVL_REPORT_PAGE_H
#define KVL_REPORT_PAGE_H

#include "report/section.h"

/* Appends one self-contained page: no network, readable without its script. */
kvl_status kvl_page_write(kvl_str *out, const kvl_content *c, kvl_lang lang, kvl_err *err) KVL_MUST_USE;

/* A section for a paper: method, table, figure with caption (file names `figure`.pdf or .png), limits. */
kvl_status kvl_paper_write_md(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure,
                              kvl_err *err) KVL_MUST_USE;
kvl_status kvl_paper_write_tex(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *figure,
                               kvl_err *err) KVL_MUST_USE;

/* ---- analysis: sentences that follow from the statements of this run, never more than intervals allow ----
 */

/* The answer in at most three sentences. */
void kvl_analysis_answer(kvl_str *out, const kvl_content *c, kvl_lang lang);

/* The written analysis as a list of blocks in order; its limits stand in a section of their own. */
typedef enum kvl_passage_kind {
    KVL_PASSAGE_HEAD,
    KVL_PASSAGE_TEXT,
    KVL_PASSAGE_ITEM,
    KVL_PASSAGE_TABLE
} kvl_passage_kind;
typedef struct kvl_passage {
    kvl_passage_kind kind;
    char *text;   /* HEAD, TEXT, ITEM: plain text, commands between back-quotes; TABLE: its caption */
    char **cells; /* TABLE: [n_rows, n_columns], the first row the heads */
    size_t n_rows, n_columns;
} kvl_passage;
typedef struct kvl_passages {
    kvl_passage *items; /* [n] */
    size_t n;
} kvl_passages;
kvl_status kvl_analysis_make(kvl_passages *out, const kvl_content *c, kvl_lang lang,
                             kvl_err *err) KVL_MUST_USE;
void kvl_passages_free(kvl_passages *b);

#endif
