/* Figures of a policy from its trace: what queries saw, and what that cost where. All steps since the first
 * compression of each text count; before it nothing differs from the full cache. Steps, not texts, are
 * counted.
 */
#ifndef KVL_PROTOCOL_TRACE_FIGURES_H
#define KVL_PROTOCOL_TRACE_FIGURES_H

#include "protocol/trace.h"
#include "protocol/visibility.h"

enum { KVL_N_PHASES = 16, KVL_BLOCK_STEPS = 32 };

/* A mean of n numbers. */
typedef struct kvl_tally {
    double sum;
    size_t n;
} kvl_tally;

static inline void kvl_tally_add(kvl_tally *t, double x) {
    t->sum += x;
    t->n++;
}

typedef struct kvl_trace_figures {
    kvl_visibility seen;              /* sums; of layers that the policy does not skip */
    kvl_tally excess;                 /* NLL above that of the full cache, nats; of scored steps, so below */
    kvl_tally by_phase[KVL_N_PHASES]; /* steps since the last compression: 0 is the first query behind it */
    kvl_tally *by_block;              /* [n_blocks] of KVL_BLOCK_STEPS steps of the text */
    size_t n_blocks;
    kvl_tally *lost; /* [L] attention lost, mean over heads */
} kvl_trace_figures;

/* Of one policy on all texts, or on one (SIZE_MAX: all). Free with kvl_trace_figures_free. Errors: those of
 * kvl_trace_log. */
kvl_status kvl_trace_figures_make(kvl_trace_figures *out, const kvl_trace *t, size_t policy, size_t text,
                                  kvl_err *err) KVL_MUST_USE;
void kvl_trace_figures_free(kvl_trace_figures *f);

/* NLL of a step; NAN where it was not scored. */
double kvl_trace_nll(const kvl_trace *t, size_t policy, size_t text, size_t step);

#endif
