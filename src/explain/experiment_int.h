/* What the files of an experiment share: experiment.c runs the studies, account.c reads what their streams
 * leave, norms.c the keys and the attention of the full cache. */
#ifndef KVL_EXPLAIN_EXPERIMENT_INT_H
#define KVL_EXPLAIN_EXPERIMENT_INT_H

#include "explain/experiment.h"

#include "engine/departures.h"

/* One study being run: arms and texts, by the indices of the sweep. */
typedef struct kvli_study_run {
    kvl_evidence *ev;
    const kvl_shape *shape;
    kvl_study_id study;
    size_t first_arm;           /* in ev->arms: that of the sweep's policy 0, `none` */
    const kvl_policy *policies; /* [n_policies] of the sweep's policies 1 .. */
    const bool *is_ranked;      /* [n_policies] */
    size_t n_policies;
    kvl_samples texts;            /* shallow */
    float **norms;                /* [texts] key norms [L, K, tokens] of the full cache, or NULL */
    kvl_departures **ranked_logs; /* [n_policies, texts] logs of the ranked arms, NULL for others */
    const kvl_explain_config *config;
    size_t rows_before, rows_total; /* of earlier studies; of all */
} kvli_study_run;

/* Enters a finished cell into its account. */
kvl_status kvli_account_fill(kvli_study_run *r, const kvl_cell *cell, const kvl_stream *stream,
                             kvl_err *err) KVL_MUST_USE;
/* Enters the norm ranks of what a log's arm evicted; norms [L, K, tokens]. */
void kvli_account_rank(kvl_account *a, const kvl_departures *log, const kvl_policy *policy,
                       const float *norms);

/* Norms of all keys of a full cache: a new block [L, K, n_tokens]. */
kvl_status kvli_key_norms(float **out, const kvl_stream *stream, const kvl_shape *shape, size_t n_tokens,
                          kvl_err *err) KVL_MUST_USE;
/* Enters how norms go with attention received in one text, from a stream that has noted it. */
kvl_status kvli_norm_facts(kvl_norm_facts *facts, size_t text, const kvl_stream *stream,
                           const kvl_shape *shape, const float *norms, size_t n_tokens,
                           kvl_err *err) KVL_MUST_USE;

#endif
