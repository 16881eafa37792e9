/* A sweep: every policy on every sample, in lockstep through one engine.
 *
 * A pass takes all streams on by some tokens each, so that the weights are read once for all of them;
 * policies that fire in between compress between the rows of the pass, with the bits of single steps. Cells
 * of one sample share one stream as long as their policies do the same: until the first step at which one
 * would evict, and beyond it where they evict alike; then the stream is forked. Forking is exact: a cell's
 * NLLs are the bits it would have alone.
 *
 * Where the quality of each prediction is wanted, the baseline goes first: its final states are kept until
 * all cells of the sample have passed them, and each row behind a compression is compared with the state of
 * its token, in the pass that gives its NLL.
 *
 * Before anything is computed the whole sweep is run on counting streams. That gives its rows and bytes, and
 * where the memory does not suffice for all cells at once, or the whole is long, the waves into which it is
 * cut.
 */
#ifndef KVL_PROTOCOL_SWEEP_H
#define KVL_PROTOCOL_SWEEP_H

#include "engine/engine.h"
#include "protocol/preset.h"
#include "protocol/samples.h"

/* One prediction, and how far it lies from the baseline's of the same token. */
typedef struct kvl_token_quality {
    float entropy;    /* nats, of the prediction */
    float p_top;      /* probability of its most likely token */
    float kl;         /* nats, KL(baseline || cell); exactly 0 as long as the cell has not compressed */
    bool is_hit;      /* the most likely token is the one that comes; the lowest id among equals */
    bool is_same_top; /* the most likely token is the baseline's too */
} kvl_token_quality;

/* What one policy did on one sample. */
typedef struct kvl_cell {
    size_t policy; /* index into kvl_sweep.policies; 0 is the baseline `none` on the same tokens */
    size_t sample;
    size_t n_tokens;     /* of the sample, after cutting */
    size_t n_budget;     /* tokens of which the policy's budget is a share: of the prefill if it acts once */
    size_t first_scored; /* step */
    size_t n_scored;
    double *nll;                /* [n_scored] nats; NULL in a plan */
    kvl_token_quality *quality; /* [n_scored]; NULL unless wanted, and in a plan */
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

/* Cells that run in lockstep: all policies of a range on all samples of a range. */
typedef struct kvl_wave {
    size_t first_sample, end_sample;
    size_t first_policy, end_policy;
    size_t n_passes;   /* in lockstep; a prefill is none */
    size_t n_rows;     /* prefills and one-pass baselines included */
    size_t max_rows;   /* of one pass in lockstep */
    uint64_t kv_bytes; /* the most allocated for keys, values and the baseline's final states at once */
} kvl_wave;

typedef struct kvl_sweep_progress {
    size_t cells_done, cells_total;
    size_t rows_done, rows_total;
    size_t wave_rows, wave_cells; /* what the two `done` will be when the wave that runs has ended */
    const kvl_cell *finished;     /* the cell that has just come to its end; NULL after a pass */
    bool is_one_pass;             /* it is a one-pass baseline, which no count of cells holds */
} kvl_sweep_progress;

/* About ten seconds of two processors. Cells end when their wave does, so a wave is what a stop can cost. */
#define KVL_WAVE_PRODUCTS UINT64_C(300000000000)

typedef struct kvl_sweep_config {
    kvl_protocol protocol;
    const kvl_samples *samples;
    const kvl_policy *policies; /* [n_policies], without the baseline */
    size_t n_policies;
    uint64_t memory_bytes; /* for weights, keys and values, and scratch; 0: no limit */
    bool wants_quality;    /* fill the cells' `quality` */
    size_t max_steps;      /* tokens of a stream in one pass at most; 0: as many as fit. No bits change */
    /* Asked once for every cell before anything is planned: whether its results are there already. Then the
     * cell is not run (but for a baseline that cells of its sample are compared with, or handed over beside),
     * and the callee has set all of it behind first_scored: nll (by kvl_calloc) is the cell's. May be NULL.
     */
    kvl_status (*recall)(void *ud, kvl_cell *cell, bool is_one_pass, bool *is_known, kvl_err *err);
    void *recall_ud;
    uint64_t wave_products; /* multiplications of a wave's rows with weights, beyond which its samples are cut
                             * into several waves; 0: as many as KVL_WAVE_PRODUCTS. No bits change */
    /* Called after every pass and for every cell that is finished; returning false stops with E_INTERRUPTED.
     * May be NULL. */
    bool (*progress)(void *ud, const kvl_sweep_progress *progress);
    void *progress_ud;
    /* Streams keep a log of when entries leave (kvl_stream_log). */
    bool wants_departures;
    /* What streams note beside what policies need while the baseline is among their cells. */
    kvl_needs baseline_needs;
    /* Called for every cell when its text has ended, before its stream is destroyed: keys, log, noted
     * queries. Of a sample's cells the baseline's comes last; its stream waits for that and may have gone on.
     * A failure ends the sweep. May be NULL. */
    kvl_status (*finish)(void *ud, const kvl_cell *cell, const kvl_stream *stream, kvl_err *err);
    void *finish_ud;
} kvl_sweep_config;

typedef struct kvl_sweep {
    kvl_policy *policies; /* [n_policies] with `none` first */
    size_t n_policies;
    size_t n_samples;
    size_t n_layers;
    kvl_cell *cells;    /* [n_policies, n_samples] */
    kvl_cell *one_pass; /* [n_samples] published-style baseline, or NULL when the protocol has none */
    kvl_wave *waves;    /* [n_waves] as planned */
    size_t n_waves;
    size_t n_known;        /* cells that were recalled and not run */
    size_t rows_naive;     /* tokens through the model if every other cell ran alone */
    size_t rows_planned;   /* and with what is shared */
    size_t rows_computed;  /* so far: rows_planned after a run, 0 in a plan */
    uint64_t weight_bytes; /* planned memory: the three sum to the most that a run needs */
    uint64_t
        scratch_bytes; /* activations, tables, scratch of the threads, blocks of the cache being copied */
    uint64_t kv_bytes; /* keys, values and final states */
    uint64_t kv_peak_bytes; /* the most that was really allocated for them; 0 in a plan */
    uint64_t wall_ns;
} kvl_sweep;

/* Runs it. Results are owned by *out: free with kvl_sweep_free.
 * Errors: E_TEXT for a sample with nothing to score, E_CHECK, E_INTERRUPTED, E_NOMEM, also when memory_bytes
 * does not suffice for a single cell (names what is needed). */
kvl_status kvl_sweep_run(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config,
                         kvl_err *err) KVL_MUST_USE;
/* The same without computing: waves, rows, bytes, and of the cells all but NLLs and times. */
kvl_status kvl_sweep_plan(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config,
                          kvl_err *err) KVL_MUST_USE;
void kvl_sweep_free(kvl_sweep *s);
const kvl_cell *kvl_sweep_cell(const kvl_sweep *s, size_t policy, size_t sample);

/* The prefill of a two-phase sample of n tokens (published analysis, variant E). */
size_t kvl_two_phase_prefill(size_t n_tokens);

/* Runs the first tokens of a sample twice, in one pass and token by token beside another stream with every
 * head passed through a keep of all its entries, and compares bits. The other stream has them backwards and
 * is compressed now and then, between passes and, once more, between the rows of one pass: the same bits
 * again. E_CHECK naming the first token that differs. */
kvl_status kvl_identity_check(kvl_engine *engine, const kvl_sample *sample, kvl_err *err) KVL_MUST_USE;

#endif
