/* What waits for other cells of a sample.
 *
 * Final states of the baseline, with which the predictions of other cells are compared. They take E floats
 * for each scored token, far less than its keys and values, and so wait for cells that run later: in the same
 * wave, or in the next one where the policies of a sample are cut into several. */
#include "protocol/sweep_int.h"

#include "base/alloc.h"

static size_t n_floats(const kvli_run *r, size_t sample) {
    const size_t end = kvl_sweep_cell(r->sweep, 0, sample)->n_tokens - 1;
    const size_t first = kvli_first_step_of(r, sample);
    return (end > first ? end - first : 0) * r->shape->width;
}

static void release(kvli_run *r, kvli_states *s) {
    if (s->is_held) {
        r->state_bytes -= s->baseline_bytes;
    }
    kvl_stream_destroy(s->baseline);
    s->baseline = NULL;
    s->is_held = false;
}

kvl_status kvli_states_open(kvli_run *r, size_t sample, bool is_filled, kvl_err *err) {
    kvli_states *s = &r->states[sample];
    if (!is_filled) { /* of an earlier count */
        release(r, s);
    } else if (r->config->finish != NULL && !s->is_held) {
        s->is_held = true;
        r->state_bytes += s->baseline_bytes;
    }
    if (!r->config->wants_quality) {
        return KVL_OK;
    }
    s->n_ready = is_filled ? SIZE_MAX : 0;
    if (s->is_open) {
        return KVL_OK;
    }
    if (!r->is_counting) {
        s->hidden = kvl_calloc(n_floats(r, sample), sizeof *s->hidden);
        if (s->hidden == NULL) {
            return kvl_fail_nomem(err, "final states");
        }
    }
    s->is_open = true;
    r->state_bytes += n_floats(r, sample) * sizeof *s->hidden;
    return KVL_OK;
}

void kvli_states_close(kvli_run *r, size_t sample) {
    kvli_states *s = &r->states[sample];
    if (s->is_open) {
        r->state_bytes -= n_floats(r, sample) * sizeof *s->hidden;
    }
    kvl_free(s->hidden);
    release(r, s);
    *s = (kvli_states){.baseline_bytes = s->baseline_bytes};
}

void kvli_states_hold(kvli_run *r, size_t sample, kvl_stream **stream, uint64_t n_bytes) {
    kvli_states *s = &r->states[sample];
    if (r->config->finish != NULL) {
        s->baseline = *stream;
        s->baseline_bytes = n_bytes;
        s->is_held = true;
        r->state_bytes += n_bytes;
        *stream = NULL;
    }
}

static float *state_at(const kvli_run *r, size_t sample, size_t step) {
    float *hidden = r->states[sample].hidden;
    return hidden != NULL ? hidden + (step - kvli_first_step_of(r, sample)) * r->shape->width : NULL;
}

void kvli_states_give(const kvli_run *r, kvl_row *row, size_t sample, size_t step) {
    row->hidden = state_at(r, sample, step);
}

void kvli_states_take(const kvli_run *r, kvl_row *row, size_t sample, size_t step) {
    row->reference = state_at(r, sample, step);
}
