/* Rings of rotated queries and running sums of plain ones, one of each for every (layer, query head).
 *
 * Products of plain queries are summed a block of KVL_TAP_FIRST tokens at a time. Blocks begin at multiples
 * of that, so that the sums do not depend on passes. The first block is kept as it is, in later ones the last
 * query of the first is subtracted: means may be far larger than what varies about them.
 */
#include "cache/tap.h"

#include "base/alloc.h"
#include "kernel/gram.h"

#include <string.h>

struct kvl_tap {
    kvl_needs needs;
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t head_dim;
    size_t room;     /* tokens of the ring; grows where all are kept */
    float *queries;  /* [L, H, room, D]: token t at t % room */
    float *inputs;   /* [L, room] lengths; NULL: not noted */
    float *first;    /* [L, H, KVL_TAP_FIRST, D] plain */
    float *block;    /* [L, H, KVL_TAP_FIRST, D] the block that is being filled */
    double *sums;    /* [L, H, D] of whole blocks but the first */
    double *seconds; /* [L, H, D, D] of products, upper triangle */
};

kvl_needs kvl_needs_join(kvl_needs a, kvl_needs b) {
    return (kvl_needs){.n_queries = a.n_queries > b.n_queries ? a.n_queries : b.n_queries,
                       .has_moments = a.has_moments || b.has_moments,
                       .has_mass = a.has_mass || b.has_mass,
                       .is_mass_late = (a.is_mass_late || !a.has_mass) && (b.is_mass_late || !b.has_mass) &&
                                       (a.has_mass || b.has_mass),
                       .is_plain = a.is_plain || b.is_plain,
                       .has_inputs = a.has_inputs || b.has_inputs,
                       .has_calibration = a.has_calibration || b.has_calibration};
}

bool kvl_needs_are_met(kvl_needs needs, kvl_needs by) {
    return needs.n_queries <= by.n_queries && needs.has_moments <= by.has_moments &&
           needs.has_mass <= by.has_mass && (!needs.has_mass || needs.is_mass_late == by.is_mass_late) &&
           needs.is_plain <= by.is_plain && needs.has_inputs <= by.has_inputs;
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
    t->block = kvl_calloc(n_heads(t) * KVL_TAP_FIRST * dim, sizeof *t->block);
    return t->sums != NULL && t->seconds != NULL && t->first != NULL && t->block != NULL
               ? KVL_OK
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
    if (needs.has_inputs) {
        t->inputs = kvl_calloc((size_t)t->n_layers * t->room, sizeof *t->inputs);
        KVL_GO(t->inputs != NULL ? KVL_OK : kvl_fail_nomem(err, "noted inputs"));
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
        kvl_free(t->inputs);
        kvl_free(t->sums);
        kvl_free(t->seconds);
        kvl_free(t->first);
        kvl_free(t->block);
        kvl_free(t);
    }
}

/* Rotated queries and lengths of inputs of the last tokens, as many as the copy has room for. */
static void copy_last(kvl_tap *copy, const kvl_tap *t, uint64_t n_seen) {
    const size_t dim = t->head_dim;
    const uint64_t n = kvl_min_size((size_t)n_seen, kvl_min_size(copy->room, t->room));
    for (uint64_t token = n_seen - n; token < n_seen; token++) {
        const size_t to = token % copy->room;
        const size_t from = token % t->room;
        for (size_t i = 0; i < n_heads(t); i++) {
            memcpy(copy->queries + (i * copy->room + to) * dim, t->queries + (i * t->room + from) * dim,
                   dim * sizeof *t->queries);
        }
        for (size_t i = 0; copy->inputs != NULL && i < t->n_layers; i++) {
            copy->inputs[i * copy->room + to] = t->inputs[i * t->room + from];
        }
    }
}

kvl_status kvl_tap_fork(kvl_tap **out, const kvl_tap *t, kvl_needs needs, uint64_t n_seen, kvl_err *err) {
    const kvl_shape shape = {.n_layers = t->n_layers, .n_heads = t->n_heads, .head_dim = t->head_dim};
    const size_t dim = t->head_dim;
    KVL_TRY(kvl_tap_create(out, &shape, needs, err));
    kvl_tap *copy = *out;
    if (needs.n_queries == KVL_ALL_QUERIES && t->room != 0 && set_room(copy, t->room, err) != KVL_OK) {
        kvl_tap_destroy(copy);
        *out = NULL;
        return KVL_E_NOMEM;
    }
    copy_last(copy, t, n_seen);
    if (needs.has_moments) {
        memcpy(copy->sums, t->sums, n_heads(t) * dim * sizeof *t->sums);
        memcpy(copy->seconds, t->seconds, n_heads(t) * dim * dim * sizeof *t->seconds);
        memcpy(copy->first, t->first, n_heads(t) * KVL_TAP_FIRST * dim * sizeof *t->first);
        memcpy(copy->block, t->block, n_heads(t) * KVL_TAP_FIRST * dim * sizeof *t->block);
    }
    return KVL_OK;
}

kvl_needs kvl_tap_needs(const kvl_tap *t) { return t != NULL ? t->needs : (kvl_needs){0}; }

kvl_status kvl_tap_reserve(kvl_tap *t, size_t n_tokens, kvl_err *err) {
    const size_t room = ring_room(t->needs, n_tokens);
    return room > t->room ? set_room(t, room, err) : KVL_OK;
}

/* Adds n rows x [n, D] to the sums of a head. */
static void add_rows(const kvl_kernels *k, double *sum, double *second, const float *x, size_t n,
                     size_t dim) {
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < dim; i++) {
            sum[i] += (double)x[r * dim + i];
        }
    }
    if (second != NULL) {
        kvl_gram_add(k, second, x, n, dim);
    }
}

static void subtract(float *out, const float *x, const float *centre, size_t dim) {
    for (size_t i = 0; i < dim; i++) {
        out[i] = x[i] - centre[i];
    }
}

void kvl_tap_note_plain(kvl_tap *t, const kvl_kernels *kernels, uint32_t layer, uint32_t head, uint64_t token,
                        const float *query) {
    const size_t dim = t->head_dim;
    const size_t i = head_at(t, layer, head);
    const size_t row = token % KVL_TAP_FIRST;
    if (!t->needs.has_moments) {
        return;
    }
    float *first = t->first + i * KVL_TAP_FIRST * dim;
    float *block = t->block + i * KVL_TAP_FIRST * dim;
    if (token < KVL_TAP_FIRST) {
        memcpy(first + row * dim, query, dim * sizeof *query);
        return;
    }
    subtract(block + row * dim, query, first + (KVL_TAP_FIRST - 1) * dim, dim);
    if (row == KVL_TAP_FIRST - 1) {
        add_rows(kernels, t->sums + i * dim, t->seconds + i * dim * dim, block, KVL_TAP_FIRST, dim);
    }
}

void kvl_tap_note_rotated(kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token, const float *query) {
    if (t->room != 0) {
        float *to = t->queries + (head_at(t, layer, head) * t->room + token % t->room) * t->head_dim;
        memcpy(to, query, t->head_dim * sizeof *query);
    }
}

void kvl_tap_note_input(kvl_tap *t, uint32_t layer, uint64_t token, float length) {
    t->inputs[layer * t->room + token % t->room] = length;
}

float kvl_tap_input(const kvl_tap *t, uint32_t layer, uint64_t token) {
    return t->inputs[layer * t->room + token % t->room];
}

uint64_t kvl_tap_oldest(const kvl_tap *t, uint64_t n_seen) { return n_seen > t->room ? n_seen - t->room : 0; }

const float *kvl_tap_query(const kvl_tap *t, uint32_t layer, uint32_t head, uint64_t token) {
    return t->queries + (head_at(t, layer, head) * t->room + token % t->room) * t->head_dim;
}

size_t kvl_tap_moments_doubles(size_t head_dim) {
    return head_dim + head_dim * head_dim + KVL_TAP_FIRST * head_dim / 2;
}

void kvl_tap_moments(const kvl_tap *t, const kvl_kernels *kernels, uint32_t layer, uint32_t head,
                     uint64_t n_seen, uint64_t n_skip, float *mean, float *covariance, double *scratch) {
    const size_t dim = t->head_dim;
    const size_t at = head_at(t, layer, head);
    const float *first = t->first + at * KVL_TAP_FIRST * dim;
    const size_t n_first = kvl_min_size(KVL_TAP_FIRST, (size_t)n_seen);
    const float *centre = first + (n_first - 1) * dim;
    const double n = (double)(n_seen - n_skip);
    double *sum = scratch;
    double *second = covariance != NULL ? sum + dim : NULL;
    float *rows = (float *)(void *)(sum + dim + dim * dim);
    memcpy(sum, t->sums + at * dim, dim * sizeof *sum);
    if (second != NULL) {
        memcpy(second, t->seconds + at * dim * dim, dim * dim * sizeof *second);
    }
    for (size_t i = n_skip; i < n_first; i++) {
        subtract(rows + (i - n_skip) * dim, first + i * dim, centre, dim);
    }
    add_rows(kernels, sum, second, rows, n_first - n_skip, dim);
    if (n_seen > KVL_TAP_FIRST) {
        add_rows(kernels, sum, second, t->block + at * KVL_TAP_FIRST * dim, n_seen % KVL_TAP_FIRST, dim);
    }
    for (size_t i = 0; i < dim; i++) {
        sum[i] /= n;
        mean[i] = (float)((double)centre[i] + sum[i]);
    }
    for (size_t i = 0; covariance != NULL && i < dim; i++) {
        for (size_t j = i; j < dim; j++) {
            covariance[i * dim + j] = (float)(second[i * dim + j] / n - sum[i] * sum[j]);
            covariance[j * dim + i] = covariance[i * dim + j];
        }
    }
}

uint64_t kvl_tap_bytes_of(const kvl_shape *s, kvl_needs needs, size_t n_tokens) {
    const uint64_t heads = (uint64_t)s->n_layers * s->n_heads;
    const uint64_t dim = s->head_dim;
    uint64_t row_bytes = ring_room(needs, n_tokens) * dim * sizeof(float);
    if (needs.has_moments) {
        row_bytes += (dim + dim * dim) * sizeof(double) + 2 * KVL_TAP_FIRST * dim * sizeof(float);
    }
    return heads * row_bytes + (needs.has_inputs ? s->n_layers * needs.n_queries * sizeof(float) : 0);
}

uint64_t kvl_tap_bytes(const kvl_tap *t) {
    if (t == NULL) {
        return 0;
    }
    const kvl_shape shape = {.n_layers = t->n_layers, .n_heads = t->n_heads, .head_dim = t->head_dim};
    return kvl_tap_bytes_of(&shape, t->needs, t->room);
}
