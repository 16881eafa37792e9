/* What the files of a sweep share: sweep.c plans and hands out, wave.c runs the cells of a wave, states.c
 * keeps what they are compared with. */
#ifndef KVL_PROTOCOL_SWEEP_INT_H
#define KVL_PROTOCOL_SWEEP_INT_H

#include "protocol/sweep.h"

/* A stream with the cells that share it; without cells the base of other lanes' streams: it takes no rows. */
typedef struct kvli_lane {
    kvl_stream *stream; /* NULL once its text has ended */
    kvl_stream *shadow; /* counts what the stream will do in the next pass: when policies fire */
    size_t sample;
    size_t step;      /* next token to feed */
    size_t *policies; /* [n] cells that share the stream, by policy index */
    size_t n;
    bool is_parting; /* its policies are to be looked at before it goes on: they may do different things */
} kvli_lane;

/* The baseline's final states of one sample, kept until its last cell has ended. */
typedef struct kvli_states {
    float *hidden; /* [scored steps, E]; NULL while only counting */
    bool is_open;
    size_t n_ready; /* steps whose states are there, or come from rows that are queued before */
} kvli_states;

typedef struct kvli_run {
    kvl_engine *engine;
    const kvl_shape *shape;
    const kvl_sweep_config *config;
    kvl_sweep *sweep;
    bool is_counting; /* streams count, nothing is computed: planning */
    kvli_lane *lanes; /* [2 cells] of the wave: never more than cells have them, and fewer are bases */
    size_t n_lanes;
    kvl_row *rows;          /* scratch: of a pass, at least one per lane */
    size_t *row_lane;       /* lane of each row */
    kvl_compress_job *jobs; /* scratch, one per lane with cells */
    size_t n_jobs;
    size_t *acting; /* scratch: the lanes whose cells compress */
    size_t n_acting;
    kvl_policy *cell_policies; /* [cells]: with the sample's own cap in two-phase protocols */
    kvli_states *states;       /* [samples], where quality is wanted */
    uint64_t state_bytes;      /* of those that are open */
    kvl_wave seen;             /* of the wave so far: passes, rows, bytes */
    size_t cells_done;
} kvli_run;

size_t kvli_cell_index(const kvl_sweep *s, size_t policy, size_t sample);
const kvl_sample *kvli_sample_of(const kvli_run *r, size_t sample);
/* Whether the one-pass baseline scores every token of the lockstep baseline: the same bits, so it need not
 * run twice. */
bool kvli_is_covered_by_one_pass(const kvl_protocol *p);
/* Tokens of the prompt, of which nothing is scored. */
size_t kvli_prefill_of(const kvli_run *r, size_t sample);
/* The first step of a sample whose prediction is scored. */
size_t kvli_first_step_of(const kvli_run *r, size_t sample);

/* Makes room for the baseline's final states of a sample unless it is there; of a wave without the baseline
 * (is_filled) they are there already. Nothing if quality is not wanted. */
kvl_status kvli_states_open(kvli_run *r, size_t sample, bool is_filled, kvl_err *err) KVL_MUST_USE;
void kvli_states_close(kvli_run *r, size_t sample);
/* Has a row of the baseline leave its state at a step, or one of another cell be compared with it. */
void kvli_states_give(const kvli_run *r, kvl_row *row, size_t sample, size_t step);
void kvli_states_take(const kvli_run *r, kvl_row *row, size_t sample, size_t step);

/* Runs the cells of a wave, and the published baselines of its samples before the first of their cells;
 * r->seen then tells its figures. */
kvl_status kvli_wave_run(kvli_run *r, const kvl_wave *wave, kvl_err *err) KVL_MUST_USE;

#endif
