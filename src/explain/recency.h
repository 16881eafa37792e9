/* What protecting the newest keys removes, and what single steps say of it. */
#ifndef KVL_EXPLAIN_RECENCY_H
#define KVL_EXPLAIN_RECENCY_H

#include "explain/hypothesis.h"

typedef struct kvl_protection {
    size_t n_newest;
    const char *policy;
} kvl_protection;
enum { KVL_N_PROTECTIONS = 5 };
extern const kvl_protection kvl_protections_tried[KVL_N_PROTECTIONS];

/* The share of the excess NLL of KnormPress at 0.95 over the full cache that protection i removes. */
kvl_estimate kvl_protection_share(const kvl_evidence *ev, size_t i);

/* (h): the NLL of a token under the settings of the curve against how much of lags 1 to 4 is missing there,
 * and against the norm rank of what was evicted last. */
void kvli_judge_steps(const kvl_evidence *ev, kvl_judgement *out);

#endif
