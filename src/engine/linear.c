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

void kvli_engine_linear(kvl_engine *e, const kvl_linear *w, float *out, const float *in, size_t n_rows,
                        void (*activate)(float *x, size_t n)) {
    product p = {e->kernels, w, out, in, n_rows, activate};
    size_t item_cols = panels_per_item * KVL_PANEL_COLS;
    kvl_pool_run(e->pool, (w->n_out + item_cols - 1) / item_cols, run_columns, &p);
}
