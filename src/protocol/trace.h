/* The trace of a sweep: what every step of every cell saw, in a file that stores nothing that follows from
 * the rest. docs/trace.md says what lies where.
 *
 * Stored are: when entries left, the NLL of each prediction, attention that is lost, and the norms of keys.
 */
#ifndef KVL_PROTOCOL_TRACE_H
#define KVL_PROTOCOL_TRACE_H

#include "base/cursor.h"
#include "protocol/sweep.h"

/* ---- writing ---- */

typedef struct kvl_trace_writer kvl_trace_writer;

/* A trace of a sweep to come by this engine: of policies [n_policies], without the baseline, under a
 * protocol. The file appears under its path at kvl_trace_commit. Errors: E_IO, E_NOMEM. */
kvl_status kvl_trace_create(kvl_trace_writer **out, const char *path, const kvl_engine *engine,
                            uint64_t tokenizer_hash, const kvl_sweep_config *config,
                            kvl_err *err) KVL_MUST_USE;
/* Has a sweep note what a trace needs; the writer (NULL in a plan) takes its cells as they end. */
void kvl_trace_attach(kvl_trace_writer *w, kvl_sweep_config *config);
/* Finishes the file and destroys the writer, also in the case of an error. */
kvl_status kvl_trace_commit(kvl_trace_writer *w, kvl_err *err) KVL_MUST_USE;
/* Leaves no file; NULL is fine. */
void kvl_trace_discard(kvl_trace_writer *w);

/* ---- reading ---- */

/* A text, or a window of one. */
typedef struct kvl_trace_text {
    char *name;
    uint32_t source; /* number of the text that it was cut from */
    size_t begin;    /* where it begins there */
    size_t prefill;
    uint64_t hash;
    size_t n_tokens;  /* steps are tokens 0 .. n_tokens - 2 */
    kvl_cursor norms; /* f32 [L, K, steps], unread */
} kvl_trace_text;

typedef struct kvl_trace_policy {
    char *text; /* canonical */
    uint64_t skip[KVL_POLICY_MAX_LAYERS / 64];
} kvl_trace_policy;

typedef struct kvl_trace_cell {
    size_t first_scored; /* step of nll[0] */
    size_t n_scored;
    double *nll;       /* nats */
    kvl_cursor log;    /* unread */
    size_t first_lost; /* before this step nothing is lost */
    kvl_cursor lost;   /* u16 [steps from there on, L, K], unread */
} kvl_trace_cell;

typedef struct kvl_trace {
    char *model;
    char *made_by; /* version of the program */
    uint64_t model_hash, tokenizer_hash;
    uint32_t n_layers, n_heads, n_kv_heads;
    kvl_protocol protocol;
    size_t n_texts;
    kvl_trace_text *texts;
    size_t n_policies;
    kvl_trace_policy *policies; /* the baseline, none, first */
    kvl_trace_cell *cells;      /* [n_policies, n_texts] */
} kvl_trace;

/* Reads a whole file from memory, which is borrowed until kvl_trace_free; name is for messages. Errors:
 * E_CONFIG for what is no trace, of another version, damaged or cut; E_LIMIT, E_NOMEM. */
kvl_status kvl_trace_read(kvl_trace **out, const void *bytes, size_t n_bytes, const char *name,
                          kvl_err *err) KVL_MUST_USE;
void kvl_trace_free(kvl_trace *t);
const kvl_trace_cell *kvl_trace_cell_at(const kvl_trace *t, size_t policy, size_t text);
/* The log of a cell; *out is the caller's (kvl_departures_destroy). E_CONFIG where it makes no sense. */
kvl_status kvl_trace_log(kvl_departures **out, const kvl_trace *t, size_t policy, size_t text,
                         kvl_err *err) KVL_MUST_USE;
/* Attention that the query of a token lost, as kvl_mass_lost, within 1 / 131070; 0 for the baseline. */
double kvl_trace_lost(const kvl_trace *t, size_t policy, size_t text, size_t token, uint32_t layer,
                      uint32_t head);
/* The Euclidean length of the key at a position, of the full cache. */
float kvl_trace_norm(const kvl_trace *t, size_t text, uint32_t layer, uint32_t head, size_t position);

#endif
