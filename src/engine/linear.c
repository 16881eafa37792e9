/* Matrix products of a batch, split over the pool by output columns. Whoever finishes a piece of the output
 * does at once what follows for these columns, so that few phases are needed. */
#include "engine/engine_int.h"

/* Columns of a piece of work: small enough to balance, large enough to hide the hand-out; of a single row as
 * many as its kernel reads side by side. */
static size_t piece_cols(size_t n_rows) { return (n_rows == 1 ? 4 : 2) * KVL_PANEL_COLS; }

static size_t n_pieces(size_t n_cols, size_t n_rows) {
    return (n_cols + piece_cols(n_rows) - 1) / piece_cols(n_rows);
}

static bool is_rounded(const kvl_engine *e, const kvl_segment *s) {
    return e->model->arith == KVL_ARITH_INT8 && kvl_panel_is_blocked(s->panels.type);
}

typedef struct round_job {
    kvl_engine *e;
    const float *in;
    size_t n_in;
} round_job;

static void round_row(void *ud, size_t row, unsigned thread) {
    (void)thread;
    const round_job *job = ud;
    job->e->kernels->quantize(job->e->act.rounded + row * (job->n_in / KVL_PANEL_BLOCK),
                              job->in + row * job->n_in, job->n_in);
}

static bool wants_rounded(const kvl_engine *e, const kvl_linear *w) {
    bool is_any = false;
    for (uint32_t i = 0; i < w->n_segments; i++) {
        is_any = is_any || is_rounded(e, &w->segments[i]);
    }
    return is_any;
}

void kvli_engine_round(kvl_engine *e, const kvl_linear *w, const float *in, size_t n_rows) {
    round_job job = {e, in, w->n_in};
    if (wants_rounded(e, w)) {
        kvl_pool_run(e->pool, n_rows, round_row, &job);
    }
}

void kvli_engine_multiply(const kvl_engine *e, const kvl_linear *w, float *out, size_t out_stride,
                          const float *in, size_t n_rows, size_t first, size_t n_cols) {
    for (uint32_t i = 0; i < w->n_segments; i++) {
        const kvl_segment *s = &w->segments[i];
        const size_t from = kvl_max_size(first, s->first);
        const size_t to = kvl_min_size(first + n_cols, (size_t)s->first + s->n_cols);
        if (from >= to) {
            continue;
        }
        kvl_panels panels = s->panels;
        panels.data = (char *)s->panels.data +
                      (from - s->first) / KVL_PANEL_COLS * kvl_panel_bytes(s->panels.type, w->n_in);
        const float *bias = w->bias != NULL ? w->bias + from : NULL;
        if (is_rounded(e, s)) {
            e->kernels->gemm_q8(out + (from - first), out_stride, e->act.rounded, w->n_in / KVL_PANEL_BLOCK,
                                &panels, bias, n_rows, w->n_in, to - from);
        } else {
            e->gemm(out + (from - first), out_stride, in, w->n_in, &panels, bias, n_rows, w->n_in, to - from);
        }
    }
}

typedef struct product {
    kvl_engine *e;
    const kvl_linear *w;
    float *out;
    const float *in;
    size_t n_rows;
    kvli_after after;
} product;

static void run_piece(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const product *p = ud;
    const kvl_kernels *kernels = p->e->kernels;
    const size_t width = p->w->n_out;
    const size_t first = item * piece_cols(p->n_rows);
    const size_t n_cols = kvl_min_size(piece_cols(p->n_rows), width - first);
    kvli_engine_multiply(p->e, p->w, p->out + first, width, p->in, p->n_rows, first, n_cols);
    for (size_t r = 0; r < p->n_rows; r++) {
        const size_t at = r * width + first;
        if (p->after.activate != NULL) {
            p->after.activate(p->out + at, n_cols);
        }
        if (p->after.add != NULL) {
            kernels->add(p->out + at, p->after.add + at, n_cols);
        }
        if (p->after.add_to != NULL) {
            kernels->add(p->after.add_to + at, p->out + at, n_cols);
        }
    }
}

void kvli_engine_linear(kvl_engine *e, const kvl_linear *w, float *out, const float *in, size_t n_rows,
                        kvli_after after) {
    product p = {e, w, out, in, n_rows, after};
    kvli_engine_round(e, w, in, n_rows);
    kvl_pool_run(e->pool, n_pieces(w->n_out, n_rows), run_piece, &p);
}

typedef struct gated_product {
    kvl_engine *e;
    const kvl_layer *layer;
    const float *in;
    size_t n_rows;
    kvli_activation_fn *activate;
} gated_product;

static void run_gated_piece(void *ud, size_t item, unsigned thread) {
    const gated_product *g = ud;
    kvl_engine *e = g->e;
    const size_t width = g->layer->ff_up.n_out;
    const size_t first = item * piece_cols(g->n_rows);
    const size_t n_cols = kvl_min_size(piece_cols(g->n_rows), width - first);
    product gate = {e, &g->layer->ff_gate, e->act.gate, g->in, g->n_rows, {.activate = g->activate}};
    product up = {e, &g->layer->ff_up, e->act.inner, g->in, g->n_rows, {0}};
    run_piece(&gate, item, thread);
    run_piece(&up, item, thread);
    for (size_t r = 0; r < g->n_rows; r++) {
        e->kernels->mul(e->act.inner + r * width + first, e->act.gate + r * width + first, n_cols);
    }
}

void kvli_engine_gated(kvl_engine *e, const kvl_layer *layer, const float *in, size_t n_rows,
                       kvli_activation_fn *activate) {
    gated_product g = {e, layer, in, n_rows, activate};
    kvli_engine_round(e, wants_rounded(e, &layer->ff_up) ? &layer->ff_up : &layer->ff_gate, in, n_rows);
    kvl_pool_run(e->pool, n_pieces(layer->ff_up.n_out, n_rows), run_gated_piece, &g);
}
