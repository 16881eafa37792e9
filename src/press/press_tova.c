/* tova: rank by the attention of the newest token.
 *
 * Source: Oren et al., "Transformers are Multi-State RNNs", EMNLP 2024 (arXiv 2401.06104), section 3.2; as in
 * kvpress 0.5.5: mean over all heads of the layer, so that its heads keep the same tokens; the newest stays.
 */
#include "press/press.h"

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.n_queries = 1};
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return kvl_view_votes_floats(shape, n);
}

/* Heads that were compressed otherwise before may hold other tokens: the mean is over those that hold one. */
static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    (void)self;
    const uint32_t n_heads = view->shape->n_kv_heads;
    for (uint32_t k = 0; k < n_heads; k++) {
        kvl_view_votes(&view->heads[k], view->n_seen - 1, view->n_seen, scores[k], scratch);
    }
    kvl_scores_mean_over_heads(view, scores);
    kvl_scores_protect(view, scores, 0, 1);
}

extern const kvl_press kvl_press_tova;
const kvl_press kvl_press_tova = {
    .name = "tova",
    .summary = "keep what the newest token attends to",
    .source = "Oren et al. 2024, arXiv 2401.06104, section 3.2",
    .formula = "attention weight of the newest token's queries, mean over all heads of the layer",
    .cost = "2 H n D operations; 8 G n floats",
    .differs = "the paper does not force the newest token to stay; kvpress does, and so does this",
    .reads = "keys",
    .advice = "while generating, at little cost: it asks one query; at the end of a prompt snapkv asks more "
              "of them",
    .version = 1,
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
