/* Sorting and quantiles. */
#include "stats/order.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

void kvli_sort(double *x, size_t n) { qsort(x, n, sizeof *x, compare); }

double kvl_quantile(const double *sorted, size_t n, double q) {
    if (n == 0) {
        return NAN;
    }
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    double part = at - (double)i;
    return part == 0 || i + 1 == n ? sorted[i] : sorted[i] + part * (sorted[i + 1] - sorted[i]);
}
