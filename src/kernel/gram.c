/* Gram matrices by tiles of 32 x 32, so that the product kernel does the work without much memory. */
#include "kernel/gram.h"

#include <math.h>
#include <string.h>

enum { tile = KVL_PANEL_COLS };

float kvl_row_norm(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return (float)sqrt(sum);
}

/* Products of columns i .. i + n_i - 1 with j .. j + n_j - 1 over n rows, n <= KVL_GRAM_ROWS.
 *   left  [n_i, n] the first columns, transposed */
static void add_tile(const kvl_kernels *k, double *gram, const float *x, size_t n, size_t dim,
                     const float *left, size_t i, size_t n_i, size_t j, size_t n_j) {
    _Alignas(KVL_ALIGN_BYTES) float panel[KVL_GRAM_ROWS * tile] = {0}; /* laid out as KVL_PANEL_F32 */
    float sums[tile * tile];
    for (size_t r = 0; r < n; r++) {
        memcpy(panel + r * tile, x + r * dim + j, n_j * sizeof *panel);
    }
    k->gemm(sums, tile, left, n, &(kvl_panels){.type = KVL_PANEL_F32, .data = panel}, NULL, n_i, n, n_j);
    for (size_t a = 0; a < n_i; a++) {
        double *row = gram + (i + a) * dim + j;
        for (size_t b = i == j ? a : 0; b < n_j; b++) {
            row[b] += (double)sums[a * tile + b];
        }
    }
}

void kvl_gram_add(const kvl_kernels *k, double *gram, const float *x, size_t n, size_t dim) {
    for (size_t done = 0; done < n; done += KVL_GRAM_ROWS, x += KVL_GRAM_ROWS * dim) {
        const size_t n_rows = kvl_min_size(KVL_GRAM_ROWS, n - done);
        for (size_t i = 0; i < dim; i += tile) {
            const size_t n_i = kvl_min_size(tile, dim - i);
            float left[tile * KVL_GRAM_ROWS];
            for (size_t a = 0; a < n_i; a++) {
                for (size_t r = 0; r < n_rows; r++) {
                    left[a * n_rows + r] = x[r * dim + i + a];
                }
            }
            for (size_t j = i; j < dim; j += tile) {
                add_tile(k, gram, x, n_rows, dim, left, i, n_i, j, kvl_min_size(tile, dim - j));
            }
        }
    }
}

/* y -= a x over n values. */
static void subtract(double *y, double a, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] -= a * x[i];
    }
}

/* Cholesky's factor U, G = U' U, in and above the diagonal; then the inverse of U' below it. */
void kvl_gram_whiten(float *w, double *gram, size_t dim) {
    for (size_t k = 0; k < dim; k++) {
        double *row = gram + k * dim;
        const double pivot = sqrt(row[k]);
        for (size_t j = k; j < dim; j++) {
            row[j] /= pivot;
        }
        for (size_t i = k + 1; i < dim; i++) {
            subtract(gram + i * dim + i, row[i], row + i, dim - i);
        }
    }
    for (size_t i = 0; i < dim; i++) {
        double *row = gram + i * dim;
        memset(row, 0, i * sizeof *row);
        for (size_t m = 0; m < i; m++) { /* row m below the diagonal is done, and on it */
            subtract(row, gram[m * dim + i], gram + m * dim, m + 1);
        }
        for (size_t j = 0; j < i; j++) {
            row[j] /= row[i];
        }
        row[i] = 1 / row[i];
        for (size_t j = 0; j < dim; j++) {
            w[i * dim + j] = j <= i ? (float)row[j] : 0;
        }
    }
}
