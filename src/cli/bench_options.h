/* Options of `kvlab bench`: those of llama-bench, and policies. */
#ifndef KVL_CLI_BENCH_OPTIONS_H
#define KVL_CLI_BENCH_OPTIONS_H

#include "base/str.h"
#include "cli/model_arg.h"
#include "cli/report_arg.h"
#include "model/model.h"
#include "press/policy.h"

enum { KVL_BENCH_MAX_LIST = 64 };

typedef enum kvl_bench_format {
    KVL_BENCH_MD,
    KVL_BENCH_CSV,
    KVL_BENCH_JSON,
    KVL_BENCH_JSONL,
    KVL_BENCH_SQL,
    KVL_BENCH_TABLE,
    KVL_BENCH_NONE, /* of the second output */
} kvl_bench_format;

typedef struct kvl_bench_list {
    size_t items[KVL_BENCH_MAX_LIST];
    size_t n;
} kvl_bench_list;

typedef struct kvl_bench_options {
    kvl_model_arg
        models[KVL_BENCH_MAX_LIST]; /* one that is not given: the model that comes with the program */
    size_t n_models;
    kvl_bench_list prompts, gens, depths, batches, threads;
    kvl_bench_list pair_prompts, pair_gens;  /* of -pg, side by side */
    const char *presses[KVL_BENCH_MAX_LIST]; /* policy texts; borrowed from press_texts */
    size_t n_presses;
    double ratios[KVL_BENCH_MAX_LIST];
    size_t n_ratios;
    uint64_t budgets[KVL_BENCH_MAX_LIST]; /* bytes */
    size_t n_budgets;
    size_t n_repetitions;
    bool has_warmup;
    kvl_bench_format format, error_format;
    const char *isa; /* NULL: the best there is */
    kvl_arith arith;
    kvl_cache_arg cache;
    const char *calibration; /* NULL: where it lies, or computed */
    kvl_store_arg store;
    kvl_report_arg report;
    bool is_help;
    kvl_policy policies[KVL_BENCH_MAX_LIST]; /* the full cache first, then what was asked for */
    size_t n_policies;
    kvl_str press_texts[KVL_BENCH_MAX_LIST];
} kvl_bench_options;

/* Parses argv[2..], fills in defaults and makes the policies. Free with kvl_bench_options_free in any case.
 * Errors: E_USAGE; for an option of llama-bench that does not apply here it says why. */
kvl_status kvl_bench_options_parse(kvl_bench_options *o, int argc, char **argv, kvl_err *err) KVL_MUST_USE;
void kvl_bench_options_free(kvl_bench_options *o);
void kvl_bench_options_help(kvl_str *out);

#endif
