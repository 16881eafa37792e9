/* Figures of a policy: one walk over the logs, NLLs and lost attention of its cells. */
#include "protocol/trace_figures.h"

#include "base/alloc.h"

#include <math.h>

double kvl_trace_nll(const kvl_trace *t, size_t policy, size_t text, size_t step) {
    const kvl_trace_cell *c = kvl_trace_cell_at(t, policy, text);
    return step >= c->first_scored && step - c->first_scored < c->n_scored ? c->nll[step - c->first_scored]
                                                                           : (double)NAN;
}

/* Above the full cache on the same token. */
static double excess_of(const kvl_trace *t, size_t policy, size_t text, size_t step) {
    return kvl_trace_nll(t, policy, text, step) - kvl_trace_nll(t, 0, text, step);
}

static void add_excess(kvl_trace_figures *f, double excess, size_t step, size_t phase) {
    if (isnan(excess)) {
        return;
    }
    kvl_tally_add(&f->excess, excess);
    kvl_tally_add(&f->by_block[step / KVL_BLOCK_STEPS], excess);
    if (phase < KVL_N_PHASES) {
        kvl_tally_add(&f->by_phase[phase], excess);
    }
}

static void add_text(kvl_trace_figures *f, const kvl_trace *t, size_t policy, size_t text,
                     const kvl_departures *d) {
    const size_t n_steps = t->texts[text].n_tokens - 1;
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(d, &n_events);
    const size_t first = n_events != 0 ? events[0] : n_steps;
    kvl_visibility_add(&f->seen, d, t->policies[policy].skip, kvl_min_size(first, n_steps), n_steps);
    kvl_visibility_add_compressions(&f->seen, d, t->policies[policy].skip);
    for (size_t step = first; step < n_steps; step++) {
        add_excess(f, excess_of(t, policy, text, step), step, kvl_step_phase(d, step));
        for (uint32_t layer = 0; layer < t->n_layers; layer++) {
            double sum = 0;
            for (uint32_t head = 0; head < t->n_kv_heads; head++) {
                sum += kvl_trace_lost(t, policy, text, step, layer, head);
            }
            kvl_tally_add(&f->lost[layer], sum / t->n_kv_heads);
        }
    }
}

kvl_status kvl_trace_figures_make(kvl_trace_figures *out, const kvl_trace *t, size_t policy, size_t text,
                                  kvl_err *err) {
    *out = (kvl_trace_figures){0};
    const size_t first = text != SIZE_MAX ? text : 0;
    const size_t end = text != SIZE_MAX ? text + 1 : t->n_texts;
    for (size_t i = first; i < end; i++) {
        out->n_blocks =
            kvl_max_size(out->n_blocks, (t->texts[i].n_tokens + KVL_BLOCK_STEPS - 2) / KVL_BLOCK_STEPS);
    }
    out->by_block = kvl_calloc(out->n_blocks, sizeof *out->by_block);
    out->lost = kvl_calloc(t->n_layers, sizeof *out->lost);
    kvl_status status =
        out->by_block != NULL && out->lost != NULL ? KVL_OK : kvl_fail_nomem(err, "figures of a trace");
    for (size_t i = first; i < end && status == KVL_OK; i++) {
        kvl_departures *d = NULL;
        status = kvl_trace_log(&d, t, policy, i, err);
        if (status == KVL_OK) {
            add_text(out, t, policy, i, d);
        }
        kvl_departures_destroy(d);
    }
    if (status != KVL_OK) {
        kvl_trace_figures_free(out);
    }
    return status;
}

void kvl_trace_figures_free(kvl_trace_figures *f) {
    kvl_free(f->by_block);
    kvl_free(f->lost);
    *f = (kvl_trace_figures){0};
}
