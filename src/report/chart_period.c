/* How often a policy compresses, and beside it what it costs: two panels over the keep ratio. */
#include "report/analysis_int.h"
#include "report/chart_int.h"

#include <math.h>
#include <string.h>

/* Rows of one press, from the first to the last that compressed again and again. */
typedef struct group {
    const kvl_report_row *rows; /* [n] */
    size_t n;
} group;

static group find_group(const kvl_report *r, const char *press) {
    for (size_t i = 0; r != NULL && i < r->n_rows; i = kvli_group_end(r, i)) {
        size_t first = i;
        size_t end = kvli_group_end(r, i);
        while (first < end && !(r->rows[first].period_tok > 0)) {
            first++;
        }
        while (first < end && !(r->rows[end - 1].period_tok > 0)) {
            end--;
        }
        if (first < end && (press == NULL || strcmp(r->rows[first].press, press) == 0)) {
            return (group){.rows = &r->rows[first], .n = end - first};
        }
    }
    return (group){0};
}

/* The press that the explanation is about, or else the first. */
static group main_group(const kvl_report *r) {
    const group g = find_group(r, "knorm");
    return g.n != 0 ? g : find_group(r, NULL);
}

static bool has(const kvl_content *c) { return main_group(c->sweep).n > 1; }

static double height(const kvl_content *c, double width) {
    (void)c;
    return kvli_is_narrow(width) ? 480 : 300;
}

static double period_of(const kvl_report_row *row) { return row->period_tok; }
static double excess_of(const kvl_report_row *row) { return row->delta.mean; }

static void draw_curve(const kvl_plot *p, const group *g, double (*value)(const kvl_report_row *),
                       kvl_ink ink, kvl_mark mark, bool has_bars, kvl_lang lang) {
    kvl_str tip = {0};
    double last[2] = {(double)NAN, (double)NAN};
    for (size_t i = 0; i < g->n; i++) {
        const kvl_report_row *row = &g->rows[i];
        const double xy[2] = {kvl_plot_x(p, row->keep_ratio), kvl_plot_y(p, value(row))};
        kvl_figure_line(p->figure, last[0], last[1], xy[0], xy[1], (kvl_stroke){.ink = ink, .width = 2});
        memcpy(last, xy, sizeof last);
        if (has_bars && row->delta.has_interval) {
            kvli_bar(p->figure, xy[0], kvl_plot_y(p, row->delta.low), kvl_plot_y(p, row->delta.high), ink);
        }
        kvl_str_clear(&tip);
        KVL_SAY(&tip, lang,
                "%s, keep %g\ntokens between compressions: %.3g\nnats per token above the full cache: ",
                "%s，保留率 %g\n两次压缩之间的 token 数：%.3g\n比完整缓存多（nats/token）：", row->press,
                row->keep_ratio, row->period_tok);
        kvli_put_estimate(&tip, &row->delta);
        kvl_figure_mark(p->figure, xy[0], xy[1], 3.5, mark, ink, kvl_str_text(&tip));
    }
    kvl_str_free(&tip);
}

typedef struct panels {
    group main, other; /* other: by age, n = 0: not there */
    kvli_range keep, period, excess;
} panels;

static panels find_panels(const kvl_report *r) {
    panels p = {.main = main_group(r),
                .other = find_group(r, "recency"),
                .keep = {1, 1},
                .period = {0, 0},
                .excess = {0, 0}};
    p.other.n = p.other.rows == p.main.rows ? 0 : p.other.n;
    for (size_t i = 0; i < p.main.n + p.other.n; i++) {
        const kvl_report_row *row = i < p.main.n ? &p.main.rows[i] : &p.other.rows[i - p.main.n];
        kvli_widen(&p.keep, row->keep_ratio);
        kvli_widen(&p.period, row->period_tok);
        kvli_widen(&p.excess, row->delta.has_interval ? row->delta.low : row->delta.mean);
        kvli_widen(&p.excess, row->delta.has_interval ? row->delta.high : row->delta.mean);
    }
    return p;
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const panels d = find_panels(c->sweep);
    const double width = kvl_figure_width(f) - 2 * KVLI_PAD;
    const bool is_wide = !kvli_is_narrow(width);
    const kvl_axis x = {
        .min = 1, .max = fmax(0, d.keep.low - 0.05), .label = kvl_word(lang, "keep ratio", "保留率")};
    const kvl_legend_item items[] = {
        {.name = d.main.rows->press, .ink = KVL_INK_SERIES + 1, .mark = KVL_MARK_DOT, .has_line = true},
        {.name = d.other.n != 0 ? d.other.rows->press : "",
         .ink = KVL_INK_SERIES,
         .mark = KVL_MARK_SQUARE,
         .has_line = true}};
    const double top = KVLI_PAD + kvl_legend(f, KVLI_PAD, KVLI_PAD, width, items, d.other.n != 0 ? 2 : 1);
    const double gap = 28;
    const double w = is_wide ? (width - gap) / 2 : width;
    const double room = kvl_figure_height(f) - KVLI_PAD - top;
    const double h = is_wide ? room : (room - gap) / 2;
    kvl_plot p;
    kvl_plot_begin(&p, f, KVLI_PAD, top, w, h, x,
                   (kvl_axis){.min = 0,
                              .max = 1.05 * d.period.high,
                              .label = kvl_word(lang, "tokens between two compressions",
                                                "两次压缩之间的 token 数（刷新周期）")});
    draw_curve(&p, &d.main, period_of, KVL_INK_SERIES + 1, KVL_MARK_DOT, false, lang);
    kvl_plot_begin(&p, f, KVLI_PAD + (is_wide ? w + gap : 0), is_wide ? top : top + h + gap, w, h, x,
                   (kvl_axis){.min = d.excess.low,
                              .max = 1.05 * d.excess.high,
                              .label = kvl_word(lang, "NLL above the full cache, nats per token",
                                                "NLL 高出完整缓存，nats/token")});
    if (d.other.n != 0) {
        draw_curve(&p, &d.other, excess_of, KVL_INK_SERIES, KVL_MARK_SQUARE, true, lang);
    }
    draw_curve(&p, &d.main, excess_of, KVL_INK_SERIES + 1, KVL_MARK_DOT, true, lang);
}

static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const group g = main_group(c->sweep);
    const kvl_report_row *light = &g.rows[0];
    const kvl_report_row *heavy = &g.rows[g.n - 1];
    KVL_SAY(out, lang,
            "%s at keep %g compresses %s and costs %+.3f nats per token above the full cache; at keep %g %s, "
            "and %+.3f nats on the same tokens. Bars: 95 %% intervals.",
            "%s 在保留率 %g 时%s 压缩一次，每 token 比完整缓存多 %+.3f nats；保留率 %g 时%s 压缩一次，在相同 "
            "token 上多 %+.3f nats。竖线为 95 %% 置信区间。",
            light->press, light->keep_ratio, kvli_period(lang, light->period_tok).text, light->delta.mean,
            heavy->keep_ratio, kvli_period(lang, heavy->period_tok).text, heavy->delta.mean);
}

const kvl_chart kvli_chart_period = {.id = "period",
                                     .title_en = "How often it compresses, and what it costs",
                                     .title_zh = "刷新周期与代价",
                                     .has = has,
                                     .height = height,
                                     .draw = draw,
                                     .describe = describe};
