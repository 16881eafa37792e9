/* AMX: products with BF16_PAIRS by the tile instructions, which every processor that has them has beside
 * AVX-512 with bfloat16. */
#include "kernel/kernel_int.h"

#include <immintrin.h>

/* Palette 1: eight tiles of 16 rows of 64 bytes. */
static const struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* The intrinsics of GCC 12 do not say that a load reads memory. */
#define MEMORY_IS_READ() __asm__ volatile("" ::: "memory")

#define TILE_START() _tile_loadconfig(&config)
#define TILE_STOP() _tile_release()
#define TILE_LOAD(tile, from, bytes)                                                                         \
    do {                                                                                                     \
        MEMORY_IS_READ();                                                                                    \
        _tile_loadd(tile, from, bytes);                                                                      \
    } while (0)
#define TILE_STORE(tile, to, bytes) _tile_stored(tile, to, bytes)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
#define ROUND_32(to, x)                                                                                      \
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps((x) + 16), _mm512_loadu_ps(x)))
#include "kernel/tile_product.h"

void kvli_gemm_amx(float *out, size_t out_stride, const float *x, size_t x_stride, const kvl_panels *w,
                   const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    gemm_tiles(out, out_stride, x, x_stride, w, bias, n_rows, n_in, n_cols);
}
