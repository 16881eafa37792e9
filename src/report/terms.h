/* Terms of the field in both languages, by what they are called in records. */
#ifndef KVL_REPORT_TERMS_H
#define KVL_REPORT_TERMS_H

#include "report/words.h"
#include "stats/stats.h"

const char *kvl_term_stage(kvl_lang lang, kvl_stage stage);
/* Of a verdict as explain writes it: "supported", "refuted", "cannot tell here"; itself if it is none. */
const char *kvl_term_verdict(kvl_lang lang, const char *verdict);
/* Of a hypothesis: its name, in Chinese by its id; the name itself where the id is not known. */
const char *kvl_term_hypothesis(kvl_lang lang, const char *id, const char *name);
/* Of a finding's unit; itself if it is not known. */
const char *kvl_term_unit(kvl_lang lang, const char *unit);

#endif
