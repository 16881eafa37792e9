/* simlayerkv: layers that look at the first and the newest tokens only keep no others.
 *
 * Source: Zhang et al., "SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction" (arXiv
 * 2410.13846), section 3; as in kvpress 0.5.5: a layer is lazy if its last queries, in the mean over all
 * heads, give those tokens more than `threshold` of their attention. Lazy layers keep the first `initial` and
 * the newest `recent` - `last` tokens, the others everything: how much stays is an outcome, and the policy's
 * keep and size are not used.
 */
#include "press/press.h"
#include "press/select.h"

typedef struct conf {
    double threshold;
    uint64_t last, recent, initial;
} conf;

static const kvl_option options[] = {
    {.name = "threshold",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, threshold),
     .initial = "1",
     .max = 1,
     .help = "share of attention above which a layer is lazy; 1: none is"},
    {.name = "last",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, last),
     .initial = "1",
     .min = 1,
     .max = 4096,
     .help = "last queries that are asked"},
    {.name = "recent",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, recent),
     .initial = "1024",
     .min = 1,
     .max = 1e9,
     .help = "newest tokens before the last that count; lazy layers keep so many less `last`"},
    {.name = "initial",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, initial),
     .initial = "4",
     .max = 1e9,
     .help = "first tokens that count, and stay"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)shape;
    const conf *c = kvl_press_conf(self);
    return (kvl_needs){.n_queries = (uint32_t)c->last};
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return kvl_round_up(n, 16) + kvl_view_votes_floats(shape, n);
}

/* Newest tokens that a lazy layer keeps. */
static uint64_t n_newest(const conf *c) { return c->recent > c->last ? c->recent - c->last : 0; }

/* What a lazy layer keeps: the least that may stay. */
static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    (void)shape;
    (void)layer;
    (void)target;
    const conf *c = kvl_press_conf(self);
    return c->threshold >= 1 || n <= c->initial + c->recent + c->last
               ? n
               : kvl_max_size(1, c->initial + n_newest(c));
}

/* Attention of the last queries to the first and the newest tokens before them, summed. */
static double laziness(const conf *c, const kvl_head_view *head, float *scratch) {
    const uint64_t n_seen = head->in->n_seen;
    const size_t window = kvl_view_window(head->in, c->last);
    const uint64_t end = n_seen - window;
    float *votes = scratch;
    double sum = 0;
    kvl_view_votes(head, end, n_seen, votes, scratch + kvl_round_up(head->n, 16));
    for (size_t j = 0; j < head->n; j++) {
        const uint64_t position = (uint64_t)head->positions[j];
        const bool counts = position < c->initial || position + c->recent >= end;
        sum += position < end && counts ? (double)votes[j] : 0;
    }
    return sum;
}

/* Entries of a lazy layer that are to go get scores below 0, all others 0 or more. */
static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const uint32_t n_heads = view->shape->n_kv_heads;
    double sum = 0;
    for (uint32_t k = 0; k < n_heads; k++) {
        sum += laziness(c, &view->heads[k], scratch);
    }
    const float rest = (float)(c->threshold - sum / n_heads);
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        for (size_t j = 0; j < head->n; j++) {
            const uint64_t position = (uint64_t)head->positions[j];
            const bool stays = position < c->initial || position + n_newest(c) >= view->n_seen;
            scores[k][j] = stays ? 1 : rest;
        }
    }
}

/* Everything but scores below 0; the policy's protections come on top. */
static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    (void)self;
    (void)floats;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        size_t n = 0;
        for (size_t j = 0; j < head->n; j++) {
            const uint64_t position = (uint64_t)head->positions[j];
            n += scores[k][j] >= 0 || position < protections->n_sinks ||
                 position + protections->n_recent >= view->n_seen;
        }
        choices[k].n = kvl_max_size(n, 1);
        KVL_TRY(kvl_select(choices[k].slots, choices[k].n, protections, scores[k], head->positions, head->n,
                           scratch, err));
    }
    return KVL_OK;
}

extern const kvl_press kvl_press_simlayerkv;
const kvl_press kvl_press_simlayerkv = {
    .name = "simlayerkv",
    .summary = "keep only the first and the newest tokens, in layers that look at little else",
    .source = "Zhang et al. 2024, arXiv 2410.13846, section 3; kvpress 0.5.5, SimLayerKVPress",
    .formula =
        "1 for the first `initial` and the newest `recent` - `last` tokens; for others threshold less the "
        "attention of the last queries to the first and the newest tokens, mean over heads: below 0 they go",
    .cost = "2 H last n D operations; (8 G + 1) n floats",
    .differs =
        "keep and size are not used: each layer keeps all or only those tokens (a plan assumes the least); "
        "recent = last leaves the first tokens only (kvpress then keeps all); tokens that were evicted "
        "before still count in `recent`",
    .reads = "keys",
    .advice = "on models some of whose layers look at the first and newest tokens only; how much it frees is "
              "up to them: about 0.9 for Llama 3, 0.8 for Mistral, 0.85 for Qwen",
    .version = 1,
    .is_outcome = true,
    .is_signed = true,
    .is_ragged = true,
    .options = options,
    .n_options = 4,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
    .budget = budget,
    .select = select,
};
