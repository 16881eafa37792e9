/* Each token of the text: the attention it receives, and how its key's norm ranks. */
#include "report/chart_int.h"
#include "report/mechanism.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

enum { N_NAMED = 6 };

typedef struct tokens {
    double *attention, *rank; /* [n] rank in percent, 0 the lowest norm */
    size_t n;
    size_t top[N_NAMED]; /* tokens of most attention, falling; [n_top] */
    size_t n_top;
} tokens;

static bool has(const kvl_content *c) { return c->portrait != NULL && kvli_judged_tokens(c->portrait) != 0; }

static double height(const kvl_content *c, double width) {
    (void)c;
    return kvli_is_narrow(width) ? 430 : 420;
}

static void find_top(tokens *t, size_t n_judged) {
    for (; t->n_top < N_NAMED; t->n_top++) {
        size_t best = n_judged;
        for (size_t i = 0; i < n_judged; i++) {
            bool is_new = true;
            for (size_t k = 0; k < t->n_top; k++) {
                is_new = is_new && t->top[k] != i;
            }
            if (is_new && (best == n_judged || t->attention[i] > t->attention[best])) {
                best = i;
            }
        }
        if (best == n_judged) {
            return;
        }
        t->top[t->n_top] = best;
    }
}

static void tokens_free(tokens *t) {
    kvl_free(t->attention);
    kvl_free(t->rank);
}

/* False: memory. */
static bool tokens_of(tokens *t, const kvl_portrait *p) {
    *t = (tokens){.n = p->n_tokens};
    t->attention = kvl_calloc(t->n, sizeof *t->attention);
    t->rank = kvl_calloc(t->n, sizeof *t->rank);
    if (t->attention == NULL || t->rank == NULL ||
        kvli_token_means(t->attention, t->rank, p, NULL) != KVL_OK) {
        tokens_free(t);
        return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        t->rank[i] *= 100;
    }
    find_top(t, kvli_judged_tokens(p));
    return true;
}

/* The line of some values over positions, broken where there is none. */
static void draw_values(const kvl_plot *p, const double *values, size_t n, kvl_ink ink) {
    double *xy = kvl_calloc(2 * n, sizeof *xy);
    size_t n_points = 0;
    for (size_t i = 0; xy != NULL && i < n; i++) {
        if (isfinite(values[i]) && (!p->y.is_log || values[i] > 0)) {
            xy[2 * n_points] = kvl_plot_x(p, (double)i);
            xy[2 * n_points + 1] = kvl_plot_y(p, values[i]);
            n_points++;
        }
    }
    if (n_points > 1) {
        kvl_figure_path(p->figure, xy, n_points, (kvl_stroke){.ink = ink, .width = 1.2});
    }
    kvl_free(xy);
}

static void draw_top(const kvl_plot *p, const kvl_portrait *portrait, const tokens *t, const double *values,
                     bool is_named, kvl_lang lang) {
    const double box[4] = {p->left, p->top, p->right, p->bottom};
    kvl_str text = {0};
    kvl_str tip = {0};
    for (int is_label = 0; is_label < 2; is_label++) {
        for (size_t k = 0; k < t->n_top; k++) {
            const size_t i = t->top[k];
            const double x = kvl_plot_x(p, (double)i);
            const double y = kvl_plot_y(p, values[i]);
            kvl_str_clear(&text);
            kvli_put_piece(&text, portrait->pieces[i]);
            if (is_label == 0) {
                kvl_str_clear(&tip);
                KVL_SAY(&tip, lang, "token %zu “%s”\nattention %.3g, norm rank %.0f %%",
                        "第 %zu 个 token“%s”\n注意力 %.3g，范数排名 %.0f %%", i, kvl_str_text(&text),
                        t->attention[i], t->rank[i]);
                kvl_figure_mark(p->figure, x, y, 3.5, KVL_MARK_DIAMOND, KVL_INK_SERIES + 1,
                                kvl_str_text(&tip));
            } else if (is_named && text.len <= 24) {
                const char *name = kvl_str_text(&text);
                kvl_figure_label(p->figure, x, y, 7, KVLI_SMALL, KVL_INK_TEXT, box, name + strspn(name, " "));
            }
        }
    }
    kvl_str_free(&text);
    kvl_str_free(&tip);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_portrait *portrait = c->portrait;
    const size_t n_judged = kvli_judged_tokens(portrait);
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const double h = kvl_figure_height(f) - 2 * KVLI_PAD;
    tokens t;
    kvl_plot p;
    if (!tokens_of(&t, portrait)) {
        return;
    }
    double low = (double)INFINITY;
    double high = 0;
    for (size_t i = 0; i < n_judged; i++) {
        low = t.attention[i] > 0 ? fmin(low, t.attention[i]) : low;
        high = fmax(high, t.attention[i]);
    }
    const kvl_axis x = {.min = 0, .max = (double)(n_judged - 1)};
    kvl_axis x_named = x;
    x_named.label = kvl_word(lang, "position in the text, tokens", "在文本中的位置（token）");
    kvl_plot_begin(&p, f, KVLI_PAD, KVLI_PAD, w, 0.54 * h, x,
                   (kvl_axis){.min = low / 1.2,
                              .max = high * 1.5,
                              .is_log = true,
                              .label = kvl_word(lang, "attention received, mean over heads (log scale)",
                                                "得到的注意力，各头平均（对数刻度）")});
    draw_values(&p, t.attention, n_judged, KVL_INK_SERIES);
    draw_top(&p, portrait, &t, t.attention, true, lang);
    kvl_plot_begin(&p, f, KVLI_PAD, KVLI_PAD + 0.54 * h + 8, w, 0.46 * h - 8, x_named,
                   (kvl_axis){.min = 0,
                              .max = 100,
                              .label = kvl_word(lang, "rank of the key's norm, %: 0 lowest, 100 highest",
                                                "键范数排名，%：0 最低，100 最高")});
    draw_values(&p, t.rank, n_judged, KVL_INK_SERIES + 2);
    draw_top(&p, portrait, &t, t.rank, false, lang);
    tokens_free(&t);
}

/* How norm and attention go together in the layers: each of a few, or what many have in common. */
static void describe_layers(kvl_str *out, const kvl_portrait *p, kvl_lang lang) {
    enum { FEW = 8 };
    size_t low = 0;
    size_t high = 0;
    size_t n_below = 0;
    double *r = kvl_calloc(p->n_layers, sizeof *r);
    for (size_t l = 0; r != NULL && l < p->n_layers; l++) {
        r[l] = kvli_layer_correlation(p, l);
        low = isnan(r[low]) || r[l] < r[low] ? l : low;
        high = isnan(r[high]) || r[l] > r[high] ? l : high;
        n_below += r[l] < 0;
    }
    if (r == NULL || isnan(r[low])) {
        kvl_free(r);
        return;
    }
    kvl_str_puts(
        out,
        kvl_word(lang, " Rank correlation (Spearman) of norm and attention, mean over the heads of a layer: ",
                 "各层注意力头平均的范数与注意力秩相关（Spearman）："));
    for (size_t l = 0; l < p->n_layers && p->n_layers <= FEW; l++) {
        kvl_str_printf(out, isnan(r[l]) ? "%s–" : "%s%+.2f", l == 0 ? "" : kvl_word(lang, ", ", "、"), r[l]);
    }
    if (p->n_layers <= FEW) {
        kvl_str_puts(out, kvl_word(lang, " (layer 0 first).", "（自第 0 层起）。"));
    } else {
        KVL_SAY(out, lang, "from %+.2f (layer %zu) to %+.2f (layer %zu), below 0 in %zu of %zu layers.",
                "从 %+.2f（第 %zu 层）到 %+.2f（第 %zu 层），%zu 层（共 %zu 层）为负。", r[low], low, r[high],
                high, n_below, p->n_layers);
    }
    kvl_free(r);
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_portrait *p = c->portrait;
    tokens t;
    if (!tokens_of(&t, p)) {
        return;
    }
    double all = 0;
    double top = 0;
    double rank = 0;
    for (size_t i = 0; i < kvli_judged_tokens(p); i++) {
        all += t.attention[i];
    }
    for (size_t k = 0; k < t.n_top; k++) {
        top += t.attention[t.top[k]];
        rank += t.rank[t.top[k]] / (double)t.n_top;
    }
    KVL_SAY(out, lang,
            "The %zu tokens that receive most attention (marked) get %.0f %% of what all %zu get, if each is "
            "asked equally "
            "often; their norms rank at %.0f %% on average (0 %% the lowest).",
            "得到注意力最多的 %zu 个 token（已标出）占全部的 %.0f %%（共 %zu "
            "个，按被查询次数相同计）；其键范数平均排名为 %.0f "
            "%%（0 %% 为最低）。",
            t.n_top, all > 0 ? 100 * top / all : 0, kvli_judged_tokens(p), rank);
    describe_layers(out, p, lang);
    tokens_free(&t);
}

const kvl_chart kvli_chart_importance = {.id = "importance",
                                         .title_en = "Each token: attention received, and norm",
                                         .title_zh = "每个 token：得到的注意力与键范数",
                                         .has = has,
                                         .height = height,
                                         .draw = draw,
                                         .describe = describe};
