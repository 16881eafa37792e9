/* What presses cost a prefill: noting what they need while it runs, and the compression behind it.
 *
 * usage: bench_press MODEL [TOKENS [RUNS [KEEP [THREADS [POLICY ...]]]]]
 *
 * Prefills of TOKENS tokens (1024) without and with what a press needs take turns, RUNS (5) of each after a
 * warm-up; the latter are compressed to KEEP (0.5). Printed are medians, and the median over neighbours of
 * what noting and compressing add. With 1 thread the processor's time is counted, which a busy machine does
 * not stretch as much as the clock's. Without policies: all presses that wrap no others and
 * do not look at the text again.
 */
#include "base/alloc.h"
#include "base/os.h"
#include "engine/engine.h"
#include "protocol/calibrate.h"
#include "protocol/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { most_runs = 99, most_tokens = 1 << 20 };

typedef struct bench {
    kvl_engine *engine;
    const kvl_shape *shape;
    kvl_row *rows; /* [n_tokens] */
    size_t n_tokens;
    size_t n_runs;
    const char *keep;
} bench;

/* Nanoseconds so far. */
static double now(const bench *b) {
    struct timespec t;
    if (kvl_engine_threads(b->engine) == 1 && clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0) {
        return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
    }
    return (double)kvl_clock_ns();
}

/* A prefill of a fresh stream that notes what `needs` says. */
static kvl_status prefill(const bench *b, kvl_stream **out, kvl_needs needs, double *ns, kvl_err *err) {
    KVL_TRY(kvl_stream_create(out, b->engine, err));
    KVL_TRY(kvl_stream_watch(*out, b->shape, needs, err));
    for (size_t i = 0; i < b->n_tokens; i++) {
        b->rows[i] =
            (kvl_row){.stream = *out, .token = (int32_t)((i * 7919 + 13) % b->shape->n_vocab), .target = -1};
    }
    const double start = now(b);
    KVL_TRY(kvl_engine_forward(b->engine, b->rows, b->n_tokens, err));
    *ns = now(b) - start;
    return KVL_OK;
}

static kvl_status run_pair(const bench *b, const kvl_policy *policy, double ns[3], uint64_t *noted_bytes,
                           kvl_err *err) {
    kvl_status status = KVL_OK;
    kvl_stream *plain = NULL;
    kvl_stream *noting = NULL;
    KVL_GO(prefill(b, &plain, (kvl_needs){0}, &ns[0], err));
    kvl_stream_destroy(plain);
    plain = NULL;
    KVL_GO(prefill(b, &noting, kvl_policy_needs(policy, b->shape), &ns[1], err));
    *noted_bytes = kvl_stream_tap_bytes(noting, b->shape);
    ns[2] = 0;
    if (kvl_policy_fires(policy, noting, b->shape)) {
        const kvl_compress_job job = {.stream = noting, .policy = policy};
        const double start = now(b);
        KVL_GO(kvl_engine_compress(b->engine, &job, 1, err));
        ns[2] = now(b) - start;
    }
done:
    kvl_stream_destroy(plain);
    kvl_stream_destroy(noting);
    return status;
}

static kvl_status measure(const bench *b, const char *text, kvl_err *err) {
    double without[most_runs], with[most_runs], compress[most_runs], added[most_runs];
    uint64_t noted_bytes = 0;
    kvl_policy policy;
    kvl_policy_init(&policy);
    KVL_TRY(kvl_policy_parse(&policy, text, err));
    KVL_TRY(kvl_policy_set(&policy, "keep", b->keep, err));
    for (size_t i = 0; i <= b->n_runs; i++) { /* the first pair warms up */
        const size_t at = i == 0 ? 0 : i - 1;
        double ns[3];
        KVL_TRY(run_pair(b, &policy, ns, &noted_bytes, err));
        without[at] = ns[0];
        with[at] = ns[1];
        compress[at] = ns[2];
        added[at] = 100 * ((ns[1] + ns[2]) / ns[0] - 1);
    }
    printf("%-34s %9.1f %9.1f %9.1f %9.2f %9.2f %8.1f\n", text, kvl_timing_median(without, b->n_runs) * 1e-6,
           kvl_timing_median(with, b->n_runs) * 1e-6, kvl_timing_median(compress, b->n_runs) * 1e-6,
           (double)noted_bytes * 1e-6,
           (double)kvl_press_scratch_floats(policy.tree, b->shape, b->n_tokens) * sizeof(float) * 1e-6,
           kvl_timing_median(added, b->n_runs));
    fflush(stdout);
    return KVL_OK;
}

static kvl_status measure_all(const bench *b, int argc, char **argv, kvl_err *err) {
    size_t n_presses = 0;
    const kvl_press *const *presses = kvl_presses(&n_presses);
    printf("%s, %u threads, %zu tokens, keep %s, median of %zu\n", kvl_engine_model(b->engine)->name,
           kvl_engine_threads(b->engine), b->n_tokens, b->keep, b->n_runs);
    printf("%-34s %9s %9s %9s %9s %9s %8s\n", "press", "prefill", "noting", "compress", "noted", "scratch",
           "added");
    printf("%-34s %9s %9s %9s %9s %9s %8s\n", "", "ms", "ms", "ms", "MB", "MB/thread", "%");
    for (int i = 6; i < argc; i++) {
        KVL_TRY(measure(b, argv[i], err));
    }
    for (size_t i = 0; argc <= 6 && i < n_presses; i++) {
        if (!presses[i]->is_identity && presses[i]->n_inner == 0 && presses[i]->replay == NULL) {
            KVL_TRY(measure(b, presses[i]->name, err));
        }
    }
    return KVL_OK;
}

/* Statistics for presses that need them: of any tokens, since what they say costs nothing. */
static kvl_status calibrate(kvl_calibration **out, kvl_engine *e, const kvl_shape *shape, kvl_err *err) {
    enum { n_ids = 64 };
    int32_t ids[n_ids];
    kvl_sample item = {.name = "tokens", .ids = {.ids = ids, .n = n_ids}};
    const kvl_samples texts = {.items = &item, .n = 1};
    for (size_t i = 0; i < n_ids; i++) {
        ids[i] = (int32_t)((i * 7919 + 13) % shape->n_vocab);
    }
    return kvl_calibrate(out, e, &texts, n_ids, NULL, err);
}

int main(int argc, char **argv) {
    kvl_model *model = NULL;
    kvl_engine *e = NULL;
    kvl_calibration *calibration = NULL;
    bench b = {.n_tokens = 1024, .n_runs = 5, .keep = "0.5"};
    const kvl_engine_options options = {.n_threads = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0};
    kvl_err err = {0};
    kvl_status status = KVL_OK;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_press MODEL [TOKENS [RUNS [KEEP [THREADS [POLICY ...]]]]]\n");
        return 2;
    }
    b.n_tokens = argc > 2 ? kvl_max_size(1, kvl_min_size(strtoul(argv[2], NULL, 10), most_tokens)) : 1024;
    b.n_runs = argc > 3 ? kvl_max_size(1, kvl_min_size(strtoul(argv[3], NULL, 10), most_runs)) : 5;
    b.keep = argc > 4 ? argv[4] : "0.5";
    KVL_GO(kvl_model_open(&model, argv[1], 0, &err));
    KVL_GO(kvl_engine_create(&e, model, &options, &err));
    b.engine = e;
    b.shape = &model->shape;
    KVL_GO(calibrate(&calibration, e, b.shape, &err));
    model->shape.calibration = calibration;
    b.rows = kvl_calloc(b.n_tokens, sizeof *b.rows);
    KVL_GO(b.rows != NULL ? KVL_OK : kvl_fail_nomem(&err, "rows"));
    KVL_GO(measure_all(&b, argc, argv, &err));
done:
    if (status != KVL_OK) {
        fprintf(stderr, "bench_press: %s\n", err.msg);
    }
    kvl_free(b.rows);
    kvl_engine_destroy(e);
    kvl_model_close(model);
    kvl_calibration_destroy(calibration);
    return kvl_status_exit_code(status);
}
