/* lagkv: keep the tokens that stand out when they are measured by those behind them.
 *
 * Source: Liang et al., "LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are Important",
 * 2025 (arXiv 2504.04704); as in kvpress 0.5.5. Behind the sinks the entries of a head are cut into parts of
 * `lag`. Keys and values of a part are scaled, channel by channel, by the least and the largest of the next
 * part; what then spreads most over its channels ranks highest. The last whole part and the rest have nothing
 * behind them and stay.
 */
#include "press/press.h"

#include <math.h>

typedef struct conf {
    uint64_t sinks, lag;
    uint64_t is_cross; /* parts compete by the score itself; otherwise by ranks within each part */
} conf;

static const kvl_option options[] = {
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "4",
     .max = 1e6,
     .help = "first entries, which stay"},
    {.name = "lag",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, lag),
     .initial = "128",
     .min = 1,
     .max = 1e6,
     .help = "entries of a part"},
    {.name = "cross",
     .kind = KVL_OPTION_CHOICE,
     .offset = offsetof(conf, is_cross),
     .initial = "off",
     .choices = "off|on",
     .help = "rank across parts, not within each"},
};

/* Keys or values, bounds of a part, spreads and shares of a part; slots by age. */
static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    (void)self;
    return n * shape->head_dim + 2 * (size_t)shape->head_dim + 3 * n;
}

/* Least and largest of each channel in the rows of n slots: bounds [2, dim]. */
static void find_bounds(const float *rows, const uint32_t *slots, size_t n, size_t dim, float *bounds) {
    for (size_t d = 0; d < dim; d++) {
        bounds[d] = bounds[dim + d] = rows[slots[0] * dim + d];
    }
    for (size_t j = 1; j < n; j++) {
        for (size_t d = 0; d < dim; d++) {
            const float x = rows[slots[j] * dim + d];
            bounds[d] = x < bounds[d] ? x : bounds[d];
            bounds[dim + d] = x > bounds[dim + d] ? x : bounds[dim + d];
        }
    }
}

/* Standard deviation of a scaled row over the channels whose bounds differ; 0 for fewer than two of them. */
static double spread(const float *row, size_t dim, const float *low, const float *high) {
    double sum = 0;
    double squares = 0;
    size_t n = 0;
    for (size_t d = 0; d < dim; d++) {
        if (high[d] > low[d]) {
            sum += ((double)row[d] - (double)low[d]) / ((double)high[d] - (double)low[d]);
            n++;
        }
    }
    for (size_t d = 0; n > 1 && d < dim; d++) {
        if (high[d] > low[d]) {
            const double x = ((double)row[d] - (double)low[d]) / ((double)high[d] - (double)low[d]);
            squares += (x - sum / (double)n) * (x - sum / (double)n);
        }
    }
    return n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* shares [lag] += half the softmax of the spreads of a part, given by its slots, measured by the next part.
 */
static void add_shares(const float *rows, const uint32_t *slots, size_t lag, size_t dim, float *bounds,
                       float *spreads, float *shares) {
    float most = 0;
    double sum = 0;
    find_bounds(rows, slots + lag, lag, dim, bounds);
    for (size_t j = 0; j < lag; j++) {
        spreads[j] = (float)spread(rows + slots[j] * dim, dim, bounds, bounds + dim);
        most = fmaxf(most, spreads[j]);
    }
    for (size_t j = 0; j < lag; j++) {
        sum += exp((double)spreads[j] - (double)most);
    }
    for (size_t j = 0; j < lag; j++) {
        shares[j] += (float)(exp((double)spreads[j] - (double)most) / sum / 2);
    }
}

/* How many of n are less, equal ones before it counted, over n. */
static float rank(const float *shares, size_t n, size_t j) {
    size_t below = 0;
    for (size_t i = 0; i < n; i++) {
        below += shares[i] < shares[j] || (shares[i] == shares[j] && i < j);
    }
    return (float)below / (float)n;
}

/* Too few for a part and one behind it: the newest stay. */
static void score_by_age(const uint32_t *slots, size_t n, size_t n_sinks, float *scores) {
    for (size_t j = 0; j < n; j++) {
        scores[slots[j]] = j < n_sinks ? 1 : (float)(j - n_sinks) / (float)(n - n_sinks);
    }
}

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    const conf *c = conf_ptr;
    const size_t dim = view->in->shape->head_dim;
    float *bounds = scratch + view->n * dim;
    float *spreads = bounds + 2 * dim;
    float *shares = spreads + view->n; /* by age, as slots */
    uint32_t *slots = (uint32_t *)(void *)(shares + view->n);
    kvl_view_by_age(view, slots);
    if (view->n < c->sinks + 2 * c->lag) {
        score_by_age(slots, view->n, c->sinks, scores);
        return;
    }
    const size_t n_parts = (view->n - c->sinks) / c->lag - 1;
    for (size_t j = 0; j < view->n; j++) {
        shares[j] = 0;
        scores[slots[j]] = j < c->sinks ? 2 : 1;
    }
    for (int is_values = 0; is_values < 2; is_values++) {
        (is_values ? kvl_view_values : kvl_view_keys)(view, scratch);
        for (size_t p = 0, j = c->sinks; p < n_parts; p++, j += c->lag) {
            add_shares(scratch, slots + j, c->lag, dim, bounds, spreads, shares + j);
        }
    }
    for (size_t j = c->sinks; j < c->sinks + n_parts * c->lag; j++) {
        const size_t first = j - (j - c->sinks) % c->lag;
        scores[slots[j]] = c->is_cross ? shares[j] : rank(shares + first, c->lag, j - first);
    }
}

extern const kvl_press kvl_press_lagkv;
const kvl_press kvl_press_lagkv = {
    .name = "lagkv",
    .summary = "keep what stands out against the entries that came next",
    .source = "Liang et al. 2025, arXiv 2504.04704; kvpress 0.5.5, LagKVPress",
    .formula =
        "mean of keys' and values' softmax over a part of std over channels of (x - low) / (high - low), low "
        "and high of the next part; cross=off: its rank in the part / lag",
    .cost = "20 K n D operations, with ranks also K n lag; (n + 2) D + 3 n floats",
    .differs =
        "a channel that is constant over the next part is left out (kvpress divides by 0); equal ranks: the "
        "newer entry; sinks rank before the last part, not equal to it",
    .reads = "keys, values",
    .advice = "for long prompts without queries; the newest lag to 2 lag tokens always rank first, and below "
              "sinks + 2 lag tokens nothing is compared",
    .version = 1,
    .options = options,
    .n_options = 3,
    .conf_bytes = sizeof(conf),
    .scratch_floats = scratch_floats,
    .score = score,
};
