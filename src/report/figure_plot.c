/* Axes around a figure's data, and legends. */
#include "report/figure_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MOST_TICKS = 40,
    TICK_SIZE = 11, /* font sizes */
    LABEL_SIZE = 12,
    LEGEND_SIZE = 12,
    LEGEND_ROW = 19,
    SAMPLE = 22,    /* width of a legend's line, */
    MARK_ALONE = 8, /* and of a mark without one */
};
static const double tick_gap = 8;      /* between labels that stand side by side */
static const double tick_line = 17;    /* from one label to the one below */
static const double most_names = 0.42; /* of the width for names at the left */

/* ---- scales ---- */

/* An axis on which every number has a place. */
static kvl_axis usable(kvl_axis a) {
    if (!isfinite(a.min) || !isfinite(a.max)) {
        a.min = 0;
        a.max = 1;
        a.is_log = false;
    }
    if (a.is_log && (a.min <= 0 || a.max <= 0)) {
        a.is_log = false;
    }
    if (a.min == a.max) {
        const double d = a.is_log ? a.min / 2 : fmax(0.5, 0.05 * fabs(a.min));
        a.min -= d;
        a.max += d;
    }
    return a;
}

static double place(kvl_axis a, double value, double from, double to) {
    if (isnan(value)) {
        return value;
    }
    const double share =
        a.is_log ? log(fmax(value, 1e-300) / a.min) / log(a.max / a.min) : (value - a.min) / (a.max - a.min);
    return from + fmin(fmax(share, 0), 1) * (to - from);
}

double kvl_plot_x(const kvl_plot *p, double value) { return place(p->x, value, p->left, p->right); }
double kvl_plot_y(const kvl_plot *p, double value) { return place(p->y, value, p->bottom, p->top); }

/* ---- numbers ---- */

void kvl_put_tick(kvl_str *out, double value, double step) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    const double size = fabs(value);
    const double thousands = size < 9999.5 ? 0 : fmin(floor(log10(size) / 3 + 1e-9), 4);
    const double unit = pow(1000, thousands);
    char number[64];
    if (step > 1e-6 || (step > 0 && size > 1e-4)) {
        snprintf(number, sizeof number, "%.*f", (int)fmax(0, ceil(-log10(step / unit) - 1e-6)), size / unit);
    } else {
        snprintf(number, sizeof number, "%.4g", size / unit);
    }
    const bool is_zero = strspn(number, "0.") == strlen(number);
    kvl_str_printf(out, "%s%s%s", value < 0 && !is_zero ? "−" : "", is_zero ? "0" : number,
                   units[(size_t)thousands]);
}

/* ---- ticks ---- */

typedef struct ticks {
    double values[MOST_TICKS];
    char texts[MOST_TICKS][32];
    const char *labels[MOST_TICKS]; /* texts, or names of the axis */
    double widths[MOST_TICKS];
    size_t n;
} ticks;

static void add_tick(ticks *t, const char *name, double value, double step) {
    kvl_str text = {0};
    if (t->n == MOST_TICKS) {
        return;
    }
    kvl_put_tick(&text, value, step);
    snprintf(t->texts[t->n], sizeof t->texts[0], "%s", kvl_str_text(&text));
    t->labels[t->n] = name != NULL ? name : t->texts[t->n];
    t->values[t->n++] = value;
    kvl_str_free(&text);
}

double kvl_tick_step(double range, double n) {
    const double power = pow(10, floor(log10(range / n)));
    const double factor = range / (power * n);
    return power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}

static void fill_linear(ticks *t, double low, double high, double n) {
    const double step = kvl_tick_step(high - low, n);
    for (double k = ceil(low / step - 1e-6); k * step <= high + 1e-6 * step && t->n < MOST_TICKS; k += 1) {
        add_tick(t, NULL, k * step, step);
    }
}

/* Attempt 0: 1, 2, 5 of each power of ten; then powers alone, every second, ... */
static void fill_log(ticks *t, double low, double high, size_t attempt) {
    static const double factors[] = {1, 2, 5};
    const double every = attempt == 0 ? 1 : (double)attempt;
    for (double k = floor(log10(low)); k <= log10(high) + 1e-9; k += 1) {
        for (size_t i = 0; i < (attempt == 0 ? 3 : 1); i++) {
            const double value = pow(10, k) * factors[i];
            if (fmod(k, every) == 0 && value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) {
                add_tick(t, NULL, value, 0);
            }
        }
    }
}

static void fill_names(ticks *t, kvl_axis a, size_t attempt) {
    static const size_t factors[] = {1, 2, 5};
    size_t every = factors[attempt % 3];
    for (size_t i = 0; i < attempt / 3; i++) {
        every *= 10;
    }
    for (size_t i = 0; i < a.n_names && a.n_names / every < MOST_TICKS; i += every) {
        add_tick(t, a.names[i], (double)i, 1);
    }
}

/* Where the middle of a label stands that must not leave [low, high]. */
static double label_at(kvl_axis a, const ticks *t, size_t i, const double frame[2], const double room[2]) {
    const double half = t->widths[i] / 2;
    return fmin(fmax(place(a, t->values[i], frame[0], frame[1]), room[0] + half), room[1] - half);
}

/* Whether labels that need `widths` stand apart. */
static bool fits(kvl_axis a, const ticks *t, const double frame[2], const double room[2], double gap) {
    for (size_t i = 0; i + 1 < t->n; i++) {
        const double apart = fabs(label_at(a, t, i, frame, room) - label_at(a, t, i + 1, frame, room));
        if (apart < (t->widths[i] + t->widths[i + 1]) / 2 + gap) {
            return false;
        }
    }
    return true;
}

/* The most ticks whose labels fit on frame [2]; labels lie along the axis or (is_y) across it. */
static void choose_ticks(ticks *t, kvl_figure *f, kvl_axis a, const double frame[2], const double room[2],
                         bool is_y) {
    const double low = fmin(a.min, a.max);
    const double high = fmax(a.min, a.max);
    const double most = fmin(fmax(fabs(frame[1] - frame[0]) / (is_y ? 34 : 56), 3), 10);
    bool is_done = false;
    for (size_t attempt = 0; !is_done && attempt < 24; attempt++) {
        t->n = 0;
        if (a.names != NULL) {
            fill_names(t, a, attempt);
        } else if (a.is_log) {
            fill_log(t, low, high, attempt);
            const bool is_thin = t->n < 3;
            t->n = is_thin ? 0 : t->n;
            if (is_thin) {
                fill_linear(t, low, high, fmax(1, most - (double)attempt));
            }
        } else {
            fill_linear(t, low, high, fmax(1, most - (double)attempt));
        }
        for (size_t i = 0; i < t->n; i++) {
            t->widths[i] = is_y ? TICK_SIZE : kvl_figure_measure(f, TICK_SIZE, t->labels[i]);
        }
        is_done = t->n != 0 && fits(a, t, frame, room, is_y ? tick_line - TICK_SIZE : tick_gap);
    }
    t->n = is_done ? t->n : kvl_min_size(t->n, 1);
}

/* ---- the frame ---- */

static const kvl_stroke grid = {.ink = KVL_INK_GRID, .width = 1};

static void draw_y(const kvl_plot *p, const ticks *t, double width) {
    for (size_t i = 0; i < t->n; i++) {
        const double y = kvl_plot_y(p, t->values[i]);
        const bool is_zero = t->values[i] == 0 && p->y.names == NULL && !p->y.is_log;
        if (p->y.names == NULL) {
            kvl_figure_line(p->figure, p->left, y, p->right, y,
                            is_zero ? (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1, .opacity = 0.6} : grid);
        }
        kvl_figure_text(p->figure, p->left - 7, y, TICK_SIZE, KVL_ALIGN_RIGHT, KVL_INK_SOFT, width,
                        t->labels[i]);
    }
}

static void draw_x(const kvl_plot *p, ticks *t, double x, double w) {
    const double frame[] = {p->left, p->right};
    const double room[] = {x, x + w};
    choose_ticks(t, p->figure, p->x, frame, room, false);
    for (size_t i = 0; i < t->n; i++) {
        const double at = kvl_plot_x(p, t->values[i]);
        if (p->x.names == NULL) {
            kvl_figure_line(p->figure, at, p->top, at, p->bottom, grid);
            kvl_figure_line(p->figure, at, p->bottom, at, p->bottom + 4,
                            (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1});
        }
        kvl_figure_text(p->figure, label_at(p->x, t, i, frame, room), p->bottom + 14, TICK_SIZE,
                        KVL_ALIGN_MIDDLE, KVL_INK_SOFT, w, t->labels[i]);
    }
    kvl_figure_line(p->figure, p->left, p->bottom, p->right, p->bottom,
                    (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1});
}

void kvl_plot_begin(kvl_plot *p, kvl_figure *f, double x, double y, double w, double h, kvl_axis x_axis,
                    kvl_axis y_axis) {
    ticks *t = kvl_calloc(1, sizeof *t);
    double above = 7;
    double below = 21;
    *p = (kvl_plot){.figure = f, .x = usable(x_axis), .y = usable(y_axis)};
    if (y_axis.label != NULL) {
        above += 2 + kvl_figure_paragraph(f, x, y, w, LABEL_SIZE, KVL_ALIGN_LEFT, KVL_INK_TEXT, y_axis.label);
    }
    if (x_axis.label != NULL) {
        const double height = kvl_figure_paragraph_height(f, w, LABEL_SIZE, x_axis.label);
        kvl_figure_paragraph(f, x + w, y + h - height, w, LABEL_SIZE, KVL_ALIGN_RIGHT, KVL_INK_TEXT,
                             x_axis.label);
        below += 2 + height;
    }
    p->top = y + above;
    p->bottom = fmax(p->top + 1, y + h - below);
    p->left = x;
    p->right = x + w - 2;
    if (t == NULL) {
        f->failed = true;
        return;
    }
    const double frame[] = {p->bottom, p->top};
    const double room[] = {p->top - TICK_SIZE, p->bottom + TICK_SIZE};
    double width = 0;
    choose_ticks(t, f, p->y, frame, room, true);
    for (size_t i = 0; i < t->n; i++) {
        width = fmax(width, kvl_figure_measure(f, TICK_SIZE, t->labels[i]));
    }
    width = fmin(width, most_names * w);
    p->left = x + width + 7;
    draw_y(p, t, width);
    draw_x(p, t, x, w);
    kvl_free(t);
}

/* ---- legends ---- */

static void draw_item(kvl_figure *f, double x, double y, double sample, double w,
                      const kvl_legend_item *item) {
    if (item->has_line) {
        kvl_figure_line(f, x, y, x + sample, y,
                        (kvl_stroke){.ink = item->ink, .width = 2, .is_dashed = item->is_dashed});
    }
    if (!item->is_dashed) {
        kvl_figure_mark(f, x + sample / 2, y, 4, item->mark, item->ink, NULL);
    }
    kvl_figure_text(f, x + sample + 6, y, LEGEND_SIZE, KVL_ALIGN_LEFT, KVL_INK_TEXT, w - sample - 6,
                    item->name);
}

static double legend(kvl_figure *f, double x, double y, double w, const kvl_legend_item *items, size_t n,
                     bool is_drawn) {
    double at = 0;
    size_t row = 0;
    for (size_t i = 0; i < n; i++) {
        const double sample = items[i].has_line ? SAMPLE : MARK_ALONE;
        const double width = fmin(sample + 6 + kvl_figure_measure(f, LEGEND_SIZE, items[i].name), w);
        if (at > 0 && at + width > w) {
            at = 0;
            row++;
        }
        if (is_drawn) {
            draw_item(f, x + at, y + LEGEND_ROW * ((double)row + 0.5), sample, w, &items[i]);
        }
        at += width + 16;
    }
    return n == 0 ? 0 : LEGEND_ROW * (double)(row + 1) + 4;
}

double kvl_legend(kvl_figure *f, double x, double y, double w, const kvl_legend_item *items, size_t n) {
    return legend(f, x, y, w, items, n, true);
}

double kvl_legend_height(kvl_figure *f, double w, const kvl_legend_item *items, size_t n) {
    return legend(f, 0, 0, w, items, n, false);
}
