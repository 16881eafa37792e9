/* Is it still found: a grid of depth by length for each task and policy. */
#include "report/chart_int.h"
#include "report/mechanism.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 12, NUMBER = 10, CELL_H = 22, ROW = 17, LEFT = 40, GAP = 22, HEAD = 22, FOOT = 20 };
static const double strongest = 0.65; /* full colour would hide the numbers in cells */

static bool has(const kvl_content *c) { return c->needle != NULL && c->needle->n != 0; }

/* ---- layout: tasks below each other, their policies in rows of as many panels as have room ---- */

static size_t per_row(double width) { return kvli_is_narrow(width) ? 2 : 4; }

/* End of the grids of the task of grid i. */
static size_t task_end(const kvl_needle_content *n, size_t i) {
    size_t end = i;
    while (end < n->n && strcmp(n->grids[end].task, n->grids[i].task) == 0) {
        end++;
    }
    return end;
}

static double panel_height(const kvl_needle_grid *g) { return ROW + CELL_H * (double)g->n_depths + FOOT; }

/* Height of the grids [first, end) of one row. */
static double row_height(const kvl_needle_content *n, size_t first, size_t end) {
    double most = 0;
    for (size_t i = first; i < end; i++) {
        most = fmax(most, panel_height(&n->grids[i]));
    }
    return most;
}

static double note_height(double width) { return (kvli_is_narrow(width) ? 3 : 2) * ROW; }

static double height(const kvl_content *c, double width) {
    const kvl_needle_content *n = c->needle;
    double sum = note_height(width);
    for (size_t i = 0; i < n->n;) {
        const size_t end = task_end(n, i);
        sum += HEAD;
        for (; i < end; i = kvl_min_size(i + per_row(width), end)) {
            sum += row_height(n, i, kvl_min_size(i + per_row(width), end)) + 8;
        }
    }
    return sum;
}

/* ---- a grid ---- */

static void draw_cell(kvl_figure *f, const kvl_needle_grid *g, size_t at, double x, double y, double w,
                      kvl_lang lang) {
    const double rate = (double)g->n_right[at] / (double)kvl_max_size(g->n_trials[at], 1);
    const bool is_known = g->is_judged[at] && g->n_trials[at] != 0;
    char text[48];
    kvl_str tip = {0};
    KVL_SAY(&tip, lang, "%zu tokens, depth %zu %%: %zu of %zu right, full cache %zu",
            "%zu 个 token，深度 %zu %%：答对 %zu / %zu，完整缓存 %zu", g->lengths[at / g->n_depths],
            g->depths[at % g->n_depths], g->n_right[at], g->n_trials[at], g->n_right_full[at]);
    if (is_known) {
        kvl_figure_rect(f, x, y, w - 1, CELL_H - 1, KVL_INK_SHADE, 1, NULL);
    }
    kvl_figure_heat(f, x, y, w - 1, CELL_H - 1, is_known ? strongest * rate : (double)NAN,
                    kvl_str_text(&tip));
    snprintf(text, sizeof text, "%zu/%zu", g->n_right[at], g->n_trials[at]);
    if (is_known && kvl_figure_measure(f, NUMBER, text) > w - 3) {
        snprintf(text, sizeof text, "%.0f", 100 * rate); /* percent */
    }
    if (is_known && kvl_figure_measure(f, NUMBER, text) <= w - 3) {
        kvl_figure_text(f, x + (w - 1) / 2, y + (CELL_H - 1) / 2.0, NUMBER, KVL_ALIGN_MIDDLE, KVL_INK_TEXT, 0,
                        text);
    }
    kvl_str_free(&tip);
}

static void draw_grid(kvl_figure *f, const kvl_needle_grid *g, double x, double y, double w, kvl_lang lang) {
    const double left = x + LEFT;
    const double cell = (w - LEFT) / (double)g->n_lengths;
    double last = -(double)INFINITY;
    kvl_str text = {0};
    kvli_put_policy(&text, g->policy, lang);
    kvl_figure_text(f, left, y + 7, 11, KVL_ALIGN_LEFT, KVL_INK_TEXT, w - LEFT, kvl_str_text(&text));
    for (size_t d = 0; d < g->n_depths; d++) {
        kvl_str_clear(&text);
        kvl_str_printf(&text, "%zu %%", g->depths[d]);
        kvl_figure_text(f, left - 5, y + ROW + CELL_H * ((double)d + 0.5), NUMBER, KVL_ALIGN_RIGHT,
                        KVL_INK_SOFT, LEFT - 6, kvl_str_text(&text));
        for (size_t l = 0; l < g->n_lengths; l++) {
            draw_cell(f, g, l * g->n_depths + d, left + (double)l * cell, y + ROW + CELL_H * (double)d, cell,
                      lang);
        }
    }
    for (size_t l = 0; l < g->n_lengths; l++) {
        kvl_str_clear(&text);
        kvl_str_printf(&text, "%zu", g->lengths[l]);
        const double middle = left + ((double)l + 0.5) * cell;
        const double half = kvl_figure_measure(f, NUMBER, kvl_str_text(&text)) / 2;
        if (middle - half > last + 4 && middle + half <= x + w + 4) {
            kvl_figure_text(f, middle, y + ROW + CELL_H * (double)g->n_depths + 9, NUMBER, KVL_ALIGN_MIDDLE,
                            KVL_INK_SOFT, 0, kvl_str_text(&text));
            last = middle + half;
        }
    }
    kvl_str_free(&text);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_needle_content *n = c->needle;
    const double width = kvl_figure_width(f);
    const size_t most = per_row(width);
    const double w = (width - GAP * (double)(most - 1) / 2) / (double)most;
    double y = 0;
    kvl_figure_paragraph(
        f, 0, y, width, 11, KVL_ALIGN_LEFT, KVL_INK_SOFT,
        kvl_word(lang,
                 "Across: tokens of the prompt; down: depth of what was hidden. Right answers of all "
                 "trials; hatched: the full cache fails there too, or nothing was evicted.",
                 "横轴：提示长度（token）；纵轴：隐藏内容的深度。格中为答对数 / "
                 "试验数；斜线：完整缓存也答不对，或没有驱逐任何条目。"));
    y += note_height(width);
    for (size_t i = 0; i < n->n;) {
        const size_t end = task_end(n, i);
        kvl_figure_text(f, 0, y + 9, NAME, KVL_ALIGN_LEFT, KVL_INK_TEXT, width, n->grids[i].task);
        y += HEAD;
        while (i < end) {
            const size_t row_end = kvl_min_size(i + most, end);
            const double h = row_height(n, i, row_end);
            for (size_t k = 0; i < row_end; i++, k++) {
                draw_grid(f, &n->grids[i], (double)k * (w + GAP / 2.0), y, w, lang);
            }
            y += h + 8;
        }
    }
}

/* ---- in words ---- */

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const kvl_needle_content *n = c->needle;
    kvl_str name = {0};
    kvl_str_puts(out, kvl_word(lang, "Right answers over the cells in which the full cache passes.",
                               "在完整缓存能答对的各格中的答对率。"));
    for (size_t i = 0; i < n->n; i++) {
        const kvl_needle_grid *g = &n->grids[i];
        size_t right = 0;
        size_t trials = 0;
        for (size_t k = 0; k < g->n_lengths * g->n_depths; k++) {
            right += g->is_judged[k] ? g->n_right[k] : 0;
            trials += g->is_judged[k] ? g->n_trials[k] : 0;
        }
        const bool is_new = i == 0 || strcmp(g->task, n->grids[i - 1].task) != 0;
        const bool is_last = i + 1 == n->n || strcmp(g->task, n->grids[i + 1].task) != 0;
        kvl_str_clear(&name);
        kvli_put_policy(&name, g->policy, lang);
        if (is_new) {
            KVL_SAY(out, lang, " %s: ", "%s：", g->task);
        }
        kvl_str_printf(out, "%s %zu/%zu%s", kvl_str_text(&name), right, trials,
                       is_last ? kvl_word(lang, ".", "。") : kvl_word(lang, ", ", "，"));
    }
    kvl_str_free(&name);
}

const kvl_chart kvli_chart_needle = {.id = "needle",
                                     .title_en = "Is it still found",
                                     .title_zh = "检索：还能找到吗",
                                     .has = has,
                                     .height = height,
                                     .draw = draw,
                                     .describe = describe};
