/* duo-attention: heads that look far back keep everything, the others the first and the newest tokens.
 *
 * Source: Xiao et al., "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming
 * Heads" (arXiv 2410.10819), section 2; with the head scores that kvpress 0.5.5 computes on the fly, here
 * those of a calibration. The heads with the lowest scores of all layers are streaming heads. They really
 * lose their other entries, at every compression, so that they hold as many at any length. How much stays
 * follows from the options and the calibration; the policy's keep and size are not used.
 */
#include "press/press.h"

#include <math.h>

typedef struct conf {
    double heads;
    uint64_t sinks, recent;
} conf;

static const kvl_option options[] = {
    {.name = "heads",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, heads),
     .initial = "0.5",
     .max = 1,
     .help = "share of all KV heads that keep first and newest tokens only"},
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "128",
     .max = 1e9,
     .help = "first tokens that these keep"},
    {.name = "recent",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, recent),
     .initial = "256",
     .min = 1,
     .max = 1e9,
     .help = "newest tokens that these keep"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_calibration = true};
}

static bool spares(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, uint32_t head) {
    const conf *c = kvl_press_conf(self);
    const double n_streaming = rint(c->heads * (double)shape->n_layers * (double)shape->n_kv_heads);
    return shape->calibration == NULL ||
           (double)kvl_calibration_rank(shape->calibration, layer, head) >= n_streaming;
}

static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    (void)shape;
    (void)layer;
    (void)target;
    const conf *c = kvl_press_conf(self);
    return kvl_min_size(n, (size_t)(c->sinks + c->recent));
}

static void score(const void *config, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = config;
    (void)scratch;
    for (size_t j = 0; j < view->n; j++) {
        const uint64_t position = (uint64_t)view->positions[j];
        scores[j] = position < c->sinks || position + c->recent >= view->in->n_seen ? 1 : 0;
    }
}

extern const kvl_press kvl_press_duo_attention;
const kvl_press kvl_press_duo_attention = {
    .name = "duo-attention",
    .summary = "heads that look far back keep everything, the others first and newest tokens",
    .source = "Xiao et al. 2024, arXiv 2410.10819, section 2; kvpress 0.5.5, DuoAttentionPress with "
              "on_the_fly_scoring",
    .formula = "of streaming heads, the round(heads L K) that look back least: 1 for the first `sinks` and "
               "the newest `recent` tokens, else 0",
    .cost = "K n operations",
    .differs =
        "streaming heads are really cut, and again while decoding (kvpress masks them, after the prompt "
        "only); keep and size are not used; attention's own scale; head scores are made here, of kvlab's "
        "own texts. Patterns that its authors trained are not read",
    .advice = "for long prompts: it frees up to heads * (1 - (sinks + recent) / n), nothing below sinks + "
              "recent tokens. Lengths are known beforehand: plans of it are exact",
    .version = 1,
    .is_outcome = true,
    .is_outermost = true,
    .options = options,
    .n_options = 3,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .spares = spares,
    .budget = budget,
    .score = score,
};
