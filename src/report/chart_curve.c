/* Perplexity against the share of the cache that is kept: intervals, stages, worst, best, full cache.
 *
 * The x axis runs from the full cache on the left to the smallest one on the right, as published curves do.
 */
#include "report/chart_int.h"

#include "base/alloc.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* ---- what curves share ---- */

double kvli_ppl_low(const kvl_report_row *row) { return row->ppl * exp(row->delta.low - row->delta.mean); }
double kvli_ppl_high(const kvl_report_row *row) { return row->ppl * exp(row->delta.high - row->delta.mean); }

/* Intervals far above their point would flatten all others: their bars are cut. */
static void widen_by_row(kvli_range *x, kvli_range *y, const kvl_report_row *row) {
    if (!isfinite(row->ppl) || row->ppl <= 0) {
        return;
    }
    kvli_widen(x, row->keep_ratio);
    kvli_widen(y, row->ppl);
    if (!row->is_baseline && row->delta.has_interval) {
        kvli_widen(y, kvli_ppl_low(row));
        kvli_widen(y, fmin(kvli_ppl_high(row), 4 * row->ppl));
    }
}

void kvli_curve_axes(kvl_axis *x, kvl_axis *y, const kvl_report *r, const size_t *firsts, size_t n) {
    kvli_range across = {1, 1};
    kvli_range up = KVLI_NO_RANGE;
    const kvl_report_row *full = kvli_full_row(r);
    if (full != NULL) {
        widen_by_row(&across, &up, full);
    }
    for (size_t k = 0; k < n; k++) {
        for (size_t i = firsts[k]; i < kvli_group_end(r, firsts[k]); i++) {
            widen_by_row(&across, &up, &r->rows[i]);
        }
    }
    if (up.low > up.high) {
        up = (kvli_range){1, 2};
    }
    const bool is_log = up.high > (n > 1 ? 2.5 : 6) * up.low;
    const double margin = 0.07 * (up.high - up.low) + 0.01 * up.high;
    const double width = fmax(across.high - across.low, 0.05);
    *x = (kvl_axis){.min = across.high + 0.03 * width, .max = across.low - 0.04 * width};
    *y = (kvl_axis){.is_log = is_log,
                    .min = is_log ? up.low / 1.15 : fmax(0, up.low - margin),
                    .max = is_log ? fmin(up.high * 1.3, DBL_MAX) : up.high + 2.2 * margin};
}

static void draw_bars(const kvl_plot *p, const kvl_report *r, size_t first, kvl_ink ink, double dx) {
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        const kvl_report_row *row = &r->rows[i];
        if (row->delta.has_interval && isfinite(row->ppl) && isfinite(kvli_ppl_high(row))) {
            kvli_bar(p->figure, kvl_plot_x(p, row->keep_ratio) + dx, kvl_plot_y(p, kvli_ppl_low(row)),
                     kvl_plot_y(p, kvli_ppl_high(row)), ink);
        }
    }
}

void kvli_curve_line(const kvl_plot *p, const kvl_report *r, size_t first, size_t series, double dx,
                     double radius, kvl_lang lang) {
    const kvl_stroke stroke = {.ink = kvli_series_ink(series), .width = 2};
    double last[2] = {(double)NAN, (double)NAN}; /* a line from nowhere is not drawn */
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        const kvl_report_row *row = &r->rows[i];
        const double x = kvl_plot_x(p, row->keep_ratio) + dx;
        const double y = kvl_plot_y(p, row->ppl);
        if (isfinite(row->ppl) && isfinite(x)) {
            kvl_figure_line(p->figure, last[0], last[1], x, y, stroke);
            last[0] = x;
            last[1] = y;
        }
    }
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        const kvl_report_row *row = &r->rows[i];
        kvl_str tip = {0};
        if (isfinite(row->ppl)) {
            kvli_row_tip(&tip, row, lang);
            kvl_figure_mark(p->figure, kvl_plot_x(p, row->keep_ratio) + dx, kvl_plot_y(p, row->ppl), radius,
                            row->has_evicted ? kvli_series_mark(series) : KVL_MARK_RING, stroke.ink,
                            kvl_str_text(&tip));
        }
        kvl_str_free(&tip);
    }
}

void kvli_curve_full(const kvl_plot *p, const kvl_report *r) {
    const kvl_report_row *full = kvli_full_row(r);
    if (full != NULL) {
        const double y = kvl_plot_y(p, full->ppl);
        kvl_figure_line(p->figure, p->left, y, p->right, y,
                        (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1.3, .is_dashed = true});
    }
}

void kvli_curve_extremes(const kvl_report *r, const size_t *firsts, size_t n, size_t *worst, size_t *best) {
    *worst = *best = r->n_rows;
    for (size_t k = 0; k < n; k++) {
        const size_t end = kvli_group_end(r, firsts[k]);
        size_t high = end;
        size_t low = end;
        kvli_group_extremes(r, firsts[k], end, &high, &low);
        if (high < end && isfinite(r->rows[high].ppl) &&
            (*worst == r->n_rows || r->rows[high].ppl > r->rows[*worst].ppl)) {
            *worst = high;
        }
        if (low < end && isfinite(r->rows[low].ppl) &&
            (*best == r->n_rows || r->rows[low].ppl < r->rows[*best].ppl)) {
            *best = low;
        }
    }
}

/* ---- this chart ---- */

typedef struct curve {
    kvl_figure *f;
    const kvl_report *r;
    kvl_lang lang;
    kvl_plot p;
    size_t firsts[KVLI_MOST_SERIES];
    size_t n_presses, n; /* n of them are drawn */
    size_t worst, best;  /* rows; n_rows: none */
    double stage_y;      /* of the row that names stages where bands have no room */
} curve;

static curve make(const kvl_content *c, kvl_lang lang) {
    curve v = {.r = c->sweep, .lang = lang};
    v.n_presses = kvli_find_presses(v.r, v.firsts, KVLI_MOST_SERIES);
    v.n = kvl_min_size(v.n_presses, KVLI_MOST_SERIES);
    kvli_curve_extremes(v.r, v.firsts, v.n, &v.worst, &v.best);
    return v;
}

static bool has(const kvl_content *c) {
    size_t first = 0;
    return kvli_find_presses(c->sweep, &first, 1) != 0;
}

/* ---- stages ---- */

typedef struct band {
    kvl_stage stage;
    double left, right;
} band;
enum { MOST_BANDS = 12 };

/* Runs of rows of one stage of the only press; borders lie halfway between rows. */
static size_t find_bands(const curve *v, band *bands) {
    const kvl_report_row *rows = v->r->rows;
    const size_t first = v->firsts[0];
    const size_t end = kvli_group_end(v->r, first);
    size_t n = 0;
    for (size_t i = first; i < end && v->n_presses == 1; i++) {
        const double next = i + 1 < end ? (rows[i].keep_ratio + rows[i + 1].keep_ratio) / 2 : v->p.x.max;
        const double right = kvl_plot_x(&v->p, next);
        const bool is_same = n > 0 && bands[n - 1].stage == rows[i].stage;
        if (!is_same && n < MOST_BANDS) {
            const double left = n > 0
                                    ? bands[n - 1].right
                                    : kvl_plot_x(&v->p, rows[i].keep_ratio + fabs(rows[i].keep_ratio - next));
            bands[n++] = (band){.stage = rows[i].stage, .left = left};
        }
        bands[n - 1].right = right;
    }
    return n;
}

static void shade(const curve *v, double x, double y, double w, double h, kvl_stage stage) {
    static const struct {
        kvl_ink ink;
        double opacity;
    } shades[KVL_N_STAGES] = {{KVL_INK_PAGE, 0},
                              {KVL_INK_BAD, 0.11},
                              {KVL_INK_SHADE, 0.8},
                              {KVL_INK_GOOD, 0.12},
                              {KVL_INK_SERIES + 4, 0.16}};
    if (stage != KVL_STAGE_BASELINE) {
        kvl_figure_rect(v->f, x, y, w, h, shades[stage].ink, shades[stage].opacity, NULL);
    }
}

/* Names stand in their bands; where one has no room, all stand in a row of samples. */
static bool names_fit(const curve *v, const band *bands, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double room = bands[i].right - bands[i].left - 6;
        if (bands[i].stage != KVL_STAGE_BASELINE &&
            kvl_figure_measure(v->f, KVLI_SMALL, kvl_term_stage(v->lang, bands[i].stage)) > room) {
            return false;
        }
    }
    return true;
}

static void draw_stage_row(const curve *v, const band *bands, size_t n) {
    const double y = v->stage_y;
    double x = KVLI_PAD;
    bool is_done[KVL_N_STAGES] = {[KVL_STAGE_BASELINE] = true};
    for (size_t i = 0; i < n; i++) {
        if (!is_done[bands[i].stage]) {
            shade(v, x, y - 7, 14, 14, bands[i].stage);
            x += 19 + 12 +
                 kvl_figure_text(v->f, x + 19, y, KVLI_SMALL, KVL_ALIGN_LEFT, KVL_INK_SOFT, 0,
                                 kvl_term_stage(v->lang, bands[i].stage));
            is_done[bands[i].stage] = true;
        }
    }
}

static void draw_bands(const curve *v, const band *bands, size_t n, bool has_names) {
    for (size_t i = 0; i < n; i++) {
        shade(v, bands[i].left, v->p.top, bands[i].right - bands[i].left, v->p.bottom - 1 - v->p.top,
              bands[i].stage);
        if (has_names && bands[i].stage != KVL_STAGE_BASELINE) {
            kvl_figure_text(v->f, (bands[i].left + bands[i].right) / 2, v->p.top + 10, KVLI_SMALL,
                            KVL_ALIGN_MIDDLE, KVL_INK_SOFT, 0, kvl_term_stage(v->lang, bands[i].stage));
        }
    }
}

/* ---- labels ---- */

/* Presses stand beside each other at a keep ratio, so that their intervals can be told apart. */
static double shift_of(const curve *v, size_t press) {
    const double step = kvli_is_narrow(kvl_figure_width(v->f)) ? 1.5 : 3;
    return step * ((double)press - 0.5 * (double)(v->n - 1));
}

/* Which of those drawn row i belongs to. */
static size_t press_of(const curve *v, size_t i) {
    size_t k = 0;
    while (k + 1 < v->n && v->firsts[k + 1] <= i) {
        k++;
    }
    return k;
}

static void mark_row(const curve *v, size_t i, const char *word) {
    const double box[] = {v->p.left, v->p.top, v->p.right, v->p.bottom};
    const kvl_report_row *row = &v->r->rows[i];
    const double x = kvl_plot_x(&v->p, row->keep_ratio) + shift_of(v, press_of(v, i));
    const double y = kvl_plot_y(&v->p, row->ppl);
    kvl_str label = {0};
    KVL_SAY(&label, v->lang, "%s: %.2f at %g", "%s：%.2f（保留率 %g）", word, row->ppl, row->keep_ratio);
    if (v->n > 1 && !kvli_is_narrow(kvl_figure_width(v->f))) {
        kvl_str_printf(&label, kvl_word(v->lang, " (%s)", "（%s）"), row->press);
    }
    kvl_figure_mark(v->f, x, y, 7, KVL_MARK_RING, KVL_INK_TEXT, NULL);
    kvl_figure_label(v->f, x, y, 12, KVLI_SIZE, KVL_INK_TEXT, box, kvl_str_text(&label));
    kvl_str_free(&label);
}

static void put_full(kvl_str *out, const kvl_report_row *full, kvl_lang lang) {
    KVL_SAY(out, lang, "full cache %.2f", "完整缓存 %.2f", full->ppl);
}

static void draw_labels(const curve *v) {
    const double box[] = {v->p.left, v->p.top, v->p.right, v->p.bottom};
    const kvl_report_row *full = kvli_full_row(v->r);
    if (v->worst < v->r->n_rows && v->best < v->r->n_rows && v->worst != v->best) {
        mark_row(v, v->worst, kvl_word(v->lang, "worst", "最差"));
        mark_row(v, v->best, kvl_word(v->lang, "best", "最佳"));
    }
    if (full != NULL && v->n == 1) { /* of several the legend says it */
        kvl_str label = {0};
        put_full(&label, full, v->lang);
        kvl_figure_label(v->f, v->p.left, kvl_plot_y(&v->p, full->ppl), 3, KVLI_SMALL, KVL_INK_SOFT, box,
                         kvl_str_text(&label));
        kvl_str_free(&label);
    }
}

static void put_y_label(kvl_str *out, const kvl_report *r, bool is_log, kvl_lang lang) {
    kvl_str_puts(out, r->has_mean_ppl
                          ? kvl_word(lang, "perplexity (mean of samples", "困惑度（各样本的均值")
                          : kvl_word(lang, "perplexity (of all scored tokens", "困惑度（全部计分 token"));
    kvl_str_puts(out, is_log ? kvl_word(lang, ", log scale)", "，对数刻度）") : kvl_word(lang, ")", "）"));
}

/* ---- the whole ---- */

/* The presses and the full cache, whose name is written to `full`. */
static size_t legend(kvl_legend_item items[KVLI_MOST_SERIES + 1], const curve *v, kvl_str *full) {
    const kvl_report_row *row = kvli_full_row(v->r);
    const size_t n = kvli_press_legend(items, v->r, v->firsts, v->n, row != NULL, v->lang);
    if (row != NULL) {
        put_full(full, row, v->lang);
        items[n - 1].name = kvl_str_text(full);
    }
    return n;
}

static double height(const kvl_content *c, double width) {
    const curve v = make(c, KVL_EN);
    double room = kvli_rest_height(v.n, v.n_presses);
    if (v.n > 1) {
        kvl_legend_item items[KVLI_MOST_SERIES + 1];
        kvl_str full = {0};
        room += kvli_legend_room(width, items, legend(items, &v, &full));
        kvl_str_free(&full);
    }
    return (kvli_is_narrow(width) ? 290 : 400) + room;
}

/* Everything above and below the plot; then the plot's axes. */
static void draw_frame(curve *v) {
    const double w = kvl_figure_width(v->f) - 2 * KVLI_PAD;
    double top = KVLI_PAD;
    const double bottom =
        kvl_figure_height(v->f) - KVLI_PAD - kvli_draw_rest(v->f, v->n, v->n_presses, v->lang);
    kvl_legend_item items[KVLI_MOST_SERIES + 1];
    kvl_str text = {0};
    kvl_axis x, y;
    kvli_curve_axes(&x, &y, v->r, v->firsts, v->n);
    /* a wide figure has room to the left of the label of its x axis */
    v->stage_y = kvl_figure_height(v->f) - KVLI_PAD - 8;
    if (v->n == 1 && kvli_is_narrow(kvl_figure_width(v->f))) {
        v->stage_y = top + 8;
        top += 20;
    }
    if (v->n > 1) {
        top += kvl_legend(v->f, KVLI_PAD, top, w, items, legend(items, v, &text));
        kvl_str_clear(&text);
    }
    x.label = kvl_word(v->lang, "keep ratio (share of the cache kept)", "保留率（保留的缓存份额）");
    put_y_label(&text, v->r, y.is_log, v->lang);
    y.label = kvl_str_text(&text);
    kvl_plot_begin(&v->p, v->f, KVLI_PAD, top, w, bottom - top, x, y);
    v->p.x.label = v->p.y.label = NULL; /* the text ends here */
    kvl_str_free(&text);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    curve v = make(c, lang);
    band bands[MOST_BANDS];
    v.f = f;
    draw_frame(&v);
    const size_t n_bands = find_bands(&v, bands);
    const bool has_names = !kvli_is_narrow(kvl_figure_width(f)) && names_fit(&v, bands, n_bands);
    draw_bands(&v, bands, n_bands, has_names);
    if (!has_names) {
        draw_stage_row(&v, bands, n_bands);
    }
    kvli_curve_full(&v.p, v.r);
    for (size_t k = 0; k < v.n; k++) {
        draw_bars(&v.p, v.r, v.firsts[k], kvli_series_ink(k), shift_of(&v, k));
    }
    for (size_t k = 0; k < v.n; k++) {
        kvli_curve_line(&v.p, v.r, v.firsts[k], k, shift_of(&v, k), v.n > 1 ? 3.2 : 3.8, lang);
    }
    draw_labels(&v);
}

/* Press, keep ratio, perplexity and loss of a row. */
static void put_row(kvl_str *out, const kvl_report_row *row, kvl_lang lang) {
    KVL_SAY(out, lang, "%s at keep %g: %.2f (", "%s 保留率 %g：%.2f（", row->press, row->keep_ratio,
            row->ppl);
    kvli_put_estimate(out, &row->delta);
    kvl_str_puts(out, kvl_word(lang, " nats per token above the full cache)", " nats/token，相对完整缓存）"));
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const curve v = make(c, lang);
    const kvl_report_row *full = kvli_full_row(v.r);
    kvl_str_puts(out, kvl_word(lang,
                               "Perplexity against the share of the cache that is kept, with 95 % intervals "
                               "where there are any.",
                               "困惑度随保留的缓存份额变化，有区间处附 95 % 置信区间。"));
    if (full != NULL) {
        KVL_SAY(out, lang, " Full cache: %.2f.", "完整缓存：%.2f。", full->ppl);
    }
    if (v.best < v.r->n_rows) {
        kvl_str_puts(out, kvl_word(lang, " Lowest: ", "最低："));
        put_row(out, &v.r->rows[v.best], lang);
        if (v.worst != v.best && v.worst < v.r->n_rows) {
            kvl_str_puts(out, kvl_word(lang, "; highest: ", "；最高："));
            put_row(out, &v.r->rows[v.worst], lang);
        }
        kvl_str_puts(out, kvl_word(lang, ".", "。"));
        if (full != NULL && full->n_scored != v.r->rows[v.best].n_scored) {
            KVL_SAY(out, lang,
                    " The full cache's PPL is of other tokens (%zu, not %zu); nats compare the same tokens.",
                    "完整缓存的 PPL 取自另一批 token（%zu 个，而非 %zu 个）；nats 之差比较的是相同 token。",
                    full->n_scored, v.r->rows[v.best].n_scored);
        }
    } else {
        kvl_str_puts(out, kvl_word(lang, " Nothing was evicted.", "没有驱逐任何条目。"));
    }
}

const kvl_chart kvli_chart_curve = {.id = "curve",
                                    .title_en = "Perplexity against the share of the cache kept",
                                    .title_zh = "困惑度与保留的缓存份额",
                                    .has = has,
                                    .height = height,
                                    .draw = draw,
                                    .describe = describe};
