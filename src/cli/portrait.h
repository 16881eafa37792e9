/* One text of a sweep, looked at closely: what the keys are like, and when each of them leaves the cache. */
#ifndef KVL_CLI_PORTRAIT_H
#define KVL_CLI_PORTRAIT_H

#include "cli/sweep_run.h"

/* Runs the first sample once more, with at most KVL_PORTRAIT_POLICIES of the policies (some of each press,
 * spread over its budgets), and appends its lines: kvlab.portrait/1 and for each policy, the full cache
 * first, kvlab.portrait-policy/1 (report/gather_portrait.c reads them). *options becomes what they follow
 * from, for kvl_keep. Errors: those of the sweep. */
enum { KVL_PORTRAIT_POLICIES = 12 };
kvl_status kvl_portrait_make(kvl_str *lines, json_t **options, const kvl_sweep_run_info *info,
                             kvl_engine *engine, const kvl_policy *policies, size_t n_policies,
                             kvl_err *err) KVL_MUST_USE;

#endif
