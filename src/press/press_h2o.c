/* h2o: heavy hitters and the newest tokens.
 *
 * Source: Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language
 * Models", NeurIPS 2023 (arXiv 2306.14048), algorithm 1 and section 5: half of the budget for the newest
 * tokens, the other half for those that have received most attention. The sum is over the queries of all
 * tokens since an entry came, of the prompt and of what was decoded, each normalised over what was held at
 * its time. Without a division by the number of queries, unlike `observed`: old entries have collected for
 * longer.
 */
#include "press/press.h"

#include <math.h>

typedef struct conf {
    double recent;
} conf;

static const kvl_option options[] = {
    {.name = "recent",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, recent),
     .initial = "0.5",
     .max = 1,
     .help = "share of the budget for the newest tokens"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_mass = true};
}

/* No sum exceeds the number of queries, so that the newest rank first with a score above that. */
static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    (void)scratch;
    const conf *c = conf_ptr;
    const uint64_t n_seen = view->in->n_seen;
    const uint64_t n_recent = (uint64_t)ceil(c->recent * (double)view->target);
    const float group = (float)kvl_view_group(view->in);
    kvl_view_mass(view, scores);
    for (size_t j = 0; j < view->n; j++) {
        const bool is_recent = (uint64_t)view->positions[j] + n_recent >= n_seen;
        scores[j] = is_recent ? (float)n_seen + 1 : scores[j] / group;
    }
}

extern const kvl_press kvl_press_h2o;
const kvl_press kvl_press_h2o = {
    .name = "h2o",
    .summary = "keep the newest tokens and those with most attention so far",
    .source = "Zhang et al. 2023, arXiv 2306.14048, algorithm 1",
    .formula = "mean over the group of the attention received from all queries so far; the last "
               "ceil(recent * budget) tokens rank before all",
    .cost = "H n^2 / 2 additions while attention is computed; 8 bytes for each entry",
    .differs =
        "heads of a group share entries, so their sums are averaged; the authors' code gives both shares "
        "of the prompt's length, here `recent` is a share of the budget; sums are rounded to 2^-30",
    .advice = "while generating, as its paper does: it goes on counting; costs an addition for every weight "
              "of attention",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .score = score,
};
