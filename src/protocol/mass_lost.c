/* Attention of the full cache, a block of rows at a time, summed over what other caches no longer have. */
#include "protocol/mass_lost.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "press/view.h"

#include <string.h>

enum { block = 32 }; /* tokens whose weights are there at once */

typedef struct job {
    float *const *lost;
    const kvl_departures *const *logs;
    size_t n_logs;
    const kvl_model *model;
    const kvl_kernels *kernels;
    const kvl_stream *full;
    size_t n_steps;
    float **scratch; /* [n_threads] */
} job;

static size_t weight_floats(const kvl_shape *s, size_t n_steps) {
    return kvl_round_up(block * n_steps * (s->n_heads / s->n_kv_heads), 16);
}

/* The mean over the group of weights [G, n_tokens, n] of one token, in place of the first head's. */
static float *mean_of_group(float *weights, size_t group, size_t n_tokens, size_t token, size_t n) {
    float *mean = weights + token * n;
    for (size_t p = 0; p < n; p++) {
        double sum = (double)mean[p];
        for (size_t g = 1; g < group; g++) {
            sum += (double)weights[(g * n_tokens + token) * n + p];
        }
        mean[p] = (float)(sum / (double)group);
    }
    return mean;
}

/* Of a row of weights, those of keys that had left. */
static float lost_of(const float *weights, const uint32_t *left_at, size_t token) {
    double sum = 0;
    for (size_t p = 0; p <= token; p++) {
        sum += left_at[p] <= token ? (double)weights[p] : 0;
    }
    return (float)sum;
}

static void run_head(void *ud, size_t item, unsigned thread) {
    const job *j = ud;
    const kvl_shape *s = &j->model->shape;
    const uint32_t layer = (uint32_t)(item / s->n_kv_heads);
    const uint32_t head = (uint32_t)(item % s->n_kv_heads);
    const kvl_layer_view in = {.shape = s,
                               .kernels = j->kernels,
                               .layer = layer,
                               .n_seen = j->full->n_seen,
                               .is_local = j->model->layers[layer].is_local,
                               .cache = j->full->cache,
                               .tap = j->full->tap};
    float *weights = j->scratch[thread];
    for (size_t first = 0; first < j->n_steps; first += block) {
        const size_t end = kvl_min_size(j->n_steps, first + block);
        const kvl_head_view view = {.in = &in,
                                    .head = head,
                                    .n = end,
                                    .positions = kvl_cache_entries(j->full->cache, layer, head).positions};
        kvl_view_attention(&view, first, end, weights, weights + weight_floats(s, j->n_steps));
        for (size_t t = first; t < end; t++) {
            const float *row =
                mean_of_group(weights, s->n_heads / s->n_kv_heads, end - first, t - first, end);
            for (size_t i = 0; i < j->n_logs; i++) {
                const uint32_t *left_at = kvl_departures_head(j->logs[i], layer, head);
                j->lost[i][(t * s->n_layers + layer) * s->n_kv_heads + head] = lost_of(row, left_at, t);
            }
        }
    }
}

static kvl_status run_heads(job *j, unsigned n_threads, kvl_err *err) {
    const kvl_shape *s = &j->model->shape;
    kvl_pool *pool = NULL;
    for (unsigned t = 0; t < n_threads; t++) {
        const size_t n = weight_floats(s, j->n_steps) + kvl_view_attention_floats(s);
        j->scratch[t] = kvl_calloc(n, sizeof(float));
        if (j->scratch[t] == NULL) {
            return kvl_fail_nomem(err, "attention that is lost");
        }
    }
    KVL_TRY(kvl_pool_create(&pool, n_threads, err));
    kvl_pool_run(pool, (size_t)s->n_layers * s->n_kv_heads, run_head, j);
    kvl_pool_destroy(pool);
    return KVL_OK;
}

kvl_status kvl_mass_lost(float *const *lost, const kvl_departures *const *logs, size_t n_logs,
                         const kvl_engine *engine, const kvl_stream *full, size_t n_steps, kvl_err *err) {
    const unsigned n_threads = kvl_engine_threads(engine);
    job j = {.lost = lost,
             .logs = logs,
             .n_logs = n_logs,
             .model = kvl_engine_model(engine),
             .full = full,
             .n_steps = n_steps,
             .scratch = kvl_calloc(n_threads, sizeof *j.scratch)};
    if (j.scratch == NULL) {
        return kvl_fail_nomem(err, "attention that is lost");
    }
    kvl_status status = kvl_kernels_get(&j.kernels, kvl_engine_isa(engine), err);
    if (status == KVL_OK) {
        status = run_heads(&j, n_threads, err);
    }
    for (unsigned t = 0; t < n_threads; t++) {
        kvl_free(j.scratch[t]);
    }
    kvl_free(j.scratch);
    return status;
}
