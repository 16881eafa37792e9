/* What causes the curve on this model, and how much of it: the last lines of an explanation. */
#ifndef KVL_EXPLAIN_CAUSE_H
#define KVL_EXPLAIN_CAUSE_H

#include "base/str.h"
#include "explain/hypothesis.h"
#include "explain/recency.h"

typedef struct kvl_cause {
    kvl_estimate spike;                      /* NLL at 0.95 above the best of the curve, nats per token */
    kvl_estimate excess_light;               /* at 0.95 above the full cache */
    kvl_estimate excess_best;                /* of the best setting above the full cache */
    const char *best;                        /* its policy; NULL: no curve was run */
    kvl_estimate removed[KVL_N_PROTECTIONS]; /* share of excess_light gone when so many newest keys stay */
    kvl_estimate by_chance; /* spike of priorities drawn once at random, as a share of the spike */
    kvl_estimate lag_one;   /* share of (step, head) that see the token just before, at 0.95 */
} kvl_cause;

void kvl_find_cause(kvl_cause *out, const kvl_evidence *ev);
/* Appends it in plain words. `recency` is the verdict on H8. */
void kvl_write_cause(kvl_str *out, const kvl_cause *cause, const kvl_model_facts *model,
                     kvl_conclusion recency);

#endif
