/* Accessors of a view: from the cache and the tap to rows of numbers. */
#include "press/view.h"

#include "kernel/gram.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

typedef void copy_fn(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n, float *dst);

/* Keys or values of entries first .. first + n - 1 of the view, in runs of slots that follow each other. */
static void copy_rows(const kvl_head_view *view, size_t first, size_t n, float *dst, copy_fn *copy) {
    const kvl_layer_view *in = view->in;
    for (size_t j = first, end; j < first + n; j = end) {
        const size_t slot = kvl_view_slot(view, j);
        for (end = j + 1; end < first + n && kvl_view_slot(view, end) == slot + (end - j); end++) {
        }
        copy(in->cache, in->layer, view->head, slot, end - j, dst + (j - first) * in->shape->head_dim);
    }
}

void kvl_view_keys(const kvl_head_view *view, float *dst) {
    copy_rows(view, 0, view->n, dst, kvl_cache_copy_key_rows);
}

void kvl_view_values(const kvl_head_view *view, float *dst) {
    copy_rows(view, 0, view->n, dst, kvl_cache_copy_value_rows);
}

/* Summed in double: two keys whose norms differ by less than a float rounding error are then ranked by their
 * true norms, not by the order of summation. */
void kvl_view_key_norms(const kvl_head_view *view, float *norms, float *scratch) {
    const size_t dim = view->in->shape->head_dim;
    kvl_view_keys(view, scratch);
    for (size_t j = 0; j < view->n; j++) {
        norms[j] = kvl_row_norm(scratch + j * dim, dim);
    }
}

/* The angle is formed in float, as where keys were rotated. The table's gain is left out: turning back must
 * undo it, turning on must not apply it twice. */
static void turn(const kvl_layer_view *view, float *v, double by, float gain) {
    const size_t n_pairs = view->shape->n_rotary / 2;
    for (size_t i = 0; i < n_pairs; i++) {
        const double angle = (double)((float)by * view->rope->frequencies[i]);
        const float c = (float)cos(angle) * gain;
        const float s = (float)sin(angle) * gain;
        const float a = v[i];
        const float b = v[i + n_pairs];
        v[i] = a * c - b * s;
        v[i + n_pairs] = b * c + a * s;
    }
}

void kvl_view_rotate(const kvl_layer_view *view, float *v, double by) {
    if (view->rope != NULL) {
        turn(view, v, by, 1);
    }
}

/* Angles a, a + t, ... n times sum to a rotation by the middle one, n times as long as by sin(nt/2) / n
 * sin(t/2).
 */
void kvl_view_future_rotation(const kvl_head_view *view, uint64_t n_future, float *table) {
    const kvl_layer_view *in = view->in;
    const size_t n_pairs = in->shape->n_rotary / 2;
    const double n = (double)n_future;
    const double next = !in->is_cache_length_position ? (double)in->n_seen
                        : in->n_moved != 0            ? (double)(in->len_moved + in->n_seen - in->n_moved)
                                                      : (double)view->n;
    for (size_t i = 0; in->rope != NULL && i < n_pairs; i++) {
        const double step = (double)in->rope->frequencies[i];
        const double half = sin(step / 2);
        const double length = fabs(half) > 1e-12 ? sin(n * step / 2) / (n * half) : 1;
        const double middle = (next + (n - 1) / 2) * step;
        table[i] = (float)(length * cos(middle)) * in->rope->gain;
        table[n_pairs + i] = (float)(length * sin(middle)) * in->rope->gain;
    }
}

void kvl_view_turn(const kvl_layer_view *view, const float *table, float *v) {
    const size_t n_pairs = view->shape->n_rotary / 2;
    for (size_t i = 0; view->rope != NULL && i < n_pairs; i++) {
        const float a = v[i];
        const float b = v[i + n_pairs];
        v[i] = a * table[i] - b * table[n_pairs + i];
        v[i + n_pairs] = b * table[i] + a * table[n_pairs + i];
    }
}

double kvl_view_rotation(const kvl_head_view *view, size_t j) {
    const kvl_layer_view *in = view->in;
    const uint64_t position = (uint64_t)view->positions[j];
    if (!in->is_cache_length_position) {
        return (double)position;
    }
    return in->n_moved != 0 && position >= in->n_moved ? (double)(in->len_moved + position - in->n_moved)
                                                       : (double)kvl_view_slot(view, j);
}

void kvl_view_plain_keys(const kvl_head_view *view, float *dst) {
    kvl_view_keys(view, dst);
    for (size_t j = 0; view->in->rope != NULL && j < view->n; j++) {
        turn(view->in, dst + j * view->in->shape->head_dim, -kvl_view_rotation(view, j),
             1 / view->in->rope->gain);
    }
}

void kvl_view_mass(const kvl_head_view *view, float *dst) {
    const kvl_head_entries entries = kvl_cache_entries(view->in->cache, view->in->layer, view->head);
    for (size_t j = 0; j < view->n; j++) {
        dst[j] = (float)((double)entries.mass[kvl_view_slot(view, j)] / KVL_MASS_ONE);
    }
}

float kvl_view_input_length(const kvl_layer_view *view, uint64_t position) {
    return kvl_tap_input(view->tap, view->layer, position);
}

void kvl_view_learned(const kvl_head_view *view, float *dst) {
    for (size_t j = 0; j < view->n; j++) {
        dst[j] = view->in->learned[view->head][kvl_view_slot(view, j)];
    }
}

size_t kvl_view_window(const kvl_layer_view *view, size_t n_queries) {
    uint64_t oldest = kvl_tap_oldest(view->tap, view->n_seen);
    oldest = view->first_token > oldest ? view->first_token : oldest;
    oldest = view->n_moved > oldest ? view->n_moved : oldest;
    return kvl_min_size(n_queries, view->n_seen > oldest ? (size_t)(view->n_seen - oldest) : 1);
}

const float *kvl_view_query(const kvl_layer_view *view, uint32_t head, uint64_t position) {
    return kvl_tap_query(view->tap, view->layer, head, position);
}

enum { key_block = 128 }; /* keys multiplied at once with the queries */

size_t kvl_view_attention_floats(const kvl_shape *shape) { return 2 * (size_t)key_block * shape->head_dim; }

/* A row of products becomes weights; entries that the query does not see get 0, all of them if it sees none.
 */
static void softmax(const kvl_head_view *view, int64_t position, float *row) {
    const kvl_layer_view *in = view->in;
    const kvl_shape *s = in->shape;
    const int64_t oldest = in->is_local ? position - (int64_t)s->window + 1 : 0;
    float most = 0;
    bool sees_any = false;
    for (size_t j = 0; j < view->n; j++) {
        const float x = row[j] * s->attn_scale;
        const bool is_seen = view->positions[j] <= position && view->positions[j] >= oldest;
        sees_any = sees_any || is_seen;
        row[j] = !is_seen              ? -INFINITY
                 : s->attn_softcap > 0 ? s->attn_softcap * tanhf(x / s->attn_softcap)
                                       : x;
    }
    if (!sees_any) {
        memset(row, 0, view->n * sizeof *row);
        return;
    }
    const float inverse = (float)(1 / in->kernels->sum_exp(&most, row, row, view->n));
    for (size_t j = 0; j < view->n; j++) {
        row[j] *= inverse;
    }
}

/* In runs, since noted queries lie in a ring. */
void kvl_view_multiply(const kvl_layer_view *view, uint32_t head, uint64_t first, uint64_t end,
                       const kvl_panels *keys, size_t n, float *out, size_t out_stride) {
    const size_t dim = view->shape->head_dim;
    for (uint64_t p = first, next; p < end; p = next) {
        const float *run = kvl_view_query(view, head, p);
        for (next = p + 1; next < end && kvl_view_query(view, head, next) == run + (next - p) * dim; next++) {
        }
        view->kernels->gemm(out + (p - first) * out_stride, out_stride, run, dim, keys, NULL,
                            (size_t)(next - p), dim, n);
    }
}

void kvl_view_attention(const kvl_head_view *view, uint64_t first, uint64_t end, float *weights,
                        float *scratch) {
    const kvl_layer_view *in = view->in;
    const size_t dim = in->shape->head_dim;
    const uint32_t group = kvl_view_group(in);
    const size_t n_tokens = (size_t)(end - first);
    const kvl_panels packed = {.type = KVL_PANEL_F32, .data = scratch};
    float *keys = scratch + key_block * dim;
    for (size_t done = 0; done < view->n; done += key_block) {
        const size_t n = kvl_min_size(key_block, view->n - done);
        copy_rows(view, done, n, keys, kvl_cache_copy_key_rows);
        kvl_pack_panels(packed.data, KVL_PANEL_F32, keys, dim, n);
        for (uint32_t g = 0; g < group; g++) {
            kvl_view_multiply(in, view->head * group + g, first, end, &packed, n,
                              weights + g * n_tokens * view->n + done, view->n);
        }
    }
    for (size_t i = 0; i < group * n_tokens; i++) {
        softmax(view, (int64_t)(first + i % n_tokens), weights + i * view->n);
    }
}

enum { vote_tokens = 8 }; /* whose weights are there at once */

size_t kvl_view_votes_floats(const kvl_shape *shape, size_t n) {
    return kvl_round_up(vote_tokens * n * (shape->n_heads / shape->n_kv_heads), 16) +
           kvl_view_attention_floats(shape);
}

void kvl_view_votes(const kvl_head_view *view, uint64_t first, uint64_t end, float *votes, float *scratch) {
    kvl_view_weighted_votes(view, first, end, NULL, votes, scratch);
}

void kvl_view_weighted_votes(const kvl_head_view *view, uint64_t first, uint64_t end, const float *factors,
                             float *votes, float *scratch) {
    const uint32_t group = kvl_view_group(view->in);
    float *weights = scratch;
    float *rest = scratch + kvl_round_up(vote_tokens * view->n * group, 16);
    for (size_t j = 0; j < view->n; j++) {
        votes[j] = 0;
    }
    for (uint64_t p = first; p < end; p += vote_tokens) {
        const size_t n_tokens = kvl_min_size(vote_tokens, (size_t)(end - p));
        kvl_view_attention(view, p, p + n_tokens, weights, rest);
        for (size_t i = 0; i < group * n_tokens; i++) {
            float *row = weights + i * view->n;
            for (size_t j = 0; factors != NULL && j < view->n; j++) {
                row[j] *= factors[p - first + i % n_tokens];
            }
            view->in->kernels->add(votes, row, view->n);
        }
    }
    for (size_t j = 0; j < view->n; j++) {
        votes[j] /= (float)(group * (end - first));
    }
}

/* Shell's sort: one look at each of log2 n gaps when they are in order, as they are but for order=score. */
void kvl_view_by_age(const kvl_head_view *view, uint32_t *slots) {
    for (size_t j = 0; j < view->n; j++) {
        slots[j] = (uint32_t)j;
    }
    for (size_t gap = view->n / 2; gap != 0; gap /= 2) {
        for (size_t j = gap; j < view->n; j++) {
            const uint32_t slot = slots[j];
            size_t to = j;
            for (; to >= gap && view->positions[slots[to - gap]] > view->positions[slot]; to -= gap) {
                slots[to] = slots[to - gap];
            }
            slots[to] = slot;
        }
    }
}

size_t kvl_view_entries_before(const kvl_head_view *view, uint64_t position) {
    size_t n = 0;
    for (size_t j = 0; j < view->n; j++) {
        n += (uint64_t)view->positions[j] < position;
    }
    return n;
}

void kvl_pool_average(float *out, const float *x, size_t n, size_t kernel) {
    for (size_t i = 0; i < n; i++) {
        const size_t from = i < kernel / 2 ? 0 : i - kernel / 2;
        const size_t to = kvl_min_size(n, i + kernel - kernel / 2);
        double sum = 0;
        for (size_t j = from; j < to; j++) {
            sum += (double)x[j];
        }
        out[i] = (float)(sum / (double)kernel);
    }
}

void kvl_view_output(const kvl_layer_view *view, size_t first, size_t n, float *dst) {
    const kvl_linear *w = &view->weights->attn_out;
    for (size_t i = 0; i < n; i++) {
        kvl_linear_column(w, first + i, dst + i * w->n_in);
    }
}
