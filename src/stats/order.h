/* Order: sorting, quantiles, ranks. */
#ifndef KVL_STATS_ORDER_H
#define KVL_STATS_ORDER_H

#include "base/compiler.h"

/* Sorts n numbers (no NaN) upwards, in place. */
void kvli_sort(double *x, size_t n);

/* The q-th quantile, q in [0, 1], of n sorted numbers: linear between order statistics at q (n-1) (type 7 of
 * Hyndman and Fan 1996, numpy's and R's default). NAN for n = 0. */
double kvl_quantile(const double *sorted, size_t n, double q);

#endif
