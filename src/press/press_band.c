/* band: evict a band of norms. An instrument, not a policy: it asks which keys matter by taking them away.
 *
 * Entries are ranked by the L2 norm of their keys. Those that go are the band that begins at a share `from`
 * of the ranking, as wide as the budget demands (keep=0.95: 5 % of the entries); a band that reaches beyond
 * the highest norm goes on at the lowest. The scores are ranks counted from the beginning of the band.
 */
#include "press/press.h"
#include "press/room.h"

typedef struct conf {
    double from;
} conf;

static const kvl_option options[] = {
    {.name = "from",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, from),
     .initial = "0",
     .max = 1,
     .help = "where the band begins: a share of the entries in ascending order of norm"},
};

typedef struct blocks {
    float *norms;    /* [n] by slot */
    float *aged;     /* [n] by age, so that equal norms rank alike however entries are stored */
    uint32_t *slots; /* [n] by age */
    uint32_t *order; /* [n] */
    float *keys;     /* what norms take */
} blocks;

static blocks lay_out(kvl_room *room, size_t n, size_t head_dim) {
    blocks b;
    b.norms = kvl_room_floats(room, n);
    b.aged = kvl_room_floats(room, n);
    b.slots = kvl_room_take(room, n * sizeof *b.slots);
    b.order = kvl_room_take(room, n * sizeof *b.order);
    b.keys = kvl_room_floats(room, n * head_dim);
    return b;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    kvl_room room = {0};
    lay_out(&room, n, shape->head_dim);
    return room.used;
}

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    kvl_room room = {.base = scratch};
    const blocks b = lay_out(&room, view->n, view->in->shape->head_dim);
    const size_t first = (size_t)(c->from * (double)view->n);
    kvl_view_key_norms(view, b.norms, b.keys);
    kvl_view_by_age(view, b.slots);
    for (size_t i = 0; i < view->n; i++) {
        b.aged[i] = b.norms[b.slots[i]];
    }
    kvl_order_by_score(b.aged, view->n, b.order); /* ascending */
    for (size_t i = 0; i < view->n; i++) {
        scores[b.slots[b.order[i]]] = (float)((i + view->n - first) % view->n);
    }
}

extern const kvl_press kvl_press_band;
const kvl_press kvl_press_band = {
    .name = "band",
    .summary = "evict a band of key norms, to see what it was worth",
    .source = "an instrument of kvlab: which norms matter, asked by taking them away",
    .formula = "rank of |k|, counted from a share `from` of the ranking on, cyclically",
    .cost = "n D + n log n operations, n (D + 4) floats per head",
    .reads = "keys",
    .advice = "with cadence=once, as an experiment; never to save memory",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
