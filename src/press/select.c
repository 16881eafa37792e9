/* Selection by a total order, so that the result does not depend on the method: every entry has a key of its
 * own, larger = keep, and those that stay are the keys from the target-th largest on. */
#include "press/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    uint64_t key;
    uint32_t slot;
} candidate;

size_t kvl_select_scratch_bytes(size_t n) { return n * (sizeof(candidate) + sizeof(uint64_t)); }

/* The nth largest (from 1) of n distinct keys, which are reordered: split at the highest bit in which any
 * differ, at most 64 times. */
static uint64_t nth_largest(uint64_t *keys, size_t n, size_t nth) {
    while (n > 1) {
        uint64_t differ = 0;
        size_t n_high = 0;
        for (size_t i = 1; i < n; i++) {
            differ |= keys[i] ^ keys[0];
        }
        if (differ == 0) {
            break;
        }
        const unsigned bit = 63u - (unsigned)__builtin_clzll(differ);
        for (size_t i = 0; i < n; i++) { /* without a branch: which way a key goes cannot be foreseen */
            const uint64_t key = keys[i];
            keys[i] = keys[n_high];
            keys[n_high] = key;
            n_high += key >> bit & 1;
        }
        if (nth <= n_high) {
            n = n_high;
        } else {
            keys += n_high;
            nth -= n_high;
            n -= n_high;
        }
    }
    return keys[0];
}

/* Bits in the order of the numbers; -0 equals 0. */
static uint32_t ordered_bits(float x) {
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 != 0 ? ~bits : bits | 1u << 31;
}

/* Position from which on entries count among the newest n_recent. */
static int64_t recent_from(uint64_t *keys, const int32_t *positions, size_t n, uint64_t n_recent) {
    if (n_recent == 0) {
        return INT64_MAX;
    }
    if (n_recent >= n) {
        return INT64_MIN;
    }
    for (size_t j = 0; j < n; j++) {
        keys[j] = (uint64_t)positions[j];
    }
    return (int64_t)nth_largest(keys, n, (size_t)n_recent);
}

static int by_key(const void *a, const void *b) {
    return ((const candidate *)a)->key < ((const candidate *)b)->key ? -1 : 1;
}

/* The candidates in the order in which they are stored; they come by slot. */
static void sort(candidate *list, size_t n, bool is_score_order, const int32_t *positions) {
    bool is_sorted = true;
    for (size_t j = 0; j < n; j++) {
        list[j].key = is_score_order ? ~list[j].key : (uint64_t)positions[list[j].slot];
        is_sorted = is_sorted && (j == 0 || list[j].key > list[j - 1].key);
    }
    if (!is_sorted) {
        qsort(list, n, sizeof *list, by_key);
    }
}

/* The key of each entry of a head: protected ones above all scores (bit 63; sinks bit 62 too), then scores,
 * then the newer. spare [n] is overwritten. */
static kvl_status make_keys(uint64_t *keys, const kvl_protections *protections, const float *scores,
                            const int32_t *positions, size_t n, uint64_t *spare, kvl_err *err) {
    const int64_t newest = recent_from(spare, positions, n, protections->n_recent);
    for (size_t j = 0; j < n; j++) {
        if (isnan(scores[j])) {
            return kvl_fail(err, KVL_E_CHECK, "expected a number as score of slot %zu, found NaN", j);
        }
        const uint64_t rank = (uint64_t)positions[j] < protections->n_sinks ? 3
                              : positions[j] >= newest                      ? 2
                                                                            : 0;
        const uint64_t score = rank != 0 ? 0 : ordered_bits(scores[j]);
        keys[j] = rank << 62 | score << 31 | (uint64_t)positions[j];
    }
    return KVL_OK;
}

kvl_status kvl_select(uint32_t *slots, size_t target, const kvl_protections *protections, const float *scores,
                      const int32_t *positions, size_t n, void *scratch, kvl_err *err) {
    candidate *list = scratch;
    uint64_t *keys = (uint64_t *)(list + n);
    size_t n_kept = 0;
    KVL_TRY(make_keys(keys, protections, scores, positions, n, keys, err));
    for (size_t j = 0; j < n; j++) {
        list[j] = (candidate){.key = keys[j], .slot = (uint32_t)j};
    }
    const uint64_t least = nth_largest(keys, n, target);
    for (size_t j = 0; n_kept < target; j++) {
        list[n_kept] = list[j];
        n_kept += list[j].key >= least;
    }
    sort(list, n_kept, protections->is_score_order, positions);
    for (size_t j = 0; j < n_kept; j++) {
        slots[j] = list[j].slot;
    }
    return KVL_OK;
}

kvl_status kvl_select_heads(const kvl_layer_view *view, float *const *scores, kvl_choice *choices,
                            const kvl_protections *protections, void *scratch, kvl_err *err) {
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        choices[k].n = head->target;
        KVL_TRY(kvl_select(choices[k].slots, head->target, protections, scores[k], head->positions, head->n,
                           scratch, err));
    }
    return KVL_OK;
}

/* ---- heads that compete ---- */

/* Keys of all heads, one after another; those of each head's safe entries become the largest there are. */
static kvl_status make_all_keys(uint64_t *keys, uint64_t *spare, const kvl_head_view *heads, size_t n_heads,
                                float *const *scores, double alpha, const kvl_protections *protections,
                                kvl_err *err) {
    for (size_t k = 0; k < n_heads; k++) {
        const kvl_head_view *head = &heads[k];
        const size_t n_safe = kvl_max_size(1, (size_t)(alpha * (double)head->target));
        KVL_TRY(make_keys(keys, protections, scores[k], head->positions, head->n, spare, err));
        memcpy(spare, keys, head->n * sizeof *keys);
        const uint64_t least = nth_largest(spare, head->n, kvl_min_size(n_safe, head->n));
        for (size_t j = 0; j < head->n; j++) {
            keys[j] = keys[j] >= least ? UINT64_MAX : keys[j];
        }
        keys += head->n;
    }
    return KVL_OK;
}

kvl_status kvl_select_among(const kvl_head_view *heads, size_t n_heads, float *const *scores, double alpha,
                            kvl_choice *choices, const kvl_protections *protections, void *scratch,
                            kvl_err *err) {
    size_t n = 0;
    size_t target = 0;
    for (size_t k = 0; k < n_heads; k++) {
        n += heads[k].n;
        target += heads[k].target;
    }
    uint64_t *keys = scratch;
    uint64_t *spare = keys + n;
    KVL_TRY(make_all_keys(keys, spare, heads, n_heads, scores, alpha, protections, err));
    memcpy(spare, keys, n * sizeof *keys);
    const uint64_t least = nth_largest(spare, n, target);
    size_t n_equal = target; /* that still may stay */
    for (size_t i = 0; i < n; i++) {
        n_equal -= keys[i] > least;
    }
    for (size_t k = 0; k < n_heads; k++) {
        choices[k].n = 0;
        for (size_t j = 0; j < heads[k].n; j++, keys++) {
            const bool is_last = *keys == least && n_equal != 0;
            n_equal -= is_last;
            if (is_last || *keys > least) {
                choices[k].slots[choices[k].n++] = (uint32_t)j;
            }
        }
    }
    return KVL_OK;
}

kvl_status kvl_select_together(const kvl_layer_view *view, float *const *scores, double alpha,
                               kvl_choice *choices, const kvl_protections *protections, void *scratch,
                               kvl_err *err) {
    return kvl_select_among(view->heads, view->shape->n_kv_heads, scores, alpha, choices, protections,
                            scratch, err);
}
