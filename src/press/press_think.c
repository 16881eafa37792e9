/* think: keys lose the channels in which queries and keys have the least energy; no entry goes.
 *
 * Source: Xu et al., "ThinK: Thinner Key Cache by Query-Driven Pruning", ICLR 2025 (arXiv 2407.21018),
 * section 3; as in kvpress 0.5.5, ThinKPress: for each channel the mean square of the last queries, after
 * rotation, over the window and the heads of the group, times the mean square of the keys. Pairs that are
 * rotated together need not stay together.
 */
#include "press/policy.h"

typedef struct conf {
    double keep;
    uint64_t window, recent;
} conf;

static const kvl_option options[] = {
    {.name = "keep",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, keep),
     .initial = "0.6",
     .min = 0,
     .max = 1,
     .help = "share of the key channels that stay"},
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "32",
     .min = 1,
     .max = 4096,
     .help = "last tokens whose queries count"},
    {.name = "recent",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, recent),
     .initial = "0",
     .min = 0,
     .max = 1 << 30,
     .help = "newest entries that keep all channels (32 in the paper, 0 in kvpress)"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)shape;
    const conf *c = kvl_press_conf(self);
    return (kvl_needs){.n_queries = (uint32_t)c->window, .is_plain = true};
}

static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    (void)self;
    (void)shape;
    (void)layer;
    (void)target;
    return n;
}

static kvl_thinning thin(const kvl_press_node *self, const kvl_shape *shape) {
    const conf *c = kvl_press_conf(self);
    return (kvl_thinning){kvl_budget_target(c->keep, 0, shape->head_dim), (size_t)c->recent};
}

/* Scores of channels, two sums for each in double, keys. */
static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return 5 * kvl_round_up(shape->head_dim, 16) + n * shape->head_dim;
}

static void add_squares(double *sums, const float *x, size_t dim) {
    for (size_t d = 0; d < dim; d++) {
        sums[d] += (double)x[d] * (double)x[d];
    }
}

static void score_channels(const kvl_press_node *self, const kvl_head_view *view, float *scores,
                           float *scratch) {
    const conf *c = kvl_press_conf(self);
    const kvl_layer_view *in = view->in;
    const size_t dim = in->shape->head_dim;
    const uint32_t group = kvl_view_group(in);
    const size_t window = kvl_view_window(in, c->window);
    double *of_queries = (double *)(void *)scratch;
    double *of_keys = of_queries + kvl_round_up(dim, 16);
    float *keys = scratch + 4 * kvl_round_up(dim, 16);
    for (size_t d = 0; d < dim; d++) {
        of_queries[d] = 0;
        of_keys[d] = 0;
    }
    for (size_t i = 0; i < group * window; i++) {
        const uint32_t head = view->head * group + (uint32_t)(i / window);
        add_squares(of_queries, kvl_view_query(in, head, in->n_seen - window + i % window), dim);
    }
    kvl_view_keys(view, keys);
    for (size_t j = 0; j < view->n; j++) {
        add_squares(of_keys, keys + j * dim, dim);
    }
    for (size_t d = 0; d < dim; d++) {
        scores[d] = (float)(of_queries[d] / (double)(group * window) * (of_keys[d] / (double)view->n));
    }
}

extern const kvl_press kvl_press_think;
const kvl_press kvl_press_think = {
    .name = "think",
    .summary = "keys lose the channels that matter least; all entries stay, the policy's budget is not used",
    .source = "Xu et al. 2024, arXiv 2407.21018, section 3; kvpress 0.5.5, ThinKPress",
    .formula = "of channels: mean over the group and the last w queries of q_c^2, times the mean over the "
               "entries of k_c^2; ceil(keep D) stay",
    .cost = "2 (H w + K n) D operations; n D floats",
    .differs = "the memory of channels is given back (kvpress writes zeros); once for each head, when the "
               "policy acts first; of equal channels the lower goes",
    .reads = "keys",
    .advice = "beside a press that chooses entries; not for quantised caches, whose keys are small anyway",
    .version = 1,
    .is_outcome = true,
    .options = options,
    .n_options = 3,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .budget = budget,
    .thin = thin,
    .score_channels = score_channels,
};
