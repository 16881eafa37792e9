/* What both forms of a paper's section are made of. */
#ifndef KVL_REPORT_PAPER_INT_H
#define KVL_REPORT_PAPER_INT_H

#include "report/page.h"

/* Method, results with the table of the curve (the first one; the figure belongs behind it), mechanism,
 * comparison, limits, commands and references, in order. Commands stand between back-quotes. Errors: E_NOMEM.
 */
kvl_status kvli_paper_make(kvl_passages *out, const kvl_content *c, kvl_lang lang, kvl_err *err) KVL_MUST_USE;
/* Appends title and caption; the caption is empty where there is no curve. */
void kvli_paper_title(kvl_str *out, const kvl_content *c, kvl_lang lang);
void kvli_paper_caption(kvl_str *out, const kvl_content *c, kvl_lang lang);

/* The next character of UTF-8 text and its bytes; what is none, and what is not seen but acts, is U+FFFD. */
uint32_t kvli_next_char(const char *text, size_t *n_bytes);

#endif
