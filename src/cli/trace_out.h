/* What `kvlab trace` prints. */
#ifndef KVL_CLI_TRACE_OUT_H
#define KVL_CLI_TRACE_OUT_H

#include "base/str.h"
#include "protocol/trace_figures.h"

typedef enum kvl_trace_format {
    KVL_TRACE_TABLE,
    KVL_TRACE_MD,
    KVL_TRACE_CSV,
    KVL_TRACE_JSONL
} kvl_trace_format;

/* Which part of a trace; SIZE_MAX: all. */
typedef struct kvl_trace_pick {
    size_t policy, text, layer, head, step;
} kvl_trace_pick;

static inline size_t kvl_pick_first(size_t pick) { return pick != SIZE_MAX ? pick : 0; }
static inline size_t kvl_pick_end(size_t pick, size_t n) { return pick != SIZE_MAX ? pick + 1 : n; }

/* Figures of each policy, as tables. */
kvl_status kvl_trace_write_summary(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick, bool is_md,
                                   kvl_err *err) KVL_MUST_USE;
/* What heads hold for the query of one step, as a picture; pick names policy, text and step. */
kvl_status kvl_trace_write_picture(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick,
                                   kvl_err *err) KVL_MUST_USE;
/* The names of columns; and a line for each step of one cell, or for each step and head. */
void kvl_trace_write_columns(kvl_str *out, bool has_heads);
kvl_status kvl_trace_write_steps(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick, bool is_jsonl,
                                 bool has_heads, kvl_err *err) KVL_MUST_USE;

#endif
