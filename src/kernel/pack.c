/* Weight panels: 32 output columns side by side, so that a product walks memory in order. */
#include "kernel/kernel.h"

size_t kvl_panels_size(size_t n_in, size_t n_cols) { return kvl_round_up(n_cols, KVL_PANEL_COLS) * n_in; }

void kvl_pack_panels(float *panels, const float *weights, size_t n_in, size_t n_cols) {
    for (size_t first = 0; first < n_cols; first += KVL_PANEL_COLS) {
        float *panel = panels + first * n_in;
        for (size_t c = 0; c < KVL_PANEL_COLS; c++) {
            for (size_t k = 0; k < n_in; k++) {
                panel[k * KVL_PANEL_COLS + c] = first + c < n_cols ? weights[(first + c) * n_in + k] : 0.0f;
            }
        }
    }
}
