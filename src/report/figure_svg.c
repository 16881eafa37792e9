/* A figure as SVG: text stays text, colours are variables of the page. */
#include "report/figure_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

typedef struct writer {
    kvl_str *out;
    bool is_file; /* a file of its own has no page to take colours from */
} writer;

static void put_escaped(kvl_str *out, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': kvl_str_puts(out, "&amp;"); break;
        case '<': kvl_str_puts(out, "&lt;"); break;
        case '>': kvl_str_puts(out, "&gt;"); break;
        case '"': kvl_str_puts(out, "&quot;"); break;
        default: kvl_str_append(out, text, 1);
        }
    }
}

/* The same of a text that nobody has looked at yet. */
static void put_foreign(kvl_str *out, const char *text) {
    char *clean = kvli_clean(text, false);
    if (clean != NULL) {
        put_escaped(out, clean);
    }
    out->failed = out->failed || clean == NULL;
    kvl_free(clean);
}

/* Two decimals at most, with a point whatever the locale. */
static void put_number(kvl_str *out, double value) {
    const long long hundredths = llround(fmin(fmax(value, -1e7), 1e7) * 100);
    const long long rest = llabs(hundredths) % 100;
    kvl_str_printf(out, "%s%lld", hundredths < 0 ? "-" : "", llabs(hundredths) / 100);
    if (rest != 0) {
        kvl_str_printf(out, rest % 10 == 0 ? ".%lld" : ".%02lld", rest % 10 == 0 ? rest / 10 : rest);
    }
}

static void put_length(kvl_str *out, const char *name, double value) {
    kvl_str_printf(out, " %s=\"", name);
    put_number(out, value);
    kvl_str_puts(out, "\"");
}

static void put_colour(const writer *w, const char *name, kvl_ink ink) {
    const kvli_colour c = kvli_colour_of(ink);
    if (w->is_file) {
        kvl_str_printf(w->out, " %s=\"#%06x\"", name, (unsigned)c.rgb);
    } else {
        kvl_str_printf(w->out, " %s=\"var(%s,#%06x)\"", name, c.variable, (unsigned)c.rgb);
    }
}

static void put_points(kvl_str *out, const double *xy, size_t n) {
    kvl_str_puts(out, " points=\"");
    for (size_t i = 0; i < 2 * n; i++) {
        kvl_str_puts(out, i == 0 ? "" : i % 2 == 0 ? " " : ",");
        put_number(out, xy[i]);
    }
    kvl_str_puts(out, "\"");
}

/* Ends an element, with its tip in it. */
static void put_end(kvl_str *out, const char *tag, const char *tip) {
    if (tip == NULL) {
        kvl_str_puts(out, "/>\n");
        return;
    }
    kvl_str_puts(out, "><title>");
    put_escaped(out, tip);
    kvl_str_printf(out, "</title></%s>\n", tag);
}

static void put_path(const writer *w, const kvli_item *item) {
    kvl_str_puts(w->out, "<polyline fill=\"none\" stroke-linejoin=\"round\"");
    put_points(w->out, item->xy, item->n);
    put_colour(w, "stroke", item->ink);
    put_length(w->out, "stroke-width", item->stroke.width);
    if (item->stroke.is_dashed) {
        kvl_str_puts(w->out, " stroke-dasharray=\"6 4\"");
    }
    if (item->stroke.opacity > 0 && item->stroke.opacity < 1) {
        put_length(w->out, "stroke-opacity", item->stroke.opacity);
    }
    put_end(w->out, "polyline", NULL);
}

static void put_area(const writer *w, const kvli_item *item) {
    kvl_str_puts(w->out, "<polygon");
    put_points(w->out, item->xy, item->n);
    put_colour(w, "fill", item->ink);
    put_length(w->out, "fill-opacity", item->opacity);
    put_end(w->out, "polygon", NULL);
}

static void put_rect(const writer *w, const kvli_item *item) {
    kvl_str_puts(w->out, "<rect");
    put_length(w->out, "x", item->x);
    put_length(w->out, "y", item->y);
    put_length(w->out, "width", fmax(item->w, 0));
    put_length(w->out, "height", fmax(item->h, 0));
    put_colour(w, "fill", item->shape == KVLI_HEAT ? KVL_INK_SERIES : item->ink);
    if (item->opacity < 1) {
        put_length(w->out, "fill-opacity", item->opacity);
    }
    put_end(w->out, "rect", item->text);
}

static void put_mark(const writer *w, const kvli_item *item) {
    double xy[2 * KVLI_MARK_POINTS];
    size_t n = 0;
    kvli_mark_outline(xy, &n, item->mark, item->x, item->y, item->w);
    if (n == 0) {
        kvl_str_puts(w->out, "<circle");
        put_length(w->out, "cx", item->x);
        put_length(w->out, "cy", item->y);
        put_length(w->out, "r", item->w);
    } else if (item->mark == KVL_MARK_CROSS) {
        kvl_str_puts(w->out, "<path d=\"");
        for (size_t i = 0; i < 4; i++) {
            kvl_str_puts(w->out, i % 2 == 0 ? "M" : "L");
            put_number(w->out, xy[2 * i]);
            kvl_str_puts(w->out, " ");
            put_number(w->out, xy[2 * i + 1]);
        }
        kvl_str_puts(w->out, "\"");
    } else {
        kvl_str_puts(w->out, "<polygon");
        put_points(w->out, xy, n);
    }
    if (item->mark == KVL_MARK_RING || item->mark == KVL_MARK_CROSS) {
        put_colour(w, "stroke", item->ink);
        kvl_str_puts(w->out, " fill=\"none\" stroke-width=\"1.6\" pointer-events=\"all\"");
    } else {
        put_colour(w, "fill", item->ink);
    }
    put_end(w->out, n == 0 ? "circle" : item->mark == KVL_MARK_CROSS ? "path" : "polygon", item->text);
}

static void put_text(const writer *w, const kvli_item *item) {
    static const char *const anchors[] = {"start", "middle", "end"};
    kvl_str_puts(w->out, "<text");
    put_length(w->out, "x", item->x);
    put_length(w->out, "y", item->y + KVLI_BASELINE * item->h);
    put_length(w->out, "font-size", item->h);
    put_length(w->out, "textLength", item->w);
    kvl_str_printf(w->out, " lengthAdjust=\"spacingAndGlyphs\" text-anchor=\"%s\"", anchors[item->align]);
    put_colour(w, "fill", item->ink);
    if (item->has_halo) {
        put_colour(w, "stroke", KVL_INK_PAGE);
        kvl_str_puts(w->out, " stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
    }
    kvl_str_puts(w->out, ">");
    put_escaped(w->out, item->text);
    kvl_str_puts(w->out, "</text>\n");
}

static void put_item(const writer *w, const kvli_item *item) {
    switch (item->shape) {
    case KVLI_PATH: put_path(w, item); break;
    case KVLI_AREA: put_area(w, item); break;
    case KVLI_RECT:
    case KVLI_HEAT: put_rect(w, item); break;
    case KVLI_MARK: put_mark(w, item); break;
    case KVLI_TEXT: put_text(w, item); break;
    }
}

static void put_head(const writer *w, const kvl_figure *f, const char *id, const char *title,
                     const char *description) {
    kvl_str_puts(w->out, w->is_file ? "<svg xmlns=\"http://www.w3.org/2000/svg\"" : "<svg");
    if (w->is_file) {
        put_length(w->out, "width", f->width);
        put_length(w->out, "height", f->height);
    }
    kvl_str_puts(w->out, " viewBox=\"0 0 ");
    put_number(w->out, f->width);
    kvl_str_puts(w->out, " ");
    put_number(w->out, f->height);
    kvl_str_printf(w->out, "\" role=\"img\" aria-labelledby=\"%s-title", id);
    kvl_str_printf(w->out, description != NULL ? " %s-desc\"" : "\"", id);
    kvl_str_puts(w->out, " font-family=\"'DejaVu Sans', system-ui, sans-serif\">\n");
    kvl_str_printf(w->out, "<title id=\"%s-title\">", id);
    put_foreign(w->out, title);
    kvl_str_puts(w->out, "</title>\n");
    if (description != NULL) {
        kvl_str_printf(w->out, "<desc id=\"%s-desc\">", id);
        put_foreign(w->out, description);
        kvl_str_puts(w->out, "</desc>\n");
    }
}

static kvl_status write_svg(writer w, const kvl_figure *f, const char *id, const char *title,
                            const char *description, kvl_err *err) {
    put_head(&w, f, id, title, description);
    if (w.is_file) {
        kvl_str_puts(w.out, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    }
    for (size_t i = 0; i < f->n; i++) {
        put_item(&w, &f->items[i]);
    }
    kvl_str_puts(w.out, "</svg>\n");
    return f->failed ? kvl_fail_nomem(err, "figure") : kvl_str_check(w.out, "SVG", err);
}

kvl_status kvl_figure_write_svg(kvl_str *out, const kvl_figure *f, const char *id, const char *title,
                                const char *description, kvl_err *err) {
    return write_svg((writer){.out = out}, f, id, title, description, err);
}

kvl_status kvl_figure_write_svg_file(kvl_str *out, const kvl_figure *f, const char *title, kvl_err *err) {
    return write_svg((writer){.out = out, .is_file = true}, f, "figure", title, NULL, err);
}
