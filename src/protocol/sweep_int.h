/* What the files of a sweep share: sweep.c plans and hands out, wave.c runs the cells of a wave. */
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

/* Runs the cells of a wave; r->seen then tells its figures. */
kvl_status kvli_wave_run(kvli_run *r, const kvl_wave *wave, kvl_err *err) KVL_MUST_USE;
/* Runs the published baseline of a sample: one pass over at most baseline_tokens tokens, every prediction
 * scored. It is cut where the lockstep baseline ends, if that is taken from it (cuts change no bits). */
kvl_status kvli_one_pass_run(kvli_run *r, size_t sample, kvl_err *err) KVL_MUST_USE;

#endif
