/* Aligned, zeroed, counted allocation on top of the C library. */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ullong n_calls_made;
static atomic_llong n_calls_left = -1; /* negative: never fail */

static bool must_fail(void) {
    atomic_fetch_add(&n_calls_made, 1);
    long long left = atomic_load(&n_calls_left);
    if (left < 0) {
        return false;
    }
    if (left == 0) {
        return true;
    }
    atomic_store(&n_calls_left, left - 1);
    return false;
}

void kvl_alloc_fail_after(int64_t n_calls) { atomic_store(&n_calls_left, n_calls); }
uint64_t kvl_alloc_count(void) { return atomic_load(&n_calls_made); }

void *kvl_alloc(size_t n, size_t item_bytes) {
    uint64_t n_bytes = 0;
    if (must_fail() || !kvl_mul_u64(n, item_bytes, &n_bytes) || n_bytes > PTRDIFF_MAX - KVL_ALIGN_BYTES) {
        return NULL;
    }
    return aligned_alloc(KVL_ALIGN_BYTES, kvl_round_up(kvl_max_size((size_t)n_bytes, 1), KVL_ALIGN_BYTES));
}

void *kvl_calloc(size_t n, size_t item_bytes) {
    void *block = kvl_alloc(n, item_bytes);
    if (block != NULL) { /* whole, so that the padding of an aligned block is zero too */
        memset(block, 0, kvl_round_up(kvl_max_size(n * item_bytes, 1), KVL_ALIGN_BYTES));
    }
    return block;
}

void *kvl_resize(void *block, size_t n_old, size_t n_new, size_t item_bytes) {
    void *fresh = kvl_calloc(n_new, item_bytes);
    if (fresh != NULL && block != NULL) {
        memcpy(fresh, block, kvl_min_size(n_old, n_new) * item_bytes);
        kvl_free(block);
    }
    return fresh;
}

void kvl_free(void *block) { free(block); }

char *kvl_strndup(const char *text, size_t n) {
    char *copy = n < SIZE_MAX ? kvl_calloc(n + 1, 1) : NULL;
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

char *kvl_strdup(const char *text) { return kvl_strndup(text, strlen(text)); }

kvl_status kvl_fail_nomem(kvl_err *err, const char *what) {
    return kvl_fail(err, KVL_E_NOMEM, "out of memory: %s", what);
}
