/* block: feed the prompt block by block and compress after each, so that memory stays bounded.
 *
 * Source: the block prompt processing of Park et al., "KeyDiff: Key Similarity-Based KV Cache Eviction for
 * Long-Context LLM Inference in Resource-Constrained Environments" (arXiv 2504.15364), section 3. Here it is
 * done while the prompt is computed: after every `block` tokens the cache is cut to its final budget (size=N,
 * or keep=R of the whole prompt), so that a head never holds more than that and a block, and later tokens see
 * what is left. block-oracle is the imitation on a finished cache.
 */
#include "press/press.h"

typedef struct conf {
    uint64_t block;
} conf;

static const kvl_option options[] = {
    {.name = "block",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, block),
     .initial = "128",
     .min = 1,
     .max = 1 << 20,
     .help = "tokens of the prompt from one compression to the next"},
};

static kvl_turn turn(const kvl_press_node *self, const kvl_moment *moment) {
    const conf *c = kvl_press_conf(self);
    const bool is_due =
        moment->n_seen == moment->n_prefill ||
        (moment->n_seen < moment->n_prefill && moment->n_seen != 0 && moment->n_seen % c->block == 0);
    return (kvl_turn){is_due ? self : NULL, moment->n_prefill};
}

extern const kvl_press kvl_press_block;
const kvl_press kvl_press_block = {
    .name = "block",
    .summary = "compress after every block of the prompt: bounded memory",
    .source = "Park et al. 2025, arXiv 2504.15364, section 3",
    .formula = "the wrapped press's, of the entries that the blocks before have left",
    .cost = "the wrapped press on budget + block entries, for every block; attention over no more than these",
    .differs = "kvpress's BlockPress runs on a full prefill (here: block-oracle)",
    .advice = "For prompts longer than memory allows: a head never holds more than its budget and a block. "
              "Later tokens see what is left, so quality is that of eviction inside the prompt.",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .turn = turn,
};
