/* chunkkv: neighbours stay or go together, in all heads alike.
 *
 * Source: Liu et al., "ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM
 * Inference" (arXiv 2502.00299), algorithm 1; as in kvpress 0.5.5: a chunk's score is the mean of its
 * entries', over all heads; a last short chunk is one too; without one full chunk the wrapped press's scores
 * are used as they are. Of N chunks max(1, floor(keep N)) stay.
 *
 * Scores are ranks, so that wrappers that fill a budget go through chunks in their order, and inside a chunk
 * by score.
 */
#include "press/press.h"
#include "press/select.h"

#include <math.h>

typedef struct conf {
    uint64_t chunk;
} conf;

static const kvl_option options[] = {
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "20",
     .min = 1,
     .max = 1 << 20,
     .help = "entries that stay or go together"},
};

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const size_t own = 5 * kvl_round_up(n, 16);
    return kvl_max_size(own, kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n));
}

/* What chunks and entries are sorted in. */
typedef struct ranking {
    uint32_t *slots; /* [n] by age */
    uint32_t *order; /* [chunks], and behind them the entries of a chunk */
    float *means;    /* [chunks] */
    float *copy;     /* [n] */
} ranking;

/* The scores of one head become ranks: chunk by chunk from the worst, and inside by score. */
static void rank_head(const kvl_head_view *head, size_t chunk, float *scores, const ranking *r) {
    const size_t n_chunks = (head->n + chunk - 1) / chunk;
    kvl_view_by_age(head, r->slots);
    for (size_t c = 0; c < n_chunks; c++) {
        const size_t end = kvl_min_size(head->n, (c + 1) * chunk);
        double sum = 0;
        for (size_t i = c * chunk; i < end; i++) {
            r->copy[i] = scores[r->slots[i]];
            sum += (double)r->copy[i];
        }
        r->means[c] = (float)(sum / (double)(end - c * chunk));
    }
    kvl_order_by_score(r->means, n_chunks, r->order);
    size_t rank = 0;
    for (size_t c = 0; c < n_chunks; c++) {
        const size_t first = r->order[c] * chunk;
        const size_t n = kvl_min_size(head->n, first + chunk) - first;
        uint32_t *inside = r->order + n_chunks;
        kvl_order_by_score(r->copy + first, n, inside);
        for (size_t i = 0; i < n; i++) {
            const float score = r->copy[first + inside[i]];
            scores[r->slots[first + inside[i]]] = isnan(score) ? score : (float)rank;
            rank++;
        }
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    kvl_press_score_layer(kvl_press_inner(self, 0), view, scores, scratch);
    const size_t longest = kvl_view_longest(view);
    if (longest < c->chunk) {
        return;
    }
    kvl_scores_mean_over_heads(view, scores);
    const size_t part = kvl_round_up(longest, 16);
    const ranking r = {.slots = (uint32_t *)(void *)scratch,
                       .order = (uint32_t *)(void *)(scratch + part),
                       .means = scratch + 3 * part,
                       .copy = scratch + 4 * part};
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        rank_head(&view->heads[k], c->chunk, scores[k], &r);
    }
}

/* Entries in the best chunks of a head, whose scores are ranks; the last one may be short. */
static size_t count_kept(const kvl_head_view *head, size_t chunk, const float *scores, uint32_t *slots) {
    const size_t n_chunks = (head->n + chunk - 1) / chunk;
    const size_t n_short = head->n % chunk;
    const size_t n_kept = kvl_max_size(1, n_chunks * head->target / head->n);
    if (head->n < chunk) {
        return head->target;
    }
    kvl_view_by_age(head, slots);
    size_t n_better = 0; /* entries above those of the short chunk */
    for (size_t i = 0; n_short != 0 && i < head->n - n_short; i++) {
        n_better += scores[slots[i]] > scores[slots[head->n - 1]];
    }
    return n_short != 0 && n_better / chunk < n_kept ? (n_kept - 1) * chunk + n_short : n_kept * chunk;
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        choices[k].n = count_kept(head, c->chunk, scores[k], (uint32_t *)(void *)floats);
        KVL_TRY(kvl_select(choices[k].slots, choices[k].n, protections, scores[k], head->positions, head->n,
                           scratch, err));
    }
    return KVL_OK;
}

extern const kvl_press kvl_press_chunkkv;
const kvl_press kvl_press_chunkkv = {
    .name = "chunkkv",
    .summary = "let neighbours stay or go together, in all heads alike",
    .source = "Liu et al. 2025, arXiv 2502.00299, algorithm 1; kvpress 0.5.5, ChunkKVPress",
    .formula =
        "mean of the wrapped press's scores over the entries of a chunk and all heads; inside a chunk each "
        "entry's mean over heads",
    .cost = "the wrapped press's, and a sort of n / chunk means; 5 n floats",
    .differs =
        "none known; like there, whole chunks leave a head below its budget where that is no multiple of "
        "them. Wrappers that fill a budget (adakv) take the best entries of the next chunk",
    .advice = "when facts stand in phrases: neighbours survive together. Small budgets get coarse",
    .version = 1,
    .is_ragged = true,
    .n_inner = 1,
    .inner = "snapkv",
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
    .select = select,
};
