/* Options of `kvlab sweep`, and what they come to together with the preset. */
#ifndef KVL_CLI_SWEEP_OPTIONS_H
#define KVL_CLI_SWEEP_OPTIONS_H

#include "cli/model_arg.h"
#include "model/model.h"
#include "press/policy.h"
#include "protocol/preset.h"

enum { KVL_MAX_LIST = 256 };

typedef enum kvl_sweep_format {
    KVL_SWEEP_TABLE,
    KVL_SWEEP_MD,
    KVL_SWEEP_CSV,
    KVL_SWEEP_JSON,
    KVL_SWEEP_JSONL,
} kvl_sweep_format;

typedef struct kvl_sweep_options {
    const kvl_preset *preset;
    kvl_model_arg model;
    const char *presses[KVL_MAX_LIST]; /* policy texts; borrowed from list_text */
    size_t n_presses;
    double ratios[KVL_MAX_LIST]; /* decreasing, without duplicates */
    size_t n_ratios;
    uint64_t budgets[KVL_MAX_LIST]; /* of --kv-budget, bytes; as given, without duplicates */
    size_t n_budgets;
    const char *files[KVL_MAX_LIST];
    size_t n_files;
    const char *samples; /* NULL: the preset's */
    unsigned n_threads; /* 0: all */
    const char *isa;
    kvl_arith arith;
    kvl_cache_arg cache;
    const char *calibration; /* NULL: where it lies, or computed */
    kvl_sweep_format format;
    size_t max_tokens; /* 0: the preset's */
    const char *out_dir;
    const char *nll_path;  /* NULL: not written */
    uint64_t memory_bytes; /* 0: most of what is available */
    bool is_timing;
    bool is_dry_run;
    bool is_quiet;
    bool is_verbose;
    bool has_chart;
    bool is_help;
    kvl_str list_text[KVL_MAX_LIST]; /* owned copies of list items */
} kvl_sweep_options;

kvl_status kvl_sweep_options_parse(kvl_sweep_options *o, int argc, char **argv, kvl_err *err) KVL_MUST_USE;
void kvl_sweep_options_free(kvl_sweep_options *o);
void kvl_sweep_options_help(kvl_str *out);
/* Policies to run: the given presses (or the preset's) at every ratio below 1 and every budget of bytes, each
 * policy once. Appends to
 * `left_out` what was given but is not run: a second time, or keeping everything, which is the baseline. *out
 * is the caller's (kvl_free). */
kvl_status kvl_sweep_options_policies(kvl_policy **out, size_t *n, kvl_str *left_out,
                                      const kvl_sweep_options *o, kvl_err *err) KVL_MUST_USE;

#endif
