/* Sums of products of rows (lengths, Gram matrices), and what their inverses are needed for. */
#ifndef KVL_KERNEL_GRAM_H
#define KVL_KERNEL_GRAM_H

#include "kernel/kernel.h"

enum { KVL_GRAM_ROWS = 64 }; /* rows whose products are summed in f32 before they are added in double */

/* gram[i][j] += sum over rows of x[r][i] x[r][j], for j >= i; what lies below the diagonal is left alone.
 *   gram  [dim, dim]
 *   x     [n, dim] */
void kvl_gram_add(const kvl_kernels *k, double *gram, const float *x, size_t n, size_t dim);

/* Euclidean length of x [n], summed in double, in order. */
float kvl_row_norm(const float *x, size_t n);

/* Of a positive definite matrix G the lower triangular W with W G W' = 1, so that x' G^-1 x = |W x|^2.
 *   w     [dim, dim] out, zeros above the diagonal: rows to be packed for a product of rows x with W'
 *   gram  [dim, dim] from the diagonal on; overwritten */
void kvl_gram_whiten(float *w, double *gram, size_t dim);

#endif
