/* Streams whose caches are beginnings of one ranking: scored, sorted and stored once. */
#include "engine/engine_int.h"

#include "base/alloc.h"

bool kvl_policies_nest(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                       const kvl_shape *shape) {
    kvl_policy like = *b; /* but with the budget of a */
    like.keep_ratio = a->keep_ratio;
    like.size_tok = a->size_tok;
    like.n_bytes = a->n_bytes;
    like.cap_tok = a->cap_tok;
    like.is_trigger_gt = a->is_trigger_gt;
    /* before its first compression all heads of a stream hold the same number of entries: either all are
     * sorted or none */
    return a->protections.is_score_order && kvl_policy_is_by_head(a) && !kvl_policy_has_schedule(a) &&
           !kvl_press_has_budget(a->tree) && !stream->needs.has_mass && shape->n_residual == 0 &&
           a->cadence_tok == 0 && b->cadence_tok == 0 && stream->n_events == 0 &&
           kvl_cache_base(stream->cache) == NULL && kvl_policies_act_alike(a, &like, stream, shape);
}

kvl_status kvl_stream_nest(kvl_stream **out, const kvl_stream *s, const kvl_policy *policy,
                           const kvl_shape *shape, kvl_err *err) {
    const size_t n_heads = (size_t)shape->n_layers * shape->n_kv_heads;
    const kvl_moment now = kvli_moment_of(s);
    kvl_status status = KVL_OK;
    kvl_stream *above = kvl_calloc(1, sizeof *above);
    uint32_t *n_kept = kvl_calloc(n_heads, sizeof *n_kept);
    *out = NULL;
    if (above == NULL || n_kept == NULL) {
        KVL_GO(kvl_fail_nomem(err, "stream"));
    }
    for (size_t i = 0; i < n_heads; i++) {
        n_kept[i] = (uint32_t)kvli_target_of(policy, s->cache, &now, shape, (uint32_t)(i / shape->n_kv_heads),
                                             (uint32_t)(i % shape->n_kv_heads));
    }
    *above = *s;
    above->n_events++;
    above->cache = NULL;
    above->tap = NULL; /* these policies act once */
    above->needs = (kvl_needs){0};
    above->departures = NULL;
    KVL_GO(kvl_cache_stand_on(&above->cache, s->cache, n_kept, err));
    KVL_GO(s->departures != NULL ? kvl_departures_fork(&above->departures, s->departures, err) : KVL_OK);
    *out = above;
    above = NULL;
done:
    kvl_stream_destroy(above);
    kvl_free(n_kept);
    return status;
}
