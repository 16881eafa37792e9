/* Attention of one layer for a batch.
 *
 * Two steps for each (stream, KV head): its rows' queries and keys are normalised and rotated, keys and
 * values appended; then the rows attend, a few of them and all queries of the head's group at a time. Row i
 * of a stream sees what the head held before the batch and the rows up to itself. The second step is cut into
 * blocks of rows; when no stream has more rows than a block, both steps are one item. Streams that stand on
 * one base attend together, a few to a block, so that each shared entry is loaded once for those that see it.
 * A row's sums run over slots in order whatever batch or block the row is in.
 *
 * Where a stream is compressed between its rows, each of its heads is one item that goes through them in
 * order. Layers depend on each other only by their outputs and heads of a layer not at all, so that the bits
 * are those of passes with compressions in between.
 */
#include "engine/engine_int.h"

#include "kernel/gram.h"

#include <math.h>
#include <string.h>

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

/* Queries and keys of one row of one KV head: normalised, rotated; queries noted where that is asked for. */
static void prepare_row(const layer_job *job, kvl_tap *tap, float *qkv, uint32_t head, int32_t position,
                        uint64_t token) {
    kvl_engine *e = job->e;
    const kvl_layer *layer = &e->model->layers[job->layer];
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
        if (tap != NULL) {
            kvl_tap_note_plain(tap, e->kernels, job->layer, head * group + g, token, query);
        }
        rotate(query, cos_sin, s->n_rotary);
        if (tap != NULL) {
            kvl_tap_note_rotated(tap, job->layer, head * group + g, token, query);
        }
    }
    if (layer->k_norm.gain != NULL) {
        kvli_engine_norm(e, &layer->k_norm, key, key, dim);
    }
    rotate(key, cos_sin, s->n_rotary);
}

static size_t qkv_width(const kvl_shape *s) {
    return ((size_t)s->n_heads + 2 * (size_t)s->n_kv_heads) * s->head_dim;
}

static void append_rows(const layer_job *job, const kvl_span *span, uint32_t head) {
    kvl_engine *e = job->e;
    const kvl_shape *s = &e->model->shape;
    for (size_t i = 0; i < span->n_rows; i++) {
        size_t row = e->order[span->first_row + i];
        float *qkv = e->act.qkv + row * qkv_width(s);
        const float *key = qkv + ((size_t)s->n_heads + head) * s->head_dim;
        const float *value = qkv + ((size_t)s->n_heads + s->n_kv_heads + head) * s->head_dim;
        const uint64_t token = span->n_seen + i;
        prepare_row(job, span->stream->tap, qkv, head, e->position[row], token);
        /* the entry's position is the token's own, also where the rotation follows the cache length */
        kvl_cache_append(span->stream->cache, job->layer, head, key, value, (int32_t)token);
    }
}

/* Query i of a span, counting its rows' queries of the head's group. Rows of a local layer see the last
 * `window` tokens, themselves included. */
static kvl_attention_row query_row(const layer_job *job, const kvl_span *span, uint32_t head, size_t i) {
    const kvl_engine *e = job->e;
    const kvl_shape *s = &e->model->shape;
    const size_t group = s->n_heads / s->n_kv_heads;
    const size_t in_span = i / group;
    const size_t row = e->order[span->first_row + in_span];
    const size_t at = (head * group + i % group) * s->head_dim;
    const kvl_cache *cache = span->stream->cache;
    const kvl_head_entries own = kvl_cache_entries(cache, job->layer, head);
    const size_t n = own.n - span->n_rows + in_span + 1;
    const kvl_head_window window = kvl_cache_window(cache, job->layer, head, n);
    const kvl_head_thin thin = kvl_cache_thin_keys(cache, job->layer, head);
    float *q = e->act.qkv + row * qkv_width(s) + at;
    if (s->has_hadamard) { /* as keys are; each query is here once */
        kvl_hadamard(q, s->head_dim);
    }
    kvl_attention_row out = {.q = q,
                             .out = e->act.mix + row * s->n_heads * s->head_dim + at,
                             .n = n,
                             .oldest = (int32_t)(span->n_seen + in_span + 1) - (int32_t)s->window};
    if (thin.n != 0) {
        out.n = thin.n;
        out.n_own = n - thin.n;
        out.own_keys = own.keys;
        out.own_values = (const char *)own.values + thin.n * kvl_kv_row_bytes(s->value_type, s->head_dim);
        out.own_positions = own.positions + thin.n;
    } else if (kvl_cache_base(cache) != NULL) {
        out.n = kvl_cache_shared_entries(cache, job->layer, head).n;
        out.n_own = n;
        out.own_keys = own.keys;
        out.own_values = own.values;
        out.own_positions = own.positions;
    } else if (window.n_packed < n) {
        out.n = window.n_packed;
        out.n_own = n - window.n_packed;
        out.own_keys = window.keys;
        out.own_values = window.values;
        out.own_positions = own.positions + window.n_packed;
    }
    return out;
}

/* Blocks of rows of a span; one where several attend together. */
static size_t n_blocks(const kvl_span *span) {
    return span->is_evicting ? 1 : (span->n_rows + KVL_ATTEND_BLOCK - 1) / KVL_ATTEND_BLOCK;
}

/* Where the mass of a block of rows is summed: in the cache, or first apart where other threads attend to the
 * same head. */
static int64_t *mass_of(const layer_job *job, const kvl_span *span, const kvl_head_entries *entries,
                        unsigned thread) {
    if (entries->mass == NULL || n_blocks(span) == 1) {
        return entries->mass;
    }
    float *behind = job->e->scratch[thread].floats + kvli_weight_floats(entries->n);
    memset(behind, 0, entries->n * sizeof(int64_t));
    return (int64_t *)(void *)behind;
}

/* Rows of a span, from its beginning, whose attention is not noted: of the prompt, where that is so wanted.
 */
static size_t n_unnoted(const kvl_span *span) {
    const uint64_t n_prefill = span->stream->needs.is_mass_late ? span->stream->n_prefill : 0;
    return n_prefill > span->n_seen ? kvl_min_size(span->n_rows, (size_t)(n_prefill - span->n_seen)) : 0;
}

static void add_mass(const kvl_head_entries *entries, const int64_t *mass) {
    for (size_t j = 0; mass != NULL && mass != entries->mass && j < entries->n; j++) {
        if (mass[j] != 0) {
            (void)__atomic_fetch_add(&entries->mass[j], mass[j], __ATOMIC_RELAXED);
        }
    }
}

/* Outputs of rotated values. */
static void turn_back(const kvl_attention_row *rows, size_t n_rows, size_t head_dim) {
    for (size_t r = 0; r < n_rows; r++) {
        kvl_hadamard(rows[r].out, head_dim);
    }
}

/* Rows first .. first + n - 1, as many as there are, of one span, or of spans on one base by falling number
 * of shared entries. */
static void attend_rows(const layer_job *job, const kvl_span *const *spans, size_t n_spans, uint32_t head,
                        size_t first, size_t n, unsigned thread) {
    kvl_engine *e = job->e;
    const kvl_shape *s = &e->model->shape;
    const size_t group = s->n_heads / s->n_kv_heads;
    const bool is_local = e->model->layers[job->layer].is_local;
    const size_t noted_from = n_unnoted(spans[0]);
    if (noted_from > first && noted_from < first + n && noted_from < spans[0]->n_rows) {
        attend_rows(job, spans, n_spans, head, first, noted_from - first, thread);
        attend_rows(job, spans, n_spans, head, noted_from, first + n - noted_from, thread);
        return;
    }
    kvl_head_entries entries = kvl_cache_shared_entries(spans[0]->stream->cache, job->layer, head);
    if (entries.n == 0) {
        entries = kvl_cache_entries(spans[0]->stream->cache, job->layer, head);
    }
    const kvl_head_thin thin = kvl_cache_thin_keys(spans[0]->stream->cache, job->layer, head);
    const bool has_window = s->n_residual != 0;
    const kvl_attention attention = {
        .key_type = s->key_type,
        .value_type = s->value_type,
        .own_key_type = has_window ? kvl_kv_wide_type(s->key_type) : s->key_type,
        .own_value_type = has_window ? kvl_kv_wide_type(s->value_type) : s->value_type,
        .keys = thin.n != 0 ? thin.keys : entries.keys,
        .values = entries.values,
        .positions = is_local ? entries.positions : NULL,
        .channels = thin.n != 0 ? thin.channels : NULL,
        .n_channels = thin.n_channels,
        .mass = first >= noted_from ? mass_of(job, spans[0], &entries, thread) : NULL,
        .head_dim = s->head_dim,
        .scale = s->attn_scale,
        .softcap = s->attn_softcap};
    kvl_attention_row rows[KVL_ATTEND_ROWS];
    size_t n_rows = 0;
    for (size_t k = 0; k < n_spans; k++) {
        const size_t end = kvl_min_size(first + n, spans[k]->n_rows) * group;
        for (size_t i = first * group; i < end; i++) {
            /* rows with windows the newest first: these see the most packed entries */
            rows[n_rows++] = query_row(job, spans[k], head, has_window ? first * group + end - 1 - i : i);
            if (n_rows == KVL_ATTEND_ROWS || (k + 1 == n_spans && i + 1 == end)) {
                e->kernels->attend(&attention, rows, n_rows, e->scratch[thread].floats);
                turn_back(rows, s->has_hadamard ? n_rows : 0, s->head_dim);
                n_rows = 0;
            }
        }
    }
    add_mass(&entries, attention.mass);
}

/* All rows of a span that is compressed in between: in pieces up to the next compression. */
static kvl_status step_rows(const layer_job *job, const kvl_span *span, uint32_t head, unsigned thread,
                            kvl_err *err) {
    kvl_engine *e = job->e;
    kvl_span piece = *span;
    for (size_t done = 0; done < span->n_rows; done += piece.n_rows) {
        const kvl_policy *evict = NULL;
        piece.first_row = span->first_row + done;
        piece.n_seen = span->n_seen + done;
        for (piece.n_rows = 0; evict == NULL && done + piece.n_rows < span->n_rows; piece.n_rows++) {
            evict = e->rows[e->order[piece.first_row + piece.n_rows]].evict;
        }
        KVL_TRY(kvl_cache_reserve_head(span->stream->cache, job->layer, head, piece.n_rows, err));
        append_rows(job, &piece, head);
        const kvl_span *const pieces[] = {&piece};
        attend_rows(job, pieces, 1, head, 0, piece.n_rows, thread);
        if (evict != NULL) {
            const kvl_moment moment = {piece.n_seen + piece.n_rows, span->stream->n_prefill, piece.n_events};
            const kvli_event event = {.stream = span->stream, .policy = evict, .moment = moment};
            KVL_TRY(kvli_compress_head(e, &event, job->layer, head, thread, err));
            piece.n_events++;
        }
    }
    return KVL_OK;
}

static void append_item(void *ud, size_t item, unsigned thread) {
    (void)thread;
    const layer_job *job = ud;
    const uint32_t n_kv_heads = job->e->model->shape.n_kv_heads;
    const kvl_span *span = &job->e->spans[item / n_kv_heads];
    if (!span->is_evicting) {
        append_rows(job, span, (uint32_t)(item % n_kv_heads));
    }
}

/* Spans that attend together, from this one on: neighbours on one base that are not compressed in between and
 * have no more rows than a block, or one. */
static size_t n_together(const kvl_engine *e, const kvl_span *span) {
    const kvl_cache *base = kvl_cache_base(span->stream->cache);
    const size_t most = kvl_min_size(KVL_ATTEND_ROWS, (size_t)(e->spans + e->n_spans - span));
    size_t n = 1;
    size_t n_rows = span->n_rows;
    while (base != NULL && !span->is_evicting && n < most && !span[n].is_evicting &&
           kvl_cache_base(span[n].stream->cache) == base && n_rows + span[n].n_rows <= KVL_ATTEND_BLOCK) {
        n_rows += span[n++].n_rows;
    }
    return n;
}

/* Groups the spans; *n_items is what they make together. */
static void group_spans(kvl_engine *e, size_t *n_items) {
    const size_t n_kv_heads = e->model->shape.n_kv_heads;
    *n_items = 0;
    e->n_groups = 0;
    for (size_t i = 0, n = 0; i < e->n_spans; i += n) {
        n = n_together(e, &e->spans[i]);
        e->groups[e->n_groups++] = (kvl_span_group){i, n, *n_items};
        *n_items += n_blocks(&e->spans[i]) * n_kv_heads;
    }
}

/* The spans of an item; *item becomes its number among theirs. */
static const kvl_span *find_spans(const kvl_engine *e, size_t *item, size_t *n) {
    size_t low = 0;
    size_t high = e->n_groups;
    while (high - low > 1) {
        const size_t mid = (low + high) / 2;
        if (e->groups[mid].first_item <= *item) {
            low = mid;
        } else {
            high = mid;
        }
    }
    *item -= e->groups[low].first_item;
    *n = e->groups[low].n_spans;
    return &e->spans[e->groups[low].first_span];
}

/* Item i of n spans: block i / K, so that neighbours in time are of equal cost, of head i % K. */
static void attend_block(const layer_job *job, const kvl_span *span, size_t n, size_t item, unsigned thread) {
    const uint32_t n_kv_heads = job->e->model->shape.n_kv_heads;
    const uint32_t head = (uint32_t)(item % n_kv_heads);
    const kvl_span *spans[KVL_ATTEND_ROWS];
    /* the longest first: what is handed out last should be short */
    const size_t block = n_blocks(span) - 1 - item / n_kv_heads;
    for (size_t i = 0; i < n; i++) {
        size_t to = i;
        const size_t n_shared = kvl_cache_shared_entries(span[i].stream->cache, job->layer, head).n;
        while (to != 0 &&
               kvl_cache_shared_entries(spans[to - 1]->stream->cache, job->layer, head).n < n_shared) {
            spans[to] = spans[to - 1];
            to--;
        }
        spans[to] = &span[i];
    }
    attend_rows(job, spans, n, head, block * KVL_ATTEND_BLOCK, KVL_ATTEND_BLOCK, thread);
}

static kvl_status attend_item(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const layer_job *job = ud;
    size_t n = 0;
    const kvl_span *span = find_spans(job->e, &item, &n);
    if (span->is_evicting) {
        return step_rows(job, span, (uint32_t)(item % job->e->model->shape.n_kv_heads), thread, err);
    }
    attend_block(job, span, n, item, thread);
    return KVL_OK;
}

static kvl_status append_and_attend_item(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const layer_job *job = ud;
    size_t in_spans = item;
    size_t n = 0;
    const kvl_span *span = find_spans(job->e, &in_spans, &n);
    for (size_t i = 0; i < n && !span->is_evicting; i++) {
        append_rows(job, &span[i], (uint32_t)(in_spans % job->e->model->shape.n_kv_heads));
    }
    return attend_item(ud, item, thread, err);
}

/* Lengths of the layer's inputs, for streams that note them. */
static void note_inputs(const kvl_engine *e, uint32_t layer, const kvl_span *span) {
    const size_t width = e->model->shape.width;
    for (size_t i = 0; kvl_tap_needs(span->stream->tap).has_inputs && i < span->n_rows; i++) {
        const float *x = e->act.attn_in + e->order[span->first_row + i] * width;
        kvl_tap_note_input(span->stream->tap, layer, span->n_seen + i, kvl_row_norm(x, width));
    }
}

kvl_status kvli_engine_attention(kvl_engine *e, uint32_t layer, kvl_err *err) {
    layer_job job = {e, layer};
    const size_t n_kv_heads = e->model->shape.n_kv_heads;
    size_t n_items = 0;
    bool is_short = true;
    group_spans(e, &n_items);
    for (size_t i = 0; i < e->n_groups; i++) {
        const kvl_span *span = &e->spans[e->groups[i].first_span];
        note_inputs(e, layer, span);
        is_short = is_short && n_blocks(span) == 1;
    }
    if (is_short) {
        return kvli_engine_run(e, n_items, append_and_attend_item, &job, err);
    }
    kvl_pool_run(e->pool, e->n_spans * n_kv_heads, append_item, &job);
    return kvli_engine_run(e, n_items, attend_item, &job, err);
}
