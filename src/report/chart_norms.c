/* The lengths of keys, layer by layer: quantiles over heads and tokens, and where the first token lies. */
#include "report/chart_int.h"

#include "base/alloc.h"
#include "stats/order.h"

#include <math.h>
#include <stdio.h>

enum { N_QUANTILES = 5 };
static const double quantiles[N_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

typedef struct layer_norms {
    double q[N_QUANTILES];
    double first; /* of the first token, mean over heads */
} layer_norms;

static bool has(const kvl_content *c) { return c->portrait != NULL; }

static double height(const kvl_content *c, double width) {
    (void)c;
    return kvli_is_narrow(width) ? 330 : 340;
}

/* [n_layers], to be freed; NULL: memory. */
static layer_norms *layers_of(const kvl_portrait *p) {
    const size_t n = p->n_heads * p->n_tokens;
    layer_norms *layers = kvl_calloc(p->n_layers, sizeof *layers);
    double *sorted = kvl_calloc(n, sizeof *sorted);
    for (size_t l = 0; layers != NULL && sorted != NULL && l < p->n_layers; l++) {
        size_t n_known = 0;
        for (size_t i = 0; i < n; i++) {
            const double norm = (double)p->norms[l * n + i];
            if (isfinite(norm)) {
                sorted[n_known++] = norm;
                layers[l].first += i % p->n_tokens == 0 ? norm / (double)p->n_heads : 0;
            }
        }
        kvl_sort(sorted, n_known);
        for (size_t k = 0; k < N_QUANTILES; k++) {
            layers[l].q[k] = kvl_quantile(sorted, n_known, quantiles[k]);
        }
    }
    if (sorted == NULL) {
        kvl_free(layers);
        layers = NULL;
    }
    kvl_free(sorted);
    return layers;
}

static void draw_layer(const kvl_plot *p, const layer_norms *n, size_t layer, size_t n_layers,
                       kvl_lang lang) {
    const double x = kvl_plot_x(p, (double)layer);
    const double half = fmin(16, 0.32 * (p->right - p->left) / (double)n_layers);
    double y[N_QUANTILES];
    kvl_str tip = {0};
    for (size_t k = 0; k < N_QUANTILES; k++) {
        y[k] = kvl_plot_y(p, n->q[k]);
    }
    KVL_SAY(&tip, lang,
            "layer %zu: median %.3g, half of the keys %.3g to %.3g, 90 %% %.3g to %.3g\nfirst token %.3g",
            "第 %zu 层：中位数 %.3g，一半的键在 %.3g 到 %.3g，90 %% 在 %.3g 到 %.3g\n首个 token %.3g", layer,
            n->q[2], n->q[1], n->q[3], n->q[0], n->q[4], n->first);
    kvl_figure_line(p->figure, x, y[0], x, y[4], (kvl_stroke){.ink = KVL_INK_SERIES, .width = 1.2});
    kvl_figure_rect(p->figure, x - half, y[3], 2 * half, y[1] - y[3], KVL_INK_SERIES, 0.45,
                    kvl_str_text(&tip));
    kvl_figure_line(p->figure, x - half, y[2], x + half, y[2],
                    (kvl_stroke){.ink = KVL_INK_TEXT, .width = 1.6});
    kvl_figure_mark(p->figure, x, kvl_plot_y(p, n->first), fmin(4, fmax(2.5, half)), KVL_MARK_DIAMOND,
                    KVL_INK_SERIES + 1, kvl_str_text(&tip));
    kvl_str_free(&tip);
}

static void draw_layers(kvl_figure *f, const kvl_portrait *portrait, const layer_norms *layers,
                        const char *const *names, kvl_lang lang) {
    const size_t n = portrait->n_layers;
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const kvl_legend_item items[] = {
        {.name = kvl_word(lang, "half of the keys (line: 90 %, bar: median)",
                          "一半的键（竖线：90 %，横线：中位数）"),
         .ink = KVL_INK_SERIES,
         .mark = KVL_MARK_SQUARE},
        {.name = kvl_word(lang, "first token, mean of heads", "首个 token，各头平均"),
         .ink = KVL_INK_SERIES + 1,
         .mark = KVL_MARK_DIAMOND}};
    kvli_range range = KVLI_NO_RANGE;
    kvl_plot p;
    for (size_t l = 0; l < n; l++) {
        kvli_widen(&range, fmin(layers[l].q[0], layers[l].first));
        kvli_widen(&range, fmax(layers[l].q[N_QUANTILES - 1], layers[l].first));
    }
    const bool is_log = range.low > 0 && range.high > 12 * range.low;
    const double top = KVLI_PAD + kvl_legend(f, KVLI_PAD, KVLI_PAD, w, items, 2);
    kvl_plot_begin(
        &p, f, KVLI_PAD, top, w, kvl_figure_height(f) - top - KVLI_PAD,
        (kvl_axis){.min = -0.5,
                   .max = (double)n - 0.5,
                   .names = names,
                   .n_names = n,
                   .label = kvl_word(lang, "layer", "层")},
        (kvl_axis){.min = is_log ? 0.9 * range.low : fmin(range.low, 0),
                   .max = (is_log ? 1.1 : 1.05) * range.high,
                   .is_log = is_log,
                   .label = is_log ? kvl_word(lang, "L2 norm of keys (log scale)", "键的 L2 范数（对数刻度）")
                                   : kvl_word(lang, "L2 norm of keys", "键的 L2 范数")});
    for (size_t l = 0; l < n; l++) {
        draw_layer(&p, &layers[l], l, n, lang);
    }
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_portrait *p = c->portrait;
    layer_norms *layers = layers_of(p);
    char(*texts)[24] = kvl_calloc(p->n_layers, sizeof *texts);
    const char **names = kvl_calloc(p->n_layers, sizeof *names);
    if (layers != NULL && texts != NULL && names != NULL) {
        for (size_t l = 0; l < p->n_layers; l++) {
            snprintf(texts[l], sizeof texts[l], "%zu", l);
            names[l] = texts[l];
        }
        draw_layers(f, p, layers, names, lang);
    }
    kvl_free(layers);
    kvl_free(texts);
    kvl_free(names);
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_portrait *p = c->portrait;
    layer_norms *layers = layers_of(p);
    size_t low = 0;
    size_t high = 0;
    size_t n_below = 0;
    if (layers == NULL) {
        return;
    }
    for (size_t l = 0; l < p->n_layers; l++) {
        low = layers[l].q[2] < layers[low].q[2] ? l : low;
        high = layers[l].q[2] > layers[high].q[2] ? l : high;
        n_below += layers[l].first < layers[l].q[0];
    }
    KVL_SAY(out, lang,
            "Over the heads and tokens of one text, the median norm of keys runs from %.3g (layer %zu) to "
            "%.3g (layer "
            "%zu). In %zu of %zu layers the first token's norm lies below 95 %% of all.",
            "一篇文本中全部注意力头与 token 的键范数：各层中位数从 %.3g（第 %zu 层）到 %.3g（第 %zu 层）。在 "
            "%zu 层（共 %zu "
            "层）中，首个 token 的范数低于 95 %% 的键。",
            layers[low].q[2], low, layers[high].q[2], high, n_below, p->n_layers);
    kvl_free(layers);
}

const kvl_chart kvli_chart_norms = {.id = "norms",
                                    .title_en = "Norms of keys, layer by layer",
                                    .title_zh = "各层键范数的分布",
                                    .has = has,
                                    .height = height,
                                    .draw = draw,
                                    .describe = describe};
