/* The ragged cache: every entry carries a fingerprint of its token, so that a wrong move shows as a wrong
 * number. */
#include "support.h"

#include "base/rng.h"
#include "cache/cache.h"

#include <string.h>

static const kvl_shape shape = {.n_layers = 3, .n_heads = 4, .n_kv_heads = 2, .head_dim = 5};

/* Value d of the key (kind 0) or value (kind 1) of token t in a head: recognisable and exact. */
static float print_of(uint32_t layer, uint32_t head, int32_t t, uint32_t d, int kind) {
    return (float)(t * 64 + (int)(layer * 8 + head * 4 + d)) + (kind != 0 ? 0.5f : 0.25f);
}

static void append_token(kvl_cache *c, int32_t t) {
    for (uint32_t l = 0; l < shape.n_layers; l++) {
        for (uint32_t h = 0; h < shape.n_kv_heads; h++) {
            float key[5], value[5];
            for (uint32_t d = 0; d < 5; d++) {
                key[d] = print_of(l, h, t, d, 0);
                value[d] = print_of(l, h, t, d, 1);
            }
            kvl_cache_append(c, l, h, key, value, t);
        }
    }
}

static kvl_cache *filled(int32_t n) {
    kvl_cache *c = NULL;
    assert_int_equal(kvl_cache_create(&c, &shape, NULL), KVL_OK);
    for (int32_t t = 0; t < n; t++) {
        assert_int_equal(kvl_cache_reserve(c, 1, NULL), KVL_OK);
        append_token(c, t);
    }
    return c;
}

/* Every slot holds exactly what its position says. */
static void check_prints(const kvl_cache *c, uint32_t l, uint32_t h) {
    kvl_head_entries e = kvl_cache_entries(c, l, h);
    float *keys = kvl_calloc(e.n + 1, 5 * sizeof(float));
    kvl_cache_copy_keys(c, l, h, keys);
    for (size_t j = 0; j < e.n; j++) {
        for (uint32_t d = 0; d < 5; d++) {
            assert_true(keys[j * 5 + d] == print_of(l, h, e.positions[j], d, 0));
            const float *panels = e.keys;
            const float *values = e.values;
            assert_true(panels[(j / 16 * 5 + d) * 16 + j % 16] == print_of(l, h, e.positions[j], d, 0));
            assert_true(values[j * 5 + d] == print_of(l, h, e.positions[j], d, 1));
        }
    }
    kvl_free(keys);
}

static void test_append_crosses_panels(void **state) {
    (void)state;
    for (int32_t n = 0; n < 70; n += 3) {
        kvl_cache *c = filled(n);
        for (uint32_t l = 0; l < 3; l++) {
            for (uint32_t h = 0; h < 2; h++) {
                assert_int_equal(kvl_cache_len(c, l, h), n);
                check_prints(c, l, h);
            }
        }
        kvl_cache_destroy(c);
    }
}

/* Random keeps and appends against a plain list of positions. */
static void test_keep_against_list(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        kvl_cache *c = filled(0);
        int32_t list[2000];
        size_t n = 0;
        int32_t t = 0;
        for (uint64_t round = 0; round < 12; round++) {
            size_t n_new = kvl_rng_draw(seed, 1, round) % 60;
            assert_int_equal(kvl_cache_reserve(c, n_new, NULL), KVL_OK);
            for (size_t i = 0; i < n_new; i++, t++) {
                append_token(c, t);
                list[n++] = t;
            }
            uint32_t slots[2000];
            size_t n_kept = 0;
            uint64_t share = kvl_rng_draw(seed, 2, round) % 100;
            for (uint32_t j = 0; j < n; j++) {
                if (kvl_rng_draw(seed, 100 + round, j) % 100 < share) {
                    slots[n_kept++] = j;
                }
            }
            if (round % 2 == 1) { /* an order that is not ascending */
                for (size_t i = 0; i < n_kept / 2; i++) {
                    uint32_t swap = slots[i];
                    slots[i] = slots[n_kept - 1 - i];
                    slots[n_kept - 1 - i] = swap;
                }
            }
            assert_int_equal(kvl_cache_keep(c, 1, 0, slots, n_kept, NULL), KVL_OK);
            int32_t next[2000];
            for (size_t i = 0; i < n_kept; i++) {
                next[i] = list[slots[i]];
            }
            memcpy(list, next, n_kept * sizeof *next);
            n = n_kept;
            assert_int_equal(kvl_cache_len(c, 1, 0), n);
            assert_int_equal(kvl_cache_len(c, 1, 1), t); /* its neighbour is untouched: ragged */
            if (n != 0) {
                assert_memory_equal(kvl_cache_entries(c, 1, 0).positions, list, n * sizeof *list);
            }
            check_prints(c, 1, 0);
            check_prints(c, 1, 1);
        }
        kvl_cache_destroy(c);
    }
}

static void test_memory_is_given_back(void **state) {
    (void)state;
    kvl_cache *c = filled(1000);
    uint64_t full = kvl_cache_reserved_bytes(c);
    assert_int_equal(kvl_cache_live_bytes(c), 1000u * 3 * 2 * 5 * 2 * sizeof(float));
    uint32_t slots[10] = {0, 100, 200, 300, 400, 500, 600, 700, 800, 999};
    for (uint32_t l = 0; l < 3; l++) {
        for (uint32_t h = 0; h < 2; h++) {
            assert_int_equal(kvl_cache_keep(c, l, h, slots, 10, NULL), KVL_OK);
        }
    }
    assert_int_equal(kvl_cache_live_bytes(c), 10u * 3 * 2 * 5 * 2 * sizeof(float));
    assert_true(kvl_cache_reserved_bytes(c) * 20 < full);
    assert_int_equal(kvl_cache_most_bytes(c), full);
    assert_int_equal(kvl_cache_most_bytes(c), kvl_cache_reserved_bytes(c)); /* since the last call */
    assert_ok(kvl_cache_reserve_head(c, 2, 1, 1000, NULL));
    assert_int_equal(kvl_cache_most_bytes(c), kvl_cache_reserved_bytes(c));
    assert_true(kvl_cache_reserved_bytes(c) > full / 9 && kvl_cache_reserved_bytes(c) < full / 3);
    kvl_cache_destroy(c);
}

static void test_fork_is_exact_and_independent(void **state) {
    (void)state;
    kvl_cache *c = filled(40);
    kvl_cache *f = NULL;
    assert_int_equal(kvl_cache_fork(&f, c, NULL), KVL_OK);
    uint32_t slots[3] = {1, 7, 39};
    assert_int_equal(kvl_cache_keep(f, 2, 1, slots, 3, NULL), KVL_OK);
    assert_int_equal(kvl_cache_len(c, 2, 1), 40);
    assert_int_equal(kvl_cache_len(f, 2, 1), 3);
    check_prints(c, 2, 1);
    check_prints(f, 2, 1);
    kvl_cache_destroy(c);
    check_prints(f, 0, 0);
    kvl_cache_destroy(f);
}

/* Head (l, h) of c holds these positions, then `first`, `first` + 1, ..., each with its fingerprints. */
static void check_list(const kvl_cache *c, uint32_t l, uint32_t h, const int32_t *list, size_t n_list,
                       int32_t first, size_t n) {
    float keys[60 * 5], values[60 * 5];
    kvl_head_entries shared = kvl_cache_shared_entries(c, l, h);
    kvl_head_entries own = kvl_cache_entries(c, l, h);
    assert_int_equal(shared.n + own.n, n_list + n);
    assert_int_equal(kvl_cache_len(c, l, h), n_list + n);
    kvl_cache_copy_keys(c, l, h, keys);
    kvl_cache_copy_values(c, l, h, values);
    for (size_t j = 0; j < n_list + n; j++) {
        int32_t t = j < n_list ? list[j] : first + (int32_t)(j - n_list);
        assert_int_equal(j < shared.n ? shared.positions[j] : own.positions[j - shared.n], t);
        for (uint32_t d = 0; d < 5; d++) {
            assert_true(keys[j * 5 + d] == print_of(l, h, t, d, 0));
            assert_true(values[j * 5 + d] == print_of(l, h, t, d, 1));
        }
    }
}

static void append_from(kvl_cache *c, int32_t first, int32_t n) {
    assert_int_equal(kvl_cache_reserve(c, (size_t)n, NULL), KVL_OK);
    for (int32_t t = first; t < first + n; t++) {
        append_token(c, t);
    }
}

/* Two caches and a fork stand on one that is reduced to the longer prefix and given up; each goes on alone.
 */
static void test_caches_share_a_base(void **state) {
    (void)state;
    static const uint32_t slots[6] = {9, 3, 7, 0, 5, 1};
    static const int32_t ranking[6] = {9, 3, 7, 0, 5, 1};
    static const int32_t in_time[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    /* head (1, 0) is shared whole, (2, 1) not at all */
    static const uint32_t n_long[6] = {6, 6, 10, 6, 6, 0};
    static const uint32_t n_short[6] = {2, 2, 10, 2, 2, 0};
    kvl_cache *base = filled(10);
    kvl_cache *caches[3] = {NULL};
    uint64_t own_bytes = 0;
    assert_false(kvl_cache_is_base(base));
    assert_int_equal(kvl_cache_stand_on(&caches[0], base, n_long, NULL), KVL_OK);
    assert_int_equal(kvl_cache_stand_on(&caches[1], base, n_short, NULL), KVL_OK);
    assert_true(kvl_cache_is_base(base) && kvl_cache_base(caches[1]) == base);
    assert_int_equal(kvl_cache_keep(base, 0, 0, slots, 5, NULL), KVL_E_CHECK); /* 6 are shared */
    for (uint32_t i = 0; i < 6; i++) {
        if (i != 2) {
            assert_int_equal(kvl_cache_keep(base, i / 2, i % 2, slots, 6, NULL), KVL_OK);
        }
    }
    append_from(caches[1], 30, 5);
    assert_int_equal(kvl_cache_fork(&caches[2], caches[1], NULL), KVL_OK);
    own_bytes = kvl_cache_reserved_bytes(caches[1]);
    assert_int_equal(kvl_cache_reserved_bytes(caches[0]), 0);
    assert_int_equal(own_bytes, 6 * kvl_cache_head_bytes(&shape, false, 16));
    assert_int_equal(kvl_cache_live_bytes(caches[1]), (4 * 2 + 10 + 6 * 5) * 2 * 5 * sizeof(float));
    kvl_err err = {0};
    kvl_cache *other = NULL;
    assert_int_equal(kvl_cache_stand_on(&other, caches[0], n_short, &err), KVL_E_CHECK);
    assert_null(other);
    kvl_cache_destroy(base);
    append_from(caches[2], 35, 20);
    for (uint32_t i = 0; i < 6; i++) {
        const int32_t *list = i == 2 ? in_time : ranking;
        check_list(caches[0], i / 2, i % 2, list, n_long[i], 0, 0);
        check_list(caches[1], i / 2, i % 2, list, n_short[i], 30, 5);
        check_list(caches[2], i / 2, i % 2, list, n_short[i], 30, 25);
    }
    /* a head that is reduced keeps nothing of the base, and the others stay as they are */
    static const uint32_t kept[4] = {0, 1, 3, 6};
    static const int32_t survivors[4] = {9, 3, 31, 34};
    kvl_alloc_fail_after(0);
    assert_int_equal(kvl_cache_keep(caches[1], 0, 1, kept, 4, NULL), KVL_E_NOMEM);
    kvl_alloc_fail_after(-1);
    check_list(caches[1], 0, 1, ranking, 2, 30, 5);
    assert_int_equal(kvl_cache_keep(caches[1], 0, 1, kept, 4, NULL), KVL_OK);
    assert_int_equal(kvl_cache_shared_entries(caches[1], 0, 1).n, 0);
    check_list(caches[1], 0, 1, survivors, 4, 0, 0);
    check_list(caches[1], 0, 0, ranking, 2, 30, 5);
    kvl_cache_destroy(caches[1]);
    check_list(caches[0], 0, 1, ranking, 6, 0, 0);
    kvl_cache_destroy(caches[2]);
    kvl_cache_destroy(caches[0]);
}

static void test_no_memory_for_a_base(void **state) {
    (void)state;
    static const uint32_t n_base[6] = {2, 2, 2, 2, 2, 2};
    kvl_status status = KVL_E_NOMEM;
    for (int64_t k = 0; status != KVL_OK && k < 100; k++) {
        kvl_cache *base = filled(3);
        kvl_cache *above = NULL;
        kvl_cache *fork = NULL;
        kvl_alloc_fail_after(k);
        status = kvl_cache_stand_on(&above, base, n_base, NULL);
        status = status == KVL_OK ? kvl_cache_reserve(above, 1, NULL) : status;
        status = status == KVL_OK ? kvl_cache_fork(&fork, above, NULL) : status;
        status = status == KVL_OK ? kvl_cache_own(fork, 0, 0, NULL) : status;
        kvl_alloc_fail_after(-1);
        kvl_cache_destroy(above);
        kvl_cache_destroy(fork);
        assert_false(kvl_cache_is_base(base));
        kvl_cache_destroy(base);
    }
    assert_int_equal(status, KVL_OK);
}

static void test_bad_slots_are_refused(void **state) {
    (void)state;
    kvl_cache *c = filled(4);
    kvl_err err = {0};
    uint32_t beyond[1] = {4};
    assert_int_equal(kvl_cache_keep(c, 0, 0, beyond, 1, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "expected slots below 4, found 4"));
    assert_int_equal(kvl_cache_len(c, 0, 0), 4);
    kvl_cache_destroy(c);
}

/* The rules foretell the room, token by token and in jumps. */
static void test_room_is_foretold(void **state) {
    (void)state;
    for (size_t step = 1; step < 400; step += 37) {
        kvl_cache *c = filled(0);
        size_t cap = 0;
        for (size_t n = step; n < 1500; n += step) {
            assert_int_equal(kvl_cache_reserve(c, step, NULL), KVL_OK);
            for (size_t i = 0; i < step; i++) {
                append_token(c, (int32_t)(n - step + i));
            }
            cap = kvl_cache_grown_cap(cap, n);
            assert_true(cap >= n && cap % 16 == 0);
            assert_int_equal(kvl_cache_reserved_bytes(c), 6 * kvl_cache_head_bytes(&shape, false, cap));
        }
        uint32_t slots[64];
        uint64_t full = kvl_cache_reserved_bytes(c);
        for (uint32_t i = 0; i < 64; i++) {
            slots[i] = i;
        }
        assert_int_equal(kvl_cache_keep(c, 0, 0, slots, 64, NULL), KVL_OK);
        assert_int_equal(kvl_cache_kept_cap(cap, 64), 80); /* whole panels, and room for the next token */
        assert_int_equal(full - kvl_cache_reserved_bytes(c), kvl_cache_head_bytes(&shape, false, cap - 80));
        kvl_cache_destroy(c);
    }
    assert_int_equal(kvl_cache_head_bytes(&(kvl_shape){.head_dim = 5}, false, 16), 16 * (2 * 5 * 4 + 4));
    assert_int_equal(kvl_cache_kept_cap(160, 79), 80);
    assert_int_equal(kvl_cache_kept_cap(160, 80), 160); /* more than half would be used */
}

/* Replaces a cache by one that stands on it and shares half of each head. */
static void stand(kvl_cache **c) {
    kvl_cache *above = NULL;
    uint32_t n_base[6];
    for (uint32_t i = 0; i < 6; i++) {
        n_base[i] = (uint32_t)kvl_cache_len(*c, i / 2, i % 2) / 2;
    }
    assert_int_equal(kvl_cache_stand_on(&above, *c, n_base, NULL), KVL_OK);
    kvl_cache_destroy(*c);
    *c = above;
}

/* A counting cache goes through the same lengths and the same room as a real one. */
static void test_counting_goes_alike(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        kvl_cache *real = filled(0);
        kvl_cache *counting = NULL;
        uint32_t slots[2000];
        assert_int_equal(kvl_cache_create_counting(&counting, &shape, NULL), KVL_OK);
        for (uint64_t round = 0; round < 30; round++) {
            size_t n_new = kvl_rng_draw(seed, 1, round) % 40;
            uint32_t layer = (uint32_t)(kvl_rng_draw(seed, 2, round) % 3);
            assert_int_equal(kvl_cache_reserve(real, n_new, NULL), KVL_OK);
            assert_int_equal(kvl_cache_reserve(counting, n_new, NULL), KVL_OK);
            for (size_t i = 0; i < n_new; i++) {
                append_token(real, (int32_t)i);
                append_token(counting, (int32_t)i);
            }
            size_t n = kvl_cache_len(real, layer, 1);
            size_t n_kept = n != 0 ? kvl_rng_draw(seed, 3, round) % (n + 1) : 0;
            for (uint32_t i = 0; i < n_kept; i++) {
                slots[i] = round % 2 == 0 ? i : (uint32_t)n_kept - 1 - i;
            }
            assert_int_equal(kvl_cache_keep(real, layer, 1, slots, n_kept, NULL), KVL_OK);
            assert_int_equal(kvl_cache_keep(counting, layer, 1, NULL, n_kept, NULL), KVL_OK);
            if (round == 15) {
                kvl_cache *fork = NULL;
                assert_int_equal(kvl_cache_fork(&fork, counting, NULL), KVL_OK);
                kvl_cache_destroy(counting);
                counting = fork;
            }
            if (round == 20) {
                stand(&real);
                stand(&counting);
            }
            for (uint32_t l = 0; l < 3; l++) {
                for (uint32_t h = 0; h < 2; h++) {
                    assert_int_equal(kvl_cache_len(counting, l, h), kvl_cache_len(real, l, h));
                }
            }
            assert_true(kvl_cache_reserved_bytes(counting) == kvl_cache_reserved_bytes(real));
            assert_true(kvl_cache_live_bytes(counting) == kvl_cache_live_bytes(real));
            const uint64_t most = kvl_cache_most_bytes(counting);
            assert_true(kvl_cache_most_bytes(real) == most || round == 15); /* a fork has no past */
        }
        kvl_cache_destroy(real);
        kvl_cache_destroy(counting);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    for (int64_t k = 0; k < 40; k++) {
        kvl_cache *c = NULL;
        kvl_cache *f = NULL;
        uint32_t slots[1] = {0};
        kvl_alloc_fail_after(k);
        kvl_status status = kvl_cache_create(&c, &shape, NULL);
        status = status == KVL_OK ? kvl_cache_reserve(c, 40, NULL) : status;
        status = status == KVL_OK ? kvl_cache_fork(&f, c, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        if (status == KVL_OK) { /* a keep that cannot allocate leaves the head as it was */
            append_token(c, 0);
            append_token(c, 1);
            kvl_alloc_fail_after(0);
            kvl_status keep_status = kvl_cache_keep(c, 0, 0, slots, 1, NULL);
            kvl_alloc_fail_after(-1);
            assert_int_equal(kvl_cache_len(c, 0, 0), keep_status == KVL_OK ? 1 : 2);
            check_prints(c, 0, 0);
        }
        kvl_cache_destroy(c);
        kvl_cache_destroy(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_crosses_panels), cmocka_unit_test(test_keep_against_list),
        cmocka_unit_test(test_memory_is_given_back),  cmocka_unit_test(test_fork_is_exact_and_independent),
        cmocka_unit_test(test_caches_share_a_base),   cmocka_unit_test(test_no_memory_for_a_base),
        cmocka_unit_test(test_bad_slots_are_refused), cmocka_unit_test(test_room_is_foretold),
        cmocka_unit_test(test_counting_goes_alike),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
