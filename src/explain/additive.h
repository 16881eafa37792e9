/* The additive model: can the curve be had from lost lags and cache size alone?
 *
 * log PPL = constant + per_missing R + per_entry (cap - S), where R is how often recent tokens are not seen,
 * the nearest weighing most (the share of steps and heads that miss the token at lag j, times 2^(1-j),
 * summed), and S the mean number of entries seen. Neither knows norms or meaning: both are measured on the
 * run, from what left the cache when. The model is fitted to the KnormPress curve by least squares, and
 * tested by leaving each point out, and on policies that it was not fitted to.
 */
#ifndef KVL_EXPLAIN_ADDITIVE_H
#define KVL_EXPLAIN_ADDITIVE_H

#include "explain/evidence.h"

enum { KVL_ADDITIVE_POINTS = 96 };

typedef struct kvl_additive_point {
    const char *policy;
    double missing; /* R */
    double visible; /* S, entries */
    double log_ppl; /* nats per scored token, all steps */
    double fitted;
    double left_out; /* predicted by a fit without this point; of points that were not fitted as `fitted` */
    bool is_of_fit;
} kvl_additive_point;

typedef struct kvl_additive {
    kvl_additive_point points[KVL_ADDITIVE_POINTS];
    size_t n;
    size_t n_fitted; /* 0: too few points, or all alike: no fit */
    double constant, per_missing, per_entry;
    double r_squared, r_squared_left_out; /* of the curve */
    double r_squared_others;              /* of policies that were not fitted; NAN with fewer than three */
    double mean_error_others;             /* mean of |predicted - seen|, nats; NAN without any */
} kvl_additive;

/* Of the step-by-step study. Policies that change positions or the layers compressed are left out. */
kvl_status kvl_additive_fit(kvl_additive *out, const kvl_evidence *ev, kvl_err *err) KVL_MUST_USE;

#endif
