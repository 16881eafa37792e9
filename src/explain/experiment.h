/* Experiments: from hypotheses to evidence. The arms of all of them are joined, study by study, and all arms
 * of a study go through the model together, in the shared batches of a sweep. */
#ifndef KVL_EXPLAIN_EXPERIMENT_H
#define KVL_EXPLAIN_EXPERIMENT_H

#include "explain/hypothesis.h"
#include "protocol/sweep.h"

/* The texts that are read by default: articles and books, each a document of its own. */
#define KVL_EXPLAIN_SAMPLES "A1-A60 B1-B10"

typedef struct kvl_explain_progress {
    kvl_study_id study;
    size_t rows_done, rows_total; /* tokens through the model, all studies */
} kvl_explain_progress;

typedef struct kvl_explain_config {
    const kvl_hypothesis *const *hypotheses; /* [n_hypotheses] */
    size_t n_hypotheses;
    const kvl_samples *texts; /* candidates: a study takes those that are long enough */
    bool is_full;             /* longer texts, all caps, more resamples */
    uint64_t memory_bytes;    /* as in kvl_sweep_config */
    uint64_t seed;            /* of the resamples */
    bool (*progress)(void *ud, const kvl_explain_progress *progress); /* may be NULL; false: stop */
    void *progress_ud;
} kvl_explain_config;

/* Tokens through the model that the experiments take, all studies. Nothing is computed. */
kvl_status kvl_explain_plan(size_t *n_rows, kvl_engine *engine, const kvl_explain_config *config,
                            kvl_err *err) KVL_MUST_USE;
/* Runs them. Free *out with kvl_evidence_free, also after an error. A study of which fewer than two texts are
 * long enough, or whose cap does not fit the model's context, is not run. Errors: those of the sweep, E_TEXT
 * where all texts are too short for any. */
kvl_status kvl_explain_run(kvl_evidence *out, kvl_engine *engine, const kvl_explain_config *config,
                           kvl_err *err) KVL_MUST_USE;

#endif
