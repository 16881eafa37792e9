/* The vector implementation of every operation, written once in GNU vector extensions.
 *
 * Included by one .c file per instruction set, each compiled with its own flags, which defines before:
 *   VW           floats in a vector (4, 8 or 16)
 *   TILE_ROWS    most rows of a product tile: 2 * TILE_ROWS accumulators must fit the registers
 *   vec_fma      one fused multiply-add on vectors
 *   VEC_OF_F16   a vector widened from VW halves at a uint16_t pointer (may be unaligned)
 *   IVEC_OF_U8   integers widened from VW bytes; the same: IVEC_OF_I8, IVEC_OF_U16 (from uint16_t)
 *   VEC_OF_INTS  floats of the same values as integers
 *   VEC_OF_TABLE optional: floats of a table of 16 at a float pointer, by integers below 16
 *   VEC_MAX      optional: the larger of each lane, the second where one is NaN; MAX_OF_LANES: the largest
 *   WIDEN_HALF   optional: lower (0) or upper half of a vector in double
 *   VEC_DOT_BF16 optional: sum + both products of the pairs of bfloat16 numbers in two integers
 *   ROUND_32     optional: 32 floats at the second pointer rounded to bfloat16 at the first
 *   VEC_DOT_INT8 optional: sum + the four products of bytes in two integers, of w without and of x with sign
 *   VEC_MADD16   optional, for the same: sums of the two products of int16 pairs
 *   QUADS_OF_NIBBLES, QUADS_OF_BYTES  optional, 16 floats only: see load_quads
 *   MOST_OF_INTS, SUM_OF_INTS, STORE_BYTES  optional, all or none: of the integers of a vector; their low
 * bytes KERNELS      name of the table to define; KERNELS_NAME: its name as text
 *
 * Everything here is static, so that no code compiled for one set can be reached from a machine without it.
 *
 * Order of operations: every lane is one output element and sums in order of the inner dimension; tile sizes
 * only choose how many elements are computed side by side. So results do not depend on the number of rows.
 */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

typedef float vec __attribute__((vector_size(VW * 4)));
typedef int32_t ivec __attribute__((vector_size(VW * 4)));
typedef float half_vec __attribute__((vector_size(VW * 2)));
typedef double dvec __attribute__((vector_size(VW * 4))); /* VW / 2 doubles */

/* Accumulator arrays become registers only when every loop over them is unrolled; clang does so only where it
 * is told to unroll fully, before it splits arrays. Sanitizers check each access to them: unrolled, that is
 * too much to compile. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_CHECKED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define IS_CHECKED
#endif
#if defined(IS_CHECKED)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS_INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
ALWAYS_INLINE vec splat(float x) { return x - (vec){0}; }
ALWAYS_INLINE vec select_lanes(ivec mask, vec yes, vec no) {
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}
/* b where one of them is NaN */
#ifdef VEC_MAX
ALWAYS_INLINE vec larger(vec a, vec b) { return VEC_MAX(a, b); }
#else
ALWAYS_INLINE vec larger(vec a, vec b) { return select_lanes(a > b, a, b); }
#endif
/* x - 0 keeps the sign of zero; 0 + x would not */
ALWAYS_INLINE vec vec_of_f16(const uint16_t *p) { return VEC_OF_F16(p); }

/* ---- exponential ---- */

/* exp(x) for x <= 88: x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts as in Cephes expf, Moshier
 * 1984), exp(r) by the minimax polynomial of degree 6 that starts with 1 + r (3e-9 off). Error below 2 ulp;
 * below -87.33 as there, 1e-38; NaN stays NaN. */
ALWAYS_INLINE vec vec_exp_tiny(vec x) {
    vec clamped = larger(splat(-87.33f), x);
    /* adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low bits, where 127 more make
     * it the exponent of 2^n */
    const vec magic = splat(12582912.0f + 127.0f);
    vec shifted = vec_fma(clamped, splat(1.44269504088896341f), magic);
    vec n = shifted - magic;
    vec r = vec_fma(n, splat(-0.693359375f), clamped);
    r = vec_fma(n, splat(2.12194440e-4f), r);
    vec p = splat(1.3814581e-3f);
    p = vec_fma(p, r, splat(8.368725e-3f));
    p = vec_fma(p, r, splat(4.166839e-2f));
    p = vec_fma(p, r, splat(1.6666521e-1f));
    p = vec_fma(p, r, splat(4.9999994e-1f));
    p = vec_fma(p, r, splat(1.0f));
    p = vec_fma(p, r, splat(1.0f));
    return p * (vec)((ivec)shifted << 23);
}

/* The same, but below -87.33 exactly 0. */
ALWAYS_INLINE vec vec_exp(vec x) { return select_lanes(x < splat(-87.33f), splat(0.0f), vec_exp_tiny(x)); }

/* ---- reductions: fixed trees ---- */

ALWAYS_INLINE float max_of_lanes(vec v) {
#ifdef MAX_OF_LANES
    return MAX_OF_LANES(v);
#else
    float lanes[VW];
    store(lanes, v);
    float most = lanes[0];
    for (size_t i = 1; i < VW; i++) {
        most = lanes[i] > most ? lanes[i] : most;
    }
    return most;
#endif
}

ALWAYS_INLINE double sum_of_dlanes(dvec v) {
    double lanes[VW / 2];
    memcpy(lanes, &v, sizeof v);
    for (size_t half = VW / 4; half != 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

/* Lower (0) or upper (1) half of v in double. */
ALWAYS_INLINE dvec widen_half(vec v, size_t which) {
#ifdef WIDEN_HALF
    return WIDEN_HALF(v, which);
#else
    half_vec h;
    memcpy(&h, (const char *)&v + which * sizeof h, sizeof h);
    return __builtin_convertvector(h, dvec);
#endif
}

/* The first n < VW floats, the rest `fill`. */
ALWAYS_INLINE vec load_part(const float *p, size_t n, float fill) {
    float lanes[VW];
    for (size_t i = 0; i < VW; i++) {
        lanes[i] = i < n ? p[i] : fill;
    }
    return load(lanes);
}

/* The first n floats of v, at most all. */
ALWAYS_INLINE void store_part(float *p, vec v, size_t n) { memcpy(p, &v, n < VW ? n * sizeof *p : sizeof v); }

enum { exps_at_once = 4 * VW };

ALWAYS_INLINE float max_of(const float *x, size_t n) {
    const size_t whole = n / VW * VW;
    const size_t fours = n / exps_at_once * exps_at_once;
    vec most[4]; /* chains that do not wait for each other */
    most[0] = most[1] = most[2] = most[3] =
        n > whole ? load_part(x + whole, n - whole, -INFINITY) : splat(-INFINITY);
    for (size_t i = 0; i < fours; i += exps_at_once) {
        UNROLL for (size_t j = 0; j < 4; j++) { most[j] = larger(load(x + i + j * VW), most[j]); }
    }
    for (size_t i = fours; i < whole; i += VW) {
        most[0] = larger(load(x + i), most[0]);
    }
    return max_of_lanes(larger(larger(most[0], most[1]), larger(most[2], most[3])));
}

static double sum_exp_v(float *most_out, float *weights, const float *x, size_t n) {
    const vec most = splat(max_of(x, n));
    dvec low = {0};
    dvec high = {0};
    size_t i = 0;
    for (; i + exps_at_once <= n; i += exps_at_once) {
        vec e[4];
        UNROLL for (size_t j = 0; j < 4; j++) { e[j] = vec_exp_tiny(load(x + i + j * VW) - most); }
        if (weights != NULL) {
            UNROLL for (size_t j = 0; j < 4; j++) { store(weights + i + j * VW, e[j]); }
        }
        vec four = (e[0] + e[1]) + (e[2] + e[3]); /* as exact as the terms, and widened once */
        low += widen_half(four, 0);
        high += widen_half(four, 1);
    }
    for (; i < n; i += VW) {
        vec e = vec_exp_tiny((i + VW <= n ? load(x + i) : load_part(x + i, n - i, -INFINITY)) - most);
        low += widen_half(e, 0);
        high += widen_half(e, 1);
        if (weights != NULL) {
            store_part(weights + i, e, n - i);
        }
    }
    *most_out = most[0];
    return sum_of_dlanes(low + high);
}

static double dot_v(const float *a, const float *b, size_t n) {
    dvec low = {0};
    dvec high = {0};
    for (size_t i = 0; i < n; i += VW) {
        vec x = i + VW <= n ? load(a + i) : load_part(a + i, n - i, 0.0f);
        vec y = i + VW <= n ? load(b + i) : load_part(b + i, n - i, 0.0f);
        low += widen_half(x, 0) * widen_half(y, 0);
        high += widen_half(x, 1) * widen_half(y, 1);
    }
    return sum_of_dlanes(low + high);
}

static double log_sum_exp_v(const float *x, size_t n) {
    float most = 0;
    double sum = sum_exp_v(&most, NULL, x, n);
    return (double)most + log(sum);
}

static void layer_norm_v(float *out, const float *x, const float *gain, const float *shift, float eps,
                         size_t n) {
    size_t whole = n / VW * VW;
    dvec low = {0};
    dvec high = {0};
    for (size_t i = 0; i < n; i += VW) {
        vec v = i < whole ? load(x + i) : load_part(x + i, n - i, 0.0f);
        low += widen_half(v, 0);
        high += widen_half(v, 1);
    }
    double mean = sum_of_dlanes(low + high) / (double)n;
    low = (dvec){0};
    for (size_t i = 0; i < whole; i += VW) {
        dvec a = widen_half(load(x + i), 0) - mean;
        dvec b = widen_half(load(x + i), 1) - mean;
        low += a * a;
        low += b * b;
    }
    double squares = sum_of_dlanes(low);
    for (size_t i = whole; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)shift[i]);
    }
}

static void rms_norm_v(float *out, const float *x, const float *gain, float eps, size_t n) {
    dvec low = {0};
    dvec high = {0};
    for (size_t i = 0; i < n; i += VW) {
        vec v = i + VW <= n ? load(x + i) : load_part(x + i, n - i, 0.0f);
        dvec a = widen_half(v, 0);
        dvec b = widen_half(v, 1);
        low += a * a;
        high += b * b;
    }
    double scale = 1.0 / sqrt(sum_of_dlanes(low + high) / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)((double)x[i] * scale * (double)gain[i]);
    }
}

/* ---- element-wise ---- */

/* erf by Abramowitz and Stegun 7.1.26 (error 1.5e-7). */
ALWAYS_INLINE vec vec_gelu_erf(vec x) {
    vec z = x * splat(0.70710678f);
    vec a = select_lanes(z < splat(0.0f), -z, z);
    vec t = splat(1.0f) / vec_fma(a, splat(0.3275911f), splat(1.0f));
    vec p = splat(1.061405429f);
    p = vec_fma(p, t, splat(-1.453152027f));
    p = vec_fma(p, t, splat(1.421413741f));
    p = vec_fma(p, t, splat(-0.284496736f));
    p = vec_fma(p, t, splat(0.254829592f));
    vec tail = p * t * vec_exp(-a * a); /* 1 - erf(|z|) */
    vec twice_phi = select_lanes(z < splat(0.0f), tail, splat(2.0f) - tail);
    return splat(0.5f) * x * twice_phi;
}

ALWAYS_INLINE vec vec_gelu_tanh(vec x) {
    vec u = splat(1.5957691216f) * vec_fma(splat(0.044715f) * x * x, x, x); /* twice the argument of tanh */
    u = select_lanes(u > splat(80.0f), splat(80.0f), u);
    vec sigmoid = splat(1.0f) / (splat(1.0f) + vec_exp(-larger(u, splat(-80.0f))));
    return x * sigmoid;
}

ALWAYS_INLINE vec vec_silu(vec x) {
    vec u = select_lanes(x > splat(80.0f), splat(80.0f), x);
    return x / (splat(1.0f) + vec_exp(-larger(u, splat(-80.0f))));
}

/* tanh: a polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel (Cephes tanhf, Moshier 1984). */
ALWAYS_INLINE vec vec_tanh(vec x) {
    vec a = select_lanes(x < splat(0.0f), -x, x);
    vec z = x * x;
    vec p = splat(-5.70498872745e-3f);
    p = vec_fma(p, z, splat(2.06390887954e-2f));
    p = vec_fma(p, z, splat(-5.37397155531e-2f));
    p = vec_fma(p, z, splat(1.33314422036e-1f));
    p = vec_fma(p, z, splat(-3.33332819422e-1f));
    p = vec_fma(p * z, x, x);
    vec twice = select_lanes(a > splat(20.0f), splat(40.0f), a + a);
    vec far = splat(1.0f) - splat(2.0f) / (vec_exp(twice) + splat(1.0f));
    far = select_lanes(x < splat(0.0f), -far, far);
    return select_lanes(x == x, select_lanes(a < splat(0.625f), p, far), x);
}

#define ELEMENTWISE(name, function)                                                                          \
    static void name(float *x, size_t n) {                                                                   \
        size_t i = 0;                                                                                        \
        for (; i + VW <= n; i += VW) {                                                                       \
            store(x + i, function(load(x + i)));                                                             \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            float lanes[VW];                                                                                 \
            store(lanes, function(load_part(x + i, n - i, 0.0f)));                                           \
            memcpy(x + i, lanes, (n - i) * sizeof(float));                                                   \
        }                                                                                                    \
    }
ELEMENTWISE(gelu_erf_v, vec_gelu_erf)
ELEMENTWISE(gelu_tanh_v, vec_gelu_tanh)
ELEMENTWISE(silu_v, vec_silu)

ALWAYS_INLINE vec vec_softcap(vec x, float cap) { return splat(cap) * vec_tanh(x / splat(cap)); }

static void softcap_v(float *x, float cap, size_t n) {
    size_t i = 0;
    for (; i + VW <= n; i += VW) {
        store(x + i, vec_softcap(load(x + i), cap));
    }
    if (i < n) {
        float lanes[VW];
        store(lanes, vec_softcap(load_part(x + i, n - i, 0.0f), cap));
        memcpy(x + i, lanes, (n - i) * sizeof(float));
    }
}

static void mul_v(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VW <= n; i += VW) {
        store(y + i, load(y + i) * load(x + i));
    }
    for (; i < n; i++) {
        y[i] *= x[i];
    }
}

static void add_v(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VW <= n; i += VW) {
        store(y + i, load(y + i) + load(x + i));
    }
    for (; i < n; i++) {
        y[i] += x[i];
    }
}

#include "kernel/vec_attention.h"
#include "kernel/vec_product.h"
#include "kernel/vec_int8.h"

const kvl_kernels KERNELS = {
    .name = KERNELS_NAME,
    .gemm = gemm_v,
    .gemm_q8 = gemm_q8_v,
    .quantize = quantize_v,
    .layer_norm = layer_norm_v,
    .rms_norm = rms_norm_v,
    .gelu_erf = gelu_erf_v,
    .gelu_tanh = gelu_tanh_v,
    .silu = silu_v,
    .softcap = softcap_v,
    .mul = mul_v,
    .add = add_v,
    .attend = attend_v,
    .sum_exp = sum_exp_v,
    .dot = dot_v,
    .log_sum_exp = log_sum_exp_v,
};
