/* Every table against the plain C definition (kernel_c.c), and that against double arithmetic; and the
 * promise that an element's bits do not depend on how many rows or panels are computed beside it. */
#include "guarded.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void check_gemm(const kvl_kernels *k, size_t m, size_t n_in, size_t n_cols, bool has_bias) {
    size_t stride = n_cols + 3; /* rows of the output are apart: what lies between must stay */
    float *x = block(m * (n_in + 1));
    float *w = block(n_cols * n_in);
    float *bias = block(n_cols);
    float *out = block(m * stride);
    kvl_panels panels = {KVL_PANEL_F32, 0, kvl_calloc(kvl_panels_bytes(KVL_PANEL_F32, n_in, n_cols), 1)};
    fill(x, m * (n_in + 1), m, 2.0f);
    fill(w, n_cols * n_in, n_in, 1.0f);
    fill(bias, n_cols, n_cols, 3.0f);
    kvl_pack_panels(panels.data, panels.type, w, n_in, n_cols);
    k->gemm(out, stride, x + 1, n_in + 1, &panels, has_bias ? bias : NULL, m, n_in, n_cols);
    for (size_t r = 0; r < m; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            double sum = has_bias ? (double)bias[c] : 0;
            double magnitude = fabs(sum);
            for (size_t i = 0; i < n_in; i++) {
                double term = (double)x[1 + r * (n_in + 1) + i] * (double)w[c * n_in + i];
                sum += term;
                magnitude += fabs(term);
            }
            double bound = 2.0 * (double)(n_in + 1) * (double)FLT_EPSILON * magnitude + 1e-37;
            assert_true(fabs((double)out[r * stride + c] - sum) <= bound);
        }
        for (size_t c = n_cols; r + 1 < m && c < stride; c++) {
            assert_true(out[r * stride + c] == 12345.0f);
        }
    }
    check_guard(out, m * stride);
    kvl_free(x);
    kvl_free(w);
    kvl_free(bias);
    kvl_free(out);
    kvl_free(panels.data);
}

static void test_gemm_values(void **state) {
    (void)state;
    static const size_t columns[] = {1, 15, 16, 17, 31, 32, 33, 64, 70, 96, 129};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
            for (size_t m = 1; m <= 14; m++) {
                check_gemm(k, m, 1 + 7 * m, columns[c], m % 2 == 0);
            }
        }
        check_gemm(k, 3, 0, 40, true); /* nothing to sum: the bias */
        check_gemm(k, 30, 300, 64, true);
    }
}

static void test_gemm_rows_do_not_matter(void **state) {
    (void)state;
    enum { n_in = 53, n_cols = 200, max_rows = 30 };
    float *x = block(max_rows * n_in);
    float *w = block(n_cols * n_in);
    kvl_panels panels = {KVL_PANEL_F32, 0, kvl_calloc(kvl_panels_bytes(KVL_PANEL_F32, n_in, n_cols), 1)};
    fill(x, max_rows * n_in, 1, 1.0f);
    fill(w, n_cols * n_in, 2, 1.0f);
    kvl_pack_panels(panels.data, panels.type, w, n_in, n_cols);
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        float alone[max_rows * n_cols];
        float together[max_rows * n_cols];
        for (size_t r = 0; r < max_rows; r++) {
            k->gemm(alone + r * n_cols, n_cols, x + r * n_in, n_in, &panels, w, 1, n_in, n_cols);
        }
        for (size_t m = 1; m <= max_rows; m++) {
            k->gemm(together, n_cols, x, n_in, &panels, w, m, n_in, n_cols);
            assert_memory_equal(together, alone, m * n_cols * sizeof(float));
        }
        for (size_t first = 0; first < n_cols; first += KVL_PANEL_COLS) { /* one panel at a time */
            size_t width = kvl_min_size(KVL_PANEL_COLS, n_cols - first);
            kvl_panels one = panels;
            one.data = (float *)panels.data + first * n_in;
            k->gemm(together + first, n_cols, x, n_in, &one, w + first, 5, n_in, width);
        }
        assert_memory_equal(together, alone, 5 * n_cols * sizeof(float));
    }
    kvl_free(x);
    kvl_free(w);
    kvl_free(panels.data);
}

/* Products of bfloat16 pairs: values against double on the rounded numbers, and the same bits for a row alone
 * and in company, for odd lengths and narrow last panels. */
static void test_bf16_pairs(void **state) {
    (void)state;
    static const size_t lengths[] = {1, 2, 31, 64, 515, 1100};
    enum { n_cols = 70, max_rows = 27, max_in = 1100 };
    float *x = block(max_rows * max_in);
    float *w = block(n_cols * max_in);
    float *together = block(max_rows * n_cols);
    float alone[n_cols], bias[n_cols];
    fill(x, max_rows * max_in, 1, 2.0f);
    fill(w, n_cols * max_in, 2, 1.0f);
    fill(bias, n_cols, 3, 1.0f);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t n_in = lengths[i];
        const kvl_panels panels = {KVL_PANEL_BF16_PAIRS, 0,
                                   kvl_calloc(kvl_panels_bytes(KVL_PANEL_BF16_PAIRS, n_in, n_cols), 1)};
        kvl_pack_panels(panels.data, panels.type, w, n_in, n_cols);
        for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
            const kvl_kernels *k = table_of(*name);
            k->gemm(together, n_cols, x, n_in, &panels, bias, max_rows, n_in, n_cols);
            for (size_t r = 0; r < max_rows; r++) {
                k->gemm(alone, n_cols, x + r * n_in, n_in, &panels, bias, 1, n_in, n_cols);
                assert_memory_equal(alone, together + r * n_cols, sizeof alone);
                for (size_t c = 0; c < n_cols; c++) {
                    double sum = (double)bias[c];
                    double magnitude = fabs(sum);
                    for (size_t j = 0; j < n_in; j++) {
                        double term = (double)kvl_f32_of_bf16(kvl_bf16_of_f32(x[r * n_in + j])) *
                                      (double)kvl_f32_of_bf16(kvl_bf16_of_f32(w[c * n_in + j]));
                        sum += term;
                        magnitude += fabs(term);
                    }
                    double bound = 2.0 * (double)(n_in + 1) * (double)FLT_EPSILON * magnitude + 1e-37;
                    assert_true(fabs((double)alone[c] - sum) <= bound);
                }
            }
        }
        kvl_free(panels.data);
    }
    kvl_free(x);
    kvl_free(w);
    kvl_free(together);
}

static void test_pack_by_hand(void **state) {
    (void)state;
    static const float w[3 * 2] = {1, 2, 3, 4, 5, 6}; /* 3 columns of 2 */
    float panels[2 * 32];
    assert_int_equal(kvl_panels_bytes(KVL_PANEL_F32, 2, 3), 64 * sizeof(float));
    kvl_pack_panels(panels, KVL_PANEL_F32, w, 2, 3);
    assert_true(panels[0] == 1 && panels[1] == 3 && panels[2] == 5 && panels[3] == 0);
    assert_true(panels[32] == 2 && panels[33] == 4 && panels[34] == 6 && panels[63] == 0);
}

static void test_rms_norm_and_activations(void **state) {
    (void)state;
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        for (size_t n = 1; n < 70; n++) {
            float x[70], gain[70], norm[70], silu[70], cap[70], product[70];
            double squares = 0;
            fill(x, n, (unsigned)n, 6.0f);
            fill(gain, n, 3, 1.0f);
            memcpy(silu, x, sizeof x);
            memcpy(cap, x, sizeof x);
            memcpy(product, x, sizeof x);
            for (size_t i = 0; i < n; i++) {
                squares += (double)x[i] * (double)x[i];
            }
            k->rms_norm(norm, x, gain, 1e-6f, n);
            k->silu(silu, n);
            k->softcap(cap, 2.5f, n);
            k->mul(product, gain, n);
            for (size_t i = 0; i < n; i++) {
                double v = (double)x[i];
                double want = v / sqrt(squares / (double)n + 1e-6) * (double)gain[i];
                assert_true(fabs((double)norm[i] - want) <= 1e-6 * fmax(1, fabs(want)));
                assert_true(fabs((double)silu[i] - v / (1 + exp(-v))) <= 1e-6 * fmax(1, fabs(v)));
                assert_true(fabs((double)cap[i] - 2.5 * tanh(v / 2.5)) <= 2.5e-6);
                assert_true(product[i] == x[i] * gain[i]);
            }
        }
        float far[4] = {-1000, 1000, -1e-8f, 90};
        k->silu(far, 4);
        assert_true(fabsf(far[0]) < 1e-20f && far[1] == 1000 && far[3] == 90);
    }
}

static void test_layer_norm(void **state) {
    (void)state;
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (size_t n = 1; n < 300; n += n < 40 ? 1 : 37) {
            float *x = block(n);
            float *gain = block(n);
            float *shift = block(n);
            float *out = block(n);
            fill(x, n, n, 5.0f);
            fill(gain, n, 2, 1.0f);
            fill(shift, n, 3, 1.0f);
            table_of(*name)->layer_norm(out, x, gain, shift, 1e-5f, n);
            double mean = 0, var = 0;
            for (size_t i = 0; i < n; i++) {
                mean += (double)x[i] / (double)n;
            }
            for (size_t i = 0; i < n; i++) {
                var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
            }
            for (size_t i = 0; i < n; i++) {
                double want = ((double)x[i] - mean) / sqrt(var + 1e-5) * (double)gain[i] + (double)shift[i];
                assert_true(fabs((double)out[i] - want) < 2e-6);
            }
            check_guard(out, n);
            table_of(*name)->layer_norm(x, x, gain, shift, 1e-5f, n); /* in place */
            assert_memory_equal(x, out, n * sizeof(float));
            kvl_free(x);
            kvl_free(gain);
            kvl_free(shift);
            kvl_free(out);
        }
    }
}

static void test_activations_and_add(void **state) {
    (void)state;
    static const float special[] = {0.0f,   -0.0f,  1e-40f,  -1e-40f, 1e-6f, 30.0f,
                                    -30.0f, 300.0f, -300.0f, 1e30f,   -1e30f};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        for (size_t n = 0; n < 90; n++) {
            float *x = block(n);
            float *erf_out = block(n);
            float *tanh_out = block(n);
            float *sum = block(n);
            for (size_t i = 0; i < n; i++) {
                x[i] = i < sizeof special / sizeof special[0] ? special[i] : draw(n, i, 6.0f);
                erf_out[i] = tanh_out[i] = sum[i] = x[i];
            }
            k->gelu_erf(erf_out, n);
            k->gelu_tanh(tanh_out, n);
            k->add(sum, x, n);
            for (size_t i = 0; i < n; i++) {
                double v = (double)x[i];
                double bound = 1e-6 * fmax(1.0, fabs(v));
                double inner = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
                assert_true(fabs((double)erf_out[i] - 0.5 * v * (1 + erf(v / sqrt(2)))) <= bound);
                assert_true(fabs((double)tanh_out[i] - 0.5 * v * (1 + tanh(inner))) <= bound);
                assert_true(sum[i] == x[i] + x[i]);
            }
            check_guard(erf_out, n);
            check_guard(tanh_out, n);
            check_guard(sum, n);
            kvl_free(x);
            kvl_free(erf_out);
            kvl_free(tanh_out);
            kvl_free(sum);
        }
        float nan[1] = {NAN};
        k->gelu_erf(nan, 1);
        assert_true(isnan(nan[0]));
    }
}

/* All 65,536 patterns against the value that the format's definition gives. */
static void test_widening(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        int sign = bits >> 15 != 0 ? -1 : 1;
        uint32_t e16 = (bits >> 10) & 31, f16 = bits & 1023;
        float got = kvl_f32_of_f16((uint16_t)bits);
        if (e16 == 31) {
            assert_true(f16 != 0 ? isnan(got) : got == (float)sign * INFINITY);
        } else {
            double want = e16 != 0 ? ldexp(1024 + f16, (int)e16 - 25) : ldexp(f16, -24);
            assert_true((double)got == sign * want && (signbit(got) != 0) == (sign < 0));
        }
        uint32_t eb = (bits >> 7) & 255, fb = bits & 127;
        got = kvl_f32_of_bf16((uint16_t)bits);
        if (eb == 255) {
            assert_true(fb != 0 ? isnan(got) : got == (float)sign * INFINITY);
        } else {
            double want = eb != 0 ? ldexp(128 + fb, (int)eb - 134) : ldexp(fb, -133);
            assert_true((double)got == sign * want);
        }
    }
    static const uint8_t bytes[5] = {0xff, 0x00, 0x3c, 0x80, 0xbf}; /* unaligned 1.0 and, as bf16, -1.0 */
    float out[2];
    kvl_widen_f16(out, bytes + 1, 1);
    kvl_widen_bf16(out + 1, bytes + 3, 1);
    assert_true(out[0] == 1.0f && out[1] == -1.0f);
}

static void test_names(void **state) {
    (void)state;
    const kvl_kernels *k = NULL;
    kvl_err err = {0};
    assert_int_equal(kvl_kernels_get(&k, "sse9", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "found 'sse9'"));
    assert_null(k);
    assert_int_equal(kvl_kernels_get(&k, NULL, NULL), KVL_OK);
    assert_string_equal(k->name, kvl_kernels_names()[0]);
    assert_string_equal(table_of("c")->name, "c");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_values),
        cmocka_unit_test(test_gemm_rows_do_not_matter),
        cmocka_unit_test(test_bf16_pairs),
        cmocka_unit_test(test_pack_by_hand),
        cmocka_unit_test(test_rms_norm_and_activations),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_activations_and_add),
        cmocka_unit_test(test_widening),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
