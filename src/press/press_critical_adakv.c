/* critical-adakv: adakv shares the budget among heads, criticalkv chooses inside each.
 *
 * Source: Feng et al., "Identify Critical KV Cache in LLM Inference from an Output Perturbation Perspective"
 * (arXiv 2502.03805), section 4.3; as in kvpress 0.5.5: a head's budget is what adakv would keep of it by
 * score; of that `first` (at least adakv's safeguard) goes by score, the rest by score times norm.
 */
#include "press/critical.h"
#include "press/press.h"
#include "press/select.h"

typedef struct conf {
    double alpha, epsilon, first;
} conf;

static const kvl_option options[] = {
    {.name = "alpha",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, alpha),
     .initial = "0.2",
     .min = 0,
     .max = 1,
     .help = "share of its budget that each head keeps in any case"},
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
     .help = "share of a head's budget that goes by score alone"},
};

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const size_t own = kvl_round_up(shape->n_kv_heads * n, 16) + kvl_critical_floats(shape, n);
    return kvl_max_size(own, kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n));
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    const size_t longest = kvl_view_longest(view);
    const uint32_t n_heads = view->shape->n_kv_heads;
    KVL_TRY(kvl_select_together(view, scores, c->alpha, choices, protections, scratch, err));
    kvl_critical_norms(view, floats, floats + kvl_round_up(n_heads * longest, 16));
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        const size_t n_safe = kvl_max_size(1, (size_t)(c->alpha * (double)head->target));
        const size_t share = (size_t)((double)choices[k].n * c->first);
        KVL_TRY(kvl_critical_rescale(head, scores[k], floats + k * longest, c->epsilon,
                                     kvl_min_size(choices[k].n, kvl_max_size(n_safe, share)),
                                     choices[k].slots, scratch, err));
        KVL_TRY(kvl_select(choices[k].slots, choices[k].n, protections, scores[k], head->positions, head->n,
                           scratch, err));
    }
    return KVL_OK;
}

extern const kvl_press kvl_press_critical_adakv;
const kvl_press kvl_press_critical_adakv = {
    .name = "critical-adakv",
    .summary = "share the budget among heads as adakv, choose inside them as criticalkv",
    .source = "Feng et al. 2025, arXiv 2502.03805, section 4.3; kvpress 0.5.5, CriticalAdaKVPress",
    .formula =
        "b = what adakv keeps of a head; the best first * b (alpha * budget at least) by s, the rest by (s + "
        "epsilon) * mean over the group of |W_o v|_1",
    .cost = "2 H n D E operations, as much as the output projection of all entries; K n D floats",
    .differs =
        "memory is freed (kvpress masks); presses whose scores may be below 0 are refused; ties: the newer "
        "entry, then the lower head",
    .reads = "values, output projection",
    .advice = "around presses by attention; where heads should compete and values matter",
    .version = 1,
    .is_ragged = true,
    .n_inner = 1,
    .inner = "snapkv",
    .options = options,
    .n_options = 3,
    .conf_bytes = sizeof(conf),
    .check = kvl_critical_check,
    .scratch_floats = scratch_floats,
    .select = select,
};
