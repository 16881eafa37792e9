/* cur: keep the entries whose keys and values are large among their neighbours.
 *
 * Source: Sengupta et al., "Value-Guided KV Compression for LLMs via Approximated CUR Decomposition"
 * (CurDKV), NeurIPS 2025 (arXiv 2509.15038); as in kvpress 0.5.5. Squared norms stand for leverage scores,
 * those of a random projection with random=on; each is divided by its sum over a window of neighbours with
 * local=on.
 */
#include "press/press.h"

#include "base/rng.h"

#include <math.h>

enum { n_columns = 20 }; /* of the random projection */

typedef struct conf {
    uint64_t sinks;
    uint64_t type; /* 0: product, 1: keys, 2: values, 3: mean */
    uint64_t is_random;
    uint64_t is_wide; /* not local */
    uint64_t window;
} conf;

static const kvl_option options[] = {
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "4",
     .max = 1e6,
     .help = "first tokens, which stay"},
    {.name = "type",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, type),
     .initial = "kv_product",
     .choices = "kv_product|key|value|kv_avg",
     .help = "whose leverage counts"},
    {.name = "random",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, is_random),
     .initial = "off",
     .choices = "off|on",
     .help = "norms after a random projection to 20 dimensions"},
    {.name = "local",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, is_wide),
     .initial = "on",
     .choices = "on|off",
     .help = "as a share of the window's sum"},
    {.name = "window",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, window),
     .initial = "16",
     .min = 1,
     .max = 1e6,
     .help = "entries of a window"},
};

/* Blocks of the scratch: the projection as rows and as panels first, which are aligned. */
static size_t panel_floats(size_t dim) {
    return kvl_panels_bytes(KVL_PANEL_F32, dim, n_columns) / sizeof(float);
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    const size_t dim = shape->head_dim;
    return panel_floats(dim) + n_columns * dim + n * dim + n * n_columns + 3 * n;
}

/* The same projection for all heads of a layer. */
static void make_projection(const kvl_layer_view *in, float *rows, void *panels) {
    const size_t dim = in->shape->head_dim;
    const uint64_t stream = (uint64_t)in->layer * in->shape->n_kv_heads;
    for (size_t c = 0; c < n_columns; c++) {
        for (size_t d = 0; d < dim; d++) {
            rows[c * dim + d] =
                (float)(kvl_rng_normal(0, stream, d * n_columns + c) / sqrt((double)n_columns));
        }
    }
    kvl_pack_panels(panels, KVL_PANEL_F32, rows, dim, n_columns);
}

/* Squared norms of rows [n, dim] by age; local: as shares of the windows' sums. */
static void measure(const conf *c, const kvl_kernels *kernels, const float *rows, size_t n, size_t dim,
                    const uint32_t *slots, float *out) {
    for (size_t j = 0; j < n; j++) {
        const float *row = rows + slots[j] * dim;
        out[j] = (float)kernels->dot(row, row, dim);
    }
    for (size_t first = 0; !c->is_wide && first < n; first += c->window) {
        const size_t end = kvl_min_size(n, first + c->window);
        double sum = 0;
        for (size_t j = first; j < end; j++) {
            sum += (double)out[j];
        }
        for (size_t j = first; sum > 0 && j < end; j++) {
            out[j] = (float)((double)out[j] / sum);
        }
    }
}

static double combine(const conf *c, double key, double value) {
    return c->type == 0 ? key * value : c->type == 1 ? key : c->type == 2 ? value : (key + value) / 2;
}

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    const kvl_layer_view *in = view->in;
    const size_t dim = in->shape->head_dim;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = scratch};
    float *projection = scratch + panel_floats(dim);
    float *rows = projection + n_columns * dim;
    float *projected = rows + view->n * dim;
    float *measures[2] = {projected + view->n * n_columns, projected + view->n * (n_columns + 1)};
    uint32_t *slots = (uint32_t *)(void *)(measures[1] + view->n);
    double sum = 0;
    kvl_view_by_age(view, slots);
    if (c->is_random) {
        make_projection(in, projection, scratch);
    }
    for (int is_values = 0; is_values < 2; is_values++) {
        (is_values ? kvl_view_values : kvl_view_keys)(view, rows);
        if (c->is_random) {
            in->kernels->gemm(projected, n_columns, rows, dim, &panels, NULL, view->n, dim, n_columns);
        }
        measure(c, in->kernels, c->is_random ? projected : rows, view->n, c->is_random ? n_columns : dim,
                slots, measures[is_values]);
    }
    for (size_t j = 0; j < view->n; j++) {
        sum += combine(c, (double)measures[0][j], (double)measures[1][j]);
    }
    for (size_t j = 0; j < view->n; j++) {
        const double x = combine(c, (double)measures[0][j], (double)measures[1][j]);
        const bool is_sink = (uint64_t)view->positions[slots[j]] < in->first_token + c->sinks;
        scores[slots[j]] = is_sink ? 1 : sum > 0 ? (float)(x / sum) : 0;
    }
}

extern const kvl_press kvl_press_cur;
const kvl_press kvl_press_cur = {
    .name = "cur",
    .summary = "keep the entries whose keys and values are large among neighbours",
    .source = "Sengupta et al. 2025, arXiv 2509.15038; kvpress 0.5.5, CURPress",
    .formula = "|key|^2 / its sum over a window times |value|^2 / its sum (type: or one, or their mean), "
               "over the sum "
               "over all entries; sinks 1",
    .cost = "4 K n D operations, random=on: 80 K n D; n (D + 23) + 52 D floats",
    .differs = "sums are in double, a sum of 0 gives scores of 0; random=on draws from kvlab's counter-based "
               "generator",
    .reads = "keys, values",
    .advice = "where no queries may be had and values are to count beside keys",
    .version = 1,
    .options = options,
    .n_options = 5,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
