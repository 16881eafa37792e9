/* A sweep: every policy on every sample, in lockstep through one engine.
 *
 * All streams advance one token per pass, so the weights are read once for all of them. Cells of one sample
 * share one stream until the first step at which their policy would evict; then the stream is forked. Forking
 * is exact: a cell's NLLs are the bits it would have alone.
 */
#ifndef KVL_PROTOCOL_SWEEP_H
#define KVL_PROTOCOL_SWEEP_H

#include "engine/engine.h"
#include "protocol/preset.h"
#include "protocol/samples.h"

/* What one policy did on one sample. */
typedef struct kvl_cell {
    size_t policy; /* index into kvl_sweep.policies; 0 is the baseline `none` on the same tokens */
    size_t sample;
    size_t n_tokens;     /* of the sample, after cutting */
    size_t first_scored; /* step */
    size_t n_scored;
    double *nll; /* [n_scored] nats */
    double nll_sum;
    size_t n_events;    /* compressions */
    size_t first_event; /* step after which the first one happened */
    size_t last_event;
    double *kept_per_layer; /* [L] entries per head at the end, mean over heads */
    size_t kept_min,
        kept_max; /* over heads of layers the policy may compress (all layers for the baseline) */
    double kept_mean;
    uint64_t kv_bytes_live; /* at the end, all layers */
    uint64_t wall_ns;       /* this cell's share of the passes it took part in */
} kvl_cell;

typedef struct kvl_sweep_config {
    kvl_protocol protocol;
    const kvl_samples *samples;
    const kvl_policy *policies; /* [n_policies], without the baseline */
    size_t n_policies;
    /* Called after every pass with steps done and to do; returning false stops with E_INTERRUPTED. May be
     * NULL. */
    bool (*progress)(void *ud, size_t done, size_t total);
    void *progress_ud;
} kvl_sweep_config;

typedef struct kvl_sweep {
    kvl_policy *policies; /* [n_policies] with `none` first */
    size_t n_policies;
    size_t n_samples;
    size_t n_layers;
    kvl_cell *cells;    /* [n_policies, n_samples] */
    kvl_cell *one_pass; /* [n_samples] published-style baseline, or NULL when the protocol has none */
    uint64_t wall_ns;
} kvl_sweep;

/* Runs it. Results are owned by *out: free with kvl_sweep_free.
 * Errors: E_TEXT for a sample with nothing to score, E_CHECK, E_NOMEM, E_INTERRUPTED. */
kvl_status kvl_sweep_run(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config,
                         kvl_err *err) KVL_MUST_USE;
void kvl_sweep_free(kvl_sweep *s);
const kvl_cell *kvl_sweep_cell(const kvl_sweep *s, size_t policy, size_t sample);

/* The prefill of a two-phase sample of n tokens (published analysis, variant E). */
size_t kvl_two_phase_prefill(size_t n_tokens);

/* Runs the first tokens of a sample twice, in one pass and token by token beside another stream with every
 * head passed through a keep of all its entries, and compares bits. E_CHECK naming the first token that
 * differs. */
kvl_status kvl_identity_check(kvl_engine *engine, const kvl_sample *sample, kvl_err *err) KVL_MUST_USE;

#endif
