/* What a stream notes of its queries while it runs, for presses that rank by them.
 *
 * Keys and values stay in the cache; queries are gone after their pass unless they are noted here: those of
 * the last tokens, after rotation, and the moments of all of them, before rotation. What one token adds does
 * not depend on how the text was cut into passes: same bits. One thread may note queries of a (layer, head)
 * while others note those of others.
 *
 * Attention received by entries is kept beside them in the cache (kvl_cache_track_mass): it moves with them.
 */
#ifndef KVL_CACHE_TAP_H
#define KVL_CACHE_TAP_H

#include "base/status.h"
#include "model/shape.h"

enum {
    KVL_TAP_FIRST = 64, /* queries of so many first tokens are kept, to be left out of the moments */
};
#define KVL_ALL_QUERIES UINT32_MAX

/* What must be noted; all zero: nothing. */
typedef struct kvl_needs {
    uint32_t n_queries;   /* of the last so many tokens, after rotation; KVL_ALL_QUERIES: of all */
    bool has_moments;     /* sums and products of all queries before rotation, and the first ones */
    bool has_mass;        /* attention that each entry has received */
    bool is_mass_late;    /* only from tokens behind the prompt; not together with has_mass of others */
    bool has_inputs;      /* lengths of attention's inputs, for so many tokens as queries (not for all) */
    bool is_plain;        /* nothing of the stream: a cache that is not quantised */
    bool has_calibration; /* nothing of the stream: statistics of the model (kvl_shape.calibration) */
} kvl_needs;

typedef struct kvl_tap kvl_tap;

/* What serves both. */
kvl_needs kvl_needs_join(kvl_needs a, kvl_needs b);
bool kvl_needs_are_met(kvl_needs needs, kvl_needs by);

/* Destroy with kvl_tap_destroy. */
kvl_status kvl_tap_create(kvl_tap **out, const kvl_shape *shape, kvl_needs needs, kvl_err *err) KVL_MUST_USE;
/* A copy, after n_seen tokens, that goes on to note what `needs` asks for, which the tap's needs must meet.
 */
kvl_status kvl_tap_fork(kvl_tap **out, const kvl_tap *t, kvl_needs needs, uint64_t n_seen,
                        kvl_err *err) KVL_MUST_USE;
void kvl_tap_destroy(kvl_tap *t);
kvl_needs kvl_tap_needs(const kvl_tap *t);

/* Makes room for tokens below n_tokens, so that noting them cannot fail. */
kvl_status kvl_tap_reserve(kvl_tap *t, size_t n_tokens, kvl_err *err) KVL_MUST_USE;
/* Notes the query [D] of query head `head` for token number `token` (from 0, each once, in order): before
 * its rotation, and after it. */
void kvl_tap_note_plain(kvl_tap *t, const kvl_kernels *kernels, uint32_t layer, uint32_t head, uint64_t token,
                        const float *query);
void kvl_tap_note_rotated(kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token, const float *query);

/* Notes the Euclidean length of a layer's input of attention (normalised) for a token. */
void kvl_tap_note_input(kvl_tap *t, uint32_t layer, uint64_t token, float length);

/* The first token whose rotated queries are still there when n_seen were noted. */
uint64_t kvl_tap_oldest(const kvl_tap *t, uint64_t n_seen);
/* The rotated query [D] of a token from there on; the length of its input. */
const float *kvl_tap_query(const kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token);
float kvl_tap_input(const kvl_tap *t, uint32_t layer, uint64_t token);
/* Mean [D] and covariance [D, D] (divided by the count) of the plain queries of tokens n_skip .. n_seen - 1;
 * n_skip <= KVL_TAP_FIRST, below n_seen. The covariance may be NULL: not asked for.
 *   scratch  [kvl_tap_moments_doubles(D)] */
void kvl_tap_moments(const kvl_tap *t, const kvl_kernels *kernels, uint32_t layer, uint32_t head,
                     uint64_t n_seen, uint64_t n_skip, float *mean, float *covariance, double *scratch);
size_t kvl_tap_moments_doubles(size_t head_dim);

/* Bytes allocated now, and by a tap with such needs after n_tokens. */
uint64_t kvl_tap_bytes(const kvl_tap *t);
uint64_t kvl_tap_bytes_of(const kvl_shape *shape, kvl_needs needs, size_t n_tokens);

#endif
