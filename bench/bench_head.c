/* What scoring adds to the output matrix: fused projection with NLL, and with KL, over the bare product.
 *
 * usage: bench_head [ISA [THREADS [PAIRS]]]
 *
 * Random weights in the shapes of three models. The bare product goes through the vocabulary in the same
 * pieces and throws the logits away. The ways alternate in one process; printed is the median of the paired
 * ratios with the smallest and largest. With KL, eleven rows share a reference, as in a sweep of as many
 * keep ratios.
 */
#include "base/alloc.h"
#include "base/os.h"
#include "base/rng.h"
#include "engine/engine_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { most_rows = 512, rows_per_reference = 11, most_pairs = 99 };

typedef enum way { BARE, WITH_NLL, WITH_KL, n_ways } way;

static const struct {
    const char *name;
    uint32_t width, n_vocab;
} shapes[] = {{"novels-7m", 256, 4096}, {"Pythia-70M", 512, 50304}, {"SmolLM2-135M", 576, 49152}};

static void fill(float *x, size_t n, uint64_t seed, float scale) {
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * (2.0f * kvl_rng_unit(seed, 0, i) - 1.0f);
    }
}

static float *random_block(size_t n, uint64_t seed, float scale) {
    float *x = kvl_calloc(n, sizeof *x);
    if (x == NULL) {
        fprintf(stderr, "bench_head: out of memory\n");
        exit(EXIT_FAILURE);
    }
    fill(x, n, seed, scale);
    return x;
}

typedef struct head {
    kvl_model model;
    kvl_engine *e;
    kvl_stream stream;
    float *references; /* [most_rows / rows_per_reference + 1, E] */
    size_t n_rows;     /* of the batch at hand */
} head;

static void bare_piece(void *ud, size_t item, unsigned thread) {
    const head *h = ud;
    const size_t n_vocab = h->model.shape.n_vocab;
    const size_t first = item * KVL_VOCAB_PIECE;
    const size_t n_cols = kvl_min_size(KVL_VOCAB_PIECE, n_vocab - first);
    kvli_engine_multiply(h->e, &h->model.output,
                         h->e->act.logits + (size_t)thread * KVL_SCORE_ROWS * KVL_VOCAB_PIECE, n_cols,
                         h->e->act.attn_in, h->n_rows, first, n_cols);
}

static void run(head *h, way w, size_t n_rows) {
    kvl_row rows[KVL_BATCH_ROWS];
    kvl_err err = {0};
    for (size_t done = 0; done < n_rows; done += KVL_BATCH_ROWS) {
        const size_t n = kvl_min_size(KVL_BATCH_ROWS, n_rows - done);
        for (size_t i = 0; i < n; i++) {
            const size_t reference = (done + i) / rows_per_reference;
            rows[i] = (kvl_row){.stream = &h->stream,
                                .target = (int32_t)(i * 7919 % h->model.shape.n_vocab),
                                .reference =
                                    w == WITH_KL ? h->references + reference * h->model.shape.width : NULL};
        }
        for (size_t i = 0; w == BARE && i < n; i += KVL_SCORE_ROWS) {
            h->n_rows = kvl_min_size(KVL_SCORE_ROWS, n - i);
            kvl_pool_run(h->e->pool, kvli_vocab_pieces(&h->model.shape), bare_piece, h);
        }
        if (w != BARE && kvli_engine_score(h->e, rows, n, &err) != KVL_OK) {
            fprintf(stderr, "bench_head: %s\n", err.msg);
            exit(EXIT_FAILURE);
        }
    }
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_ratios(double *ratios, size_t n) {
    qsort(ratios, n, sizeof *ratios, by_value);
    printf("  %6.3f (%.2f .. %.2f)", ratios[n / 2], ratios[0], ratios[n - 1]);
}

static void bench_rows(head *h, const char *name, size_t n_rows, size_t n_pairs) {
    double ratios[n_ways][most_pairs];
    double best_ns = 1e300;
    const double flop = 2.0 * (double)n_rows * h->model.shape.width * h->model.shape.n_vocab;
    for (size_t i = 0; i <= n_pairs; i++) { /* round 0 warms up */
        double ns[n_ways];
        for (size_t k = 0; k < n_ways; k++) {
            const way w = (way)((i + k) % n_ways);
            const uint64_t start = kvl_clock_ns();
            run(h, w, n_rows);
            ns[w] = (double)(kvl_clock_ns() - start);
        }
        for (size_t w = 0; i > 0 && w < n_ways; w++) {
            ratios[w][i - 1] = ns[w] / ns[BARE];
        }
        best_ns = ns[BARE] < best_ns ? ns[BARE] : best_ns;
    }
    printf("%-12s %4u x %-5u %4zu  %9.2f %7.1f", name, h->model.shape.width, h->model.shape.n_vocab, n_rows,
           best_ns / 1e6, flop / best_ns);
    print_ratios(ratios[WITH_NLL], n_pairs);
    print_ratios(ratios[WITH_KL], n_pairs);
    printf("\n");
    fflush(stdout);
}

static kvl_status bench_shape(size_t shape, const kvl_engine_options *options, size_t n_pairs, kvl_err *err) {
    static head h;
    const uint32_t width = shapes[shape].width, n_vocab = shapes[shape].n_vocab;
    const size_t n_weights = kvl_panels_bytes(KVL_PANEL_F32, width, n_vocab) / sizeof(float);
    const size_t n_references = most_rows / rows_per_reference + 1;
    float *gain = random_block(width, 1, 1.0f), *shift = random_block(width, 2, 0.1f);
    float *weights = random_block(n_weights, 3, 0.3f);
    h = (head){.model = {.name = "random",
                         .shape = {.n_heads = 1,
                                   .n_kv_heads = 1,
                                   .head_dim = 4,
                                   .width = width,
                                   .ff_width = width,
                                   .n_vocab = n_vocab,
                                   .norm_eps = 1e-5f},
                         .final_norm = {gain, shift},
                         .output = {.segments = {{{KVL_PANEL_F32, 0, weights}, 0, n_vocab}},
                                    .n_segments = 1,
                                    .n_in = width,
                                    .n_out = n_vocab}}};
    h.references = random_block(n_references * width, 4, 1.0f);
    kvl_status status = kvl_engine_create(&h.e, &h.model, options, err);
    if (status == KVL_OK) {
        fill(h.e->act.x, (size_t)KVL_BATCH_ROWS * width, 5, 1.0f);
        bench_rows(&h, shapes[shape].name, 64, n_pairs);
        bench_rows(&h, shapes[shape].name, most_rows, n_pairs);
    }
    kvl_engine_destroy(h.e);
    kvl_free(h.references);
    kvl_free(weights);
    kvl_free(gain);
    kvl_free(shift);
    return status;
}

int main(int argc, char **argv) {
    const kvl_engine_options options = {.isa = argc > 1 ? argv[1] : NULL,
                                        .n_threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1};
    const size_t n_pairs = argc > 3 ? kvl_min_size(strtoul(argv[3], NULL, 10), most_pairs) : 15;
    kvl_err err = {0};
    kvl_status status = n_pairs > 0 ? KVL_OK : KVL_E_USAGE;
    printf("%-12s %12s %4s  %9s %7s  %-22s  %s\n", "", "E x V", "rows", "bare ms", "GFLOP/s",
           "with NLL / bare", "with KL / bare");
    for (size_t i = 0; status == KVL_OK && i < sizeof shapes / sizeof shapes[0]; i++) {
        status = bench_shape(i, &options, n_pairs, &err);
    }
    if (status != KVL_OK) {
        fprintf(stderr, "bench_head: %s\n", err.msg);
    }
    return kvl_status_exit_code(status);
}
