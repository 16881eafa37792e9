/* Matrix products of a batch, split over the pool by output columns. */
#include "engine/engine_int.h"

enum { panels_per_item = 2 }; /* 64 columns: small enough to balance, large enough to hide the hand-out */

typedef struct product {
    const kvl_kernels *kernels;
    const kvl_linear *w;
    float *out;
    const float *in;
    size_t n_rows;
    void (*activate)(float *x, size_t n);
} product;

static void run_columns(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const product *p = ud;
    size_t first = item * panels_per_item * KVL_PANEL_COLS;
    size_t n_cols = kvl_min_size(panels_per_item * KVL_PANEL_COLS, p->w->n_out - first);
    p->kernels->gemm(p->out + first, p->w->n_out, p->in, p->w->n_in, p->w->panels + first * p->w->n_in,
                     p->w->bias != NULL ? p->w->bias + first : NULL, p->n_rows, p->w->n_in, n_cols);
    for (size_t r = 0; p->activate != NULL && r < p->n_rows; r++) {
        p->activate(p->out + r * p->w->n_out + first, n_cols);
    }
}

typedef struct gated_product {
    kvl_engine *e;
    const kvl_layer *layer;
    const float *in;
    size_t n_rows;
    void (*activate)(float *x, size_t n);
} gated_product;

static void run_gated_columns(void *ud, size_t item, unsigned thread) {
    const gated_product *g = ud;
    kvl_engine *e = g->e;
    const size_t width = g->layer->ff_up.n_out;
    const size_t first = item * panels_per_item * KVL_PANEL_COLS;
    const size_t n_cols = kvl_min_size(panels_per_item * KVL_PANEL_COLS, width - first);
    product gate = {e->kernels, &g->layer->ff_gate, e->act.gate, g->in, g->n_rows, g->activate};
    product up = {e->kernels, &g->layer->ff_up, e->act.inner, g->in, g->n_rows, NULL};
    run_columns(&gate, item, thread);
    run_columns(&up, item, thread);
    for (size_t r = 0; r < g->n_rows; r++) {
        e->kernels->mul(e->act.inner + r * width + first, e->act.gate + r * width + first, n_cols);
    }
}

static size_t n_column_items(size_t n_cols) {
    const size_t item_cols = panels_per_item * KVL_PANEL_COLS;
    return (n_cols + item_cols - 1) / item_cols;
}

void kvli_engine_gated(kvl_engine *e, const kvl_layer *layer, const float *in, size_t n_rows,
                       void (*activate)(float *x, size_t n)) {
    gated_product g = {e, layer, in, n_rows, activate};
    kvl_pool_run(e->pool, n_column_items(layer->ff_up.n_out), run_gated_columns, &g);
}

void kvli_engine_linear(kvl_engine *e, const kvl_linear *w, float *out, const float *in, size_t n_rows,
                        void (*activate)(float *x, size_t n)) {
    product p = {e->kernels, w, out, in, n_rows, activate};
    kvl_pool_run(e->pool, n_column_items(w->n_out), run_columns, &p);
}
