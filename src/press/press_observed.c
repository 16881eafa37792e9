/* observed: the mean attention that each key has received from the queries that could see it.
 *
 * Source: ObservedAttentionPress of kvpress 0.5.5, after Zhang et al., "H2O: Heavy-Hitter Oracle for
 * Efficient Generative Inference of Large Language Models", NeurIPS 2023 (arXiv 2306.14048). Attention is
 * summed while it is computed, so that there is no n x n matrix. See h2o for the algorithm of that paper.
 */
#include "press/press.h"

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_mass = true};
}

static void score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    (void)scratch;
    const float group = (float)kvl_view_group(view->in);
    kvl_view_mass(view, scores);
    for (size_t j = 0; j < view->n; j++) {
        scores[j] /= group * (float)(view->in->n_seen - (uint64_t)view->positions[j]);
    }
}

extern const kvl_press kvl_press_observed;
const kvl_press kvl_press_observed = {
    .name = "observed",
    .summary = "keep the keys with most attention per query that could see them",
    .source = "kvpress 0.5.5, ObservedAttentionPress; after Zhang et al. 2023, arXiv 2306.14048",
    .formula =
        "mean over the group of (attention received from all queries) / (queries that could see the entry)",
    .cost = "H n^2 / 2 additions while attention is computed; 8 bytes for each entry",
    .differs = "sums of attention are rounded to 2^-30",
    .advice = "where the whole text has voted, as for summaries; costs an addition for every weight of "
              "attention, while prefilling too",
    .version = 1,
    .needs = needs,
    .score = score,
};
