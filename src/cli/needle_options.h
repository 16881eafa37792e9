/* Options of `kvlab needle`. */
#ifndef KVL_CLI_NEEDLE_OPTIONS_H
#define KVL_CLI_NEEDLE_OPTIONS_H

#include "cli/report_arg.h"
#include "cli/sweep_options.h"
#include "protocol/retrieval.h"

enum { KVL_NEEDLE_MAX = 32 };

typedef enum kvl_needle_format { KVL_NEEDLE_MD, KVL_NEEDLE_CSV, KVL_NEEDLE_JSONL } kvl_needle_format;

typedef struct kvl_needle_options {
    kvl_sweep_options run; /* model, policies, engine; KVL_RUN_POLICY_ARGS and KVL_RUN_ENGINE_ARGS */
    const kvl_retrieval_task *tasks[KVL_NEEDLE_MAX];
    size_t n_tasks;
    size_t lengths[KVL_NEEDLE_MAX]; /* tokens, as given */
    size_t n_lengths;               /* 0: 256, 512 and 1024, as far as the model's context goes */
    size_t depths[KVL_NEEDLE_MAX];  /* percent */
    size_t n_depths;
    size_t n_trials; /* of each cell */
    size_t max_new;
    uint64_t seed;
    bool is_query_aware;
    bool is_chat_auto; /* the tokenizer's */
    kvl_chat chat;
    bool is_filler_auto; /* the task's */
    kvl_filler filler;
    kvl_needle_format format;
    kvl_store_arg store;
    kvl_report_arg report;
} kvl_needle_options;

/* Parses argv[2..] and fills in defaults but for lengths. Free with kvl_needle_options_free in any case.
 * Errors: E_USAGE. */
kvl_status kvl_needle_options_parse(kvl_needle_options *o, int argc, char **argv, kvl_err *err) KVL_MUST_USE;
void kvl_needle_options_free(kvl_needle_options *o);
void kvl_needle_options_help(kvl_str *out);

#endif
