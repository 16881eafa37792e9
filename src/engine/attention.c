/* Attention of one layer for a batch: one item per (stream, KV head).
 *
 * An item rotates its rows' queries and keys, appends keys and values to its head, then attends row by row:
 * row i of a stream sees what the head held before the batch and the rows up to itself. A head belongs to one
 * item, so that appending needs no lock, and a row's sums run over slots in order whatever batch the row is
 * in.
 */
#include "engine/engine_int.h"

typedef struct layer_job {
    kvl_engine *e;
    uint32_t layer;
} layer_job;

/* Rotates the first n_rotary dimensions in place; pairs are (i, i + n_rotary / 2), as GPT-NeoX defines. */
static void rotate(float *v, const float *cos_sin, size_t n_rotary) {
    size_t n_pairs = n_rotary / 2;
    for (size_t i = 0; i < n_pairs; i++) {
        float a = v[i];
        float b = v[i + n_pairs];
        v[i] = a * cos_sin[i] - b * cos_sin[n_pairs + i];
        v[i + n_pairs] = b * cos_sin[i] + a * cos_sin[n_pairs + i];
    }
}

/* Queries and keys of one row of one KV head: normalised, rotated. */
static void prepare_row(kvl_engine *e, const kvl_layer *layer, float *qkv, uint32_t head, int32_t position) {
    const kvl_shape *s = &e->model->shape;
    uint32_t group = s->n_heads / s->n_kv_heads;
    size_t dim = s->head_dim;
    const float *cos_sin = s->n_rotary != 0 ? e->cos_sin[layer->rope] + (size_t)position * s->n_rotary : NULL;
    float *key = qkv + ((size_t)s->n_heads + head) * dim;
    for (uint32_t g = 0; g < group; g++) {
        float *query = qkv + ((size_t)head * group + g) * dim;
        if (layer->q_norm.gain != NULL) {
            kvli_engine_norm(e, &layer->q_norm, query, query, dim);
        }
        rotate(query, cos_sin, s->n_rotary);
    }
    if (layer->k_norm.gain != NULL) {
        kvli_engine_norm(e, &layer->k_norm, key, key, dim);
    }
    rotate(key, cos_sin, s->n_rotary);
}

static void run_head(void *ud, size_t item, unsigned thread) {
    const layer_job *job = ud;
    kvl_engine *e = job->e;
    const kvl_shape *s = &e->model->shape;
    const kvl_layer *layer = &e->model->layers[job->layer];
    const kvl_span *span = &e->spans[item / s->n_kv_heads];
    uint32_t head = (uint32_t)(item % s->n_kv_heads);
    uint32_t group = s->n_heads / s->n_kv_heads;
    size_t dim = s->head_dim;
    size_t qkv_width = ((size_t)s->n_heads + 2 * (size_t)s->n_kv_heads) * dim;
    size_t n_before = kvl_cache_len(span->stream->cache, job->layer, head);

    /* 1. normalise, rotate, append */
    for (size_t i = 0; i < span->n_rows; i++) {
        size_t row = e->order[span->first_row + i];
        float *qkv = e->act.qkv + row * qkv_width;
        const float *key = qkv + ((size_t)s->n_heads + head) * dim;
        const float *value = qkv + ((size_t)s->n_heads + s->n_kv_heads + head) * dim;
        prepare_row(e, layer, qkv, head, e->position[row]);
        /* the entry's position is the token's own, also where the rotation follows the cache length */
        int32_t token_position = (int32_t)(span->stream->n_seen + i);
        kvl_cache_append(span->stream->cache, job->layer, head, key, value, token_position);
    }

    /* 2. attend; a row of a local layer sees the last `window` tokens, itself included */
    kvl_head_entries entries = kvl_cache_entries(span->stream->cache, job->layer, head);
    for (size_t i = 0; i < span->n_rows; i++) {
        size_t row = e->order[span->first_row + i];
        for (uint32_t g = 0; g < group; g++) {
            size_t at = ((size_t)head * group + g) * dim;
            const kvl_attention attention = {.q = e->act.qkv + row * qkv_width + at,
                                             .keys = entries.keys,
                                             .values = entries.values,
                                             .positions = layer->is_local ? entries.positions : NULL,
                                             .n = n_before + i + 1,
                                             .head_dim = dim,
                                             .scale = s->attn_scale,
                                             .softcap = s->attn_softcap,
                                             .oldest = (int32_t)(span->stream->n_seen + i + 1) -
                                                       (int32_t)s->window};
            e->kernels->attend(e->act.mix + row * s->n_heads * dim + at, &attention,
                               e->scratch[thread].floats);
        }
    }
}

void kvli_engine_attention(kvl_engine *e, uint32_t layer) {
    layer_job job = {e, layer};
    kvl_pool_run(e->pool, e->n_spans * e->model->shape.n_kv_heads, run_head, &job);
}
