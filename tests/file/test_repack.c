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
        }
        kvl_free(rows);
        kvl_free(packed.data);
        kvl_free(plain.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_hold_the_stored_values),
        cmocka_unit_test(test_products_have_the_bits_of_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
