/* The memory of a deployment, computed from a model's sizes before anything is allocated.
 *
 * A deployment prefills n tokens in one stream, compresses once, or by its schedule, and decodes. The plan
 * follows it to the first decoded token by the same rules of growth as the cache and the engine, step by
 * step; nothing is estimated but how heads that compete share their layer's budget: the plan gives each the
 * mean. Decoding takes room until n_room tokens; then each head's room grows by half. Bytes are those of the
 * blocks that the library allocates: the program, its threads' stacks and the allocator's own records come on
 * top.
 */
#ifndef KVL_ENGINE_PLAN_H
#define KVL_ENGINE_PLAN_H

#include "model/model.h"
#include "press/policy.h"

typedef struct kvl_plan {
    size_t n_kept; /* entries of a compressed head, in the mean; n where nothing is evicted */
    size_t n_room; /* tokens that can be decoded before the cache grows */
    uint64_t weight_bytes;
    uint64_t kv_prefill_bytes; /* keys and values of all tokens, before the compression */
    uint64_t kv_live_bytes;    /* and of the entries that stay; with windows at most */
    uint64_t
        kv_reserved_bytes;  /* allocated for them, with positions and room to grow, after the compression */
    uint64_t kv_peak_bytes; /* the most that the cache holds at once: room to grow, a head being copied */
    uint64_t noted_bytes;   /* queries that the stream notes for the press until the compression */
    uint64_t scratch_bytes; /* kvl_engine_scratch_bytes after the compression */
    uint64_t peak_bytes;    /* the most of all together at one moment */
} kvl_plan;

/* n_tokens >= 1 prefilled, then compressed by the policy if it acts on so many, or in between by its
 * schedule. The model may be one of headers only. Cannot fail. */
void kvl_plan_make(kvl_plan *out, const kvl_model *model, const kvl_policy *policy, unsigned n_threads,
                   size_t n_tokens);
/* At least what the engine's scratch takes at any moment of runs whose streams hold up to n_tokens entries
 * and are compressed by these policies [n_policies]: it doubles while texts grow, old and new block exist at
 * once. */
uint64_t kvl_plan_most_scratch_bytes(const kvl_model *model, const kvl_policy *policies, size_t n_policies,
                                     unsigned n_threads, size_t n_tokens);
/* Blocks of the cache that exist twice for a moment while heads grow or shrink: one for each thread, larger
 * than any can be with n_tokens entries. */
uint64_t kvl_plan_copied_bytes(const kvl_shape *shape, unsigned n_threads, size_t n_tokens);
/* The number of tokens, at most max_tokens, whose peak is within memory_bytes and with one more is not; 0:
 * not even one. By bisection: whether a head is copied when it shrinks depends on how full it was, so that a
 * few more tokens may fit again. */
size_t kvl_plan_longest(const kvl_model *model, const kvl_policy *policy, unsigned n_threads,
                        size_t max_tokens, uint64_t memory_bytes);

#endif
