/* Expected attention in closed form: for normal queries the mean of exp(q.k) is exp(m.k + k'Sk / 2). */
#include "press/expected.h"

#include "press/room.h"

#include <math.h>
#include <string.h>

/* out = factor R S R' for the symmetric S [D, D]. */
static void turn_covariance(const kvl_layer_view *view, const float *table, const float *s, float factor,
                            float *out) {
    const size_t dim = view->shape->head_dim;
    const size_t n_pairs = view->rope != NULL ? view->shape->n_rotary / 2 : 0;
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < dim; j++) {
            out[i * dim + j] = factor * s[i * dim + j];
        }
        kvl_view_turn(view, table, out + i * dim);
    }
    for (size_t i = 0; i < n_pairs; i++) { /* now the columns, two rows at a time */
        float *a = out + i * dim;
        float *b = out + (i + n_pairs) * dim;
        for (size_t j = 0; j < dim; j++) {
            const float x = a[j];
            const float y = b[j];
            a[j] = x * table[i] - y * table[n_pairs + i];
            b[j] = y * table[i] + x * table[n_pairs + i];
        }
    }
}

enum { key_block = 128 }; /* keys multiplied at once */

/* What a head's scoring works in. */
typedef struct work {
    float *rows;    /* [n, D] keys, later values */
    float *logits;  /* [n] */
    float *product; /* [key_block, D] */
    float *turned;  /* [D, D] */
    float *panels;
    float *mean;  /* [D] */
    float *table; /* [n_rotary] */
} work;

static work take_work(kvl_room *room, size_t n, size_t dim) {
    work w;
    w.rows = kvl_room_floats(room, n * dim);
    w.logits = kvl_room_floats(room, n);
    w.product = kvl_room_floats(room, key_block * dim);
    w.turned = kvl_room_floats(room, dim * dim);
    w.panels = kvl_room_take(room, kvl_panels_bytes(KVL_PANEL_F32, dim, dim));
    w.mean = kvl_room_floats(room, dim);
    w.table = kvl_room_floats(room, dim);
    return w;
}

size_t kvl_expected_floats(const kvl_shape *shape, size_t n) {
    kvl_room room = {0};
    (void)take_work(&room, n, shape->head_dim);
    return room.used;
}

/* Logits of all keys: (S k + m).k, so that one product has both terms. */
static void expect(const kvl_head_view *view, const work *w, const float *covariance) {
    const kvl_kernels *k = view->in->kernels;
    const size_t dim = view->in->shape->head_dim;
    const float scale = view->in->shape->attn_scale;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = w->panels};
    kvl_view_turn(view->in, w->table, w->mean);
    for (size_t i = 0; i < dim; i++) {
        w->mean[i] *= scale;
    }
    if (covariance == NULL) {
        for (size_t j = 0; j < view->n; j++) {
            w->logits[j] = (float)k->dot(w->mean, w->rows + j * dim, dim);
        }
        return;
    }
    turn_covariance(view->in, w->table, covariance, scale * scale / 2, w->turned);
    kvl_pack_panels(w->panels, KVL_PANEL_F32, w->turned, dim, dim);
    for (size_t done = 0; done < view->n; done += key_block) {
        const size_t n = kvl_min_size(key_block, view->n - done);
        const float *keys = w->rows + done * dim;
        k->gemm(w->product, dim, keys, dim, &panels, w->mean, n, dim, dim);
        for (size_t j = 0; j < n; j++) {
            w->logits[done + j] = (float)k->dot(w->product + j * dim, keys + j * dim, dim);
        }
    }
}

static void weigh_by_values(const kvl_head_view *view, double epsilon, float *values, float *scores) {
    const size_t dim = view->in->shape->head_dim;
    kvl_view_values(view, values);
    for (size_t j = 0; j < view->n; j++) {
        const float *v = values + j * dim;
        scores[j] = (float)(((double)scores[j] + epsilon) * sqrt(view->in->kernels->dot(v, v, dim)));
    }
}

void kvl_expected_score(const kvl_head_view *view, const kvl_expected *how, const float *means,
                        const float *covariances, float *scores, float *scratch) {
    const size_t dim = view->in->shape->head_dim;
    const uint32_t group = kvl_view_group(view->in);
    kvl_room room = {scratch, 0};
    const work w = take_work(&room, view->n, dim);
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = 0;
    }
    if (kvl_view_entries_before(view, how->n_sinks) == view->n) {
        return;
    }
    kvl_view_keys(view, w.rows);
    kvl_view_future_rotation(view, how->n_future, w.table);
    for (uint32_t g = 0; g < group; g++) {
        float most = 0;
        memcpy(w.mean, means + g * dim, dim * sizeof *means);
        expect(view, &w, covariances != NULL ? covariances + g * dim * dim : NULL);
        for (size_t j = 0; j < view->n; j++) {
            w.logits[j] = (uint64_t)view->positions[j] < how->n_sinks ? -INFINITY : w.logits[j];
        }
        const double sum = view->in->kernels->sum_exp(&most, w.logits, w.logits, view->n);
        const float share = (float)(1 / (sum * group));
        for (size_t j = 0; j < view->n; j++) {
            scores[j] += w.logits[j] * share;
        }
    }
    if (how->has_value_norm) {
        weigh_by_values(view, how->epsilon, w.rows, scores);
    }
}
