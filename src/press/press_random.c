/* random: two different nulls for a ranking rule.
 *
 * static   a priority drawn once per key and head; re-selecting by it is a running top-K, as with every score
 * that never changes, so old winners stay for ever redrawn  fresh priorities at every compression; every
 * entry survives with the same probability, so old entries die out The two behave so differently that "random
 * eviction" without the word is not a baseline.
 */
#include "press/press.h"

#include "base/rng.h"

typedef struct conf {
    uint64_t kind; /* 0: static, 1: redrawn */
    uint64_t seed;
} conf;

static const kvl_option options[] = {
    {.name = "kind",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, kind),
     .initial = "static",
     .choices = "static|redrawn",
     .help = "priority drawn once per key, or at every compression"},
    {.name = "seed",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, seed),
     .initial = "0",
     .max = 1e15,
     .help = "seed of the draws"},
};

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    (void)scratch;
    const conf *c = conf_ptr;
    uint64_t head = (uint64_t)view->in->layer * view->in->shape->n_kv_heads + view->head;
    uint64_t event = c->kind == 0 ? 0 : view->in->event + 1;
    uint64_t seed = kvl_rng_mix(c->seed) ^ view->in->seed;
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = kvl_rng_unit(seed, kvl_rng_mix(event) ^ head, (uint64_t)view->positions[j]);
    }
}

extern const kvl_press kvl_press_random;
const kvl_press kvl_press_random = {
    .name = "random",
    .summary = "random priorities, drawn once per key (static) or at every compression (redrawn)",
    .source = "null policies; generator: SplitMix64 (Steele, Lea, Flood 2014)",
    .formula = "a number drawn for the stream, layer, head and position (redrawn: and compression)",
    .cost = "n draws per head",
    .advice = "as a control: a press that is no better than this has learnt nothing from what it reads",
    .version = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .score = score,
};
