/* compactor: keep keys that lie apart or get attention from both sides.
 *
 * Source: Chari and Van Durme, "Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
 * Leverage Scores", 2025 (arXiv 2507.08143); as in kvpress 0.5.5: the score of noncausal plus `blend` times
 * that of leverage, both without the first and the last tokens, which stay. By default the blend is the share
 * that is dropped.
 */
#include "press/compactor.h"

#include <math.h>

typedef struct conf {
    uint64_t start, end, chunk, sketch;
    double blend; /* NAN: the share that is dropped */
    uint64_t seed;
} conf;

static const kvl_option options[] = {
    {.name = "start",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, start),
     .initial = "8",
     .max = 1e6,
     .help = "first tokens, which stay"},
    {.name = "end",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, end),
     .initial = "4",
     .max = 1e6,
     .help = "last tokens, which stay"},
    {.name = "chunk",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, chunk),
     .initial = "256",
     .min = 1,
     .max = 1e6,
     .help = "tokens that look at each other"},
    {.name = "sketch",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sketch),
     .initial = "48",
     .min = 1,
     .max = 512,
     .help = "dimensions that keys are projected to"},
    {.name = "blend",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, blend),
     .initial = "auto",
     .min = 0,
     .max = 1000,
     .choices = "auto",
     .help = "weight of leverage; auto: the share that is dropped"},
    {.name = "seed",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, seed),
     .initial = "0",
     .max = 1e15,
     .help = "seed of the projection"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.n_queries = KVL_ALL_QUERIES};
}

/* Leverages of all heads and pointers to them lie before the scratch of the two scores. */
static size_t own_floats(const kvl_shape *shape, size_t n) {
    return kvl_round_up(shape->n_kv_heads * (n * sizeof(float) + sizeof(float *)), 64) / sizeof(float);
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const conf *c = kvl_press_conf(self);
    return own_floats(shape, n) +
           kvl_max_size(kvli_leverage_floats(shape, n, c->sketch), kvli_noncausal_floats(shape, n, c->chunk));
}

static void add_leverages(const conf *c, const kvl_layer_view *view, kvli_span span, float *const *leverages,
                          float *const *scores) {
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        const double dropped = fmax(0, 1 - (double)head->target / (double)head->n);
        const double blend = isnan(c->blend) ? dropped : c->blend;
        for (size_t j = 0; j < head->n; j++) {
            scores[k][j] = kvli_is_within(span, head->positions[j])
                               ? (float)(blend * (double)leverages[k][j] + (double)scores[k][j])
                               : 0;
        }
    }
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    const uint64_t first = kvl_min_size(view->first_token + c->start, view->n_seen);
    const kvli_span span = {first, view->n_seen - kvl_min_size(c->end, view->n_seen - first)};
    float **leverages = (float **)(void *)scratch;
    float *at = (float *)(leverages + view->shape->n_kv_heads);
    size_t longest = 0;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        leverages[k] = at;
        at += view->heads[k].n;
        longest = kvl_max_size(longest, view->heads[k].n);
    }
    float *rest = scratch + own_floats(view->shape, longest);
    kvli_leverage(view, span, c->sketch, c->seed, leverages, rest);
    kvli_noncausal(view, span, c->chunk, scores, rest);
    add_leverages(c, view, span, leverages, scores);
    kvl_scores_protect(view, scores, c->start, c->end);
}

/* Sum of x - from, or of its square, over the entries of the span, and their number. */
static double sum_of(const kvl_layer_view *view, kvli_span span, float *const *scores, double from,
                     bool is_squared, size_t *n) {
    double sum = 0;
    *n = 0;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        for (size_t j = 0; j < view->heads[k].n; j++) {
            if (kvli_is_within(span, view->heads[k].positions[j])) {
                const double x = (double)scores[k][j] - from;
                sum += is_squared ? x * x : x;
                ++*n;
            }
        }
    }
    return sum;
}

void kvli_standardize(const kvl_layer_view *view, kvli_span span, float *const *scores) {
    size_t n = 0;
    double mean = sum_of(view, span, scores, 0, false, &n);
    mean = n > 0 ? mean / (double)n : 0;
    const double squares = sum_of(view, span, scores, mean, true, &n);
    const double deviation = n > 1 ? fmax(sqrt(squares / (double)(n - 1)), 1e-6) : 1;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        for (size_t j = 0; j < view->heads[k].n; j++) {
            if (kvli_is_within(span, view->heads[k].positions[j])) {
                scores[k][j] = (float)(((double)scores[k][j] - mean) / deviation);
            }
        }
    }
}

extern const kvl_press kvl_press_compactor;
const kvl_press kvl_press_compactor = {
    .name = "compactor",
    .summary = "keep keys that lie apart or get attention from both sides",
    .source = "Chari and Van Durme 2025, arXiv 2507.08143; kvpress 0.5.5, CompactorPress",
    .formula = "blend * leverage + noncausal, both over the tokens between the first `start` and the last "
               "`end`; blend "
               "= 1 - kept / n unless given",
    .cost = "those of leverage and noncausal",
    .differs = "as in them; protected tokens rank before all others (in kvpress equal to the best)",
    .reads = "keys before and after rotation, values",
    .advice = "for prompts whose later questions are not known; the dearest of its family: all queries are "
              "kept while it reads",
    .version = 1,
    .is_signed = true,
    .options = options,
    .n_options = 6,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
