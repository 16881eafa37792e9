/* Sorting, quantiles and ranks. */
#include "stats/order.h"

#include "base/rng.h"

#include <math.h>

static void insert(double *x, size_t n) {
    for (size_t i = 1; i < n; i++) {
        double moved = x[i];
        size_t j = i;
        for (; j > 0 && x[j - 1] > moved; j--) {
            x[j] = x[j - 1];
        }
        x[j] = moved;
    }
}

/* Quicksort with a drawn pivot, so that no order of the numbers is a bad one; several times as fast as a
 * qsort that calls its comparison. */
void kvl_sort(double *x, size_t n) {
    while (n > 16) {
        const double pivot = x[kvl_rng_draw(0, 0, n) % (n - 1)]; /* not the last: both sides get some */
        size_t i = 0;
        size_t j = n - 1;
        for (;;) {
            while (x[i] < pivot) {
                i++;
            }
            while (x[j] > pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            double swapped = x[i];
            x[i++] = x[j];
            x[j--] = swapped;
        }
        /* x[..= j] <= pivot <= x[j + 1 ..]; the smaller side first: depth log2 n */
        const size_t n_left = j + 1;
        if (n_left <= n - n_left) {
            kvl_sort(x, n_left);
            x += n_left;
            n -= n_left;
        } else {
            kvl_sort(x + n_left, n - n_left);
            n = n_left;
        }
    }
    insert(x, n);
}

double kvl_quantile(const double *sorted, size_t n, double q) {
    if (n == 0) {
        return (double)NAN;
    }
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    double part = at - (double)i;
    return part == 0 || i + 1 == n ? sorted[i] : sorted[i] + part * (sorted[i + 1] - sorted[i]);
}

/* Rank of x[i] among all, less the mean rank. */
static double centred_rank(const double *x, size_t n, size_t i) {
    size_t n_smaller = 0;
    size_t n_larger = 0;
    for (size_t j = 0; j < n; j++) {
        n_smaller += x[j] < x[i] ? 1 : 0;
        n_larger += x[j] > x[i] ? 1 : 0;
    }
    return 0.5 * ((double)n_smaller - (double)n_larger);
}

double kvl_spearman(const double *x, const double *y, size_t n) {
    double xx = 0;
    double yy = 0;
    double xy = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i]) || isnan(y[i])) {
            return (double)NAN;
        }
        double a = centred_rank(x, n, i);
        double b = centred_rank(y, n, i);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
}
