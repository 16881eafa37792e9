/* Products of rows with BF16_PAIRS by tiles of 16 x 16 sums. Included by kernel_amx.c for the instructions,
 * and by a test for the same in plain C; both define before: TILE_START()                  every tile has 16
 * rows of 64 bytes from here on; TILE_STOP() ends that TILE_LOAD(tile, from, bytes)  tile (0 .. 7) from
 * memory, rows that many bytes apart; TILE_STORE back TILE_DOT(sum, a, b)           sum[m][n] += over k of
 * a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1], f32 sums of bfloat16 pairs ROUND_32(to, x)               32
 * floats at x rounded to bfloat16
 *
 * 16 steps of a panel are two tiles as they lie. 32 rows times one panel are four tiles of sums, so that each
 * tile loaded is used twice. What is missing at the edges is zeros: every sum is the same sequence of
 * operations, whatever the number of rows.
 */
#include "kernel/kernel.h"

#include <string.h>

enum {
    tile_rows = 16,
    tile_pairs = 16,     /* steps of k in pairs */
    rows_at_once = 32,   /* two tiles */
    pairs_at_once = 256, /* of a row, whole tiles */
    panel_step = 4 * KVL_PANEL_COLS,
};

/* n inputs of some rows as pairs; zeros behind them up to whole tiles. */
static void round_rows(int32_t *to, const float *x, size_t x_stride, size_t rows, size_t n) {
    for (size_t r = 0; r < kvl_round_up(rows, tile_rows); r++) {
        for (size_t k = 0; k < n; k += 32) {
            const size_t n_now = r < rows ? kvl_min_size(32, n - k) : 0;
            float values[32] = {0};
            const float *from = values;
            if (n_now == 32) {
                from = x + r * x_stride + k;
            } else if (n_now != 0) {
                memcpy(values, x + r * x_stride + k, n_now * sizeof *values);
            }
            ROUND_32(to + r * pairs_at_once + k / 2, from);
        }
    }
}

/* sums [32, 32] += pairs times one panel, for one or both halves of the rows. */
static void panel_tiles(float *sums, const int32_t *pairs, size_t rows, const uint8_t *panel,
                        size_t n_pairs) {
    enum { row_bytes = KVL_PANEL_COLS * sizeof(float), half = tile_rows * KVL_PANEL_COLS };
    const bool has_both = rows > tile_rows;
    uint8_t last[tile_pairs * panel_step];
    TILE_LOAD(0, sums, row_bytes);
    TILE_LOAD(1, sums + 16, row_bytes);
    TILE_LOAD(2, sums + half, row_bytes);
    TILE_LOAD(3, sums + half + 16, row_bytes);
    for (size_t k = 0; k < n_pairs; k += tile_pairs) {
        const uint8_t *weights = panel + k * panel_step;
        if (n_pairs - k < tile_pairs) {
            memset(last, 0, sizeof last);
            memcpy(last, weights, (n_pairs - k) * panel_step);
            weights = last;
        }
        TILE_LOAD(4, pairs + k, pairs_at_once * sizeof *pairs);
        TILE_LOAD(6, weights, panel_step);
        TILE_LOAD(7, weights + panel_step / 2, panel_step);
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
        if (has_both) {
            TILE_LOAD(5, pairs + tile_rows * pairs_at_once + k, pairs_at_once * sizeof *pairs);
            TILE_DOT(2, 5, 6);
            TILE_DOT(3, 5, 7);
        }
    }
    TILE_STORE(0, sums, row_bytes);
    TILE_STORE(1, sums + 16, row_bytes);
    TILE_STORE(2, sums + half, row_bytes);
    TILE_STORE(3, sums + half + 16, row_bytes);
}

/* The gemm of kvl_kernels for BF16_PAIRS: some rows and a stretch of steps at a time, rounded once for all
 * panels of the call; the sums wait in `out` in between. */
static void gemm_tiles(float *out, size_t out_stride, const float *x, size_t x_stride, const kvl_panels *w,
                       const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    const size_t panel_bytes = kvl_panel_bytes(KVL_PANEL_BF16_PAIRS, n_in);
    int32_t pairs[rows_at_once * pairs_at_once];
    TILE_START();
    for (size_t done = 0; done < n_rows; done += rows_at_once) {
        const size_t rows = kvl_min_size(rows_at_once, n_rows - done);
        for (size_t first = 0; first < n_in || first == 0; first += 2 * pairs_at_once) {
            const size_t n = kvl_min_size(2 * pairs_at_once, n_in - first);
            round_rows(pairs, x + done * x_stride + first, x_stride, rows, n);
            for (size_t col = 0; col < n_cols; col += KVL_PANEL_COLS) {
                const size_t bytes = kvl_min_size(KVL_PANEL_COLS, n_cols - col) * sizeof *out;
                const uint8_t *panel = (const uint8_t *)w->data + col / KVL_PANEL_COLS * panel_bytes;
                float sums[rows_at_once * KVL_PANEL_COLS] = {0};
                float *to = out + done * out_stride + col;
                for (size_t r = 0; (first != 0 || bias != NULL) && r < rows; r++) {
                    memcpy(sums + r * KVL_PANEL_COLS, first != 0 ? to + r * out_stride : bias + col, bytes);
                }
                panel_tiles(sums, pairs, rows, panel + first / 2 * panel_step, (n + 1) / 2);
                for (size_t r = 0; r < rows; r++) {
                    memcpy(to + r * out_stride, sums + r * KVL_PANEL_COLS, bytes);
                }
            }
        }
    }
    TILE_STOP();
}
