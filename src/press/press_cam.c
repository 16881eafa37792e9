/* cam: what is evicted while decoding gives its value to those behind it.
 *
 * Source: Zhang et al., "CaM: Cache Merging for Memory-efficient LLMs Inference", ICML 2024, algorithm 1; as
 * in CAMPress of kvpress 0.5.5. All heads keep the same tokens, by the mean of the wrapped press's scores. Of
 * those that go, the best `interval` are merged: each with the probability min(1, attention received since
 * the prompt / mean of that of the `merge` kept entries next behind it), by adding an equal part of its value
 * to each of these.
 */
#include "press/press.h"
#include "press/select.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

typedef struct conf {
    uint64_t merge, interval;
} conf;

static const kvl_option options[] = {
    {.name = "merge",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, merge),
     .initial = "32",
     .min = 1,
     .max = 4096,
     .help = "kept entries that share the value of one that goes"},
    {.name = "interval",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, interval),
     .initial = "1",
     .min = 1,
     .max = 1 << 20,
     .help = "tokens from one compression to the next"},
};

static kvl_needs needs(const kvl_press_node *self, const kvl_shape *shape) {
    (void)self;
    (void)shape;
    return (kvl_needs){.has_mass = true, .is_mass_late = true};
}

static kvl_turn turn(const kvl_press_node *self, const kvl_moment *moment) {
    const conf *c = kvl_press_conf(self);
    const bool is_due =
        moment->n_seen > moment->n_prefill && (moment->n_seen - moment->n_prefill) % c->interval == 0;
    return (kvl_turn){is_due ? self : NULL, moment->n_seen};
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const size_t inner = kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n);
    return kvl_max_size(inner, kvl_round_up(n, 16) + n * shape->head_dim);
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    kvl_press_score_layer(kvl_press_inner(self, 0), view, scores, scratch);
    kvl_scores_mean_over_heads(view, scores);
}

/* Entries that go and may be merged: they stand behind the kept ones in a choice's list. */
static size_t n_merged(const conf *c, size_t n, size_t n_kept) {
    return kvl_min_size((size_t)c->interval, n - n_kept);
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    kvl_protections by_rank = *protections, by_time = *protections;
    by_rank.is_score_order = true;
    by_time.is_score_order = false;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        uint32_t *slots = choices[k].slots;
        const size_t n = head->target;
        const size_t n_more = n_merged(c, head->n, n);
        KVL_TRY(kvl_select(slots, n + n_more, &by_rank, scores[k], head->positions, head->n, scratch, err));
        memcpy(floats, slots + n, n_more * sizeof *slots);
        KVL_TRY(kvl_select(slots, n, &by_time, scores[k], head->positions, head->n, scratch, err));
        memcpy(slots + n, floats, n_more * sizeof *slots);
        choices[k].n = n;
    }
    return KVL_OK;
}

/* Slots in the order of their tokens. */
static void sort_by_time(uint32_t *slots, size_t n, const int32_t *positions) {
    for (size_t i = 1; i < n; i++) {
        const uint32_t slot = slots[i];
        size_t to = i;
        for (; to != 0 && positions[slots[to - 1]] > positions[slot]; to--) {
            slots[to] = slots[to - 1];
        }
        slots[to] = slot;
    }
}

/* Whether an entry is merged into the n ones of `window`. */
static bool is_drawn(const kvl_head_view *view, uint32_t slot, const uint32_t *window, size_t n,
                     const float *mass) {
    const kvl_layer_view *in = view->in;
    double mean = 0;
    for (size_t i = 0; i < n; i++) {
        mean += (double)mass[window[i]] / (double)n;
    }
    /* 0 / 0 is no reason to merge */
    const double probability = mass[slot] > 0 ? (double)mass[slot] / mean : 0;
    return (double)kvl_rng_unit(in->seed, (uint64_t)in->layer * in->shape->n_kv_heads + view->head,
                                (uint64_t)view->positions[slot]) < probability;
}

static void alter(const kvl_press_node *self, const kvl_head_view *view, kvl_cache *cache,
                  const kvl_choice *choice, float *scratch) {
    const conf *c = kvl_press_conf(self);
    const size_t dim = view->in->shape->head_dim;
    const size_t n_more = n_merged(c, view->n, choice->n);
    uint32_t *merged = choice->slots + choice->n;
    float *mass = scratch;
    float *values = scratch + kvl_round_up(view->n, 16);
    size_t first = 0; /* kept entry behind the merged one */
    kvl_view_mass(view, mass);
    kvl_view_values(view, values);
    sort_by_time(merged, n_more, view->positions);
    for (size_t i = 0; i < n_more; i++) {
        while (first < choice->n && view->positions[choice->slots[first]] < view->positions[merged[i]]) {
            first++;
        }
        const uint32_t *window = choice->slots + first;
        const size_t n = kvl_min_size((size_t)c->merge, choice->n - first);
        if (n == 0 || !is_drawn(view, merged[i], window, n, mass)) {
            continue;
        }
        for (size_t j = 0; j < n; j++) {
            float *to = values + window[j] * dim;
            for (size_t d = 0; d < dim; d++) {
                to[d] += values[merged[i] * dim + d] / (float)n;
            }
            kvl_cache_set_value(cache, view->in->layer, view->head, window[j], to);
        }
    }
}

extern const kvl_press kvl_press_cam;
const kvl_press kvl_press_cam = {
    .name = "cam",
    .summary = "while decoding: values of what goes are merged into those behind it",
    .source = "Zhang et al. 2024, CaM (ICML), algorithm 1",
    .formula = "the wrapped press's, mean over the heads of the layer",
    .cost =
        "the wrapped press every `interval` tokens; interval * merge * D additions; 8 bytes for each entry",
    .differs =
        "draws are seeded, by head and position; interval counts tokens, also while nothing is evicted yet; "
        "sums of attention are rounded to 2^-30",
    .reads = "keys, values",
    .advice = "Instead of decoding(P), with size=N. A sweep gives it a prefill of its own, since it notes "
              "attention "
              "from behind the prompt only.",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .needs = needs,
    .turn = turn,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
    .select = select,
    .alter = alter,
};
