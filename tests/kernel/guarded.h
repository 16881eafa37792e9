/* Random arrays with guards behind them, for tests of kernels. */
#ifndef KVL_TESTS_GUARDED_H
#define KVL_TESTS_GUARDED_H

#include "support.h"

#include "base/rng.h"
#include "kernel/kernel.h"

enum { guard = 8 };

static inline const kvl_kernels *table_of(const char *name) {
    const kvl_kernels *k = NULL;
    assert_int_equal(kvl_kernels_get(&k, name, NULL), KVL_OK);
    return k;
}

static inline float *block(size_t n) {
    float *x = kvl_calloc(n + 2 * guard, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n + 2 * guard; i++) {
        x[i] = 12345.0f;
    }
    return x;
}

static inline void check_guard(const float *x, size_t n) {
    for (size_t i = 0; i < guard; i++) {
        assert_true(x[n + i] == 12345.0f);
    }
}

static inline float draw(uint64_t seed, uint64_t i, float scale) {
    return scale * (2.0f * kvl_rng_unit(seed, 77, i) - 1.0f);
}

static inline void fill(float *x, size_t n, uint64_t seed, float scale) {
    for (size_t i = 0; i < n; i++) {
        x[i] = draw(seed, i, scale);
    }
}

#endif
