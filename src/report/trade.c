/* Loss against bytes as a picture. */
#include "report/canvas.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>

enum { NAME_HEIGHT = 16 };

typedef struct plot {
    cairo_t *cr;
    const kvl_trade *t;
    double x_min, x_max; /* bytes */
    double y_min, y_max; /* nats per token */
} plot;

static double x_of(const plot *p, double bytes) {
    return left + log(bytes / p->x_min) / log(p->x_max / p->x_min) * (page_width - left - right);
}

static double y_of(const plot *p, double loss) {
    const double y =
        page_height - bottom - (loss - p->y_min) / (p->y_max - p->y_min) * (page_height - top - bottom);
    return fmin(fmax(y, top), page_height - bottom);
}

static bool is_named(const kvl_trade_point *point) { return point->is_answer || !point->is_behind; }

/* Losses far above the limit would flatten all others: their bars are cut. */
static void find_scales(plot *p) {
    const kvl_trade *t = p->t;
    double low = 0;
    double high = t->max_loss;
    p->x_min = p->x_max = t->full_bytes;
    for (size_t i = 0; i < t->n_points; i++) {
        const kvl_trade_point *point = &t->points[i];
        p->x_min = fmin(p->x_min, point->bytes);
        p->x_max = fmax(p->x_max, point->bytes);
        low = fmin(low, fmax(point->low, -4 * t->max_loss));
        high = fmax(high, fmin(point->high, 4 * t->max_loss));
        high = fmax(high, point->loss);
    }
    if (t->max_bytes > 0) {
        p->x_min = fmin(p->x_min, t->max_bytes);
    }
    p->x_min /= 1.25;
    p->x_max *= 1.25;
    p->y_min = low - 0.08 * (high - low);
    size_t n_names = 0;
    for (size_t i = 0; i < t->n_points; i++) {
        n_names += is_named(&t->points[i]);
    }
    /* the list of names has the top for itself */
    const double room = (double)(page_height - top - bottom);
    p->y_max = high + (high - low) * 1.1 * (NAME_HEIGHT * (double)n_names + 40) /
                          (room - fmin(NAME_HEIGHT * (double)n_names + 40, 0.7 * room));
}

static void draw_line(const plot *p, double x0, double y0, double x1, double y1) {
    cairo_move_to(p->cr, x0, y0);
    cairo_line_to(p->cr, x1, y1);
    cairo_stroke(p->cr);
}

static void draw_grid(const plot *p) {
    static const double factors[] = {1, 2, 5};
    char label[40];
    cairo_set_line_width(p->cr, 1);
    const double step = kvli_tick_step(p->y_max - p->y_min, 8);
    for (double k = ceil(p->y_min / step); k * step <= p->y_max; k += 1) {
        kvli_set_grey(p->cr, k == 0 ? 0.6 : 0.88);
        draw_line(p, left, y_of(p, k * step), page_width - right, y_of(p, k * step));
        kvli_set_grey(p->cr, 0.25);
        snprintf(label, sizeof label, "%.3g", k * step);
        kvli_draw_text(p->cr, left - 8, y_of(p, k * step) - 8, 12, anchor_right, 0, k == 0 ? "0" : label);
    }
    for (double decade = 0.001; decade < 1000; decade *= 10) {
        for (size_t i = 0; i < 3; i++) {
            const double share = decade * factors[i]; /* percent of the full cache */
            const double x = x_of(p, share / 100 * p->t->full_bytes);
            if (x >= left && x <= page_width - right) {
                kvli_set_grey(p->cr, 0.93);
                draw_line(p, x, top, x, page_height - bottom);
                kvli_set_grey(p->cr, 0.25);
                snprintf(label, sizeof label, "%g %%", share);
                kvli_draw_text(p->cr, x, page_height - bottom + 6, 12, anchor_middle, 0, label);
            }
        }
    }
}

static void draw_limits(const plot *p) {
    static const double dashes[] = {6, 4};
    char label[80];
    cairo_set_source_rgb(p->cr, kvli_palette[1][0], kvli_palette[1][1], kvli_palette[1][2]);
    cairo_set_line_width(p->cr, 1.4);
    cairo_set_dash(p->cr, dashes, 2, 0);
    draw_line(p, left, y_of(p, p->t->max_loss), page_width - right, y_of(p, p->t->max_loss));
    if (p->t->max_bytes > 0) {
        draw_line(p, x_of(p, p->t->max_bytes), top, x_of(p, p->t->max_bytes), page_height - bottom);
    }
    cairo_set_dash(p->cr, NULL, 0, 0);
    snprintf(label, sizeof label, "limit %g nats: an interval must end below it", p->t->max_loss);
    kvli_draw_text(p->cr, page_width - right - 4, y_of(p, p->t->max_loss) - 18, 12, anchor_right, 0, label);
}

static void draw_point(const plot *p, const kvl_trade_point *point) {
    const double x = x_of(p, point->bytes);
    const double y = y_of(p, point->loss);
    const double *colour = kvli_palette[0];
    cairo_set_source_rgba(p->cr, colour[0], colour[1], colour[2], point->is_behind ? 0.35 : 0.8);
    cairo_set_line_width(p->cr, 1.3);
    if (point->high > point->low) {
        draw_line(p, x, y_of(p, point->low), x, y_of(p, point->high));
        draw_line(p, x - 4, y_of(p, point->low), x + 4, y_of(p, point->low));
        draw_line(p, x - 4, y_of(p, point->high), x + 4, y_of(p, point->high));
    }
    cairo_arc(p->cr, x, y, 4, 0, KVL_TURN);
    point->qualifies ? cairo_fill(p->cr) : cairo_stroke(p->cr);
    if (point->is_answer) {
        kvli_set_grey(p->cr, 0.1);
        cairo_set_line_width(p->cr, 1.8);
        cairo_arc(p->cr, x, y, 8, 0, KVL_TURN);
        cairo_stroke(p->cr);
    }
}

/* Numbers beside the points; their names in a list at the top. */
static void draw_names(const plot *p) {
    char line[200];
    size_t n_named = 0;
    for (size_t i = 0; i < p->t->n_points; i++) {
        const kvl_trade_point *point = &p->t->points[i];
        if (!is_named(point)) {
            continue;
        }
        n_named++;
        kvli_set_grey(p->cr, point->is_answer ? 0.05 : 0.3);
        snprintf(line, sizeof line, "%zu", n_named);
        kvli_draw_text(p->cr, x_of(p, point->bytes) + 7, y_of(p, point->loss) - 16, 11.5, anchor_left, 0,
                       line);
        snprintf(line, sizeof line, "%zu  %s%s", n_named, point->is_answer ? "recommended: " : "",
                 point->name);
        kvli_draw_text(p->cr, page_width - right - 430, top + 4 + NAME_HEIGHT * (double)(n_named - 1),
                       small_text, anchor_left, 426, line);
    }
}

static void draw_trade(cairo_t *cr, const void *trade) {
    plot p = {.cr = cr, .t = trade};
    find_scales(&p);
    draw_grid(&p);
    draw_limits(&p);
    for (size_t i = 0; i < p.t->n_points; i++) {
        draw_point(&p, &p.t->points[i]);
    }
    kvli_set_grey(cr, 0.2);
    cairo_rectangle(cr, x_of(&p, p.t->full_bytes) - 4, y_of(&p, 0) - 4, 8, 8);
    cairo_fill(cr);
    kvli_draw_text(cr, x_of(&p, p.t->full_bytes) - 2, y_of(&p, 0) + 6, 11.5, anchor_right, 0, "full cache");
    draw_names(&p);
    kvli_draw_frame(cr, p.t->title, p.t->protocol, p.t->command);
    kvli_draw_axes(cr, "keys and values at the end, share of the full cache (log scale)",
                   "loss on held-out texts, nats per token");
}

kvl_status kvl_chart_trade(const kvl_trade *t, const char *path, kvl_err *err) {
    return kvli_chart_save(draw_trade, t, path, err);
}
