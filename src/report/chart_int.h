/* What charts share: series of a sweep, error bars, sizes. */
#ifndef KVL_REPORT_CHART_INT_H
#define KVL_REPORT_CHART_INT_H

#include "report/report_int.h"
#include "report/section.h"
#include "report/terms.h"

enum { KVLI_PAD = 4, KVLI_SMALL = 11, KVLI_SIZE = 12, KVLI_MOST_SERIES = KVL_N_SERIES };

bool kvli_is_narrow(double width);

/* First rows of the presses of a report, at most n_most; how many presses there are. */
size_t kvli_find_presses(const kvl_report *r, size_t *firsts, size_t n_most);
/* The first baseline row whose perplexity is known; NULL: none. */
const kvl_report_row *kvli_full_row(const kvl_report *r);

kvl_ink kvli_series_ink(size_t i);
kvl_mark kvli_series_mark(size_t i);
/* Legend of the presses that begin at firsts [n], n <= KVLI_MOST_SERIES, after which comes, if it has one,
 * the full cache. Returns how many items. */
size_t kvli_press_legend(kvl_legend_item items[KVLI_MOST_SERIES + 1], const kvl_report *r,
                         const size_t *firsts, size_t n, bool has_full, kvl_lang lang);
/* Height of a legend before there is a figure. */
double kvli_legend_room(double width, const kvl_legend_item *items, size_t n);

/* Says at the foot of a figure that only n of n_all presses are drawn. Returns the height that it takes, 0
 * where all are. */
double kvli_draw_rest(kvl_figure *f, size_t n, size_t n_all, kvl_lang lang);
double kvli_rest_height(size_t n, size_t n_all);

/* An interval from y0 to y1 at x. */
void kvli_bar(kvl_figure *f, double x, double y0, double y1, kvl_ink ink);
/* What is shown when a row is pointed at: press, keep ratio, perplexity, loss with its interval. */
void kvli_row_tip(kvl_str *out, const kvl_report_row *row, kvl_lang lang);
/* "+0.384 [+0.31, +0.45]", or without interval. */
void kvli_put_estimate(kvl_str *out, const kvl_estimate *e);

/* A range that grows by what is put in; what is not finite does not count. */
typedef struct kvli_range {
    double low, high;
} kvli_range;
#define KVLI_NO_RANGE                                                                                        \
    { HUGE_VAL, -HUGE_VAL }
void kvli_widen(kvli_range *r, double value);
/* The same with `share` of its width more at both ends; 0 to 1 where nothing was put in. */
kvli_range kvli_with_margin(kvli_range r, double share);

/* Axes of perplexity by keep ratio that hold the presses that begin at firsts [n] and the full cache; without
 * labels. */
void kvli_curve_axes(kvl_axis *x, kvl_axis *y, const kvl_report *r, const size_t *firsts, size_t n);
/* The interval of a row's difference as perplexity around the row's own. */
double kvli_ppl_low(const kvl_report_row *row);
double kvli_ppl_high(const kvl_report_row *row);
/* A press's line with a mark on each row, hollow where nothing was evicted, all moved by dx. */
void kvli_curve_line(const kvl_plot *p, const kvl_report *r, size_t first, size_t series, double dx,
                     double radius, kvl_lang lang);
void kvli_curve_full(const kvl_plot *p, const kvl_report *r);
/* The rows of highest and lowest perplexity among those of these presses that evicted; n_rows: none did. */
void kvli_curve_extremes(const kvl_report *r, const size_t *firsts, size_t n, size_t *worst, size_t *best);

#endif
