/* What a decoding step of several streams costs over a step of one: the batched step of a sweep or a server.
 *
 * usage: bench_step MODEL [ARITHMETIC [THREADS [DEPTH]]]
 *
 * 11 streams with DEPTH tokens each (64 unless given). Steps of one stream and steps of all take turns, each
 * row scored; printed are the medians of both and of the ratio of neighbours.
 */
#include "base/os.h"
#include "engine/engine.h"
#include "protocol/timing.h"

#include <stdio.h>
#include <stdlib.h>

enum { n_streams = 11, n_pairs = 41, most_depth = 65536 };

/* Nanoseconds of one step of the first n streams. */
static kvl_status step(kvl_engine *e, kvl_stream **streams, size_t n, double *ns, kvl_err *err) {
    kvl_row rows[n_streams];
    for (size_t i = 0; i < n; i++) {
        rows[i] = (kvl_row){.stream = streams[i], .token = (int32_t)(1 + i), .target = (int32_t)(2 + i)};
    }
    const uint64_t start = kvl_clock_ns();
    KVL_TRY(kvl_engine_forward(e, rows, n, err));
    *ns = (double)(kvl_clock_ns() - start);
    return KVL_OK;
}

static kvl_status fill(kvl_engine *e, kvl_stream *stream, size_t depth, kvl_err *err) {
    for (size_t t = 0; t < depth; t++) {
        kvl_row row = {.stream = stream, .token = (int32_t)(1 + t % 500), .target = -1};
        KVL_TRY(kvl_engine_forward(e, &row, 1, err));
    }
    return kvl_stream_reserve(e, stream, (size_t)2 * n_pairs + 4, err);
}

static kvl_status measure(kvl_engine *e, kvl_stream **streams, size_t depth, kvl_err *err) {
    double one[n_pairs], all[n_pairs], ratio[n_pairs];
    KVL_TRY(kvl_stream_create(&streams[0], e, err));
    KVL_TRY(fill(e, streams[0], depth, err));
    for (size_t i = 1; i < n_streams; i++) {
        KVL_TRY(kvl_stream_fork(&streams[i], streams[0], err));
    }
    for (size_t i = 0; i <= n_pairs; i++) { /* the first pair warms up */
        const size_t at = i == 0 ? 0 : i - 1;
        KVL_TRY(step(e, streams, 1, &one[at], err));
        KVL_TRY(step(e, streams, n_streams, &all[at], err));
        ratio[at] = all[at] / one[at];
    }
    printf("%s %s, %u threads, depth %zu: a step of 1 row %.3f ms, of %d rows %.3f ms, ratio %.2f\n",
           kvl_engine_model(e)->name, kvl_arith_name(kvl_engine_model(e)->arith), kvl_engine_threads(e),
           depth, kvl_timing_median(one, n_pairs) * 1e-6, n_streams, kvl_timing_median(all, n_pairs) * 1e-6,
           kvl_timing_median(ratio, n_pairs));
    return KVL_OK;
}

int main(int argc, char **argv) {
    kvl_model *model = NULL;
    kvl_engine *e = NULL;
    kvl_stream *streams[n_streams] = {NULL};
    kvl_arith arith = KVL_ARITH_F32;
    kvl_err err = {0};
    kvl_status status = KVL_OK;
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: bench_step MODEL [ARITHMETIC [THREADS [DEPTH]]]\n");
        return 2;
    }
    const kvl_engine_options options = {.n_threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0};
    const size_t depth = argc > 4 ? kvl_min_size(strtoul(argv[4], NULL, 10), most_depth) : 64;
    KVL_GO(argc > 2 ? kvl_arith_find(&arith, argv[2], &err) : KVL_OK);
    KVL_GO(kvl_model_open_as(&model, argv[1], arith, 0, &err));
    KVL_GO(kvl_engine_create(&e, model, &options, &err));
    KVL_GO(measure(e, streams, depth, &err));
done:
    if (status != KVL_OK) {
        fprintf(stderr, "bench_step: %s\n", err.msg);
    }
    for (size_t i = 0; i < n_streams; i++) {
        kvl_stream_destroy(streams[i]);
    }
    kvl_engine_destroy(e);
    kvl_model_close(model);
    return kvl_status_exit_code(status);
}
