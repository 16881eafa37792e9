/* Least squares of a few columns. */
#ifndef KVL_STATS_REGRESSION_H
#define KVL_STATS_REGRESSION_H

#include "base/status.h"

enum { KVL_MAX_COLUMNS = 16 };

typedef struct kvl_fit {
    double coefficients[KVL_MAX_COLUMNS]; /* of each column */
    double r2;     /* 1 - residual squares / squares about the mean of y; NAN for constant y */
    double r2_loo; /* the same with residuals of the leave-one-out predictions: what the columns foretell */
} kvl_fit;

/* Fits y = x b by QR, in double. There is no intercept but a column of ones.
 *   fit   out
 *   loo   [n] out, may be NULL: prediction of y[i] by the fit of all other rows; NAN (and r2_loo too) for a
 *         row without which the columns would be dependent
 *   x     [n, k] rows, 1 <= k <= KVL_MAX_COLUMNS, n > k
 *   y     [n]
 * Errors: E_USAGE for other sizes, E_CHECK for a column that depends on those before it (what is left of it
 * is below 1e-10 of its length) or numbers that are not finite, E_NOMEM. */
kvl_status kvl_least_squares(kvl_fit *fit, double *loo, const double *x, const double *y, size_t n, size_t k,
                             kvl_err *err) KVL_MUST_USE;

#endif
