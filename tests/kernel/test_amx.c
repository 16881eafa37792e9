/* Products by matrix tiles: the same source with the tile instructions in plain C, against sums in double and
 * against the bits of another cut; and the instructions themselves where this machine has them. */
#include "support.h"

#include "base/rng.h"
#include "kernel/kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- the instructions, as in Intel's manual (64-ia-32 SDM volume 2, LDTILECFG to TILERELEASE, TDPBF16PS)
 * ---- */

static struct {
    uint8_t rows[8][16][64];
    bool is_on;
} tiles;

static void tile_copy(int tile, void *to, const void *from, size_t stride, bool is_load) {
    assert_true(tiles.is_on);
    for (size_t m = 0; m < 16; m++) {
        if (is_load) {
            memcpy(tiles.rows[tile][m], (const uint8_t *)from + m * stride, 64);
        } else {
            memcpy((uint8_t *)to + m * stride, tiles.rows[tile][m], 64);
        }
    }
}

/* Subnormal inputs and results are zeros. */
static float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x; }

/* Element e (0 or 1) of the pair at dword n of a row. */
static float bf16_of(const uint8_t row[64], size_t n, size_t e) {
    uint16_t bits;
    memcpy(&bits, row + 4 * n + 2 * e, sizeof bits);
    return flushed(kvl_f32_of_bf16(bits));
}

/* Fused multiply-adds in two chains, the even and the odd elements; then their sum to what is there. */
static void tile_dot(int sum, int a, int b) {
    assert_true(tiles.is_on && sum != a && sum != b && a != b);
    for (size_t m = 0; m < 16; m++) {
        for (size_t n = 0; n < 16; n++) {
            float chain[2] = {0}, old;
            for (size_t k = 0; k < 16; k++) {
                for (size_t e = 0; e < 2; e++) {
                    chain[e] = flushed(
                        fmaf(bf16_of(tiles.rows[a][m], k, e), bf16_of(tiles.rows[b][k], n, e), chain[e]));
                }
            }
            memcpy(&old, &tiles.rows[sum][m][4 * n], sizeof old);
            old = flushed(flushed(old) + flushed(chain[0] + chain[1]));
            memcpy(&tiles.rows[sum][m][4 * n], &old, sizeof old);
        }
    }
}

static void round_32(int32_t *to, const float *x) {
    for (size_t i = 0; i < 16; i++) {
        to[i] =
            (int32_t)((uint32_t)kvl_bf16_of_f32(x[2 * i]) | (uint32_t)kvl_bf16_of_f32(x[2 * i + 1]) << 16);
    }
}

#define TILE_START() (tiles.is_on = true)
#define TILE_STOP() memset(&tiles, 0, sizeof tiles)
#define TILE_LOAD(tile, from, bytes) tile_copy(tile, NULL, from, bytes, true)
#define TILE_STORE(tile, to, bytes) tile_copy(tile, to, NULL, bytes, false)
#define TILE_DOT tile_dot
#define ROUND_32 round_32
#include "kernel/tile_product.h"

/* ---- tests ---- */

enum { guard = 40, most_out_cols = 100 };

static float *block(size_t n, uint64_t seed) {
    float *x = kvl_calloc(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = seed == 0 ? 12345.0f : 2.0f * kvl_rng_unit(seed, 5, i) - 1.0f;
    }
    return x;
}

/* Rows computed alone have the same bits; nothing beside the output is written; behind the panels there is
 * nothing to read (sanitizers see to that). */
static void check(kvl_gemm_fn *gemm, size_t n_rows, size_t n_in, size_t n_cols, bool has_bias) {
    const size_t stride = n_cols + 3, x_stride = n_in + 1;
    float *x = block(n_rows * x_stride, 1), *w = block(n_cols * n_in, 2), *bias = block(n_cols, 3);
    float *out = block(n_rows * stride + guard, 0), alone[most_out_cols];
    const kvl_panels panels = {KVL_PANEL_BF16_PAIRS, 0,
                               kvl_alloc(kvl_panels_bytes(KVL_PANEL_BF16_PAIRS, n_in, n_cols), 1)};
    const float *start = has_bias ? bias : NULL;
    kvl_pack_panels(panels.data, panels.type, w, n_in, n_cols);
    gemm(out, stride, x, x_stride, &panels, start, n_rows, n_in, n_cols);
    for (size_t r = 0; r < n_rows; r++) {
        gemm(alone, n_cols, x + r * x_stride, x_stride, &panels, start, 1, n_in, n_cols);
        assert_memory_equal(alone, out + r * stride, n_cols * sizeof *alone);
        for (size_t c = 0; c < n_cols; c++) {
            double sum = has_bias ? (double)bias[c] : 0, magnitude = fabs(sum);
            for (size_t k = 0; k < n_in; k++) {
                const double term = (double)kvl_f32_of_bf16(kvl_bf16_of_f32(x[r * x_stride + k])) *
                                    (double)kvl_f32_of_bf16(kvl_bf16_of_f32(w[c * n_in + k]));
                sum += term;
                magnitude += fabs(term);
            }
            assert_true(fabs((double)alone[c] - sum) <= 2.0 * (double)FLT_EPSILON * magnitude);
        }
        for (size_t c = n_cols; c < stride; c++) {
            assert_true(out[r * stride + c] == 12345.0f);
        }
    }
    for (size_t i = 0; i < guard; i++) {
        assert_true(out[n_rows * stride + i] == 12345.0f);
    }
    kvl_free(x);
    kvl_free(w);
    kvl_free(bias);
    kvl_free(out);
    kvl_free(panels.data);
}

static void check_shapes(kvl_gemm_fn *gemm) {
    static const size_t lengths[] = {1, 31, 32, 33, 80, 511, 513, 1040};
    static const size_t widths[] = {1, 31, 32, 33, 64, 96};
    for (size_t rows = 1; rows <= 33; rows++) {
        check(gemm, rows, 67, 40, rows % 2 == 0);
    }
    check(gemm, 70, 96, 64, true);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check(gemm, 3, lengths[i], 33, i % 2 == 0);
        check(gemm, 18, lengths[i], 32, i % 2 != 0);
    }
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        check(gemm, 5, 64, widths[i], true);
    }
}

static void test_emulated(void **state) {
    (void)state;
    check_shapes(gemm_tiles);
    assert_false(tiles.is_on); /* tiles are given back */
}

/* Whole numbers up to 256 are exact in bfloat16, and so are their sums in f32: the plain C definition. */
static void test_definition(void **state) {
    (void)state;
    enum { n_rows = 19, n_in = 45, n_cols = 37 };
    const kvl_kernels *plain = NULL;
    float x[n_rows * n_in], w[n_cols * n_in], out[n_rows * n_cols], want[n_rows * n_cols];
    kvl_panels panels = {KVL_PANEL_BF16_PAIRS, 0,
                         kvl_calloc(kvl_panels_bytes(KVL_PANEL_BF16_PAIRS, n_in, n_cols), 1)};
    for (size_t i = 0; i < n_rows * n_in; i++) {
        x[i] = (float)(i * 37 % 201) - 100;
    }
    for (size_t i = 0; i < n_cols * n_in; i++) {
        w[i] = (float)(i * 53 % 401) - 200;
    }
    kvl_pack_panels(panels.data, panels.type, w, n_in, n_cols);
    assert_ok(kvl_kernels_get(&plain, "c", NULL));
    plain->gemm(want, n_cols, x, n_in, &panels, NULL, n_rows, n_in, n_cols);
    gemm_tiles(out, n_cols, x, n_in, &panels, NULL, n_rows, n_in, n_cols);
    for (size_t i = 0; i < n_rows * n_cols; i++) {
        assert_true(out[i] == want[i]);
    }
    kvl_free(panels.data);
}

/* By hand: two chains, each fused, then their sum. */
static void test_order_of_sums(void **state) {
    (void)state;
    static const float x[4] = {256, 1, 1, -256}, w[4] = {65536, 1, 1, 65536};
    float out = 0;
    kvl_panels panels = {KVL_PANEL_BF16_PAIRS, 0,
                         kvl_calloc(kvl_panels_bytes(KVL_PANEL_BF16_PAIRS, 4, 1), 1)};
    kvl_pack_panels(panels.data, panels.type, w, 4, 1);
    gemm_tiles(&out, 1, x, 4, &panels, NULL, 1, 4, 1);
    /* 2^24 + 1 rounds to 2^24 and 1 - 2^24 is exact; one chain would give 0 */
    assert_true(out == 1.0f);
    kvl_free(panels.data);
}

static void test_this_machine(void **state) {
    (void)state;
    kvl_gemm_fn *gemm = NULL;
    kvl_err err = {0};
    if (kvl_amx_gemm(&gemm, &err) == KVL_OK) {
        check_shapes(gemm);
        return;
    }
    assert_null(gemm);
    assert_int_equal(err.status, KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "arithmetic amx_bf16: expected a processor with AMX"));
    assert_null(strchr(err.msg, '\n'));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emulated),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_order_of_sums),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
