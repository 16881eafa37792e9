/* Heads whose first keys have some channels only: numbers, moves, bytes. */
#include "support.h"

#include "cache/cache.h"

#include <string.h>

enum { dim = 7, most = 90 };

static kvl_shape shape = {.n_layers = 2, .n_heads = 2, .n_kv_heads = 2, .head_dim = dim};
static const uint16_t channels[] = {0, 2, 3, 6};
enum { n_channels = 4 };

/* Value d of the key (kind 0) or value (kind 1) of token t: exact in 16 bits too. */
static float print_of(int32_t t, uint32_t d, int kind) {
    const float x = (float)(t + 1 + (int32_t)(d % 3) * 80);
    return kind != 0 ? -x : x;
}

static bool stays(uint32_t d) {
    for (size_t i = 0; i < n_channels; i++) {
        if (channels[i] == d) {
            return true;
        }
    }
    return false;
}

static void append(kvl_cache *c, int32_t first, int32_t end) {
    for (int32_t t = first; t < end; t++) {
        assert_ok(kvl_cache_reserve(c, 1, NULL));
        for (uint32_t i = 0; i < 4; i++) {
            float key[dim], value[dim];
            for (uint32_t d = 0; d < dim; d++) {
                key[d] = print_of(t, d, 0);
                value[d] = print_of(t, d, 1);
            }
            kvl_cache_append(c, i / 2, i % 2, key, value, t);
        }
    }
}

static kvl_cache *filled(int32_t n) {
    kvl_cache *c = NULL;
    assert_ok(kvl_cache_create(&c, &shape, NULL));
    append(c, 0, n);
    return c;
}

/* Tokens from n_thin on have all channels. */
static void check_prints(const kvl_cache *c, int32_t n_thin) {
    static float keys[most * dim], values[most * dim];
    const kvl_head_entries e = kvl_cache_entries(c, 1, 1);
    kvl_cache_copy_keys(c, 1, 1, keys);
    kvl_cache_copy_values(c, 1, 1, values);
    for (size_t j = 0; j < e.n; j++) {
        for (uint32_t d = 0; d < dim; d++) {
            const int32_t t = e.positions[j];
            const float expected = t < n_thin && !stays(d) ? 0 : print_of(t, d, 0);
            assert_true(keys[j * dim + d] == expected);
            assert_true(values[j * dim + d] == print_of(t, d, 1));
        }
    }
    kvl_cache_copy_key_rows(c, 1, 1, e.n / 2, e.n - e.n / 2, values);
    assert_memory_equal(values, keys + e.n / 2 * dim, (e.n - e.n / 2) * dim * sizeof(float));
}

/* Bytes by a walk over the heads' numbers of thin and whole entries. */
static uint64_t walk(const kvl_cache *c) {
    const uint64_t item = kvl_kv_bytes(shape.key_type);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const uint64_t n = kvl_cache_len(c, i / 2, i % 2);
        const kvl_head_thin thin = kvl_cache_thin_keys(c, i / 2, i % 2);
        bytes += item * (n * dim + (n - thin.n) * dim + thin.n * thin.n_channels);
    }
    return bytes;
}

static void test_numbers_and_moves(void **state) {
    (void)state;
    for (int type = 0; type < 3; type++) {
        shape.key_type = shape.value_type = (kvl_kv_type)type;
        for (int32_t n_recent = 0; n_recent < 40; n_recent += 13) {
            kvl_cache *c = filled(45);
            kvl_cache *fork = NULL;
            const uint64_t before = kvl_cache_reserved_bytes(c);
            assert_ok(kvl_cache_thin(c, 1, 1, channels, n_channels, (size_t)n_recent, NULL));
            assert_int_equal(kvl_cache_thin_keys(c, 1, 1).n, 45 - n_recent);
            assert_int_equal(kvl_cache_live_bytes(c), walk(c));
            assert_true(n_recent > 20 || kvl_cache_reserved_bytes(c) < before);
            check_prints(c, 45 - n_recent);
            append(c, 45, 70);
            assert_ok(kvl_cache_fork(&fork, c, NULL));
            check_prints(fork, 45 - n_recent);
            assert_int_equal(kvl_cache_reserved_bytes(fork), kvl_cache_reserved_bytes(c));
            uint32_t slots[most];
            for (uint32_t i = 0; i < 35; i++) {
                slots[i] = 2 * i;
            }
            assert_ok(kvl_cache_keep(c, 1, 1, slots, 35, NULL)); /* thin ones stay thin */
            assert_int_equal(kvl_cache_thin_keys(c, 1, 1).n, (45 - n_recent + 1) / 2);
            assert_int_equal(kvl_cache_live_bytes(c), walk(c));
            check_prints(c, 45 - n_recent);
            append(c, 70, 80);
            check_prints(c, 45 - n_recent);
            check_prints(fork, 45 - n_recent);
            for (uint32_t i = 0; i < 70; i++) {
                slots[i] = 69 - i;
            }
            assert_ok(kvl_cache_keep(fork, 1, 1, slots, 70, NULL)); /* none comes first: whole, with zeros */
            assert_int_equal(kvl_cache_thin_keys(fork, 1, 1).n, 0);
            assert_int_equal(kvl_cache_live_bytes(fork), walk(fork));
            check_prints(fork, 45 - n_recent);
            append(fork, 70, 80);
            check_prints(fork, 45 - n_recent);
            kvl_cache_destroy(fork);
            kvl_cache_destroy(c);
        }
    }
    shape.key_type = shape.value_type = KVL_KV_F32;
}

/* A changed key of a thin entry keeps its channels only. */
static void test_set_key(void **state) {
    (void)state;
    kvl_cache *c = filled(20);
    float keys[20 * dim];
    const float key[dim] = {1, 2, 3, 4, 5, 6, 7};
    const float thin[dim] = {1, 0, 3, 4, 0, 0, 7};
    assert_ok(kvl_cache_thin(c, 0, 1, channels, n_channels, 3, NULL));
    kvl_cache_set_key(c, 0, 1, 16, key);
    kvl_cache_set_key(c, 0, 1, 17, key);
    kvl_cache_copy_keys(c, 0, 1, keys);
    assert_memory_equal(keys + 16 * dim, thin, sizeof thin);
    assert_memory_equal(keys + 17 * dim, key, sizeof key);
    kvl_cache_destroy(c);
}

/* The room is what its rule says; a counting cache has as much, and after a reduction no less. */
static void test_room(void **state) {
    (void)state;
    kvl_cache *c = filled(45);
    kvl_cache *counting = NULL;
    uint32_t slots[most];
    assert_ok(kvl_cache_create_counting(&counting, &shape, NULL));
    append(counting, 0, 45);
    const uint64_t whole = kvl_cache_reserved_bytes(c) / 4;
    (void)kvl_cache_most_bytes(c);
    for (uint32_t i = 0; i < 4; i++) {
        assert_ok(kvl_cache_thin(c, i / 2, i % 2, channels, n_channels, 5, NULL));
        assert_ok(kvl_cache_thin(counting, i / 2, i % 2, NULL, n_channels, 5, NULL));
    }
    const size_t cap = whole / (2 * dim * 4 + 4);
    const uint64_t thin = kvl_cache_thin_head_bytes(&shape, false, cap, 40, n_channels);
    /* by hand: values and positions, whole keys in whole panels, thin ones too, the list of channels */
    assert_int_equal(thin, cap * (dim * 4 + 4) + kvl_round_up(cap - 40, 16) * dim * 4 + 48 * 4 * 4 + 4 * 2);
    assert_int_equal(kvl_cache_reserved_bytes(c), 4 * thin);
    assert_int_equal(kvl_cache_reserved_bytes(counting), 4 * thin);
    assert_int_equal(kvl_cache_live_bytes(counting), kvl_cache_live_bytes(c));
    assert_int_equal(kvl_cache_most_bytes(c), 4 * whole);
    assert_int_equal(kvl_cache_most_bytes(c), 4 * thin);
    for (uint32_t i = 0; i < 20; i++) {
        slots[i] = i;
    }
    assert_ok(kvl_cache_keep(c, 0, 0, slots, 20, NULL));
    assert_ok(kvl_cache_keep(counting, 0, 0, NULL, 20, NULL));
    assert_true(kvl_cache_live_bytes(counting) >= kvl_cache_live_bytes(c));
    assert_true(kvl_cache_reserved_bytes(counting) >= kvl_cache_reserved_bytes(c));
    append(c, 45, 90);
    append(counting, 45, 90);
    assert_int_equal(kvl_cache_thin_keys(counting, 1, 0).n, 40);
    check_prints(c, 40);
    kvl_cache_destroy(counting);
    kvl_cache_destroy(c);
}

static void test_refusals(void **state) {
    (void)state;
    const kvl_shape quantised = {
        .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 32, .key_type = KVL_KV_Q8_0};
    kvl_cache *c = filled(20);
    kvl_cache *q = NULL;
    kvl_cache *above = NULL;
    kvl_err err = {0};
    const uint32_t n_base[] = {1, 1, 1, 1};
    assert_ok(kvl_cache_thin(c, 0, 0, channels, n_channels, 0, NULL));
    assert_int_equal(kvl_cache_thin(c, 0, 0, channels, n_channels, 0, &err), KVL_E_CHECK);
    assert_int_equal(kvl_cache_stand_on(&above, c, n_base, &err), KVL_E_CHECK);
    assert_null(above);
    assert_ok(kvl_cache_create(&q, &quantised, NULL));
    assert_int_equal(kvl_cache_thin(q, 0, 0, channels, n_channels, 0, &err), KVL_E_USAGE);
    assert_string_equal(err.msg,
                        "keys with fewer channels: expected a cache of f32, f16 or bf16, found q8_0");
    kvl_cache_destroy(q);
    kvl_cache_destroy(c);
    c = filled(20);
    kvl_alloc_fail_after(2);
    assert_int_equal(kvl_cache_thin(c, 1, 1, channels, n_channels, 0, &err), KVL_E_NOMEM);
    kvl_alloc_fail_after(-1);
    check_prints(c, 0);
    assert_ok(kvl_cache_stand_on(&above, c, n_base, NULL)); /* what stands on another is made its own */
    assert_int_equal(kvl_cache_thin(c, 1, 1, channels, n_channels, 0, &err), KVL_E_CHECK);
    append(above, 20, 30);
    assert_ok(kvl_cache_thin(above, 1, 1, channels, n_channels, 2, NULL));
    assert_int_equal(kvl_cache_thin_keys(above, 1, 1).n, 9);
    check_prints(above, 28);
    kvl_cache_destroy(above);
    kvl_cache_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_moves),
        cmocka_unit_test(test_set_key),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
