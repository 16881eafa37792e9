/* The same curve for every press: one panel each, all with the same axes. */
#include "report/chart_int.h"

#include <math.h>

enum { MOST_PANELS = 24, TITLE = 18, GAP = 14 };

typedef struct panels {
    size_t firsts[MOST_PANELS];
    size_t n, n_presses; /* n of them are drawn */
    size_t n_columns;
    double height; /* of one */
} panels;

static panels make(const kvl_content *c, double width) {
    panels p = {.n_columns = kvli_is_narrow(width) ? 1 : 3, .height = kvli_is_narrow(width) ? 148 : 176};
    p.n_presses = kvli_find_presses(c->sweep, p.firsts, MOST_PANELS);
    p.n = kvl_min_size(p.n_presses, MOST_PANELS);
    if (p.n_columns == 3 && (p.n == 2 || p.n == 4)) {
        p.n_columns = 2;
    }
    return p;
}

static bool has(const kvl_content *c) {
    size_t first = 0;
    return kvli_find_presses(c->sweep, &first, 1) > 1;
}

static double head_height(double width) { return kvli_is_narrow(width) ? 2 * 17.0 + 4 : 24; }

static double height(const kvl_content *c, double width) {
    const panels p = make(c, width);
    const size_t n_rows = (p.n + p.n_columns - 1) / p.n_columns;
    return 2 * KVLI_PAD + head_height(width) + (double)n_rows * (p.height + GAP) - GAP +
           kvli_rest_height(p.n, p.n_presses);
}

/* The interval as a band around the line, from left to right and back. */
static void draw_band(const kvl_plot *p, const kvl_report *r, size_t first, kvl_ink ink) {
    const size_t end = kvli_group_end(r, first);
    const kvl_report_row *last = NULL;
    for (size_t i = first; i < end; i++) {
        const kvl_report_row *row = &r->rows[i];
        if (!row->delta.has_interval || !isfinite(row->ppl) || !isfinite(kvli_ppl_high(row))) {
            continue;
        }
        if (last != NULL) {
            const double x0 = kvl_plot_x(p, last->keep_ratio);
            const double x1 = kvl_plot_x(p, row->keep_ratio);
            const double xy[] = {
                x0, kvl_plot_y(p, kvli_ppl_low(last)), x0, kvl_plot_y(p, kvli_ppl_high(last)),
                x1, kvl_plot_y(p, kvli_ppl_high(row)), x1, kvl_plot_y(p, kvli_ppl_low(row))};
            kvl_figure_area(p->figure, xy, 4, ink, 0.2);
        }
        last = row;
    }
}

/* Name of the press on the left, its lowest perplexity on the right. */
static void draw_title(kvl_figure *f, const kvl_report *r, size_t first, double x, double y, double w,
                       kvl_lang lang) {
    const size_t end = kvli_group_end(r, first);
    size_t worst = end;
    size_t best = end;
    double used = 0;
    kvl_str text = {0};
    kvli_group_extremes(r, first, end, &worst, &best);
    if (best < end && isfinite(r->rows[best].ppl)) {
        KVL_SAY(&text, lang, "best %.4g at %g", "最佳 %.4g（%g）", r->rows[best].ppl,
                r->rows[best].keep_ratio);
    } else {
        kvl_str_puts(&text, kvl_word(lang, "nothing evicted", "未驱逐"));
    }
    used = kvl_figure_text(f, x + w, y + TITLE / 2.0, KVLI_SMALL, KVL_ALIGN_RIGHT, KVL_INK_SOFT, w / 2,
                           kvl_str_text(&text));
    kvl_figure_text(f, x, y + TITLE / 2.0, KVLI_SIZE, KVL_ALIGN_LEFT, KVL_INK_TEXT, w - used - 10,
                    r->rows[first].press);
    kvl_str_free(&text);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const kvl_report *r = c->sweep;
    const double width = kvl_figure_width(f);
    const panels p = make(c, width);
    const double w = (width - 2 * KVLI_PAD - GAP * (double)(p.n_columns - 1)) / (double)p.n_columns;
    const double top = KVLI_PAD + head_height(width);
    kvl_axis x, y;
    kvl_str text = {0};
    kvli_curve_axes(&x, &y, r, p.firsts, p.n);
    KVL_SAY(&text, lang, "up: perplexity%s; to the right: keep ratio; dashed: full cache",
            "纵轴：困惑度%s；横轴：保留率；虚线：完整缓存",
            y.is_log ? kvl_word(lang, " (log)", "（对数）") : "");
    kvl_figure_paragraph(f, KVLI_PAD, KVLI_PAD, width - 2 * KVLI_PAD, KVLI_SIZE, KVL_ALIGN_LEFT, KVL_INK_SOFT,
                         kvl_str_text(&text));
    for (size_t k = 0; k < p.n; k++) {
        const double left = KVLI_PAD + (w + GAP) * (double)(k % p.n_columns);
        const double up = top + (p.height + GAP) * (double)(k / p.n_columns);
        kvl_plot plot;
        draw_title(f, r, p.firsts[k], left, up, w, lang);
        kvl_plot_begin(&plot, f, left, up + TITLE, w, p.height - TITLE, x, y);
        kvli_curve_full(&plot, r);
        draw_band(&plot, r, p.firsts[k], kvli_series_ink(0));
        kvli_curve_line(&plot, r, p.firsts[k], 0, 0, 2.6, lang);
    }
    kvli_draw_rest(f, p.n, p.n_presses, lang);
    kvl_str_free(&text);
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const panels p = make(c, 760);
    const kvl_report *r = c->sweep;
    size_t n_light = 0; /* presses whose lightest setting is clearly the worse side */
    size_t n_known = 0;
    for (size_t k = 0; k < p.n; k++) {
        const size_t end = kvli_group_end(r, p.firsts[k]);
        bool has_evicted = false;
        bool is_explosion = false;
        for (size_t i = p.firsts[k]; i < end; i++) {
            has_evicted = has_evicted || r->rows[i].has_evicted;
            is_explosion =
                is_explosion || (r->rows[i].has_evicted && r->rows[i].stage == KVL_STAGE_EXPLOSION);
        }
        n_known += has_evicted;
        n_light += is_explosion;
    }
    KVL_SAY(
        out, lang,
        "Perplexity against keep ratio of %zu presses on the same scale, with 95 %% intervals where there "
        "are any.",
        "%zu 种压缩规则在同一刻度下的困惑度随保留率变化，有区间处附 95 %% 置信区间。", p.n);
    KVL_SAY(
        out, lang,
        " Presses with settings that throw less away and are told apart as worse than their best: %zu of the "
        "%zu that evicted something.",
        "存在“丢得更少却明显差于自身最佳”的设置的：%zu 种，确有驱逐的共 %zu 种。", n_light, n_known);
}

const kvl_chart kvli_chart_curves = {.id = "curves",
                                     .title_en = "The curve of every press",
                                     .title_zh = "每种压缩规则的曲线",
                                     .has = has,
                                     .height = height,
                                     .draw = draw,
                                     .describe = describe};
