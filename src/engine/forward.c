/* One pass of a batch through the network.
 *
 * A batch above KVL_BATCH_ROWS is cut; since a row's result does not depend on the cut, neither do the bits.
 * Order of operations in a layer (E wide, rows on the left):
 *   attn_in = norm(x)      qkv = attn_in W        rotate, append, attend -> mix      attn = mix W
 *   ff_in   = norm(x) (parallel residual) or norm(x + attn)
 *   ff      = act(ff_in W) W, or (act(ff_in W_gate) * (ff_in W)) W
 *   x = x + attn + ff; attn and ff normalised first where the model has norms behind its blocks
 */
#include "engine/engine_int.h"

static kvl_status check_rows(const kvl_engine *e, const kvl_row *rows, size_t n_rows, kvl_err *err) {
    const kvl_model *m = e->model;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].token < 0 || (uint32_t)rows[i].token >= m->n_vocab_in) {
            return kvl_fail(err, KVL_E_USAGE, "row %zu: expected a token id below %u, found %d", i,
                            m->n_vocab_in, rows[i].token);
        }
        if (rows[i].target < -1 || (rows[i].target >= 0 && (uint32_t)rows[i].target >= m->shape.n_vocab)) {
            return kvl_fail(err, KVL_E_USAGE, "row %zu: expected a target id below %u, found %d", i,
                            m->shape.n_vocab, rows[i].target);
        }
    }
    return KVL_OK;
}

/* Takes a row into the span of its stream. *length is that of layer 0 before the row, and then behind it; so
 * is *n_events. */
static void take_row(kvl_engine *e, kvl_span *span, size_t row, size_t *length, uint64_t *n_events) {
    const kvl_policy *evict = e->rows[row].evict;
    e->position[row] =
        (int32_t)(span->stream->is_cache_length_position ? *length : span->n_seen + span->n_rows);
    ++*length;
    if (evict != NULL) {
        const kvl_moment moment = {span->n_seen + span->n_rows + 1, span->stream->n_prefill, *n_events};
        *length = kvl_policy_target(evict, &e->model->shape, &moment, 0, 0, *length);
        span->is_evicting = true;
        ++*n_events;
    }
    span->n_rows++;
}

/* Makes a span of the rows of rows[i]'s stream, their order kept. */
static void add_span(kvl_engine *e, size_t n_rows, size_t i, size_t *n_ordered, bool *is_taken) {
    kvl_stream *stream = e->rows[i].stream;
    kvl_span span = {
        .stream = stream, .first_row = *n_ordered, .n_seen = stream->n_seen, .n_events = stream->n_events};
    size_t length = kvl_cache_len(stream->cache, 0, 0);
    uint64_t n_events = span.n_events;
    for (size_t j = i; j < n_rows; j++) {
        if (e->rows[j].stream == stream) {
            is_taken[j] = true;
            e->order[(*n_ordered)++] = j;
            take_row(e, &span, j, &length, &n_events);
        }
    }
    e->spans[e->n_spans++] = span;
}

/* Groups rows by stream, streams by what they stand on, and fixes the rows' positions. */
static void plan_spans(kvl_engine *e, const kvl_row *rows, size_t n_rows) {
    bool is_taken[KVL_BATCH_ROWS] = {false};
    size_t n_ordered = 0;
    e->rows = rows;
    e->n_spans = 0;
    for (size_t i = 0; i < n_rows; i++) {
        const kvl_cache *base = kvl_cache_base(rows[i].stream->cache);
        if (is_taken[i]) {
            continue;
        }
        add_span(e, n_rows, i, &n_ordered, is_taken);
        for (size_t j = i + 1; base != NULL && j < n_rows; j++) {
            if (!is_taken[j] && kvl_cache_base(rows[j].stream->cache) == base) {
                add_span(e, n_rows, j, &n_ordered, is_taken);
            }
        }
    }
}

/* The most entries that a head has after n_more tokens of a stream. */
static size_t longest_head(const kvl_stream *stream, const kvl_shape *s, size_t n_more) {
    size_t longest = 0;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            longest = kvl_max_size(longest, kvl_cache_len(stream->cache, layer, head));
        }
    }
    return longest + n_more;
}

/* Memory for the batch: cache room, scratch, rotation table. After this only the room of streams that are
 * compressed in between can fail: it shrinks and grows on the way. */
static kvl_status prepare(kvl_engine *e, kvl_err *err) {
    size_t n_floats = 0;
    size_t n_bytes = 0;
    size_t last_position = 0;
    const kvl_shape *s = &e->model->shape;
    for (size_t i = 0; i < e->n_spans; i++) {
        const kvl_span *span = &e->spans[i];
        const size_t longest = longest_head(span->stream, s, span->n_rows);
        n_floats = kvl_max_size(n_floats, kvli_attend_floats(longest, span->stream->needs.has_mass));
        if (span->stream->tap != NULL) {
            KVL_TRY(kvl_tap_reserve(span->stream->tap, (size_t)span->n_seen + span->n_rows, err));
        }
        if (!span->is_evicting) {
            KVL_TRY(kvl_cache_reserve(span->stream->cache, span->n_rows, err));
        }
        for (size_t k = span->first_row; k < span->first_row + span->n_rows; k++) {
            const kvl_policy *evict = e->rows[e->order[k]].evict;
            last_position = kvl_max_size(last_position, (size_t)e->position[e->order[k]]);
            if (evict != NULL) {
                KVL_TRY(kvli_check_needs(evict, span->stream, s, err));
                n_floats = kvl_max_size(n_floats, kvli_compress_floats(evict, s, longest));
                n_bytes = kvl_max_size(n_bytes, kvli_compress_bytes(evict, s, longest));
            }
        }
    }
    if (s->has_positions && last_position >= s->n_context) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected positions below %u (they are learned), found %zu",
                        e->model->name, s->n_context, last_position);
    }
    KVL_TRY(kvli_engine_rotary(e, last_position + 1, err));
    return kvli_engine_scratch(e, n_floats, n_bytes, err);
}

kvl_status kvl_stream_reserve(kvl_engine *e, kvl_stream *s, size_t n_more, kvl_err *err) {
    KVL_TRY(kvl_cache_reserve(s->cache, n_more, err));
    KVL_TRY(kvli_engine_rotary(e, (size_t)s->n_seen + n_more, err));
    if (s->tap != NULL) {
        KVL_TRY(kvl_tap_reserve(s->tap, (size_t)s->n_seen + n_more, err));
    }
    const size_t longest = longest_head(s, &e->model->shape, n_more);
    return kvli_engine_scratch(e, kvli_attend_floats(longest, s->needs.has_mass), 0, err);
}

/* Row-wise steps of a layer, one item per row. */
typedef struct row_job {
    kvl_engine *e;
    const kvl_layer *layer;
    const kvl_row *rows;
} row_job;

static void norm_row(kvl_engine *e, float *out, const kvl_norm *norm, size_t row) {
    size_t width = e->model->shape.width;
    kvli_engine_norm(e, norm, out + row * width, e->act.x + row * width, width);
}

/* x += what a block gave, normalised. */
static void add_block(kvl_engine *e, float *block, const kvl_norm *post_norm, size_t row) {
    size_t width = e->model->shape.width;
    kvli_engine_norm(e, post_norm, block + row * width, block + row * width, width);
    e->kernels->add(e->act.x + row * width, block + row * width, width);
}

static void enter_layer(void *ud, size_t row, unsigned thread) {
    (void)thread;
    const row_job *job = ud;
    norm_row(job->e, job->e->act.attn_in, &job->layer->attn_norm, row);
    if (job->e->model->shape.is_parallel) {
        norm_row(job->e, job->e->act.ff_in, &job->layer->ff_norm, row);
    }
}

static void enter_ff(void *ud, size_t row, unsigned thread) {
    (void)thread;
    const row_job *job = ud;
    if (job->layer->attn_post_norm.gain != NULL) {
        add_block(job->e, job->e->act.attn, &job->layer->attn_post_norm, row);
    }
    norm_row(job->e, job->e->act.ff_in, &job->layer->ff_norm, row);
}

/* The end of a layer with a norm behind its feed-forward block. */
static void leave_layer(void *ud, size_t row, unsigned thread) {
    (void)thread;
    const row_job *job = ud;
    add_block(job->e, job->e->act.ff, &job->layer->ff_post_norm, row);
}

static kvli_activation_fn *activation_of(const kvl_engine *e) {
    switch (e->model->shape.activation) {
    case KVL_ACT_GELU_ERF: return e->kernels->gelu_erf;
    case KVL_ACT_GELU_TANH: return e->kernels->gelu_tanh;
    case KVL_ACT_SILU: break;
    }
    return e->kernels->silu;
}

/* Without a norm behind it, a block's output is added to x by whoever computed the piece. */
static kvl_status run_layer(kvl_engine *e, uint32_t index, size_t n_rows, kvl_err *err) {
    const kvl_layer *layer = &e->model->layers[index];
    const kvl_shape *s = &e->model->shape;
    row_job job = {.e = e, .layer = layer};
    const bool has_attn_norm = layer->attn_post_norm.gain != NULL;
    const bool has_ff_norm = layer->ff_post_norm.gain != NULL;
    kvli_activation_fn *activate = activation_of(e);
    kvl_pool_run(e->pool, n_rows, enter_layer, &job);
    kvli_engine_linear(e, &layer->qkv, e->act.qkv, e->act.attn_in, n_rows, (kvli_after){0});
    KVL_TRY(kvli_engine_attention(e, index, err));
    kvli_engine_linear(e, &layer->attn_out, e->act.attn, e->act.mix, n_rows,
                       (kvli_after){.add_to = s->is_parallel || has_attn_norm ? NULL : e->act.x});
    if (!s->is_parallel) {
        kvl_pool_run(e->pool, n_rows, enter_ff, &job);
    }
    if (s->is_gated) {
        kvli_engine_gated(e, layer, e->act.ff_in, n_rows, activate);
    } else {
        kvli_engine_linear(e, &layer->ff_up, e->act.inner, e->act.ff_in, n_rows,
                           (kvli_after){.activate = activate});
    }
    kvli_engine_linear(
        e, &layer->ff_down, e->act.ff, e->act.inner, n_rows,
        (kvli_after){.add = s->is_parallel ? e->act.attn : NULL, .add_to = has_ff_norm ? NULL : e->act.x});
    if (has_ff_norm) {
        kvl_pool_run(e->pool, n_rows, leave_layer, &job);
    }
    return KVL_OK;
}

static kvl_status run_batch(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) {
    size_t width = e->model->shape.width;
    plan_spans(e, rows, n_rows);
    KVL_TRY(prepare(e, err));
    for (size_t i = 0; i < n_rows; i++) {
        kvl_model_embed(e->model, rows[i].token, e->act.x + i * width);
        if (e->model->positions != NULL) {
            e->kernels->add(e->act.x + i * width, e->model->positions + (size_t)e->position[i] * width,
                            width);
        }
    }
    for (uint32_t layer = 0; layer < e->model->shape.n_layers; layer++) {
        KVL_TRY(run_layer(e, layer, n_rows, err));
    }
    for (size_t i = 0; i < n_rows; i++) {
        rows[i].stream->n_seen++;
        rows[i].stream->n_events += rows[i].evict != NULL;
        if (rows[i].evict != NULL && rows[i].stream->departures != NULL) {
            kvl_departures_note_event(rows[i].stream->departures, (size_t)rows[i].stream->n_seen);
        }
    }
    return kvli_engine_score(e, rows, n_rows, err);
}

/* Room for the queries of a prompt at once: growing pass by pass would copy them each time. */
static kvl_status reserve_taps(const kvl_row *rows, size_t n_rows, kvl_err *err) {
    for (size_t i = 0, n; i < n_rows; i += n) {
        const kvl_stream *stream = rows[i].stream;
        for (n = 1; i + n < n_rows && rows[i + n].stream == stream; n++) {
        }
        if (stream->tap != NULL) {
            KVL_TRY(kvl_tap_reserve(stream->tap, (size_t)stream->n_seen + n, err));
        }
    }
    return KVL_OK;
}

kvl_status kvl_engine_forward(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) {
    KVL_TRY(check_rows(e, rows, n_rows, err));
    KVL_TRY(reserve_taps(rows, n_rows, err));
    for (size_t done = 0; done < n_rows; done += KVL_BATCH_ROWS) {
        KVL_TRY(run_batch(e, rows + done, kvl_min_size(KVL_BATCH_ROWS, n_rows - done), err));
    }
    return KVL_OK;
}
