/* Time measurements: interleaved, warmed up, medians. */
#include "protocol/timing.h"

#include "base/alloc.h"
#include "base/os.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a_ptr, const void *b_ptr) {
    const double a = *(const double *)a_ptr;
    const double b = *(const double *)b_ptr;
    return (a > b) - (a < b);
}

double kvl_timing_median(double *x, size_t n) {
    qsort(x, n, sizeof *x, by_value);
    return n % 2 != 0 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* ---- policies that act by a schedule ---- */

/* A prompt being fed. */
typedef struct feed {
    kvl_engine *engine;
    kvl_stream *stream;
    kvl_stream *shadow; /* counts, and tells when the policy fires; NULL: it has no schedule */
    const kvl_policy *policy;
    bool is_waiting; /* the stream is to be compressed before it goes on */
} feed;

static kvl_status open_feed(feed *f, kvl_err *err) {
    const kvl_shape *shape = &kvl_engine_model(f->engine)->shape;
    if (f->policy == NULL || !kvl_policy_has_schedule(f->policy)) {
        return KVL_OK;
    }
    KVL_TRY(kvl_stream_create_counting(&f->shadow, shape, err));
    f->shadow->n_seen = f->stream->n_seen;
    f->shadow->n_prefill = f->stream->n_prefill;
    return kvl_count_follow(f->shadow, f->stream, shape, err);
}

/* The shadow goes on by a row that is not the last; the row carries the compression behind it if it can. */
static kvl_status follow(feed *f, kvl_row *row, kvl_err *err) {
    const kvl_shape *shape = &kvl_engine_model(f->engine)->shape;
    if (f->shadow == NULL) {
        return KVL_OK;
    }
    KVL_TRY(kvl_count_forward(shape, &(kvl_row){.stream = f->shadow}, 1, err));
    if (!kvl_policy_fires(f->policy, f->shadow, shape)) {
        return KVL_OK;
    }
    if (!kvl_policy_is_by_head(f->policy)) {
        f->is_waiting = true;
        return KVL_OK;
    }
    row->evict = f->policy;
    return kvl_count_compress(shape, &(kvl_compress_job){f->shadow, f->policy}, 1, err);
}

static kvl_status compress_waiting(feed *f, kvl_err *err) {
    if (!f->is_waiting) {
        return KVL_OK;
    }
    f->is_waiting = false;
    KVL_TRY(kvl_engine_compress(f->engine, &(kvl_compress_job){f->stream, f->policy}, 1, err));
    return kvl_count_follow(f->shadow, f->stream, &kvl_engine_model(f->engine)->shape, err);
}

kvl_status kvl_timing_prefill(kvl_engine *engine, kvl_stream *stream, const kvl_policy *policy,
                              const int32_t *ids, size_t n, size_t n_batch, kvl_row *rows, int32_t *top,
                              kvl_err *err) {
    feed f = {.engine = engine, .stream = stream, .policy = policy};
    kvl_status status = open_feed(&f, err);
    for (size_t done = 0; done < n && status == KVL_OK;) {
        size_t n_rows = 0;
        while (n_rows < n_batch && done < n && !f.is_waiting && status == KVL_OK) {
            kvl_row *row = &rows[n_rows++];
            *row = (kvl_row){.stream = stream, .token = ids[done], .target = -1, .wants_top = done + 1 == n};
            done++;
            status = done < n ? follow(&f, row, err) : KVL_OK;
        }
        KVL_GO(status);
        KVL_GO(kvl_engine_forward(engine, rows, n_rows, err));
        KVL_GO(compress_waiting(&f, err));
        *top = rows[n_rows - 1].top;
    }
done:
    kvl_stream_destroy(f.shadow);
    return status;
}

kvl_status kvl_timing_decode(kvl_engine *engine, kvl_stream *stream, const kvl_policy *policy, int32_t *token,
                             size_t n, double *token_ns, kvl_err *err) {
    const bool may_act = policy != NULL && kvl_policy_has_schedule(policy);
    for (size_t i = 0; i < n; i++) {
        kvl_row row = {.stream = stream, .token = *token, .target = -1, .wants_top = true};
        uint64_t start = kvl_clock_ns();
        KVL_TRY(kvl_engine_forward(engine, &row, 1, err));
        if (may_act) {
            KVL_TRY(kvl_engine_compress_if_due(engine, stream, policy, err));
        }
        if (token_ns != NULL) {
            token_ns[i] = (double)(kvl_clock_ns() - start);
        }
        *token = row.top;
    }
    return KVL_OK;
}

/* One generation under one policy. rows [n_prompt] and token_ns [n_new] are scratch. */
static kvl_status generate(kvl_engine *engine, const kvl_timing_config *config, const kvl_policy *policy,
                           kvl_timing *t, kvl_timing_sample *seen, kvl_row *rows, double *token_ns,
                           kvl_err *err) {
    kvl_stream *stream = NULL;
    const kvl_shape *shape = &kvl_engine_model(engine)->shape;
    kvl_status status = KVL_OK;
    int32_t token = -1;
    KVL_TRY(kvl_stream_create(&stream, engine, err));
    stream->n_prefill = t->n_prompt;
    stream->text = config->sample->ids.ids; /* of the prompt: what follows is not known yet */
    stream->n_text = t->n_prompt;
    KVL_GO(kvl_stream_watch(stream, shape, kvl_policy_needs(policy, shape), err));
    uint64_t start = kvl_clock_ns();
    KVL_GO(kvl_timing_prefill(engine, stream, policy, config->sample->ids.ids, t->n_prompt, t->n_prompt, rows,
                              &token, err));
    uint64_t first_token = kvl_clock_ns();
    KVL_GO(kvl_engine_compress_if_due(engine, stream, policy, err));
    uint64_t compressed = kvl_clock_ns();
    if (!kvl_policy_has_schedule(policy)) {
        kvl_stream_unwatch(stream); /* no press will act again */
    }
    t->kv_bytes_live = kvl_cache_live_bytes(stream->cache);
    t->kv_bytes_peak = kvl_cache_most_bytes(stream->cache);
    KVL_GO(kvl_stream_reserve(engine, stream, t->n_new, err));
    KVL_GO(kvl_timing_decode(engine, stream, policy, &token, t->n_new, token_ns, err));
    seen->ttft_ns = (double)(first_token - start);
    seen->compress_ns = (double)(compressed - first_token);
    seen->tpot_ns = kvl_timing_median(token_ns, t->n_new);
done:
    kvl_stream_destroy(stream);
    return status;
}

kvl_policy kvl_timing_once(const kvl_policy *policy) {
    kvl_policy once = *policy;
    once.cap_tok = 1;
    once.is_trigger_gt = false;
    once.cadence_tok = 0;
    return once;
}

static void summarise(kvl_timing *t, const kvl_timing_sample *seen, double *scratch, size_t n) {
    for (size_t i = 0; i < n; i++) {
        scratch[i] = seen[i].ttft_ns;
    }
    t->ttft_ns = kvl_timing_median(scratch, n);
    for (size_t i = 0; i < n; i++) {
        scratch[i] = seen[i].compress_ns;
    }
    t->compress_ns = kvl_timing_median(scratch, n);
    for (size_t i = 0; i < n; i++) {
        scratch[i] = seen[i].tpot_ns;
    }
    t->tpot_ns = kvl_timing_median(scratch, n);
    t->tokens_per_s = t->tpot_ns > 0 ? 1e9 / t->tpot_ns : 0;
}

kvl_status kvl_timing_run(kvl_timing *out, kvl_engine *engine, const kvl_timing_config *config,
                          kvl_err *err) {
    size_t n_context = kvl_engine_model(engine)->shape.n_context;
    size_t n_new = kvl_min_size(config->n_new, n_context / 2);
    size_t n_prompt = kvl_min_size(config->n_prompt, kvl_min_size(config->sample->ids.n, n_context - n_new));
    size_t n_reps = config->n_repetitions;
    kvl_timing_sample *seen = kvl_calloc(config->n_policies * n_reps, sizeof *seen);
    kvl_row *rows = kvl_calloc(n_prompt, sizeof *rows);
    double *scratch = kvl_calloc(kvl_max_size(n_new, n_reps), sizeof *scratch);
    kvl_status status = KVL_OK;
    if (seen == NULL || rows == NULL || scratch == NULL) {
        KVL_GO(kvl_fail_nomem(err, "timing"));
    }
    for (size_t p = 0; p < config->n_policies; p++) {
        const kvl_engine *own = config->engines != NULL ? config->engines[p] : engine;
        KVL_GO(kvl_budget_check(&config->policies[p], &kvl_engine_model(own)->shape, n_prompt, err));
    }
    for (size_t rep = 0; rep <= n_reps; rep++) { /* repetition 0 warms up */
        for (size_t k = 0; k < config->n_policies; k++) {
            size_t p = (k + rep) % config->n_policies;
            kvl_policy policy = kvl_timing_once(&config->policies[p]);
            kvl_timing_sample ignored;
            out[p].n_prompt = n_prompt;
            out[p].n_new = n_new;
            kvl_peak_rss_reset();
            kvl_engine *own = config->engines != NULL ? config->engines[p] : engine;
            KVL_GO(generate(own, config, &policy, &out[p], rep == 0 ? &ignored : &seen[p * n_reps + rep - 1],
                            rows, scratch, err));
            uint64_t peak = kvl_peak_rss_bytes();
            out[p].peak_rss_bytes = rep == 0 || peak > out[p].peak_rss_bytes ? peak : out[p].peak_rss_bytes;
        }
    }
    for (size_t p = 0; p < config->n_policies; p++) {
        summarise(&out[p], seen + p * n_reps, scratch, n_reps);
    }
    if (config->samples != NULL) {
        memcpy(config->samples, seen, config->n_policies * n_reps * sizeof *seen);
    }
done:
    kvl_free(seen);
    kvl_free(rows);
    kvl_free(scratch);
    return status;
}

kvl_status kvl_timing_pass(double *ns, kvl_engine *engine, size_t n_rows, kvl_err *err) {
    enum { N_PASSES = 4 };
    double times[N_PASSES];
    kvl_row *rows = kvl_calloc(n_rows, sizeof *rows);
    kvl_status status = rows != NULL ? KVL_OK : kvl_fail_nomem(err, "timing");
    for (size_t i = 0; i < n_rows && status == KVL_OK; i++) {
        status = kvl_stream_create(&rows[i].stream, engine, err);
    }
    for (size_t pass = 0; pass < N_PASSES && status == KVL_OK; pass++) {
        uint64_t start = kvl_clock_ns();
        status = kvl_engine_forward(engine, rows, n_rows, err);
        times[pass] = (double)(kvl_clock_ns() - start);
    }
    *ns = status == KVL_OK ? kvl_timing_median(times + 1, N_PASSES - 1) : 0;
    for (size_t i = 0; rows != NULL && i < n_rows; i++) {
        kvl_stream_destroy(rows[i].stream);
    }
    kvl_free(rows);
    return status;
}
