/* finch: the question at the end of the text votes, by its attention, on what comes before.
 *
 * Source: Corallo and Papotti, "FINCH: Prompt-guided Key-Value Cache Compression for Large Language Models",
 * TACL 2024 (arXiv 2408.00167), section 3; as in kvpress 0.5.5: each query's attention is multiplied by the
 * number of entries before it, so that short and long contexts count alike; mean over the window and the
 * group, no pooling; the window stays; survivors' keys are turned to consecutive positions.
 */
#include "press/rerotate.h"
#include "press/select.h"

typedef struct conf {
    uint64_t window, normalize, rerotate, chunk; /* normalize, rerotate: 0 is on */
} conf;

static const kvl_option options[] = {
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "64",
     .min = 1,
     .max = 4096,
     .help = "tokens of the question, the last ones, which vote and stay"},
    {.name = "normalize",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, normalize),
     .initial = "on",
     .choices = "on|off",
     .help = "multiply a query's attention by the number of entries before it"},
    {.name = "rerotate",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, rerotate),
     .initial = "on",
     .choices = "on|off",
     .help = "turn survivors to consecutive positions, where the next tokens go on"},
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "0",
     .max = 1e9,
     .help = "entries that share a part of the budget among themselves; 0: all together"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)shape;
    const conf *c = kvl_press_conf(self);
    return (kvl_needs){.n_queries = (uint32_t)c->window};
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const conf *c = kvl_press_conf(self);
    return kvl_max_size(kvl_round_up((size_t)c->window, 16) + kvl_view_votes_floats(shape, n),
                        kvl_rerotate_floats(shape, n));
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const size_t window = kvl_view_window(view, c->window);
    const uint64_t first = view->n_seen - window;
    float *factors = scratch;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        for (size_t i = 0; i < window; i++) {
            factors[i] = c->normalize == 0 ? (float)kvl_view_entries_before(head, first + i) : 1;
        }
        kvl_view_weighted_votes(head, first, view->n_seen, factors, scores[k],
                                scratch + kvl_round_up((size_t)c->window, 16));
    }
    kvl_scores_protect(view, scores, 0, window);
}

/* Lowers the scores of a head's entries that their chunks do not keep below all others. Of `target` each
 * chunk keeps what falls on it, at least its entries of the window; the division of the whole is exact. slots
 * [n] room */
static kvl_status select_chunks(const conf *c, const kvl_head_view *head, float *scores, uint32_t *slots,
                                void *scratch, kvl_err *err) {
    static const kvl_protections none = {0};
    const size_t window = kvl_view_window(head->in, c->window);
    const size_t chunk = (size_t)c->chunk;
    for (size_t from = 0; from < head->n; from += chunk) {
        const size_t n = kvl_min_size(chunk, head->n - from);
        size_t n_window = 0;
        for (size_t j = from; j < from + n; j++) {
            n_window += (uint64_t)head->positions[j] + window >= head->in->n_seen;
        }
        const size_t share = head->target * (from + n) / head->n - head->target * from / head->n;
        const size_t n_kept = kvl_min_size(n, kvl_max_size(share, n_window));
        if (n_kept != 0) {
            KVL_TRY(kvl_select(slots, n_kept, &none, scores + from, head->positions + from, n, scratch, err));
        }
        for (size_t j = 0, k = 0; j < n; j++) { /* both ascend; scores are 0 or more */
            const bool is_kept = k < n_kept && slots[k] == j;
            k += is_kept;
            scores[from + j] -= is_kept ? 0 : 2 * (scores[from + j] + 1);
        }
    }
    return KVL_OK;
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    (void)floats;
    const conf *c = kvl_press_conf(self);
    for (uint32_t k = 0; k < view->shape->n_kv_heads && c->chunk != 0; k++) {
        KVL_TRY(select_chunks(c, &view->heads[k], scores[k], choices[k].slots, scratch, err));
    }
    return kvl_select_heads(view, scores, choices, protections, scratch, err);
}

static void alter(const kvl_press_node *self, const kvl_head_view *view, kvl_cache *cache,
                  const kvl_choice *choice, float *scratch) {
    const conf *c = kvl_press_conf(self);
    if (c->rerotate == 0) {
        kvl_rerotate(view, cache, choice, scratch);
    }
}

static bool moves_keys(const kvl_press_node *self) {
    const conf *c = kvl_press_conf(self);
    return c->rerotate == 0;
}

extern const kvl_press kvl_press_finch;
const kvl_press kvl_press_finch = {
    .name = "finch",
    .summary = "keep what the question at the end attends to, and move it together",
    .source = "Corallo and Papotti 2024, arXiv 2408.00167, section 3; kvpress 0.5.5, FinchPress",
    .formula = "mean over the group and the last w queries of (entries before the query) * (its attention)",
    .cost = "2 H w n D operations; (8 G + 1) n floats; 4 K n D to turn keys",
    .differs =
        "the length of the question is an option (kvpress: what follows a delimiter token); chunks share "
        "the budget exactly; ties: the newer entry stays",
    .reads = "keys",
    .advice = "when the question stands at the end of the prompt and its length is known; chunk spreads what "
              "stays over the text",
    .version = 1,
    .options = options,
    .n_options = 4,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
    .select = select,
    .alter = alter,
    .moves_keys = moves_keys,
};
