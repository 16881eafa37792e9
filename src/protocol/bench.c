/* Speed tests, and the work in them: operations of a prompt, bytes of a generation. */
#include "protocol/bench.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/rng.h"
#include "protocol/timing.h"

/* What one call of kvl_bench_run owns. */
typedef struct run {
    kvl_engine *engine;
    const kvl_bench_config *config;
    int32_t *ids;      /* [longer of depth and prompt, and 1] */
    kvl_row *rows;     /* [n_batch, at most the same] */
    double *compress;  /* [n_policies, n_repetitions] */
    kvl_stream *depth; /* full cache at depth, which repetitions copy; NULL: still or again absent */
} run;

/* ---- the work in a test ---- */

/* Entries of all heads that the next token sees, itself included; thin keys count by their channels. */
static double visible_entries(const kvl_model *model, const kvl_cache *cache) {
    const kvl_shape *s = &model->shape;
    double n = 0;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            const size_t n_all = kvl_cache_len(cache, layer, head) + 1;
            const size_t n_seen = model->layers[layer].is_local ? kvl_min_size(n_all, s->window) : n_all;
            const kvl_head_thin thin = kvl_cache_thin_keys(cache, layer, head);
            const size_t n_thin = kvl_min_size(thin.n, n_seen - kvl_min_size(n_seen, n_all - thin.n));
            n += (double)n_seen -
                 (double)n_thin * (double)(s->head_dim - thin.n_channels) / (2.0 * s->head_dim);
        }
    }
    return n;
}

/* Bytes of the weights that one token reads: of an embedding only a row, unless the output is tied to it. */
static double weight_bytes_read(const kvl_model *model) {
    const kvl_shape *s = &model->shape;
    const kvl_weight_bytes *kinds = model->kinds;
    uint64_t n = model->weight_bytes - kinds[KVL_WEIGHT_EMBEDDING].resident_bytes;
    if (kinds[KVL_WEIGHT_OUTPUT].resident_bytes == 0) {
        n += kinds[KVL_WEIGHT_EMBEDDING].resident_bytes;
        n -= s->has_positions ? (uint64_t)s->n_context * s->width * sizeof(float) : 0;
    }
    return (double)n;
}

/* Operations of the layers' matrices per token; a multiply-add counts two. */
static double layer_flop(const kvl_shape *s) {
    double attention_width = (double)s->n_heads * s->head_dim;
    double n =
        2 * attention_width + 2.0 * s->n_kv_heads * s->head_dim + (s->is_gated ? 3.0 : 2.0) * s->ff_width;
    return 2.0 * s->n_layers * s->width * n;
}

/* Tokens that a counting stream goes through, compressed as the policy says; the entries they see. */
static kvl_status count_tokens(double *n_entries, const run *r, kvl_stream *s, const kvl_policy *policy,
                               size_t n, kvl_err *err) {
    const kvl_model *model = kvl_engine_model(r->engine);
    *n_entries = 0;
    for (size_t i = 0; i < n; i++) {
        *n_entries += visible_entries(model, s->cache);
        KVL_TRY(kvl_count_forward(&model->shape, &(kvl_row){.stream = s}, 1, err));
        if (kvl_policy_has_schedule(policy) && kvl_policy_fires(policy, s, &model->shape)) {
            KVL_TRY(kvl_count_compress(&model->shape, &(kvl_compress_job){s, policy}, 1, err));
        }
    }
    return KVL_OK;
}

/* The work of a test that starts from this stream. */
static kvl_status count_work(kvl_bench_result *out, const run *r, const kvl_stream *stream,
                             const kvl_policy *policy, kvl_err *err) {
    const kvl_model *model = kvl_engine_model(r->engine);
    const kvl_shape *s = &model->shape;
    const kvl_bench_config *c = r->config;
    const double entry_flop = 4.0 * s->head_dim * s->n_heads / s->n_kv_heads;
    const double entry_bytes = (double)(kvl_shape_kv_bytes(s) / ((uint64_t)s->n_layers * s->n_kv_heads));
    double fed = 0, generated = 0;
    kvl_stream *count = NULL;
    kvl_status status = KVL_OK;
    KVL_TRY(kvl_stream_create_counting(&count, s, err));
    count->n_seen = stream->n_seen;
    count->n_prefill = stream->n_prefill;
    KVL_GO(kvl_count_follow(count, stream, s, err));
    KVL_GO(count_tokens(&fed, r, count, policy, c->n_prompt, err));
    KVL_GO(count_tokens(&generated, r, count, policy, c->n_gen, err));
    out->n_flop = c->n_prompt == 0
                      ? 0
                      : 2.0 * s->width * s->n_vocab + (double)c->n_prompt * layer_flop(s) + entry_flop * fed;
    out->n_bytes = (double)c->n_gen * weight_bytes_read(model) + entry_bytes * generated;
done:
    kvl_stream_destroy(count);
    return status;
}

/* ---- running it ---- */

static size_t n_heads(const kvl_shape *s) { return (size_t)s->n_layers * s->n_kv_heads; }

/* All entries of a cache, by their bytes. */
static double n_entries(const kvl_shape *s, const kvl_cache *cache) {
    return (double)kvl_cache_live_bytes(cache) * (double)n_heads(s) / (double)kvl_shape_kv_bytes(s);
}

/* Entries that are left of those of all tokens. */
static double kept_share(const kvl_shape *s, const kvl_stream *stream) {
    return stream->n_seen != 0 ? n_entries(s, stream->cache) / ((double)stream->n_seen * (double)n_heads(s))
                               : 1;
}

/* Compresses a cache at depth; without a schedule of its own a policy must find something to evict. */
static kvl_status compress_depth(kvl_bench_result *out, const run *r, const kvl_policy *policy,
                                 kvl_stream *stream, double *compress_ns, kvl_err *err) {
    const kvl_shape *shape = &kvl_engine_model(r->engine)->shape;
    const uint64_t start = kvl_clock_ns();
    *compress_ns = 0;
    if (kvl_policy_fires(policy, stream, shape)) {
        KVL_TRY(kvl_engine_compress(r->engine, &(kvl_compress_job){stream, policy}, 1, err));
        *compress_ns = (double)(kvl_clock_ns() - start);
    } else if (!kvl_policy_press(policy)->is_identity && !kvl_policy_has_schedule(policy)) {
        return kvl_fail(err, KVL_E_USAGE, "press %s: expected to evict at depth %zu, would evict nothing",
                        kvl_policy_press(policy)->name, r->config->n_depth);
    }
    out->keep_ratio = kept_share(shape, stream);
    return KVL_OK;
}

/* Compresses a cache at depth, then runs the test; the stream is used up. */
static kvl_status measure(kvl_bench_result *out, const run *r, const kvl_policy *policy, kvl_stream *stream,
                          double *test_ns, double *compress_ns, kvl_err *err) {
    const kvl_bench_config *c = r->config;
    const kvl_policy once = kvl_timing_once(policy);
    int32_t token = r->ids[0];
    KVL_TRY(compress_depth(out, r, &once, stream, compress_ns, err));
    if (!kvl_policy_has_schedule(policy)) {
        kvl_stream_unwatch(stream); /* no press will act again */
        /* a server makes room for a request before it starts */
        KVL_TRY(kvl_stream_reserve(r->engine, stream, c->n_prompt + c->n_gen, err));
    }
    KVL_TRY(count_work(out, r, stream, policy, err));
    const uint64_t start = kvl_clock_ns();
    if (c->n_prompt != 0) {
        KVL_TRY(kvl_timing_prefill(r->engine, stream, policy, r->ids, c->n_prompt, c->n_batch, r->rows,
                                   &token, err));
        if (kvl_policy_has_schedule(policy)) {
            KVL_TRY(kvl_engine_compress_if_due(r->engine, stream, policy, err));
        }
    }
    KVL_TRY(kvl_timing_decode(r->engine, stream, policy, &token, c->n_gen, NULL, err));
    *test_ns = (double)(kvl_clock_ns() - start);
    if (kvl_policy_has_schedule(policy)) {
        out->keep_ratio = kept_share(&kvl_engine_model(r->engine)->shape, stream);
    }
    out->kv_bytes_live = kvl_cache_live_bytes(stream->cache);
    out->kv_bytes_reserved = kvl_cache_reserved_bytes(stream->cache);
    out->kv_bytes_peak = kvl_cache_most_bytes(stream->cache);
    out->scratch_bytes = kvl_engine_scratch_bytes(r->engine);
    return KVL_OK;
}

/* A stream at depth that notes what policies first .. end - 1 need; one that acts inside the depth makes its
 * own. Where there is no depth the prompt of the test is that of the stream. */
static kvl_status make_depth(kvl_stream **out, const run *r, size_t first, size_t end, kvl_err *err) {
    int32_t ignored;
    const kvl_bench_config *c = r->config;
    const kvl_shape *shape = &kvl_engine_model(r->engine)->shape;
    kvl_needs needs = {0};
    for (size_t p = first; p < end; p++) {
        needs = kvl_needs_join(needs, kvl_policy_needs(&c->policies[p], shape));
    }
    KVL_TRY(kvl_stream_create(out, r->engine, err));
    (*out)->n_prefill = c->n_depth != 0 ? c->n_depth : c->n_prompt;
    KVL_TRY(kvl_stream_watch(*out, shape, needs, err));
    return c->n_depth == 0
               ? KVL_OK
               : kvl_timing_prefill(r->engine, *out, end - first == 1 ? &c->policies[first] : NULL, r->ids,
                                    c->n_depth, c->n_batch, r->rows, &ignored, err);
}

/* One run of the p-th policy, in a stream of its own; starts from the common cache at depth where there is
 * one and the policy does not act inside it. */
static kvl_status run_once(kvl_bench_result *out, const run *r, size_t p, double *test_ns,
                           double *compress_ns, kvl_err *err) {
    kvl_stream *stream = NULL;
    const kvl_policy *policy = &r->config->policies[p];
    kvl_peak_rss_reset();
    kvl_status status = r->depth != NULL && !kvl_policy_has_schedule(policy)
                            ? kvl_stream_fork(&stream, r->depth, err)
                            : make_depth(&stream, r, p, p + 1, err);
    if (status == KVL_OK) {
        status = measure(out, r, policy, stream, test_ns, compress_ns, err);
    }
    uint64_t peak = kvl_peak_rss_bytes();
    out->peak_rss_bytes = out->peak_rss_bytes == 0 ? peak : out->peak_rss_bytes;
    kvl_stream_destroy(stream);
    return status;
}

static kvl_status run_all(kvl_bench_result *out, run *r, kvl_err *err) {
    const kvl_bench_config *c = r->config;
    double ignored[2];
    for (size_t p = 0; p < c->n_policies && c->has_warmup; p++) {
        KVL_TRY(run_once(&out[p], r, p, &ignored[0], &ignored[1], err));
    }
    if (c->n_depth != 0) {
        KVL_TRY(make_depth(&r->depth, r, 0, c->n_policies, err));
    }
    for (size_t rep = 0; rep < c->n_repetitions; rep++) {
        for (size_t k = 0; k < c->n_policies; k++) {
            size_t p = (k + rep) % c->n_policies;
            KVL_TRY(run_once(&out[p], r, p, &out[p].samples_ns[rep], &r->compress[p * c->n_repetitions + rep],
                             err));
        }
    }
    for (size_t p = 0; p < c->n_policies; p++) {
        out[p].compress_ns = kvl_timing_median(r->compress + p * c->n_repetitions, c->n_repetitions);
    }
    return KVL_OK;
}

kvl_status kvl_bench_run(kvl_bench_result *out, kvl_engine *engine, const kvl_bench_config *config,
                         kvl_err *err) {
    const kvl_model *model = kvl_engine_model(engine);
    uint32_t n_ids = model->n_vocab_in < model->shape.n_vocab ? model->n_vocab_in : model->shape.n_vocab;
    size_t n = kvl_max_size(1, kvl_max_size(config->n_prompt, config->n_depth));
    kvl_status status = KVL_OK;
    run r = {.engine = engine, .config = config};
    r.ids = kvl_calloc(n, sizeof *r.ids);
    r.rows = kvl_calloc(kvl_min_size(n, config->n_batch), sizeof *r.rows);
    r.compress = kvl_calloc(config->n_policies * config->n_repetitions, sizeof *r.compress);
    if (r.ids == NULL || r.rows == NULL || r.compress == NULL) {
        KVL_GO(kvl_fail_nomem(err, "bench"));
    }
    for (size_t p = 0; p < config->n_policies && config->n_depth != 0; p++) {
        KVL_GO(kvl_budget_check(&config->policies[p], &model->shape, config->n_depth, err));
    }
    for (size_t i = 0; i < n; i++) {
        r.ids[i] = (int32_t)(kvl_rng_draw(0, 0, i) % n_ids);
    }
    for (size_t p = 0; p < config->n_policies; p++) {
        out[p].peak_rss_bytes = 0;
    }
    status = run_all(out, &r, err);
done:
    kvl_stream_destroy(r.depth);
    kvl_free(r.ids);
    kvl_free(r.rows);
    kvl_free(r.compress);
    return status;
}
