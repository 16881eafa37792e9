/* chunk: score each chunk as if there were nothing else, and keep the same share of each.
 *
 * Source: ChunkPress of kvpress 0.5.5, after the chunks of Corallo and Papotti, "FINCH" (arXiv 2408.00167).
 * The wrapped press sees one chunk at a time: its entries alone, and as queries those of its own tokens, each
 * rotated as it was. Of len entries the max(1, floor(keep len)) best stay.
 *
 * The score of the i-th best of a chunk (from 1) is 1 for i = 1, else 1 - i / len: the choice among all
 * chunks gives each its share, and what rounding leaves of the budget goes to the chunks nearest to one more.
 */
#include "press/press.h"
#include "press/room.h"

#include <math.h>

typedef struct conf {
    uint64_t chunk;
} conf;

static const kvl_option options[] = {
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "1024",
     .min = 1,
     .max = 1 << 20,
     .help = "entries that are scored together"},
};

static kvl_status check(const kvl_press_node *self, kvl_err *err) {
    const kvl_press_node *inner = kvl_press_inner(self, 0);
    const kvl_shape shape = {.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 1};
    const kvl_needs needs = kvl_press_needs(inner, &shape);
    const char *what = needs.has_moments ? "sums over all queries"
                       : needs.has_mass  ? "the attention of all tokens"
                                         : NULL;
    return what == NULL
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE,
                          "press chunk: expected a press that a chunk is enough for, found %s, which "
                          "looks at %s",
                          inner->press->name, what);
}

/* The last queries of every chunk. */
static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    const bool has_queries = kvl_press_needs(kvl_press_inner(self, 0), shape).n_queries != 0;
    return (kvl_needs){.n_queries = has_queries ? KVL_ALL_QUERIES : 0};
}

/* A chunk of every head. */
typedef struct part {
    kvl_layer_view view;
    kvl_head_view *heads; /* [K] */
    float **scores;       /* [K][chunk] */
    uint32_t *order;      /* [chunk] */
    float *all_scores;    /* [K, chunk] */
    uint32_t *by_age;     /* [K, n] entries of the whole view */
    uint32_t *slots;      /* [K, n] where these are */
    int32_t *positions;   /* [K, n] */
    size_t stride;        /* n: of the longest head */
    float *rest;
} part;

/* For heads of up to n entries. */
static void take_part(part *p, kvl_room *room, size_t n_heads, size_t n, size_t chunk) {
    p->heads = kvl_room_take(room, n_heads * sizeof *p->heads);
    p->scores = kvl_room_take(room, n_heads * sizeof *p->scores);
    p->all_scores = kvl_room_floats(room, n_heads * chunk);
    p->by_age = kvl_room_take(room, n_heads * n * sizeof *p->by_age);
    p->slots = kvl_room_take(room, n_heads * n * sizeof *p->slots);
    p->positions = kvl_room_take(room, n_heads * n * sizeof *p->positions);
    p->order = kvl_room_take(room, chunk * sizeof *p->order);
    p->stride = n;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const conf *c = kvl_press_conf(self);
    const size_t chunk = kvl_min_size(n, (size_t)c->chunk);
    kvl_room room = {0};
    part p;
    take_part(&p, &room, shape->n_kv_heads, n, chunk);
    return room.used + kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, chunk);
}

static void open_part(part *p, const kvl_layer_view *view, size_t longest, size_t chunk, float *scratch) {
    const uint32_t n_heads = view->shape->n_kv_heads;
    kvl_room room = {scratch, 0};
    take_part(p, &room, n_heads, longest, chunk);
    p->view = *view;
    p->view.heads = p->heads;
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *all = &view->heads[k];
        uint32_t *by_age = p->by_age + k * p->stride;
        p->scores[k] = p->all_scores + k * chunk;
        kvl_view_by_age(all, by_age);
        for (size_t i = 0; i < all->n; i++) {
            p->slots[k * p->stride + i] = (uint32_t)kvl_view_slot(all, by_age[i]);
            p->positions[k * p->stride + i] = all->positions[by_age[i]];
        }
    }
    p->rest = scratch + room.used;
}

/* Where chunk number `index` of a head of n entries begins; a head that has no such chunk shows its last
 * again.
 */
static size_t first_of(size_t n, size_t chunk, size_t index) {
    return kvl_min_size(index, (n - 1) / chunk) * chunk;
}

static void show_chunk(part *p, const kvl_layer_view *all, size_t chunk, size_t index) {
    uint64_t first_token = UINT64_MAX, end_token = 0;
    for (uint32_t k = 0; k < all->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &all->heads[k];
        const size_t first = first_of(head->n, chunk, index);
        const size_t n = kvl_min_size(chunk, head->n - first);
        const int32_t *positions = p->positions + k * p->stride + first;
        const uint64_t oldest = (uint64_t)positions[0];
        const uint64_t end = (uint64_t)positions[n - 1] + 1;
        p->heads[k] = (kvl_head_view){.in = &p->view,
                                      .head = head->head,
                                      .n = n,
                                      .positions = positions,
                                      .slots = p->slots + k * p->stride + first,
                                      .target = kvl_max_size(1, head->target * n / head->n)};
        first_token = oldest < first_token ? oldest : first_token;
        end_token = end > end_token ? end : end_token;
    }
    p->view.n_seen = end_token;
    p->view.first_token = first_token;
}

/* Ranks of a chunk's entries as shares of it. */
static void rank(const kvl_head_view *head, const float *found, uint32_t *order, const uint32_t *by_age,
                 float *scores) {
    kvl_order_by_score(found, head->n, order);
    for (size_t i = 0; i < head->n; i++) {
        const size_t place = head->n - i; /* from 1 for the best, which comes last */
        const float score = place == 1 ? 1 : 1 - (float)place / (float)head->n;
        scores[by_age[order[i]]] = isnan(found[order[i]]) ? NAN : score;
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const size_t longest = kvl_view_longest(view);
    const size_t chunk = kvl_min_size(longest, (size_t)c->chunk);
    part p;
    open_part(&p, view, longest, chunk, scratch);
    for (size_t index = 0; index * chunk < longest; index++) {
        show_chunk(&p, view, chunk, index);
        kvl_press_score_layer(kvl_press_inner(self, 0), &p.view, p.scores, p.rest);
        for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
            rank(&p.heads[k], p.scores[k], p.order,
                 p.by_age + k * p.stride + first_of(view->heads[k].n, chunk, index), scores[k]);
        }
    }
}

extern const kvl_press kvl_press_chunk;
const kvl_press kvl_press_chunk = {
    .name = "chunk",
    .summary = "score chunks by themselves and keep the same share of each",
    .source = "kvpress 0.5.5, ChunkPress; Corallo and Papotti 2024, arXiv 2408.00167, section 3",
    .formula = "of the i-th best of the len entries of a chunk, by the wrapped press's scores: 1 for i = 1, "
               "else 1 - "
               "i / len",
    .cost = "the wrapped press on one chunk after another; queries of all tokens are noted where it asks for "
            "some",
    .differs =
        "a chunk's queries are rotated as they were (kvpress: as the last of the text); the budget is met "
        "exactly (kvpress leaves what is lost by rounding in each chunk)",
    .advice =
        "around presses that prefer one end of the text; presses that need sums over all queries or received "
        "attention do not fit",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .check = check,
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
