/* Speed of every kernel table on this machine, in percent of what its instruction set reaches.
 *
 * usage: bench_kernels [TABLE]...
 *
 * Limits (kernel/limits.h) are measured before each table: on a shared machine the clock and the bus move, a
 * percentage moves less. Products of one row read each weight once, so that they stand beside the bandwidth
 * of memory as well; matrices below the size of the last cache exceed it. The best of the repetitions counts,
 * since neighbours only ever slow a run down. One thread.
 */
#include "base/alloc.h"
#include "base/os.h"
#include "base/rng.h"
#include "kernel/kernel.h"
#include "kernel/limits.h"

#include <stdio.h>
#include <stdlib.h>

enum { shape_ns = 60000000, min_runs = 3, max_rows = 512 };

static volatile double sink; /* what is computed must not be removed */

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

/* Nanoseconds of one call of fn, best repetition. */
typedef void call_fn(const kvl_kernels *k, void *ud);

static double time_call(const kvl_kernels *k, call_fn *fn, void *ud) {
    uint64_t best = UINT64_MAX;
    uint64_t start = kvl_clock_ns();
    for (int runs = 0; runs < min_runs || kvl_clock_ns() - start < shape_ns; runs++) {
        uint64_t before = kvl_clock_ns();
        fn(k, ud);
        uint64_t took = kvl_clock_ns() - before;
        best = took < best ? took : best;
    }
    return (double)best;
}

static double percent(double rate, double limit) { return limit > 0 ? 100.0 * rate / limit : 0.0; }

/* ---- products ---- */

static const struct {
    const char *name;
    size_t n_in, n_cols;
} shapes[] = {{"SmolLM2 qkv", 576, 960},   {"SmolLM2 out", 576, 576},    {"SmolLM2 up", 576, 1536},
              {"SmolLM2 down", 1536, 576}, {"SmolLM2 head", 576, 49152}, {"Pythia qkv", 512, 1536},
              {"Pythia out", 512, 512},    {"Pythia up", 512, 2048},     {"Pythia down", 2048, 512},
              {"Pythia head", 512, 50304}};
enum { n_shapes = sizeof shapes / sizeof shapes[0] };
static const size_t row_counts[] = {1, 11, 64, max_rows};
enum { n_row_counts = sizeof row_counts / sizeof row_counts[0] };

typedef struct product {
    float *out, *x, *bias;
    kvl_panels panels;
    size_t n_rows, n_in, n_cols;
} product;

static void run_product(const kvl_kernels *k, void *ud) {
    const product *p = ud;
    k->gemm(p->out, p->n_cols, p->x, p->n_in, &p->panels, p->bias, p->n_rows, p->n_in, p->n_cols);
}

static void bench_gemm(const kvl_kernels *k, const kvl_limits *limits) {
    printf("product: GFLOP/s, %% of the limit; GB/s of weights, %% of the limit at m = 1\n%-14s %13s   %22s",
           "", "in x out", "m = 1        GB/s   %  ");
    for (size_t i = 1; i < n_row_counts; i++) {
        printf("     m = %-4zu  %%", row_counts[i]);
    }
    printf("\n");
    for (size_t s = 0; s < n_shapes; s++) {
        product p = {.n_in = shapes[s].n_in, .n_cols = shapes[s].n_cols};
        size_t n_weights = kvl_panels_bytes(KVL_PANEL_F32, p.n_in, p.n_cols) / sizeof(float);
        p.x = random_block(max_rows * p.n_in, 1);
        p.panels = (kvl_panels){KVL_PANEL_F32, 0, random_block(n_weights, 2)};
        p.bias = random_block(p.n_cols, 3);
        p.out = random_block(max_rows * p.n_cols, 4);
        printf("%-14s %5zu x %5zu", shapes[s].name, p.n_in, p.n_cols);
        for (size_t i = 0; i < n_row_counts; i++) {
            p.n_rows = row_counts[i];
            double ns = time_call(k, run_product, &p);
            double rate = 2.0 * (double)p.n_rows * (double)p.n_in * (double)p.n_cols / ns;
            printf("  %8.1f %3.0f", rate, percent(rate, limits->flop_per_ns));
            if (p.n_rows == 1) {
                double bytes_per_ns = (double)n_weights * sizeof(float) / ns;
                printf(" %7.1f %3.0f", bytes_per_ns, percent(bytes_per_ns, limits->bytes_per_ns));
            }
            fflush(stdout);
        }
        printf("\n");
        kvl_free(p.x);
        kvl_free(p.panels.data);
        kvl_free(p.bias);
        kvl_free(p.out);
    }
}

/* ---- packed products ---- */

/* Blocks of any bytes are weights, but their scales must be numbers. */
static kvl_panels random_blocks(kvl_panel_type type, size_t n_in, size_t n_cols) {
    const size_t bytes = kvl_panels_bytes(type, n_in, n_cols);
    const size_t block = kvl_panel_bytes(type, KVL_PANEL_BLOCK);
    uint8_t *data = (uint8_t *)random_block(bytes / sizeof(float), 2);
    for (size_t at = 0; at < bytes; at += block) {
        for (size_t i = 0; i < KVL_PANEL_PAIR_BYTES; i += 2) {
            data[at + i] = 0;
            data[at + i + 1] = 0x3c; /* 1 */
        }
    }
    return (kvl_panels){type, 0, data};
}

typedef struct packed {
    product p;
    kvl_q8 *rounded;
} packed;

static void run_packed(const kvl_kernels *k, void *ud) { run_product(k, &((packed *)ud)->p); }

static void run_int8(const kvl_kernels *k, void *ud) {
    const packed *q = ud;
    const product *p = &q->p;
    k->gemm_q8(p->out, p->n_cols, q->rounded, p->n_in / KVL_PANEL_BLOCK, &p->panels, p->bias, p->n_rows,
               p->n_in, p->n_cols);
}

static void bench_packed(const kvl_kernels *k, const kvl_limits *limits, const kvl_limits *int8_limits) {
    static const struct {
        const char *name;
        kvl_panel_type type;
    } types[] = {{"Q4", KVL_PANEL_Q4}, {"Q8", KVL_PANEL_Q8}};
    printf("packed product, exact in f32 and with rows rounded to 8 bits: G/s, %% of that limit\n%-23s", "");
    for (size_t i = 0; i < n_row_counts; i++) {
        printf("         m = %-4zu        ", row_counts[i]);
    }
    printf("\n");
    for (size_t t = 0; t < 2; t++) {
        for (size_t s = 2; s < 5; s++) {
            packed q = {.p = {.n_in = shapes[s].n_in, .n_cols = shapes[s].n_cols}};
            q.p.x = random_block(max_rows * q.p.n_in, 1);
            q.p.panels = random_blocks(types[t].type, q.p.n_in, q.p.n_cols);
            q.p.bias = random_block(q.p.n_cols, 3);
            q.p.out = random_block(max_rows * q.p.n_cols, 4);
            q.rounded = kvl_calloc(max_rows * q.p.n_in / KVL_PANEL_BLOCK, sizeof(kvl_q8));
            k->quantize(q.rounded, q.p.x, max_rows * q.p.n_in);
            printf("%s %5zu x %5zu       ", types[t].name, q.p.n_in, q.p.n_cols);
            for (size_t i = 0; i < n_row_counts; i++) {
                q.p.n_rows = row_counts[i];
                const double n_op = 2.0 * (double)q.p.n_rows * (double)q.p.n_in * (double)q.p.n_cols;
                const double exact = n_op / time_call(k, run_packed, &q);
                const double rounded = n_op / time_call(k, run_int8, &q);
                printf("  %6.1f %3.0f %7.1f %3.0f", exact, percent(exact, limits->flop_per_ns), rounded,
                       percent(rounded, int8_limits->flop_per_ns));
                fflush(stdout);
            }
            printf("\n");
            kvl_free(q.p.x);
            kvl_free(q.p.panels.data);
            kvl_free(q.p.bias);
            kvl_free(q.p.out);
            kvl_free(q.rounded);
        }
    }
}

/* ---- attention ---- */

/* Rows of one head: as many entries for each, or one more each time (causal). */
typedef struct attention {
    kvl_attention head;
    kvl_attention_row rows[max_rows];
    size_t n_rows;
    float *scratch;
} attention;

static void run_attention(const kvl_kernels *k, void *ud) {
    const attention *a = ud;
    for (size_t i = 0; i < a->n_rows; i += KVL_ATTEND_ROWS) {
        k->attend(&a->head, a->rows + i, kvl_min_size(KVL_ATTEND_ROWS, a->n_rows - i), a->scratch);
    }
}

static void bench_attend(const kvl_kernels *k, const kvl_limits *limits, size_t n_rows, size_t n,
                         size_t head_dim, bool is_causal) {
    static attention a;
    size_t padded = kvl_round_up(n, KVL_KEY_PANEL);
    float *q = random_block(n_rows * head_dim, 1);
    float *keys = random_block(padded * head_dim, 2);
    float *values = random_block(n * head_dim, 3);
    float *out = random_block(n_rows * head_dim, 4);
    double n_seen = 0;
    a = (attention){.head = {.keys = keys, .values = values, .head_dim = head_dim, .scale = 0.125f},
                    .n_rows = n_rows};
    a.scratch = random_block(padded * KVL_ATTEND_ROWS, 5);
    for (size_t i = 0; i < n_rows; i++) {
        size_t n_row = is_causal ? n - n_rows + i + 1 : n;
        a.rows[i] = (kvl_attention_row){.q = q + i * head_dim, .out = out + i * head_dim, .n = n_row};
        n_seen += (double)n_row;
    }
    double ns = time_call(k, run_attention, &a);
    double rate = 4.0 * n_seen * (double)head_dim / ns;
    printf("%4zu x %4zu%s, D = %-4zu %12.0f ns %8.1f GFLOP/s %4.0f %%\n", n_rows, n,
           is_causal ? " causal" : "       ", head_dim, ns, rate, percent(rate, limits->flop_per_ns));
    kvl_free(q);
    kvl_free(keys);
    kvl_free(values);
    kvl_free(out);
    kvl_free(a.scratch);
}

static void bench_attention(const kvl_kernels *k, const kvl_limits *limits) {
    static const size_t dims[] = {64, 80, 128};
    static const size_t entries[] = {16, 128, 512, 2048};
    printf("attention of one head: queries x entries\n");
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (size_t j = 0; j < sizeof entries / sizeof entries[0]; j++) {
            bench_attend(k, limits, 1, entries[j], dims[i], false);
        }
        bench_attend(k, limits, 11, 512, dims[i], false);
        bench_attend(k, limits, 512, 2048, dims[i], true);
    }
}

/* ---- budgets of one ranking ---- */

enum { n_budgets = 11, n_heads = 8, budget_dim = 64, n_pairs = 5 };

/* A query of each budget in each head: over one shared list and n_own entries of its own, or over a list that
 * holds both. */
typedef struct budgets {
    kvl_attention heads[n_heads];
    kvl_attention_row nested[n_heads][n_budgets];
    kvl_attention lists[n_heads][n_budgets];
    kvl_attention_row alone[n_heads][n_budgets];
    float *scratch;
} budgets;

static void run_nested(const kvl_kernels *k, void *ud) {
    const budgets *b = ud;
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t r = 0; r < n_budgets; r += KVL_ATTEND_ROWS) {
            k->attend(&b->heads[h], &b->nested[h][r], kvl_min_size(KVL_ATTEND_ROWS, n_budgets - r),
                      b->scratch);
        }
    }
}

static void run_separate(const kvl_kernels *k, void *ud) {
    const budgets *b = ud;
    for (size_t r = 0; r < n_budgets; r++) {
        for (size_t h = 0; h < n_heads; h++) {
            k->attend(&b->lists[h][r], &b->alone[h][r], 1, b->scratch);
        }
    }
}

static kvl_attention random_list(size_t n, uint64_t seed) {
    return (kvl_attention){.keys = random_block(kvl_round_up(n, KVL_KEY_PANEL) * budget_dim, seed),
                           .values = random_block(n * budget_dim, seed + 1),
                           .head_dim = budget_dim,
                           .scale = 0.125f};
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void bench_budgets(const kvl_kernels *k, size_t n, size_t n_own) {
    static const double ratios[n_budgets] = {1, .95, .9, .8, .7, .6, .5, .4, .3, .2, .1};
    static budgets b;
    double pairs[n_pairs], nested_ns = 0, separate_ns = 0;
    float *q = random_block(budget_dim, 1);
    float *out = random_block(budget_dim, 2);
    b.scratch = random_block(KVL_ATTEND_ROWS * kvl_round_up(n + n_own + KVL_KEY_PANEL, KVL_KEY_PANEL), 3);
    for (size_t h = 0; h < n_heads; h++) {
        b.heads[h] = random_list(n, 4);
        for (size_t r = 0; r < n_budgets; r++) {
            const size_t n_kept = (size_t)(ratios[r] * (double)n);
            const kvl_attention own = random_list(n_own, 5);
            b.lists[h][r] = random_list(n_kept + n_own, 6);
            b.alone[h][r] = (kvl_attention_row){.q = q, .out = out, .n = n_kept + n_own};
            b.nested[h][r] = (kvl_attention_row){.q = q, .out = out, .n = n_kept, .n_own = n_own};
            b.nested[h][r].own_keys = own.keys;
            b.nested[h][r].own_values = own.values;
        }
    }
    for (size_t i = 0; i < n_pairs; i++) {
        separate_ns = time_call(k, run_separate, &b);
        nested_ns = time_call(k, run_nested, &b);
        pairs[i] = separate_ns / nested_ns;
    }
    qsort(pairs, n_pairs, sizeof *pairs, by_size);
    printf("%5zu entries, %3zu own  %9.1f us separate %9.1f us nested   %.2fx (%.2f to %.2f)\n", n, n_own,
           separate_ns * 1e-3, nested_ns * 1e-3, pairs[n_pairs / 2], pairs[0], pairs[n_pairs - 1]);
    for (size_t i = 0; i < (size_t)n_heads * n_budgets; i++) {
        kvl_free((void *)(uintptr_t)b.lists[i / n_budgets][i % n_budgets].keys);
        kvl_free((void *)(uintptr_t)b.lists[i / n_budgets][i % n_budgets].values);
        kvl_free((void *)(uintptr_t)b.nested[i / n_budgets][i % n_budgets].own_keys);
        kvl_free((void *)(uintptr_t)b.nested[i / n_budgets][i % n_budgets].own_values);
    }
    for (size_t h = 0; h < n_heads; h++) {
        kvl_free((void *)(uintptr_t)b.heads[h].keys);
        kvl_free((void *)(uintptr_t)b.heads[h].values);
    }
    kvl_free(q);
    kvl_free(out);
    kvl_free(b.scratch);
}

static void bench_ranking(const kvl_kernels *k) {
    static const size_t entries[] = {512, 2048, 8192};
    printf("%d budgets of one ranking, %d heads, D = %d: last pair, and medians of %d\n", n_budgets, n_heads,
           budget_dim, n_pairs);
    for (size_t i = 0; i < 2 * sizeof entries / sizeof entries[0]; i++) {
        bench_budgets(k, entries[i / 2], i % 2 * 64);
    }
}

/* ---- log-sum-exp ---- */

typedef struct values {
    float *x;
    size_t n;
} values;

static void run_log_sum_exp(const kvl_kernels *k, void *ud) {
    const values *v = ud;
    sink = k->log_sum_exp(v->x, v->n);
}

static void bench_log_sum_exp(const kvl_kernels *k) {
    static const size_t sizes[] = {4096, 49152, 50304};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        values v = {random_block(sizes[i], 1), sizes[i]};
        double ns = time_call(k, run_log_sum_exp, &v);
        printf("log_sum_exp of %5zu: %8.0f ns, %.2f values/ns\n", v.n, ns, (double)v.n / ns);
        kvl_free(v.x);
    }
}

static int bench_table(const char *name, kvl_pool *pool) {
    const kvl_kernels *k = NULL;
    kvl_limits limits, int8_limits;
    kvl_err err = {0};
    if (kvl_kernels_get(&k, name, &err) != KVL_OK ||
        kvl_limits_measure(&limits, name, KVL_ARITH_F32, pool, &err) != KVL_OK ||
        kvl_limits_measure(&int8_limits, name, KVL_ARITH_INT8, pool, &err) != KVL_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.msg);
        return EXIT_FAILURE;
    }
    printf("== %s: limits %.1f GFLOP/s on registers alone, %.1f GB/s read\n", name, limits.flop_per_ns,
           limits.bytes_per_ns);
    bench_gemm(k, &limits);
    bench_packed(k, &limits, &int8_limits);
    bench_attention(k, &limits);
    bench_ranking(k);
    bench_log_sum_exp(k);
    printf("\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    kvl_pool *pool = NULL;
    int status = kvl_pool_create(&pool, 1, NULL) == KVL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    for (int i = 1; i < argc && status == EXIT_SUCCESS; i++) {
        status = bench_table(argv[i], pool);
    }
    for (const char *const *name = kvl_kernels_names(); argc < 2 && status == EXIT_SUCCESS && *name != NULL;
         name++) {
        status = bench_table(*name, pool);
    }
    kvl_pool_destroy(pool);
    return status;
}
