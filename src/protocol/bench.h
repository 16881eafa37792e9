/* Speed of one test of prompt and generation at a depth, for several policies in turn.
 *
 * The depth is prefilled untimed and compressed by the policy once; then n_prompt tokens are fed and n_gen
 * decoded, timed together. Tokens are drawn, not read, as speed does not depend on them; tokenising is not
 * included, picking the most likely token is. In every repetition all policies take turns, in an order that
 * rotates; each starts from a copy of the same cache at depth. Policies with a schedule of their own act by
 * it: the depth is their prompt, or the tokens fed where there is no depth.
 */
#ifndef KVL_PROTOCOL_BENCH_H
#define KVL_PROTOCOL_BENCH_H

#include "engine/engine.h"

typedef struct kvl_bench_config {
    size_t n_prompt, n_gen;     /* not both 0 */
    size_t n_depth;             /* tokens in the cache before; 0 only for policies that evict nothing or by a
                                 * schedule of their own */
    size_t n_batch;             /* tokens handed to the engine at once, >= 1 */
    size_t n_repetitions;       /* counted ones, >= 1 */
    bool has_warmup;            /* one more comes first */
    const kvl_policy *policies; /* [n_policies]; schedule fields are overridden: once, at depth */
    size_t n_policies;
} kvl_bench_config;

typedef struct kvl_bench_result {
    double *samples_ns;         /* [n_repetitions], caller's */
    double compress_ns;         /* median; 0 where nothing is evicted */
    double keep_ratio;          /* entries that were left of those before, all layers; of policies with a
                                 * schedule, at the end of the test, of those of all tokens */
    uint64_t kv_bytes_live;     /* at the end of the test */
    uint64_t kv_bytes_reserved; /* and allocated for the cache */
    uint64_t kv_bytes_peak;     /* the most at once, its copy or its making at depth included */
    uint64_t scratch_bytes;     /* of the engine */
    uint64_t peak_rss_bytes; /* of the process during the warm-up, its prefill included and nothing beside it;
                                without warm-up during a repetition, the cache it copies included */
    double n_flop;           /* of feeding the prompt: matrices, visible entries, one output row */
    double n_bytes;          /* that generating reads: weights used and visible entries, per token */
} kvl_bench_result;

/* out [n_policies]. Errors: E_USAGE for a policy that evicts nothing at this depth, though its press is not
 * `none`; those of the engine. */
kvl_status kvl_bench_run(kvl_bench_result *out, kvl_engine *engine, const kvl_bench_config *config,
                         kvl_err *err) KVL_MUST_USE;

#endif
