/* What charts share. */
#include "report/chart_int.h"

#include <math.h>

bool kvli_is_narrow(double width) { return width < 500; }

size_t kvli_find_presses(const kvl_report *r, size_t *firsts, size_t n_most) {
    size_t n = 0;
    for (size_t i = 0; r != NULL && i < r->n_rows; i = kvli_group_end(r, i)) {
        if (!r->rows[i].is_baseline) {
            if (n < n_most) {
                firsts[n] = i;
            }
            n++;
        }
    }
    return n;
}

const kvl_report_row *kvli_full_row(const kvl_report *r) {
    for (size_t i = 0; r != NULL && i < r->n_rows; i++) {
        if (r->rows[i].is_baseline && isfinite(r->rows[i].ppl)) {
            return &r->rows[i];
        }
    }
    return NULL;
}

kvl_ink kvli_series_ink(size_t i) { return (kvl_ink)(KVL_INK_SERIES + (int)(i % KVL_N_SERIES)); }

kvl_mark kvli_series_mark(size_t i) {
    static const kvl_mark marks[] = {KVL_MARK_DOT, KVL_MARK_SQUARE, KVL_MARK_TRIANGLE, KVL_MARK_DIAMOND};
    return marks[i % 4];
}

size_t kvli_press_legend(kvl_legend_item items[KVLI_MOST_SERIES + 1], const kvl_report *r,
                         const size_t *firsts, size_t n, bool has_full, kvl_lang lang) {
    for (size_t i = 0; i < n; i++) {
        items[i] = (kvl_legend_item){.name = r->rows[firsts[i]].press,
                                     .ink = kvli_series_ink(i),
                                     .mark = kvli_series_mark(i),
                                     .has_line = true};
    }
    if (has_full) {
        items[n] = (kvl_legend_item){.name = kvl_word(lang, "full cache", "完整缓存"),
                                     .ink = KVL_INK_SOFT,
                                     .has_line = true,
                                     .is_dashed = true};
    }
    return n + has_full;
}

double kvli_legend_room(double width, const kvl_legend_item *items, size_t n) {
    kvl_figure *f = NULL;
    double height = 0;
    if (kvl_figure_create(&f, width, 1, NULL) == KVL_OK) {
        height = kvl_legend_height(f, width - 2 * KVLI_PAD, items, n);
    }
    kvl_figure_destroy(f);
    return height;
}

double kvli_rest_height(size_t n, size_t n_all) { return n_all > n ? 18 : 0; }

double kvli_draw_rest(kvl_figure *f, size_t n, size_t n_all, kvl_lang lang) {
    const double height = kvli_rest_height(n, n_all);
    kvl_str text = {0};
    if (height > 0) {
        KVL_SAY(&text, lang, "the first %zu of %zu presses", "仅前 %zu 种压缩规则，共 %zu 种", n, n_all);
        kvl_figure_text(f, KVLI_PAD, kvl_figure_height(f) - KVLI_PAD - height / 2 + 2, KVLI_SMALL,
                        KVL_ALIGN_LEFT, KVL_INK_SOFT, 0, kvl_str_text(&text));
    }
    kvl_str_free(&text);
    return height;
}

void kvli_bar(kvl_figure *f, double x, double y0, double y1, kvl_ink ink) {
    const kvl_stroke s = {.ink = ink, .width = 1.2, .opacity = 0.6};
    kvl_figure_line(f, x, y0, x, y1, s);
    kvl_figure_line(f, x - 3.5, y0, x + 3.5, y0, s);
    kvl_figure_line(f, x - 3.5, y1, x + 3.5, y1, s);
}

void kvli_put_estimate(kvl_str *out, const kvl_estimate *e) {
    if (!isfinite(e->mean)) {
        kvl_str_puts(out, "–");
        return;
    }
    const bool has_interval = e->has_interval && isfinite(e->low) && isfinite(e->high);
    const int n_digits = fabs(e->mean) < 0.1 ? 4 : 3;
    kvl_str_printf(out, "%+.*f", n_digits, e->mean);
    if (has_interval) {
        kvl_str_printf(out, " [%+.*f, %+.*f]", n_digits, e->low, n_digits, e->high);
    }
}

void kvli_row_tip(kvl_str *out, const kvl_report_row *row, kvl_lang lang) {
    KVL_SAY(out, lang, "%s, keep %g: perplexity %.2f\n", "%s，保留率 %g：困惑度 %.2f\n", row->press,
            row->keep_ratio, row->ppl);
    kvl_str_puts(out,
                 kvl_word(lang, "nats per token above the full cache: ", "比完整缓存多（nats/token）："));
    kvli_put_estimate(out, &row->delta);
    if (!row->has_evicted && !row->is_baseline) {
        kvl_str_puts(out, kvl_word(lang, "\nnothing was evicted", "\n没有驱逐任何条目"));
    }
}

void kvli_widen(kvli_range *r, double value) {
    if (isfinite(value)) {
        r->low = fmin(r->low, value);
        r->high = fmax(r->high, value);
    }
}

kvli_range kvli_with_margin(kvli_range r, double share) {
    if (r.low > r.high) {
        return (kvli_range){0, 1};
    }
    const double margin = r.high > r.low ? share * (r.high - r.low) : fmax(fabs(r.low), 1) * share;
    return (kvli_range){r.low - margin, r.high + margin};
}
