/* Caches of every type: numbers, bytes, windows of newest tokens, rotation. */
#include "support.h"

#include "base/rng.h"
#include "cache/cache.h"
#include "kernel/kv_form.h"

#include <math.h>
#include <string.h>

/* Of an independent count: blocks of 32 numbers with their scales. */
static size_t bytes_of(kvl_kv_type type, size_t n) {
    static const size_t block_bytes[KVL_N_KV_TYPES] = {128, 64, 64, 34, 18, 20, 18};
    return n * block_bytes[type] / 32;
}

/* Caches of any types: what was appended comes back rounded, and in the same bits after forks, reductions in
 * any order and growth; their bytes are those of the types. */
static void check_types(kvl_kv_type key_type, kvl_kv_type value_type, uint32_t dim) {
    static const uint32_t slots[] = {17, 3, 30, 0, 39};
    const kvl_shape typed = {
        .n_layers = 1, .n_kv_heads = 1, .head_dim = dim, .key_type = key_type, .value_type = value_type};
    kvl_cache *c = NULL;
    kvl_cache *fork = NULL;
    float *keys = kvl_calloc(40 * dim, sizeof(float));
    float *values = kvl_calloc(40 * dim, sizeof(float));
    float *seen = kvl_calloc(41 * dim, sizeof(float));
    assert_int_equal(kvl_cache_create(&c, &typed, NULL), KVL_OK);
    assert_int_equal(kvl_cache_reserve(c, 40, NULL), KVL_OK);
    for (size_t j = 0; j < 40; j++) {
        for (size_t d = 0; d < dim; d++) {
            keys[j * dim + d] = 2 * kvl_rng_unit(1, j, d) - 1;
            values[j * dim + d] = 1.0f / (float)(1 + j + d);
        }
        kvl_cache_append(c, 0, 0, keys + j * dim, values + j * dim, (int32_t)j);
    }
    const size_t entry_bytes = bytes_of(key_type, dim) + bytes_of(value_type, dim);
    assert_int_equal(kvl_cache_live_bytes(c), 40 * entry_bytes);
    assert_int_equal(kvl_cache_reserved_bytes(c), 48 * (entry_bytes + sizeof(int32_t)));
    assert_int_equal(kvl_cache_reserved_bytes(c), kvl_cache_head_bytes(&typed, false, 48));
    assert_int_equal(kvl_shape_kv_bytes(&typed), entry_bytes);
    assert_int_equal(kvl_cache_fork(&fork, c, NULL), KVL_OK);
    assert_int_equal(kvl_cache_keep(fork, 0, 0, slots, 5, NULL), KVL_OK);
    assert_int_equal(kvl_cache_reserve(fork, 40, NULL), KVL_OK);
    kvl_cache_append(fork, 0, 0, keys, values, 40);
    for (size_t part = 0; part < 2; part++) {
        const kvl_kv_form form = kvl_kv_form_of(part == 0 ? key_type : value_type, dim, part != 0);
        void *one = kvl_calloc(16, kvl_kv_room_bytes(&form, 1));
        float *want = kvl_calloc(dim, sizeof(float));
        (part == 0 ? kvl_cache_copy_keys : kvl_cache_copy_values)(fork, 0, 0, seen);
        for (size_t i = 0; i < 6; i++) {
            const size_t t = i < 5 ? slots[i] : 0;
            kvl_kv_put(&form, one, 0, (part == 0 ? keys : values) + t * dim);
            kvl_kv_get(&form, want, one, 0, 1);
            assert_memory_equal(seen + i * dim, want, dim * sizeof(float));
        }
        kvl_free(one);
        kvl_free(want);
    }
    kvl_cache_destroy(c);
    kvl_cache_destroy(fork);
    kvl_free(keys);
    kvl_free(values);
    kvl_free(seen);
}

static void test_types(void **state) {
    (void)state;
    for (int t = 0; t < KVL_N_KV_TYPES * KVL_N_KV_TYPES; t++) {
        const kvl_kv_type key_type = (kvl_kv_type)(t / KVL_N_KV_TYPES);
        const kvl_kv_type value_type = (kvl_kv_type)(t % KVL_N_KV_TYPES);
        check_types(key_type, value_type, 64);
        check_types(key_type, value_type, 96);
        if (!kvl_kv_is_quantized(key_type) && !kvl_kv_is_quantized(value_type)) {
            check_types(key_type, value_type, 7);
        }
    }
}

enum { window_dim = 32, window_tokens = 700 };

/* A head as a plain list: which token an entry is, and whether it was quantised. */
typedef struct plain_head {
    int32_t tokens[window_tokens];
    bool is_packed[window_tokens];
    size_t n;
} plain_head;

static size_t n_in_window(const plain_head *p) {
    size_t n = 0;
    while (n < p->n && !p->is_packed[p->n - 1 - n]) {
        n++;
    }
    return n;
}

static void token_vector(float *x, int32_t token, bool is_value) {
    for (size_t d = 0; d < window_dim; d++) {
        x[d] = 2 * kvl_rng_unit(is_value ? 5 : 6, (uint64_t)token, d) - 1;
    }
}

/* What a vector is after the roundings that it went through. */
static void round_vector(float *x, kvl_kv_type type, bool is_packed) {
    const kvl_kv_type stages[] = {KVL_KV_F16, type};
    for (int i = 0; i < 1 + is_packed; i++) {
        const kvl_kv_form form = kvl_kv_form_of(stages[i], window_dim, true);
        uint8_t *one = kvl_calloc(16, kvl_kv_room_bytes(&form, 1));
        kvl_kv_put(&form, one, 0, x);
        kvl_kv_get(&form, x, one, 0, 1);
        kvl_free(one);
    }
}

static void check_window(const kvl_cache *c, const kvl_shape *s, const plain_head *p) {
    float *got = kvl_calloc(window_tokens + 1, window_dim * sizeof(float));
    float want[window_dim];
    assert_int_equal(kvl_cache_len(c, 0, 0), p->n);
    for (int side = 0; side < 2; side++) {
        (side == 0 ? kvl_cache_copy_keys : kvl_cache_copy_values)(c, 0, 0, got);
        for (size_t i = 0; i < p->n; i++) {
            token_vector(want, p->tokens[i], side != 0);
            round_vector(want, side == 0 ? s->key_type : s->value_type, p->is_packed[i]);
            assert_memory_equal(got + i * window_dim, want, sizeof want);
        }
    }
    if (p->n > 3) {
        kvl_cache_copy_key_rows(c, 0, 0, p->n - 3, 3, got);
        token_vector(want, p->tokens[p->n - 2], false);
        round_vector(want, s->key_type, p->is_packed[p->n - 2]);
        assert_memory_equal(got + window_dim, want, sizeof want);
    }
    const size_t n_wide = n_in_window(p);
    assert_int_equal(kvl_cache_live_bytes(c), (p->n - n_wide) * (bytes_of(s->key_type, window_dim) +
                                                                 bytes_of(s->value_type, window_dim)) +
                                                  n_wide * 2 * bytes_of(KVL_KV_F16, window_dim));
    kvl_free(got);
}

static void append_token_to(kvl_cache *c, plain_head *p, int32_t token, uint32_t n_residual) {
    float key[window_dim], value[window_dim];
    token_vector(key, token, false);
    token_vector(value, token, true);
    kvl_cache_append(c, 0, 0, key, value, token);
    p->tokens[p->n] = token;
    p->is_packed[p->n++] = false;
    const size_t n_window = n_in_window(p);
    for (size_t i = 0; i < 16 && n_window >= n_residual + 16; i++) {
        p->is_packed[p->n - n_window + i] = true;
    }
}

/* Random appends, in passes and alone, and reductions in any order: entries are in full while they are among
 * the newest, are quantised once when they leave, and keep these bits. A counting cache has the same room. */
static void check_windows(kvl_shape s, uint64_t seed) {
    kvl_cache *c = NULL;
    kvl_cache *counting = NULL;
    plain_head p = {.n = 0};
    int32_t token = 0;
    assert_ok(kvl_cache_create(&c, &s, NULL));
    assert_ok(kvl_cache_create_counting(&counting, &s, NULL));
    for (uint64_t round = 0; round < 12; round++) {
        const size_t n_new = kvl_rng_draw(seed, 1, round) % (round % 3 == 0 ? 60 : 3);
        uint32_t slots[window_tokens];
        plain_head next = {.n = 0};
        bool is_window = true;
        assert_ok(kvl_cache_reserve(c, n_new, NULL));
        assert_ok(kvl_cache_reserve(counting, n_new, NULL));
        for (size_t i = 0; i < n_new; i++, token++) {
            append_token_to(c, &p, token, s.n_residual);
            kvl_cache_append(counting, 0, 0, NULL, NULL, 0);
        }
        check_window(c, &s, &p);
        for (uint32_t j = 0; j < p.n; j++) {
            if (kvl_rng_draw(seed, 100 + round, j) % 10 != 0) {
                slots[next.n++] = j;
            }
        }
        for (size_t i = 0; round % 4 == 3 && i < next.n / 2; i++) {
            const size_t other = next.n - 1 - i / 2; /* some places change */
            const uint32_t swap = slots[i];
            slots[i] = slots[other];
            slots[other] = swap;
        }
        for (size_t i = next.n; i-- != 0;) {
            is_window = is_window && !p.is_packed[slots[i]];
            next.tokens[i] = p.tokens[slots[i]];
            next.is_packed[i] = !is_window;
        }
        assert_ok(kvl_cache_keep(c, 0, 0, slots, next.n, NULL));
        assert_ok(kvl_cache_keep(counting, 0, 0, NULL, next.n, NULL));
        p = next;
        check_window(c, &s, &p);
        assert_int_equal(kvl_cache_reserved_bytes(counting), kvl_cache_reserved_bytes(c));
        assert_int_equal(kvl_cache_most_bytes(counting), kvl_cache_most_bytes(c));
        assert_true(kvl_cache_live_bytes(counting) >= kvl_cache_live_bytes(c));
        if (round == 6) {
            kvl_cache *fork = NULL;
            uint32_t none = 0;
            assert_int_equal(kvl_cache_stand_on(&fork, c, &none, NULL), KVL_E_CHECK);
            assert_ok(kvl_cache_fork(&fork, c, NULL));
            kvl_cache_destroy(c);
            c = fork;
            check_window(c, &s, &p);
            assert_true(kvl_cache_most_bytes(c) == kvl_cache_reserved_bytes(c));
        }
    }
    kvl_cache_destroy(c);
    kvl_cache_destroy(counting);
}

static void test_windows(void **state) {
    (void)state;
    static const uint32_t windows[] = {1, 5, 16, 40};
    for (uint64_t seed = 0; seed < 48; seed++) {
        const kvl_shape s = {.n_layers = 1,
                             .n_kv_heads = 1,
                             .head_dim = window_dim,
                             .key_type = (kvl_kv_type)(KVL_KV_Q8_0 + seed % 4),
                             .value_type = (kvl_kv_type)(KVL_KV_Q8_0 + seed / 4 % 4),
                             .n_residual = windows[seed % 3 + seed / 12 % 2]};
        check_windows(s, seed);
    }
}

/* Where passes stop does not matter, and what a head was in the middle of one can be seen. */
static void test_windows_in_passes(void **state) {
    (void)state;
    const kvl_shape s = {.n_layers = 1,
                         .n_kv_heads = 1,
                         .head_dim = window_dim,
                         .key_type = KVL_KV_Q8_0,
                         .value_type = KVL_KV_Q4_0,
                         .n_residual = 21};
    plain_head p = {.n = 0};
    plain_head q = {.n = 0};
    kvl_cache *steps = NULL;
    kvl_cache *pass = NULL;
    assert_ok(kvl_cache_create(&steps, &s, NULL));
    assert_ok(kvl_cache_create(&pass, &s, NULL));
    for (size_t first = 0; first < 600; first += 200) {
        size_t n_packed[200];
        float *rows = kvl_calloc(200 * 64, window_dim * sizeof(float)); /* of windows after each step */
        const kvl_kv_form form = kvl_kv_form_of(KVL_KV_F16, window_dim, false);
        for (size_t i = 0; i < 200; i++) {
            assert_ok(kvl_cache_reserve(steps, 1, NULL));
            append_token_to(steps, &p, (int32_t)(first + i), s.n_residual);
            const kvl_head_window w = kvl_cache_window(steps, 0, 0, p.n);
            n_packed[i] = w.n_packed;
            assert_int_equal(p.n - w.n_packed, n_in_window(&p));
            assert_int_equal(p.n - w.n_packed,
                             kvl_cache_window_len(&s, 0, p.n)); /* however it came to be so long */
            kvl_kv_get(&form, rows + i * 64 * window_dim, w.keys, 0, p.n - w.n_packed);
        }
        assert_ok(kvl_cache_reserve(pass, 200, NULL));
        for (size_t i = 0; i < 200; i++) {
            append_token_to(pass, &q, (int32_t)(first + i), s.n_residual);
        }
        for (size_t i = 0; i < 200; i++) {
            float got[64 * window_dim];
            const kvl_head_window w = kvl_cache_window(pass, 0, 0, first + i + 1);
            const size_t n = first + i + 1 - w.n_packed;
            assert_int_equal(w.n_packed, n_packed[i]);
            kvl_kv_get(&form, got, w.keys, 0, n);
            assert_memory_equal(got, rows + i * 64 * window_dim, n * window_dim * sizeof(float));
        }
        check_window(pass, &s, &p);
        kvl_free(rows);
    }
    kvl_cache_destroy(steps);
    kvl_cache_destroy(pass);
}

/* Entries come back turned back, and a changed one is what it was changed to. */
static void test_hadamard(void **state) {
    (void)state;
    for (uint32_t n_residual = 0; n_residual <= 4; n_residual += 4) {
        const kvl_shape s = {.n_layers = 1,
                             .n_kv_heads = 1,
                             .head_dim = window_dim,
                             .key_type = KVL_KV_Q8_0,
                             .value_type = KVL_KV_Q8_0,
                             .n_residual = n_residual,
                             .has_hadamard = true};
        float x[window_dim], got[50 * window_dim];
        kvl_cache *c = NULL;
        assert_ok(kvl_cache_create(&c, &s, NULL));
        assert_ok(kvl_cache_reserve(c, 50, NULL));
        for (int32_t t = 0; t < 50; t++) {
            token_vector(x, t, false);
            x[t % window_dim] = 20; /* an outlier: turned, it is spread */
            kvl_cache_append(c, 0, 0, x, x, t);
        }
        token_vector(x, 77, false);
        kvl_cache_set_key(c, 0, 0, 3, x);
        kvl_cache_set_key(c, 0, 0, 49, x);
        kvl_cache_set_value(c, 0, 0, 49, x);
        for (int side = 0; side < 2; side++) {
            (side == 0 ? kvl_cache_copy_keys : kvl_cache_copy_values)(c, 0, 0, got);
            for (int32_t t = 0; t < 50; t++) {
                const bool is_changed = t == 49 || (t == 3 && side == 0);
                token_vector(x, is_changed ? 77 : t, false);
                x[t % window_dim] = is_changed ? x[t % window_dim] : 20;
                for (int32_t d = 0; d < window_dim; d++) {
                    assert_true(fabsf(got[t * window_dim + d] - x[d]) < (is_changed ? 0.04f : 0.1f));
                }
            }
        }
        kvl_cache_destroy(c);
    }
}

/* One line says what cannot be stored. */
static void test_shapes_are_checked(void **state) {
    (void)state;
    kvl_err err = {0};
    kvl_shape s = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 80, .value_type = KVL_KV_Q4_1};
    assert_int_equal(kvl_cache_check_shape(&s, &err), KVL_E_USAGE);
    assert_string_equal(err.msg, "cache type q4_1: expected heads of a multiple of 32 dimensions, found 80");
    s.head_dim = 96;
    assert_ok(kvl_cache_check_shape(&s, NULL));
    s.has_hadamard = true;
    assert_int_equal(kvl_cache_check_shape(&s, &err), KVL_E_USAGE);
    assert_string_equal(err.msg, "--kv-hadamard: expected heads of a power of two of dimensions, found 96");
    s = (kvl_shape){.head_dim = 64, .n_residual = 3, .key_type = KVL_KV_F16};
    assert_int_equal(kvl_cache_check_shape(&s, &err), KVL_E_USAGE);
    assert_string_equal(err.msg,
                        "--kv-residual: expected a quantised cache type (-ctk, -ctv), found f16 and f32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_in_passes),
        cmocka_unit_test(test_hadamard),
        cmocka_unit_test(test_shapes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
