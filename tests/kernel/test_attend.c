/* Attention of every table against the plain C definition and double arithmetic, and a row's bits alone and
 * in company, with lists of its own and shared ones. */
#include "guarded.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Attention over 16-bit keys and values has the bits of attention over the same numbers in f32. */
static void test_attend_narrow_types(void **state) {
    (void)state;
    enum { n = 75, max_dim = 80, n_rows = 8 };
    static const size_t dims[] = {7, 16, 64, 80};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        const size_t dim = dims[i];
        float keys[80 * max_dim], values[n * max_dim], q[n_rows * max_dim];
        float want[n_rows * max_dim], got[n_rows * max_dim];
        uint16_t *narrow_keys = kvl_calloc(80 * max_dim, sizeof(uint16_t));
        uint16_t *narrow_values = kvl_calloc(n * max_dim, sizeof(uint16_t));
        float *wide_keys = kvl_calloc(80 * max_dim, sizeof(float));
        float *wide_values = kvl_calloc(n * max_dim, sizeof(float));
        float *scratch = kvl_calloc(KVL_ATTEND_ROWS * 80, sizeof(float));
        fill(keys, 80 * dim, 1, 1.0f);
        fill(values, n * dim, 2, 1.0f);
        fill(q, n_rows * dim, 3, 1.0f);
        for (kvl_kv_type type = KVL_KV_F16; type <= KVL_KV_BF16; type++) {
            kvl_kv_narrow(narrow_keys, type, keys, 80 * dim);
            kvl_kv_narrow(narrow_values, type, values, n * dim);
            kvl_kv_widen(wide_keys, type, narrow_keys, 80 * dim);
            kvl_kv_widen(wide_values, type, narrow_values, n * dim);
            const kvl_attention wide = {
                .keys = wide_keys, .values = wide_values, .head_dim = dim, .scale = 0.3f};
            const kvl_attention narrow = {.key_type = type,
                                          .value_type = type,
                                          .keys = narrow_keys,
                                          .values = narrow_values,
                                          .head_dim = dim,
                                          .scale = 0.3f};
            for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
                kvl_attention_row rows[n_rows];
                for (size_t r = 0; r < n_rows; r++) {
                    rows[r] = (kvl_attention_row){.q = q + r * dim, .out = want + r * dim, .n = n - r};
                }
                table_of(*name)->attend(&wide, rows, n_rows, scratch);
                for (size_t r = 0; r < n_rows; r++) {
                    rows[r].out = got + r * dim;
                }
                table_of(*name)->attend(&narrow, rows, n_rows, scratch);
                assert_memory_equal(got, want, n_rows * dim * sizeof(float));
            }
        }
        kvl_free(narrow_keys);
        kvl_free(narrow_values);
        kvl_free(wide_keys);
        kvl_free(wide_values);
        kvl_free(scratch);
    }
}

/* Attention in double. */
static void check_attend(const kvl_kernels *k, size_t n, size_t dim, float spread, float scale, float softcap,
                         int32_t oldest) {
    size_t padded = kvl_round_up(n, KVL_KEY_PANEL);
    float *keys = kvl_calloc(padded, dim * sizeof(float));
    float *values = block(n * dim);
    float *q = block(dim);
    float *out = block(dim);
    float *scratch = block(padded);
    double *weights = kvl_calloc(n, sizeof *weights);
    fill(keys, padded * dim, n, spread);
    fill(values, n * dim, dim, 1.0f);
    fill(q, dim, 9, spread);
    int32_t *positions = kvl_calloc(n, sizeof *positions);
    for (size_t j = 0; j < n; j++) { /* not in order, as after compression; the last is always seen */
        positions[j] = j + 1 == n ? (int32_t)n : (int32_t)(j ^ 1);
    }
    const kvl_attention attention = {.keys = keys,
                                     .values = values,
                                     .positions = oldest > 0 ? positions : NULL,
                                     .head_dim = dim,
                                     .scale = scale,
                                     .softcap = softcap};
    k->attend(&attention, &(kvl_attention_row){.q = q, .out = out, .n = n, .oldest = oldest}, 1, scratch);
    double most = -HUGE_VAL;
    double total = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t d = 0; d < dim; d++) {
            weights[j] += (double)q[d] * (double)keys[(j / 16 * dim + d) * 16 + j % 16];
        }
        weights[j] *= (double)scale;
        weights[j] = softcap > 0 ? (double)softcap * tanh(weights[j] / (double)softcap) : weights[j];
        weights[j] = oldest > 0 && positions[j] < oldest ? -HUGE_VAL : weights[j];
        most = fmax(most, weights[j]);
    }
    for (size_t j = 0; j < n; j++) {
        weights[j] = exp(weights[j] - most);
        total += weights[j];
    }
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            sum += weights[j] / total * (double)values[j * dim + d];
        }
        assert_true(fabs((double)out[d] - sum) < 1e-5);
    }
    check_guard(out, dim);
    kvl_free(keys);
    kvl_free(values);
    kvl_free(q);
    kvl_free(out);
    kvl_free(scratch);
    kvl_free(weights);
    kvl_free(positions);
}

static void test_attend(void **state) {
    (void)state;
    static const size_t dims[] = {1, 7, 16, 20, 32, 48, 64, 80, 128};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
            float scale = 1.0f / sqrtf((float)dims[i]);
            for (size_t n = 1; n < 100; n += n < 34 ? 1 : 11) {
                check_attend(table_of(*name), n, dims[i], 1.0f, scale, 0, 0);
                check_attend(table_of(*name), n, dims[i], 1.0f, 0.0f, 0, 0); /* all weights equal */
                check_attend(table_of(*name), n, dims[i], 1.0f, -scale, 0, 0);
            }
            check_attend(table_of(*name), 513, dims[i], 4.0f, scale, 0, 0);
            for (int32_t oldest = 0; oldest < 200; oldest += 13) { /* windows and caps, alone and together */
                check_attend(table_of(*name), 200, dims[i], 2.0f, scale, 0, oldest);
                check_attend(table_of(*name), 200, dims[i], 2.0f, scale, 3, oldest);
            }
        }
    }
}

/* Lanes beyond n may hold anything finite. */
static void test_attend_ignores_padding(void **state) {
    (void)state;
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        float *keys = kvl_calloc(32, 4 * sizeof(float));
        float values[19 * 4];
        float q[4] = {1, -2, 3, -4};
        float a[4], b[4];
        float *scratch = kvl_calloc(32, sizeof(float));
        fill(values, sizeof values / sizeof values[0], 4, 1.0f);
        fill(keys, 32 * 4, 5, 1.0f);
        const kvl_attention attention = {.keys = keys, .values = values, .head_dim = 4, .scale = 0.5f};
        table_of(*name)->attend(&attention, &(kvl_attention_row){.q = q, .out = a, .n = 19}, 1, scratch);
        for (size_t d = 0; d < 4; d++) {
            for (size_t lane = 3; lane < 16; lane++) {
                keys[(4 + d) * 16 + lane] = 1e30f;
            }
        }
        table_of(*name)->attend(&attention, &(kvl_attention_row){.q = q, .out = b, .n = 19}, 1, scratch);
        assert_memory_equal(a, b, sizeof a);
        kvl_free(keys);
        kvl_free(scratch);
    }
}

/* A row's bits are the same alone and beside others that see more, less, or other windows. */
static void test_attend_rows_do_not_matter(void **state) {
    (void)state;
    enum { max_n = 90, max_dim = 80, n_rows = 13 };
    static const size_t dims[] = {7, 16, 64, 80};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
            const size_t dim = dims[i];
            float *keys = block(96 * max_dim);
            float *values = block(max_n * max_dim);
            float *scratch = kvl_calloc(KVL_ATTEND_ROWS * 96, sizeof(float));
            float q[n_rows * max_dim], alone[n_rows * max_dim], together[n_rows * max_dim];
            int32_t positions[max_n];
            kvl_attention_row rows[n_rows];
            fill(keys, 96 * dim, 1, 1.0f);
            fill(values, max_n * dim, 2, 1.0f);
            fill(q, n_rows * dim, 3, 1.0f);
            for (int32_t j = 0; j < max_n; j++) {
                positions[j] = j;
            }
            for (int windowed = 0; windowed < 2; windowed++) {
                const kvl_attention a = {.keys = keys,
                                         .values = values,
                                         .positions = windowed ? positions : NULL,
                                         .head_dim = dim,
                                         .scale = 0.3f};
                for (size_t r = 0; r < n_rows; r++) {
                    const size_t n = 1 + (r * 37 + 5) % max_n;
                    rows[r] = (kvl_attention_row){
                        .q = q + r * dim, .out = alone + r * dim, .n = n, .oldest = (int32_t)n - 20};
                    table_of(*name)->attend(&a, &rows[r], 1, scratch);
                    rows[r].out = together + r * dim;
                }
                for (size_t n = 1; n <= n_rows; n++) {
                    memset(together, 0, sizeof together);
                    table_of(*name)->attend(&a, rows, n, scratch);
                    assert_memory_equal(together, alone, n * dim * sizeof(float));
                }
            }
            kvl_free(keys);
            kvl_free(values);
            kvl_free(scratch);
        }
    }
}

/* n entries in the types of a call, at positions first, first + 1, ...; keys and values [n, D] of floats. */
typedef struct kv_list {
    void *keys, *values;
    int32_t positions[120];
} kv_list;

static void make_list(kv_list *l, const kvl_attention *a, const float *keys, const float *values,
                      int32_t first, size_t n) {
    l->keys = kvl_calloc(128 * a->head_dim, sizeof(float));
    l->values = kvl_calloc(120 * a->head_dim, sizeof(float));
    for (size_t j = 0; j < n; j++) {
        for (size_t d = 0; d < a->head_dim; d++) {
            const size_t item = (j / 16 * a->head_dim + d) * 16 + j % 16;
            kvl_kv_narrow((char *)l->keys + item * kvl_kv_bytes(a->key_type), a->key_type,
                          keys + j * a->head_dim + d, 1);
        }
        l->positions[j] = first + (int32_t)j;
    }
    kvl_kv_narrow(l->values, a->value_type, values, n * a->head_dim);
}

enum { own_rows = 13, own_dim = 80 };

/* Rows of falling n over a shared list, three of which always share a list behind it, against rows over one
 * list each. */
static void check_own(const kvl_kernels *k, kvl_attention a, bool is_windowed, size_t step) {
    static float keys[(own_rows + 1) * 60 * own_dim], values[(own_rows + 1) * 60 * own_dim];
    float q[own_rows * own_dim], out[own_rows * own_dim], want[own_rows * own_dim];
    float whole_keys[120 * own_dim], whole_values[120 * own_dim];
    kvl_attention_row rows[own_rows];
    kv_list shared, own[own_rows], whole;
    const size_t dim = a.head_dim;
    float *scratch = kvl_calloc(KVL_ATTEND_ROWS * 128, sizeof(float));
    fill(keys, sizeof keys / sizeof keys[0], 1, 1.0f);
    fill(values, sizeof values / sizeof values[0], 2, 1.0f);
    fill(q, own_rows * dim, 3, 1.0f);
    make_list(&shared, &a, keys, values, 0, 60);
    for (size_t r = 0; r < own_rows; r++) {
        const size_t n = 60 - r / 3 * step;
        const size_t n_own = r * 7 % 38 + (step == 0);
        const size_t from = (r / 3 + 1) * 60 * dim; /* of what the list of three rows holds */
        memcpy(whole_keys, keys, n * dim * sizeof(float));
        memcpy(whole_keys + n * dim, keys + from, n_own * dim * sizeof(float));
        memcpy(whole_values, values, n * dim * sizeof(float));
        memcpy(whole_values + n * dim, values + from, n_own * dim * sizeof(float));
        make_list(&whole, &a, whole_keys, whole_values, 0, n + n_own);
        make_list(&own[r], &a, keys + from, values + from, (int32_t)n, 60);
        kvl_attention alone = a;
        alone.keys = whole.keys;
        alone.values = whole.values;
        alone.positions = is_windowed ? whole.positions : NULL;
        rows[r] = (kvl_attention_row){.q = q + r * dim,
                                      .out = want + r * dim,
                                      .n = n + n_own,
                                      .oldest = (int32_t)(n + n_own) - (r % 2 == 0 ? 9 : 31)};
        k->attend(&alone, &rows[r], 1, scratch);
        rows[r].out = out + r * dim;
        rows[r].n = n;
        rows[r].n_own = n_own;
        rows[r].own_keys = own[r / 3 * 3].keys;
        rows[r].own_values = own[r / 3 * 3].values;
        rows[r].own_positions = own[r / 3 * 3].positions;
        kvl_free(whole.keys);
        kvl_free(whole.values);
    }
    a.keys = shared.keys;
    a.values = shared.values;
    a.positions = is_windowed ? shared.positions : NULL;
    for (size_t n = 1; n <= own_rows; n++) {
        memset(out, 0xff, sizeof out);
        k->attend(&a, rows, n, scratch);
        assert_memory_equal(out, want, n * dim * sizeof(float));
    }
    for (size_t r = 0; r < own_rows; r++) {
        kvl_free(own[r].keys);
        kvl_free(own[r].values);
    }
    kvl_free(shared.keys);
    kvl_free(shared.values);
    kvl_free(scratch);
}

static void test_attend_own_entries(void **state) {
    (void)state;
    static const size_t dims[] = {7, 16, 64, 80};
    static const size_t steps[] = {0, 1, 5, 11, 15}; /* 15: the last rows have own entries only */
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (size_t i = 0; i < 4 * 5 * 4; i++) {
            kvl_attention a = {.head_dim = dims[i % 4], .scale = 0.3f, .softcap = i % 3 == 0 ? 2.0f : 0};
            a.key_type = (kvl_kv_type)(i % KVL_N_KV_TYPES);
            a.value_type = (kvl_kv_type)(i / 3 % KVL_N_KV_TYPES);
            check_own(table_of(*name), a, i / 20 % 2 == 0, steps[i / 4 % 5]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attend_narrow_types),    cmocka_unit_test(test_attend),
        cmocka_unit_test(test_attend_ignores_padding), cmocka_unit_test(test_attend_rows_do_not_matter),
        cmocka_unit_test(test_attend_own_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
