/* Options of `kvlab recommend`. */
#ifndef KVL_CLI_RECOMMEND_OPTIONS_H
#define KVL_CLI_RECOMMEND_OPTIONS_H

#include "cli/model_arg.h"
#include "cli/settings.h"
#include "cli/report_arg.h"
#include "model/model.h"
#include "press/policy.h"
#include "stats/choice.h"

enum { KVL_RECOMMEND_LIST = 64 };

typedef enum kvl_recommend_format {
    KVL_RECOMMEND_TABLE,
    KVL_RECOMMEND_MD,
    KVL_RECOMMEND_CSV,
    KVL_RECOMMEND_JSONL,
} kvl_recommend_format;

typedef struct kvl_recommend_options {
    kvl_model_arg model;
    kvl_cache_arg cache;  /* what the full cache is stored in now */
    kvl_policy *policies; /* [n_policies] owned; the default list unless given */
    size_t n_policies;
    double ratios[KVL_RECOMMEND_LIST]; /* falling, without duplicates */
    size_t n_ratios;
    const char *files[KVL_RECOMMEND_LIST];
    size_t n_files;
    kvl_wish wish;
    double max_kv_ratio;    /* of the full cache's bytes; 0: none */
    size_t n_prompt, n_new; /* 0: the default, cut to the model's context */
    bool is_full;           /* --budget full */
    bool has_same_types;    /* no smaller cache types are searched */
    unsigned n_threads;     /* 0: all */
    const char *isa;
    kvl_arith arith;
    const char *calibration;
    uint64_t memory_bytes; /* 0: most of what is available */
    kvl_recommend_format format;
    const char *out_dir;
    kvl_store_arg store;
    kvl_report_arg report;
    kvl_settings settings; /* what all others were read from; owned */
    bool has_chart;
    bool is_quiet;
    bool is_help;
} kvl_recommend_options;

kvl_status kvl_recommend_options_parse(kvl_recommend_options *o, int argc, char **argv,
                                       kvl_err *err) KVL_MUST_USE;
void kvl_recommend_options_free(kvl_recommend_options *o);
void kvl_recommend_options_help(kvl_str *out);

/* A limit of time: +10% or -5% against the full cache, or milliseconds as 120ms or 120. E_USAGE. */
kvl_status kvl_time_limit_parse(kvl_time_limit *out, const char *option, const char *value,
                                kvl_err *err) KVL_MUST_USE;
/* Puts a keep ratio where it belongs in n falling ones, if it is not there: the new number. Room for one
 * more. */
size_t kvl_ratio_insert(double *ratios, size_t n, double ratio);

#endif
