/* dms: evict what is worth less than a threshold when it leaves the window of newest tokens.
 *
 * Source: DMSPress of kvpress 0.5.5, the rule of inference of Lancucki et al., "Inference-Time Hyper-Scaling
 * with KV Cache Compression" (arXiv 2506.05345), without its trained evictors. Each entry is decided once,
 * for each head by itself: those of a prompt at its end, later ones when they leave the window. How much
 * stays is an outcome; the policy's budget does not matter.
 */
#include "press/press.h"
#include "press/room.h"

#include <math.h>
#include <string.h>

typedef struct conf {
    double threshold;
    uint64_t window;
} conf;

static const kvl_option options[] = {
    {.name = "threshold",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, threshold),
     .initial = "0",
     .min = -1e30,
     .max = 1e30,
     .help = "entries of a lower score go"},
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "128",
     .min = 1,
     .max = 1 << 20,
     .help = "newest tokens that are not decided yet"},
};

static kvl_turn turn(const kvl_press_node *self, const kvl_moment *moment) {
    return (kvl_turn){moment->n_seen >= moment->n_prefill ? self : NULL, 0};
}

/* Something is decided where a head holds more than the window: that as much as all but one stays is only
 * said so that the press is asked. */
static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    const conf *c = kvl_press_conf(self);
    (void)shape;
    (void)layer;
    (void)target;
    return n > c->window ? n - 1 : n;
}

/* Tokens first .. end - 1 are decided now: all of a prompt but its window, later one at a time. */
static void find_decided(const conf *c, const kvl_layer_view *view, uint64_t *first, uint64_t *end) {
    *end = view->n_seen > c->window ? view->n_seen - c->window : 0;
    *first = view->n_seen > view->n_prefill && *end != 0 ? *end - 1 : 0;
}

/* Views of one entry of each head. */
typedef struct singles {
    kvl_head_view *heads;
    uint32_t *slots;
    int32_t *positions;
    float *values;
    float **scores;
} singles;

static singles take_singles(kvl_room *room, size_t n_heads) {
    singles one;
    one.heads = kvl_room_take(room, n_heads * sizeof *one.heads);
    one.slots = kvl_room_take(room, n_heads * sizeof *one.slots);
    one.positions = kvl_room_take(room, n_heads * sizeof *one.positions);
    one.values = kvl_room_floats(room, n_heads);
    one.scores = kvl_room_take(room, n_heads * sizeof *one.scores);
    return one;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    kvl_room room = {0};
    (void)take_singles(&room, shape->n_kv_heads);
    return room.used + kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n);
}

/* The slot of a token, or the head's first if it is gone. */
static uint32_t slot_of(const kvl_head_view *head, uint64_t position) {
    for (size_t j = head->n; j-- != 0;) {
        if ((uint64_t)head->positions[j] == position) {
            return (uint32_t)j;
        }
    }
    return 0;
}

/* What is not decided is not scored: behind the prompt one entry of a head, alone. */
static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const uint32_t n_heads = view->shape->n_kv_heads;
    uint64_t first, end;
    find_decided(kvl_press_conf(self), view, &first, &end);
    if (first + 1 != end || view->n_seen == view->n_prefill) {
        kvl_press_score_layer(kvl_press_inner(self, 0), view, scores, scratch);
        return;
    }
    kvl_room room = {scratch, 0};
    const singles one = take_singles(&room, n_heads);
    kvl_layer_view in = *view;
    in.heads = one.heads;
    for (uint32_t k = 0; k < n_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        one.slots[k] = slot_of(head, first);
        one.positions[k] = head->positions[one.slots[k]];
        one.scores[k] = &one.values[k];
        one.heads[k] = (kvl_head_view){.in = &in,
                                       .head = k,
                                       .n = 1,
                                       .positions = &one.positions[k],
                                       .slots = &one.slots[k],
                                       .target = 1};
        memset(scores[k], 0, head->n * sizeof *scores[k]);
    }
    kvl_press_score_layer(kvl_press_inner(self, 0), &in, one.scores, scratch + room.used);
    for (uint32_t k = 0; k < n_heads; k++) {
        scores[k][one.slots[k]] = one.values[k];
    }
}

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    (void)floats;
    (void)scratch;
    uint64_t first, end;
    find_decided(c, view, &first, &end);
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        kvl_choice *choice = &choices[k];
        kvl_view_by_age(head, choice->slots);
        choice->n = 0;
        for (size_t i = 0; i < head->n; i++) {
            const uint32_t slot = choice->slots[i];
            const uint64_t position = (uint64_t)head->positions[slot];
            if (isnan(scores[k][slot])) {
                return kvl_fail(err, KVL_E_CHECK, "expected a number as score of slot %u, found NaN", slot);
            }
            const bool is_decided = position >= first && position < end && position >= protections->n_sinks &&
                                    i + protections->n_recent < head->n;
            if (!is_decided || (double)scores[k][slot] >= c->threshold) {
                choice->slots[choice->n++] = slot;
            }
        }
    }
    return KVL_OK;
}

extern const kvl_press kvl_press_dms;
const kvl_press kvl_press_dms = {
    .name = "dms",
    .summary = "evict what is worth less than a threshold when it leaves the window",
    .source = "kvpress 0.5.5, DMSPress; after Lancucki et al. 2025, arXiv 2506.05345",
    .formula = "the wrapped press's, against a threshold",
    .cost = "the wrapped press on the prompt, then on one entry of each head for every token",
    .differs =
        "memory is freed (kvpress masks); while decoding too; there an entry is scored when it leaves the "
        "window (kvpress: when it comes), alone in both",
    .advice =
        "With presses whose score of an entry does not depend on others, as knorm: the threshold then means "
        "the same everywhere. Find it on a text of the kind that will follow.",
    .version = 1,
    .is_ragged = true,
    .is_outcome = true,
    .n_inner = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .turn = turn,
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
    .budget = budget,
    .select = select,
};
