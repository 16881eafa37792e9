/* dms: evict what is worth less than a threshold when it leaves the window of newest tokens.
 *
 * Source: DMSPress of kvpress 0.5.5, the rule of inference of Lancucki et al., "Inference-Time Hyper-Scaling
 * with KV Cache Compression" (arXiv 2506.05345), without its trained evictors. Each entry is decided once,
 * for each head by itself: those of a prompt at its end, later ones when they leave the window. How much
 * stays is an outcome; the policy's budget does not matter.
 */
#include "press/press.h"

#include <math.h>

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

static kvl_status select(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err) {
    const conf *c = kvl_press_conf(self);
    (void)floats;
    (void)scratch;
    const uint64_t end = view->n_seen > c->window ? view->n_seen - c->window : 0; /* decided now or before */
    const uint64_t first = view->n_seen > view->n_prefill && end != 0 ? end - 1 : 0;
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
    .cost = "the wrapped press after every token",
    .differs =
        "memory is freed (kvpress masks); while decoding too; there an entry is scored among all that are "
        "left when it leaves the window (kvpress: alone when it comes)",
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
    .budget = budget,
    .select = select,
};
