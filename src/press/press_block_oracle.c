/* block-oracle: choose as if the prompt had come in blocks, from a cache that is complete.
 *
 * Source: BlockPress of kvpress 0.5.5, after Park et al. 2025 (arXiv 2504.15364). The first entries, as many
 * as may stay, are the first survivors; then each next block competes with them by the wrapped press's
 * scores. Keys, values and hidden states are those of the full prefill, which is what makes it an oracle;
 * block does the real thing. Only presses by keys and values are meant: others see queries that in a real
 * prefill would not be there yet.
 */
#include "press/press.h"
#include "press/room.h"
#include "press/select.h"

#include <math.h>

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
     .help = "entries that compete with the survivors at a time"},
};

/* The contest, in scratch. */
typedef struct contest {
    kvl_layer_view view;
    kvl_head_view *heads; /* [K] survivors and the block: slots and positions */
    uint32_t *slots;      /* [K, n] */
    int32_t *positions;   /* [K, n] */
    float **scores;       /* [K][n] */
    float *all_scores;    /* [K, n] */
    size_t stride;        /* n: of the longest head */
    uint32_t *chosen;     /* [n] */
    void *select;
    float *rest;
} contest;

/* For heads of up to n entries. */
static void take_contest(contest *c, kvl_room *room, size_t n_heads, size_t n) {
    c->heads = kvl_room_take(room, n_heads * sizeof *c->heads);
    c->slots = kvl_room_take(room, n_heads * n * sizeof *c->slots);
    c->positions = kvl_room_take(room, n_heads * n * sizeof *c->positions);
    c->scores = kvl_room_take(room, n_heads * sizeof *c->scores);
    c->all_scores = kvl_room_floats(room, n_heads * n);
    c->chosen = kvl_room_take(room, n * sizeof *c->chosen);
    c->select = kvl_room_take(room, kvl_select_scratch_bytes(n));
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    kvl_room room = {0};
    contest c;
    take_contest(&c, &room, shape->n_kv_heads, n);
    return room.used + kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n);
}

static void open_contest(contest *c, const kvl_layer_view *view, float *scratch) {
    const uint32_t n_heads = view->shape->n_kv_heads;
    const size_t longest = kvl_view_longest(view);
    kvl_room room = {scratch, 0};
    take_contest(c, &room, n_heads, longest);
    c->view = *view;
    c->view.heads = c->heads;
    c->stride = longest;
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *all = &view->heads[k];
        c->scores[k] = c->all_scores + k * longest;
        c->heads[k] = (kvl_head_view){.in = &c->view,
                                      .head = all->head,
                                      .slots = c->slots + k * longest,
                                      .positions = c->positions + k * longest,
                                      .target = kvl_min_size(all->target, all->n)};
    }
    c->rest = scratch + room.used;
}

/* Slots from - end - 1 of a head join its survivors. */
static void join(contest *c, const kvl_head_view *all, uint32_t k, size_t from, size_t end) {
    kvl_head_view *head = &c->heads[k];
    for (size_t slot = from; slot < end; slot++, head->n++) {
        c->slots[k * c->stride + head->n] = (uint32_t)slot;
        c->positions[k * c->stride + head->n] = all->positions[slot];
    }
}

/* The best of a head survive; the others get the round as their score. A score that is no number becomes
 * theirs, so that it is found. */
static void part(contest *c, uint32_t k, float round, float *scores) {
    kvl_head_view *head = &c->heads[k];
    uint32_t *slots = c->slots + k * c->stride;
    int32_t *positions = c->positions + k * c->stride;
    const size_t n = head->target;
    const kvl_protections none = {0};
    const uint32_t mark = 1u << 31; /* of a slot that survives */
    for (size_t j = 0; j < head->n; j++) {
        scores[slots[j]] = isnan(c->scores[k][j]) ? NAN : round;
    }
    if (kvl_select(c->chosen, n, &none, c->scores[k], head->positions, head->n, c->select, NULL) != KVL_OK) {
        return;
    }
    for (size_t j = 0; j < n; j++) {
        slots[c->chosen[j]] |= mark;
    }
    size_t to = 0;
    for (size_t j = 0; j < head->n; j++) {
        if ((slots[j] & mark) != 0) {
            slots[to] = slots[j] & ~mark;
            positions[to] = positions[j];
            scores[slots[to++]] = round + 1;
        }
    }
    head->n = n;
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *options_of = kvl_press_conf(self);
    const size_t block = (size_t)options_of->block;
    contest c;
    open_contest(&c, view, scratch);
    bool is_over = false;
    for (size_t i = 0; !is_over; i++) {
        is_over = true;
        for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
            const kvl_head_view *all = &view->heads[k];
            const size_t first = kvl_min_size(all->n, c.heads[k].target + i * block);
            const size_t end = kvl_min_size(all->n, first + block);
            join(&c, all, k, i == 0 ? 0 : first, end);
            is_over = is_over && end == all->n;
        }
        kvl_press_score_layer(kvl_press_inner(self, 0), &c.view, c.scores, c.rest);
        for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
            part(&c, k, (float)i, scores[k]);
        }
    }
}

extern const kvl_press kvl_press_block_oracle;
const kvl_press kvl_press_block_oracle = {
    .name = "block-oracle",
    .summary = "choose block by block, from a finished cache",
    .source = "kvpress 0.5.5, BlockPress; after Park et al. 2025, arXiv 2504.15364",
    .formula = "blocks survived; survivors and the next block compete by the wrapped press's scores",
    .cost = "the wrapped press on budget + block entries, for every block beyond the budget",
    .differs = "survivors stay in order of position between blocks (kvpress: by score)",
    .advice = "To compare with kvpress's figures; it saves no memory while the prompt is fed. Wrap presses "
              "by keys and values.",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
