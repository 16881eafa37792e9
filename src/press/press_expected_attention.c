/* expected-attention, expected-attention-stats: the attention that coming queries are expected to pay.
 *
 * Source: Devoto et al., "Expected Attention: KV Cache Compression by Estimating Attention from Future
 * Queries Distribution" (arXiv 2510.00636), section 3; as in kvpress 0.5.5: queries before rotation are taken
 * for normal with the moments of those so far, turned by the mean rotation of the next `future` positions;
 * the mean of exp(q.k) then has a closed form. With -stats the moments are those of a calibration.
 */
#include "press/expected.h"
#include "press/room.h"

typedef struct conf {
    uint64_t future, sinks, covariance, vnorm; /* the last two: 0 is on */
    double epsilon;
} conf;

static const kvl_option options[] = {
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
    {.name = "covariance",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, covariance),
     .initial = "on",
     .choices = "on|off",
     .help = "take queries for normal, not for all equal to their mean"},
    {.name = "vnorm",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, vnorm),
     .initial = "on",
     .choices = "on|off",
     .help = "multiply by the norm of the value"},
    {.name = "epsilon",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, epsilon),
     .initial = "0",
     .max = 1e6,
     .help = "added before that; 0.02 lets norms count where attention is weak"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_moments = true};
}

/* The moments of a group, and what they are made in. */
typedef struct moments {
    float *means;       /* [G, D] */
    float *covariances; /* [G, D, D] */
    double *doubles;
} moments;

static moments take_moments(kvl_room *room, const kvl_shape *shape) {
    const size_t dim = shape->head_dim;
    const size_t group = shape->n_heads / shape->n_kv_heads;
    moments m;
    m.means = kvl_room_floats(room, group * dim);
    m.covariances = kvl_room_floats(room, group * dim * dim);
    m.doubles = kvl_room_take(room, kvl_tap_moments_doubles(dim) * sizeof *m.doubles);
    return m;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    kvl_room room = {0};
    (void)take_moments(&room, shape);
    return room.used + kvl_expected_floats(shape, n);
}

static void score_head(const conf *c, const kvl_head_view *head, float *scores, float *scratch) {
    const kvl_layer_view *in = head->in;
    const size_t dim = in->shape->head_dim;
    const uint32_t group = kvl_view_group(in);
    const kvl_expected how = {c->future, c->sinks, c->vnorm == 0, c->epsilon};
    kvl_room room = {scratch, 0};
    const moments m = take_moments(&room, in->shape);
    float *covariances = c->covariance == 0 ? m.covariances : NULL;
    for (uint32_t g = 0; g < group && in->n_seen > c->sinks; g++) {
        kvl_tap_moments(in->tap, in->kernels, in->layer, head->head * group + g, in->n_seen, c->sinks,
                        m.means + g * dim, covariances != NULL ? covariances + g * dim * dim : NULL,
                        m.doubles);
    }
    kvl_expected_score(head, &how, m.means, covariances, scores, scratch + room.used);
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        score_head(c, &view->heads[k], scores[k], scratch);
    }
    kvl_scores_protect(view, scores, c->sinks, 0);
}

extern const kvl_press kvl_press_expected_attention;
const kvl_press kvl_press_expected_attention = {
    .name = "expected-attention",
    .summary = "keep what coming queries are expected to attend to",
    .source = "Devoto et al. 2025, arXiv 2510.00636, section 3; kvpress 0.5.5, ExpectedAttentionPress",
    .formula =
        "(epsilon + mean over the group of softmax(scale k.m + scale^2 / 2 k'Sk)) * |v|, m and S the "
        "mean and covariance of plain queries, turned by the mean rotation of the next `future` positions",
    .cost = "2 H n D^2 operations while queries are noted, 2 H n D^2 here; (n + G D + 128) D floats",
    .differs =
        "ties: the newer entry stays; attention's own scale (kvpress: always 1/sqrt(D)); queries of all "
        "tokens so far, also where some were evicted; the next position is the stream's",
    .reads = "keys, values",
    .advice = "for a prompt whose questions are not known yet; epsilon=0.02 and adakv around it is how its "
              "authors run it",
    .version = 1,
    .options = options,
    .n_options = 5,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};

/* ---- with the moments of a calibration ---- */

static kvl_needs stats_needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_calibration = true};
}

static size_t stats_scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return kvl_expected_floats(shape, n);
}

static void stats_score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                              float *scratch) {
    const conf *c = kvl_press_conf(self);
    const kvl_calibration *known = kvl_view_calibration(view);
    const kvl_expected how = {c->future, c->sinks, c->vnorm == 0, c->epsilon};
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        kvl_expected_score(&view->heads[k], &how, kvl_calibration_means(known, view->layer, k),
                           c->covariance == 0 ? kvl_calibration_covariances(known, view->layer, k) : NULL,
                           scores[k], scratch);
    }
    kvl_scores_protect(view, scores, c->sinks, 0);
}

extern const kvl_press kvl_press_expected_attention_stats;
const kvl_press kvl_press_expected_attention_stats = {
    .name = "expected-attention-stats",
    .summary = "expected-attention with the queries of a calibration text: nothing is noted",
    .source = "Devoto et al. 2025, arXiv 2510.00636, section 3; kvpress 0.5.5, ExpectedAttentionStatsPress",
    .formula = "as expected-attention, m and S those of the calibration (docs/calibration.md)",
    .cost = "2 H n D^2 operations; (n + D + 128) D floats",
    .differs = "statistics are made here, of kvlab's own texts (kvpress: downloaded, of BookSum); ties: the "
               "newer entry stays; attention's own scale",
    .reads = "keys, values",
    .advice = "where noting the moments of queries costs too much, or the prompt is short: their statistics "
              "do not depend on it",
    .version = 1,
    .options = options,
    .n_options = 5,
    .conf_bytes = sizeof(conf),
    .needs = stats_needs,
    .scratch_floats = stats_scratch_floats,
    .score_layer = stats_score_layer,
};
