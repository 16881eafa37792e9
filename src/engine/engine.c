/* Engines and streams: creation, scratch, destruction. */
#include "engine/engine_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <math.h>
#include <string.h>

/* The rotation table grows with the texts: contexts of 131072 are declared more often than filled. */
enum { FIRST_POSITIONS = 2048 };

static kvl_status alloc_floats(kvl_engine *e, float **out, size_t n_rows, size_t width, kvl_err *err) {
    *out = kvl_calloc(n_rows, width * sizeof(float));
    e->scratch_bytes += n_rows * width * sizeof(float);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(err, "activations");
}

/* Floats of a row of rounded inputs. */
static size_t rounded_width(const kvl_model *m) {
    const kvl_shape *s = &m->shape;
    const size_t widest = kvl_max_size(kvl_max_size(s->width, s->ff_width), (size_t)s->n_heads * s->head_dim);
    return m->arith == KVL_ARITH_INT8 ? widest / KVL_PANEL_BLOCK * sizeof(kvl_q8) / sizeof(float) : 0;
}

void kvli_activation_blocks(kvli_block out[KVLI_N_ACTIVATIONS], const kvl_model *m, unsigned n_threads) {
    const kvl_shape *s = &m->shape;
    size_t qkv_width = ((size_t)s->n_heads + 2 * (size_t)s->n_kv_heads) * s->head_dim;
    const kvli_block blocks[KVLI_N_ACTIVATIONS] = {
        {KVL_BATCH_ROWS, s->width},                            /* x */
        {KVL_BATCH_ROWS, s->width},                            /* attn_in */
        {KVL_BATCH_ROWS, s->width},                            /* ff_in */
        {KVL_BATCH_ROWS, qkv_width},                           /* qkv */
        {KVL_BATCH_ROWS, (size_t)s->n_heads * s->head_dim},    /* mix */
        {KVL_BATCH_ROWS, s->width},                            /* attn */
        {KVL_BATCH_ROWS, s->is_gated ? s->ff_width : 0},       /* gate */
        {KVL_BATCH_ROWS, s->ff_width},                         /* inner */
        {KVL_BATCH_ROWS, s->width},                            /* ff */
        {(size_t)n_threads * KVL_SCORE_ROWS, KVL_VOCAB_PIECE}, /* logits */
        {KVL_BATCH_ROWS, rounded_width(m)},                    /* rounded */
    };
    memcpy(out, blocks, sizeof blocks);
}

static kvl_status alloc_activations(kvl_engine *e, kvl_err *err) {
    kvl_activations *a = &e->act;
    float *rounded = NULL;
    float **to[KVLI_N_ACTIVATIONS] = {&a->x,    &a->attn_in, &a->ff_in, &a->qkv,    &a->mix, &a->attn,
                                      &a->gate, &a->inner,   &a->ff,    &a->logits, &rounded};
    kvli_block blocks[KVLI_N_ACTIVATIONS];
    kvli_activation_blocks(blocks, e->model, e->n_threads);
    for (size_t i = 0; i < KVLI_N_ACTIVATIONS; i++) {
        KVL_TRY(alloc_floats(e, to[i], blocks[i].n_rows, blocks[i].width, err));
    }
    a->rounded = (kvl_q8 *)(void *)rounded;
    const size_t n_parts = KVL_SCORE_ROWS * kvli_vocab_pieces(&e->model->shape);
    e->score_parts = kvl_calloc(n_parts, sizeof *e->score_parts);
    e->scratch_bytes += n_parts * sizeof *e->score_parts;
    return e->score_parts != NULL ? KVL_OK : kvl_fail_nomem(err, "activations");
}

size_t kvli_first_positions(const kvl_shape *s) { return kvl_min_size(s->n_context, FIRST_POSITIONS); }

kvl_status kvl_engine_create(kvl_engine **out, const kvl_model *model, const kvl_engine_options *options,
                             kvl_err *err) {
    *out = NULL;
    if (model->output.segments[0].panels.data == NULL) {
        return kvl_fail(err, KVL_E_CHECK, "%s: expected a model with weights, found headers only",
                        model->name);
    }
    kvl_engine *e = kvl_calloc(1, sizeof *e);
    if (e == NULL) {
        return kvl_fail_nomem(err, "engine");
    }
    kvl_status status = KVL_OK;
    e->model = model;
    e->n_threads = options->n_threads != 0 ? options->n_threads : kvl_cpu_count();
    KVL_GO(kvl_kernels_get(&e->kernels, options->isa, err));
    e->gemm = e->kernels->gemm;
    if (model->arith == KVL_ARITH_AMX_BF16) {
        KVL_GO(kvl_amx_gemm(&e->gemm, err));
    }
    KVL_GO(kvl_pool_create(&e->pool, e->n_threads, err));
    e->scratch = kvl_calloc(e->n_threads, sizeof *e->scratch);
    if (e->scratch == NULL) {
        KVL_GO(kvl_fail_nomem(err, "engine"));
    }
    KVL_GO(alloc_activations(e, err));
    KVL_GO(kvli_engine_rotary(e, kvli_first_positions(&model->shape), err));
    *out = e;
    e = NULL;
done:
    kvl_engine_destroy(e);
    return status;
}

void kvl_engine_destroy(kvl_engine *e) {
    if (e == NULL) {
        return;
    }
    float *blocks[] = {e->act.x,   e->act.attn_in, e->act.ff_in,  e->act.qkv,
                       e->act.mix, e->act.attn,    e->act.gate,   e->act.inner,
                       e->act.ff,  e->act.logits,  e->cos_sin[0], e->cos_sin[1]};
    kvl_free(e->act.rounded);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        kvl_free(blocks[i]);
    }
    for (unsigned t = 0; e->scratch != NULL && t < e->n_threads; t++) {
        kvl_free(e->scratch[t].floats);
        kvl_free(e->scratch[t].bytes);
    }
    kvl_free(e->scratch);
    kvl_free(e->score_parts);
    kvl_pool_destroy(e->pool);
    kvl_free(e);
}

const char *kvl_engine_isa(const kvl_engine *e) { return e->kernels->name; }
unsigned kvl_engine_threads(const kvl_engine *e) { return e->n_threads; }
const kvl_model *kvl_engine_model(const kvl_engine *e) { return e->model; }
size_t kvl_engine_pass_rows(void) { return KVL_BATCH_ROWS; }
uint64_t kvl_engine_scratch_bytes(const kvl_engine *e) { return e->scratch_bytes; }

kvl_status kvli_engine_scratch(kvl_engine *e, size_t n_floats, size_t n_bytes, kvl_err *err) {
    for (unsigned t = 0; t < e->n_threads; t++) {
        kvl_thread_scratch *s = &e->scratch[t];
        size_t n = kvli_grown(s->n_floats, n_floats);
        if (n > s->n_floats) {
            float *fresh = kvl_calloc(n, sizeof(float));
            if (fresh == NULL) {
                return kvl_fail_nomem(err, "engine scratch");
            }
            kvl_free(s->floats);
            e->scratch_bytes += (n - s->n_floats) * sizeof(float);
            s->floats = fresh;
            s->n_floats = n;
        }
        n = kvli_grown(s->n_bytes, n_bytes);
        if (n > s->n_bytes) {
            void *fresh = kvl_calloc(n, 1);
            if (fresh == NULL) {
                return kvl_fail_nomem(err, "engine scratch");
            }
            kvl_free(s->bytes);
            e->scratch_bytes += n - s->n_bytes;
            s->bytes = fresh;
            s->n_bytes = n;
        }
    }
    return KVL_OK;
}

typedef struct fallible_loop {
    kvl_engine *e;
    kvli_item_fn *fn;
    void *ud;
} fallible_loop;

static void try_item(void *ud, size_t item, unsigned thread) {
    const fallible_loop *loop = ud;
    kvl_thread_scratch *s = &loop->e->scratch[thread];
    if (s->status == KVL_OK) {
        s->status = loop->fn(loop->ud, item, thread, &s->err);
        s->failed = item;
    }
}

kvl_status kvli_engine_run(kvl_engine *e, size_t n_items, kvli_item_fn *fn, void *ud, kvl_err *err) {
    const kvl_thread_scratch *first = NULL;
    fallible_loop loop = {e, fn, ud};
    for (unsigned t = 0; t < e->n_threads; t++) {
        e->scratch[t].status = KVL_OK;
    }
    kvl_pool_run(e->pool, n_items, try_item, &loop);
    for (unsigned t = 0; t < e->n_threads; t++) {
        const kvl_thread_scratch *s = &e->scratch[t];
        first = s->status != KVL_OK && (first == NULL || s->failed < first->failed) ? s : first;
    }
    if (first != NULL && err != NULL) {
        *err = first->err;
    }
    return first != NULL ? first->status : KVL_OK;
}

static void fill_rotary(float *table, const kvl_rope *rope, size_t n_rotary, size_t n_positions) {
    size_t n_pairs = n_rotary / 2;
    for (size_t i = 0; i < n_pairs; i++) {
        for (size_t p = 0; p < n_positions; p++) {
            /* The angle is formed in float, as the reference implementations do: at position 1000 the
             * rounding of the product is the largest difference otherwise. */
            float angle = (float)p * rope->frequencies[i];
            table[p * n_rotary + i] = (float)cos((double)angle) * rope->gain;
            table[p * n_rotary + n_pairs + i] = (float)sin((double)angle) * rope->gain;
        }
    }
}

kvl_status kvli_engine_rotary(kvl_engine *e, size_t n_positions, kvl_err *err) {
    size_t n_rotary = e->model->shape.n_rotary;
    if (n_rotary == 0 || n_positions <= e->n_positions) {
        return KVL_OK;
    }
    size_t n = kvli_grown(e->n_positions, n_positions);
    for (int kind = 0; kind < KVL_N_ROPES; kind++) {
        const kvl_rope *rope = &e->model->ropes[kind];
        if (rope->frequencies == NULL) {
            continue;
        }
        float *table = kvl_alloc(n, n_rotary * sizeof(float));
        if (table == NULL) {
            return kvl_fail_nomem(err, "rotation table");
        }
        fill_rotary(table, rope, n_rotary, n);
        kvl_free(e->cos_sin[kind]);
        e->cos_sin[kind] = table;
        e->scratch_bytes += (n - e->n_positions) * n_rotary * sizeof(float);
    }
    e->n_positions = n;
    return KVL_OK;
}

void kvli_engine_norm(const kvl_engine *e, const kvl_norm *norm, float *out, const float *in, size_t n) {
    if (e->model->shape.norm == KVL_NORM_RMS) {
        e->kernels->rms_norm(out, in, norm->gain, e->model->shape.norm_eps, n);
    } else {
        e->kernels->layer_norm(out, in, norm->gain, norm->shift, e->model->shape.norm_eps, n);
    }
}

static kvl_status create_stream(kvl_stream **out, const kvl_shape *shape, bool is_counting, kvl_err *err) {
    *out = NULL;
    kvl_stream *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "stream");
    }
    kvl_status status = is_counting ? kvl_cache_create_counting(&s->cache, shape, err)
                                    : kvl_cache_create(&s->cache, shape, err);
    if (status != KVL_OK) {
        kvl_free(s);
        return status;
    }
    *out = s;
    return KVL_OK;
}

kvl_status kvl_stream_create(kvl_stream **out, const kvl_engine *e, kvl_err *err) {
    return create_stream(out, &e->model->shape, false, err);
}

kvl_status kvl_stream_create_counting(kvl_stream **out, const kvl_shape *shape, kvl_err *err) {
    return create_stream(out, shape, true, err);
}

static bool notes_queries(kvl_needs needs) { return needs.n_queries != 0 || needs.has_moments; }

kvl_status kvl_stream_fork_for(kvl_stream **out, const kvl_stream *s, kvl_needs needs, kvl_err *err) {
    *out = NULL;
    kvl_stream *copy = kvl_calloc(1, sizeof *copy);
    if (copy == NULL) {
        return kvl_fail_nomem(err, "stream");
    }
    *copy = *s;
    copy->cache = NULL;
    copy->tap = NULL;
    copy->departures = NULL;
    copy->needs = needs;
    copy->needs.has_mass = s->needs.has_mass; /* it goes on in the cache */
    copy->needs.is_mass_late = s->needs.is_mass_late;
    kvl_status status = kvl_cache_fork(&copy->cache, s->cache, err);
    if (status == KVL_OK && s->tap != NULL && notes_queries(needs)) {
        status = kvl_tap_fork(&copy->tap, s->tap, needs, s->n_seen, err);
    }
    if (status == KVL_OK && s->departures != NULL) {
        status = kvl_departures_fork(&copy->departures, s->departures, err);
    }
    if (status != KVL_OK) {
        kvl_stream_destroy(copy);
        return status;
    }
    *out = copy;
    return KVL_OK;
}

kvl_status kvl_stream_fork(kvl_stream **out, const kvl_stream *s, kvl_err *err) {
    return kvl_stream_fork_for(out, s, s->needs, err);
}

kvl_status kvl_stream_watch(kvl_stream *s, const kvl_shape *shape, kvl_needs needs, kvl_err *err) {
    if (needs.is_plain) {
        KVL_TRY(kvl_cache_check_thin(shape, err));
    }
    s->needs = needs;
    if (needs.has_mass) {
        kvl_cache_track_mass(s->cache);
    }
    if (!notes_queries(needs) || kvl_cache_is_counting(s->cache)) {
        return KVL_OK;
    }
    return kvl_tap_create(&s->tap, shape, needs, err);
}

kvl_status kvl_stream_log(kvl_stream *s, const kvl_shape *shape, size_t n_tokens, kvl_err *err) {
    return kvl_cache_is_counting(s->cache) ? KVL_OK
                                           : kvl_departures_create(&s->departures, shape, n_tokens, err);
}

void kvl_stream_note_departures(kvl_stream *s) {
    kvl_departures *d = s->departures;
    if (d == NULL) {
        return;
    }
    for (uint32_t layer = 0; layer < kvl_departures_layers(d); layer++) {
        for (uint32_t head = 0; head < kvl_departures_heads(d); head++) {
            kvl_departures_note_head(d, s->cache, layer, head, (size_t)s->n_seen);
        }
    }
    kvl_departures_note_event(d, (size_t)s->n_seen);
}

void kvl_stream_unwatch(kvl_stream *s) {
    s->needs = (kvl_needs){.has_mass = s->needs.has_mass, .is_mass_late = s->needs.is_mass_late};
    kvl_tap_destroy(s->tap);
    s->tap = NULL;
}

uint64_t kvl_stream_tap_bytes(const kvl_stream *s, const kvl_shape *shape) {
    return kvl_tap_bytes_of(shape, s->needs, (size_t)s->n_seen);
}

void kvl_stream_destroy(kvl_stream *s) {
    if (s != NULL) {
        kvl_cache_destroy(s->cache);
        kvl_tap_destroy(s->tap);
        kvl_departures_destroy(s->departures);
        kvl_free(s);
    }
}
