/* per-layer: a budget of its own for each layer.
 *
 * Source: PerLayerCompressionPress of kvpress 0.5.5, with ratios that are kept, not removed.
 */
#include "press/policy.h"

typedef struct conf {
    kvl_numbers keep;
} conf;

static const kvl_option options[] = {
    {.name = "keep",
     .kind = KVL_OPTION_LIST,
     .offset = offsetof(conf, keep),
     .initial = "1",
     .min = 0,
     .max = 1,
     .help = "share that each layer keeps, from the first; the last number is that of all further layers"},
};

static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    const conf *c = kvl_press_conf(self);
    (void)shape;
    (void)target;
    return kvl_budget_target(c->keep.values[kvl_min_size(layer, (size_t)c->keep.n - 1)], 0, n);
}

extern const kvl_press kvl_press_per_layer;
const kvl_press kvl_press_per_layer = {
    .name = "per-layer",
    .summary = "keep a share of its own in each layer; the policy's keep and size are not used",
    .source = "kvpress 0.5.5, PerLayerCompressionPress",
    .formula = "the wrapped press's; layer l keeps ceil(keep[l] n)",
    .cost = "the wrapped press's",
    .differs =
        "ratios are kept, not removed; at least one entry stays (kvpress can empty a layer); layers beyond "
        "the list are as its last",
    .advice = "to try or to rebuild a share for each layer that was found elsewhere",
    .version = 1,
    .is_outcome = true,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .budget = budget,
};
