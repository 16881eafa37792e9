/* Six presses of the published U-curve analysis that rank by the norms of keys: l2_compress, fix_size_l2,
 * h2o_l2, snapkv_lite, pyramid_kv, adaptive_l2.
 *
 * Source: od-liu/CS3602-LLM-Inference-Acceleration, kvcompress/methods: l2_compress and fix_size_l2 at commit
 * 8d30b86, the others at b489fcf. Options have its names and defaults. Its recent_only and streaming_llm are
 * the presses recency and streaming.
 *
 * Each knows how many entries may stay; a smaller budget of the policy counts too, and shares of the size are
 * then shares of that. What a press protects ranks before all else: the first entries, then the newest. Its
 * skip_layers is the policy's `skip`; the analysis skips layers 0 and 1 in all runs.
 */
#include "press/policy.h"

#include "base/rng.h"

#include <math.h>

#define SOURCE(file, commit)                                                                                 \
    "the published U-curve analysis: od-liu/CS3602-LLM-Inference-Acceleration " commit                       \
    ", kvcompress/methods/" file ".py"
#define DIFFERS "a smaller budget of the policy counts too; equal norms: the newer entry"
#define COST "2 K n D operations; n (D + 2) floats"

#define COUNT(conf, field, from, value, text)                                                                \
    {                                                                                                        \
        .name = #field, .kind = KVL_OPTION_COUNT, .offset = offsetof(conf, field), .initial = value,         \
        .min = from, .max = 1e6, .help = text                                                                \
    }
#define RATIO(conf, field, from, value, text)                                                                \
    {                                                                                                        \
        .name = #field, .kind = KVL_OPTION_NUMBER, .offset = offsetof(conf, field), .initial = value,        \
        .min = from, .max = 1, .help = text                                                                  \
    }
#define CHOICE(conf, field, words, value, text)                                                              \
    {                                                                                                        \
        .name = #field, .kind = KVL_OPTION_CHOICE, .offset = offsetof(conf, field), .initial = value,        \
        .choices = words, .help = text                                                                       \
    }

/* Keys [n, D]; slots by age; averages. */
static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * (shape->head_dim + 2);
}

static size_t at_most(size_t own, size_t target) { return kvl_max_size(1, kvl_min_size(own, target)); }

/* The smaller the norm, the better. */
static void score_low(const kvl_head_view *view, float *scores, float *scratch) {
    kvl_view_key_norms(view, scores, scratch);
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = -scores[j];
    }
}

/* The first n_first entries and the newest n_last rank before all others, the first ones before the newest.
 */
static void protect(const kvl_head_view *view, size_t n_first, size_t n_last, float *scores, float *scratch) {
    uint32_t *slots = (uint32_t *)(void *)scratch;
    const size_t first = kvl_min_size(n_first, view->n);
    const size_t end = view->n - kvl_min_size(n_last, view->n - first);
    float most = first < end ? -INFINITY : 0;
    kvl_view_by_age(view, slots);
    for (size_t j = first; j < end; j++) {
        most = fmaxf(most, scores[slots[j]]);
    }
    for (size_t j = 0; j < view->n; j++) {
        scores[slots[j]] = j < first ? most + 2 : j < end ? scores[slots[j]] : most + 1;
    }
}

static void score_between(const kvl_head_view *view, size_t n_first, size_t n_last, float *scores,
                          float *scratch) {
    score_low(view, scores, scratch);
    protect(view, n_first, n_last, scores, scratch);
}

/* ---- l2_compress ---- */

typedef struct l2_conf {
    double keep_ratio;
    uint64_t prune_after;
} l2_conf;

static const kvl_option l2_options[] = {
    RATIO(l2_conf, keep_ratio, 1e-6, "1", "share that stays"),
    COUNT(l2_conf, prune_after, 0, "1000", "nothing goes up to so many entries"),
};

static size_t l2_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                        size_t target) {
    (void)shape;
    (void)layer;
    const l2_conf *c = kvl_press_conf(self);
    return at_most(n > c->prune_after ? kvl_budget_target(c->keep_ratio, 0, n) : n, target);
}

static void l2_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    score_low(view, scores, scratch);
}

extern const kvl_press kvl_press_l2_compress;
const kvl_press kvl_press_l2_compress = {
    .name = "l2_compress",
    .summary = "keep a share of the keys, those of smallest norm, from a length on",
    .source = SOURCE("l2_compress", "8d30b86"),
    .formula = "-|key|",
    .cost = COST,
    .differs = DIFFERS,
    .reads = "keys",
    .advice = "to repeat the published runs; knorm with the policy's keep and cap is the same rule",
    .version = 1,
    .is_signed = true,
    .options = l2_options,
    .n_options = 2,
    .conf_bytes = sizeof(l2_conf),
    .scratch_floats = scratch_floats,
    .score = l2_score,
    .budget = l2_budget,
};

/* ---- fix_size_l2 ---- */

typedef struct fix_conf {
    uint64_t fix_kv_size;
    double keep_ratio;
    uint64_t strategy;
} fix_conf;

static const kvl_option fix_options[] = {
    COUNT(fix_conf, fix_kv_size, 1, "1024", "entries that stay"),
    RATIO(fix_conf, keep_ratio, 0, "0", "share of them that are the newest"),
    CHOICE(fix_conf, strategy, "keep_low|keep_high|random", "keep_low",
           "which others stay; random: drawn anew"),
};

static size_t fix_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                         size_t target) {
    (void)shape;
    (void)layer;
    (void)n;
    const fix_conf *c = kvl_press_conf(self);
    return at_most(c->fix_kv_size, target);
}

/* As random(redrawn). */
static void draw(const kvl_head_view *view, float *scores) {
    const kvl_layer_view *in = view->in;
    const uint64_t stream =
        kvl_rng_mix(in->event + 1) ^ ((uint64_t)in->layer * in->shape->n_kv_heads + view->head);
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = kvl_rng_unit(in->seed, stream, (uint64_t)view->positions[j]);
    }
}

static void fix_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    const fix_conf *c = conf;
    switch (c->strategy) {
    case 0: score_low(view, scores, scratch); break;
    case 1: kvl_view_key_norms(view, scores, scratch); break;
    default: draw(view, scores); break;
    }
    protect(view, 0, (size_t)((double)view->target * c->keep_ratio), scores, scratch);
}

extern const kvl_press kvl_press_fix_size_l2;
const kvl_press kvl_press_fix_size_l2 = {
    .name = "fix_size_l2",
    .summary = "keep the newest and, of the others, keys of smallest norm: so many in all",
    .source = SOURCE("fix_size_l2", "8d30b86"),
    .formula = "-|key| (keep_high: |key|; random: a draw); the newest int(size * keep_ratio) first",
    .cost = COST,
    .differs = DIFFERS "; draws come from kvlab's counter-based generator",
    .reads = "keys",
    .advice =
        "for a cache of fixed size; with keep_ratio 0 the newest tokens compete at once, and most of them go",
    .version = 1,
    .is_signed = true,
    .options = fix_options,
    .n_options = 3,
    .conf_bytes = sizeof(fix_conf),
    .scratch_floats = scratch_floats,
    .score = fix_score,
    .budget = fix_budget,
};

/* ---- h2o_l2 ---- */

typedef struct h2o_conf {
    uint64_t start_size, heavy_hitter_size, recent_size;
} h2o_conf;

static const kvl_option h2o_options[] = {
    COUNT(h2o_conf, start_size, 0, "4", "first entries that stay"),
    COUNT(h2o_conf, heavy_hitter_size, 0, "64", "entries between that stay"),
    COUNT(h2o_conf, recent_size, 0, "444", "newest entries that stay"),
};

static size_t h2o_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                         size_t target) {
    (void)shape;
    (void)layer;
    (void)n;
    const h2o_conf *c = kvl_press_conf(self);
    return at_most(c->start_size + c->heavy_hitter_size + c->recent_size, target);
}

static void h2o_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    const h2o_conf *c = conf;
    score_between(view, c->start_size, c->recent_size, scores, scratch);
}

extern const kvl_press kvl_press_h2o_l2;
const kvl_press kvl_press_h2o_l2 = {
    .name = "h2o_l2",
    .summary = "keep first and newest entries and, between them, keys of smallest norm",
    .source = SOURCE("h2o_l2", "b489fcf"),
    .formula = "-|key|; the first start_size first, then the newest recent_size",
    .cost = COST,
    .differs = DIFFERS,
    .reads = "keys",
    .advice = "for a cache of fixed size: a window with sinks, and a few small norms between them",
    .version = 1,
    .is_signed = true,
    .options = h2o_options,
    .n_options = 3,
    .conf_bytes = sizeof(h2o_conf),
    .scratch_floats = scratch_floats,
    .score = h2o_score,
    .budget = h2o_budget,
};

/* ---- snapkv_lite ---- */

typedef struct snap_conf {
    uint64_t observation_window, keep_size, pooling_kernel;
} snap_conf;

static const kvl_option snap_options[] = {
    COUNT(snap_conf, observation_window, 0, "32", "newest entries that stay"),
    COUNT(snap_conf, keep_size, 1, "512", "entries that stay in all"),
    COUNT(snap_conf, pooling_kernel, 1, "5", "neighbours over which norms are averaged"),
};

static size_t snap_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                          size_t target) {
    (void)shape;
    (void)layer;
    (void)n;
    const snap_conf *c = kvl_press_conf(self);
    return at_most(kvl_max_size(c->keep_size, c->observation_window), target);
}

static void snap_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    const snap_conf *c = conf;
    const size_t n = view->n - kvl_min_size(view->n, c->observation_window); /* before the window */
    const bool is_pooled = n >= c->pooling_kernel;
    uint32_t *slots = (uint32_t *)(void *)(scratch + view->n * view->in->shape->head_dim);
    float *pooled = scratch + view->n * (view->in->shape->head_dim + 1);
    float *weights = scratch; /* by age, in the place of the keys */
    float most = 0;
    kvl_view_key_norms(view, scores, scratch);
    kvl_view_by_age(view, slots);
    for (size_t j = 0; j < n; j++) {
        most = fmaxf(most, scores[slots[j]]);
    }
    for (size_t j = 0; j < n; j++) {
        weights[j] = most + 1e-6f - scores[slots[j]];
    }
    kvl_pool_average(pooled, weights, n, c->pooling_kernel);
    for (size_t j = 0; j < n; j++) {
        scores[slots[j]] = is_pooled ? pooled[j] : weights[j];
    }
    protect(view, 0, c->observation_window, scores, scratch);
}

extern const kvl_press kvl_press_snapkv_lite;
const kvl_press kvl_press_snapkv_lite = {
    .name = "snapkv_lite",
    .summary = "keep the newest entries and runs of keys of small norm",
    .source = SOURCE("snapkv_lite", "b489fcf"),
    .formula =
        "average of (largest |key| + 1e-6 - |key|) over pooling_kernel neighbours, zeros beyond the ends "
        "counted; the newest observation_window first",
    .cost = COST,
    .differs = DIFFERS "; no attention is involved, unlike in snapkv",
    .reads = "keys",
    .advice = "to repeat the published runs; no first entries are protected, and the window is short",
    .version = 1,
    .options = snap_options,
    .n_options = 3,
    .conf_bytes = sizeof(snap_conf),
    .scratch_floats = scratch_floats,
    .score = snap_score,
    .budget = snap_budget,
};

/* ---- pyramid_kv ---- */

typedef struct pyramid_conf {
    uint64_t base_size;
    double layer_decay;
    uint64_t min_size;
    uint64_t profile;
} pyramid_conf;

static const kvl_option pyramid_options[] = {
    COUNT(pyramid_conf, base_size, 1, "512", "entries that stay in layer 0"),
    RATIO(pyramid_conf, layer_decay, 0, "0.9", "factor from layer to layer (exponential)"),
    COUNT(pyramid_conf, min_size, 1, "64", "entries that stay in any layer"),
    CHOICE(pyramid_conf, profile, "exponential|linear|constant", "exponential",
           "how sizes fall; linear: to min_size"),
};

static size_t pyramid_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                             size_t target) {
    (void)n;
    const pyramid_conf *c = kvl_press_conf(self);
    const double base = (double)c->base_size;
    const double least = (double)c->min_size;
    const double step = (base - least) / (double)kvl_max_size(shape->n_layers - 1, 1);
    const double size = c->profile == 0   ? base * pow(c->layer_decay, (double)layer)
                        : c->profile == 1 ? base - (double)layer * step
                                          : base;
    return at_most((size_t)fmax(size, least), target);
}

static void pyramid_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    score_between(view, kvl_min_size(4, view->target / 8), view->target / 2, scores, scratch);
}

extern const kvl_press kvl_press_pyramid_kv;
const kvl_press kvl_press_pyramid_kv = {
    .name = "pyramid_kv",
    .summary = "keep first and newest entries and keys of smallest norm, fewer in later layers",
    .source = SOURCE("pyramid_kv", "b489fcf"),
    .formula = "-|key|; the first min(4, size / 8) first, then the newest size / 2; size = max(min_size, "
               "base_size * "
               "layer_decay^layer)",
    .cost = COST,
    .differs = DIFFERS,
    .reads = "keys",
    .advice = "for a cache of fixed size where later layers may have less",
    .version = 1,
    .is_signed = true,
    .options = pyramid_options,
    .n_options = 4,
    .conf_bytes = sizeof(pyramid_conf),
    .scratch_floats = scratch_floats,
    .score = pyramid_score,
    .budget = pyramid_budget,
};

/* ---- adaptive_l2 ---- */

typedef struct adaptive_conf {
    uint64_t target_size, soft_limit, hard_limit;
    double keep_ratio_min, keep_ratio_max;
} adaptive_conf;

static const kvl_option adaptive_options[] = {
    COUNT(adaptive_conf, target_size, 1, "512", "entries that stay of more than hard_limit"),
    COUNT(adaptive_conf, soft_limit, 1, "256", "nothing goes up to so many entries"),
    COUNT(adaptive_conf, hard_limit, 1, "1024", "between the limits the share falls"),
    RATIO(adaptive_conf, keep_ratio_min, 0, "0.3", "share that stays at hard_limit"),
    RATIO(adaptive_conf, keep_ratio_max, 0, "0.9", "share that stays at soft_limit"),
};

static size_t adaptive_budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                              size_t target) {
    (void)shape;
    (void)layer;
    const adaptive_conf *c = kvl_press_conf(self);
    if (n <= c->soft_limit) {
        return target;
    }
    if (n > c->hard_limit) {
        return at_most(c->target_size, target);
    }
    const double progress = (double)(n - c->soft_limit) / (double)(c->hard_limit - c->soft_limit);
    const double share = c->keep_ratio_max - progress * (c->keep_ratio_max - c->keep_ratio_min);
    const size_t size = share > 0 ? (size_t)((double)n * share) : 0;
    return at_most(kvl_max_size(size, c->soft_limit), target);
}

static void adaptive_score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    const adaptive_conf *c = conf;
    const size_t size = view->target;
    if (view->n <= c->hard_limit) {
        score_between(view, 0, (size_t)((double)size * 0.2), scores, scratch);
    } else if (size > 4 + size / 2) {
        score_between(view, 4, size / 2, scores, scratch);
    } else {
        score_between(view, 0, size, scores, scratch);
    }
}

extern const kvl_press kvl_press_adaptive_l2;
const kvl_press kvl_press_adaptive_l2 = {
    .name = "adaptive_l2",
    .summary = "keep newest entries and keys of smallest norm, a smaller share the more there are",
    .source = SOURCE("adaptive_l2", "b489fcf"),
    .formula = "-|key|; up to hard_limit entries the newest size / 5 first; beyond, the first 4, then the "
               "newest size / "
               "2. Size: the share of n falls from keep_ratio_max to keep_ratio_min between the limits",
    .cost = COST,
    .differs = DIFFERS,
    .reads = "keys",
    .advice = "to repeat the published runs; fed token by token it stays at soft_limit for ever",
    .version = 1,
    .is_signed = true,
    .options = adaptive_options,
    .n_options = 5,
    .conf_bytes = sizeof(adaptive_conf),
    .scratch_floats = scratch_floats,
    .score = adaptive_score,
    .budget = adaptive_budget,
};
