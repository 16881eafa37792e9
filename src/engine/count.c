/* Passes and compressions that only count: the lengths and the room of every head go as in the real ones. */
#include "engine/engine_int.h"

/* Rows of one stream in one batch, in pieces up to the next compression. */
static kvl_status count_rows(const kvl_row *rows, size_t n_rows, const kvl_shape *s, kvl_err *err) {
    kvl_stream *stream = rows->stream;
    for (size_t done = 0, n; done < n_rows; done += n) {
        const kvl_policy *evict = NULL;
        for (n = 0; evict == NULL && done + n < n_rows; n++) {
            evict = rows[done + n].evict;
        }
        KVL_TRY(kvl_cache_reserve(stream->cache, n, err));
        for (size_t i = 0; i < n * s->n_layers * s->n_kv_heads; i++) {
            size_t head = i / n;
            kvl_cache_append(stream->cache, (uint32_t)(head / s->n_kv_heads),
                             (uint32_t)(head % s->n_kv_heads), NULL, NULL, 0);
        }
        stream->n_seen += n;
        if (evict != NULL) {
            KVL_TRY(kvl_count_compress(s, &(kvl_compress_job){stream, evict}, 1, err));
        }
    }
    return KVL_OK;
}

static kvl_status follow_thinning(kvl_cache *counting, const kvl_cache *real, uint32_t layer, uint32_t head,
                                  kvl_err *err) {
    const kvl_head_thin thin = kvl_cache_thin_keys(real, layer, head);
    if (thin.n_channels == 0 || kvl_cache_thin_keys(counting, layer, head).n_channels != 0) {
        return KVL_OK;
    }
    return kvl_cache_thin(counting, layer, head, NULL, thin.n_channels,
                          kvl_cache_len(real, layer, head) - thin.n, err);
}

kvl_status kvl_count_follow(kvl_stream *counting, const kvl_stream *real, const kvl_shape *s, kvl_err *err) {
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            const size_t have = kvl_cache_len(counting->cache, layer, head);
            const size_t want = kvl_cache_len(real->cache, layer, head);
            if (want < have) {
                KVL_TRY(kvl_cache_keep(counting->cache, layer, head, NULL, want, err));
            }
            KVL_TRY(kvl_cache_reserve_head(counting->cache, layer, head, have < want ? want - have : 0, err));
            for (size_t i = have; i < want; i++) {
                kvl_cache_append(counting->cache, layer, head, NULL, NULL, 0);
            }
            KVL_TRY(follow_thinning(counting->cache, real->cache, layer, head, err));
        }
    }
    counting->n_events = real->n_events;
    return KVL_OK;
}

kvl_status kvl_count_forward(const kvl_shape *shape, const kvl_row *rows, size_t n_rows, kvl_err *err) {
    for (size_t i = 0; i < n_rows;) {
        size_t end = kvl_min_size(n_rows, (i / KVL_BATCH_ROWS + 1) * KVL_BATCH_ROWS); /* of the batch */
        size_t n = 1;
        while (i + n < end && rows[i + n].stream == rows[i].stream) {
            n++;
        }
        KVL_TRY(count_rows(rows + i, n, shape, err));
        i += n;
    }
    return KVL_OK;
}

static kvl_status compress_layer(const kvl_compress_job *job, const kvl_shape *shape, const kvl_moment *now,
                                 uint32_t layer, kvl_err *err) {
    kvl_cache *cache = job->stream->cache;
    const kvl_press_node *node = kvl_policy_turn(job->policy, now).node;
    bool acts = false;
    for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
        acts = acts || kvli_acts_on_head(job->policy, cache, now, shape, layer, head);
    }
    for (uint32_t head = 0; acts && head < shape->n_kv_heads; head++) {
        const size_t target = kvli_target_of(job->policy, cache, now, shape, layer, head);
        if (target < kvl_cache_len(cache, layer, head)) {
            KVL_TRY(kvl_cache_keep(cache, layer, head, NULL, target, err));
        }
        const kvl_thinning thinning = kvli_thinning_left(node, cache, shape, layer, head);
        if (thinning.n_channels != 0) {
            KVL_TRY(kvl_cache_thin(cache, layer, head, NULL, thinning.n_channels, thinning.n_recent, err));
        }
    }
    return KVL_OK;
}

kvl_status kvl_count_compress(const kvl_shape *shape, const kvl_compress_job *jobs, size_t n_jobs,
                              kvl_err *err) {
    for (size_t j = 0; j < n_jobs; j++) {
        const kvl_moment now = kvli_moment_of(jobs[j].stream);
        for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
            KVL_TRY(compress_layer(&jobs[j], shape, &now, layer, err));
        }
        jobs[j].stream->n_events++;
    }
    return KVL_OK;
}
