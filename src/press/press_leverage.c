/* leverage: keep the keys that lie apart from the others of their head.
 *
 * Source: Chari and Van Durme, "Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate
 * Leverage Scores", 2025 (arXiv 2507.08143); as in kvpress 0.5.5. Un-rotated keys are centred and projected
 * by a Gaussian matrix; with X [n, m] what comes out, the score of row x is x (X^T X + jitter)^-1 x^T. With
 * the Cholesky factor L that is the squared length of L^-1 x.
 */
#include "press/compactor.h"

#include "base/rng.h"
#include "press/room.h"

#include <math.h>
#include <string.h>

typedef struct conf {
    uint64_t sketch, seed;
} conf;

static const kvl_option options[] = {
    {.name = "sketch",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sketch),
     .initial = "48",
     .min = 1,
     .max = 512,
     .help = "dimensions that keys are projected to"},
    {.name = "seed",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, seed),
     .initial = "0",
     .max = 1e15,
     .help = "seed of the projection"},
};

/* The scratch: products of m x m in double, a matrix as rows and as panels, rows [n, dim] and [2, n, m]. */
typedef struct blocks {
    double *gram, *factor; /* [m, m] */
    float *matrix;         /* [m, max(m, dim)] */
    void *panels;          /* of as many columns and steps */
    float *keys;           /* [n, dim] */
    float *x, *y;          /* [n, m] */
} blocks;

static blocks take_blocks(kvl_room *room, size_t n, size_t dim, size_t m) {
    const size_t n_in = kvl_max_size(m, dim);
    blocks b;
    b.panels = kvl_room_take(room, kvl_panels_bytes(KVL_PANEL_F32, n_in, m));
    b.gram = kvl_room_take(room, m * m * sizeof *b.gram);
    b.factor = kvl_room_take(room, m * m * sizeof *b.factor);
    b.matrix = kvl_room_floats(room, m * n_in);
    b.x = kvl_room_floats(room, n * m);
    b.y = kvl_room_floats(room, n * m);
    b.keys = kvl_room_floats(room, n * dim);
    return b;
}

size_t kvli_leverage_floats(const kvl_shape *shape, size_t n, size_t n_columns) {
    kvl_room room = {0};
    (void)take_blocks(&room, n, shape->head_dim, n_columns);
    return room.used;
}

/* Keys of the span, before rotation and less their mean: their number. */
static size_t centred_keys(const kvl_head_view *head, kvli_span span, float *keys) {
    const size_t dim = head->in->shape->head_dim;
    size_t n = 0;
    kvl_view_plain_keys(head, keys);
    for (size_t j = 0; j < head->n; j++) {
        if (kvli_is_within(span, head->positions[j])) {
            memmove(keys + n * dim, keys + j * dim, dim * sizeof *keys);
            n++;
        }
    }
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            sum += (double)keys[j * dim + d];
        }
        for (size_t j = 0; j < n; j++) {
            keys[j * dim + d] = (float)((double)keys[j * dim + d] - sum / (double)n);
        }
    }
    return n;
}

/* out [n, m] = rows [n, n_in] times the transposed b->matrix [m, n_in]. */
static void multiply(const kvl_kernels *kernels, const blocks *b, const float *rows, size_t n, size_t n_in,
                     size_t m, float *out) {
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = b->panels};
    kvl_pack_panels(b->panels, KVL_PANEL_F32, b->matrix, n_in, m);
    kernels->gemm(out, m, rows, n_in, &panels, NULL, n, n_in, m);
}

static void project(const kvl_head_view *head, const blocks *b, size_t n, size_t m, uint64_t seed) {
    const size_t dim = head->in->shape->head_dim;
    const uint64_t stream = (uint64_t)head->in->layer * head->in->shape->n_kv_heads + head->head;
    for (size_t c = 0; c < m; c++) {
        for (size_t d = 0; d < dim; d++) {
            b->matrix[c * dim + d] = (float)(kvl_rng_normal(seed, stream, d * m + c) / sqrt((double)m));
        }
    }
    multiply(head->in->kernels, b, b->keys, n, dim, m, b->x);
}

/* gram = X^T X, its lower half; y is used for the columns of X side by side. */
static void make_gram(const kvl_kernels *kernels, const blocks *b, size_t n, size_t m) {
    for (size_t c = 0; c < m; c++) {
        for (size_t j = 0; j < n; j++) {
            b->y[c * n + j] = b->x[j * m + c];
        }
    }
    for (size_t r = 0; r < m; r++) {
        for (size_t c = 0; c <= r; c++) {
            b->gram[r * m + c] = kernels->dot(b->y + r * n, b->y + c * n, n);
        }
    }
}

/* Lower factor of gram + jitter; false when that is not positive. */
static bool factorize(const double *gram, double jitter, size_t m, double *factor) {
    for (size_t r = 0; r < m; r++) {
        for (size_t c = 0; c <= r; c++) {
            double x = gram[r * m + c] + (r == c ? jitter : 0);
            for (size_t k = 0; k < c; k++) {
                x -= factor[r * m + k] * factor[c * m + k];
            }
            if (r == c && !(x > 0)) {
                return false;
            }
            factor[r * m + c] = r == c ? sqrt(x) : x / factor[c * m + c];
        }
    }
    return true;
}

/* Inverse of a lower factor, lower too: its upper half is set to 0. */
static void invert(const double *factor, size_t m, double *inverse) {
    for (size_t c = 0; c < m; c++) {
        for (size_t r = 0; r < m; r++) {
            double x = r == c;
            for (size_t k = c; k < r; k++) {
                x -= factor[r * m + k] * inverse[k * m + c];
            }
            inverse[r * m + c] = r < c ? 0 : x / factor[r * m + r];
        }
    }
}

/* Squared lengths of L^-1 x of the first n rows: leverages [n]; 0 where no jitter helps. */
static void solve(const kvl_kernels *kernels, const blocks *b, size_t n, size_t m, float *leverages) {
    bool is_positive = false;
    double jitter = 1e-2;
    for (int i = 0; i < 5 && !is_positive; i++, jitter *= 10) {
        is_positive = factorize(b->gram, jitter, m, b->factor);
    }
    invert(b->factor, is_positive ? m : 0, b->gram);
    for (size_t i = 0; i < m * m; i++) {
        b->matrix[i] = is_positive ? (float)b->gram[i] : 0;
    }
    multiply(kernels, b, b->x, n, m, m, b->y);
    for (size_t j = 0; j < n; j++) {
        leverages[j] = (float)kernels->dot(b->y + j * m, b->y + j * m, m);
    }
}

void kvli_leverage(const kvl_layer_view *view, kvli_span span, size_t n_columns, uint64_t seed,
                   float *const *scores, float *scratch) {
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        const kvl_head_view *head = &view->heads[k];
        kvl_room room = {scratch, 0};
        const blocks b = take_blocks(&room, head->n, view->shape->head_dim, n_columns);
        const size_t n = centred_keys(head, span, b.keys);
        project(head, &b, n, n_columns, seed);
        make_gram(view->kernels, &b, n, n_columns);
        solve(view->kernels, &b, n, n_columns, b.keys);
        for (size_t j = 0, i = 0; j < head->n; j++) {
            if (kvli_is_within(span, head->positions[j])) {
                scores[k][j] = b.keys[i++];
            }
        }
    }
    kvli_standardize(view, span, scores);
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const conf *c = kvl_press_conf(self);
    return kvli_leverage_floats(shape, n, c->sketch);
}

static void score_layer(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch) {
    const conf *c = kvl_press_conf(self);
    kvli_leverage(view, (kvli_span){view->first_token, view->n_seen}, c->sketch, c->seed, scores, scratch);
}

extern const kvl_press kvl_press_leverage;
const kvl_press kvl_press_leverage = {
    .name = "leverage",
    .summary = "keep the keys that lie apart from the others",
    .source = "Chari and Van Durme 2025, arXiv 2507.08143; kvpress 0.5.5, LeverageScorePress",
    .formula =
        "x (X^T X + 0.01 I)^-1 x^T, X the centred un-rotated keys times a D x m Gaussian matrix; as standard "
        "score over the layer",
    .cost = "2 K n D m + 3 K n m^2 operations and sines of n D / 2 angles for each head; n (D + 2 m) floats",
    .differs = "draws come from kvlab's counter-based generator; X^T X and its factor are in double",
    .reads = "keys before rotation",
    .advice = "for prompts whose later questions are not known; compactor adds attention to it",
    .version = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score_layer = score_layer,
};
