/* Rate and distortion: bytes that stay against nats that are lost. */
#include "report/chart_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

typedef struct rate {
    const kvl_report *r;
    size_t firsts[KVLI_MOST_SERIES];
    size_t n, n_presses;
    double full_bytes; /* of the full cache; 0: not known, then x counts KiB */
} rate;

static rate make(const kvl_content *c) {
    rate v = {.r = c->sweep};
    const kvl_report_row *full = kvli_full_row(c->sweep);
    v.n_presses = kvli_find_presses(c->sweep, v.firsts, KVLI_MOST_SERIES);
    v.n = kvl_min_size(v.n_presses, KVLI_MOST_SERIES);
    v.full_bytes = full != NULL ? (double)full->kv_bytes : 0;
    return v;
}

static bool is_known(const kvl_report_row *row) {
    return !row->is_baseline && row->kv_bytes != 0 && isfinite(row->delta.mean);
}

static bool has(const kvl_content *c) {
    const rate v = make(c);
    for (size_t k = 0; k < v.n; k++) {
        for (size_t i = v.firsts[k]; i < kvli_group_end(v.r, v.firsts[k]); i++) {
            if (is_known(&v.r->rows[i]) && v.r->rows[i].has_evicted) {
                return true;
            }
        }
    }
    return false;
}

/* Percent of the full cache, or KiB. */
static double rate_of(const rate *v, const kvl_report_row *row) {
    return v->full_bytes > 0 ? 100 * (double)row->kv_bytes / v->full_bytes : (double)row->kv_bytes / 1024;
}

static void find_axes(const rate *v, kvl_axis *x, kvl_axis *y, kvl_lang lang) {
    kvli_range across = KVLI_NO_RANGE;
    kvli_range up = {0, 0};
    for (size_t k = 0; k < v->n; k++) {
        for (size_t i = v->firsts[k]; i < kvli_group_end(v->r, v->firsts[k]); i++) {
            const kvl_report_row *row = &v->r->rows[i];
            if (is_known(row)) {
                kvli_widen(&across, rate_of(v, row));
                kvli_widen(&up, row->delta.mean);
                if (row->delta.has_interval) {
                    const double most = 3 * fabs(row->delta.mean) + 0.1; /* wider ones are cut */
                    kvli_widen(&up, fmax(row->delta.low, -most));
                    kvli_widen(&up, fmin(row->delta.high, most));
                }
            }
        }
    }
    const bool is_log = across.low > 0 && across.high > 12 * across.low;
    const kvli_range wide = kvli_with_margin(across, 0.04);
    const kvli_range tall = kvli_with_margin(up, 0.06);
    *x =
        (kvl_axis){.min = is_log ? across.low / 1.1 : wide.low,
                   .max = is_log ? across.high * 1.1 : wide.high,
                   .is_log = is_log,
                   .label = v->full_bytes > 0 ? kvl_word(lang, "cache at the end, % of the full one",
                                                         "结束时的缓存，占完整缓存的 %")
                                              : kvl_word(lang, "cache at the end, KiB", "结束时的缓存，KiB")};
    *y = (kvl_axis){.min = tall.low,
                    .max = tall.high,
                    .label = kvl_word(lang, "nats per token lost against the full cache",
                                      "相对完整缓存的损失，nats/token")};
}

static double height(const kvl_content *c, double width) {
    const rate v = make(c);
    kvl_legend_item items[KVLI_MOST_SERIES + 1];
    const size_t n = kvli_press_legend(items, v.r, v.firsts, v.n, false, KVL_EN);
    return (kvli_is_narrow(width) ? 270 : 380) + kvli_legend_room(width, items, n) +
           kvli_rest_height(v.n, v.n_presses);
}

static int by_bytes(const void *a, const void *b) {
    const kvl_report_row *x = *(const kvl_report_row *const *)a;
    const kvl_report_row *y = *(const kvl_report_row *const *)b;
    return (x->kv_bytes > y->kv_bytes) - (x->kv_bytes < y->kv_bytes);
}

static void put_tip(kvl_str *out, const rate *v, const kvl_report_row *row, kvl_lang lang) {
    kvli_row_tip(out, row, lang);
    KVL_SAY(out, lang, "\n%.1f KiB at the end", "\n结束时 %.1f KiB", (double)row->kv_bytes / 1024);
    if (v->full_bytes > 0) {
        KVL_SAY(out, lang, ", %.1f %% of the full cache", "，完整缓存的 %.1f %%", rate_of(v, row));
    }
}

/* Points of a press by rising bytes. */
static void draw_press(const rate *v, const kvl_plot *p, size_t k, kvl_lang lang) {
    const size_t end = kvli_group_end(v->r, v->firsts[k]);
    const kvl_report_row **rows = kvl_calloc(end - v->firsts[k], sizeof *rows);
    const kvl_ink ink = kvli_series_ink(k);
    size_t n = 0;
    for (size_t i = v->firsts[k]; i < end && rows != NULL; i++) {
        if (is_known(&v->r->rows[i])) {
            rows[n++] = &v->r->rows[i];
        }
    }
    if (n > 1) {
        qsort(rows, n, sizeof *rows, by_bytes);
    }
    for (size_t i = 0; i < n; i++) {
        const double x = kvl_plot_x(p, rate_of(v, rows[i]));
        const double y = kvl_plot_y(p, rows[i]->delta.mean);
        kvl_str tip = {0};
        put_tip(&tip, v, rows[i], lang);
        if (rows[i]->delta.has_interval) {
            kvli_bar(p->figure, x, kvl_plot_y(p, rows[i]->delta.low), kvl_plot_y(p, rows[i]->delta.high),
                     ink);
        }
        if (i > 0) {
            kvl_figure_line(p->figure, kvl_plot_x(p, rate_of(v, rows[i - 1])),
                            kvl_plot_y(p, rows[i - 1]->delta.mean), x, y,
                            (kvl_stroke){.ink = ink, .width = 1.8});
        }
        kvl_figure_mark(p->figure, x, y, 3.4, rows[i]->has_evicted ? kvli_series_mark(k) : KVL_MARK_RING, ink,
                        kvl_str_text(&tip));
        kvl_str_free(&tip);
    }
    kvl_free(rows);
}

static void draw(kvl_figure *f, const kvl_content *c, kvl_lang lang) {
    const rate v = make(c);
    const double w = kvl_figure_width(f) - 2 * KVLI_PAD;
    const double bottom = kvl_figure_height(f) - KVLI_PAD - kvli_draw_rest(f, v.n, v.n_presses, lang);
    kvl_legend_item items[KVLI_MOST_SERIES + 1];
    kvl_axis x, y;
    kvl_plot p;
    const double top = KVLI_PAD + kvl_legend(f, KVLI_PAD, KVLI_PAD, w, items,
                                             kvli_press_legend(items, v.r, v.firsts, v.n, false, lang));
    find_axes(&v, &x, &y, lang);
    kvl_plot_begin(&p, f, KVLI_PAD, top, w, bottom - top, x, y);
    for (size_t k = 0; k < v.n; k++) {
        draw_press(&v, &p, k, lang);
    }
}

/* The row of least loss, and that of fewest bytes. */
static void describe(kvl_str *out, const kvl_content *c, kvl_lang lang) {
    const rate v = make(c);
    const kvl_report_row *least = NULL;
    const kvl_report_row *smallest = NULL;
    for (size_t k = 0; k < v.n; k++) {
        for (size_t i = v.firsts[k]; i < kvli_group_end(v.r, v.firsts[k]); i++) {
            const kvl_report_row *row = &v.r->rows[i];
            if (is_known(row) && row->has_evicted) {
                least = least == NULL || row->delta.mean < least->delta.mean ? row : least;
                smallest = smallest == NULL || row->kv_bytes < smallest->kv_bytes ? row : smallest;
            }
        }
    }
    kvl_str_puts(
        out, kvl_word(lang,
                      "Loss in nats per token against the memory that keys and values still take at "
                      "the end, one line per press.",
                      "以结束时键与值仍占用的内存为横轴、每 token 损失（nats）为纵轴，每种压缩规则一条线。"));
    const kvl_report_row *rows[] = {least, smallest};
    for (size_t i = 0; i < 2 && rows[i] != NULL; i++) {
        kvl_str_puts(out, i == 0 ? kvl_word(lang, " Least loss: ", "损失最小：")
                                 : kvl_word(lang, "; fewest bytes: ", "；字节最少："));
        KVL_SAY(out, lang, "%s at keep %g with %.1f KiB, ", "%s 保留率 %g，%.1f KiB，", rows[i]->press,
                rows[i]->keep_ratio, (double)rows[i]->kv_bytes / 1024);
        kvli_put_estimate(out, &rows[i]->delta);
    }
    kvl_str_puts(out, kvl_word(lang, ".", "。"));
}

const kvl_chart kvli_chart_rate = {.id = "rate",
                                   .title_en = "Bytes kept against nats lost",
                                   .title_zh = "保留的字节与损失",
                                   .has = has,
                                   .height = height,
                                   .draw = draw,
                                   .describe = describe};
