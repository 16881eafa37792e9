/* The display list, as its writers read it. */
#ifndef KVL_REPORT_FIGURE_INT_H
#define KVL_REPORT_FIGURE_INT_H

#include "report/figure.h"

#include <pango/pango.h>

typedef enum kvli_shape {
    KVLI_PATH,
    KVLI_AREA,
    KVLI_RECT,
    KVLI_HEAT, /* like RECT; opacity: its value */
    KVLI_MARK, /* w: radius */
    KVLI_TEXT, /* x, y: anchor; w: width; h: size */
} kvli_shape;

typedef struct kvli_item {
    kvli_shape shape;
    kvl_ink ink;
    double x, y, w, h, opacity;
    double *xy; /* [n, 2] PATH, AREA */
    size_t n;
    kvl_stroke stroke; /* PATH */
    kvl_mark mark;
    kvl_align align;
    bool has_halo;
    char *text; /* of TEXT, or tip, or NULL; clean */
} kvli_item;

struct kvl_figure {
    double width, height;
    kvli_item *items;
    size_t n, cap;
    bool failed;
    PangoContext *pango;
    PangoLayout *layout; /* for measuring */
};

enum { KVLI_N_INKS = KVL_INK_SERIES + KVL_N_SERIES };
typedef struct kvli_colour {
    const char *variable; /* "--s0" */
    uint32_t rgb;         /* of the light theme */
} kvli_colour;
kvli_colour kvli_colour_of(kvl_ink ink);

/* The baseline of a text of size 1 lies so far below the middle of its height. */
#define KVLI_BASELINE 0.35
#define KVLI_LINE_HEIGHT 1.35

/* A copy that pango and XML can read, of at most 2000 characters; has_lines: ends of lines stay. NULL:
 * memory.
 */
char *kvli_clean(const char *text, bool has_lines);

/* Fonts are measured and drawn without hints, so that they are as wide at any scale. */
void kvli_font_prepare(PangoContext *context);
void kvli_font_set(PangoLayout *layout, double size, const char *text);
/* Appends a line; w is its width once drawn. Internal form of kvl_figure_text. */
double kvli_add_text(kvl_figure *f, kvli_item item, double max_width, const char *text);
/* Moves all of `from`, which is empty then, by (dx, dy) to `to`. */
void kvli_figure_take(kvl_figure *to, kvl_figure *from, double dx, double dy);

typedef struct kvli_box {
    double left, top, right, bottom;
    const char *text;
} kvli_box;
kvli_box kvli_text_box(const kvli_item *item);
/* The boxes of all texts, at most n_most; how many there are. */
size_t kvli_figure_texts(const kvl_figure *f, kvli_box *boxes, size_t n_most);

/* Outline of a mark of radius r around (x, y) as a polygon [*n, 2], *n <= KVLI_MARK_POINTS; of a cross two
 * strokes (*n 4). A dot and a ring are circles: *n 0. */
enum { KVLI_MARK_POINTS = 4 };
void kvli_mark_outline(double xy[2 * KVLI_MARK_POINTS], size_t *n, kvl_mark mark, double x, double y,
                       double r);

#endif
