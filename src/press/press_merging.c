/* merging: values of entries that go are added to those of survivors with similar keys.
 *
 * Source: MergingPress of kvpress 0.5.5, after Bolya et al., "Token Merging: Your ViT But Faster" (arXiv
 * 2210.09461) and Wan et al., "D2O: Dynamic Discriminative Operations for Efficient Long-Context Inference of
 * Large Language Models" (arXiv 2406.13035). Each entry e that goes looks for the survivor t of largest
 * cosine c between rotated keys; if c is at least `threshold`, and among the `fraction` of the largest, e
 * joins t with the weight w = max(c, 0) |v_e| / (|v_e| + |v_t| + 1e-6): v_t becomes (v_t + sum w v_e) / (1 +
 * sum w). Keys stay as they are.
 */
#include "press/press.h"

#include <math.h>
#include <string.h>

typedef struct conf {
    double threshold, fraction;
} conf;

static const kvl_option options[] = {
    {.name = "threshold",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, threshold),
     .initial = "0",
     .min = 0,
     .max = 1,
     .help = "least cosine of keys that merge"},
    {.name = "fraction",
     .kind = KVL_OPTION_NUMBER,
     .offset = offsetof(conf, fraction),
     .initial = "1",
     .min = 0.001,
     .max = 1,
     .help = "share of those that go that merge, the most similar first"},
};

enum { block_kept = 256, block_gone = 64 };
static const float tiny = 1e-6f;

/* A head of n entries in the scratch. */
typedef struct merge {
    float *keys;      /* [n, D] of length 1; later sums of values for survivors */
    float *values;    /* [n, D] */
    float *cosine;    /* [n] of those that go */
    float *weight;    /* [n] sums for survivors */
    uint32_t *target; /* [n] slot of the survivor; of survivors their own */
    uint32_t *gone;   /* [n] slots of those that go */
    uint32_t *order;  /* [n] */
    float *listed;    /* [n] */
    float *kept;      /* [block_kept, D], and packed */
    float *panels;
    float *rows; /* [block_gone, D] */
    float *out;  /* [block_gone, block_kept] */
    size_t n_gone;
} merge;

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    const size_t dim = shape->head_dim;
    const size_t own = 2 * kvl_round_up(n * dim, 16) + 6 * kvl_round_up(n, 16) +
                       (2 * (size_t)block_kept + block_gone) * dim + (size_t)block_gone * block_kept;
    return kvl_max_size(own, kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n));
}

static merge open_merge(const kvl_head_view *view, const kvl_choice *choice, float *scratch) {
    const size_t dim = view->in->shape->head_dim;
    const size_t rows = kvl_round_up(view->n * dim, 16);
    const size_t list = kvl_round_up(view->n, 16);
    float *lists = scratch + 2 * rows;
    merge m = {.keys = scratch, .values = scratch + rows, .cosine = lists, .weight = lists + list};
    m.target = (uint32_t *)(void *)(lists + 2 * list);
    m.gone = m.target + list;
    m.order = m.gone + list;
    m.listed = lists + 5 * list;
    m.panels = lists + 6 * list;
    m.kept = m.panels + block_kept * dim;
    m.rows = m.kept + block_kept * dim;
    m.out = m.rows + block_gone * dim;
    memset(m.target, 0xff, view->n * sizeof *m.target);
    for (size_t i = 0; i < choice->n; i++) {
        m.target[choice->slots[i]] = choice->slots[i];
    }
    for (size_t j = 0; j < view->n; j++) {
        if (m.target[j] != j) {
            m.gone[m.n_gone++] = (uint32_t)j;
        }
    }
    return m;
}

static float length_of(const kvl_kernels *kernels, const float *x, size_t dim) {
    return (float)sqrt(kernels->dot(x, x, dim));
}

static void set_length(const kvl_kernels *kernels, float *x, size_t dim) {
    const float length = fmaxf(length_of(kernels, x, dim), tiny);
    for (size_t d = 0; d < dim; d++) {
        x[d] /= length;
    }
}

/* Rows of slots [n] of keys, one after another. */
static void gather(const float *keys, const uint32_t *slots, size_t n, size_t dim, float *rows) {
    for (size_t i = 0; i < n; i++) {
        memcpy(rows + i * dim, keys + slots[i] * dim, dim * sizeof *rows);
    }
}

/* The most similar survivor of each entry that goes; of equal ones the first in the choice. */
static void find_targets(const kvl_head_view *view, const kvl_choice *choice, merge *m) {
    const size_t dim = view->in->shape->head_dim;
    const kvl_panels panels = {.type = KVL_PANEL_F32, .data = m->panels};
    for (size_t i = 0; i < m->n_gone; i++) {
        m->cosine[i] = -INFINITY;
    }
    for (size_t first = 0; first < choice->n; first += block_kept) {
        const size_t n_kept = kvl_min_size(block_kept, choice->n - first);
        gather(m->keys, choice->slots + first, n_kept, dim, m->kept);
        kvl_pack_panels(m->panels, KVL_PANEL_F32, m->kept, dim, n_kept);
        for (size_t from = 0; from < m->n_gone; from += block_gone) {
            const size_t n_gone = kvl_min_size(block_gone, m->n_gone - from);
            gather(m->keys, m->gone + from, n_gone, dim, m->rows);
            view->in->kernels->gemm(m->out, block_kept, m->rows, dim, &panels, NULL, n_gone, dim, n_kept);
            for (size_t i = 0; i < n_gone; i++) {
                const float *row = m->out + i * block_kept;
                for (size_t k = 0; k < n_kept; k++) {
                    if (row[k] > m->cosine[from + i]) {
                        m->cosine[from + i] = row[k];
                        m->target[m->gone[from + i]] = choice->slots[first + k];
                    }
                }
            }
        }
    }
}

/* The cosine that the merged have at least: the threshold, or the quantile 1 - fraction (between two
 * entries in proportion), with those below the threshold counted as the lowest there are. */
static float least_cosine(const conf *c, merge *m) {
    const float least = (float)c->threshold;
    if (c->fraction >= 1) {
        return least;
    }
    for (size_t i = 0; i < m->n_gone; i++) {
        m->listed[i] = m->cosine[i] >= least ? m->cosine[i] : -INFINITY;
    }
    kvl_order_by_score(m->listed, m->n_gone, m->order);
    const double at = (1 - c->fraction) * (double)(m->n_gone - 1);
    const size_t below = (size_t)at;
    const float low = m->listed[m->order[below]];
    const float high = m->listed[m->order[kvl_min_size(below + 1, m->n_gone - 1)]];
    return low == -INFINITY
               ? least
               : fmaxf(least, (float)((double)low + (double)(high - low) * (at - (double)below)));
}

static void alter(const kvl_press_node *self, const kvl_head_view *view, kvl_cache *cache,
                  const kvl_choice *choice, float *scratch) {
    const kvl_kernels *kernels = view->in->kernels;
    const size_t dim = view->in->shape->head_dim;
    merge m = open_merge(view, choice, scratch);
    if (m.n_gone == 0) {
        return;
    }
    kvl_view_keys(view, m.keys);
    kvl_view_values(view, m.values);
    for (size_t j = 0; j < view->n; j++) {
        set_length(kernels, m.keys + j * dim, dim);
    }
    find_targets(view, choice, &m);
    const float least = least_cosine(kvl_press_conf(self), &m);
    float *sums = m.keys;
    memset(sums, 0, view->n * dim * sizeof *sums);
    memset(m.weight, 0, view->n * sizeof *m.weight);
    for (size_t i = 0; i < m.n_gone; i++) {
        const float *value = m.values + m.gone[i] * dim;
        const size_t target = m.target[m.gone[i]];
        if (!(m.cosine[i] >= least && m.cosine[i] > 0)) {
            continue;
        }
        const float length = length_of(kernels, value, dim);
        const float weight =
            m.cosine[i] * length / (length + length_of(kernels, m.values + target * dim, dim) + tiny);
        for (size_t d = 0; d < dim; d++) {
            sums[target * dim + d] += weight * value[d];
        }
        m.weight[target] += weight;
    }
    for (size_t i = 0; i < choice->n; i++) {
        const size_t slot = choice->slots[i];
        float *value = m.values + slot * dim;
        if (m.weight[slot] > 0) {
            for (size_t d = 0; d < dim; d++) {
                value[d] = (value[d] + sums[slot * dim + d]) / (1 + m.weight[slot]);
            }
            kvl_cache_set_value(cache, view->in->layer, view->head, slot, value);
        }
    }
}

static kvl_status check(const kvl_press_node *self, kvl_err *err) {
    const kvl_press_node *inner = kvl_press_inner(self, 0);
    return !kvl_press_moves_keys(inner)
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE,
                          "press merging: expected a press that leaves keys where they are within it, as in "
                          "key-rerotation(merging(...)), found %s",
                          inner->press->name);
}

extern const kvl_press kvl_press_merging;
const kvl_press kvl_press_merging = {
    .name = "merging",
    .summary = "add the values of what goes to survivors with similar keys",
    .source =
        "kvpress 0.5.5, MergingPress; Bolya et al. 2023, arXiv 2210.09461; Wan et al. 2024, arXiv 2406.13035",
    .formula = "the wrapped press's; v_t becomes (v_t + sum w v_e) / (1 + sum w) over the evicted e whose "
               "nearest key "
               "is t's, w = max(cos, 0) |v_e| / (|v_e| + |v_t|)",
    .cost = "2 K n_evicted n_kept D operations; 2 n D + 6 n floats, no matrix of all pairs",
    .differs = "a quantile between an entry below the threshold and one above is the threshold (kvpress: no "
               "number, nothing merges)",
    .reads = "keys, values",
    .advice =
        "around any press where something of what goes should remain; on small budgets it blurs what stays",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 2,
    .conf_bytes = sizeof(conf),
    .check = check,
    .scratch_floats = scratch_floats,
    .alter = alter,
};
