/* The curve for terminals: lines of Unicode characters. */
#ifndef KVL_REPORT_PLOT_H
#define KVL_REPORT_PLOT_H

#include "report/report.h"

enum { KVL_PLOT_LEAST_WIDTH = 48, KVL_PLOT_MOST_WIDTH = 160 };

/* Appends perplexity against the keep ratio with the axes of the chart: curves, intervals (dotted) and the
 * full cache (dashed) in Braille dots, two by four in a character; a letter or sign on each row, of which the
 * legend names the press; the worst and the best named. All characters are one column wide in every terminal,
 * also in those that show signs of ambiguous width as two; lines have at most `width` columns, which is taken
 * from 48 to 160. Names are shown as printable ASCII. has_color: with ANSI colours. Nothing where no press
 * has a row. */
void kvl_plot_curve(kvl_str *out, const kvl_report *r, size_t width, bool has_color);

#endif
