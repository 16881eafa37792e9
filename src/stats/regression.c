/* Least squares by modified Gram-Schmidt with a second pass, which keeps the columns of Q orthogonal to
 * rounding; hat values are then sums of squares of rows of Q. */
#include "stats/regression.h"

#include "base/alloc.h"

#include <math.h>

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Column j of q [k, n] becomes orthonormal to those before it; r [k, k] takes the coefficients. */
static kvl_status orthogonalise(double *q, double *r, size_t n, size_t k, size_t j, kvl_err *err) {
    double *column = q + j * n;
    const double length = sqrt(dot(column, column, n));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < j; i++) {
            double share = dot(q + i * n, column, n);
            r[i * k + j] += share;
            for (size_t row = 0; row < n; row++) {
                column[row] -= share * q[i * n + row];
            }
        }
    }
    const double left = sqrt(dot(column, column, n));
    if (!isfinite(left) || !(left > 1e-10 * length)) {
        return kvl_fail(err, KVL_E_CHECK,
                        "least squares: expected independent finite columns, found column %zu with %g of its "
                        "length beyond the columns before it",
                        j, length > 0 ? left / length : 0);
    }
    r[j * k + j] = left;
    for (size_t row = 0; row < n; row++) {
        column[row] /= left;
    }
    return KVL_OK;
}

/* Residuals in place of y, coefficients by back substitution. */
static void solve(double *coefficients, double *y, const double *q, const double *r, size_t n, size_t k) {
    for (size_t j = 0; j < k; j++) {
        coefficients[j] = 0;
    }
    for (int pass = 0; pass < 2; pass++) { /* the second takes what rounding left of the first */
        double share[KVL_MAX_COLUMNS];
        for (size_t j = 0; j < k; j++) {
            share[j] = dot(q + j * n, y, n);
            for (size_t row = 0; row < n; row++) {
                y[row] -= share[j] * q[j * n + row];
            }
        }
        for (size_t j = k; j-- > 0;) {
            for (size_t i = j + 1; i < k; i++) {
                share[j] -= r[j * k + i] * share[i];
            }
            share[j] /= r[j * k + j];
            coefficients[j] += share[j];
        }
    }
}

/* R^2 of the fit and of predictions that leave one out: a row's residual then is e / (1 - h), h its hat value
 * (Allen 1974, PRESS). */
static void judge(kvl_fit *fit, double *loo, const double *residual, const double *y, const double *q,
                  size_t n, size_t k) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) {
        mean += y[i] / (double)n;
    }
    double total = 0;
    double press = 0;
    for (size_t i = 0; i < n; i++) {
        double hat = 0;
        for (size_t j = 0; j < k; j++) {
            hat += q[j * n + i] * q[j * n + i];
        }
        double left_out = 1 - hat > 1e-10 ? residual[i] / (1 - hat) : (double)NAN;
        if (loo != NULL) {
            loo[i] = y[i] - left_out;
        }
        press += left_out * left_out;
        total += (y[i] - mean) * (y[i] - mean);
    }
    fit->r2 = total > 0 ? 1 - dot(residual, residual, n) / total : (double)NAN;
    fit->r2_loo = total > 0 ? 1 - press / total : (double)NAN;
}

kvl_status kvl_least_squares(kvl_fit *fit, double *loo, const double *x, const double *y, size_t n, size_t k,
                             kvl_err *err) {
    if (k < 1 || k > KVL_MAX_COLUMNS || n <= k) {
        return kvl_fail(err, KVL_E_USAGE,
                        "least squares: expected 1 to %d columns and more rows than columns, "
                        "found %zu columns of %zu rows",
                        KVL_MAX_COLUMNS, k, n);
    }
    kvl_status status = KVL_OK;
    double r[KVL_MAX_COLUMNS * KVL_MAX_COLUMNS] = {0};
    double *q = kvl_calloc(n * k, sizeof *q);
    double *residual = kvl_calloc(n, sizeof *residual);
    if (q == NULL || residual == NULL) {
        status = kvl_fail_nomem(err, "least squares");
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        residual[i] = y[i];
        for (size_t j = 0; j < k; j++) {
            q[j * n + i] = x[i * k + j];
        }
    }
    if (!isfinite(dot(y, y, n))) {
        status = kvl_fail(err, KVL_E_CHECK, "least squares: expected finite numbers to fit, found others");
        goto done;
    }
    for (size_t j = 0; j < k; j++) {
        KVL_GO(orthogonalise(q, r, n, k, j, err));
    }
    solve(fit->coefficients, residual, q, r, n, k);
    judge(fit, loo, residual, y, q, n, k);
done:
    kvl_free(q);
    kvl_free(residual);
    return status;
}
