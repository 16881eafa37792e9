/* Order: sorting, quantiles, ranks. */
#ifndef KVL_STATS_ORDER_H
#define KVL_STATS_ORDER_H

#include "base/compiler.h"

/* Sorts n numbers (no NaN) upwards, in place. */
void kvl_sort(double *x, size_t n);

/* The q-th quantile, q in [0, 1], of n sorted numbers: linear between order statistics at q (n-1) (type 7 of
 * Hyndman and Fan 1996, numpy's and R's default). NAN for n = 0. */
double kvl_quantile(const double *sorted, size_t n, double q);

/* Spearman's rank correlation: Pearson's of the ranks, ties at their mean rank. NAN with fewer than 2 pairs,
 * where either side is constant, or where a number is NaN. Takes n^2 comparisons: for up to some 10^4 pairs.
 *   x, y [n] */
double kvl_spearman(const double *x, const double *y, size_t n);

#endif
