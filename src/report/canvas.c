/* Page, text and files of pictures. */
#include "report/canvas.h"

#include "base/os.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>

#include <cairo-svg.h>
#include <pango/pangocairo.h>

typedef void draw_fn(cairo_t *cr, const void *ud);

enum { png_scale = 2 };

const double kvli_palette[KVL_PALETTE][3] = {{0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45},
                                             {0.80, 0.47, 0.65}, {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91},
                                             {0.30, 0.30, 0.30}};

double kvli_draw_text(cairo_t *cr, double x, double y, double size, anchor a, double max_width,
                      const char *text) {
    char description[64];
    PangoLayout *layout = pango_cairo_create_layout(cr);
    snprintf(description, sizeof description, "DejaVu Sans, Sans %.1fpx", size);
    PangoFontDescription *font = pango_font_description_from_string(description);
    pango_font_description_set_absolute_size(font, size * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_layout_set_text(layout, text, -1);
    if (max_width > 0) {
        pango_layout_set_width(layout, (int)(max_width * PANGO_SCALE));
        pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
        pango_layout_set_single_paragraph_mode(layout, TRUE);
        pango_layout_set_height(layout, size < small_text ? -2 : -1); /* small print may take two lines */
    }
    PangoRectangle box;
    pango_layout_get_extents(layout, NULL, &box);
    double width = (double)box.width / PANGO_SCALE;
    cairo_move_to(cr, a == anchor_left ? x : a == anchor_middle ? x - width / 2 : x - width, y);
    pango_cairo_show_layout(cr, layout);
    cairo_new_path(cr); /* the text's point must not begin the next line */
    pango_font_description_free(font);
    g_object_unref(layout);
    return width;
}

void kvli_set_grey(cairo_t *cr, double level) { cairo_set_source_rgb(cr, level, level, level); }

double kvli_tick_step(double range, int n) {
    double step = pow(10, floor(log10(range / n)));
    static const double factors[] = {1, 2, 5, 10};
    for (int i = 0; i < 4; i++) {
        if (range / (step * factors[i]) <= n) {
            return step * factors[i];
        }
    }
    return step * 10;
}

void kvli_draw_frame(cairo_t *cr, const char *title, const char *line, const char *command) {
    kvli_set_grey(cr, 0.1);
    kvli_draw_text(cr, left, 10, 17, anchor_left, page_width - left - right, title);
    kvli_set_grey(cr, 0.35);
    kvli_draw_text(cr, left, 35, 11, anchor_left, page_width - left - right, line);
    kvli_draw_text(cr, left, page_height - 20, 10, anchor_left, page_width - left - right, command);
}

void kvli_draw_axes(cairo_t *cr, const char *x, const char *y) {
    kvli_set_grey(cr, 0.2);
    kvli_draw_text(cr, 0.5 * (left + page_width - right), page_height - bottom + 26, 13, anchor_middle, 0, x);
    cairo_save(cr);
    cairo_translate(cr, 12, 0.5 * (top + page_height - bottom));
    cairo_rotate(cr, -KVL_TURN / 4);
    kvli_draw_text(cr, 0, 0, 13, anchor_middle, 0, y);
    cairo_restore(cr);
}

/* ---- files ---- */

static cairo_status_t append_bytes(void *ud, const unsigned char *bytes, unsigned n) {
    kvl_str *out = ud;
    kvl_str_append(out, (const char *)bytes, n);
    return out->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

static kvl_status draw_on(cairo_surface_t *surface, double scale, draw_fn *draw, const void *ud,
                          const char *what, kvl_err *err) {
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    draw(cr, ud);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    return status == CAIRO_STATUS_SUCCESS
               ? KVL_OK
               : kvl_fail(err, KVL_E_IO, "%s: drawing failed: %s", what, cairo_status_to_string(status));
}

static kvl_status make_png(kvl_str *out, draw_fn *draw, const void *ud, kvl_err *err) {
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, page_width * png_scale, page_height * png_scale);
    kvl_status status = draw_on(surface, png_scale, draw, ud, "PNG", err);
    if (status == KVL_OK &&
        cairo_surface_write_to_png_stream(surface, append_bytes, out) != CAIRO_STATUS_SUCCESS) {
        status = kvl_fail(err, KVL_E_IO, "PNG: encoding failed");
    }
    cairo_surface_destroy(surface);
    return status;
}

static kvl_status make_svg(kvl_str *out, draw_fn *draw, const void *ud, kvl_err *err) {
    cairo_surface_t *surface =
        cairo_svg_surface_create_for_stream(append_bytes, out, page_width, page_height);
    kvl_status status = draw_on(surface, 1, draw, ud, "SVG", err);
    cairo_surface_finish(surface);
    if (status == KVL_OK && cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
        status = kvl_fail(err, KVL_E_IO, "SVG: encoding failed");
    }
    cairo_surface_destroy(surface);
    return status;
}

kvl_status kvli_chart_save(draw_fn *draw, const void *ud, const char *path, kvl_err *err) {
    static const struct {
        const char *ending;
        kvl_status (*make)(kvl_str *, draw_fn *, const void *, kvl_err *);
    } kinds[] = {{"png", make_png}, {"svg", make_svg}};
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < 2 && status == KVL_OK; i++) {
        kvl_str file = {0};
        kvl_str name = {0};
        kvl_str_printf(&name, "%s.%s", path, kinds[i].ending);
        status = kinds[i].make(&file, draw, ud, err);
        if (status == KVL_OK) {
            status = kvl_file_save(kvl_str_text(&name), kvl_str_text(&file), file.len, err);
        }
        kvl_str_free(&file);
        kvl_str_free(&name);
    }
    return status;
}
