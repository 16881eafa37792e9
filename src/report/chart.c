/* The curve as a picture: one drawing code for PNG and SVG (cairo + pango).
 *
 * Layout: title and protocol line on top, plot, axis labels, command line at the foot. The x axis runs from
 * the full cache on the left to the smallest cache on the right, as the published picture does.
 */
#include "report/canvas.h"
#include "report/report_int.h"

#include <math.h>
#include <stdio.h>

typedef struct plot {
    cairo_t *cr;
    const kvl_report *r;
    double x_min, x_max; /* keep ratios */
    double y_min, y_max; /* perplexity */
    bool is_log;
    size_t n_groups;
} plot;

/* ---- scales ---- */

static double x_of(const plot *p, double keep) {
    return left + (p->x_max - keep) / (p->x_max - p->x_min) * (page_width - left - right);
}

static double y_of(const plot *p, double ppl) {
    double share =
        p->is_log ? log(ppl / p->y_min) / log(p->y_max / p->y_min) : (ppl - p->y_min) / (p->y_max - p->y_min);
    return page_height - bottom - share * (page_height - top - bottom);
}

static double row_low(const kvl_report_row *row) { return row->ppl * exp(row->delta.low - row->delta.mean); }
static double row_high(const kvl_report_row *row) {
    return row->ppl * exp(row->delta.high - row->delta.mean);
}

static void find_scales(plot *p) {
    double low = HUGE_VAL;
    double high = 0;
    p->x_min = 1.0;
    p->x_max = 1.0;
    for (size_t i = 0; i < p->r->n_rows; i++) {
        const kvl_report_row *row = &p->r->rows[i];
        if (!isfinite(row->ppl)) {
            continue;
        }
        p->x_min = fmin(p->x_min, row->keep_ratio);
        low = fmin(low, row->ppl);
        high = fmax(high, row->ppl);
        if (!row->is_baseline && isfinite(row_high(row))) {
            low = fmin(low, row_low(row));
            high = fmax(high, fmin(row_high(row), 4 * row->ppl));
        }
    }
    if (!isfinite(low)) {
        low = 1;
        high = 2;
    }
    p->is_log = high > 6 * low;
    double margin = 0.07 * (high - low) + 1e-9 * high;
    p->y_min = p->is_log ? low / 1.15 : fmax(0, low - margin);
    p->y_max = p->is_log ? high * 1.2 : high + 2.2 * margin;
    double width = fmax(p->x_max - p->x_min, 0.05);
    p->x_max += 0.03 * width;
    p->x_min -= 0.04 * width;
}

/* ---- frame ---- */

static void draw_y_tick(const plot *p, double value) {
    char label[32];
    double y = y_of(p, value);
    kvli_set_grey(p->cr, 0.88);
    cairo_move_to(p->cr, left, y);
    cairo_line_to(p->cr, page_width - right, y);
    cairo_stroke(p->cr);
    kvli_set_grey(p->cr, 0.25);
    snprintf(label, sizeof label, "%g", value);
    kvli_draw_text(p->cr, left - 8, y - 8, 12, anchor_right, 0, label);
}

static void draw_grid(const plot *p) {
    cairo_set_line_width(p->cr, 1);
    if (p->is_log) {
        static const double factors[] = {1, 2, 5};
        for (double decade = pow(10, floor(log10(p->y_min))); decade < p->y_max; decade *= 10) {
            for (int i = 0; i < 3; i++) {
                if (decade * factors[i] >= p->y_min && decade * factors[i] <= p->y_max) {
                    draw_y_tick(p, decade * factors[i]);
                }
            }
        }
    } else {
        double step = kvli_tick_step(p->y_max - p->y_min, 8);
        for (double value = ceil(p->y_min / step) * step; value <= p->y_max; value += step) {
            draw_y_tick(p, value);
        }
    }
    double step = kvli_tick_step(p->x_max - p->x_min, 10);
    for (double k = floor(p->x_max / step + 1e-9); k * step >= p->x_min; k -= 1) {
        char label[32];
        snprintf(label, sizeof label, "%.3g", k * step);
        kvli_set_grey(p->cr, 0.93);
        cairo_move_to(p->cr, x_of(p, k * step), top);
        cairo_line_to(p->cr, x_of(p, k * step), page_height - bottom);
        cairo_stroke(p->cr);
        kvli_set_grey(p->cr, 0.25);
        kvli_draw_text(p->cr, x_of(p, k * step), page_height - bottom + 6, 12, anchor_middle, 0, label);
    }
}

static void draw_labels(const plot *p) {
    char label[96];
    snprintf(label, sizeof label, "perplexity (%s%s)",
             p->r->has_mean_ppl ? "mean of samples" : "of all scored tokens", p->is_log ? ", log scale" : "");
    kvli_draw_frame(p->cr, p->r->title, p->r->protocol, p->r->command);
    kvli_draw_axes(p->cr, "keep ratio (share of the cache kept)", label);
}

/* ---- stages (single curve only) ---- */

/* Middle between two neighbouring points, or the edge of the plot. */
static double border(const plot *p, size_t a, size_t b, size_t first, size_t end) {
    if (a < first || a >= end) {
        return b <= first ? fmin(p->x_max, p->r->rows[first].keep_ratio * 1.0 + 0.025) : p->x_min;
    }
    if (b >= end) {
        return p->x_min;
    }
    return 0.5 * (p->r->rows[a].keep_ratio + p->r->rows[b].keep_ratio);
}

static void draw_stages(const plot *p, size_t first, size_t end) {
    static const double shade[KVL_N_STAGES][3] = {
        {1, 1, 1}, {1.0, 0.93, 0.90}, {0.96, 0.96, 0.98}, {0.91, 0.97, 0.92}, {1.0, 0.97, 0.88}};
    for (size_t i = first; i < end;) {
        size_t stop = i + 1;
        while (stop < end && p->r->rows[stop].stage == p->r->rows[i].stage) {
            stop++;
        }
        kvl_stage stage = p->r->rows[i].stage;
        double x0 = x_of(p, i == first ? border(p, end, first, first, end) : border(p, i - 1, i, first, end));
        double x1 = x_of(p, border(p, stop - 1, stop, first, end));
        cairo_set_source_rgb(p->cr, shade[stage][0], shade[stage][1], shade[stage][2]);
        cairo_rectangle(p->cr, x0, top, x1 - x0, page_height - top - bottom);
        cairo_fill(p->cr);
        kvli_set_grey(p->cr, 0.45);
        if (stage != KVL_STAGE_BASELINE) {
            kvli_draw_text(p->cr, x0 + 4, page_height - bottom - 18, small_text, anchor_left,
                           fmax(x1 - x0 - 6, 8), kvl_stage_name(stage));
        }
        i = stop;
    }
}

/* ---- data ---- */

static void draw_baseline(const plot *p) {
    static const double dashes[] = {6, 4};
    for (size_t i = 0; i < p->r->n_rows; i++) {
        const kvl_report_row *row = &p->r->rows[i];
        if (!row->is_baseline || !isfinite(row->ppl)) {
            continue;
        }
        char label[64];
        double y = y_of(p, row->ppl);
        kvli_set_grey(p->cr, 0.35);
        cairo_set_line_width(p->cr, 1.2);
        cairo_set_dash(p->cr, dashes, 2, 0);
        cairo_move_to(p->cr, left, y);
        cairo_line_to(p->cr, page_width - right, y);
        cairo_stroke(p->cr);
        cairo_set_dash(p->cr, NULL, 0, 0);
        snprintf(label, sizeof label, "full cache %.2f", row->ppl);
        /* above the line, where only the baseline is; below it when curves may run close to it */
        kvli_draw_text(p->cr, left + 4, p->n_groups > 1 ? y + 2 : y - 17, 12, anchor_left, 0, label);
    }
}

static void draw_bar(const plot *p, const kvl_report_row *row) {
    double x = x_of(p, row->keep_ratio);
    if (!row->delta.has_interval || !isfinite(row_high(row))) {
        return;
    }
    double y0 = fmin(y_of(p, row_low(row)), page_height - bottom);
    double y1 = fmax(y_of(p, row_high(row)), top);
    cairo_set_line_width(p->cr, 1.2);
    cairo_move_to(p->cr, x, y0);
    cairo_line_to(p->cr, x, y1);
    cairo_move_to(p->cr, x - 4, y0);
    cairo_line_to(p->cr, x + 4, y0);
    cairo_move_to(p->cr, x - 4, y1);
    cairo_line_to(p->cr, x + 4, y1);
    cairo_stroke(p->cr);
}

static void draw_group(const plot *p, size_t first, size_t end, const double *colour) {
    bool has_start = false;
    cairo_set_source_rgba(p->cr, colour[0], colour[1], colour[2], 0.55);
    for (size_t i = first; i < end; i++) {
        draw_bar(p, &p->r->rows[i]);
    }
    cairo_set_source_rgb(p->cr, colour[0], colour[1], colour[2]);
    cairo_set_line_width(p->cr, 2.2);
    for (size_t i = first; i < end; i++) {
        const kvl_report_row *row = &p->r->rows[i];
        if (isfinite(row->ppl)) {
            double x = x_of(p, row->keep_ratio);
            double y = y_of(p, row->ppl);
            has_start ? cairo_line_to(p->cr, x, y) : cairo_move_to(p->cr, x, y);
            has_start = true;
        }
    }
    cairo_stroke(p->cr);
    for (size_t i = first; i < end; i++) {
        const kvl_report_row *row = &p->r->rows[i];
        if (isfinite(row->ppl)) {
            cairo_arc(p->cr, x_of(p, row->keep_ratio), y_of(p, row->ppl), 3.6, 0, KVL_TURN);
            row->has_evicted ? cairo_fill(p->cr) : cairo_stroke(p->cr); /* hollow: nothing evicted */
        }
    }
}

/* A ring around the point and a label above its error bar, or below the point among several curves. */
static void mark(const plot *p, size_t i, const char *word, bool is_below) {
    const kvl_report_row *row = &p->r->rows[i];
    char label[64];
    double x = x_of(p, row->keep_ratio);
    double y = y_of(p, row->ppl);
    double bar_top = row->delta.has_interval && isfinite(row_high(row)) ? y_of(p, row_high(row)) : y;
    double label_x = fmin(fmax(x, left + 75), page_width - right - 75);
    snprintf(label, sizeof label, "%s: %.2f at %g", word, row->ppl, row->keep_ratio);
    kvli_set_grey(p->cr, 0.1);
    cairo_set_line_width(p->cr, 1.6);
    cairo_arc(p->cr, x, y, 7, 0, KVL_TURN);
    cairo_stroke(p->cr);
    double above = fmax(fmin(bar_top - 21, y - 27), top + 2);
    kvli_draw_text(p->cr, label_x, is_below ? y + 9 : above, 12.5, anchor_middle, 0, label);
}

static void draw_legend(const plot *p, size_t line, const char *name, const double *colour) {
    double y = top + 8 + 18 * (double)line;
    cairo_set_source_rgb(p->cr, colour[0], colour[1], colour[2]);
    cairo_set_line_width(p->cr, 2.4);
    cairo_move_to(p->cr, page_width - right - 172, y + 8);
    cairo_line_to(p->cr, page_width - right - 148, y + 8);
    cairo_stroke(p->cr);
    kvli_set_grey(p->cr, 0.15);
    kvli_draw_text(p->cr, page_width - right - 142, y, 12.5, anchor_left, 138, name);
}

static void draw_curve(cairo_t *cr, const void *report) {
    const kvl_report *r = report;
    plot p = {.cr = cr, .r = r};
    size_t group = 0;
    size_t most = r->n_rows;
    size_t least = r->n_rows;
    find_scales(&p);
    for (size_t i = 0; i < r->n_rows; i = kvli_group_end(r, i)) {
        p.n_groups += !r->rows[i].is_baseline;
        if (!r->rows[i].is_baseline) {
            most = i; /* the only curve's first row when there is one */
        }
    }
    if (p.n_groups == 1) {
        draw_stages(&p, most, kvli_group_end(r, most));
    }
    draw_grid(&p);
    draw_baseline(&p);
    most = r->n_rows;
    for (size_t i = 0; i < r->n_rows;) {
        size_t end = kvli_group_end(r, i);
        if (!r->rows[i].is_baseline) {
            size_t worst = end;
            size_t best = end;
            draw_group(&p, i, end, kvli_palette[group % KVL_PALETTE]);
            if (p.n_groups > 1) {
                draw_legend(&p, group, r->rows[i].press, kvli_palette[group % KVL_PALETTE]);
            }
            kvli_group_extremes(r, i, end, &worst, &best);
            most =
                worst < end && (most == r->n_rows || r->rows[worst].ppl > r->rows[most].ppl) ? worst : most;
            least =
                best < end && (least == r->n_rows || r->rows[best].ppl < r->rows[least].ppl) ? best : least;
            group++;
        }
        i = end;
    }
    if (most < r->n_rows && least < r->n_rows && most != least) {
        mark(&p, most, "worst", false);
        mark(&p, least, "best", p.n_groups > 1);
    }
    draw_labels(&p);
}

/* ---- files ---- */

kvl_status kvl_chart_curve(const kvl_report *r, const char *path, kvl_err *err) {
    return kvli_chart_save(draw_curve, r, path, err);
}
