/* Weight panels: 32 output columns side by side, so that a product walks memory in order. */
#include "kernel/kernel.h"

size_t kvl_panels_size(size_t n_in, size_t n_cols) { return kvl_round_up(n_cols, KVL_PANEL_COLS) * n_in; }

enum { CACHE_LINE = 16 }; /* floats */

void kvl_pack_panels(float *panels, const float *weights, size_t n_in, size_t n_cols) {
    for (size_t first = 0; first < n_cols; first += KVL_PANEL_COLS) {
        float *panel = panels + first * n_in;
        const float *rows = weights + first * n_in;
        size_t n_rows = kvl_min_size(KVL_PANEL_COLS, n_cols - first);
        /* a cache line of each row at a time, so that what is written stays in the nearest cache */
        for (size_t k = 0; k < n_in; k += CACHE_LINE) {
            size_t n_now = kvl_min_size(CACHE_LINE, n_in - k);
            float *to = panel + k * KVL_PANEL_COLS;
            for (size_t c = 0; c < n_rows; c++) {
                for (size_t i = 0; i < n_now; i++) {
                    to[i * KVL_PANEL_COLS + c] = rows[c * n_in + k + i];
                }
            }
            for (size_t i = 0; i < n_now; i++) {
                for (size_t c = n_rows; c < KVL_PANEL_COLS; c++) {
                    to[i * KVL_PANEL_COLS + c] = 0;
                }
            }
        }
    }
}
