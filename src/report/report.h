/* Finished rows -> tables as text. Knows no engine: a row here is numbers and strings only. */
#ifndef KVL_REPORT_REPORT_H
#define KVL_REPORT_REPORT_H

#include "base/str.h"
#include "stats/inference.h"
#include "stats/stats.h"

/* What a row is on one text. */
typedef struct kvl_report_text {
    const char *name;
    size_t n_windows;
    size_t n_scored; /* tokens */
    double nll_sum;  /* nats */
    size_t n_bytes;  /* of the text, each token of which is scored once; 0: not so */
} kvl_report_text;

/* One line of the curve table: one press at one keep ratio, over all samples. */
typedef struct kvl_report_row {
    const char *press;  /* canonical, "knorm" */
    const char *policy; /* canonical policy text */
    double keep_ratio;
    double ppl;               /* exp of pooled_nll; or, as the report says, the published aggregate */
    double pooled_nll;        /* nats per scored token */
    kvl_estimate delta;       /* pooled NLL minus the token-matched baseline, nats per token */
    kvl_estimate delta_half;  /* of one long text: the same with blocks of half the length, */
    kvl_estimate delta_twice; /* and of twice */
    double smallest; /* difference that the clusters of delta find with 80 % power; NAN: few clusters */
    kvl_estimate delta_affected; /* the same over the tokens whose query read a compressed cache */
    size_t n_affected;           /* those tokens; 0 when nothing was evicted */
    double change_percent;       /* ppl against the baseline's, 100 * (ppl / base - 1) */
    kvl_stage stage;
    size_t n_scored;           /* tokens */
    size_t kept_min, kept_max; /* entries per head of compressed layers at the end, over samples */
    double kept_mean;
    uint64_t kv_bytes;            /* live bytes at the end, mean over samples */
    double period_tok;            /* refresh period in steady state, tokens; 0 when nothing fired */
    bool is_baseline;             /* keep ratio 1 / press none */
    bool has_evicted;             /* false on a non-baseline row: "nothing evicted" */
    const kvl_report_text *texts; /* [n_samples] of the report, or NULL */
} kvl_report_row;

typedef struct kvl_report {
    const char *title;        /* preset and model: "ucurve on novels-7m" */
    const char *protocol;     /* one line: windows, scored tokens, baseline definition */
    const char *how;          /* one line: ISA, threads, version */
    const char *command;      /* the command that makes it again */
    const char *const *notes; /* [n_notes] cuts and stand-ins that the reader must know */
    size_t n_notes;
    const kvl_report_row *rows; /* grouped by press, keep ratio decreasing; baseline first */
    size_t n_rows;
    size_t n_samples;
    size_t
        block_tokens;   /* least tokens of a block of one long text, which are its clusters; 0: samples are */
    size_t n_resamples; /* of the bootstrap that intervals are from, and its seed; 0: Student's t */
    uint64_t seed;
    bool has_mean_ppl; /* the rows' ppl is the arithmetic mean of per-sample PPLs, the published aggregate */
} kvl_report;

typedef enum kvl_format { KVL_FORMAT_TABLE, KVL_FORMAT_MD, KVL_FORMAT_CSV, KVL_FORMAT_JSON } kvl_format;

/* Appends the report as text. TABLE is for people (units in heads, notes, reading of the intervals, worst and
 * best named); MD the same as Markdown; CSV one line per row with %.17g numbers; JSON one object with all.
 * A row whose interval holds 0 says so ("inside interval"); that there is no loss is said only of rows whose
 * whole interval lies within KVL_MARGIN_NATS. "nothing evicted" rows say that instead of a stage. JSON
 * numbers that are not finite become null. */
void kvl_report_write(kvl_str *out, const kvl_report *r, kvl_format format);

#endif
