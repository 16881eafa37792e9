/* adakv: heads of a layer compete for its budget.
 *
 * Source: Feng et al., "Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for Efficient LLM
 * Inference", NeurIPS 2025 (arXiv 2407.11550), algorithm 1 with the safeguard of section 4.2; as in kvpress
 * 0.5.5: every head keeps at least its `alpha` best, the rest of the layer's budget goes to the best scores
 * of all heads.
 */
#include "press/press.h"
#include "press/select.h"

typedef struct conf {
    double alpha;
} conf;

static const kvl_option options[] = {
    {.name = "alpha",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, alpha),
     .initial = "0.2",
     .min = 0,
     .max = 1,
     .help = "share of its budget that each head keeps in any case"},
};

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    (void)floats;
    const conf *c = kvl_press_conf(self);
    return kvl_select_together(view, scores, c->alpha, choices, protections, scratch, err);
}

extern const kvl_press kvl_press_adakv;
const kvl_press kvl_press_adakv = {
    .name = "adakv",
    .summary = "let the heads of a layer compete for its budget",
    .source = "Feng et al. 2025, arXiv 2407.11550, algorithm 1",
    .formula =
        "the wrapped press's; each head keeps its best alpha * budget, then the best of all heads stay",
    .cost = "a selection among all K n scores of the layer; 24 bytes for each",
    .differs = "memory is freed (kvpress masks); ties: the newer entry, then the lower head",
    .advice = "around a press whose scores can be compared between heads, as snapkv; by its paper it gains "
              "most at small budgets",
    .version = 1,
    .is_ragged = true,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .select = select,
};
