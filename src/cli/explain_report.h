/* An explanation as text and as JSON lines. */
#ifndef KVL_CLI_EXPLAIN_REPORT_H
#define KVL_CLI_EXPLAIN_REPORT_H

#include "base/str.h"
#include "engine/engine.h"
#include "explain/additive.h"
#include "explain/cause.h"

typedef struct kvl_explain_report {
    const kvl_evidence *evidence;
    const kvl_hypothesis *const *hypotheses; /* [n] */
    const kvl_judgement *judgements;         /* [n] */
    size_t n;
    const kvl_cause *cause;
    const kvl_additive *additive;
    const kvl_engine *engine;
    const char *texts;   /* which, in words */
    const char *command; /* as it was given */
    uint64_t wall_ns;
} kvl_explain_report;

/* For people: verdicts, then each hypothesis with its findings, then the model of section "additive", then
 * the cause. */
void kvl_explain_write_text(kvl_str *out, const kvl_explain_report *r);
/* One object for the run, for each hypothesis with its findings, each arm, each layer where norms were looked
 * at, and for the cause. */
kvl_status kvl_explain_write_jsonl(kvl_str *out, const kvl_explain_report *r, kvl_err *err) KVL_MUST_USE;

#endif
