/* Sizes of values behind the output projection, and scores weighed by them. */
#include "press/critical.h"

#include "press/output_panel.h"
#include "press/select.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { lanes = 8 };

kvl_status kvl_critical_check(const kvl_press_node *self, kvl_err *err) {
    const kvl_press *scorer = kvl_press_scorer(kvl_press_inner(self, 0))->press;
    return !scorer->is_signed ? KVL_OK
                              : kvl_fail(err, KVL_E_USAGE,
                                         "press %s: expected a press whose scores are 0 or more within it, "
                                         "found %s",
                                         self->press->name, scorer->name);
}

/* What norms are computed in. */
typedef struct work {
    float *values; /* [K, n, D] */
    kvl_output_panel panel;
} work;

static work take_work(kvl_room *room, const kvl_shape *s, size_t n) {
    work w;
    w.values = kvl_room_floats(room, (size_t)s->n_kv_heads * n * s->head_dim);
    w.panel = kvl_output_panel_take(room, s);
    return w;
}

size_t kvl_critical_floats(const kvl_shape *shape, size_t n) {
    kvl_room room = {0};
    (void)take_work(&room, shape, n);
    return room.used;
}

/* Sum of the magnitudes of a row, in a fixed order that the compiler may do side by side. */
static float sum_magnitudes(const float *x) {
    float sums[lanes] = {0};
    for (size_t c = 0; c < KVL_PANEL_COLS; c += lanes) {
        for (size_t i = 0; i < lanes; i++) {
            sums[i] += fabsf(x[c + i]);
        }
    }
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

void kvl_critical_norms(const kvl_layer_view *view, float *norms, float *scratch) {
    const kvl_shape *s = view->shape;
    const size_t longest = kvl_view_longest(view);
    kvl_room room = {scratch, 0};
    work w = take_work(&room, s, longest);
    for (uint32_t k = 0; k < s->n_kv_heads; k++) {
        kvl_view_values(&view->heads[k], w.values + k * longest * s->head_dim);
    }
    memset(norms, 0, s->n_kv_heads * longest * sizeof *norms);
    for (size_t first = 0; first < s->width; first += KVL_PANEL_COLS) {
        kvl_output_panel_open(&w.panel, view, first);
        for (uint32_t h = 0; h < s->n_heads; h++) {
            const uint32_t k = h / kvl_view_group(view);
            kvl_output_panel_add(&w.panel, view, h, w.values + k * longest * s->head_dim, view->heads[k].n,
                                 sum_magnitudes, norms + k * longest);
        }
    }
    for (size_t i = 0; i < s->n_kv_heads * longest; i++) {
        norms[i] /= (float)kvl_view_group(view);
    }
}

kvl_status kvl_critical_rescale(const kvl_head_view *head, float *scores, const float *norms, double epsilon,
                                size_t n_first, uint32_t *slots, void *scratch, kvl_err *err) {
    static const kvl_protections none = {0};
    if (n_first != 0) {
        KVL_TRY(kvl_select(slots, n_first, &none, scores, head->positions, head->n, scratch, err));
    }
    for (size_t j = 0; j < head->n; j++) {
        scores[j] = (scores[j] + (float)epsilon) * norms[j];
    }
    for (size_t i = 0; i < n_first; i++) {
        scores[slots[i]] = FLT_MAX;
    }
    return KVL_OK;
}
