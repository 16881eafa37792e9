/* Weight panels of every stored type: each column widens to the stored values, and products with packed
 * blocks have the bits of products with the same values in f32. */
#include "support.h"

#include "base/rng.h"
#include "file/dtype.h"
#include "file/repack.h"

#include <math.h>
#include <string.h>

enum { n_in = 512, n_cols = 41, n_rows = 40 };

static const kvl_dtype types[] = {KVL_DTYPE_F32,  KVL_DTYPE_F16,    KVL_DTYPE_BF16,  KVL_DTYPE_Q4_0,
                                  KVL_DTYPE_Q4_1, KVL_DTYPE_Q5_0,   KVL_DTYPE_Q5_1,  KVL_DTYPE_Q8_0,
                                  KVL_DTYPE_Q2_K, KVL_DTYPE_Q3_K,   KVL_DTYPE_Q4_K,  KVL_DTYPE_Q5_K,
                                  KVL_DTYPE_Q6_K, KVL_DTYPE_IQ4_NL, KVL_DTYPE_IQ4_XS};
enum { n_types = sizeof types / sizeof types[0] };

/* Random rows of that type as they are stored, all values finite and of moderate size. */
static uint8_t *draw_rows(kvl_dtype t, size_t *row_bytes, float *values) {
    const size_t items = kvl_dtype_block_items(t);
    const size_t bytes = kvl_dtype_block_bytes(t);
    *row_bytes = n_in / items * bytes;
    uint8_t *rows = kvl_calloc(n_cols, *row_bytes);
    for (size_t i = 0; i < n_cols * *row_bytes / bytes; i++) {
        uint8_t *block = rows + i * bytes;
        bool is_good = false;
        for (uint64_t try = 0; !is_good; try++) {
            for (size_t k = 0; k < bytes; k++) {
                block[k] = (uint8_t)kvl_rng_draw(1 + (uint64_t)t, try, i * bytes + k);
            }
            kvl_dtype_widen(values + i * items, block, items, t);
            is_good = true;
            for (size_t k = 0; k < items; k++) {
                is_good = is_good && fabsf(values[i * items + k]) < 1e4f;
            }
        }
    }
    return rows;
}

static void pack(kvl_panels *w, kvl_dtype t, const uint8_t *rows, size_t row_bytes, const float *values) {
    *w = (kvl_panels){kvl_panel_type_of(t), kvl_panel_zero_of(t), NULL};
    const size_t bytes = kvl_panel_bytes(w->type, n_in);
    w->data = kvl_calloc(2, bytes);
    for (size_t p = 0; p < 2 && kvl_panel_is_blocked(w->type); p++) {
        kvl_repack_panel((uint8_t *)w->data + p * bytes, t, rows + p * 32 * row_bytes, n_in,
                         kvl_min_size(32, n_cols - p * 32));
    }
    if (!kvl_panel_is_blocked(w->type)) {
        kvl_pack_panels(w->data, w->type, values, n_in, n_cols);
    }
}

static void test_columns_hold_the_stored_values(void **state) {
    (void)state;
    static float values[n_cols * n_in];
    for (size_t i = 0; i < n_types; i++) {
        size_t row_bytes = 0;
        kvl_panels w;
        float column[n_in];
        uint8_t *rows = draw_rows(types[i], &row_bytes, values);
        pack(&w, types[i], rows, row_bytes, values);
        for (size_t c = 0; c < n_cols; c++) {
            kvl_panel_column(column, &w, n_in, c);
            for (size_t k = 0; k < n_in; k++) {
                if (!(column[k] == values[c * n_in + k])) {
                    fail_msg("%s: column %zu, step %zu: expected %.9g, found %.9g", kvl_dtype_name(types[i]),
                             c, k, (double)values[c * n_in + k], (double)column[k]);
                }
            }
        }
        kvl_free(rows);
        kvl_free(w.data);
    }
}

/* Rows rounded to 8 bits: against double arithmetic on the same rounded numbers, and a row's bits alone and
 * in company. */
static void check_int8(const kvl_kernels *k, kvl_dtype t, const kvl_panels *w, const float *values,
                       const float *x, const float *bias) {
    enum { n_blocks = n_in / KVL_PANEL_BLOCK };
    static kvl_q8 rounded[n_rows * n_blocks];
    static float got[n_rows * n_cols], alone[n_cols];
    k->quantize(rounded, x, n_rows * n_in);
    for (size_t m = 1; m <= n_rows; m += m < 14 ? 1 : 13) {
        k->gemm_q8(got, n_cols, rounded, n_blocks, w, bias, m, n_in, n_cols);
        for (size_t r = 0; r < m; r++) {
            k->gemm_q8(alone, n_cols, rounded + r * n_blocks, n_blocks, w, bias, 1, n_in, n_cols);
            assert_memory_equal(alone, got + r * n_cols, sizeof alone);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            double sum = (double)bias[c], magnitude = fabs(sum);
            for (size_t b = 0; b < n_blocks; b++) {
                const kvl_q8 *block = &rounded[r * n_blocks + b];
                double inputs = 0, most = 0;
                for (size_t i = 0; i < KVL_PANEL_BLOCK; i++) {
                    const double input = (double)block->d * block->q[i];
                    const double weight = (double)values[c * n_in + b * KVL_PANEL_BLOCK + i];
                    sum += input * weight;
                    inputs += fabs(input);
                    most = fmax(most, fabs(weight));
                }
                magnitude +=
                    4 * inputs * most; /* also what cancels: offsets are of the size of the weights */
            }
            if (!(fabs((double)got[r * n_cols + c] - sum) <= 1e-6 * magnitude)) {
                fail_msg("%s, %s: row %zu, column %zu: expected %.9g, found %.9g", kvl_dtype_name(t), k->name,
                         r, c, sum, (double)got[r * n_cols + c]);
            }
        }
    }
}

static void test_products_have_the_bits_of_f32(void **state) {
    (void)state;
    static float values[n_cols * n_in], x[n_rows * n_in], want[n_rows * n_cols], got[n_rows * n_cols];
    float bias[n_cols];
    for (size_t i = 0; i < n_rows * n_in; i++) {
        x[i] = 2 * kvl_rng_unit(7, 0, i) - 1;
    }
    for (size_t i = 0; i < n_cols; i++) {
        bias[i] = 2 * kvl_rng_unit(8, 0, i) - 1;
    }
    for (size_t i = 0; i < n_types; i++) {
        size_t row_bytes = 0;
        kvl_panels packed;
        kvl_panels plain = {KVL_PANEL_F32, 0, kvl_calloc(2, kvl_panel_bytes(KVL_PANEL_F32, n_in))};
        uint8_t *rows = draw_rows(types[i], &row_bytes, values);
        pack(&packed, types[i], rows, row_bytes, values);
        kvl_pack_panels(plain.data, plain.type, values, n_in, n_cols);
        for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
            const kvl_kernels *k = NULL;
            assert_ok(kvl_kernels_get(&k, *name, NULL));
            for (size_t m = 1; m <= n_rows; m += m < 14 ? 1 : 13) {
                k->gemm(want, n_cols, x, n_in, &plain, bias, m, n_in, n_cols);
                k->gemm(got, n_cols, x, n_in, &packed, bias, m, n_in, n_cols);
                if (memcmp(want, got, m * n_cols * sizeof(float)) != 0) {
                    fail_msg("%s, %s, %zu rows: bits differ", kvl_dtype_name(types[i]), *name, m);
                }
            }
            if (kvl_panel_is_blocked(packed.type)) {
                check_int8(k, types[i], &packed, values, x, bias);
            }
        }
        kvl_free(rows);
        kvl_free(packed.data);
        kvl_free(plain.data);
    }
}

/* d is the largest size / 127, numbers go to the nearest whole one, halves to even; every table the same. */
static void test_rounding_to_8_bits(void **state) {
    (void)state;
    static const float by_hand[3 * KVL_PANEL_BLOCK] = {127,   -126.5f, 0.5f, 1.5f,      2.5f,
                                                       -0.5f, -3.4f,   3.6f, [16] = -2, [40] = 1e-30f};
    float x[3 * KVL_PANEL_BLOCK];
    kvl_q8 want[3], got[3];
    const kvl_kernels *plain = NULL;
    assert_ok(kvl_kernels_get(&plain, "c", NULL));
    plain->quantize(want, by_hand, 3 * KVL_PANEL_BLOCK);
    static const int8_t first[8] = {127, -126, 0, 2, 2, 0, -3, 4};
    assert_memory_equal(want[0].q, first, sizeof first);
    assert_true(want[0].d == 1 && want[0].sum[0] == 6 && want[0].sum[1] == -2 && want[0].sum[2] == 4);
    assert_true(want[1].q[8] == 127 && want[1].d == 1e-30f / 127);
    assert_true(want[2].d == 0 && want[2].sum[2] == 0 && want[2].q[0] == 0);
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = NULL;
        assert_ok(kvl_kernels_get(&k, *name, NULL));
        for (uint64_t seed = 0; seed < 50; seed++) {
            for (size_t i = 0; i < 3 * KVL_PANEL_BLOCK; i++) {
                x[i] = 8 * kvl_rng_unit(seed, 1, i) - 4;
            }
            plain->quantize(want, x, 3 * KVL_PANEL_BLOCK);
            k->quantize(got, x, 3 * KVL_PANEL_BLOCK);
            assert_memory_equal(got, want, sizeof want);
        }
        x[5] = NAN;
        x[50] = -INFINITY;
        k->quantize(got, x, 3 * KVL_PANEL_BLOCK);
        assert_true(isnan(got[0].d) && isinf(got[1].d) && isfinite(got[2].d));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_hold_the_stored_values),
        cmocka_unit_test(test_products_have_the_bits_of_f32),
        cmocka_unit_test(test_rounding_to_8_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
