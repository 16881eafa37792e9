/* criticalkv: half of the budget by score, the rest by score times what the value does to attention's output.
 *
 * Source: Feng et al., "Identify Critical KV Cache in LLM Inference from an Output Perturbation Perspective"
 * (arXiv 2502.03805), algorithm 1; as in kvpress 0.5.5: the norm is that of a value behind the slices of the
 * output projection that read its head, mean over the group.
 */
#include "press/critical.h"
#include "press/press.h"
#include "press/select.h"

typedef struct conf {
    double epsilon, first;
} conf;

static const kvl_option options[] = {
    {.name = "epsilon",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, epsilon),
     .initial = "0.0001",
     .min = 0,
     .max = 1e6,
     .help = "added to scores before they are multiplied"},
    {.name = "first",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, first),
     .initial = "0.5",
     .min = 0,
     .max = 1,
     .help = "share of the budget that goes by score alone"},
};

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const size_t list = kvl_round_up(n, 16);
    const size_t select = kvl_round_up(kvl_select_scratch_bytes(n) / sizeof(float), 16);
    const size_t own =
        kvl_round_up(shape->n_kv_heads * n, 16) + list + select + kvl_critical_floats(shape, n);
    return kvl_max_size(own, kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n));
}

/* A score that is no number is found later: it stays. */
static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const size_t longest = kvl_view_longest(view);
    const uint32_t n_heads = view->shape->n_kv_heads;
    float *norms = scratch;
    uint32_t *slots = (uint32_t *)(void *)(norms + kvl_round_up(n_heads * longest, 16));
    float *rest = (float *)(void *)(slots + kvl_round_up(longest, 16));
    kvl_press_score_layer(kvl_press_inner(self, 0), view, scores, scratch);
    kvl_critical_norms(view, norms, rest);
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        const size_t share = (size_t)((double)head->target * c->first);
        const size_t n_first = c->first > 0 ? kvl_min_size(head->n, kvl_max_size(1, share)) : 0;
        if (kvl_critical_rescale(head, scores[k], norms + k * longest, c->epsilon, n_first, slots, rest,
                                 NULL) != KVL_OK) {
            return;
        }
    }
}

extern const kvl_press kvl_press_criticalkv;
const kvl_press kvl_press_criticalkv = {
    .name = "criticalkv",
    .summary = "weigh the second half of the budget by what values do to the output",
    .source = "Feng et al. 2025, arXiv 2502.03805, algorithm 1; kvpress 0.5.5, CriticalKVPress",
    .formula =
        "(s + epsilon) * mean over the group of |W_o v|_1, but the largest number for the best first * b of "
        "s, b the budget",
    .cost = "2 H n D E operations, as much as the output projection of all entries; K n D floats",
    .differs = "presses whose scores may be below 0 are refused: the product would turn their order (kvpress "
               "takes them); ties in the first part: the newer entry",
    .reads = "values, output projection",
    .advice =
        "around presses by attention (snapkv, expected-attention(vnorm=off)), and within adakv; values that "
        "already are in the score count twice",
    .version = 1,
    .n_inner = 1,
    .inner = "snapkv",
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .check = kvl_critical_check,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
