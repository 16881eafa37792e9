/* Rows of `kvlab bench` in the formats of llama-bench: its columns first, in its order and with its types
 * (those of 2025-07), then ours. Written one by one, as the tests end. */
#ifndef KVL_CLI_BENCH_REPORT_H
#define KVL_CLI_BENCH_REPORT_H

#include "base/machine.h"
#include "cli/bench_options.h"
#include "kernel/limits.h"
#include "protocol/bench.h"

/* One finished test of one policy. */
typedef struct kvl_bench_row {
    const kvl_bench_options *options;
    const kvl_machine *machine;
    const kvl_engine *engine;
    const kvl_bench_config *config;
    const kvl_policy *policy;
    const kvl_bench_result *result;
    kvl_limits limits;
    const char *test_time; /* of its start, kvl_utc_text */
} kvl_bench_row;

/* What comes before the rows; row number `index` (from 0); what comes after `n_rows`. Errors: E_NOMEM. */
void kvl_bench_write_head(kvl_str *out, kvl_bench_format format);
kvl_status kvl_bench_write_row(kvl_str *out, kvl_bench_format format, const kvl_bench_row *row, size_t index,
                               kvl_err *err) KVL_MUST_USE;
void kvl_bench_write_foot(kvl_str *out, kvl_bench_format format, const kvl_machine *machine, size_t n_rows);

#endif
