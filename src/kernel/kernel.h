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

/* Arithmetic of the products with weights; everything else is f32. */
typedef enum kvl_arith {
    KVL_ARITH_F32,  /* stored weights widened exactly, f32 inputs and sums */
    KVL_ARITH_BF16, /* weights and inputs rounded to bfloat16 (the embedding too where it is tied), f32 sums
                     */
    KVL_ARITH_INT8, /* products with quantised blocks: inputs rounded to 8 bits, 32 at a time; others as f32
                     */
    KVL_ARITH_AMX_BF16, /* as bf16, by matrix tiles: kvl_amx_gemm */
    KVL_N_ARITHS
} kvl_arith;

/* How the weights of a panel lie. All types widen to f32 exactly as their stored formats define; a block is
 * 32 steps of k, and value = d (q - zero) + m with d and m for each column. Only nibbles have a zero; column
 * c of step k is in byte k * 16 + c % 16, low for c < 16.
 *
 * - F32, F16, BF16: [n_in, 32]
 * - Q4: n_in / 32 blocks of d f16 [32], m f16 [32], q nibbles [32, 16]
 * - Q8: the same with q int8 [32, 32]
 * - Q4_SUPER: n_in / 256 times d f16 [32], dmin f16 [32], then 8 blocks of scale int8 [2, 32], least uint8
 *   [2, 32] (each for 16 steps), q nibbles [32, 16]; d is d * scale, m is -dmin * least
 * - Q8_SUPER: the same with q int8 [32, 32]
 * - BF16_PAIRS: [ceil(n_in / 2), 32, 2], the steps of a pair side by side */
typedef enum kvl_panel_type {
    KVL_PANEL_F32,
    KVL_PANEL_F16,
    KVL_PANEL_BF16,
    KVL_PANEL_Q4,
    KVL_PANEL_Q8,
    KVL_PANEL_Q4_SUPER,
    KVL_PANEL_Q8_SUPER,
    KVL_PANEL_BF16_PAIRS,
    KVL_N_PANEL_TYPES
} kvl_panel_type;

enum {
    KVL_PANEL_BLOCK = 32,
    KVL_PANEL_SUPER = 256,
    KVL_PANEL_PAIR_BYTES = 2 * 2 * KVL_PANEL_COLS, /* d and m, or d and dmin */
    KVL_PANEL_SMALL_BYTES = 4 * KVL_PANEL_COLS,    /* two scales and two minima of a block of a super-block */
};

/* Some panels side by side; `data` is 64-byte aligned. */
typedef struct kvl_panels {
    kvl_panel_type type;
    uint8_t zero; /* of nibbles */
    void *data;
} kvl_panels;

/* 32 numbers rounded to 8 bits: x[i] is d * q[i], as near as whole q[i] in -127 .. 127 can be. */
typedef struct kvl_q8 {
    float d;
    float sum[3]; /* d times the sum of q: of the first 16, of the others, of all */
    int8_t q[KVL_PANEL_BLOCK];
} kvl_q8;

/* How cached keys and values are stored: rounded to nearest, ties to even, where they are 16-bit floats; by
 * blocks of 32 dimensions of one entry where they are quantised (kernel/kv_form.h). */
typedef enum kvl_kv_type {
    KVL_KV_F32,
    KVL_KV_F16,
    KVL_KV_BF16,
    KVL_KV_Q8_0,
    KVL_KV_Q4_0,
    KVL_KV_Q4_1,
    KVL_KV_IQ4_NL,
    KVL_N_KV_TYPES
} kvl_kv_type;

enum { KVL_KV_BLOCK = 32, KVL_MAX_HEAD_DIM = 1024 };

static inline bool kvl_kv_is_quantized(kvl_kv_type t) { return t >= KVL_KV_Q8_0; }
/* Of a plain number, and of the whole numbers of a block. */
static inline size_t kvl_kv_bytes(kvl_kv_type t) { return t == KVL_KV_F32 ? 4 : 2; }
static inline size_t kvl_kv_quant_bytes(kvl_kv_type t) {
    return t == KVL_KV_Q8_0 ? KVL_KV_BLOCK : KVL_KV_BLOCK / 2;
}
/* Bytes of n numbers of one entry, scales included; whole blocks of quantised ones. */
static inline size_t kvl_kv_row_bytes(kvl_kv_type t, size_t n) {
    const size_t scale_bytes = t == KVL_KV_Q4_1 ? 4 : 2;
    return kvl_kv_is_quantized(t) ? n / KVL_KV_BLOCK * (kvl_kv_quant_bytes(t) + scale_bytes)
                                  : n * kvl_kv_bytes(t);
}
/* What a type is before it is quantised: f16, or the type itself. */
static inline kvl_kv_type kvl_kv_wide_type(kvl_kv_type t) { return kvl_kv_is_quantized(t) ? KVL_KV_F16 : t; }
/* Multiplies x [n] by the Hadamard matrix (Sylvester's, n a power of two) / sqrt(n), in place: an orthonormal
 * matrix that is its own inverse. The same bits everywhere. */
void kvl_hadamard(float *x, size_t n);
/* n floats to that type, which is plain, and back. */
void kvl_kv_narrow(void *dst, kvl_kv_type t, const float *src, size_t n);
void kvl_kv_widen(float *dst, kvl_kv_type t, const void *src, size_t n);

/* Attention of rows over one head's cache: out = softmax(score) V, where the score of entry j is
 * x = scale * q.k_j, or softcap * tanh(x / softcap) when softcap is above 0.
 *   keys       panels of 16 keys (kernel/kv_form.h), 64-byte aligned: of a plain type [ceil(n / 16),
 * head_dim, 16]: key j, dimension d at keys[(j / 16 * head_dim + d) * 16 + j % 16]; lanes beyond hold any
 *              finite number
 *   values     of a plain type [n, head_dim]; otherwise panels of 16
 *   positions  [n], or NULL: a row sees every one of its entries
 *   channels   [n_channels] dimensions, ascending, of which keys has rows, or NULL: all; of a plain type. The
 *              others count as 0. Rows' own keys have all */
typedef struct kvl_attention {
    kvl_kv_type key_type, value_type;
    kvl_kv_type own_key_type, own_value_type; /* of the rows' own lists */
    const void *keys;
    const void *values;
    const int32_t *positions;
    const uint16_t *channels;
    size_t n_channels;
    int64_t *mass; /* [n + n_own], or NULL: each row adds its weight of each entry that it sees, times
                    * KVL_MASS_ONE and rounded to a whole number, so that the order of additions does not
                    * matter; rows' own entries are then those of one list behind the call's */
    size_t head_dim;
    float scale;
    float softcap;
} kvl_attention;

enum { KVL_MASS_ONE = 1 << 30 };

/* One row: it sees entries 0 .. n-1 and behind them n_own of its own, laid out like those of the call (n +
 * n_own >= 1); of entries with positions only positions >= oldest (one at least). q and out [head_dim]. */
typedef struct kvl_attention_row {
    const float *q;
    float *out;
    size_t n;
    int32_t oldest;
    size_t n_own;
    const void *own_keys;
    const void *own_values;
    const int32_t *own_positions; /* where the call has positions */
} kvl_attention_row;

/* Rows that are computed together, at most. */
enum { KVL_ATTEND_ROWS = 6 };

typedef void kvl_gemm_fn(float *out, size_t out_stride, const float *x, size_t x_stride, const kvl_panels *w,
                         const float *bias, size_t n_rows, size_t n_in, size_t n_cols);

typedef struct kvl_kernels {
    const char *name; /* "c", "base", "avx2", "avx512", "avx512vnni", "avx512bf16" */

    /* out[r][c] = (bias ? bias[c] : 0) + sum over k of x[r][k] * W[k][c], k in increasing order, one
     * accumulator per element (started from the bias).
     *   out     [n_rows, n_cols] f32, row stride out_stride floats
     *   x       [n_rows, n_in] f32, row stride x_stride floats
     *   w       ceil(n_cols / 32) panels of n_in steps; columns beyond n_cols hold 0
     *   bias    [n_cols] f32 or NULL
     * Within 4 * n_in * eps * sum |x*w| of the definition; the same bits for all types of equal weights but
     * BF16_PAIRS. */
    kvl_gemm_fn *gemm;

    /* The product of rows rounded to 8 bits with blocked panels: the value of each block (or half a block of
     * super-blocks) is (x.d * d) * sum of q_x q_w + m * x.sum, the inner sum exact; blocks are added to the
     * bias in order. x        [n_rows, n_in / 32], row stride x_stride blocks w        panels of a blocked
     * type Within 4 * (n_in / 16) * eps * (sum of |terms|, with the type's zero, or 128 for Q8 types, times d
     * in |m|) of the definition. The rest is as in gemm. */
    void (*gemm_q8)(float *out, size_t out_stride, const kvl_q8 *x, size_t x_stride, const kvl_panels *w,
                    const float *bias, size_t n_rows, size_t n_in, size_t n_cols);
    /* Rounds n values (a multiple of 32) block by block: d is the largest size / 127, q[i] the whole number
     * nearest to x[i] * (127 / largest), ties to even. A NaN or an infinity makes d one. The same bits in
     * every table. */
    void (*quantize)(kvl_q8 *to, const float *x, size_t n);

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
     * output sums entries in order. Relative error against the definition below 1e-5 of max |v|. A row's bits
     * are those over one list of all its entries. Rows with entries of their own come in order of falling n:
     * an entry of the call is then loaded for the rows that reach it only, and an own entry once for
     * neighbours with the same list and n.
     *   scratch  [min(n_rows, KVL_ATTEND_ROWS) * round_up(largest n + round_up(n_own, 16), 16)] f32, 64-byte
     *            aligned */
    void (*attend)(const kvl_attention *a, const kvl_attention_row *rows, size_t n_rows, float *scratch);

    /* Sum of exp(x[i] - max) over n >= 1 values, in double; *most gets the maximum and weights [n], unless
     * NULL, the terms. Relative error below 1e-6. NaN in x gives NaN. */
    double (*sum_exp)(float *most, float *weights, const float *x, size_t n);
    /* Sum of a[i] * b[i] over n values, in double. */
    double (*dot)(const float *a, const float *b, size_t n);
    /* Natural log of sum exp(x[i]) over n >= 1 values: maximum subtracted, summed in double.
     * Absolute error below 1e-6. NaN in x gives NaN; +inf gives +inf or NaN. */
    double (*log_sum_exp)(const float *x, size_t n);
} kvl_kernels;

/* The table of that name ("avx512vnni" is "avx512" but for products of 8-bit rows, "avx512bf16" also for
 * those with BF16_PAIRS), or the best this machine runs for NULL or "auto". E_USAGE for an unknown name or
 * one this machine cannot run (the message lists what it can). */
kvl_status kvl_kernels_get(const kvl_kernels **out, const char *name, kvl_err *err) KVL_MUST_USE;
/* gemm for BF16_PAIRS alone, by the matrix tiles of AMX: sums of 16 pairs are formed on their own, subnormal
 * numbers are zeros; the same bound. Asks the system once for the use of tiles. E_USAGE where there are none.
 */
kvl_status kvl_amx_gemm(kvl_gemm_fn **out, kvl_err *err) KVL_MUST_USE;
/* Names of all tables this machine runs, best first, NULL-terminated. */
const char *const *kvl_kernels_names(void);

/* Extensions that the tables are built on, as " avx2 fma ...", those only that processor and system allow; "
 * none" where there is no such choice. Static. */
const char *kvl_cpu_extensions(void);

/* Whether panels hold quantised blocks. */
static inline bool kvl_panel_is_blocked(kvl_panel_type type) {
    return type >= KVL_PANEL_Q4 && type <= KVL_PANEL_Q8_SUPER;
}
static inline bool kvl_panel_is_super(kvl_panel_type type) {
    return type == KVL_PANEL_Q4_SUPER || type == KVL_PANEL_Q8_SUPER;
}
static inline bool kvl_panel_is_nibbles(kvl_panel_type type) {
    return type == KVL_PANEL_Q4 || type == KVL_PANEL_Q4_SUPER;
}
/* Bytes of the integers of one step, and of a block. */
static inline size_t kvl_panel_step_bytes(kvl_panel_type type) {
    return kvl_panel_is_nibbles(type) ? KVL_PANEL_COLS / 2 : KVL_PANEL_COLS;
}
static inline size_t kvl_panel_q_bytes(kvl_panel_type type) {
    return KVL_PANEL_BLOCK * kvl_panel_step_bytes(type);
}
/* Bytes of one panel of n_in steps (a multiple of the type's block). */
size_t kvl_panel_bytes(kvl_panel_type type, size_t n_in);
/* Bytes of the panels of n_cols columns. */
size_t kvl_panels_bytes(kvl_panel_type type, size_t n_in, size_t n_cols);
/* Packs rows [n_cols, n_in] of f32 (a weight matrix stored as out x in) into panels of type F32, F16, BF16 or
 * BF16_PAIRS; for F16 and BF16 the values must be such numbers. */
KVL_API_BEGIN
void kvl_pack_panels(void *panels, kvl_panel_type type, const float *rows, size_t n_in, size_t n_cols);
KVL_API_END
/* The n_in weights of one column, widened: out [n_in]. */
void kvl_panel_column(float *out, const kvl_panels *w, size_t n_in, size_t column);

/* Exact widening of 16-bit floats (subnormals, infinities and NaN included). */
float kvl_f32_of_f16(uint16_t bits);
float kvl_f32_of_bf16(uint16_t bits);
/* The half or brain float with that value, which must be one. */
uint16_t kvl_f16_of_exact(float x);
uint16_t kvl_bf16_of_exact(float x);
/* The nearest half, ties to even; infinity beyond 65504. */
uint16_t kvl_f16_of_f32(float x);
/* The nearest bfloat16, ties to even; NaN stays NaN. */
uint16_t kvl_bf16_of_f32(float x);
/* n little-endian 16-bit floats at src (unaligned) to dst. */
void kvl_widen_f16(float *dst, const uint8_t *src, size_t n);
void kvl_widen_bf16(float *dst, const uint8_t *src, size_t n);

#endif
