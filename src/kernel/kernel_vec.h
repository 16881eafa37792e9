/* The vector implementation of every operation, written once in GNU vector extensions.
 *
 * Included by one .c file per instruction set, each compiled with its own flags, which defines before:
 *   VW         floats in a vector (4, 8 or 16)
 *   TILE_ROWS  most rows of a product tile: 2 * TILE_ROWS accumulators must fit the registers
 *   vec_fma    one fused multiply-add on vectors
 *   KERNELS    name of the table to define, KERNELS_NAME its name as text
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

enum { panel_stride = KVL_PANEL_COLS, lanes_per_panel = KVL_KEY_PANEL };

/* Accumulator arrays become registers only when every loop over them is unrolled; clang does so only where it
 * is told to unroll fully, before it splits arrays. */
#if defined(__clang__)
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
ALWAYS_INLINE vec larger(vec a, vec b) { return select_lanes(a > b, a, b); }
/* x - 0 keeps the sign of zero; 0 + x would not */

/* ---- product ---- */

/* Rows r0 .. r0+rows-1 times two vectors of columns; rows is a constant after inlining. */
ALWAYS_INLINE void gemm_tile(float *out, size_t out_stride, const float *x, size_t x_stride,
                             const float *panel, const float *start, size_t n_in, size_t rows) {
    vec sum[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < rows; r++) {
        sum[r][0] = load(start);
        sum[r][1] = load(start + VW);
    }
    for (size_t k = 0; k < n_in; k++) {
        vec w0 = load(panel + k * panel_stride);
        vec w1 = load(panel + k * panel_stride + VW);
        UNROLL for (size_t r = 0; r < rows; r++) {
            vec value = splat(x[r * x_stride + k]);
            sum[r][0] = vec_fma(value, w0, sum[r][0]);
            sum[r][1] = vec_fma(value, w1, sum[r][1]);
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        store(out + r * out_stride, sum[r][0]);
        store(out + r * out_stride + VW, sum[r][1]);
    }
}

#define TILE_CASE(rows)                                                                                      \
    case rows: gemm_tile(out, out_stride, x, x_stride, panel, start, n_in, rows); break

/* 2 VW columns of one panel for all rows, in tiles of nearly equal height: a last tile of 1 or 2 rows would
 * run at a fraction of the speed. */
static void gemm_columns(float *out, size_t out_stride, const float *x, size_t x_stride, const float *panel,
                         const float *start, size_t n_rows, size_t n_in) {
    size_t n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t done = 0; done < n_rows; n_tiles--) {
        size_t rows = (n_rows - done + n_tiles - 1) / n_tiles;
        switch (rows) {
            TILE_CASE(1);
            TILE_CASE(2);
            TILE_CASE(3);
            TILE_CASE(4);
            TILE_CASE(5);
            TILE_CASE(6);
#if TILE_ROWS > 6
            TILE_CASE(7);
            TILE_CASE(8);
            TILE_CASE(9);
            TILE_CASE(10);
            TILE_CASE(11);
            TILE_CASE(12);
#endif
        default: break;
        }
        out += rows * out_stride;
        x += rows * x_stride;
        done += rows;
    }
}

/* One row times two whole panels: twice the loads in flight, since a single row is bound by memory. */
static void gemm_row_pair(float *out, const float *x, const float *panel, const float *start, size_t n_in) {
    enum { n_vecs = 2 * KVL_PANEL_COLS / VW, per_panel = KVL_PANEL_COLS / VW };
    vec sum[n_vecs];
    const float *second = panel + n_in * panel_stride;
    UNROLL for (size_t i = 0; i < n_vecs; i++) { sum[i] = load(start + i * VW); }
    for (size_t k = 0; k < n_in; k++) {
        vec value = splat(x[k]);
        UNROLL for (size_t i = 0; i < per_panel; i++) {
            sum[i] = vec_fma(value, load(panel + k * panel_stride + i * VW), sum[i]);
            sum[per_panel + i] = vec_fma(value, load(second + k * panel_stride + i * VW), sum[per_panel + i]);
        }
    }
    UNROLL for (size_t i = 0; i < n_vecs; i++) { store(out + i * VW, sum[i]); }
}

/* The last panel when n_cols is no multiple of 32: through a buffer, so that nothing beyond is written. */
static void gemm_tail(float *out, size_t out_stride, const float *x, size_t x_stride, const float *panel,
                      const float *start, size_t n_rows, size_t n_in, size_t width) {
    float buffer[TILE_ROWS * KVL_PANEL_COLS];
    for (size_t done = 0; done < n_rows; done += TILE_ROWS) {
        size_t rows = kvl_min_size(TILE_ROWS, n_rows - done);
        for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
            gemm_columns(buffer + c, KVL_PANEL_COLS, x + done * x_stride, x_stride, panel + c, start + c,
                         rows, n_in);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(out + (done + r) * out_stride, buffer + r * KVL_PANEL_COLS, width * sizeof(float));
        }
    }
}

static void gemm_v(float *out, size_t out_stride, const float *x, size_t x_stride, const float *panels,
                   const float *bias, size_t n_rows, size_t n_in, size_t n_cols) {
    for (size_t first = 0; first < n_cols;) {
        const float *panel = panels + first * n_in;
        float start[2 * KVL_PANEL_COLS] = {0};
        size_t width = kvl_min_size(2 * KVL_PANEL_COLS, n_cols - first);
        if (bias != NULL) {
            memcpy(start, bias + first, width * sizeof(float));
        }
        if (n_rows == 1 && width == 2 * KVL_PANEL_COLS) {
            gemm_row_pair(out + first, x, panel, start, n_in);
            first += width;
            continue;
        }
        width = kvl_min_size(width, KVL_PANEL_COLS);
        if (width < KVL_PANEL_COLS) {
            gemm_tail(out + first, out_stride, x, x_stride, panel, start, n_rows, n_in, width);
        } else {
            for (size_t c = 0; c < KVL_PANEL_COLS; c += 2 * VW) {
                gemm_columns(out + first + c, out_stride, x, x_stride, panel + c, start + c, n_rows, n_in);
            }
        }
        first += width;
    }
}

/* ---- exponential ---- */

/* exp(x) for x <= 88: x = n ln 2 + r, |r| <= ln 2 / 2, polynomial of degree 6 in r (Cephes expf, Moshier
 * 1984), error below 2 ulp; below -87.33 exactly 0; NaN stays NaN. */
ALWAYS_INLINE vec vec_exp(vec x) {
    vec clamped = larger(x, splat(-87.33f));
    /* adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low bits */
    const vec magic = splat(12582912.0f);
    vec shifted = vec_fma(clamped, splat(1.44269504088896341f), magic);
    vec n = shifted - magic;
    vec r = vec_fma(n, splat(-0.693359375f), clamped);
    r = vec_fma(n, splat(2.12194440e-4f), r);
    vec p = splat(1.9875691500e-4f);
    p = vec_fma(p, r, splat(1.3981999507e-3f));
    p = vec_fma(p, r, splat(8.3334519073e-3f));
    p = vec_fma(p, r, splat(4.1665795894e-2f));
    p = vec_fma(p, r, splat(1.6666665459e-1f));
    p = vec_fma(p, r, splat(5.0000001201e-1f));
    p = vec_fma(p, r * r, r) + splat(1.0f);
    ivec power = ((ivec)shifted << 23) + (ivec)splat(1.0f);
    vec result = p * (vec)power;
    result = select_lanes(x < splat(-87.33f), splat(0.0f), result);
    return select_lanes(x == x, result, x);
}

/* ---- reductions: fixed trees ---- */

ALWAYS_INLINE float max_of_lanes(vec v) {
    float lanes[VW];
    store(lanes, v);
    float most = lanes[0];
    for (size_t i = 1; i < VW; i++) {
        most = lanes[i] > most ? lanes[i] : most;
    }
    return most;
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

/* Lower and upper half of v in double. */
ALWAYS_INLINE dvec widen_half(vec v, size_t which) {
    half_vec h;
    memcpy(&h, (const char *)&v + which * sizeof h, sizeof h);
    return __builtin_convertvector(h, dvec);
}

/* The first n < VW floats, the rest `fill`. */
ALWAYS_INLINE vec load_part(const float *p, size_t n, float fill) {
    float lanes[VW];
    for (size_t i = 0; i < VW; i++) {
        lanes[i] = i < n ? p[i] : fill;
    }
    return load(lanes);
}

static double log_sum_exp_v(const float *x, size_t n) {
    size_t whole = n / VW * VW;
    vec most_v = load_part(x + whole, n - whole, -INFINITY);
    for (size_t i = 0; i < whole; i += VW) {
        most_v = larger(load(x + i), most_v);
    }
    float most = max_of_lanes(most_v);
    dvec low = {0};
    dvec high = {0};
    for (size_t i = 0; i < n; i += VW) {
        vec e = vec_exp((i < whole ? load(x + i) : load_part(x + i, n - i, -INFINITY)) - splat(most));
        low += widen_half(e, 0);
        high += widen_half(e, 1);
    }
    return (double)most + log(sum_of_dlanes(low + high));
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

/* ---- attention ---- */

/* Scores of `panels` key panels side by side, unscaled; the count is a constant after inlining. */
ALWAYS_INLINE void score_panels(float *scores, const float *q, const float *keys, size_t head_dim,
                                size_t panels) {
    enum { per_panel = KVL_KEY_PANEL / VW };
    vec sum[4 * per_panel];
    UNROLL for (size_t i = 0; i < panels * per_panel; i++) { sum[i] = splat(0.0f); }
    for (size_t d = 0; d < head_dim; d++) {
        vec value = splat(q[d]);
        UNROLL for (size_t i = 0; i < panels * per_panel; i++) {
            const float *key = keys + (i / per_panel * head_dim + d) * lanes_per_panel + i % per_panel * VW;
            sum[i] = vec_fma(value, load(key), sum[i]);
        }
    }
    UNROLL for (size_t i = 0; i < panels * per_panel; i++) { store(scores + i * VW, sum[i]); }
}

/* scratch <- exp(score - max); returns 1 / sum. Lanes beyond n, and entries that are not seen, become 0. */
static float softmax_weights(float *scratch, const kvl_attention *a, size_t padded) {
    size_t n = a->n;
    vec most_v = splat(-INFINITY);
    for (size_t j = 0; j < padded; j += VW) {
        vec x = load(scratch + j) * splat(a->scale);
        store(scratch + j, a->softcap > 0 ? vec_softcap(x, a->softcap) : x);
    }
    for (size_t j = 0; a->positions != NULL && j < n; j++) {
        scratch[j] = a->positions[j] < a->oldest ? -INFINITY : scratch[j];
    }
    for (size_t j = n; j < padded; j++) { /* after the scaling: 0 * infinity would be NaN */
        scratch[j] = -INFINITY;
    }
    for (size_t j = 0; j < padded; j += VW) {
        most_v = larger(load(scratch + j), most_v);
    }
    float most = max_of_lanes(most_v);
    float lanes[KVL_KEY_PANEL] = {0};
    for (size_t j = 0; j < padded; j += VW) {
        vec e = vec_exp(load(scratch + j) - splat(most));
        store(scratch + j, e);
        store(lanes + j % KVL_KEY_PANEL, load(lanes + j % KVL_KEY_PANEL) + e);
    }
    for (size_t half = KVL_KEY_PANEL / 2; half != 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return 1.0f / lanes[0];
}

/* `vecs` vectors of the output, summed over entries in order. */
ALWAYS_INLINE void mix_values(float *out, const float *weights, const float *values, size_t n,
                              size_t head_dim, size_t vecs) {
    vec sum[4];
    UNROLL for (size_t i = 0; i < vecs; i++) { sum[i] = splat(0.0f); }
    for (size_t j = 0; j < n; j++) {
        vec w = splat(weights[j]);
        UNROLL for (size_t i = 0; i < vecs; i++) {
            sum[i] = vec_fma(w, load(values + j * head_dim + i * VW), sum[i]);
        }
    }
    UNROLL for (size_t i = 0; i < vecs; i++) { store(out + i * VW, sum[i]); }
}

static void score_all(float *scratch, const kvl_attention *a, size_t n_panels) {
    size_t panel_floats = a->head_dim * KVL_KEY_PANEL;
    size_t p = 0;
    for (; p + 4 <= n_panels; p += 4) {
        score_panels(scratch + p * KVL_KEY_PANEL, a->q, a->keys + p * panel_floats, a->head_dim, 4);
    }
    for (; p + 2 <= n_panels; p += 2) {
        score_panels(scratch + p * KVL_KEY_PANEL, a->q, a->keys + p * panel_floats, a->head_dim, 2);
    }
    for (; p < n_panels; p++) {
        score_panels(scratch + p * KVL_KEY_PANEL, a->q, a->keys + p * panel_floats, a->head_dim, 1);
    }
}

/* Without the leading panels of which nothing is seen: their weights are exactly 0, so the bits stay. */
static kvl_attention skip_unseen(const kvl_attention *a) {
    kvl_attention rest = *a;
    while (rest.positions != NULL && rest.n > KVL_KEY_PANEL) {
        for (size_t j = 0; j < KVL_KEY_PANEL; j++) {
            if (rest.positions[j] >= rest.oldest) {
                return rest;
            }
        }
        rest.positions += KVL_KEY_PANEL;
        rest.keys += KVL_KEY_PANEL * rest.head_dim;
        rest.values += KVL_KEY_PANEL * rest.head_dim;
        rest.n -= KVL_KEY_PANEL;
    }
    return rest;
}

static void attend_v(float *out, const kvl_attention *whole, float *scratch) {
    kvl_attention a = skip_unseen(whole);
    size_t n_panels = (a.n + KVL_KEY_PANEL - 1) / KVL_KEY_PANEL;
    size_t padded = n_panels * KVL_KEY_PANEL;
    size_t head_dim = a.head_dim;
    score_all(scratch, &a, n_panels);
    float inverse = softmax_weights(scratch, &a, padded);
    for (size_t j = 0; j < padded; j += VW) {
        store(scratch + j, load(scratch + j) * splat(inverse));
    }
    size_t d = 0;
    for (; d + 4 * VW <= head_dim; d += 4 * VW) {
        mix_values(out + d, scratch, a.values + d, a.n, head_dim, 4);
    }
    for (; d + 2 * VW <= head_dim; d += 2 * VW) {
        mix_values(out + d, scratch, a.values + d, a.n, head_dim, 2);
    }
    for (; d + VW <= head_dim; d += VW) {
        mix_values(out + d, scratch, a.values + d, a.n, head_dim, 1);
    }
    for (; d < head_dim; d++) {
        float sum = 0;
        for (size_t j = 0; j < a.n; j++) {
            sum = __builtin_fmaf(scratch[j], a.values[j * head_dim + d], sum);
        }
        out[d] = sum;
    }
}

const kvl_kernels KERNELS = {
    .name = KERNELS_NAME,
    .gemm = gemm_v,
    .layer_norm = layer_norm_v,
    .rms_norm = rms_norm_v,
    .gelu_erf = gelu_erf_v,
    .gelu_tanh = gelu_tanh_v,
    .silu = silu_v,
    .softcap = softcap_v,
    .mul = mul_v,
    .add = add_v,
    .attend = attend_v,
    .log_sum_exp = log_sum_exp_v,
};
