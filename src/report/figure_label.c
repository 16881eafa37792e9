/* Where texts stand, and where there is room for one more. */
#include "report/figure_int.h"

#include <math.h>

kvli_box kvli_text_box(const kvli_item *item) {
    const double half = 0.6 * item->h;
    const double before = item->align == KVL_ALIGN_LEFT ? 0 : item->align == KVL_ALIGN_MIDDLE ? 0.5 : 1;
    const double from = -before * item->w;
    return (kvli_box){.left = item->x + from,
                      .right = item->x + from + item->w,
                      .top = item->y - half,
                      .bottom = item->y + half,
                      .text = item->text};
}

size_t kvli_figure_texts(const kvl_figure *f, kvli_box *boxes, size_t n_most) {
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->items[i].shape == KVLI_TEXT) {
            if (n < n_most) {
                boxes[n] = kvli_text_box(&f->items[i]);
            }
            n++;
        }
    }
    return n;
}

static bool overlap(kvli_box a, kvli_box b) {
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/* Whether a line crosses a box (clipped as by Liang and Barsky). */
static bool crosses(kvli_box b, const double *xy) {
    const double d[] = {xy[2] - xy[0], xy[3] - xy[1]};
    const double low[] = {b.left - xy[0], b.top - xy[1]};
    const double high[] = {b.right - xy[0], b.bottom - xy[1]};
    double from = 0;
    double to = 1;
    for (size_t i = 0; i < 2; i++) {
        if (d[i] == 0) {
            if (low[i] > 0 || high[i] < 0) {
                return false;
            }
        } else {
            from = fmax(from, fmin(low[i] / d[i], high[i] / d[i]));
            to = fmin(to, fmax(low[i] / d[i], high[i] / d[i]));
        }
    }
    return from <= to;
}

/* How much of the data a text in this box would hide; HUGE_VAL: it would stand on another text. */
static double cost_of(const kvl_figure *f, kvli_box b) {
    double cost = 0;
    for (size_t i = 0; i < f->n; i++) {
        const kvli_item *item = &f->items[i];
        if (item->shape == KVLI_TEXT && overlap(b, kvli_text_box(item))) {
            return HUGE_VAL;
        }
        if (item->shape == KVLI_MARK) {
            const kvli_box mark = {.left = item->x - item->w,
                                   .right = item->x + item->w,
                                   .top = item->y - item->w,
                                   .bottom = item->y + item->w};
            cost += overlap(b, mark) ? 5 : 0;
        } else if (item->shape == KVLI_PATH && item->ink != KVL_INK_GRID) {
            for (size_t k = 0; k + 1 < item->n; k++) {
                cost += crosses(b, item->xy + 2 * k) ? 1 : 0;
            }
        }
    }
    return cost;
}

bool kvl_figure_label(kvl_figure *f, double x, double y, double gap, double size, kvl_ink ink,
                      const double box[4], const char *text) {
    static const double directions[][2] = {{0, -1}, {1, 0},   {-1, 0}, {0, 1},
                                           {1, -1}, {-1, -1}, {1, 1},  {-1, 1}};
    const double half_w = kvl_figure_measure(f, size, text) / 2;
    const double half_h = 0.6 * size;
    double best = HUGE_VAL;
    double at[2] = {0, 0};
    bool is_far = false;
    for (size_t ring = 0; ring < 3; ring++) {
        for (size_t i = 0; i < 8; i++) {
            const double away = gap + 14 * (double)ring;
            double cx = x + directions[i][0] * (away + half_w);
            const double cy = y + directions[i][1] * (away + half_h);
            cx = fmin(fmax(cx, box[0] + half_w), box[2] - half_w);
            const kvli_box b = {
                .left = cx - half_w, .right = cx + half_w, .top = cy - half_h, .bottom = cy + half_h};
            const bool is_inside = b.left >= box[0] && b.top >= box[1] && b.bottom <= box[3];
            const double cost = is_inside ? cost_of(f, b) + 0.1 * (double)i + 0.6 * (double)ring : HUGE_VAL;
            if (cost < best) {
                best = cost;
                at[0] = cx;
                at[1] = cy;
                is_far = ring > 0;
            }
        }
    }
    if (isfinite(best)) {
        const kvli_item item = {
            .x = at[0], .y = at[1], .h = size, .align = KVL_ALIGN_MIDDLE, .ink = ink, .has_halo = true};
        if (is_far) { /* a line shows whose name it is */
            const double to_x = fmin(fmax(x, at[0] - half_w), at[0] + half_w);
            const double to_y = fmin(fmax(y, at[1] - half_h), at[1] + half_h);
            const double share = fmin(gap / fmax(hypot(to_x - x, to_y - y), gap), 1);
            kvl_figure_line(f, x + share * (to_x - x), y + share * (to_y - y), to_x, to_y,
                            (kvl_stroke){.ink = KVL_INK_SOFT, .width = 1, .opacity = 0.7});
        }
        (void)kvli_add_text(f, item, 0, text);
    }
    return isfinite(best);
}
