/* Products of values with slices of the output projection. */
#include "press/output_panel.h"

#include <string.h>

enum { block_rows = 64 }; /* values multiplied at once */

kvl_output_panel kvl_output_panel_take(kvl_room *room, const kvl_shape *s) {
    const size_t slice = (size_t)KVL_PANEL_COLS * s->head_dim;
    kvl_output_panel p = {0};
    p.rows = kvl_room_floats(room, slice * s->n_heads);
    p.slice = kvl_room_floats(room, slice);
    p.panel = kvl_room_floats(room, slice);
    p.out = kvl_room_floats(room, (size_t)block_rows * KVL_PANEL_COLS);
    return p;
}

void kvl_output_panel_open(kvl_output_panel *p, const kvl_layer_view *view, size_t first) {
    p->n_rows = kvl_min_size(KVL_PANEL_COLS, view->shape->width - first);
    kvl_view_output(view, first, p->n_rows, p->rows);
}

void kvl_output_panel_add(const kvl_output_panel *p, const kvl_layer_view *view, uint32_t head,
                          const float *values, size_t n, float (*measure)(const float *out), float *sums) {
    const kvl_shape *s = view->shape;
    const size_t dim = s->head_dim;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = p->panel};
    memset(p->slice, 0, KVL_PANEL_COLS * dim * sizeof *p->slice);
    for (size_t i = 0; i < p->n_rows; i++) {
        memcpy(p->slice + i * dim, p->rows + (i * s->n_heads + head) * dim, dim * sizeof *p->slice);
    }
    kvl_pack_panels(p->panel, KVL_PANEL_F32, p->slice, dim, KVL_PANEL_COLS);
    for (size_t first = 0; first < n; first += block_rows) {
        const size_t n_rows = kvl_min_size(block_rows, n - first);
        view->kernels->gemm(p->out, KVL_PANEL_COLS, values + first * dim, dim, &panels, NULL, n_rows, dim,
                            KVL_PANEL_COLS);
        for (size_t j = 0; j < n_rows; j++) {
            sums[first + j] += measure(p->out + j * KVL_PANEL_COLS);
        }
    }
}
