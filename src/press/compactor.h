/* The two scores that compactor blends; each is a press of its own too. Both look at entries of the tokens
 * first .. end - 1 only, give them standard scores over all heads of the layer, and leave the scores of
 * others as they are. Scratch is 64-byte aligned. */
#ifndef KVL_PRESS_COMPACTOR_H
#define KVL_PRESS_COMPACTOR_H

#include "press/press.h"

typedef struct kvli_span {
    uint64_t first, end;
} kvli_span;

static inline bool kvli_is_within(kvli_span span, int32_t position) {
    return (uint64_t)position >= span.first && (uint64_t)position < span.end;
}

/* Approximate leverage of un-rotated keys, after a projection to n_columns dimensions. */
void kvli_leverage(const kvl_layer_view *view, kvli_span span, size_t n_columns, uint64_t seed,
                   float *const *scores, float *scratch);
size_t kvli_leverage_floats(const kvl_shape *shape, size_t n, size_t n_columns);

/* Attention within chunks of `chunk` tokens, both ways, times the norms of values. Needs all queries. */
void kvli_noncausal(const kvl_layer_view *view, kvli_span span, size_t chunk, float *const *scores,
                    float *scratch);
size_t kvli_noncausal_floats(const kvl_shape *shape, size_t n, size_t chunk);

/* x becomes (x - mean) / max(standard deviation, 1e-6) for entries of the span, all heads together. */
void kvli_standardize(const kvl_layer_view *view, kvli_span span, float *const *scores);

#endif
