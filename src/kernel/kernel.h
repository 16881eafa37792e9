/* Numbers on raw arrays: one table of functions, one table per instruction set.
 *
 * kernel_c.c is the definition of every operation. The other tables compute the same with wider vectors and
 * agree with it within the bounds stated below. Within one table every output element is computed by a
 * fixed sequence of operations that does not depend on the number of rows in the call, on tile remainders
 * or on threads: that is what makes batched, chunked and threaded runs bit-identical.
 *
 * Kernels know no model and no cache. All pointers may be unaligned unless said otherwise; none may overlap
 * unless said otherwise. Nothing allocates, nothing fails.
 */
#ifndef KVL_KERNEL_KERNEL_H
#define KVL_KERNEL_KERNEL_H

#include "base/status.h"

enum {
    KVL_PANEL_COLS = 32, /* weight columns side by side in one panel */
    KVL_KEY_PANEL = 16,  /* cached keys side by side in one key panel */
};

/* Attention of one query over one head's cache: out = softmax(score) V, where the score of entry j is
 * x = scale * q.k_j, or softcap * tanh(x / softcap) when softcap is above 0, and entries whose position is
 * below `oldest` are not seen.
 *   out        [head_dim]
 *   q          [head_dim]
 *   keys       key panels [ceil(n / 16), head_dim, 16] f32, 64-byte aligned: key j, dimension d at
 *              keys[(j / 16 * head_dim + d) * 16 + j % 16]; lanes beyond n hold any finite number
 *   values     [n, head_dim] f32
 *   n          entries, >= 1
 *   positions  [n], or NULL: every entry is seen; at least one must be
 *   scratch    [round_up(n, 16)] f32, 64-byte aligned; holds the normalised weights afterwards (from the
 * first panel with an entry that is seen) */
typedef struct kvl_attention {
    const float *q;
    const float *keys;
    const float *values;
    const int32_t *positions;
    size_t n;
    size_t head_dim;
    float scale;
    float softcap;
    int32_t oldest;
} kvl_attention;

typedef struct kvl_kernels {
    const char *name; /* "c", "base", "avx2", "avx512" */

    /* out[r][c] = (bias ? bias[c] : 0) + sum over k of x[r][k] * W[k][c], k in increasing order, one
     * accumulator per element (started from the bias).
     *   out     [n_rows, n_cols] f32, row stride out_stride floats
     *   x       [n_rows, n_in] f32, row stride x_stride floats
     *   panels  [ceil(n_cols / 32), n_in, 32] f32, 64-byte aligned; columns beyond n_cols hold 0
     *   bias    [n_cols] f32 or NULL
     * Within 4 * n_in * eps * sum |x*w| of the definition. */
    void (*gemm)(float *out, size_t out_stride, const float *x, size_t x_stride, const float *panels,
                 const float *bias, size_t n_rows, size_t n_in, size_t n_cols);

    /* out = (x - mean(x)) / sqrt(var(x) + eps) * gain + shift over n values; mean and variance (divided by n)
     * in double. out may be x. gain and shift [n]. */
    void (*layer_norm)(float *out, const float *x, const float *gain, const float *shift, float eps,
                       size_t n);

    /* out = x / sqrt(mean(x^2) + eps) * gain over n values; the mean in double. out may be x. */
    void (*rms_norm)(float *out, const float *x, const float *gain, float eps, size_t n);

    /* x = x/2 * (1 + erf(x / sqrt 2)) in place; absolute error below 1e-6 * max(1, |x|). */
    void (*gelu_erf)(float *x, size_t n);
    /* x = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) in place; the same bound. */
    void (*gelu_tanh)(float *x, size_t n);

    /* x = x / (1 + exp(-x)) in place; the same bound. */
    void (*silu)(float *x, size_t n);
    /* x = cap * tanh(x / cap) in place, cap > 0; absolute error below 1e-6 * cap. */
    void (*softcap)(float *x, float cap, size_t n);

    /* y[i] *= x[i]. */
    void (*mul)(float *y, const float *x, size_t n);
    /* y[i] += x[i]. */
    void (*add)(float *y, const float *x, size_t n);

    /* Each score sums dimensions in order; the softmax denominator sums 16 lanes, then a fixed tree; each
     * output sums entries in order. Relative error against the definition below 1e-5 of max |v|. */
    void (*attend)(float *out, const kvl_attention *a, float *scratch);

    /* Natural log of sum exp(x[i]) over n >= 1 values: maximum subtracted, summed in double.
     * Absolute error below 1e-6. NaN in x gives NaN; +inf gives +inf or NaN. */
    double (*log_sum_exp)(const float *x, size_t n);
} kvl_kernels;

/* The table named "c", "base", "avx2" or "avx512", or the best this machine runs for NULL or "auto".
 * E_USAGE for an unknown name or one this machine cannot run (the message lists what it can). */
kvl_status kvl_kernels_get(const kvl_kernels **out, const char *name, kvl_err *err) KVL_MUST_USE;
/* Names of all tables this machine runs, best first, NULL-terminated. */
const char *const *kvl_kernels_names(void);

/* Extensions that the tables are built on, as " avx2 fma ...", those only that processor and system allow; "
 * none" where there is no such choice. Static. */
const char *kvl_cpu_extensions(void);

/* Number of floats kvl_pack_panels writes. */
size_t kvl_panels_size(size_t n_in, size_t n_cols);
/* Packs rows [n_cols, n_in] (a weight matrix stored as out x in) into panels for gemm. */
void kvl_pack_panels(float *panels, const float *weights, size_t n_in, size_t n_cols);

/* Exact widening of 16-bit floats (subnormals, infinities and NaN included). */
float kvl_f32_of_f16(uint16_t bits);
float kvl_f32_of_bf16(uint16_t bits);
/* n little-endian 16-bit floats at src (unaligned) to dst. */
void kvl_widen_f16(float *dst, const uint8_t *src, size_t n);
void kvl_widen_bf16(float *dst, const uint8_t *src, size_t n);

#endif
