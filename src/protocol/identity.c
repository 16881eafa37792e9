/* The identity check: no eviction must mean the same bits, on whatever path. */
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

static kvl_status compare(const kvl_row *whole, const kvl_row *stepped, size_t t, const char *name,
                          kvl_err *err) {
    if (memcmp(&whole->nll, &stepped->nll, sizeof whole->nll) != 0) {
        return kvl_fail(
            err, KVL_E_CHECK,
            "identity check on %s: token %zu: expected the same NLL in one pass and step by step, found "
            "%.17g and %.17g",
            name, t, whole->nll, stepped->nll);
    }
    return KVL_OK;
}

kvl_status kvl_identity_check(kvl_engine *engine, const kvl_sample *sample, kvl_err *err) {
    kvl_stream *streams[3] = {NULL, NULL, NULL}; /* one pass; step by step; another text beside it */
    kvl_row whole[max_check_tokens];
    size_t n = kvl_min_size(sample->ids.n, max_check_tokens) - 1;
    const int32_t *ids = sample->ids.ids;
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < 3; i++) {
        KVL_GO(kvl_stream_create(&streams[i], engine, err));
    }
    for (size_t t = 0; t < n; t++) {
        whole[t] = (kvl_row){.stream = streams[0], .token = ids[t], .target = ids[t + 1]};
    }
    KVL_GO(kvl_engine_forward(engine, whole, n, err));
    for (size_t t = 0; t < n; t++) {
        kvl_row pair[2] = {{.stream = streams[2], .token = ids[n - t], .target = ids[0]},
                           {.stream = streams[1], .token = ids[t], .target = ids[t + 1]}};
        KVL_GO(kvl_engine_forward(engine, pair, 2, err));
        KVL_GO(compare(&whole[t], &pair[1], t, sample->name, err));
        KVL_GO(keep_all(streams[1], &kvl_engine_model(engine)->shape, err));
    }
done:
    for (size_t i = 0; i < 3; i++) {
        kvl_stream_destroy(streams[i]);
    }
    return status;
}
