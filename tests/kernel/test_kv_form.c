/* Stored keys and values: ggml's roundings, and moves of entries between lists. */
#include "guarded.h"

#include "cache/cache.h"
#include "kernel/kv_form.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { n_golden = 16 * 32 };

static void floats_of_hex(float *out, const char *hex) {
    uint8_t *to = (uint8_t *)out;
    assert_int_equal(strlen(hex), n_golden * 8);
    for (size_t i = 0; i < n_golden * sizeof *out; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
}

/* The very numbers of ggml's reference quantisers (but for the sign of 0, which iq4_nl leaves to chance), as
 * keys and as values, in any lane. */
static void test_golden(void **state) {
    (void)state;
    json_t *golden = test_load_json("tests/golden/kv_quants.json");
    float x[n_golden], want[n_golden], got[n_golden];
    floats_of_hex(x, json_string_value(json_object_get(golden, "x")));
    for (kvl_kv_type type = KVL_KV_Q8_0; type < KVL_N_KV_TYPES; type++) {
        const char *name = kvl_kv_type_name(type);
        floats_of_hex(want, json_string_value(json_object_get(json_object_get(golden, "types"), name)));
        for (size_t dim = 32; dim <= 128; dim *= 2) {
            for (int side = 0; side < 2; side++) {
                const kvl_kv_form form = kvl_kv_form_of(type, dim, side != 0);
                uint8_t *list = kvl_calloc(1, kvl_kv_room_bytes(&form, 32));
                for (size_t first = 0; first < 9; first += 3) {
                    for (size_t j = 0; j < n_golden / dim; j++) {
                        kvl_kv_put(&form, list, first + j, x + j * dim);
                    }
                    kvl_kv_get(&form, got, list, first, n_golden / dim);
                    for (size_t i = 0; i < n_golden; i++) {
                        assert_true(got[i] == want[i]);
                    }
                }
                kvl_free(list);
            }
        }
    }
    json_decref(golden);
}

/* What no block can hold is NaN, so that a check of logits finds it; neighbours stay. */
static void test_extremes(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (kvl_kv_type type = KVL_KV_Q8_0; type < KVL_N_KV_TYPES; type++) {
        const kvl_kv_form form = kvl_kv_form_of(type, 64, false);
        uint8_t *list = kvl_calloc(1, kvl_kv_room_bytes(&form, 16));
        float x[64], got[64];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            fill(x, 64, i, 1.0f);
            x[5] = bad[i];
            kvl_kv_put(&form, list, 3, x);
            kvl_kv_get(&form, got, list, 3, 1);
            assert_false(fabsf(got[5]) <= FLT_MAX);
            for (size_t d = 32; d < 64; d++) {
                assert_true(fabsf(got[d] - x[d]) < 0.2f);
            }
        }
        for (float tiny = 1e-45f; tiny < 1e-30f; tiny *= 11) { /* scales that are 0 in f16 */
            fill(x, 64, 1, tiny);
            kvl_kv_put(&form, list, 3, x);
            kvl_kv_get(&form, got, list, 3, 1);
            for (size_t d = 0; d < 64; d++) {
                assert_true(got[d] == 0);
            }
        }
        kvl_free(list);
    }
}

/* Entries keep their numbers to the bit: from list to list in any order and at any place, and inside one. */
static void check_gather(const kvl_kv_form *form, uint64_t seed) {
    enum { n = 70, max_dim = 64 };
    static float want[n * max_dim], got[n * max_dim], x[max_dim];
    uint32_t slots[n];
    size_t n_kept = 0;
    uint8_t *from = kvl_calloc(1, kvl_kv_room_bytes(form, 80));
    uint8_t *to = kvl_calloc(1, kvl_kv_room_bytes(form, 96));
    for (size_t j = 0; j < n; j++) {
        fill(x, form->dim, seed * n + j, 1.0f);
        kvl_kv_put(form, from, j, x);
        if (kvl_rng_draw(seed, 1, j) % 3 != 0) {
            slots[n_kept++] = (uint32_t)j;
        }
    }
    kvl_kv_get(form, want, from, 0, n);
    for (int is_turned = 0; is_turned < 2; is_turned++) {
        const size_t first = kvl_rng_draw(seed, 2, 0) % 20;
        for (size_t i = 0; i < n_kept / 2 && is_turned != 0; i++) {
            const uint32_t swap = slots[i];
            slots[i] = slots[n_kept - 1 - i];
            slots[n_kept - 1 - i] = swap;
        }
        kvl_kv_gather(form, to, first, from, slots, n_kept);
        kvl_kv_get(form, got, to, first, n_kept);
        for (size_t i = 0; i < n_kept; i++) {
            assert_memory_equal(got + i * form->dim, want + slots[i] * form->dim, form->dim * sizeof *got);
        }
        if (is_turned == 0) { /* in place, behind entries that stay */
            size_t same = 0;
            uint8_t *self = kvl_calloc(1, kvl_kv_room_bytes(form, 80));
            memcpy(self, from, kvl_kv_room_bytes(form, 80));
            while (same < n_kept && slots[same] == same) {
                same++;
            }
            kvl_kv_gather(form, self, same, self, slots + same, n_kept - same);
            kvl_kv_get(form, got, self, 0, n_kept);
            for (size_t i = 0; i < n_kept; i++) {
                assert_memory_equal(got + i * form->dim, want + slots[i] * form->dim,
                                    form->dim * sizeof *got);
            }
            kvl_free(self);
        }
    }
    kvl_free(from);
    kvl_free(to);
}

static void test_gather(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        for (int t = 0; t < 2 * KVL_N_KV_TYPES; t++) {
            const kvl_kv_type type = (kvl_kv_type)(t / 2);
            const size_t dim = kvl_kv_is_quantized(type) ? 32 + 32 * (seed % 2) : 5 + seed;
            const kvl_kv_form form = kvl_kv_form_of(type, dim, t % 2 != 0);
            check_gather(&form, seed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_gather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
