/* A figure: a list of strokes that one drawing code makes and several writers read: inline SVG for pages
 * (text stays text, colours follow the page's theme), PNG and PDF by cairo and pango.
 *
 * Lengths are CSS pixels, y downwards. Text is measured by pango; SVG carries the measured length, so that
 * another font cannot make two words overlap.
 */
#ifndef KVL_REPORT_FIGURE_H
#define KVL_REPORT_FIGURE_H

#include "base/str.h"

typedef struct kvl_figure kvl_figure;

/* Colours by meaning. SERIES are those of Okabe and Ito (2008), which colour-blind readers tell apart. */
typedef enum kvl_ink {
    KVL_INK_TEXT,
    KVL_INK_SOFT, /* secondary text */
    KVL_INK_GRID,
    KVL_INK_PAGE, /* background */
    KVL_INK_GOOD,
    KVL_INK_BAD,
    KVL_INK_SHADE,  /* quiet areas behind data, as stages */
    KVL_INK_SERIES, /* KVL_INK_SERIES + i, i < KVL_N_SERIES */
} kvl_ink;
enum { KVL_N_SERIES = 8 };

typedef enum kvl_align { KVL_ALIGN_LEFT, KVL_ALIGN_MIDDLE, KVL_ALIGN_RIGHT } kvl_align;
typedef enum kvl_mark {
    KVL_MARK_DOT,
    KVL_MARK_RING,
    KVL_MARK_SQUARE,
    KVL_MARK_DIAMOND,
    KVL_MARK_TRIANGLE,
    KVL_MARK_CROSS
} kvl_mark;

typedef struct kvl_stroke {
    kvl_ink ink;
    double width;
    bool is_dashed;
    double opacity; /* 0 means 1 */
} kvl_stroke;

/* An empty figure. Errors stick: draw freely, writers tell (E_NOMEM). What has a coordinate that is not
 * finite is not drawn. */
kvl_status kvl_figure_create(kvl_figure **out, double width, double height, kvl_err *err) KVL_MUST_USE;
void kvl_figure_destroy(kvl_figure *f);
double kvl_figure_width(const kvl_figure *f);
double kvl_figure_height(const kvl_figure *f);

void kvl_figure_line(kvl_figure *f, double x0, double y0, double x1, double y1, kvl_stroke s);
/* xy [n, 2] */
void kvl_figure_path(kvl_figure *f, const double *xy, size_t n, kvl_stroke s);
/* A filled polygon. */
void kvl_figure_area(kvl_figure *f, const double *xy, size_t n, kvl_ink ink, double opacity);
/* A filled rectangle; tip [may be NULL] is shown when it is pointed at. */
void kvl_figure_rect(kvl_figure *f, double x, double y, double w, double h, kvl_ink ink, double opacity,
                     const char *tip);
/* The same in a colour of a scale from 0 to 1 (one hue, from that of the page on); NAN: no data, hatched.
 * Text over it reads in KVL_INK_TEXT up to KVL_HEAT_TURN and in KVL_INK_PAGE above. */
#define KVL_HEAT_TURN 0.6
void kvl_figure_heat(kvl_figure *f, double x, double y, double w, double h, double value, const char *tip);
void kvl_figure_mark(kvl_figure *f, double x, double y, double r, kvl_mark mark, kvl_ink ink,
                     const char *tip);
/* One line of text, the middle of whose height is at y; cut with an ellipsis at max_width (0: not cut).
 * Returns its width. Here and in tips, what is no UTF-8 and what is not seen but acts becomes U+FFFD. */
double kvl_figure_text(kvl_figure *f, double x, double y, double size, kvl_align align, kvl_ink ink,
                       double max_width, const char *text);
/* Width of a text that is not drawn. */
double kvl_figure_measure(kvl_figure *f, double size, const char *text);
/* Text in as many lines as it needs, broken at words, from y downwards. Returns its height, which the second
 * tells without drawing. */
double kvl_figure_paragraph(kvl_figure *f, double x, double y, double w, double size, kvl_align align,
                            kvl_ink ink, const char *text);
double kvl_figure_paragraph_height(kvl_figure *f, double w, double size, const char *text);
/* The name of a point, where beside it no text stands and few marks and lines do, within a box (left, top,
 * right, bottom) and `gap` away from the point. So draw the data first. False: no room, nothing is drawn. */
bool kvl_figure_label(kvl_figure *f, double x, double y, double gap, double size, kvl_ink ink,
                      const double box[4], const char *text);

/* Appends an <svg role="img"> with title and description; id is unique in its page. Colours are CSS variables
 * (--text --soft --grid --page --good --bad --shade --s0 .. --s7) with the light theme's as fallback. */
kvl_status kvl_figure_write_svg(kvl_str *out, const kvl_figure *f, const char *id, const char *title,
                                const char *description, kvl_err *err) KVL_MUST_USE;
/* The same as a file of its own, and as PNG (2 pixels for 1) and PDF, on white, appended as bytes. */
kvl_status kvl_figure_write_svg_file(kvl_str *out, const kvl_figure *f, const char *title,
                                     kvl_err *err) KVL_MUST_USE;
kvl_status kvl_figure_write_png(kvl_str *out, const kvl_figure *f, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_figure_write_pdf(kvl_str *out, const kvl_figure *f, const char *title,
                                kvl_err *err) KVL_MUST_USE;

/* Writes it as path.png, path.svg and path.pdf. E_IO. */
kvl_status kvl_figure_save(const kvl_figure *f, const char *title, const char *path,
                           kvl_err *err) KVL_MUST_USE;

/* ---- plots: axes around a figure's data ---- */

typedef struct kvl_axis {
    double min, max; /* min > max: drawn from right to left or downwards (keep ratios fall to the right) */
    bool is_log;
    const char *label;        /* with its unit */
    const char *const *names; /* [n_names] of whole numbers from 0 on, instead of numbers; or NULL */
    size_t n_names;
} kvl_axis;

typedef struct kvl_plot {
    kvl_figure *figure;
    double left, top, right, bottom; /* the frame */
    kvl_axis x, y;
} kvl_plot;

/* Lays out frame, ticks, grid and labels within a box of the figure: the label of the y axis above the frame,
 * that of x below. Labels never overlap: fewer ticks, and only every k-th name, where room is short. */
void kvl_plot_begin(kvl_plot *p, kvl_figure *f, double x, double y, double w, double h, kvl_axis x_axis,
                    kvl_axis y_axis);
/* Where a value stands; on the frame when it is beyond the axis, NAN stays. */
double kvl_plot_x(const kvl_plot *p, double value);
double kvl_plot_y(const kvl_plot *p, double value);
/* A number as axes write it: as short as it can be told from others `step` away. */
void kvl_put_tick(kvl_str *out, double value, double step);
/* 1, 2 or 5 times a power of ten: the smallest that divides the range into at most n parts. */
double kvl_tick_step(double range, double n);
/* A line of names with their marks, from y downwards, in as many rows as they need. Returns the height, which
 * the second tells without drawing. */
typedef struct kvl_legend_item {
    const char *name;
    kvl_ink ink;
    kvl_mark mark;
    bool is_dashed, has_line;
} kvl_legend_item;
double kvl_legend(kvl_figure *f, double x, double y, double w, const kvl_legend_item *items, size_t n);
double kvl_legend_height(kvl_figure *f, double w, const kvl_legend_item *items, size_t n);

#endif
