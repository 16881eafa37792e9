/* What explain records in English, in the language of a reader: claims, findings, reasons. What is not
 * known here stays as it was recorded. */
#ifndef KVL_REPORT_EXPLAIN_WORDS_H
#define KVL_REPORT_EXPLAIN_WORDS_H

#include "report/words.h"

/* Of a hypothesis by its id ("H8"); otherwise is what was recorded. */
const char *kvli_claim_words(kvl_lang lang, const char *id, const char *otherwise);
/* Appends what a finding is about ("keep 0.6 above keep 0.75"), or why a verdict is what it is. Whether it is
 * known in the language. */
bool kvli_put_finding(kvl_str *out, kvl_lang lang, const char *what);
/* Which texts were read, as `kvl_cause_content.texts` has it; NULL: nothing. */
void kvli_put_texts(kvl_str *out, kvl_lang lang, const char *texts);
/* Of a finding: "as predicted", "against", "undecided", "no prediction". */
const char *kvli_outcome_words(kvl_lang lang, const char *outcome);

#endif
