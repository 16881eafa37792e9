/* cap: values that few others can stand for, weighted by how well their keys fit the queries.
 *
 * Source: "CAPKV" (arXiv 2604.25975); as in kvpress 0.5.5, which adds to the paper that keys and the anchor
 * are normed and that the anchor is turned to the coming positions. The gain in log det(1 + sum of w v v')
 * that an entry brings is ranked by its leverage w v' M^-1 v.
 */
#include "kernel/gram.h"
#include "press/press.h"
#include "press/room.h"

#include <math.h>

typedef struct conf {
    double tau;
    uint64_t future, sinks;
    double epsilon;
} conf;

static const kvl_option options[] = {
    {.name = "tau",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, tau),
     .initial = "5",
     .max = 80,
     .help = "how sharply weights follow the fit of a key"},
    {.name = "future",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, future),
     .initial = "512",
     .min = 1,
     .max = 1e6,
     .help = "coming positions that are averaged over"},
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "4",
     .max = KVL_TAP_FIRST,
     .help = "first tokens that stay, and whose queries are left out"},
    {.name = "epsilon",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, epsilon),
     .initial = "1e-6",
     .max = 1,
     .help = "added to the weights in the sum over values"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_moments = true};
}

enum { value_block = 128 }; /* values multiplied at once */

/* What a head's scoring works in. */
typedef struct work {
    float *rows;    /* [n, D] keys, later values */
    float *weights; /* [G, n] */
    float *block;   /* [value_block, D] */
    float *whiten;  /* [D, D] */
    float *panels;
    float *anchor; /* [D] */
    float *table;  /* [n_rotary] */
    double *gram;  /* [D, D]; and the room of moments */
} work;

static work take_work(kvl_room *room, const kvl_shape *s, size_t n) {
    const size_t dim = s->head_dim;
    work w;
    w.rows = kvl_room_floats(room, n * dim);
    w.weights = kvl_room_floats(room, s->n_heads / s->n_kv_heads * n);
    w.block = kvl_room_floats(room, value_block * dim);
    w.whiten = kvl_room_floats(room, dim * dim);
    w.panels = kvl_room_take(room, kvl_panels_bytes(KVL_PANEL_F32, dim, dim));
    w.anchor = kvl_room_floats(room, dim);
    w.table = kvl_room_floats(room, dim);
    w.gram = kvl_room_take(room, kvl_tap_moments_doubles(dim) * sizeof *w.gram);
    return w;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    kvl_room room = {0};
    (void)take_work(&room, shape, n);
    return room.used;
}

static bool is_sink(const conf *c, const kvl_head_view *head, size_t j) {
    return (uint64_t)head->positions[j] < c->sinks;
}

/* weights [n] = exp(tau (cos(m, k) - the largest of them)), m the anchor of a query head; sinks have none. */
static void weigh_keys(const conf *c, const kvl_head_view *head, uint32_t query_head, const work *w,
                       float *weights) {
    const kvl_layer_view *in = head->in;
    const kvl_kernels *k = in->kernels;
    const size_t dim = in->shape->head_dim;
    double most = -1;
    kvl_tap_moments(in->tap, k, in->layer, query_head, in->n_seen, c->sinks, w->anchor, NULL, w->gram);
    kvl_view_turn(in, w->table, w->anchor);
    const double norm = sqrt(k->dot(w->anchor, w->anchor, dim));
    for (size_t j = 0; j < head->n; j++) {
        const float *key = w->rows + j * dim;
        const double norms = fmax(norm, 1e-12) * fmax(sqrt(k->dot(key, key, dim)), 1e-12);
        const double fit = fmin(1, fmax(-1, k->dot(w->anchor, key, dim) / norms));
        weights[j] = (float)fit;
        most = !is_sink(c, head, j) && fit > most ? fit : most;
    }
    for (size_t j = 0; j < head->n; j++) {
        weights[j] = is_sink(c, head, j) ? 0 : (float)exp(c->tau * ((double)weights[j] - most));
    }
}

/* Adds w v' M^-1 v of one query head, M = 1 + sum of (w + epsilon) v v'. */
static void add_leverages(const conf *c, const kvl_head_view *head, const work *w, const float *weights,
                          float *scores) {
    const kvl_kernels *k = head->in->kernels;
    const size_t dim = head->in->shape->head_dim;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = w->panels};
    for (size_t i = 0; i < dim * dim; i++) {
        w->gram[i] = i % (dim + 1) == 0;
    }
    for (size_t done = 0; done < head->n; done += value_block) {
        const size_t n = kvl_min_size(value_block, head->n - done);
        for (size_t j = 0; j < n; j++) {
            const bool has_part = !is_sink(c, head, done + j);
            const float root = has_part ? sqrtf(weights[done + j] + (float)c->epsilon) : 0;
            for (size_t d = 0; d < dim; d++) {
                w->block[j * dim + d] = root * w->rows[(done + j) * dim + d];
            }
        }
        kvl_gram_add(k, w->gram, w->block, n, dim);
    }
    kvl_gram_whiten(w->whiten, w->gram, dim);
    kvl_pack_panels(w->panels, KVL_PANEL_F32, w->whiten, dim, dim);
    for (size_t done = 0; done < head->n; done += value_block) {
        const size_t n = kvl_min_size(value_block, head->n - done);
        k->gemm(w->block, dim, w->rows + done * dim, dim, &panels, NULL, n, dim, dim);
        for (size_t j = 0; j < n; j++) {
            const float *y = w->block + j * dim;
            scores[done + j] += weights[done + j] * (float)k->dot(y, y, dim);
        }
    }
}

static void score_head(const conf *c, const kvl_head_view *head, float *scores, float *scratch) {
    const kvl_layer_view *in = head->in;
    const uint32_t group = kvl_view_group(in);
    kvl_room room = {scratch, 0};
    const work w = take_work(&room, in->shape, head->n);
    for (size_t j = 0; j < head->n; j++) {
        scores[j] = 0;
    }
    if (kvl_view_entries_before(head, c->sinks) == head->n) {
        return;
    }
    kvl_view_future_rotation(head, c->future, w.table);
    kvl_view_keys(head, w.rows);
    for (uint32_t g = 0; g < group; g++) {
        weigh_keys(c, head, head->head * group + g, &w, w.weights + g * head->n);
    }
    kvl_view_values(head, w.rows);
    for (uint32_t g = 0; g < group; g++) {
        add_leverages(c, head, &w, w.weights + g * head->n, scores);
    }
    for (size_t j = 0; j < head->n; j++) {
        scores[j] /= (float)group;
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        score_head(c, &view->heads[k], scores[k], scratch);
    }
    kvl_scores_protect(view, scores, c->sinks, 0);
}

extern const kvl_press kvl_press_cap;
const kvl_press kvl_press_cap = {
    .name = "cap",
    .summary = "keep values that few others can stand for, where their keys fit the queries",
    .source = "CAPKV, arXiv 2604.25975; kvpress 0.5.5, CapPress",
    .formula = "mean over the group of w v'M^-1 v, w = exp(tau (cos(m, k) - its largest)), M = 1 + sum of "
               "(w + epsilon) v v', m the mean plain query turned by the mean rotation of the next `future` "
               "positions",
    .cost = "H n D (3 D + 6) + 2 H D^3 / 3 operations; (n + 128 + 5 D) D + G n floats",
    .differs = "ties: the newer entry stays; queries of all tokens so far, also where some were evicted; by "
               "Cholesky's factor in double (kvpress: a solution in f32 for each entry)",
    .reads = "keys, values",
    .advice = "where many values say the same, as in repetitive text; costs more than expected-attention",
    .version = 1,
    .options = options,
    .n_options = 4,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
