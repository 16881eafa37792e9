/* noncausal: keep the entries that get most attention when every token of a chunk may look at all of it.
 *
 * Source: Chari and Van Durme, "Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
 * Leverage Scores", 2025 (arXiv 2507.08143); as in kvpress 0.5.5: products of rotated queries and keys
 * without the scale 1 / sqrt(D), a softmax over the entries of the chunk, sums over its queries, mean over
 * the group, times the norm of the value, average pooling over 3 neighbours (zeros beyond the ends are
 * counted).
 *
 * A chunk is so many tokens of the text: all its queries look at those of its entries that are still there.
 */
#include "press/compactor.h"

#include <math.h>
#include <string.h>

enum { query_rows = 32 }; /* whose products are there at once */

typedef struct conf {
    uint64_t chunk;
} conf;

static const kvl_option options[] = {
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "256",
     .min = 1,
     .max = 1e6,
     .help = "tokens that look at each other"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.n_queries = KVL_ALL_QUERIES};
}

/* The scratch; entries of the span are in the order of their age. */
typedef struct blocks {
    void *panels;    /* keys of a chunk */
    float *chunk;    /* the same as rows */
    float *products; /* [query_rows, entries of a chunk] */
    float *rows;     /* keys or values [n, dim] */
    float *norms, *votes;
    uint32_t *slots;
    size_t n_floats;
} blocks;

static blocks lay_out(float *scratch, size_t n, size_t dim, size_t chunk) {
    const size_t n_chunk = kvl_min_size(n, chunk);
    const size_t n_panels = kvl_panels_bytes(KVL_PANEL_F32, dim, n_chunk) / sizeof(float);
    const size_t at[] = {n_panels, n_panels + n_chunk * dim, n_panels + n_chunk * (dim + query_rows)};
    blocks b = {.n_floats = at[2] + n * (dim + 3)};
    if (scratch != NULL) {
        b.panels = scratch;
        b.chunk = scratch + at[0];
        b.products = scratch + at[1];
        b.rows = scratch + at[2];
        b.norms = b.rows + n * dim;
        b.votes = b.norms + n;
        b.slots = (uint32_t *)(void *)(b.votes + n);
    }
    return b;
}

size_t kvli_noncausal_floats(const kvl_shape *shape, size_t n, size_t chunk) {
    return lay_out(NULL, n, shape->head_dim, chunk).n_floats;
}

/* Slots of the entries in the span, by age: their number. */
static size_t find_entries(const kvl_head_view *head, kvli_span span, uint32_t *slots) {
    size_t n = 0;
    kvl_view_by_age(head, slots);
    for (size_t j = 0; j < head->n; j++) {
        slots[n] = slots[j];
        n += kvli_is_within(span, head->positions[slots[j]]);
    }
    return n;
}

static void find_norms(const kvl_head_view *head, const blocks *b, size_t n) {
    const size_t dim = head->in->shape->head_dim;
    kvl_view_values(head, b->rows);
    for (size_t j = 0; j < n; j++) {
        const float *value = b->rows + b->slots[j] * dim;
        b->norms[j] = (float)sqrt(head->in->kernels->dot(value, value, dim));
    }
}

/* votes [n]: attention of the group's queries of tokens first .. end - 1 on the entries that are packed. */
static void add_votes(const kvl_head_view *head, const blocks *b, uint64_t first, uint64_t end, size_t n,
                      float *votes) {
    const kvl_layer_view *in = head->in;
    const kvl_panels keys = {.type = KVL_PANEL_F32, .data = b->panels};
    const uint32_t group = kvl_view_group(in);
    for (uint32_t h = head->head * group; h < (head->head + 1) * group; h++) {
        for (uint64_t p = first, to; p < end; p = to) {
            to = kvl_min_size(end, p + query_rows);
            kvl_view_multiply(in, h, p, to, &keys, n, b->products, n);
            for (float *row = b->products; row < b->products + (to - p) * n; row += n) {
                float most = 0;
                const float inverse = (float)(1 / in->kernels->sum_exp(&most, row, row, n));
                for (size_t j = 0; j < n; j++) {
                    row[j] *= inverse;
                }
                in->kernels->add(votes, row, n);
            }
        }
    }
}

/* votes of the n entries, chunk by chunk. */
static void attend(const kvl_head_view *head, const blocks *b, kvli_span span, size_t chunk, size_t n) {
    const size_t dim = head->in->shape->head_dim;
    kvl_view_keys(head, b->rows);
    memset(b->votes, 0, n * sizeof *b->votes);
    for (size_t j = 0, to; j < n; j = to) {
        const uint64_t position = (uint64_t)head->positions[b->slots[j]];
        const uint64_t first = position - (position - span.first) % chunk;
        const kvli_span tokens = {first, kvl_min_size(span.end, first + chunk)};
        for (to = j; to < n && kvli_is_within(tokens, head->positions[b->slots[to]]); to++) {
            memcpy(b->chunk + (to - j) * dim, b->rows + b->slots[to] * dim, dim * sizeof *b->chunk);
        }
        kvl_pack_panels(b->panels, KVL_PANEL_F32, b->chunk, dim, to - j);
        add_votes(head, b, tokens.first, tokens.end, to - j, b->votes + j);
    }
}

void kvli_noncausal(const kvl_layer_view *view, kvli_span span, size_t chunk, float *const *scores,
                    float *scratch) {
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        const blocks b = lay_out(scratch, head->n, view->shape->head_dim, chunk);
        const size_t n = find_entries(head, span, b.slots);
        find_norms(head, &b, n);
        attend(head, &b, span, chunk, n);
        for (size_t j = 0; j < n; j++) {
            b.votes[j] *= b.norms[j]; /* sums over the group: standard scores do not see that */
        }
        kvl_pool_average(b.norms, b.votes, n, 3);
        for (size_t j = 0; j < n; j++) {
            scores[k][b.slots[j]] = b.norms[j];
        }
    }
    kvli_standardize(view, span, scores);
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const conf *c = kvl_press_conf(self);
    return kvli_noncausal_floats(shape, n, c->chunk);
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    kvli_noncausal(view, (kvli_span){view->first_token, view->n_seen}, c->chunk, scores, scratch);
}

extern const kvl_press kvl_press_noncausal;
const kvl_press kvl_press_noncausal = {
    .name = "noncausal",
    .summary = "keep what gets attention from both sides within its chunk",
    .source = "Chari and Van Durme 2025, arXiv 2507.08143; kvpress 0.5.5, NonCausalAttnPress",
    .formula = "|value| times the mean over the group of the sum over a chunk's queries of softmax(query . "
               "key) over "
               "the chunk, average-pooled by 3; as standard score over the layer",
    .cost = "2 H n chunk D operations; the rotated queries of all tokens (H D floats each); n (D + 3) + "
            "chunk (2 D + "
            "32) floats",
    .differs = "as kvpress, unlike the paper's attention: no 1 / sqrt(D). A short last chunk is a softmax of "
               "its own; "
               "kvpress pads it with zero queries and keys that take part (its mask is -1e-9)",
    .reads = "keys, values",
    .advice = "for prompts whose later questions are not known; keeps all queries while it reads; compactor "
              "adds leverage to it",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
