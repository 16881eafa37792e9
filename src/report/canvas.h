/* What pictures share: the page, text, colours, and one drawing function for PNG and SVG (cairo + pango). */
#ifndef KVL_REPORT_CANVAS_H
#define KVL_REPORT_CANVAS_H

#include "base/status.h"

#include <cairo.h>

/* Points of an 820 x 520 page, and the margins of the plot in it. */
enum { page_width = 820, page_height = 520, left = 70, right = 24, top = 64, bottom = 76, small_text = 12 };

/* Colours of Okabe and Ito (2008), which colour-blind readers tell apart. */
enum { KVL_PALETTE = 7 };
extern const double kvli_palette[KVL_PALETTE][3];

#define KVL_TURN 6.283185307179586 /* all round */

typedef enum anchor { anchor_left, anchor_middle, anchor_right } anchor;

/* Draws one line of text with its baseline box's top at y, cut with an ellipsis at max_width (0: not cut);
 * small print may take two lines. Returns its width. */
double kvli_draw_text(cairo_t *cr, double x, double y, double size, anchor a, double max_width,
                      const char *text);
/* 0: black, 1: white. */
void kvli_set_grey(cairo_t *cr, double level);
/* A step of 1, 2 or 5 times a power of ten that gives at most n ticks over the range. */
double kvli_tick_step(double range, int n);

/* Title, the line below it, and the command at the foot. */
void kvli_draw_frame(cairo_t *cr, const char *title, const char *line, const char *command);
/* Names of the axes. */
void kvli_draw_axes(cairo_t *cr, const char *x, const char *y);

/* Writes what `draw` draws on a white page as path.png and path.svg. E_IO. */
kvl_status kvli_chart_save(void (*draw)(cairo_t *cr, const void *ud), const void *ud, const char *path,
                           kvl_err *err) KVL_MUST_USE;

#endif
