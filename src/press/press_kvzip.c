/* kvzip: keep what the model needs to repeat its context.
 *
 * Source: Kim et al., "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", NeurIPS 2025
 * (arXiv 2505.23416), section 3; as in kvpress 0.5.5 without a chat template. The context is cut into chunks;
 * for each one a second pass runs over a prompt that asks to repeat it, and the chunk. An entry is worth the
 * largest weight that any query of that pass gives it, softmax over sinks, chunk and the pass's own keys
 * alone. The best of all layers and heads stay.
 */
#include "press/press.h"
#include "press/select.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct conf {
    uint64_t chunk, sinks, layerwise;
} conf;

enum { n_postfix = 8, query_block = 16 };

static const kvl_option options[] = {
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "2048",
     .min = 1,
     .max = 1 << 20,
     .help = "tokens of the context repeated at a time"},
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "4",
     .min = 0,
     .max = 4096,
     .help = "first tokens that stay, and are seen by every second pass"},
    {.name = "layerwise",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, layerwise),
     .initial = "off",
     .choices = "off|on",
     .help = "whether each layer keeps its budget, instead of all together theirs"},
};

static void put(kvl_replay *out, const int32_t *ids, size_t n) {
    memcpy(out->ids + out->n, ids, n * sizeof *ids);
    out->n += n;
}

static kvl_status replay(const kvl_press_node *self, const kvl_context *context, size_t round,
                         kvl_replay *out, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    const kvl_prompts *prompts = context->prompts;
    if (context->text == NULL || context->n_text < context->n_seen || prompts == NULL) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press kvzip: expected the context and the prompts to repeat it, found no %s",
                        prompts == NULL ? "prompts" : "context");
    }
    out->first = round * c->chunk;
    out->end = kvl_min_size((size_t)context->n_seen, (size_t)(out->first + c->chunk));
    if (out->first >= context->n_seen) {
        return KVL_OK;
    }
    if (round == 0) {
        put(out, prompts->first, prompts->n_first);
    } else {
        const size_t n = kvl_min_size(n_postfix, (size_t)c->chunk);
        put(out, prompts->next, prompts->n_next);
        put(out, context->text + out->first - n, n);
    }
    put(out, prompts->suffix, prompts->n_suffix);
    put(out, context->text + out->first, (size_t)(out->end - out->first));
    return KVL_OK;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    const size_t group = shape->n_heads / shape->n_kv_heads;
    return 2 * kvl_round_up(n, 16) + kvl_round_up(query_block * group * n, 16) +
           kvl_view_attention_floats(shape);
}

/* Slots of sinks before the chunk, of the chunk, and of the second pass; *from and *to bound the chunk's. */
static kvl_head_view take_part(const kvl_head_view *head, const kvl_replay *pass, uint64_t n_sinks,
                               uint64_t n_context, uint32_t *slots, int32_t *positions, size_t *from,
                               size_t *to) {
    kvl_head_view part = *head;
    part.slots = slots;
    part.positions = positions;
    part.n = 0;
    *from = 0;
    *to = 0;
    for (size_t j = 0; j < head->n; j++) {
        const uint64_t position = (uint64_t)head->positions[j];
        const bool is_chunk = position >= pass->first && position < pass->end;
        if (is_chunk || position >= n_context || (position < n_sinks && position < pass->first)) {
            *from = is_chunk && *to == 0 ? part.n : *from;
            slots[part.n] = (uint32_t)j;
            positions[part.n++] = head->positions[j];
            *to = is_chunk ? part.n : *to;
        }
    }
    return part;
}

static void learn(const kvl_press_node *self, const kvl_layer_view *copy, const kvl_replay *pass,
                  float *const *learned, float *scratch) {
    const conf *c = kvl_press_conf(self);
    const uint32_t group = kvl_view_group(copy);
    const uint64_t n_context = copy->n_seen - pass->n;
    for (uint32_t k = 0; k < copy->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &copy->heads[k];
        const size_t room = kvl_round_up(head->n, 16);
        uint32_t *slots = (uint32_t *)(void *)scratch;
        int32_t *positions = (int32_t *)(void *)(scratch + room);
        float *weights = scratch + 2 * room;
        float *rest = weights + kvl_round_up(query_block * group * head->n, 16);
        size_t from, to;
        const kvl_head_view part = take_part(head, pass, c->sinks, n_context, slots, positions, &from, &to);
        for (uint64_t p = n_context; p < copy->n_seen; p += query_block) {
            const uint64_t end = kvl_min_size((size_t)copy->n_seen, (size_t)p + query_block);
            kvl_view_attention(&part, p, end, weights, rest);
            for (size_t row = 0; row < group * (end - p); row++) {
                for (size_t j = from; j < to; j++) {
                    float *most = &learned[k][slots[j]];
                    *most = fmaxf(*most, weights[row * part.n + j]);
                }
            }
        }
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    (void)scratch;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        kvl_view_learned(head, scores[k]);
        for (size_t j = 0; j < head->n; j++) { /* above those of all layers */
            scores[k][j] = (uint64_t)head->positions[j] < c->sinks ? FLT_MAX : scores[k][j];
        }
    }
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    (void)self;
    (void)floats;
    return kvl_select_together(view, scores, 0, choices, protections, scratch, err);
}

static bool is_global(const kvl_press_node *self) {
    const conf *c = kvl_press_conf(self);
    return c->layerwise == 0;
}

extern const kvl_press kvl_press_kvzip;
const kvl_press kvl_press_kvzip = {
    .name = "kvzip",
    .summary = "keep what the model needs to repeat its context",
    .source = "Kim et al. 2025, arXiv 2505.23416, section 3",
    .formula = "largest weight over the queries of a pass that repeats the entry's chunk, and over the group",
    .cost = "for every chunk a copy of the cache, a prefill of a prompt and the chunk on the whole cache, "
            "and 2 H "
            "q (chunk + q) D operations in each layer for its q tokens",
    .differs = "memory is freed (kvpress masks); every head keeps one entry; no chat template",
    .reads = "keys",
    .advice = "For contexts that many unknown questions will follow. It costs more than a second prefill.",
    .version = 1,
    .is_ragged = true,
    .options = options,
    .n_options = 3,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .replay = replay,
    .learn = learn,
    .score_layer = score_layer,
    .select = select,
    .is_global = is_global,
};
