/* Products of values with the output projection: a panel of outputs at a time, for the query heads one after
 * another, so that no matrix is copied as a whole. */
#include "press/critical.h"

#include "press/select.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { block_rows = 64, lanes = 8 };

kvl_status kvl_critical_check(const kvl_press_node *self, kvl_err *err) {
    const kvl_press *scorer = kvl_press_scorer(kvl_press_inner(self, 0))->press;
    return !scorer->is_signed ? KVL_OK
                              : kvl_fail(err, KVL_E_USAGE,
                                         "press %s: expected a press whose scores are 0 or more within it, "
                                         "found %s",
                                         self->press->name, scorer->name);
}

/* Where things lie in the scratch. */
typedef struct room {
    float *values; /* [K][n, D] */
    float *rows;   /* [KVL_PANEL_COLS, H D] of the output matrix */
    float *slice;  /* [KVL_PANEL_COLS, D] of a query head */
    float *panel;  /* the same, packed */
    float *out;    /* [block_rows, KVL_PANEL_COLS] */
} room;

static size_t value_floats(const kvl_shape *s, size_t n) {
    return kvl_round_up((size_t)s->n_kv_heads * n * s->head_dim, 16);
}

static room divide(const kvl_shape *s, size_t n, float *scratch) {
    const size_t slice = (size_t)KVL_PANEL_COLS * s->head_dim;
    room r = {.values = scratch, .rows = scratch + value_floats(s, n)};
    r.slice = r.rows + slice * s->n_heads;
    r.panel = r.slice + slice;
    r.out = r.panel + slice;
    return r;
}

size_t kvl_critical_floats(const kvl_shape *shape, size_t n) {
    return value_floats(shape, n) + (size_t)KVL_PANEL_COLS * shape->head_dim * (shape->n_heads + 2) +
           (size_t)block_rows * KVL_PANEL_COLS;
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

/* Adds the magnitudes of n_cols outputs of one query head to the norms of its entries. */
static void add_outputs(const kvl_head_view *head, const room *r, const float *values, float *norms) {
    const kvl_shape *s = head->in->shape;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = r->panel};
    for (size_t first = 0; first < head->n; first += block_rows) {
        const size_t n = kvl_min_size(block_rows, head->n - first);
        head->in->kernels->gemm(r->out, KVL_PANEL_COLS, values + first * s->head_dim, s->head_dim, &panels,
                                NULL, n, s->head_dim, KVL_PANEL_COLS);
        for (size_t j = 0; j < n; j++) {
            norms[first + j] += sum_magnitudes(r->out + j * KVL_PANEL_COLS);
        }
    }
}

/* One panel of the output matrix, rows first .. first + n_cols - 1 of it in r->rows. */
static void add_panel(const kvl_layer_view *view, const room *r, size_t n_cols, size_t longest,
                      float *norms) {
    const kvl_shape *s = view->shape;
    const size_t dim = s->head_dim;
    memset(r->slice, 0, KVL_PANEL_COLS * dim * sizeof *r->slice);
    for (uint32_t h = 0; h < s->n_heads; h++) {
        const uint32_t k = h / kvl_view_group(view);
        for (size_t i = 0; i < n_cols; i++) {
            memcpy(r->slice + i * dim, r->rows + (i * s->n_heads + h) * dim, dim * sizeof *r->slice);
        }
        kvl_pack_panels(r->panel, KVL_PANEL_F32, r->slice, dim, KVL_PANEL_COLS);
        add_outputs(&view->heads[k], r, r->values + k * longest * dim, norms + k * longest);
    }
}

void kvl_critical_norms(const kvl_layer_view *view, float *norms, float *scratch) {
    const kvl_shape *s = view->shape;
    const size_t longest = kvl_view_longest(view);
    const room r = divide(s, longest, scratch);
    for (uint32_t k = 0; k < s->n_kv_heads; k++) {
        kvl_view_values(&view->heads[k], r.values + k * longest * s->head_dim);
    }
    memset(norms, 0, s->n_kv_heads * longest * sizeof *norms);
    for (size_t first = 0; first < s->width; first += KVL_PANEL_COLS) {
        const size_t n_cols = kvl_min_size(KVL_PANEL_COLS, s->width - first);
        kvl_view_output(view, first, n_cols, r.rows);
        add_panel(view, &r, n_cols, longest, norms);
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
