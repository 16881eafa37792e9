/* Options of `kvlab sweep`, and what they come to together with the preset. */
#ifndef KVL_CLI_SWEEP_OPTIONS_H
#define KVL_CLI_SWEEP_OPTIONS_H

#include "cli/calibration_arg.h"
#include "cli/model_arg.h"
#include "cli/press_arg.h"
#include "cli/progress.h"
#include "cli/settings.h"
#include "cli/report_arg.h"
#include "cli/terminal.h"
#include "model/model.h"
#include "press/policy.h"
#include "protocol/preset.h"
#include "protocol/windows.h"

enum { KVL_MAX_LIST = 256 };

/* Options of every command that runs a model under policies. */
enum {
    KVL_RUN_PRESS = 1300,
    KVL_RUN_RATIO,
    KVL_RUN_COMPRESSION,
    KVL_RUN_BUDGET,
    KVL_RUN_THREADS,
    KVL_RUN_MEMORY,
    KVL_RUN_ISA,
    KVL_RUN_ARITH,
    KVL_RUN_QUIET,
    KVL_RUN_HELP
};

/* Lines for a command's option table: which model and policies, and how to compute. */
#define KVL_RUN_POLICY_ARGS                                                                                  \
    KVL_MODEL_ARGS,                                                                                          \
        {KVL_RUN_PRESS, 'P', "press", "PRESS[,...]",                                                         \
         "presses or whole policies, as knorm or knorm:recent=4"},                                           \
        KVL_PRESS_ARGS, {KVL_RUN_RATIO, 'r', "ratio", "RATIO[,...]", "keep ratios, above 0 and at most 1"},  \
        {KVL_RUN_COMPRESSION, 0, "compression-ratio", "C[,...]", "the same as 1 - keep ratio"}, {            \
        KVL_RUN_BUDGET, 0, "kv-budget", "SIZE[,...]",                                                        \
            "bytes of keys and values instead of ratios (or beside those of -r), as 2MiB"                    \
    }
#define KVL_RUN_ENGINE_ARGS                                                                                  \
    {KVL_RUN_THREADS, 't', "threads", "N", "threads (default: the processors this process may use)"},        \
        {KVL_RUN_MEMORY, 0, "memory", "SIZE",                                                                \
         "for weights, caches and scratch, as 2GiB (default: 80 % of what is free)"},                        \
        {KVL_RUN_ISA, 0, "isa", "NAME",                                                                      \
         "force an instruction set: c, base, avx2, avx512, avx512bf16 (default auto)"},                      \
        KVL_CACHE_TYPE_ARGS, KVL_CALIBRATION_ARGS,                                                           \
        {KVL_RUN_ARITH, 0, "arith", "NAME",                                                                  \
         "arithmetic of products: f32 (exact, default), bf16 (rounded, about twice as fast), int8 (inputs "  \
         "rounded to 8 bits, for quantised weights) or amx_bf16 (bf16 by matrix tiles of AMX)"},             \
        KVL_QUIET_ARGS(KVL_RUN_QUIET), {                                                                     \
        KVL_RUN_HELP, 'h', "help", NULL, "this text"                                                         \
    }

typedef enum kvl_sweep_format {
    KVL_SWEEP_TABLE,
    KVL_SWEEP_MD,
    KVL_SWEEP_CSV,
    KVL_SWEEP_JSON,
    KVL_SWEEP_JSONL,
} kvl_sweep_format;

typedef struct kvl_sweep_options {
    const kvl_preset *preset; /* own_preset, or a command's */
    kvl_preset *own_preset;   /* owned; NULL: none */
    kvl_settings settings;    /* what the values below, borrowed or not, were read from; owned */
    kvl_model_arg model;
    const char *presses[KVL_MAX_LIST]; /* policy texts; borrowed from list_text */
    size_t n_presses;
    double ratios[KVL_MAX_LIST]; /* decreasing, without duplicates */
    size_t n_ratios;
    uint64_t budgets[KVL_MAX_LIST]; /* of --kv-budget, bytes; as given, without duplicates */
    size_t n_budgets;
    const char *files[KVL_MAX_LIST];
    size_t n_files;
    const char *samples; /* names, with blanks between them; NULL: none */
    kvl_str samples_text;
    unsigned n_threads; /* 0: all */
    const char *isa;
    kvl_arith arith;
    kvl_cache_arg cache;
    const char *calibration; /* NULL: where it lies, or computed */
    kvl_sweep_format format;
    size_t max_tokens; /* 0: the preset's */
    const kvl_window_protocol *protocol;
    kvl_window_rule rule; /* what was given of it */
    kvl_bos bos;
    const char *out_dir;
    const char *nll_path;   /* NULL: not written */
    const char *trace_path; /* the same */
    uint64_t memory_bytes;  /* 0: most of what is available */
    kvl_store_arg store;
    kvl_report_arg report;
    bool has_no_resume; /* cells that are stored are computed all the same */
    bool wants_portrait;
    bool is_timing;
    bool wants_quality;
    bool is_dry_run;
    bool is_quiet;
    bool is_verbose;
    bool has_chart;
    bool wants_plot, wants_no_plot; /* as asked for; neither: where stdout is a terminal */
    kvl_color color;
    bool is_help;
    kvl_str list_text[KVL_MAX_LIST]; /* owned copies of list items */
} kvl_sweep_options;

/* Takes an option of the two lists above, if the id is one of them: *is_taken. */
kvl_status kvl_run_arg_take(kvl_sweep_options *o, int id, const char *value, bool *is_taken,
                            kvl_err *err) KVL_MUST_USE;
/* Free with kvl_sweep_options_free, also after an error. */
kvl_status kvl_sweep_options_parse(kvl_sweep_options *o, int argc, char **argv, kvl_err *err) KVL_MUST_USE;
void kvl_sweep_options_free(kvl_sweep_options *o);
/* Errors: those of kvl_presets_load. */
kvl_status kvl_sweep_options_help(kvl_str *out, kvl_err *err) KVL_MUST_USE;
/* Policies to run: the given presses (or the preset's) at every ratio below 1 and every budget of bytes, each
 * policy once. Appends to
 * `left_out` what was given but is not run: a second time, or keeping everything, which is the baseline. *out
 * is the caller's (kvl_free). */
kvl_status kvl_sweep_options_policies(kvl_policy **out, size_t *n, kvl_str *left_out,
                                      const kvl_sweep_options *o, kvl_err *err) KVL_MUST_USE;

#endif
