/* What the files of a sweep share: sweep.c plans and hands out, wave.c runs the lanes of a wave, cells.c
 * turns rows into cells, states.c keeps what these are compared with. */
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

/* What is kept of one sample's baseline until its last cell has ended: its final states where quality is
 * wanted, its stream where cells are handed over (kvl_sweep_config.finish). */
typedef struct kvli_states {
    float *hidden; /* [scored steps, E]; NULL while only counting */
    bool is_open;
    size_t n_ready; /* steps whose states are there, or come from rows that are queued before */
    kvl_stream *baseline;
    bool is_held;
    uint64_t baseline_bytes; /* outlasts it: later counts of the same sample */
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
    kvl_policy *cell_policies;  /* [cells]: with the sample's own cap in two-phase protocols */
    bool *is_left_out;          /* [cells] known, and not needed by others: not run */
    bool *is_one_pass_left_out; /* [samples] the same */
    kvli_states *states;        /* [samples], where quality is wanted */
    uint64_t state_bytes;       /* of those that are open or held */
    kvl_wave seen;              /* of the wave so far: passes, rows, bytes */
    size_t cells_done;
    size_t wave_rows, wave_cells; /* as in kvl_sweep_progress */
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
/* Takes the baseline's stream of so many bytes over; *stream becomes NULL. Nothing if no cell is handed over.
 */
void kvli_states_hold(kvli_run *r, size_t sample, kvl_stream **stream, uint64_t n_bytes);
/* Has a row of the baseline leave its state at a step, or one of another cell be compared with it. */
void kvli_states_give(const kvli_run *r, kvl_row *row, size_t sample, size_t step);
void kvli_states_take(const kvli_run *r, kvl_row *row, size_t sample, size_t step);

kvl_cell *kvli_cell_at(const kvli_run *r, size_t policy, size_t sample);
/* Back to the state before a run. */
void kvli_reset_cell(kvl_cell *c, size_t n_layers);
/* Takes the numbers of a row; a row without a reference is the baseline's own, or has its bits. */
void kvli_score_cell(kvl_cell *c, const kvl_row *row);
/* Gives a cell with its stream to whoever wants it (kvl_sweep_config.finish). */
kvl_status kvli_hand_over(const kvli_run *r, const kvl_cell *cell, const kvl_stream *stream,
                          kvl_err *err) KVL_MUST_USE;
/* Measures what the stream of a cell holds at the end, and hands it over; but the baseline is handed over
 * last of its sample (kvli_states_hold). */
kvl_status kvli_finish_cell(kvli_run *r, const kvl_stream *stream, size_t policy, size_t sample,
                            kvl_err *err) KVL_MUST_USE;
/* Tells the caller how far the run is, with the cell that has just ended, or NULL. */
kvl_status kvli_tell(const kvli_run *r, const kvl_cell *finished, bool is_one_pass,
                     kvl_err *err) KVL_MUST_USE;

/* What streams of n cells of these policies note; a stream that does; and its bytes beside its cache. */
kvl_needs kvli_needs_of(const kvli_run *r, const size_t *policies, size_t n);
kvl_status kvli_create_stream(const kvli_run *r, kvl_stream **out, size_t sample, const size_t *policies,
                              size_t n, kvl_err *err) KVL_MUST_USE;
uint64_t kvli_noted_bytes(const kvli_run *r, const kvl_stream *stream);
/* Runs rows, or only counts them. */
kvl_status kvli_forward(kvli_run *r, kvl_row *rows, size_t n_rows, kvl_err *err) KVL_MUST_USE;
/* Takes note of bytes allocated for keys and values; the kept states are beside them. */
void kvli_note_kv_bytes(kvli_run *r, uint64_t bytes);

/* Runs the published baseline of a sample: one pass over at most baseline_tokens tokens, every prediction
 * scored. It is cut where the lockstep baseline ends, if that is taken from it (cuts change no bits). */
kvl_status kvli_one_pass_run(kvli_run *r, size_t sample, kvl_err *err) KVL_MUST_USE;
/* Runs the cells of a wave, and the published baselines of its samples before the first of their cells;
 * r->seen then tells its figures. */
kvl_status kvli_wave_run(kvli_run *r, const kvl_wave *wave, kvl_err *err) KVL_MUST_USE;

#endif
