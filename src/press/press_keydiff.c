/* keydiff: drop the keys that look like the average key of their head.
 *
 * Source: Park et al., "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in
 * Resource-Constrained Environments", 2025 (arXiv 2504.15364); as in kvpress 0.5.5. The paper
 * compresses block by block while it reads: block(keydiff).
 */
#include "press/press.h"

#include <math.h>

/* Keys, and the mean of unit keys in double behind them. */
static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return kvl_round_up(n * shape->head_dim, 16) + 2 * (size_t)shape->head_dim;
}

static void score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    const size_t dim = view->in->shape->head_dim;
    double *anchor = (double *)(void *)(scratch + kvl_round_up(view->n * dim, 16));
    double squares = 0;
    kvl_view_keys(view, scratch);
    for (size_t d = 0; d < dim; d++) {
        anchor[d] = 0;
    }
    for (size_t j = 0; j < view->n; j++) {
        const float *key = scratch + j * dim;
        const double norm = sqrt(view->in->kernels->dot(key, key, dim));
        for (size_t d = 0; norm > 0 && d < dim; d++) {
            anchor[d] += (double)key[d] / norm;
        }
    }
    for (size_t d = 0; d < dim; d++) {
        anchor[d] /= (double)view->n;
        squares += anchor[d] * anchor[d];
    }
    for (size_t j = 0; j < view->n; j++) {
        const float *key = scratch + j * dim;
        const double norms = sqrt(view->in->kernels->dot(key, key, dim) * squares);
        double product = 0;
        for (size_t d = 0; d < dim; d++) {
            product += (double)key[d] * anchor[d];
        }
        scores[j] = norms > 0 ? (float)(-product / norms) : 0;
    }
}

extern const kvl_press kvl_press_keydiff;
const kvl_press kvl_press_keydiff = {
    .name = "keydiff",
    .summary = "keep the keys that differ most from the average key",
    .source = "Park et al. 2025, arXiv 2504.15364; kvpress 0.5.5, KeyDiffPress",
    .formula = "-cos(key, mean of all keys at unit length)",
    .cost = "6 K n D operations; n D floats",
    .differs = "sums are in double; a key of zeros, or one where the average is zero, scores 0",
    .reads = "keys",
    .advice = "where no queries may be had; looks at keys only, and keeps those unlike the rest; its paper "
              "compresses while it reads: block(keydiff)",
    .version = 1,
    .is_signed = true,
    .scratch_floats = scratch_floats,
    .score = score,
};
