/* The time table of `kvlab sweep --timing`. */
#ifndef KVL_CLI_SWEEP_TIMING_H
#define KVL_CLI_SWEEP_TIMING_H

#include "base/str.h"
#include "engine/engine.h"
#include "protocol/samples.h"

/* Times the full cache and every policy on one sample and appends the table (or JSON lines). */
kvl_status kvl_sweep_timing(kvl_str *out, kvl_engine *engine, const kvl_sample *sample,
                            const kvl_policy *policies, size_t n_policies, bool is_jsonl,
                            kvl_err *err) KVL_MUST_USE;

#endif
