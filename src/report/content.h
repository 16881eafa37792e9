/* What a report is about: all that was stored of one model under one protocol, as plain numbers and strings.
 *
 * gather*.c fill it from a store; sections, charts and the analysis read it. What was not measured is NULL or
 * 0: its section then says which command would measure it. Everything is owned by the content and stays where
 * it is until kvl_content_free.
 */
#ifndef KVL_REPORT_CONTENT_H
#define KVL_REPORT_CONTENT_H

#include "report/report.h"
#include "store/store.h"

/* ---- what explain found ---- */

enum { KVL_CONTENT_LAGS = 64 };

typedef struct kvl_finding_line {
    char *what, *unit;
    kvl_estimate effect;
    double p_adjusted; /* NAN: nothing was predicted */
    char *outcome;     /* "as predicted", "against", "undecided", "no prediction" */
    bool is_deciding;
} kvl_finding_line;

typedef struct kvl_verdict_line {
    char *id, *name, *claim, *prediction, *experiment, *verdict, *why, *command;
    kvl_finding_line *findings; /* [n_findings] */
    size_t n_findings;
} kvl_verdict_line;

/* A policy of the step-by-step study with a cap of 32. */
typedef struct kvl_arm_line {
    char *policy;
    double keep_ratio;                    /* NAN: none in its text */
    double nll;                           /* nats per token, affected steps */
    double lag_visible[KVL_CONTENT_LAGS]; /* [j]: share of heads that see lag j + 1, mean over steps */
    size_t n_lags;                        /* known */
} kvl_arm_line;

typedef struct kvl_cause_content {
    char *command, *texts; /* which were read, in words */
    char *isa, *arith;
    size_t n_texts;                                /* of the step-by-step study */
    kvl_estimate spike, excess_light, excess_best; /* nats per token, as in explain/cause.h */
    char *best;                                    /* policy */
    size_t protections[8];                         /* newest keys protected, rising */
    kvl_estimate removed[8];                       /* share of excess_light that is gone */
    size_t n_protections;
    kvl_estimate by_chance, lag_one;
    kvl_arm_line *arms; /* [n_arms] */
    size_t n_arms;
    kvl_verdict_line *verdicts; /* [n_verdicts] */
    size_t n_verdicts;
} kvl_cause_content;

/* ---- one text, looked at closely ---- */

typedef struct kvl_portrait_policy {
    char *policy;
    uint32_t *left_at; /* [L, K, n_tokens] tokens seen when the entry left; UINT32_MAX: never */
    double *nll;       /* [n_tokens] of the prediction of this token; NAN: not scored */
} kvl_portrait_policy;

typedef struct kvl_portrait {
    char *command, *text; /* name of the text */
    size_t n_layers, n_heads, n_tokens;
    size_t n_skipped; /* layers that policies leave alone: the first so many */
    char **pieces;    /* [n_tokens] text of each token, valid UTF-8 */
    float *norms;     /* [L, K, n_tokens] length of each key, full cache */
    float *attention; /* [L, K, n_tokens] attention received from all later queries of the full cache, mean
                       * over them and the query heads of the group */
    kvl_portrait_policy *policies; /* [n_policies], full cache first (left_at: never) */
    size_t n_policies;
} kvl_portrait;

/* ---- time ---- */

typedef struct kvl_time_line {
    char *policy;
    double keep_ratio;                    /* NAN: none; 1: full cache */
    double ttft_ns, compress_ns, tpot_ns; /* medians */
    uint64_t kv_bytes_live, kv_bytes_peak, peak_rss_bytes;
} kvl_time_line;

typedef struct kvl_time_content {
    char *command;
    size_t n_prompt, n_new, n_repetitions;
    char *isa;
    unsigned n_threads;
    kvl_time_line *lines; /* [n] full cache first */
    size_t n;
} kvl_time_content;

/* ---- retrieval ---- */

typedef struct kvl_needle_grid {
    char *task, *policy;
    size_t *lengths, *depths; /* [n_lengths] tokens, [n_depths] percent */
    size_t n_lengths, n_depths;
    size_t *n_right, *n_right_full, *n_trials; /* [n_lengths, n_depths] */
    bool *is_judged; /* false: the model fails with the full cache, or nothing was evicted */
} kvl_needle_grid;

typedef struct kvl_needle_content {
    char *command;
    kvl_needle_grid *grids; /* [n] */
    size_t n;
} kvl_needle_content;

/* ---- recommendation ---- */

typedef struct kvl_choice_line {
    char *policy, *cache;          /* types of keys and values, "f32" or "q8_0/q4_0" */
    kvl_estimate loss;             /* nats per token above the full cache, on texts not chosen on */
    double kv_bytes, kv_share;     /* bytes, and as a share of the full cache's */
    double ttft_ratio, tpot_ratio; /* to the full cache's; NAN: not measured */
    bool is_answer, is_full, qualifies;
    bool is_behind; /* another one is as good in loss, bytes and times, and better in one */
} kvl_choice_line;

typedef struct kvl_choice_content {
    char *command;
    double max_loss;  /* asked for; NAN: no limit */
    double max_bytes; /* the same; 0: no limit, or not known */
    size_t n_clusters;
    kvl_choice_line *lines; /* [n] */
    size_t n;
} kvl_choice_content;

/* ---- bench ---- */

typedef struct kvl_bench_line {
    char *test, *policy; /* "pp512", "tg128 @ d4096" */
    double tokens_per_s, stddev;
} kvl_bench_line;

typedef struct kvl_bench_content {
    char *command, *cpu;
    kvl_bench_line *lines; /* [n] */
    size_t n;
} kvl_bench_content;

/* ---- all ---- */

typedef struct kvl_content {
    char *model, *preset, *protocol_name, *group;
    char *made;        /* UTC, when the page was made */
    char *version;     /* of the program that made it */
    char *store;       /* file name of the store, without its folder */
    kvl_report *sweep; /* rows of all presses; NULL: no sweep was stored */
    size_t n_cells, n_failed;
    kvl_cause_content *cause;
    kvl_portrait *portrait;
    kvl_time_content *time;
    kvl_needle_content *needle;
    kvl_choice_content *choice;
    kvl_bench_content *bench;
    kvl_str *other_groups; /* [n_other_groups] one line each: what else the store holds, and the command */
    size_t n_other_groups;
    struct kvli_sweep_cells *cells; /* what sweep stands on; NULL: nothing */
    void *owned;                    /* memory of the gatherers */
} kvl_content;

/* Reads all that a store holds of a group (its key or the beginning of it; NULL: the newest of the
 * model, or of any where that is NULL too). Errors: E_STORE, E_USAGE for a group that is not there or a store
 * that is empty. *out is the caller's (kvl_content_free), also after an error. */
kvl_status kvl_content_gather(kvl_content *out, kvl_store *store, const char *model, const char *group,
                              kvl_err *err) KVL_MUST_USE;
void kvl_content_free(kvl_content *c);

#endif
