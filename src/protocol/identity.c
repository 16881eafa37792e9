/* The identity check: no eviction must mean the same bits, on whatever path; and the same evictions too. */
#include "protocol/sweep.h"

#include "base/alloc.h"

#include <string.h>

enum { max_check_tokens = 48 }; /* three key panels, several tiles */

/* Sends every head through a keep of all its entries. */
static kvl_status keep_all(kvl_stream *s, const kvl_shape *shape, kvl_err *err) {
    uint32_t slots[max_check_tokens];
    for (uint32_t i = 0; i < max_check_tokens; i++) {
        slots[i] = i;
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            KVL_TRY(kvl_cache_keep(s->cache, layer, head, slots, kvl_cache_len(s->cache, layer, head), err));
        }
    }
    return KVL_OK;
}

static kvl_status compare(double whole, double stepped, size_t t, const char *name, kvl_err *err) {
    if (memcmp(&whole, &stepped, sizeof whole) != 0) {
        return kvl_fail(
            err, KVL_E_CHECK,
            "identity check on %s: token %zu: expected the same NLL in one pass and step by step, found "
            "%.17g and %.17g",
            name, t, whole, stepped);
    }
    return KVL_OK;
}

/* Compresses the stream of a row if the policy fires, and notes in the row that it did. */
static kvl_status compress_behind(kvl_engine *engine, kvl_row *row, kvl_stream *stream,
                                  const kvl_policy *policy, kvl_err *err) {
    if (!kvl_policy_fires(policy, stream, &kvl_engine_model(engine)->shape)) {
        return KVL_OK;
    }
    row->evict = policy;
    return kvl_engine_compress(engine, &(kvl_compress_job){stream, policy}, 1, err);
}

kvl_status kvl_identity_check(kvl_engine *engine, const kvl_sample *sample, kvl_err *err) {
    enum { WHOLE, STEPPED, EVICTED_WHOLE, EVICTED_STEPPED, N_STREAMS };
    kvl_stream *streams[N_STREAMS] = {0};
    kvl_row whole[max_check_tokens], evicted[max_check_tokens];
    double nll[max_check_tokens]; /* of EVICTED_STEPPED */
    kvl_policy policy;
    size_t n = kvl_min_size(sample->ids.n, max_check_tokens) - 1;
    const int32_t *ids = sample->ids.ids;
    kvl_status status = KVL_OK;
    kvl_policy_init(&policy);
    KVL_GO(kvl_policy_parse(&policy, "knorm:keep=0.75:cap=16", err));
    for (size_t i = 0; i < N_STREAMS; i++) {
        KVL_GO(kvl_stream_create(&streams[i], engine, err));
    }
    for (size_t t = 0; t < n; t++) {
        whole[t] = (kvl_row){.stream = streams[WHOLE], .token = ids[t], .target = ids[t + 1]};
        evicted[t] = (kvl_row){.stream = streams[EVICTED_WHOLE], .token = ids[n - t], .target = ids[0]};
    }
    KVL_GO(kvl_engine_forward(engine, whole, n, err));
    for (size_t t = 0; t < n; t++) {
        kvl_row pair[2] = {evicted[t], whole[t]};
        pair[0].stream = streams[EVICTED_STEPPED];
        pair[1].stream = streams[STEPPED];
        KVL_GO(kvl_engine_forward(engine, pair, 2, err));
        KVL_GO(compare(whole[t].nll, pair[1].nll, t, sample->name, err));
        KVL_GO(keep_all(streams[STEPPED], &kvl_engine_model(engine)->shape, err));
        KVL_GO(compress_behind(engine, &evicted[t], streams[EVICTED_STEPPED], &policy, err));
        nll[t] = pair[0].nll;
    }
    KVL_GO(kvl_engine_forward(engine, evicted, n, err));
    for (size_t t = 0; t < n; t++) {
        KVL_GO(compare(evicted[t].nll, nll[t], t, sample->name, err));
    }
done:
    for (size_t i = 0; i < N_STREAMS; i++) {
        kvl_stream_destroy(streams[i]);
    }
    return status;
}
