/* Time to open a model: headers, reading, dequantisation and packing, with the file in the page cache.
 *
 * usage: bench_load PATH [THREADS [RUNS]]
 */
#include "base/os.h"
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>

enum { max_runs = 99 };

static int compare(const void *a, const void *b) {
    const double *x = a;
    const double *y = b;
    return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv) {
    double ms[max_runs];
    unsigned n_threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 2;
    int n_runs = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    if (argc < 2 || n_runs < 1 || n_runs > max_runs) {
        fprintf(stderr, "usage: bench_load PATH [THREADS [RUNS]]\n");
        return 2;
    }
    for (int i = 0; i < n_runs; i++) {
        kvl_model *m = NULL;
        kvl_err err = {0};
        uint64_t start = kvl_clock_ns();
        if (kvl_model_open(&m, argv[1], n_threads, &err) != KVL_OK) {
            fprintf(stderr, "bench_load: %s\n", err.msg);
            return EXIT_FAILURE;
        }
        ms[i] = (double)(kvl_clock_ns() - start) * 1e-6;
        if (i == 0) {
            printf("%s: %.1f MB of weights, hash %016llx\n", m->name, (double)m->weight_bytes * 1e-6,
                   (unsigned long long)m->hash);
        }
        kvl_model_close(m);
    }
    double first = ms[0];
    qsort(ms, (size_t)n_runs, sizeof *ms, compare);
    printf("%u threads, %d runs: first %.0f ms, best %.0f, median %.0f\n", n_threads, n_runs, first, ms[0],
           ms[n_runs / 2]);
    return EXIT_SUCCESS;
}
