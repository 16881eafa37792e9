/* What `kvlab sweep --dry-run` prints. */
#ifndef KVL_CLI_SWEEP_PLAN_H
#define KVL_CLI_SWEEP_PLAN_H

#include "cli/sweep_run.h"

typedef struct kvl_sweep_plan_info {
    const kvl_sweep_run_info *run; /* its sweep is a plan (kvl_sweep_plan) */
    uint64_t memory_bytes;         /* limit; 0: none */
    size_t n_timed_rows;           /* of the passes that were timed */
    double pass_ns;                /* median time of one */
    const char *store;             /* the store that was looked into, or NULL */
    const bool *is_kept;           /* [cells] which are in it; or NULL */
} kvl_sweep_plan_info;

/* Rows of a mean pass in lockstep. */
size_t kvl_sweep_mean_rows(const kvl_sweep *s);
/* Appends the plan as text or, by the run's options, as one JSON object (schema kvlab.sweep-plan/1). */
kvl_status kvl_sweep_write_plan(kvl_str *out, const kvl_sweep_plan_info *plan, kvl_err *err) KVL_MUST_USE;

#endif
