/* pyramid: lower layers keep more, upper ones less, in even steps.
 *
 * Source: Cai et al., "PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling"
 * (arXiv 2406.02069), section 4.1; in the form of kvpress 0.5.5. With b the budget of a layer in the mean:
 * least = b / beta, most = 2 b - least; where most would exceed n - window it becomes that, and least 2 b -
 * most; layer l of L keeps most - l (most - least) / (L - 1). Unless n >= most >= least >= window, all keep
 * b.
 */
#include "press/press.h"

#include <math.h>

typedef struct conf {
    uint64_t window;
    double beta;
} conf;

static const kvl_option options[] = {
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "64",
     .min = 1,
     .max = 4096,
     .help = "entries that the top layer keeps at least, and the bottom layer gives up"},
    {.name = "beta",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, beta),
     .initial = "20",
     .min = 1,
     .max = 1e6,
     .help = "mean over least budget: larger is steeper"},
};

static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    const conf *c = kvl_press_conf(self);
    const double room = (double)n - (double)c->window;
    double least = (double)target / c->beta;
    double most = 2 * (double)target - least;
    if (most >= room) {
        most = room;
        least = 2 * (double)target - most;
    }
    if (!((double)n >= most && most >= least && least >= (double)c->window)) {
        return target;
    }
    const double step = shape->n_layers > 1 ? (most - least) / (double)(shape->n_layers - 1) : 0;
    return (size_t)rint(most - (double)layer * step);
}

extern const kvl_press kvl_press_pyramid;
const kvl_press kvl_press_pyramid = {
    .name = "pyramid",
    .summary = "give lower layers more of the budget, upper ones less",
    .source = "Cai et al. 2024, arXiv 2406.02069, section 4.1; kvpress 0.5.5, PyramidKVPress",
    .formula =
        "the wrapped press's; layer l keeps most - l (most - least) / (L - 1), least = b / beta, most = "
        "2 b - least at most n - window; all keep b unless n >= most >= least >= window",
    .cost = "the wrapped press's",
    .differs = "none in the budgets (halves are rounded to even numbers); steps are counted over all layers, "
               "also where skip leaves some alone",
    .advice = "when prompts are long: below about beta * window / keep tokens every layer gets the same. "
              "Layers then have different lengths",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .budget = budget,
};
