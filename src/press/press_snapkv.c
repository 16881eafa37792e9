/* snapkv: the last tokens of the context vote, by their attention, on the earlier ones.
 *
 * Source: Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", NeurIPS 2024 (arXiv
 * 2404.14469), section 4; as in kvpress 0.5.5: weights of the window's queries over all entries, mean over
 * the window and the heads of a group, average pooling (zeros beyond the ends are counted); the window itself
 * stays.
 */
#include "press/press.h"
#include "press/room.h"

typedef struct conf {
    uint64_t window, kernel;
} conf;

static const kvl_option options[] = {
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "64",
     .min = 1,
     .max = 4096,
     .help = "last tokens that vote, and stay"},
    {.name = "kernel",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, kernel),
     .initial = "5",
     .min = 1,
     .max = 255,
     .help = "width of the pooling, odd"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)shape;
    const conf *c = kvl_press_conf(self);
    return (kvl_needs){.n_queries = (uint32_t)c->window};
}

/* What the entries of a head are pooled in, by age: with order=score neighbours in time do not lie together.
 */
typedef struct work {
    float *votes;    /* [n] */
    uint32_t *slots; /* [n] */
    float *ordered;  /* [n] */
} work;

static work take_work(kvl_room *room, size_t n) {
    work w;
    w.votes = kvl_room_floats(room, n);
    w.slots = kvl_room_take(room, n * sizeof *w.slots);
    w.ordered = kvl_room_floats(room, n);
    return w;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    kvl_room room = {0};
    (void)take_work(&room, n);
    return room.used + kvl_view_votes_floats(shape, n);
}

static void score_head(const kvl_head_view *head, size_t window, size_t kernel, float *scores,
                       float *scratch) {
    const uint64_t first = head->in->n_seen - window;
    const size_t n = kvl_view_entries_before(head, first);
    kvl_room room = {scratch, 0};
    const work w = take_work(&room, head->n);
    kvl_view_votes(head, first, head->in->n_seen, w.votes, scratch + room.used);
    kvl_view_by_age(head, w.slots);
    for (size_t i = 0; i < n; i++) {
        w.ordered[i] = w.votes[w.slots[i]];
    }
    kvl_pool_average(w.votes, w.ordered, n, kernel);
    for (size_t i = 0; i < n; i++) {
        scores[w.slots[i]] = w.votes[i];
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const size_t window = kvl_view_window(view, c->window);
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        score_head(&view->heads[k], window, c->kernel, scores[k], scratch);
    }
    kvl_scores_protect(view, scores, 0, window);
}

extern const kvl_press kvl_press_snapkv;
const kvl_press kvl_press_snapkv = {
    .name = "snapkv",
    .summary = "keep what the last tokens attend to, and these",
    .source = "Li et al. 2024, arXiv 2404.14469, section 4",
    .formula =
        "mean over the group and the last w queries of their attention weights, average-pooled by `kernel`",
    .cost = "2 H w n D operations; (8 G + 3) n floats",
    .differs = "ties: the newer entry stays; kvpress leaves them to torch.topk",
    .reads = "keys",
    .advice = "for a prompt that ends with the question: what its last tokens look at stays; later questions "
              "may need what is gone",
    .version = 2,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
