/* Layer by head: does a low norm mean much attention, and how much attention the worst policy hides. */
#include "report/chart_int.h"
#include "report/mechanism.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    TITLE = 12,
    NUMBER = 10,
    LABEL = 11,
    ROW = 17,
    LEFT = 26,
    GAP = 24,
    SWATCHES = 9,
    SWATCH = 9,
    NUMBER_BYTES = 24
};
static const double strongest = 0.65; /* full colour would hide the numbers in cells */

typedef struct panel {
    kvl_figure *figure;
    const kvl_portrait *portrait;
    const kvl_portrait_policy *policy; /* NULL: correlations */
    double left, top, cell_w, cell_h;  /* of the cells */
    kvl_lang lang;
} panel;

static bool has(const kvl_content *c) { return c->portrait != NULL && kvli_judged_tokens(c->portrait) != 0; }

/* ---- layout ---- */

static double cell_height(const kvl_portrait *p) { return fmin(26, fmax(4, 300 / (double)p->n_heads)); }
static double title_height(double width) { return (kvli_is_narrow(width) ? 4 : 2) * ROW; }

static double panel_height(const kvl_portrait *p, double width) {
    return title_height(width) + cell_height(p) * (double)p->n_heads + 2 * ROW + 8;
}

static double height(const kvl_content *c, double width) {
    const double one = panel_height(c->portrait, width);
    return kvli_portrait_worst(c->portrait) != NULL ? 2 * one + GAP : one;
}

/* ---- cells ---- */

static double value_of(const panel *a, size_t layer, size_t head) {
    return a->policy == NULL ? kvli_head_correlation(a->portrait, layer, head)
                             : kvli_hidden_attention(a->portrait, a->policy, layer, head);
}

/* A colour for a value from -1 to 1: two hues, even in strength; NAN is hatched. */
static void put_cell(const panel *a, double x, double y, double w, double h, double value, const char *tip) {
    if (value < 0) {
        kvl_figure_rect(a->figure, x, y, w, h, KVL_INK_SERIES + 0, -strongest * value, tip);
    } else if (a->policy == NULL && !isnan(value)) {
        kvl_figure_rect(a->figure, x, y, w, h, KVL_INK_SERIES + 1, strongest * value, tip);
    } else {
        kvl_figure_heat(a->figure, x, y, w, h, strongest * value, tip);
    }
}

/* The number of a cell; false: it has no room. */
static bool write_number(const panel *a, char text[NUMBER_BYTES], double value) {
    if (a->cell_h < NUMBER + 2) {
        return false;
    }
    snprintf(text, NUMBER_BYTES, a->policy == NULL ? "%.2f" : "%.0f",
             a->policy == NULL ? value : 100 * value);
    if (strcmp(text, "-0.00") == 0) {
        memmove(text, text + 1, strlen(text));
    }
    char *point = strstr(text, "0.");
    if (point != NULL && kvl_figure_measure(a->figure, NUMBER, "-0.00") > a->cell_w - 4) {
        memmove(point, point + 1, strlen(point)); /* "-.41" */
    }
    return kvl_figure_measure(a->figure, NUMBER, text) <= a->cell_w - 4;
}

/* Its number in it, or at least when it is pointed at. */
static void draw_cell(const panel *a, size_t layer, size_t head, double seam) {
    const double value = value_of(a, layer, head);
    const double x = a->left + (double)layer * a->cell_w;
    const double y = a->top + (double)head * a->cell_h;
    const double w = a->cell_w - seam;
    const double h = a->cell_h - seam;
    char number[NUMBER_BYTES];
    if (!isnan(value) && write_number(a, number, value)) {
        put_cell(a, x, y, w, h, value, NULL);
        kvl_figure_text(a->figure, x + w / 2, y + h / 2, NUMBER, KVL_ALIGN_MIDDLE, KVL_INK_TEXT, 0, number);
        return;
    }
    kvl_str tip = {0};
    KVL_SAY(&tip, a->lang, "layer %zu, head %zu: ", "第 %zu 层，头 %zu：", layer, head);
    if (isnan(value)) {
        kvl_str_puts(&tip, "—");
    } else {
        kvl_str_printf(&tip, a->policy == NULL ? "%.2f" : "%.0f %%", a->policy == NULL ? value : 100 * value);
    }
    put_cell(a, x, y, w, h, value, kvl_str_text(&tip));
    kvl_str_free(&tip);
}

static void draw_cells(const panel *a) {
    const kvl_portrait *p = a->portrait;
    const double seam = fmin(1, 0.1 * fmin(a->cell_w, a->cell_h));
    const size_t first = a->policy != NULL ? kvl_min_size(p->n_skipped, p->n_layers) : 0;
    const double left = a->left + (double)first * a->cell_w;
    const double h = a->cell_h * (double)p->n_heads;
    if (first != 0) {
        kvl_figure_heat(a->figure, a->left, a->top, left - a->left - seam, h, (double)NAN,
                        kvl_word(a->lang, "left alone by the policy", "策略不处理"));
    }
    kvl_figure_rect(a->figure, left, a->top, a->cell_w * (double)(p->n_layers - first) - seam, h - seam,
                    KVL_INK_SHADE, 1, NULL);
    for (size_t l = first; l < p->n_layers; l++) {
        for (size_t k = 0; k < p->n_heads; k++) {
            draw_cell(a, l, k, seam);
        }
    }
}

/* ---- axes ---- */

/* Every how many cells a number of this width has room. */
static size_t stride(double width, double cell) {
    static const size_t steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
    size_t i = 0;
    while (i + 1 < sizeof steps / sizeof steps[0] && (double)steps[i] * cell < width) {
        i++;
    }
    return steps[i];
}

static void draw_numbers(const panel *a) {
    const kvl_portrait *p = a->portrait;
    const double below = a->top + a->cell_h * (double)p->n_heads + 9;
    char text[24];
    for (size_t l = 0; l < p->n_layers; l += stride(20, a->cell_w)) {
        snprintf(text, sizeof text, "%zu", l);
        kvl_figure_text(a->figure, a->left + ((double)l + 0.5) * a->cell_w, below, NUMBER, KVL_ALIGN_MIDDLE,
                        KVL_INK_SOFT, 0, text);
    }
    for (size_t h = 0; h < p->n_heads; h += stride(14, a->cell_h)) {
        snprintf(text, sizeof text, "%zu", h);
        kvl_figure_text(a->figure, a->left - 6, a->top + ((double)h + 0.5) * a->cell_h, NUMBER,
                        KVL_ALIGN_RIGHT, KVL_INK_SOFT, 0, text);
    }
}

/* What colours mean, at the left below the layers; what the axes are at the right. */
static void draw_scale(const panel *a, double right) {
    const double y = a->top + a->cell_h * (double)a->portrait->n_heads + ROW + 10;
    const char *low = a->policy == NULL ? "−1" : "0 %";
    const char *high = a->policy == NULL ? "+1" : "100 %";
    double x = a->left;
    x += kvl_figure_text(a->figure, x, y, NUMBER, KVL_ALIGN_LEFT, KVL_INK_SOFT, 0, low) + 5;
    kvl_figure_rect(a->figure, x, y - 5, SWATCH * SWATCHES, 10, KVL_INK_SHADE, 1, NULL);
    for (int i = 0; i < SWATCHES; i++) {
        const double share = (double)i / (SWATCHES - 1);
        put_cell(a, x, y - 5, SWATCH, 10, a->policy == NULL ? 2 * share - 1 : share, NULL);
        x += SWATCH;
    }
    kvl_figure_text(a->figure, x + 5, y, NUMBER, KVL_ALIGN_LEFT, KVL_INK_SOFT, 0, high);
    kvl_figure_text(a->figure, right, y, LABEL, KVL_ALIGN_RIGHT, KVL_INK_TEXT, 0,
                    kvl_word(a->lang, "across: layer, down: head", "横：层，纵：KV 头"));
}

static void draw_panel(panel *a, double y, const char *title) {
    const double width = kvl_figure_width(a->figure);
    a->left = LEFT;
    a->top = y + title_height(width);
    a->cell_h = cell_height(a->portrait);
    a->cell_w = (width - LEFT) / (double)a->portrait->n_layers;
    kvl_figure_paragraph(a->figure, 0,
                         a->top - 5 - kvl_figure_paragraph_height(a->figure, width, TITLE, title), width,
                         TITLE, KVL_ALIGN_LEFT, KVL_INK_TEXT, title);
    draw_cells(a);
    draw_numbers(a);
    draw_scale(a, width);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_portrait *p = c->portrait;
    const kvl_portrait_policy *worst = kvli_portrait_worst(p);
    panel a = {.figure = f, .portrait = p, .lang = lang};
    draw_panel(
        &a, 0,
        kvl_word(lang,
                 "Rank correlation of key norm and attention received; −1: the lowest norms get most, as "
                 "keeping low norms assumes",
                 "键范数与所得注意力的秩相关；−1 表示范数最低者得到最多，即“保留低范数”的前提"));
    if (worst != NULL) {
        kvl_str title = {0};
        kvl_str name = {0};
        kvli_put_policy(&name, worst->policy, lang);
        KVL_SAY(
            &title, lang,
            "Share of attention that %s hides, %%: each key's mean attention, times the later queries that "
            "no longer see it",
            "%s 所遮蔽的注意力占比，%%：每个键的平均注意力 × 之后已看不到它的查询数", kvl_str_text(&name));
        a.policy = worst;
        draw_panel(&a, panel_height(p, kvl_figure_width(f)) + GAP, kvl_str_text(&title));
        kvl_str_free(&title);
        kvl_str_free(&name);
    }
}

/* ---- in words ---- */

typedef struct spread {
    double low, high, sum;
    size_t low_layer, low_head, high_layer, high_head, n;
} spread;

static spread spread_of(const panel *a) {
    spread s = {.low = (double)INFINITY, .high = -(double)INFINITY};
    for (size_t l = a->policy != NULL ? a->portrait->n_skipped : 0; l < a->portrait->n_layers; l++) {
        for (size_t h = 0; h < a->portrait->n_heads; h++) {
            const double value = value_of(a, l, h);
            if (isnan(value)) {
                continue;
            }
            if (value < s.low) {
                s.low = value;
                s.low_layer = l;
                s.low_head = h;
            }
            if (value > s.high) {
                s.high = value;
                s.high_layer = l;
                s.high_head = h;
            }
            s.sum += value;
            s.n++;
        }
    }
    return s;
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    panel a = {.portrait = c->portrait, .lang = lang};
    const spread r = spread_of(&a);
    if (r.n != 0) {
        KVL_SAY(out, lang,
                "Norm and attention received go together with a rank correlation between %+.2f (layer %zu, "
                "head %zu) and "
                "%+.2f (layer %zu, head %zu), mean %+.2f over %zu heads.",
                "键范数与所得注意力的秩相关介于 %+.2f（第 %zu 层，头 %zu）与 %+.2f（第 %zu 层，头 "
                "%zu）之间，平均 %+.2f（%zu 个头）。",
                r.low, r.low_layer, r.low_head, r.high, r.high_layer, r.high_head, r.sum / (double)r.n, r.n);
    }
    a.policy = kvli_portrait_worst(c->portrait);
    const spread lost = a.policy != NULL ? spread_of(&a) : (spread){0};
    if (lost.n != 0) {
        kvl_str name = {0};
        kvli_put_policy(&name, a.policy->policy, lang);
        KVL_SAY(out, lang,
                " %s, the worst policy on this text, hides %.0f %% of the attention between tokens on "
                "average, %.0f %% to "
                "%.0f %% by head (an estimate: it takes each key's attention as even over later queries).",
                "此文本上最差的策略 %s 平均遮蔽 token 之间注意力的 %.0f %%，各头为 %.0f %% 到 %.0f "
                "%%（估计值：假定每个键得到的注意力对之后各查询相同）。",
                kvl_str_text(&name), 100 * lost.sum / (double)lost.n, 100 * lost.low, 100 * lost.high);
        kvl_str_free(&name);
    }
}

const kvl_chart kvli_chart_heads = {.id = "heads",
                                    .title_en = "Heads: norm against attention, and attention hidden",
                                    .title_zh = "各注意力头：键范数与注意力、被遮蔽的注意力",
                                    .has = has,
                                    .height = height,
                                    .draw = draw,
                                    .describe = describe};
