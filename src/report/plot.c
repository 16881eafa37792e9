/* The curve in characters: what charts draw on figures, on a grid of Braille dots. */
#include "report/plot.h"

#include "base/alloc.h"
#include "report/chart_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 17, /* of the frame; below it one more with the axis, and one of numbers */
    GUTTER = 8 /* columns for numbers at the left */
};

/* Inks: 0 of text, 1 of the full cache, 2 + k of press k. */
enum { INK_TEXT, INK_FULL, INK_PRESS };

typedef struct cell {
    uint8_t dots; /* as in U+2800 + dots */
    uint8_t ink;
    char text; /* printable ASCII, over the dots; NUL: none */
} cell;

typedef struct canvas {
    cell *cells; /* [ROWS + 2, columns] */
    size_t columns;
    kvl_plot plot; /* its frame in dots */
    bool has_color;
} canvas;

/* ---- cells ---- */

static cell *cell_at(const canvas *c, long row, long column) {
    return row < 0 || column < 0 || row >= ROWS + 2 || column >= (long)c->columns
               ? NULL
               : &c->cells[(size_t)row * c->columns + (size_t)column];
}

static void put_dot(const canvas *c, double x, double y, uint8_t ink) {
    static const uint8_t bits[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    const long i = lround(x);
    const long j = lround(y);
    cell *at = i < 0 || j < 0 ? NULL : cell_at(c, j / 4, i / 2);
    if (at != NULL) {
        at->dots |= bits[j % 4][i % 2];
        at->ink = ink;
    }
}

/* Text from a column on, as far as there is room; what is no printable ASCII as '?'. */
static void put_text(const canvas *c, long row, long column, uint8_t ink, const char *text) {
    for (; *text != '\0'; text++, column++) {
        cell *at = cell_at(c, row, column);
        if (at != NULL) {
            at->text = *text >= ' ' && *text <= '~' ? *text : '?';
            at->ink = ink;
        }
    }
}

static void draw_line(const canvas *c, double x0, double y0, double x1, double y1, uint8_t ink) {
    const double n = fmax(1, ceil(fmax(fabs(x1 - x0), fabs(y1 - y0))));
    for (double i = 0; i <= n; i++) {
        put_dot(c, x0 + (x1 - x0) * i / n, y0 + (y1 - y0) * i / n, ink);
    }
}

/* ---- axes ---- */

static void draw_y_tick(const canvas *c, double value, double step, long *last_row) {
    const double y = kvl_plot_y(&c->plot, value);
    const long row = lround(y) / 4;
    kvl_str label = {0};
    kvl_put_tick(&label, value, step);
    if (labs(row - *last_row) >= 2 && label.len < GUTTER) {
        put_text(c, row, GUTTER - 1 - (long)label.len, INK_TEXT, kvl_str_text(&label));
        put_dot(c, c->plot.left - 2, y, INK_TEXT);
        *last_row = row;
    }
    kvl_str_free(&label);
}

/* 1, 2 and 5 times each power of ten, or these powers alone where they are many. */
static size_t draw_log_ticks(const canvas *c, bool has_all, bool is_counting) {
    static const double factors[] = {1, 2, 5};
    const kvl_axis a = c->plot.y;
    long last_row = -9;
    size_t n = 0;
    for (double k = floor(log10(a.min)); k <= log10(a.max); k++) {
        for (size_t i = 0; i < (has_all ? 3 : 1); i++) {
            const double value = pow(10, k) * factors[i];
            if (value >= a.min && value <= a.max) {
                n++;
                if (!is_counting) {
                    draw_y_tick(c, value, 0, &last_row);
                }
            }
        }
    }
    return n;
}

static void draw_y(const canvas *c) {
    const kvl_axis a = c->plot.y;
    const size_t n = a.is_log ? draw_log_ticks(c, true, true) : 0;
    for (double y = c->plot.top; y <= c->plot.bottom; y++) {
        put_dot(c, c->plot.left - 1, y, INK_TEXT);
    }
    if (n >= 3) {
        (void)draw_log_ticks(c, n <= 9, false);
        return;
    }
    const double step = kvl_tick_step(a.max - a.min, 6);
    long last_row = -9;
    for (double k = ceil(a.min / step - 1e-6); k * step <= a.max + 1e-6 * step; k++) {
        draw_y_tick(c, k * step, step, &last_row);
    }
}

static void draw_x(const canvas *c) {
    const kvl_axis a = c->plot.x; /* falls to the right */
    const double below = c->plot.bottom + 1;
    const double step = kvl_tick_step(a.min - a.max, (double)c->columns / 10);
    long free_column = GUTTER;
    draw_line(c, c->plot.left - 1, below, c->plot.right, below, INK_TEXT);
    for (double k = floor(a.min / step + 1e-6); k * step >= a.max - 1e-6 * step; k--) {
        const double x = kvl_plot_x(&c->plot, k * step);
        kvl_str label = {0};
        kvl_put_tick(&label, k * step, step);
        const long column = lround(x) / 2 - (long)label.len / 2;
        if (column >= free_column && column + (long)label.len <= (long)c->columns) {
            put_text(c, ROWS + 1, column, INK_TEXT, kvl_str_text(&label));
            put_dot(c, x, below + 1, INK_TEXT);
            free_column = column + (long)label.len + 2;
        }
        kvl_str_free(&label);
    }
}

/* ---- data ---- */

static void draw_full(const canvas *c, const kvl_report *r) {
    const kvl_report_row *full = kvli_full_row(r);
    for (double x = c->plot.left; full != NULL && x <= c->plot.right; x++) {
        if (fmod(x - c->plot.left, 8) < 4) {
            put_dot(c, x, kvl_plot_y(&c->plot, full->ppl), INK_FULL);
        }
    }
}

/* Where a row stands, in dots; false: nowhere. */
static bool place(const canvas *c, const kvl_report_row *row, double *x, double *y) {
    *x = kvl_plot_x(&c->plot, row->keep_ratio);
    *y = kvl_plot_y(&c->plot, row->ppl);
    return isfinite(row->keep_ratio) && isfinite(row->ppl) && isfinite(*x) && isfinite(*y);
}

static void draw_bars(const canvas *c, const kvl_report *r, size_t first, uint8_t ink) {
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        const kvl_report_row *row = &r->rows[i];
        double x = 0;
        double y = 0;
        if (place(c, row, &x, &y) && row->delta.has_interval && isfinite(kvli_ppl_high(row))) {
            const double end = kvl_plot_y(&c->plot, kvli_ppl_low(row));
            for (y = kvl_plot_y(&c->plot, kvli_ppl_high(row)); y <= end; y += 2) {
                put_dot(c, x, y, ink);
            }
        }
    }
}

static void draw_curve(const canvas *c, const kvl_report *r, size_t first, uint8_t ink) {
    bool has_last = false;
    double last_x = 0;
    double last_y = 0;
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        double x = 0;
        double y = 0;
        if (place(c, &r->rows[i], &x, &y)) {
            if (has_last) {
                draw_line(c, last_x, last_y, x, y, ink);
            }
            has_last = true;
            last_x = x;
            last_y = y;
        }
    }
}

static char mark_of(size_t k) { return "ox+*#@%&"[k % KVLI_MOST_SERIES]; }

static void draw_marks(const canvas *c, const kvl_report *r, size_t first, size_t k) {
    const char text[] = {mark_of(k), '\0'};
    for (size_t i = first; i < kvli_group_end(r, first); i++) {
        double x = 0;
        double y = 0;
        if (place(c, &r->rows[i], &x, &y)) {
            put_text(c, lround(y) / 4, lround(x) / 2, (uint8_t)(INK_PRESS + k), text);
        }
    }
}

/* What a text would cover from here on: dots, and marks or other text, which is worse; more than that: it
 * leaves the frame. */
static size_t cover(const canvas *c, long row, long column, size_t n) {
    size_t sum = 0;
    if (row < 0 || row >= ROWS || column < GUTTER + 1 || column + (long)n > (long)c->columns) {
        return SIZE_MAX;
    }
    for (long i = column - 1; i <= column + (long)n; i++) {
        const cell *at = cell_at(c, row, i);
        sum += at == NULL ? 0 : at->text != '\0' ? 100 : at->dots != 0;
    }
    return sum;
}

/* Names a row of the report where least is covered near it. */
static void name_row(const canvas *c, const kvl_report_row *row, const char *word, bool has_press) {
    static const int ways[][2] = {{0, 1},  {0, -1}, {-1, 1}, {-1, -1}, {1, 1},  {1, -1},
                                  {-1, 0}, {1, 0},  {-2, 0}, {2, 0},   {-3, 0}, {3, 0}};
    char label[96];
    double x = 0;
    double y = 0;
    if (!place(c, row, &x, &y)) {
        return;
    }
    (void)snprintf(label, sizeof label, "%s %.2f at %g%s%.24s%s", word, row->ppl, row->keep_ratio,
                   has_press ? " (" : "", has_press ? row->press : "", has_press ? ")" : "");
    const size_t n = strlen(label);
    size_t least = 100; /* marks stay */
    long best_row = -1;
    long best_column = 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const long at = lround(y) / 4 + ways[i][0];
        const long middle = lround(x) / 2;
        const long column = ways[i][1] > 0   ? middle + 2
                            : ways[i][1] < 0 ? middle - 1 - (long)n
                                             : middle - (long)n / 2;
        const size_t covered = cover(c, at, column, n);
        if (covered < least) {
            least = covered;
            best_row = at;
            best_column = column;
        }
    }
    put_text(c, best_row, best_column, INK_TEXT, label);
}

/* ---- out ---- */

static void put_ink(kvl_str *out, const canvas *c, uint8_t ink) {
    static const int colors[KVLI_MOST_SERIES] = {36, 33, 35, 32, 34, 31, 96, 93};
    if (!c->has_color) {
        return;
    }
    if (ink >= INK_PRESS) {
        kvl_str_printf(out, "\x1b[0;%dm", colors[(ink - INK_PRESS) % KVLI_MOST_SERIES]);
    } else {
        kvl_str_puts(out, ink == INK_FULL ? "\x1b[0;2m" : "\x1b[0m");
    }
}

static void put_cell(kvl_str *out, const cell *at) {
    if (at->text != '\0' || at->dots == 0) {
        kvl_str_append(out, at->text != '\0' ? &at->text : " ", 1);
    } else {
        const char dots[] = {'\xe2', (char)(0xa0 | at->dots >> 6), (char)(0x80 | (at->dots & 0x3f))};
        kvl_str_append(out, dots, sizeof dots);
    }
}

static void write_row(kvl_str *out, const canvas *c, long row) {
    uint8_t ink = INK_TEXT;
    size_t n = c->columns;
    while (n > 0 && cell_at(c, row, (long)n - 1)->text == '\0' && cell_at(c, row, (long)n - 1)->dots == 0) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        const cell *at = cell_at(c, row, (long)i);
        if (at->ink != ink && (at->text != '\0' || at->dots != 0)) {
            ink = at->ink;
            put_ink(out, c, ink);
        }
        put_cell(out, at);
    }
    if (ink != INK_TEXT) {
        put_ink(out, c, INK_TEXT);
    }
    kvl_str_puts(out, "\n");
}

/* Adds an item to the legend, on a new line where the one under way is full. */
static void put_item(kvl_str *out, const canvas *c, size_t *column, uint8_t ink, const char *sign,
                     const char *text) {
    const size_t n = 2 + 3 + strlen(text);
    if (*column != 0 && *column + n > c->columns) {
        kvl_str_puts(out, "\n");
        *column = 0;
    }
    kvl_str_puts(out, "  ");
    put_ink(out, c, ink);
    kvl_str_puts(out, sign);
    put_ink(out, c, INK_TEXT);
    kvl_str_puts(out, " ");
    for (size_t i = 0; text[i] != '\0' && i + 6 < c->columns; i++) {
        const char letter = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
        kvl_str_append(out, &letter, 1);
    }
    *column += n;
}

static void write_legend(kvl_str *out, const canvas *c, const kvl_report *r, const size_t *firsts, size_t n,
                         size_t n_all) {
    const kvl_report_row *full = kvli_full_row(r);
    size_t column = 0;
    char text[64];
    for (size_t k = 0; k < n; k++) {
        const char sign[] = {mark_of(k), '\0'};
        put_item(out, c, &column, (uint8_t)(INK_PRESS + k), sign, r->rows[firsts[k]].press);
    }
    if (full != NULL) {
        (void)snprintf(text, sizeof text, "full cache %.2f", full->ppl);
        put_item(out, c, &column, INK_FULL, "\xe2\xa0\x92\xe2\xa0\x92", text);
    }
    if (n_all > n) {
        (void)snprintf(text, sizeof text, "the first %zu of %zu presses", n, n_all);
        put_item(out, c, &column, INK_TEXT, "", text);
    }
    kvl_str_puts(out, "\n");
}

/* ---- the whole ---- */

static void draw(const canvas *c, const kvl_report *r, const size_t *firsts, size_t n) {
    size_t worst = r->n_rows;
    size_t best = r->n_rows;
    draw_y(c);
    draw_x(c);
    draw_full(c, r);
    for (size_t k = 0; k < n; k++) {
        draw_bars(c, r, firsts[k], (uint8_t)(INK_PRESS + k));
    }
    for (size_t k = n; k-- > 0;) { /* the first press lies on top */
        draw_curve(c, r, firsts[k], (uint8_t)(INK_PRESS + k));
    }
    for (size_t k = n; k-- > 0;) {
        draw_marks(c, r, firsts[k], k);
    }
    kvli_curve_extremes(r, firsts, n, &worst, &best);
    if (worst < r->n_rows && best < r->n_rows && worst != best) {
        name_row(c, &r->rows[worst], "worst", n > 1);
        name_row(c, &r->rows[best], "best", n > 1);
    }
}

void kvl_plot_curve(kvl_str *out, const kvl_report *r, size_t width, bool has_color) {
    size_t firsts[KVLI_MOST_SERIES];
    const size_t n_all = kvli_find_presses(r, firsts, KVLI_MOST_SERIES);
    const size_t n = kvl_min_size(n_all, KVLI_MOST_SERIES);
    canvas c = {.columns = kvl_min_size(kvl_max_size(width, KVL_PLOT_LEAST_WIDTH), KVL_PLOT_MOST_WIDTH),
                .has_color = has_color};
    if (n == 0) {
        return;
    }
    c.cells = kvl_calloc((ROWS + 2) * c.columns, sizeof *c.cells);
    if (c.cells == NULL) {
        out->failed = true;
        return;
    }
    c.plot = (kvl_plot){.left = 2 * (GUTTER + 1), .right = 2 * (double)c.columns - 1, .bottom = 4 * ROWS - 1};
    kvli_curve_axes(&c.plot.x, &c.plot.y, r, firsts, n);
    draw(&c, r, firsts, n);
    kvl_str_printf(out, "perplexity (%s%s)\n", r->has_mean_ppl ? "mean of samples" : "of all scored tokens",
                   c.plot.y.is_log ? ", log scale" : "");
    for (long row = 0; row < ROWS + 2; row++) {
        write_row(out, &c, row);
    }
    static const char across[] = "keep ratio (share of the cache kept)";
    const size_t end = GUTTER + (c.columns - GUTTER + sizeof across) / 2;
    kvl_str_printf(out, "%*s\n", (int)kvl_min_size(end, c.columns), across);
    write_legend(out, &c, r, firsts, n, n_all);
    kvl_free(c.cells);
}
