/* A figure as PNG and PDF (cairo and pango). */
#include "report/figure_int.h"

#include "base/alloc.h"

#include <cairo-pdf.h>
#include <cairo.h>
#include <pango/pangocairo.h>

enum { PNG_SCALE = 2, HALO = 3 };
static const double turn = 6.283185307179586; /* all round */
static const double points_per_pixel = 0.75;

static void set_ink(cairo_t *cr, kvl_ink ink, double opacity) {
    const uint32_t rgb = kvli_colour_of(ink).rgb;
    cairo_set_source_rgba(cr, (double)(rgb >> 16 & 255) / 255, (double)(rgb >> 8 & 255) / 255,
                          (double)(rgb & 255) / 255, opacity);
}

static void trace(cairo_t *cr, const double *xy, size_t n) {
    for (size_t i = 0; i < n; i++) {
        cairo_line_to(cr, xy[2 * i], xy[2 * i + 1]);
    }
}

static void draw_path(cairo_t *cr, const kvli_item *item) {
    static const double dashes[] = {6, 4};
    const double opacity = item->stroke.opacity;
    set_ink(cr, item->ink, opacity > 0 ? opacity : 1);
    cairo_set_line_width(cr, item->stroke.width);
    cairo_set_dash(cr, dashes, item->stroke.is_dashed ? 2 : 0, 0);
    trace(cr, item->xy, item->n);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

static void draw_mark(cairo_t *cr, const kvli_item *item) {
    double xy[2 * KVLI_MARK_POINTS];
    size_t n = 0;
    kvli_mark_outline(xy, &n, item->mark, item->x, item->y, item->w);
    set_ink(cr, item->ink, 1);
    cairo_set_line_width(cr, 1.6);
    if (item->mark == KVL_MARK_CROSS) {
        trace(cr, xy, 2);
        cairo_new_sub_path(cr);
        trace(cr, xy + 4, 2);
    } else if (n == 0) {
        cairo_arc(cr, item->x, item->y, item->w, 0, turn);
    } else {
        trace(cr, xy, n);
        cairo_close_path(cr);
    }
    item->mark == KVL_MARK_RING || item->mark == KVL_MARK_CROSS ? cairo_stroke(cr) : cairo_fill(cr);
}

static void draw_text(cairo_t *cr, PangoLayout *layout, const kvli_item *item) {
    const double before = item->align == KVL_ALIGN_LEFT ? 0 : item->align == KVL_ALIGN_MIDDLE ? 0.5 : 1;
    kvli_font_set(layout, item->h, item->text);
    cairo_save(cr);
    cairo_translate(cr, item->x, item->y);
    cairo_move_to(cr, -before * item->w,
                  KVLI_BASELINE * item->h - (double)pango_layout_get_baseline(layout) / PANGO_SCALE);
    if (item->has_halo) {
        double x = 0;
        double y = 0;
        cairo_get_current_point(cr, &x, &y);
        set_ink(cr, KVL_INK_PAGE, 1);
        cairo_set_line_width(cr, HALO);
        pango_cairo_layout_path(cr, layout);
        cairo_stroke(cr);
        cairo_move_to(cr, x, y);
    }
    set_ink(cr, item->ink, 1);
    pango_cairo_show_layout(cr, layout);
    cairo_new_path(cr); /* the text's point must not begin the next line */
    cairo_restore(cr);
}

static void draw_items(cairo_t *cr, PangoLayout *layout, const kvl_figure *f) {
    for (size_t i = 0; i < f->n; i++) {
        const kvli_item *item = &f->items[i];
        switch (item->shape) {
        case KVLI_PATH: draw_path(cr, item); break;
        case KVLI_AREA:
            set_ink(cr, item->ink, item->opacity);
            trace(cr, item->xy, item->n);
            cairo_fill(cr);
            break;
        case KVLI_RECT:
        case KVLI_HEAT:
            set_ink(cr, item->shape == KVLI_HEAT ? KVL_INK_SERIES : item->ink, item->opacity);
            cairo_rectangle(cr, item->x, item->y, item->w, item->h);
            cairo_fill(cr);
            break;
        case KVLI_MARK: draw_mark(cr, item); break;
        case KVLI_TEXT: draw_text(cr, layout, item); break;
        }
    }
}

static kvl_status draw_on(cairo_surface_t *surface, double scale, const kvl_figure *f, const char *what,
                          kvl_err *err) {
    if (f->failed) {
        return kvl_fail_nomem(err, "figure");
    }
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_scale(cr, scale, scale);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    PangoContext *context = pango_cairo_create_context(cr);
    kvli_font_prepare(context);
    PangoLayout *layout = pango_layout_new(context);
    draw_items(cr, layout, f);
    const cairo_status_t status = cairo_status(cr);
    g_object_unref(layout);
    g_object_unref(context);
    cairo_destroy(cr);
    return status == CAIRO_STATUS_SUCCESS
               ? KVL_OK
               : kvl_fail(err, KVL_E_IO, "%s: drawing failed: %s", what, cairo_status_to_string(status));
}

static cairo_status_t append_bytes(void *ud, const unsigned char *bytes, unsigned n) {
    kvl_str *out = ud;
    kvl_str_append(out, (const char *)bytes, n);
    return out->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

kvl_status kvl_figure_write_png(kvl_str *out, const kvl_figure *f, kvl_err *err) {
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)(f->width * PNG_SCALE + 0.5), (int)(f->height * PNG_SCALE + 0.5));
    kvl_status status = draw_on(surface, PNG_SCALE, f, "PNG", err);
    if (status == KVL_OK &&
        cairo_surface_write_to_png_stream(surface, append_bytes, out) != CAIRO_STATUS_SUCCESS) {
        status = kvl_fail(err, KVL_E_IO, "PNG: encoding failed");
    }
    cairo_surface_destroy(surface);
    return status;
}

kvl_status kvl_figure_write_pdf(kvl_str *out, const kvl_figure *f, const char *title, kvl_err *err) {
    char *clean = kvli_clean(title, false);
    if (clean == NULL) {
        return kvl_fail_nomem(err, "PDF");
    }
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(
        append_bytes, out, f->width * points_per_pixel, f->height * points_per_pixel);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, clean);
    kvl_status status = draw_on(surface, points_per_pixel, f, "PDF", err);
    cairo_surface_finish(surface);
    if (status == KVL_OK && cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
        status = kvl_fail(err, KVL_E_IO, "PDF: encoding failed");
    }
    cairo_surface_destroy(surface);
    kvl_free(clean);
    return status;
}
