/* The time table of `kvlab sweep --timing`. */
#ifndef KVL_CLI_SWEEP_TIMING_H
#define KVL_CLI_SWEEP_TIMING_H

#include "base/json.h"
#include "engine/engine.h"
#include "protocol/samples.h"

/* Times the full cache and every policy on one sample and appends the JSON lines of it to `lines`, and the
 * table (or the lines) to out. */
kvl_status kvl_sweep_timing(kvl_str *out, kvl_str *lines, kvl_engine *engine, const kvl_sample *sample,
                            const kvl_policy *policies, size_t n_policies, bool is_jsonl,
                            kvl_err *err) KVL_MUST_USE;
/* What such times follow from, for kvl_keep (kind "timing"). */
json_t *kvl_sweep_timing_options(kvl_engine *engine, const kvl_sample *sample, const kvl_policy *policies,
                                 size_t n_policies);

#endif
