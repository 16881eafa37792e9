/* What presses see of a compression: one layer of one stream at one moment, read only.
 *
 * Numbers come through accessors, row by row in f32, so that a press knows neither storage types nor panel
 * layout nor other streams. Query heads are numbered 0 .. H-1; those of KV head j are j * G .. j * G + G - 1
 * with G = H / K.
 */
#ifndef KVL_PRESS_VIEW_H
#define KVL_PRESS_VIEW_H

#include "cache/cache.h"
#include "cache/calibration.h"
#include "cache/tap.h"
#include "model/shape.h"

typedef struct kvl_layer_view kvl_layer_view;
struct kvl_layer;
struct kvl_rope;

/* One KV head. */
typedef struct kvl_head_view {
    const kvl_layer_view *in;
    uint32_t head;
    size_t n;                 /* entries */
    const int32_t *positions; /* [n] token positions, in slot order */
    const uint32_t *slots;    /* [n] of a part of the head's entries where these are, ascending; NULL: all */
    size_t target; /* entries that the budget leaves; of a ragged press their mean, maybe above n */
} kvl_head_view;

struct kvl_layer_view {
    const kvl_shape *shape;
    const kvl_kernels *kernels;
    uint32_t layer;
    const kvl_head_view *heads; /* [K] */
    uint64_t n_seen;            /* tokens the stream has processed */
    uint64_t first_token;       /* of the part of the text that is looked at; 0: all of it */
    uint64_t n_prefill;         /* of them those of its prompt; 0: everything is decoding */
    uint64_t event;             /* compressions of this stream before this one */
    uint64_t seed;              /* of the stream: equal runs see equal seeds */
    bool is_local;              /* rows see the last shape->window tokens only */
    /* for the accessors */
    const kvl_cache *cache;
    const kvl_tap *tap;              /* NULL: nothing was noted */
    const struct kvl_layer *weights; /* of this layer; NULL in tests of single heads */
    const struct kvl_rope *rope;     /* frequencies of this layer; NULL: nothing is rotated */
    bool is_cache_length_position;   /* tokens are rotated by the length of layer 0 before them */
    uint64_t n_moved;                /* keys of tokens before are rotated by their slots; 0: none was moved */
    uint64_t len_moved;              /* where token n_moved stood */
    float *const *learned;           /* [K][entries] what second passes told; NULL: there were none */
};

/* Where entry j of a view lies in the head. */
static inline size_t kvl_view_slot(const kvl_head_view *view, size_t j) {
    return view->slots != NULL ? view->slots[j] : j;
}

KVL_API_BEGIN

/* Keys after rotation, and values: dst [n, D]. */
void kvl_view_keys(const kvl_head_view *view, float *dst);
void kvl_view_values(const kvl_head_view *view, float *dst);
/* L2 norms of the keys: norms [n]; the keys stay in scratch [n, D]. Rotation does not change them. */
void kvl_view_key_norms(const kvl_head_view *view, float *norms, float *scratch);
/* The position by which the key of the view's entry j is rotated. With positions=cache-length and keys that
 * no press moves it is known until the first compression only (later: as if they had been moved). */
double kvl_view_rotation(const kvl_head_view *view, size_t j);
/* Keys before rotation: dst [n, D]. */
void kvl_view_plain_keys(const kvl_head_view *view, float *dst);
/* Rotates the vector v [D] by `by` positions (which may be negative or fractional), in place. */
void kvl_view_rotate(const kvl_layer_view *view, float *v, double by);
/* The mean of the rotations (gain included) by the next n_future positions after all that was seen: a cosine
 * for each pair of dimensions, then a sine for each; table [n_rotary]. And its application to v [D], in
 * place. */
void kvl_view_future_rotation(const kvl_head_view *view, uint64_t n_future, float *table);
void kvl_view_turn(const kvl_layer_view *view, const float *table, float *v);
/* Mean attention that each entry has received from all rows so far, summed over the group: dst [n].
 * Needs has_mass. */
void kvl_view_mass(const kvl_head_view *view, float *dst);

/* The Euclidean length of the layer's input of attention (normalised) for a token. Needs has_inputs. */
float kvl_view_input_length(const kvl_layer_view *view, uint64_t position);
/* What second passes have told of each entry: dst [n]. For presses that look again. */
void kvl_view_learned(const kvl_head_view *view, float *dst);

/* Statistics of the model. Needs has_calibration. */
static inline const kvl_calibration *kvl_view_calibration(const kvl_layer_view *view) {
    return view->shape->calibration;
}

/* Query heads of one KV head. */
static inline uint32_t kvl_view_group(const kvl_layer_view *view) {
    return view->shape->n_heads / view->shape->n_kv_heads;
}
/* Entries of the longest head. */
static inline size_t kvl_view_longest(const kvl_layer_view *view) {
    size_t longest = 0;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        longest = kvl_max_size(longest, view->heads[k].n);
    }
    return longest;
}
/* The last tokens whose queries are there, at most n_queries of them, and n_seen. */
size_t kvl_view_window(const kvl_layer_view *view, size_t n_queries);
/* The rotated query [D] of query head `head` (0 .. H-1) for a token position. Needs n_queries. */
const float *kvl_view_query(const kvl_layer_view *view, uint32_t head, uint64_t position);

/* Products of the rotated queries of one query head (tokens first .. end - 1, which must be there) with n
 * packed keys of D: out [end - first, n], row stride out_stride floats. Without the scale of attention. */
void kvl_view_multiply(const kvl_layer_view *view, uint32_t head, uint64_t first, uint64_t end,
                       const kvl_panels *keys, size_t n, float *out, size_t out_stride);

/* Attention weights of queries over all entries of one head, as the model computes them (scale, softcap,
 * window, and only entries at or before the query's position); tokens first .. end - 1, whose queries are
 * there.
 *   weights  [G, end - first, n]
 *   scratch  kvl_view_attention_floats(shape) floats, 64-byte aligned */
void kvl_view_attention(const kvl_head_view *view, uint64_t first, uint64_t end, float *weights,
                        float *scratch);
size_t kvl_view_attention_floats(const kvl_shape *shape);

/* The same, summed over tokens first .. end - 1 and the group, divided by their number: votes [n].
 *   scratch  kvl_view_votes_floats(shape, n) floats, 64-byte aligned */
void kvl_view_votes(const kvl_head_view *view, uint64_t first, uint64_t end, float *votes, float *scratch);
/* The same with the weights of token first + i multiplied by factors[i] before. */
void kvl_view_weighted_votes(const kvl_head_view *view, uint64_t first, uint64_t end, const float *factors,
                             float *votes, float *scratch);
size_t kvl_view_votes_floats(const kvl_shape *shape, size_t n);

/* Slots of a head from its oldest entry to its newest: slots [n]. With order=score they are not in that order
 * by themselves. */
void kvl_view_by_age(const kvl_head_view *view, uint32_t *slots);
/* Entries of positions below `position`, counted. */
size_t kvl_view_entries_before(const kvl_head_view *view, uint64_t position);
/* out[i] = the sum of `kernel` values from x[i - kernel / 2] on, over kernel, for n values; what lies beyond
 * the ends is 0. */
void kvl_pool_average(float *out, const float *x, size_t n, size_t kernel);

/* Rows first .. first + n - 1 of attention's output projection, one for each of the E outputs: dst [n, H D].
 */
void kvl_view_output(const kvl_layer_view *view, size_t first, size_t n, float *dst);

KVL_API_END

#endif
