/* Which of the last tokens heads still see: one line for each keep ratio. */
#include "report/chart_int.h"
#include "report/mechanism.h"

#include <math.h>
#include <string.h>

enum { MOST_LINES = 7 };
static const double light = 0.95; /* the keep ratio that the explanation is about */

typedef struct line {
    const kvl_arm_line *arm;
    kvl_ink ink;
    kvl_mark mark;
    bool is_dashed;
} line;

/* Adds an arm in the looks of its role, once. */
static void add(line *lines, size_t *n, size_t role, const kvl_arm_line *arm) {
    static const line looks[MOST_LINES] = {
        {.ink = KVL_INK_SERIES + 1, .mark = KVL_MARK_DOT},
        {.ink = KVL_INK_SERIES + 4, .mark = KVL_MARK_SQUARE},
        {.ink = KVL_INK_SERIES + 3, .mark = KVL_MARK_DIAMOND},
        {.ink = KVL_INK_SERIES + 0, .mark = KVL_MARK_TRIANGLE},
        {.ink = KVL_INK_SERIES + 5, .mark = KVL_MARK_RING},
        {.ink = KVL_INK_SERIES + 2, .mark = KVL_MARK_DOT, .is_dashed = true},
        {.ink = KVL_INK_SERIES + 7, .mark = KVL_MARK_DOT, .is_dashed = true},
    };
    for (size_t i = 0; i < *n; i++) {
        if (lines[i].arm == arm) {
            return;
        }
    }
    if (arm != NULL) {
        lines[*n] = looks[role];
        lines[*n].arm = arm;
        ++*n;
    }
}

static const kvl_arm_line *best_arm(const kvl_cause_content *c) {
    for (size_t i = 0; c->best != NULL && i < c->n_arms; i++) {
        if (kvli_arm_is_plain(&c->arms[i], "knorm") && strcmp(c->arms[i].policy, c->best) == 0) {
            return &c->arms[i];
        }
    }
    return NULL;
}

/* The lines that tell the story: norms at falling keep ratios with the best of them, and the lightest again
 * with its newest keys protected, and by age. */
static size_t collect(line *lines, const kvl_cause_content *c) {
    size_t n = 0;
    if (c == NULL) {
        return 0;
    }
    add(lines, &n, 0, kvli_arm_find(c, "knorm", light, ""));
    add(lines, &n, 1, kvli_arm_find(c, "knorm", 0.9, ""));
    add(lines, &n, 2, kvli_arm_find(c, "knorm", 0.75, ""));
    add(lines, &n, 3, kvli_arm_find(c, "knorm", 0.5, ""));
    add(lines, &n, 4, best_arm(c));
    add(lines, &n, 5, kvli_arm_find(c, "knorm", light, ":recent=4"));
    add(lines, &n, 6, kvli_arm_find(c, "recency", light, ""));
    return n;
}

static bool has(const kvl_content *c) {
    line lines[MOST_LINES];
    return collect(lines, c->cause) != 0;
}

static double height(const kvl_content *c, double width) {
    (void)c;
    return kvli_is_narrow(width) ? 390 : 400;
}

static void draw_line(const kvl_plot *p, const line *l, kvl_lang lang) {
    double xy[2 * KVL_CONTENT_LAGS];
    kvl_str name = {0};
    kvl_str tip = {0};
    for (size_t j = 0; j < l->arm->n_lags; j++) {
        xy[2 * j] = kvl_plot_x(p, (double)j + 1);
        xy[2 * j + 1] = kvl_plot_y(p, 100 * l->arm->lag_visible[j]);
    }
    kvl_figure_path(p->figure, xy, l->arm->n_lags,
                    (kvl_stroke){.ink = l->ink, .width = 2, .is_dashed = l->is_dashed});
    kvli_put_policy(&name, l->arm->policy, lang);
    for (size_t j = 0; j < l->arm->n_lags; j = 2 * j + 1) { /* lags 1, 2, 4, 8 ... */
        kvl_str_clear(&tip);
        KVL_SAY(&tip, lang, "%s\nlag %zu: %.1f %% of heads see it", "%s\n滞后 %zu：%.1f %% 的注意力头能看到",
                kvl_str_text(&name), j + 1, 100 * l->arm->lag_visible[j]);
        kvl_figure_mark(p->figure, xy[2 * j], xy[2 * j + 1], l->is_dashed ? 2 : 3.5, l->mark, l->ink,
                        kvl_str_text(&tip));
    }
    kvl_str_free(&name);
    kvl_str_free(&tip);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    line lines[MOST_LINES];
    kvl_legend_item items[MOST_LINES];
    kvl_str names[MOST_LINES] = {0};
    const size_t n = collect(lines, c->cause);
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    kvl_plot p;
    for (size_t i = 0; i < n; i++) {
        kvli_put_policy(&names[i], lines[i].arm->policy, lang);
        items[i] = (kvl_legend_item){.name = kvl_str_text(&names[i]),
                                     .ink = lines[i].ink,
                                     .mark = lines[i].mark,
                                     .is_dashed = lines[i].is_dashed,
                                     .has_line = true};
    }
    const double top = KVLI_PAD + kvl_legend(f, KVLI_PAD, KVLI_PAD, w, items, n);
    kvl_plot_begin(&p, f, KVLI_PAD, top, w, kvl_figure_height(f) - top - KVLI_PAD,
                   (kvl_axis){.min = 1,
                              .max = KVL_CONTENT_LAGS,
                              .is_log = true,
                              .label = kvl_word(lang, "lag: how many tokens ago", "滞后：多少个 token 之前")},
                   (kvl_axis){.min = 0,
                              .max = 100,
                              .label = kvl_word(lang, "heads that see the token at this lag, %",
                                                "能看到该滞后处 token 的注意力头，%")});
    for (size_t i = n; i-- > 0;) {
        draw_line(&p, &lines[i], lang);
        kvl_str_free(&names[i]);
    }
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_arm_line *arm = kvli_arm_find(c->cause, "knorm", light, "");
    const kvl_arm_line *best = best_arm(c->cause);
    kvl_str name = {0};
    kvl_str_puts(
        out,
        kvl_word(lang,
                 "For each number of tokens back, the share of heads whose cache still holds that token, "
                 "mean over all steps of all texts, those before the first compression included.",
                 "横轴为往前第几个 token，纵轴为缓存中仍保留该 token "
                 "的注意力头占比（全部文本各步平均，含首次压缩之前）。"));
    if (arm != NULL && isfinite(arm->lag_visible[0])) {
        KVL_SAY(out, lang,
                " Keeping 95 %% of the keys by norm, %.1f %% of the heads see the token just before",
                "按键范数保留 95 %% 时，%.1f %% 的注意力头能看到前一个 token", 100 * arm->lag_visible[0]);
        if (best != NULL && best != arm && isfinite(best->lag_visible[0])) {
            kvli_put_policy(&name, best->policy, lang);
            KVL_SAY(out, lang, "; at the best setting, %s, %.1f %% do", "；而最佳设置 %s 为 %.1f %%",
                    kvl_str_text(&name), 100 * best->lag_visible[0]);
        }
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
    }
    kvl_str_free(&name);
}

const kvl_chart kvli_chart_lags = {.id = "lags",
                                   .title_en = "Which of the last tokens are still seen",
                                   .title_zh = "最近的 token 还剩多少可见",
                                   .has = has,
                                   .height = height,
                                   .draw = draw,
                                   .describe = describe};
