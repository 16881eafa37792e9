/* Compression: score, select, apply, for every head a policy acts on. Between passes one item per (job,
 * layer); inside a pass attention.c calls it head by head. */
#include "engine/engine_int.h"

#include "press/select.h"

#include <string.h>

typedef struct batch {
    kvl_engine *e;
    const kvl_compress_job *jobs;
} batch;

/* Whether the schedule looks at this step at all. */
static bool is_due(const kvl_policy *policy, const kvl_stream *stream) {
    if (policy->cadence_tok == 0) {
        return stream->n_events == 0;
    }
    return stream->n_seen % policy->cadence_tok == 0;
}

size_t kvli_target_of(const kvl_policy *policy, const kvl_stream *stream, uint32_t layer, uint32_t head) {
    size_t n = kvl_cache_len(stream->cache, layer, head);
    return kvl_policy_skips(policy, layer) ? n : kvl_policy_target(policy, n);
}

bool kvl_policy_fires(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape) {
    if (policy->press->is_identity || !is_due(policy, stream)) {
        return false;
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            if (kvli_target_of(policy, stream, layer, head) < kvl_cache_len(stream->cache, layer, head)) {
                return true;
            }
        }
    }
    return false;
}

bool kvl_policies_act_alike(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                            const kvl_shape *shape) {
    if (a->press != b->press || memcmp(a->conf, b->conf, sizeof a->conf) != 0 || a->n_sinks != b->n_sinks ||
        a->n_recent != b->n_recent || memcmp(a->skip, b->skip, sizeof a->skip) != 0 ||
        a->is_score_order != b->is_score_order ||
        a->is_cache_length_position != b->is_cache_length_position) {
        return false;
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            if (kvli_target_of(a, stream, layer, head) != kvli_target_of(b, stream, layer, head)) {
                return false;
            }
        }
    }
    return true;
}

kvl_status kvli_compress_head(kvl_engine *e, const kvli_event *event, uint32_t layer, uint32_t head,
                              unsigned thread, kvl_err *err) {
    const kvl_policy *policy = event->policy;
    kvl_stream *stream = event->stream;
    size_t target = kvli_target_of(policy, stream, layer, head);
    if (target >= kvl_cache_len(stream->cache, layer, head)) {
        return KVL_OK;
    }
    KVL_TRY(kvl_cache_own(stream->cache, layer, head, err)); /* presses see one list */
    const kvl_head_entries entries = kvl_cache_entries(stream->cache, layer, head);
    kvl_head_view view = {
        .cache = stream->cache,
        .shape = &e->model->shape,
        .layer = layer,
        .head = head,
        .n = entries.n,
        .positions = entries.positions,
        .n_seen = event->n_seen,
        .event = event->n_events,
        .seed = stream->seed,
    };
    float *scores = e->scratch[thread].floats;
    uint32_t *slots = e->scratch[thread].bytes;
    void *select_scratch = (char *)slots + kvl_round_up(entries.n * sizeof *slots, KVL_ALIGN_BYTES);
    policy->press->score(policy->conf, &view, scores, scores + kvl_round_up(entries.n, 16));
    KVL_TRY(kvl_select(slots, target, policy, scores, entries.positions, entries.n, select_scratch, err));
    return kvl_cache_keep(stream->cache, layer, head, slots, target, err);
}

static kvl_status compress_layer(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const batch *b = ud;
    const kvl_shape *shape = &b->e->model->shape;
    const kvl_compress_job *job = &b->jobs[item / shape->n_layers];
    const kvli_event event = {job->stream, job->policy, job->stream->n_seen, job->stream->n_events};
    for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
        KVL_TRY(kvli_compress_head(b->e, &event, (uint32_t)(item % shape->n_layers), head, thread, err));
    }
    return KVL_OK;
}

size_t kvli_compress_floats(const kvl_press *press, const kvl_shape *shape, size_t n) {
    return kvl_round_up(n, 16) + (press->scratch_floats != NULL ? press->scratch_floats(shape, n) : 0);
}

size_t kvli_compress_bytes(size_t n) {
    return kvl_round_up(n * sizeof(uint32_t), KVL_ALIGN_BYTES) + kvl_select_scratch_bytes(n);
}

/* Scratch for the largest head of all jobs. */
static kvl_status prepare(kvl_engine *e, const kvl_compress_job *jobs, size_t n_jobs, kvl_err *err) {
    const kvl_shape *shape = &e->model->shape;
    size_t n_floats = 0;
    size_t n_bytes = 0;
    for (size_t j = 0; j < n_jobs; j++) {
        const kvl_press *press = jobs[j].policy->press;
        for (size_t i = 0; i < (size_t)shape->n_layers * shape->n_kv_heads; i++) {
            size_t n = kvl_cache_len(jobs[j].stream->cache, (uint32_t)(i / shape->n_kv_heads),
                                     (uint32_t)(i % shape->n_kv_heads));
            n_floats = kvl_max_size(n_floats, kvli_compress_floats(press, shape, n));
            n_bytes = kvl_max_size(n_bytes, kvli_compress_bytes(n));
        }
    }
    return kvli_engine_scratch(e, n_floats, n_bytes, err);
}

kvl_status kvl_engine_compress(kvl_engine *e, const kvl_compress_job *jobs, size_t n_jobs, kvl_err *err) {
    batch b = {e, jobs};
    KVL_TRY(prepare(e, jobs, n_jobs, err));
    KVL_TRY(kvli_engine_run(e, n_jobs * e->model->shape.n_layers, compress_layer, &b, err));
    for (size_t j = 0; j < n_jobs; j++) {
        jobs[j].stream->n_events++;
    }
    return KVL_OK;
}
