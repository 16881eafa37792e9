/* Speed of every kernel table on this machine: products at the shapes of our models, attention, log-sum-exp.
 *
 * usage: bench_kernels [TABLE]...
 *
 * Products are given in GFLOP/s and in percent of what the same instruction set reaches on registers alone,
 * calibrated before each table: on a shared machine the clock moves, a percentage moves less. The best of the
 * repetitions counts, since neighbours only ever slow a run down. One thread.
 */
#include "base/alloc.h"
#include "base/os.h"
#include "base/rng.h"
#include "kernel/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { shape_ns = 60000000, calibration_ns = 100000000, peak_steps = 10000, min_runs = 3 };

static volatile float sink; /* what is computed must not be removed */

/* ---- calibration: independent multiply-adds on registers, returns the operations done ---- */

typedef double peak_fn(void);

/* PEAK defines a loop of n_sums independent accumulators; latency 4 times 2 units needs at least 8. */
#define PEAK(name, attribute, type, n_sums, one, step)                                                       \
    attribute static double name(void) {                                                                     \
        type sum[n_sums];                                                                                    \
        type factor = 0.999f * (one);                                                                        \
        for (int i = 0; i < (n_sums); i++) {                                                                 \
            sum[i] = (one) * (float)(i + 1);                                                                 \
        }                                                                                                    \
        for (int k = 0; k < peak_steps; k++) {                                                               \
            _Pragma("GCC unroll 16") for (int i = 0; i < (n_sums); i++) { sum[i] = step(sum[i], factor); }   \
        }                                                                                                    \
        type total = sum[0];                                                                                 \
        for (int i = 1; i < (n_sums); i++) {                                                                 \
            total += sum[i];                                                                                 \
        }                                                                                                    \
        sink = total[0];                                                                                     \
        return 2.0 * peak_steps * (n_sums) * (double)(sizeof(type) / sizeof(float));                         \
    }

/* what a compiler may use without flags: 128 bits, multiplication and addition apart */
typedef float vec4 __attribute__((vector_size(16)));
#define STEP_128(s, f) ((s) * (f) + (f))
PEAK(peak_128, , vec4, 12, ((vec4){1, 1, 1, 1}), STEP_128)

#if defined(__x86_64__)
#define STEP_AVX2(s, f) _mm256_fmadd_ps(s, f, f)
#define STEP_AVX512(s, f) _mm512_fmadd_ps(s, f, f)
PEAK(peak_avx2, __attribute__((target("avx2,fma"))), __m256, 12, _mm256_set1_ps(1.0f), STEP_AVX2)
PEAK(peak_avx512, __attribute__((target("avx512f"))), __m512, 16, _mm512_set1_ps(1.0f), STEP_AVX512)
#endif

/* GFLOP/s of the table's instruction set; 0 when unknown here. */
static double measure_peak(const char *name) {
    bool is_portable = strcmp(name, "c") == 0 || strcmp(name, "base") == 0;
    peak_fn *fn = is_portable ? peak_128 : NULL;
#if defined(__x86_64__)
    fn = strcmp(name, "avx2") == 0 ? peak_avx2 : fn;
    fn = strcmp(name, "avx512") == 0 ? peak_avx512 : fn;
#endif
    double best = 0;
    for (uint64_t start = kvl_clock_ns(); fn != NULL && kvl_clock_ns() - start < calibration_ns;) {
        uint64_t before = kvl_clock_ns();
        double rate = fn() / (double)(kvl_clock_ns() - before);
        best = rate > best ? rate : best;
    }
    return best;
}

/* ---- products ---- */

static float *random_block(size_t n, uint64_t seed) {
    float *x = kvl_calloc(n, sizeof *x);
    if (x == NULL) {
        fprintf(stderr, "bench_kernels: out of memory\n");
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = 2.0f * kvl_rng_unit(seed, 0, i) - 1.0f;
    }
    return x;
}

typedef struct shape {
    const char *name;
    size_t n_in, n_cols;
} shape;

static const shape shapes[] = {{"256 qkv", 256, 768},   {"256 out", 256, 256},   {"256 up", 256, 1024},
                               {"256 down", 1024, 256}, {"512 qkv", 512, 1536},  {"512 out", 512, 512},
                               {"512 up", 512, 2048},   {"512 down", 2048, 512}, {"256 head", 256, 4096},
                               {"512 head", 512, 50304}};
static const size_t row_counts[] = {1, 11, 55, 512};
enum { n_shapes = sizeof shapes / sizeof shapes[0], n_row_counts = sizeof row_counts / sizeof row_counts[0] };

/* GFLOP/s of one product, best repetition. */
static double time_gemm(const kvl_kernels *k, const shape *s, size_t m, float *out, const float *x,
                        const kvl_panels *panels, const float *bias) {
    uint64_t best = UINT64_MAX;
    uint64_t start = kvl_clock_ns();
    for (int runs = 0; runs < min_runs || kvl_clock_ns() - start < shape_ns; runs++) {
        uint64_t before = kvl_clock_ns();
        k->gemm(out, s->n_cols, x, s->n_in, panels, bias, m, s->n_in, s->n_cols);
        uint64_t took = kvl_clock_ns() - before;
        best = took < best ? took : best;
    }
    return 2.0 * (double)m * (double)s->n_in * (double)s->n_cols / (double)best;
}

static void bench_gemm(const kvl_kernels *k, double peak) {
    size_t most_rows = row_counts[n_row_counts - 1];
    printf("%-10s %13s", "product", "in x out");
    for (size_t i = 0; i < n_row_counts; i++) {
        printf("      m = %-3zu   %%", row_counts[i]);
    }
    printf("\n");
    for (const shape *s = shapes; s < shapes + n_shapes; s++) {
        float *x = random_block(most_rows * s->n_in, 1);
        float *weights = random_block(kvl_panels_bytes(KVL_PANEL_F32, s->n_in, s->n_cols) / sizeof(float), 2);
        const kvl_panels panels = {KVL_PANEL_F32, 0, weights};
        float *bias = random_block(s->n_cols, 3);
        float *out = random_block(most_rows * s->n_cols, 4);
        printf("%-10s %5zu x %5zu", s->name, s->n_in, s->n_cols);
        for (size_t i = 0; i < n_row_counts; i++) {
            double rate = time_gemm(k, s, row_counts[i], out, x, &panels, bias);
            printf("   %9.1f %4.0f", rate, peak > 0 ? 100.0 * rate / peak : 0.0);
            fflush(stdout);
        }
        printf("\n");
        kvl_free(x);
        kvl_free(weights);
        kvl_free(bias);
        kvl_free(out);
    }
}

/* ---- attention and log-sum-exp ---- */

static void bench_attend(const kvl_kernels *k, size_t n, size_t head_dim) {
    size_t padded = kvl_round_up(n, KVL_KEY_PANEL);
    float *q = random_block(head_dim, 1);
    float *keys = random_block(padded * head_dim, 2);
    float *values = random_block(n * head_dim, 3);
    float *out = random_block(head_dim, 4);
    float *scratch = random_block(padded, 5);
    uint64_t best = UINT64_MAX;
    uint64_t start = kvl_clock_ns();
    while (kvl_clock_ns() - start < shape_ns) {
        enum { calls = 16 }; /* one call is too short for the clock */
        uint64_t before = kvl_clock_ns();
        for (int i = 0; i < calls; i++) {
            const kvl_attention a = {.keys = keys, .values = values, .head_dim = head_dim, .scale = 0.125f};
            k->attend(&a, &(kvl_attention_row){q, out, n, 0}, 1, scratch);
        }
        uint64_t took = (kvl_clock_ns() - before) / calls;
        best = took < best ? took : best;
    }
    printf(" %8llu", (unsigned long long)best);
    kvl_free(q);
    kvl_free(keys);
    kvl_free(values);
    kvl_free(out);
    kvl_free(scratch);
}

static void bench_attention(const kvl_kernels *k) {
    static const size_t dims[] = {32, 64, 80, 128};
    static const size_t entries[] = {16, 128, 512, 2048};
    printf("attend, ns: head_dim, then entries = 16, 128, 512, 2048\n");
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        printf("%-10zu", dims[i]);
        for (size_t j = 0; j < sizeof entries / sizeof entries[0]; j++) {
            bench_attend(k, entries[j], dims[i]);
        }
        printf("\n");
    }
}

static void bench_log_sum_exp(const kvl_kernels *k) {
    static const size_t sizes[] = {4096, 50304};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        float *x = random_block(sizes[i], 1);
        uint64_t best = UINT64_MAX;
        uint64_t start = kvl_clock_ns();
        while (kvl_clock_ns() - start < shape_ns) {
            uint64_t before = kvl_clock_ns();
            sink = (float)k->log_sum_exp(x, sizes[i]);
            uint64_t took = kvl_clock_ns() - before;
            best = took < best ? took : best;
        }
        printf("log_sum_exp of %zu: %llu ns\n", sizes[i], (unsigned long long)best);
        kvl_free(x);
    }
}

static int bench_table(const char *name) {
    const kvl_kernels *k = NULL;
    kvl_err err = {0};
    if (kvl_kernels_get(&k, name, &err) != KVL_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.msg);
        return EXIT_FAILURE;
    }
    double peak = measure_peak(name);
    printf("== %s: %.1f GFLOP/s on registers alone\n", name, peak);
    bench_gemm(k, peak);
    bench_attention(k);
    bench_log_sum_exp(k);
    printf("\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    int status = EXIT_SUCCESS;
    for (int i = 1; i < argc && status == EXIT_SUCCESS; i++) {
        status = bench_table(argv[i]);
    }
    for (const char *const *name = kvl_kernels_names(); argc < 2 && *name != NULL; name++) {
        status = bench_table(*name);
    }
    return status;
}
