/* The display list: what is drawn, in order; and how wide texts are. */
#include "report/figure_int.h"
#include "report/report_int.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

#include <pango/pangocairo.h>
#include <utf8proc.h>

enum { MOST_CHARS = 2000 }; /* of one text: more is never read in a figure */

/* ---- fonts ---- */

void kvli_font_prepare(PangoContext *context) {
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(context, options);
    pango_cairo_context_set_resolution(context, 96);
    pango_context_set_round_glyph_positions(context, FALSE);
    cairo_font_options_destroy(options);
}

void kvli_font_set(PangoLayout *layout, double size, const char *text) {
    PangoFontDescription *font = pango_font_description_from_string("DejaVu Sans, Sans");
    pango_font_description_set_absolute_size(font, size * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_layout_set_single_paragraph_mode(layout, TRUE);
    pango_layout_set_text(layout, text, -1);
    pango_font_description_free(font);
}

/* ---- life ---- */

kvl_status kvl_figure_create(kvl_figure **out, double width, double height, kvl_err *err) {
    kvl_figure *f = kvl_calloc(1, sizeof *f);
    *out = f;
    if (f == NULL) {
        return kvl_fail_nomem(err, "figure");
    }
    f->width = width;
    f->height = height;
    f->pango = pango_font_map_create_context(pango_cairo_font_map_get_default());
    kvli_font_prepare(f->pango);
    f->layout = pango_layout_new(f->pango);
    return KVL_OK;
}

void kvl_figure_destroy(kvl_figure *f) {
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->n; i++) {
        kvl_free(f->items[i].text);
        kvl_free(f->items[i].xy);
    }
    kvl_free(f->items);
    g_object_unref(f->layout);
    g_object_unref(f->pango);
    kvl_free(f);
}

double kvl_figure_width(const kvl_figure *f) { return f->width; }
double kvl_figure_height(const kvl_figure *f) { return f->height; }

/* ---- texts from elsewhere ---- */

bool kvli_is_hidden(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || (c & 0xfffe) == 0xfffe;
}

char *kvli_clean(const char *text, bool has_lines) {
    kvl_str out = {0};
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    size_t left = strlen(text);
    for (size_t n_chars = 0; left != 0 && n_chars < MOST_CHARS; n_chars++) {
        utf8proc_int32_t c = 0;
        const utf8proc_ssize_t n = utf8proc_iterate(s, (utf8proc_ssize_t)(left < 4 ? left : 4), &c);
        const size_t step = n > 0 ? (size_t)n : 1;
        if (n <= 0 || (kvli_is_hidden(c) && !(has_lines && c == '\n'))) {
            kvl_str_puts(&out, "\xef\xbf\xbd");
        } else {
            kvl_str_append(&out, (const char *)s, step);
        }
        s += step;
        left -= step;
    }
    char *copy = out.failed ? NULL : kvl_strndup(kvl_str_text(&out), out.len);
    kvl_str_free(&out);
    return copy;
}

/* ---- adding ---- */

/* A new item, or NULL: memory ended, or it cannot be drawn. tip may be NULL. */
static kvli_item *add(kvl_figure *f, kvli_item item, const double *xy, const char *tip) {
    bool is_finite = isfinite(item.x) && isfinite(item.y) && isfinite(item.w) && isfinite(item.h);
    for (size_t i = 0; i < 2 * item.n; i++) {
        is_finite = is_finite && isfinite(xy[i]);
    }
    if (!is_finite || f->failed) {
        return NULL;
    }
    if (f->n == f->cap) {
        const size_t cap = f->cap == 0 ? 64 : 2 * f->cap;
        kvli_item *items = kvl_resize(f->items, f->cap, cap, sizeof *items);
        f->failed = items == NULL;
        if (f->failed) {
            return NULL;
        }
        f->items = items;
        f->cap = cap;
    }
    if (item.n != 0) {
        item.xy = kvl_calloc(2 * item.n, sizeof *item.xy);
        f->failed = item.xy == NULL;
    }
    if (tip != NULL) {
        item.text = kvli_clean(tip, true);
        f->failed = f->failed || item.text == NULL;
    }
    if (f->failed) {
        kvl_free(item.xy);
        kvl_free(item.text);
        return NULL;
    }
    if (item.n != 0 && xy != NULL) {
        memcpy(item.xy, xy, 2 * item.n * sizeof *xy);
    }
    f->items[f->n] = item;
    return &f->items[f->n++];
}

void kvl_figure_line(kvl_figure *f, double x0, double y0, double x1, double y1, kvl_stroke s) {
    const double xy[] = {x0, y0, x1, y1};
    kvl_figure_path(f, xy, 2, s);
}

void kvl_figure_path(kvl_figure *f, const double *xy, size_t n, kvl_stroke s) {
    if (n > 1) {
        (void)add(f, (kvli_item){.shape = KVLI_PATH, .ink = s.ink, .stroke = s, .n = n}, xy, NULL);
    }
}

void kvl_figure_area(kvl_figure *f, const double *xy, size_t n, kvl_ink ink, double opacity) {
    if (n > 2) {
        (void)add(f, (kvli_item){.shape = KVLI_AREA, .ink = ink, .opacity = opacity, .n = n}, xy, NULL);
    }
}

void kvl_figure_rect(kvl_figure *f, double x, double y, double w, double h, kvl_ink ink, double opacity,
                     const char *tip) {
    const kvli_item item = {
        .shape = KVLI_RECT, .ink = ink, .x = x, .y = y, .w = w, .h = h, .opacity = opacity};
    (void)add(f, item, NULL, tip);
}

/* Lines from the lower left to the upper right, 5 pixels apart. */
static void hatch(kvl_figure *f, double x, double y, double w, double h) {
    const kvl_stroke s = {.ink = KVL_INK_GRID, .width = 1};
    for (double c = 2.5; c < w + h; c += 5) {
        kvl_figure_line(f, x + fmin(c, w), y + fmax(0, c - w), x + fmax(0, c - h), y + fmin(c, h), s);
    }
}

void kvl_figure_heat(kvl_figure *f, double x, double y, double w, double h, double value, const char *tip) {
    kvli_item item = {.shape = KVLI_HEAT, .x = x, .y = y, .w = w, .h = h};
    if (isnan(value)) {
        kvl_figure_rect(f, x, y, w, h, KVL_INK_SHADE, 1, tip);
        if (w >= 5 && h >= 5) {
            hatch(f, x, y, w, h);
        }
        return;
    }
    item.opacity = fmin(fmax(value, 0), 1);
    (void)add(f, item, NULL, tip);
}

void kvl_figure_mark(kvl_figure *f, double x, double y, double r, kvl_mark mark, kvl_ink ink,
                     const char *tip) {
    const kvli_item item = {.shape = KVLI_MARK, .ink = ink, .x = x, .y = y, .w = r, .mark = mark};
    (void)add(f, item, NULL, tip);
}

void kvli_figure_take(kvl_figure *to, kvl_figure *from, double dx, double dy) {
    for (size_t i = 0; i < from->n; i++) {
        kvli_item item = from->items[i];
        item.x += dx;
        item.y += dy;
        for (size_t k = 0; k < item.n; k++) {
            item.xy[2 * k] += dx;
            item.xy[2 * k + 1] += dy;
        }
        item.text = NULL;
        kvli_item *new = add(to, item, item.xy, NULL);
        kvl_free(item.xy);
        if (new != NULL) {
            new->text = from->items[i].text;
        } else {
            kvl_free(from->items[i].text);
        }
    }
    from->n = 0;
    to->failed = to->failed || from->failed;
}

void kvli_mark_outline(double xy[2 * KVLI_MARK_POINTS], size_t *n, kvl_mark mark, double x, double y,
                       double r) {
    static const double outlines[][2 * KVLI_MARK_POINTS] = {
        [KVL_MARK_SQUARE] = {-0.9, -0.9, 0.9, -0.9, 0.9, 0.9, -0.9, 0.9},
        [KVL_MARK_DIAMOND] = {0, -1.25, 1.25, 0, 0, 1.25, -1.25, 0},
        [KVL_MARK_TRIANGLE] = {0, -1.2, 1.15, 0.9, -1.15, 0.9},
        [KVL_MARK_CROSS] = {-1, -1, 1, 1, -1, 1, 1, -1},
    };
    *n = mark == KVL_MARK_DOT || mark == KVL_MARK_RING ? 0 : mark == KVL_MARK_TRIANGLE ? 3 : 4;
    for (size_t i = 0; i < 2 * *n; i++) {
        xy[i] = (i % 2 == 0 ? x : y) + r * outlines[mark][i];
    }
}

kvli_colour kvli_colour_of(kvl_ink ink) {
    static const kvli_colour colours[KVLI_N_INKS] = {
        [KVL_INK_TEXT] = {"--text", 0x1d1f21},
        [KVL_INK_SOFT] = {"--soft", 0x5c6268},
        [KVL_INK_GRID] = {"--grid", 0xe2e3e0},
        [KVL_INK_PAGE] = {"--page", 0xffffff},
        [KVL_INK_GOOD] = {"--good", 0x007a5a},
        [KVL_INK_BAD] = {"--bad", 0xb84a00},
        [KVL_INK_SHADE] = {"--shade", 0xf1f2ef},
        /* the order in which they are told apart best; yellow is darkened for white paper */
        [KVL_INK_SERIES] = {"--s0", 0x0072b2},
        [KVL_INK_SERIES + 1] = {"--s1", 0xd55e00},
        [KVL_INK_SERIES + 2] = {"--s2", 0x009e73},
        [KVL_INK_SERIES + 3] = {"--s3", 0xcc79a7},
        [KVL_INK_SERIES + 4] = {"--s4", 0xe69f00},
        [KVL_INK_SERIES + 5] = {"--s5", 0x56b4e9},
        [KVL_INK_SERIES + 6] = {"--s6", 0x8a7a00},
        [KVL_INK_SERIES + 7] = {"--s7", 0x5c6268},
    };
    return colours[(size_t)ink < KVLI_N_INKS ? ink : KVL_INK_TEXT];
}

/* ---- text ---- */

/* Of a clean text. */
static double width_of(kvl_figure *f, double size, const char *text) {
    PangoRectangle box;
    pango_layout_set_width(f->layout, -1);
    kvli_font_set(f->layout, size, text);
    pango_layout_get_extents(f->layout, NULL, &box);
    return (double)box.width / PANGO_SCALE;
}

double kvl_figure_measure(kvl_figure *f, double size, const char *text) {
    char *copy = kvli_clean(text, false);
    const double width = copy != NULL ? width_of(f, size, copy) : 0;
    f->failed = f->failed || copy == NULL;
    kvl_free(copy);
    return width;
}

/* The longest beginning of a clean text that fits with an ellipsis, in place. Returns its width. */
static double cut(kvl_figure *f, char **text, double size, double max_width) {
    double width = width_of(f, size, *text);
    kvl_str line = {0};
    size_t low = 0; /* bytes that fit */
    size_t high = strlen(*text);
    if (width <= max_width) {
        return width;
    }
    while (high > low + 1) {
        size_t middle = (low + high) / 2;
        while (middle > low && ((*text)[middle] & 0xc0) == 0x80) {
            middle--;
        }
        if (middle == low) {
            break;
        }
        kvl_str_clear(&line);
        kvl_str_append(&line, *text, middle);
        kvl_str_puts(&line, "…");
        *(width_of(f, size, kvl_str_text(&line)) <= max_width ? &low : &high) = middle;
    }
    while (low > 0 && (*text)[low - 1] == ' ') {
        low--;
    }
    kvl_str_clear(&line);
    kvl_str_append(&line, *text, low);
    kvl_str_puts(&line, "…");
    kvl_free(*text);
    *text = line.failed ? NULL : kvl_strndup(kvl_str_text(&line), line.len);
    kvl_str_free(&line);
    return *text != NULL ? width_of(f, size, *text) : 0;
}

double kvli_add_text(kvl_figure *f, kvli_item item, double max_width, const char *text) {
    char *copy = kvli_clean(text, false);
    item.shape = KVLI_TEXT;
    if (copy != NULL) {
        item.w = max_width > 0 ? cut(f, &copy, item.h, max_width) : width_of(f, item.h, copy);
    }
    f->failed = f->failed || copy == NULL;
    if (!f->failed && item.w > 0) {
        (void)add(f, item, NULL, copy);
    }
    kvl_free(copy);
    return item.w;
}

double kvl_figure_text(kvl_figure *f, double x, double y, double size, kvl_align align, kvl_ink ink,
                       double max_width, const char *text) {
    const kvli_item item = {.x = x, .y = y, .h = size, .align = align, .ink = ink};
    return kvli_add_text(f, item, max_width, text);
}

/* Draws the lines of a text like `item`, or only counts them (NULL). Returns their height. */
static double paragraph(kvl_figure *f, double w, double size, const char *text, const kvli_item *item) {
    char *copy = kvli_clean(text, false);
    kvl_str lines = {0}; /* each with a NUL behind: the layout is needed for measuring */
    size_t n_lines = 0;
    f->failed = f->failed || copy == NULL;
    if (f->failed) {
        kvl_free(copy);
        return 0;
    }
    kvli_font_set(f->layout, size, copy);
    pango_layout_set_width(f->layout, (int)(w * PANGO_SCALE));
    pango_layout_set_wrap(f->layout, PANGO_WRAP_WORD_CHAR);
    for (GSList *l = pango_layout_get_lines_readonly(f->layout); l != NULL; l = l->next) {
        const PangoLayoutLine *line = l->data;
        size_t n = (size_t)line->length;
        while (n > 0 && copy[(size_t)line->start_index + n - 1] == ' ') {
            n--;
        }
        kvl_str_append(&lines, copy + line->start_index, n);
        kvl_str_append(&lines, "", 1);
        n_lines++;
    }
    const char *line = kvl_str_text(&lines);
    for (size_t i = 0; i < n_lines && item != NULL && !lines.failed; i++) {
        kvli_item next = *item;
        next.h = size;
        next.y += KVLI_LINE_HEIGHT * size * ((double)i + 0.5);
        (void)kvli_add_text(f, next, 0, line);
        line += strlen(line) + 1;
    }
    f->failed = f->failed || lines.failed;
    kvl_str_free(&lines);
    kvl_free(copy);
    return KVLI_LINE_HEIGHT * size * (double)n_lines;
}

double kvl_figure_paragraph(kvl_figure *f, double x, double y, double w, double size, kvl_align align,
                            kvl_ink ink, const char *text) {
    const kvli_item item = {.x = x, .y = y, .align = align, .ink = ink};
    return paragraph(f, w, size, text, &item);
}

double kvl_figure_paragraph_height(kvl_figure *f, double w, double size, const char *text) {
    return paragraph(f, w, size, text, NULL);
}
