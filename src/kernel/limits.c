/* Loops that reach the limits: multiply-adds without memory, reading without arithmetic.
 *
 * The "c" and "base" tables have what a compiler may use without flags: 128 bits, a multiplication and an
 * addition apart. The wide loops carry the target of their table's file; kvl_kernels_get has checked that the
 * machine runs it. */
#include "kernel/limits.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    WINDOW_NS = 100000000,
    N_STEPS = 50000,
    ITEMS_PER_THREAD = 4,
    READ_BYTES = 256 << 20,
    READ_ITEMS = 64,
    N_STREAMS = 4
};

/* ---- arithmetic ---- */

typedef void peak_fn(void);

/* Accumulator arrays become registers only when the loops over them are unrolled. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A loop of 12 independent accumulators: latency 4 times 2 units needs at least 8, a register file of 16
 * holds no more. */
enum { N_SUMS = 12 };
#define PEAK(name, attribute, type, one, step)                                                               \
    attribute static void name(void) {                                                                       \
        type sum[N_SUMS];                                                                                    \
        const type factor = 0.999f * (one);                                                                  \
        UNROLL for (int i = 0; i < N_SUMS; i++) { sum[i] = (one) * (float)(i + 1); }                         \
        for (int k = 0; k < N_STEPS; k++) {                                                                  \
            UNROLL for (int i = 0; i < N_SUMS; i++) { sum[i] = step(sum[i], factor); }                       \
        }                                                                                                    \
        type total = sum[0];                                                                                 \
        UNROLL for (int i = 1; i < N_SUMS; i++) { total += sum[i]; }                                         \
        volatile float used = total[0]; /* what is computed must not be removed */                           \
        (void)used;                                                                                          \
    }

typedef float vec4 __attribute__((vector_size(16)));
#define STEP_128(s, f) ((s) * (f) + (f))
PEAK(peak_128, , vec4, ((vec4){1, 1, 1, 1}), STEP_128)

#if defined(__x86_64__)
#define STEP_AVX2(s, f) _mm256_fmadd_ps(s, f, f)
#define STEP_AVX512(s, f) _mm512_fmadd_ps(s, f, f)
PEAK(peak_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps(1.0f), STEP_AVX2)
PEAK(peak_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps(1.0f), STEP_AVX512)
#define STEP_BF16(s, f) _mm512_dpbf16_ps(s, (__m512bh)(f), (__m512bh)(f))
PEAK(peak_bf16, __attribute__((target("avx512f,avx512bf16"))), __m512, _mm512_set1_ps(1.0f), STEP_BF16)

/* The bits of floats are as good as any others. */
#define STEP_INT8(s, f)                                                                                      \
    _mm512_castsi512_ps(                                                                                     \
        _mm512_dpbusd_epi32(_mm512_castps_si512(s), _mm512_castps_si512(f), _mm512_castps_si512(f)))
PEAK(peak_int8, __attribute__((target("avx512f,avx512vnni"))), __m512, _mm512_set1_ps(1.0f), STEP_INT8)
#endif

static const struct {
    const char *isa;
    peak_fn *fn;
    int n_lanes; /* multiply-adds of a step */
    kvl_arith arith;
} peaks[] = {
    {"c", peak_128, 4, KVL_ARITH_F32},
    {"base", peak_128, 4, KVL_ARITH_F32},
#if defined(__x86_64__)
    {"avx2", peak_avx2, 8, KVL_ARITH_F32},
    {"avx512", peak_avx512, 16, KVL_ARITH_F32},
    {"avx512vnni", peak_avx512, 16, KVL_ARITH_F32},
    {"avx512vnni", peak_int8, 64, KVL_ARITH_INT8},
    {"avx512bf16", peak_avx512, 16, KVL_ARITH_F32},
    {"avx512bf16", peak_bf16, 32, KVL_ARITH_BF16},
    {"avx512bf16", peak_int8, 64, KVL_ARITH_INT8},
#endif
};
enum { N_PEAKS = sizeof peaks / sizeof peaks[0] };

static void run_peak(void *ud, size_t item, unsigned thread) {
    (void)item;
    (void)thread;
    peaks[*(const size_t *)ud].fn();
}

/* ---- reading ---- */

typedef uint64_t vec2 __attribute__((vector_size(16)));
enum { STREAM_VECS = READ_BYTES / READ_ITEMS / N_STREAMS / sizeof(vec2) };

static void touch(void *ud, size_t item, unsigned thread) {
    (void)thread;
    memset((char *)ud + item * (READ_BYTES / READ_ITEMS), 1, READ_BYTES / READ_ITEMS);
}

static void read_item(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const vec2 *a = (const vec2 *)ud + item * N_STREAMS * STREAM_VECS;
    const vec2 *b = a + STREAM_VECS;
    const vec2 *c = b + STREAM_VECS;
    const vec2 *d = c + STREAM_VECS;
    vec2 sum[N_STREAMS] = {{0, 0}};
    for (size_t i = 0; i < STREAM_VECS; i++) {
        sum[0] += a[i];
        sum[1] += b[i];
        sum[2] += c[i];
        sum[3] += d[i];
    }
    vec2 total = sum[0] + sum[1] + sum[2] + sum[3];
    volatile uint64_t used = total[0] + total[1];
    (void)used;
}

/* ---- both ---- */

/* Fewest nanoseconds of one loop over the pool. */
static double fastest(kvl_pool *pool, size_t n_items, kvl_item_fn *fn, void *ud) {
    uint64_t best = UINT64_MAX;
    for (uint64_t start = kvl_clock_ns(); kvl_clock_ns() - start < WINDOW_NS;) {
        uint64_t before = kvl_clock_ns();
        kvl_pool_run(pool, n_items, fn, ud);
        uint64_t took = kvl_clock_ns() - before;
        best = took < best ? took : best;
    }
    return (double)best;
}

kvl_status kvl_limits_measure(kvl_limits *out, const char *isa, kvl_arith arith, kvl_pool *pool,
                              kvl_err *err) {
    *out = (kvl_limits){0};
    void *bytes = kvl_alloc(READ_BYTES, 1);
    if (bytes == NULL) {
        return kvl_fail_nomem(err, "calibration");
    }
    for (size_t i = 0; i < N_PEAKS; i++) {
        if (strcmp(peaks[i].isa, isa) == 0 && peaks[i].arith == arith) {
            size_t n_items = (size_t)ITEMS_PER_THREAD * kvl_pool_threads(pool);
            double n_flop = 2.0 * N_STEPS * N_SUMS * peaks[i].n_lanes * (double)n_items;
            out->flop_per_ns = n_flop / fastest(pool, n_items, run_peak, &i);
        }
    }
    kvl_pool_run(pool, READ_ITEMS, touch, bytes);
    out->bytes_per_ns = READ_BYTES / fastest(pool, READ_ITEMS, read_item, bytes);
    kvl_free(bytes);
    return KVL_OK;
}
