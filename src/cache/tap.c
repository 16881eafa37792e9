/* Rings of rotated queries and running sums of plain ones, one of each for every (layer, query head). */
#include "cache/tap.h"

#include "base/alloc.h"

#include <string.h>

struct kvl_tap {
    kvl_needs needs;
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t head_dim;
    size_t room;     /* tokens of the ring; grows where all are kept */
    float *queries;  /* [L, H, room, D]: token t at t % room */
    double *sums;    /* [L, H, D] */
    double *seconds; /* [L, H, D, D]: products, upper triangle */
    float *first;    /* [L, H, KVL_TAP_FIRST, D] plain */
};

kvl_needs kvl_needs_join(kvl_needs a, kvl_needs b) {
    return (kvl_needs){.n_queries = a.n_queries > b.n_queries ? a.n_queries : b.n_queries,
                       .has_moments = a.has_moments || b.has_moments,
                       .has_mass = a.has_mass || b.has_mass};
}

bool kvl_needs_are_met(kvl_needs needs, kvl_needs by) {
    return needs.n_queries <= by.n_queries && needs.has_moments <= by.has_moments &&
           needs.has_mass <= by.has_mass;
}

static size_t n_heads(const kvl_tap *t) { return (size_t)t->n_layers * t->n_heads; }

static size_t head_at(const kvl_tap *t, uint32_t layer, uint32_t head) {
    return (size_t)layer * t->n_heads + head;
}

/* Tokens of the ring for a text of n_tokens: a function of these alone, so that it can be planned. */
static size_t ring_room(kvl_needs needs, size_t n_tokens) {
    enum { step = 256 };
    return needs.n_queries != KVL_ALL_QUERIES ? needs.n_queries : kvl_round_up(n_tokens, step);
}

static kvl_status set_room(kvl_tap *t, size_t room, kvl_err *err) {
    const size_t row = (size_t)t->head_dim * sizeof(float);
    float *fresh = kvl_calloc(n_heads(t) * room, row);
    if (fresh == NULL) {
        return kvl_fail_nomem(err, "noted queries");
    }
    for (size_t i = 0; t->queries != NULL && i < n_heads(t); i++) {
        memcpy(fresh + i * room * t->head_dim, t->queries + i * t->room * t->head_dim, t->room * row);
    }
    kvl_free(t->queries);
    t->queries = fresh;
    t->room = room;
    return KVL_OK;
}

static kvl_status alloc_moments(kvl_tap *t, kvl_err *err) {
    const size_t dim = t->head_dim;
    t->sums = kvl_calloc(n_heads(t) * dim, sizeof *t->sums);
    t->seconds = kvl_calloc(n_heads(t) * dim * dim, sizeof *t->seconds);
    t->first = kvl_calloc(n_heads(t) * KVL_TAP_FIRST * dim, sizeof *t->first);
    return t->sums != NULL && t->seconds != NULL && t->first != NULL ? KVL_OK
                                                                     : kvl_fail_nomem(err, "noted queries");
}

kvl_status kvl_tap_create(kvl_tap **out, const kvl_shape *shape, kvl_needs needs, kvl_err *err) {
    kvl_status status = KVL_OK;
    kvl_tap *t = kvl_calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL) {
        return kvl_fail_nomem(err, "noted queries");
    }
    t->needs = needs;
    t->n_layers = shape->n_layers;
    t->n_heads = shape->n_heads;
    t->head_dim = shape->head_dim;
    if (needs.n_queries != 0 && needs.n_queries != KVL_ALL_QUERIES) {
        KVL_GO(set_room(t, needs.n_queries, err));
    }
    if (needs.has_moments) {
        KVL_GO(alloc_moments(t, err));
    }
    *out = t;
    t = NULL;
done:
    kvl_tap_destroy(t);
    return status;
}

void kvl_tap_destroy(kvl_tap *t) {
    if (t != NULL) {
        kvl_free(t->queries);
        kvl_free(t->sums);
        kvl_free(t->seconds);
        kvl_free(t->first);
        kvl_free(t);
    }
}

kvl_status kvl_tap_fork(kvl_tap **out, const kvl_tap *t, kvl_err *err) {
    const kvl_shape shape = {.n_layers = t->n_layers, .n_heads = t->n_heads, .head_dim = t->head_dim};
    const size_t dim = t->head_dim;
    KVL_TRY(kvl_tap_create(out, &shape, t->needs, err));
    kvl_tap *copy = *out;
    if (t->room > copy->room && set_room(copy, t->room, err) != KVL_OK) {
        kvl_tap_destroy(copy);
        *out = NULL;
        return KVL_E_NOMEM;
    }
    if (t->room != 0) {
        memcpy(copy->queries, t->queries, n_heads(t) * t->room * dim * sizeof *t->queries);
    }
    if (t->needs.has_moments) {
        memcpy(copy->sums, t->sums, n_heads(t) * dim * sizeof *t->sums);
        memcpy(copy->seconds, t->seconds, n_heads(t) * dim * dim * sizeof *t->seconds);
        memcpy(copy->first, t->first, n_heads(t) * KVL_TAP_FIRST * dim * sizeof *t->first);
    }
    return KVL_OK;
}

kvl_needs kvl_tap_needs(const kvl_tap *t) { return t != NULL ? t->needs : (kvl_needs){0}; }

kvl_status kvl_tap_reserve(kvl_tap *t, size_t n_tokens, kvl_err *err) {
    const size_t room = ring_room(t->needs, n_tokens);
    return room > t->room ? set_room(t, room, err) : KVL_OK;
}

/* Adds a query to the sums of a head: sum [D], second [D, D]. */
static void add_products(double *sum, double *second, const float *query, size_t dim, double sign) {
    for (size_t i = 0; i < dim; i++) {
        const double x = sign * (double)query[i];
        double *row = second + i * dim;
        sum[i] += x;
        for (size_t j = i; j < dim; j++) {
            row[j] += x * (double)query[j];
        }
    }
}

void kvl_tap_note_plain(kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token, const float *query) {
    const size_t dim = t->head_dim;
    const size_t i = head_at(t, layer, head);
    if (!t->needs.has_moments) {
        return;
    }
    add_products(t->sums + i * dim, t->seconds + i * dim * dim, query, dim, 1);
    if (token < KVL_TAP_FIRST) {
        memcpy(t->first + (i * KVL_TAP_FIRST + token) * dim, query, dim * sizeof *query);
    }
}

void kvl_tap_note_rotated(kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token, const float *query) {
    if (t->room != 0) {
        float *to = t->queries + (head_at(t, layer, head) * t->room + token % t->room) * t->head_dim;
        memcpy(to, query, t->head_dim * sizeof *query);
    }
}

uint64_t kvl_tap_oldest(const kvl_tap *t, uint64_t n_seen) { return n_seen > t->room ? n_seen - t->room : 0; }

const float *kvl_tap_query(const kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token) {
    return t->queries + (head_at(t, layer, head) * t->room + token % t->room) * t->head_dim;
}

void kvl_tap_moments(const kvl_tap *t, uint32_t layer, uint32_t head, uint64_t n_seen, uint64_t n_skip,
                     float *mean, float *covariance, double *scratch) {
    const size_t dim = t->head_dim;
    const size_t at = head_at(t, layer, head);
    const double *second = t->seconds + at * dim * dim;
    const float *first = t->first + at * KVL_TAP_FIRST * dim;
    const double n = (double)(n_seen - n_skip);
    for (size_t i = 0; i < dim; i++) {
        scratch[i] = t->sums[at * dim + i];
        for (size_t k = 0; k < n_skip; k++) {
            scratch[i] -= (double)first[k * dim + i];
        }
        scratch[i] /= n;
        mean[i] = (float)scratch[i];
    }
    for (size_t i = 0; covariance != NULL && i < dim; i++) {
        for (size_t j = i; j < dim; j++) {
            double product = second[i * dim + j];
            for (size_t k = 0; k < n_skip; k++) {
                product -= (double)first[k * dim + i] * (double)first[k * dim + j];
            }
            covariance[i * dim + j] = (float)(product / n - scratch[i] * scratch[j]);
            covariance[j * dim + i] = covariance[i * dim + j];
        }
    }
}

uint64_t kvl_tap_bytes_of(const kvl_shape *s, kvl_needs needs, size_t n_tokens) {
    const uint64_t heads = (uint64_t)s->n_layers * s->n_heads;
    const uint64_t dim = s->head_dim;
    uint64_t row_bytes = ring_room(needs, n_tokens) * dim * sizeof(float);
    if (needs.has_moments) {
        row_bytes += (dim + dim * dim) * sizeof(double) + KVL_TAP_FIRST * dim * sizeof(float);
    }
    return heads * row_bytes;
}

uint64_t kvl_tap_bytes(const kvl_tap *t) {
    if (t == NULL) {
        return 0;
    }
    const kvl_shape shape = {.n_layers = t->n_layers, .n_heads = t->n_heads, .head_dim = t->head_dim};
    return kvl_tap_bytes_of(&shape, t->needs, t->room);
}
