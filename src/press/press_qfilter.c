/* qfilter: how far a key lies in the direction of most queries.
 *
 * Source: Godey et al., "Q-Filters: Leveraging QK Geometry for Efficient Key-Value Cache Compression" (arXiv
 * 2503.02812), section 3; as in kvpress 0.5.5. The direction of a KV head is that of a calibration, its mean
 * over the group of query heads.
 */
#include "press/press.h"

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_calibration = true};
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * shape->head_dim;
}

static void score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    const size_t dim = view->in->shape->head_dim;
    const float *filter = kvl_calibration_filter(kvl_view_calibration(view->in), view->in->layer, view->head);
    kvl_view_keys(view, scratch);
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = (float)view->in->kernels->dot(filter, scratch + j * dim, dim);
    }
}

extern const kvl_press kvl_press_qfilter;
const kvl_press kvl_press_qfilter = {
    .name = "qfilter",
    .summary = "keep keys that lie in the direction of most queries",
    .source = "Godey et al. 2025, arXiv 2503.02812, section 3; kvpress 0.5.5, QFilterPress",
    .formula = "f.k, f the first singular vector of a calibration's rotated queries, on the side of most of "
               "them, mean over the group",
    .cost = "2 K n D operations; n D floats",
    .differs = "filters are made here, of all queries of kvlab's own texts (kvpress: downloaded, of 3000 "
               "queries drawn from 20 texts); ties: the newer entry stays",
    .reads = "keys",
    .advice =
        "as cheap as knorm, and of its kind: the score of an entry never changes. Protect sinks and the "
        "newest tokens (sinks=4:recent=16): it does not",
    .version = 1,
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score = score,
};
