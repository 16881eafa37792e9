/* Selection by a total order, so that the result does not depend on the sorting method. */
#include "press/select.h"

#include <math.h>
#include <stdlib.h>

typedef struct candidate {
    int32_t rank; /* 2: sink, 1: protected recent, 0: by score */
    float score;
    int32_t position;
    uint32_t slot;
} candidate;

size_t kvl_select_scratch_bytes(size_t n) { return n * sizeof(candidate); }

static int by_rank(const void *a_ptr, const void *b_ptr) {
    const candidate *a = a_ptr;
    const candidate *b = b_ptr;
    if (a->rank != b->rank) {
        return a->rank > b->rank ? -1 : 1;
    }
    if (a->rank == 0 && a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->position > b->position ? -1 : 1;
}

static int by_position(const void *a_ptr, const void *b_ptr) {
    const candidate *a = a_ptr;
    const candidate *b = b_ptr;
    return a->position < b->position ? -1 : 1;
}

/* Position from which on entries count among the newest n_recent of the list. */
static int64_t recent_from(candidate *list, size_t n, uint64_t n_recent) {
    if (n_recent == 0) {
        return INT64_MAX;
    }
    if (n_recent >= n) {
        return INT64_MIN;
    }
    bool is_in_time_order = true;
    for (size_t j = 1; j < n && is_in_time_order; j++) {
        is_in_time_order = list[j].position > list[j - 1].position;
    }
    if (!is_in_time_order) {
        qsort(list, n, sizeof *list, by_position);
    }
    return list[n - n_recent].position;
}

kvl_status kvl_select(uint32_t *slots, size_t target, const kvl_policy *policy, const float *scores,
                      const int32_t *positions, size_t n, void *scratch, kvl_err *err) {
    candidate *list = scratch;
    for (size_t j = 0; j < n; j++) {
        if (isnan(scores[j])) {
            return kvl_fail(err, KVL_E_CHECK, "press %s: expected a number as score of slot %zu, found NaN",
                            policy->press->name, j);
        }
        list[j] = (candidate){.score = scores[j], .position = positions[j], .slot = (uint32_t)j};
    }
    int64_t newest = recent_from(list, n, policy->n_recent);
    for (size_t j = 0; j < n; j++) {
        bool is_sink = (uint64_t)list[j].position < policy->n_sinks;
        list[j].rank = is_sink ? 2 : list[j].position >= newest ? 1 : 0;
    }
    qsort(list, n, sizeof *list, by_rank);
    if (!policy->is_score_order) {
        qsort(list, target, sizeof *list, by_position);
    }
    for (size_t j = 0; j < target; j++) {
        slots[j] = list[j].slot;
    }
    return KVL_OK;
}
