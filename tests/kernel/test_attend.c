/* Attention of every table against the plain C definition and double arithmetic, and a row's bits alone and
 * in company, with lists of its own and shared ones. */
#include "guarded.h"

#include "kernel/kv_form.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { typed_n = 75, typed_dim = 128, typed_rows = 8 };

/* A list of n vectors [dim] in a type, and in f32 the numbers that it then holds. */
static void *typed_list(float **wide, kvl_kv_type type, bool is_values, size_t dim, size_t n, uint64_t seed) {
    const kvl_kv_form form = kvl_kv_form_of(type, dim, is_values);
    const kvl_kv_form wide_form = kvl_kv_form_of(KVL_KV_F32, dim, is_values);
    const size_t room = kvl_round_up(n, KVL_KEY_PANEL);
    void *list = kvl_calloc(1, kvl_kv_room_bytes(&form, room));
    float x[typed_dim];
    *wide = kvl_calloc(1, kvl_kv_room_bytes(&wide_form, room));
    for (size_t j = 0; j < n; j++) {
        fill(x, dim, seed + j, j % 7 == 0 ? 3.0f : 1.0f);
        kvl_kv_put(&form, list, j, x);
        kvl_kv_get(&form, x, list, j, 1);
        kvl_kv_put(&wide_form, *wide, j, x);
    }
    return list;
}

/* One row's attention over f32 lists, in double. */
static void check_row(const float *out, const float *q, const float *keys, const float *values, size_t dim,
                      size_t n, double scale) {
    double weights[typed_n], total = 0;
    for (size_t j = 0; j < n; j++) {
        weights[j] = 0;
        for (size_t d = 0; d < dim; d++) {
            weights[j] += (double)q[d] * (double)keys[(j / 16 * dim + d) * 16 + j % 16];
        }
        weights[j] = exp(scale * weights[j]);
        total += weights[j];
    }
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            sum += weights[j] / total * (double)values[j * dim + d];
        }
        assert_true(fabs((double)out[d] - sum) < 3e-5);
    }
}

/* Attention over keys and values of any types has the bits of attention over the same numbers in f32, and is
 * near attention in double. */
static void check_types(const kvl_kernels *k, kvl_kv_type key_type, kvl_kv_type value_type, size_t dim) {
    float q[typed_rows * typed_dim], want[typed_rows * typed_dim], got[typed_rows * typed_dim];
    float *wide_keys = NULL;
    float *wide_values = NULL;
    void *keys = typed_list(&wide_keys, key_type, false, dim, typed_n, 1);
    void *values = typed_list(&wide_values, value_type, true, dim, typed_n, 1000);
    float *scratch = kvl_calloc(KVL_ATTEND_ROWS * 80, sizeof(float));
    const kvl_attention wide = {.keys = wide_keys, .values = wide_values, .head_dim = dim, .scale = 0.3f};
    const kvl_attention typed = {.key_type = key_type,
                                 .value_type = value_type,
                                 .keys = keys,
                                 .values = values,
                                 .head_dim = dim,
                                 .scale = 0.3f};
    kvl_attention_row rows[typed_rows];
    fill(q, typed_rows * dim, 3, 1.0f);
    for (size_t r = 0; r < typed_rows; r++) {
        rows[r] = (kvl_attention_row){.q = q + r * dim, .out = want + r * dim, .n = typed_n - 3 * r};
    }
    k->attend(&wide, rows, typed_rows, scratch);
    for (size_t r = 0; r < typed_rows; r++) {
        check_row(want + r * dim, q + r * dim, wide_keys, wide_values, dim, rows[r].n, (double)wide.scale);
        rows[r].out = got + r * dim;
    }
    for (size_t n = 1; n <= typed_rows; n++) {
        memset(got, 0xff, sizeof got);
        k->attend(&typed, rows, n, scratch);
        assert_memory_equal(got, want, n * dim * sizeof(float));
    }
    kvl_free(keys);
    kvl_free(values);
    kvl_free(wide_keys);
    kvl_free(wide_values);
    kvl_free(scratch);
}

/* Attention over keys without some channels has the bits of attention over keys with zeros there. */
static void check_channels(const kvl_kernels *k, kvl_kv_type type, size_t dim, const kvl_attention_row *own) {
    enum { n_thin = 45 };
    float q[typed_rows * typed_dim], want[typed_rows * typed_dim], got[typed_rows * typed_dim];
    uint16_t channels[typed_dim];
    size_t n_channels = 0;
    for (size_t d = 0; d < dim; d++) {
        channels[n_channels] = (uint16_t)d;
        n_channels += d % 5 != 2 && d % 7 != 0;
    }
    float *wide = NULL;
    float *wide_values = NULL;
    const kvl_kv_form form = kvl_kv_form_of(type, dim, false);
    const kvl_kv_form thin_form = kvl_kv_form_of(type, n_channels, false);
    void *keys = typed_list(&wide, type, false, dim, typed_n, 1);
    void *values = typed_list(&wide_values, type, true, dim, typed_n, 1000);
    void *thin = kvl_calloc(48, kvl_kv_room_bytes(&thin_form, 1));
    float *scratch = kvl_calloc(KVL_ATTEND_ROWS * (kvl_round_up(typed_n, 16) + 32), sizeof(float));
    for (size_t j = 0; j < n_thin; j++) {
        float x[typed_dim], picked[typed_dim], zeroed[typed_dim] = {0};
        kvl_kv_get(&form, x, keys, j, 1);
        for (size_t i = 0; i < n_channels; i++) {
            picked[i] = zeroed[channels[i]] = x[channels[i]];
        }
        kvl_kv_put(&form, keys, j, zeroed);
        kvl_kv_put(&thin_form, thin, j, picked);
    }
    kvl_attention a = {.key_type = type,
                       .value_type = type,
                       .own_key_type = type,
                       .own_value_type = type,
                       .keys = keys,
                       .values = values,
                       .head_dim = dim,
                       .scale = 0.3f};
    kvl_attention_row rows[typed_rows];
    fill(q, typed_rows * dim, 3, 1.0f);
    for (size_t r = 0; r < typed_rows; r++) {
        rows[r] =
            (kvl_attention_row){.q = q + r * dim, .out = want + r * dim, .n = n_thin, .n_own = 1 + 2 * r};
        rows[r].own_keys = own->own_keys;
        rows[r].own_values = own->own_values;
    }
    k->attend(&a, rows, typed_rows, scratch);
    a.keys = thin;
    a.channels = channels;
    a.n_channels = n_channels;
    for (size_t n = 1; n <= typed_rows; n++) {
        rows[n - 1].out = got + (n - 1) * dim;
        memset(got, 0xff, sizeof got);
        k->attend(&a, rows, n, scratch);
        assert_memory_equal(got, want, n * dim * sizeof(float));
    }
    kvl_free(keys);
    kvl_free(values);
    kvl_free(wide);
    kvl_free(wide_values);
    kvl_free(thin);
    kvl_free(scratch);
}

static void test_attend_channels(void **state) {
    (void)state;
    static const size_t dims[] = {7, 16, 64, 80};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (int type = 0; type < 3 * 4; type++) {
            const size_t dim = dims[type % 4];
            float *wide[2];
            const kvl_attention_row own = {
                .own_keys = typed_list(&wide[0], (kvl_kv_type)(type / 4), false, dim, 20, 50),
                .own_values = typed_list(&wide[1], (kvl_kv_type)(type / 4), true, dim, 20, 60)};
            check_channels(table_of(*name), (kvl_kv_type)(type / 4), dim, &own);
            kvl_free((void *)own.own_keys);
            kvl_free((void *)own.own_values);
            kvl_free(wide[0]);
            kvl_free(wide[1]);
        }
    }
}

static void test_attend_types(void **state) {
    (void)state;
    static const size_t plain_dims[] = {7, 16, 64, 80};
    static const size_t block_dims[] = {32, 64, 96, 128};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (int t = 0; t < KVL_N_KV_TYPES * KVL_N_KV_TYPES; t++) {
            const kvl_kv_type key_type = (kvl_kv_type)(t / KVL_N_KV_TYPES);
            const kvl_kv_type value_type = (kvl_kv_type)(t % KVL_N_KV_TYPES);
            const bool is_plain = !kvl_kv_is_quantized(key_type) && !kvl_kv_is_quantized(value_type);
            for (size_t i = 0; i < 4; i++) {
                check_types(table_of(*name), key_type, value_type, (is_plain ? plain_dims : block_dims)[i]);
            }
        }
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

/* n entries at positions first, first + 1, ...; keys and values [n, dim] of floats. */
typedef struct kv_list {
    void *keys, *values;
    int32_t positions[120];
} kv_list;

static void make_list(kv_list *l, kvl_kv_type key_type, kvl_kv_type value_type, const float *keys,
                      const float *values, size_t dim, int32_t first, size_t n) {
    const kvl_kv_form key_form = kvl_kv_form_of(key_type, dim, false);
    const kvl_kv_form value_form = kvl_kv_form_of(value_type, dim, true);
    l->keys = kvl_calloc(128 * dim, sizeof(float));
    l->values = kvl_calloc(128 * dim, sizeof(float));
    for (size_t j = 0; j < n; j++) {
        kvl_kv_put(&key_form, l->keys, j, keys + j * dim);
        kvl_kv_put(&value_form, l->values, j, values + j * dim);
        l->positions[j] = first + (int32_t)j;
    }
}

enum { own_rows = 13, own_dim = 96 };

/* Replaces n vectors [dim] by what they are when they are stored in that type. */
static void as_stored(float *x, kvl_kv_type type, size_t n, size_t dim) {
    const kvl_kv_form form = kvl_kv_form_of(type, dim, false);
    uint8_t *list = kvl_calloc(1, kvl_kv_room_bytes(&form, 16));
    for (size_t j = 0; j < n; j++) {
        kvl_kv_put(&form, list, 0, x + j * dim);
        kvl_kv_get(&form, x + j * dim, list, 0, 1);
    }
    kvl_free(list);
}

/* Rows of falling n over a shared list, three of which always share a list behind it, of the same types or of
 * others, against rows over one list each of the same numbers in f32. */
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
    make_list(&shared, a.key_type, a.value_type, keys, values, dim, 0, 60);
    for (size_t r = 0; r < own_rows; r++) {
        const size_t n = 60 - r / 3 * step;
        const size_t n_own = r * 7 % 38 + (step == 0);
        const size_t from = (r / 3 + 1) * 60 * dim; /* of what the list of three rows holds */
        memcpy(whole_keys, keys, n * dim * sizeof(float));
        memcpy(whole_keys + n * dim, keys + from, n_own * dim * sizeof(float));
        memcpy(whole_values, values, n * dim * sizeof(float));
        memcpy(whole_values + n * dim, values + from, n_own * dim * sizeof(float));
        kvl_attention alone = {.head_dim = dim, .scale = a.scale, .softcap = a.softcap};
        as_stored(whole_keys, a.key_type, n, dim);
        as_stored(whole_keys + n * dim, a.own_key_type, n_own, dim);
        as_stored(whole_values, a.value_type, n, dim);
        as_stored(whole_values + n * dim, a.own_value_type, n_own, dim);
        make_list(&whole, KVL_KV_F32, KVL_KV_F32, whole_keys, whole_values, dim, 0, n + n_own);
        make_list(&own[r], a.own_key_type, a.own_value_type, keys + from, values + from, dim, (int32_t)n, 60);
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
    static const size_t block_dims[] = {32, 64, 96, 64};
    static const size_t steps[] = {0, 1, 5, 11, 15}; /* 15: the last rows have own entries only */
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        for (size_t i = 0; i < 4 * 5 * 8; i++) {
            kvl_attention a = {.scale = 0.3f, .softcap = i % 3 == 0 ? 2.0f : 0};
            a.key_type = (kvl_kv_type)(i % KVL_N_KV_TYPES);
            a.value_type = (kvl_kv_type)(i / 3 % KVL_N_KV_TYPES);
            a.own_key_type = i % 2 == 0 ? a.key_type : kvl_kv_wide_type(a.key_type);
            a.own_value_type = i % 2 == 0 ? a.value_type : kvl_kv_wide_type(a.value_type);
            const bool is_plain = !kvl_kv_is_quantized(a.key_type) && !kvl_kv_is_quantized(a.value_type);
            a.head_dim = (is_plain ? dims : block_dims)[i % 4];
            check_own(table_of(*name), a, i / 20 % 2 == 0, steps[i / 4 % 5]);
        }
    }
}

/* What entries receive is the same from rows over one list and from rows that find the end of it in a list of
 * their own. */
static void test_attend_mass(void **state) {
    (void)state;
    enum { n = 90, n_call = 48, dim = 64, n_rows = 5 };
    static float keys[n * dim], values[n * dim];
    float q[n_rows * dim], out[n_rows * dim];
    kv_list whole, call, own;
    float *scratch = kvl_calloc(KVL_ATTEND_ROWS * 128, sizeof(float));
    fill(keys, n * dim, 1, 1.0f);
    fill(values, n * dim, 2, 1.0f);
    fill(q, n_rows * dim, 3, 1.0f);
    make_list(&whole, KVL_KV_F32, KVL_KV_F32, keys, values, dim, 0, n);
    make_list(&call, KVL_KV_F32, KVL_KV_F32, keys, values, dim, 0, n_call);
    make_list(&own, KVL_KV_F32, KVL_KV_F32, keys + n_call * dim, values + n_call * dim, dim, n_call,
              n - n_call);
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        int64_t want[n] = {0};
        int64_t got[n] = {0};
        int64_t sum = 0;
        kvl_attention a = {.head_dim = dim, .scale = 0.2f, .mass = want};
        kvl_attention_row rows[n_rows];
        a.keys = whole.keys;
        a.values = whole.values;
        for (size_t r = 0; r < n_rows; r++) {
            rows[r] = (kvl_attention_row){.q = q + r * dim, .out = out + r * dim, .n = n - 7 * r};
        }
        table_of(*name)->attend(&a, rows, n_rows, scratch);
        a.keys = call.keys;
        a.values = call.values;
        a.mass = got;
        for (size_t r = 0; r < n_rows; r++) {
            rows[r].n_own = rows[r].n - n_call;
            rows[r].n = n_call;
            rows[r].own_keys = own.keys;
            rows[r].own_values = own.values;
        }
        table_of(*name)->attend(&a, rows, n_rows, scratch);
        assert_memory_equal(got, want, sizeof want);
        for (size_t j = 0; j < n; j++) {
            assert_true(want[j] > 0);
            sum += want[j];
        }
        assert_true(llabs(sum - (int64_t)n_rows * KVL_MASS_ONE) < KVL_MASS_ONE / 10000);
    }
    kv_list *const lists[] = {&whole, &call, &own};
    for (size_t i = 0; i < 3; i++) {
        kvl_free(lists[i]->keys);
        kvl_free(lists[i]->values);
    }
    kvl_free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attend_channels),
        cmocka_unit_test(test_attend_types),
        cmocka_unit_test(test_attend),
        cmocka_unit_test(test_attend_ignores_padding),
        cmocka_unit_test(test_attend_rows_do_not_matter),
        cmocka_unit_test(test_attend_own_entries),
        cmocka_unit_test(test_attend_mass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
