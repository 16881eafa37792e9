/* oracle: keep what the text's next tokens will attend to, which nobody can know.
 *
 * The next tokens run on a copy of the stream, with all entries; the attention that they give to an entry is
 * its score: the target of all presses that guess it from attention in the past. It is the most attention
 * that can be kept, not the least loss: there a press of another kind may be better.
 */
#include "press/press.h"

#include <string.h>

typedef struct conf {
    uint64_t future;
} conf;

static const kvl_option options[] = {
    {.name = "future",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, future),
     .initial = "0",
     .min = 0,
     .max = 1 << 20,
     .help = "tokens that follow in the text; 0: all of them"},
};

static kvl_status replay(const kvl_press_node *self, const kvl_context *context, size_t round,
                         kvl_replay *out, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    if (context->text == NULL || context->n_text <= context->n_seen) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press oracle: expected tokens of the text behind the compression, found none");
    }
    const uint64_t n = context->n_text - context->n_seen;
    if (round == 0) {
        out->n = (size_t)(c->future != 0 && c->future < n ? c->future : n);
        memcpy(out->ids, context->text + context->n_seen, out->n * sizeof *out->ids);
    }
    return KVL_OK;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return kvl_round_up(n, 16) + kvl_view_votes_floats(shape, n);
}

static void learn(const kvl_press_node *self, const kvl_layer_view *copy, const kvl_replay *future,
                  float *const *learned, float *scratch) {
    (void)self;
    for (uint32_t k = 0; k < copy->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &copy->heads[k];
        float *votes = scratch;
        kvl_view_votes(head, copy->n_seen - future->n, copy->n_seen, votes,
                       scratch + kvl_round_up(head->n, 16));
        memcpy(learned[k], votes, (head->n - future->n) * sizeof *votes);
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    (void)self;
    (void)scratch;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        kvl_view_learned(&view->heads[k], scores[k]);
    }
}

extern const kvl_press kvl_press_oracle;
const kvl_press kvl_press_oracle = {
    .name = "oracle",
    .summary = "keep what the next tokens of the text will attend to: the most attention that can be kept",
    .source = "the attention of the true future, as the target that presses by attention estimate",
    .formula =
        "mean over the group and the next `future` queries of their attention weights, all entries there",
    .cost = "a copy of the cache and a prefill of the next tokens; 2 H f (n + f) D operations in each layer",
    .reads = "keys",
    .advice = "To see how much a better choice could gain. It needs the text that follows: sweeps have it, "
              "deployments and speed tests do not.",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .replay = replay,
    .learn = learn,
    .score_layer = score_layer,
};
