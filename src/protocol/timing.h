/* Honest time: what a user waits for, with and without compression.
 *
 * A prompt is prefilled in one call; TTFT is the time from the call to the moment the first new token's id is
 * in the caller's hands; then the policy compresses the prompt's cache once; then tokens are decoded
 * greedily. Policies with a schedule of their own act by it: what they do inside the prompt is part of TTFT,
 * what they do while decoding is part of the time of a token. All policies take turns in every repetition, in
 * an order that rotates, after one warm-up round; figures are medians.
 */
#ifndef KVL_PROTOCOL_TIMING_H
#define KVL_PROTOCOL_TIMING_H

#include "engine/engine.h"
#include "protocol/samples.h"

/* What one policy took in one repetition. */
typedef struct kvl_timing_sample {
    double ttft_ns;
    double compress_ns;
    double tpot_ns; /* median of the tokens decoded */
} kvl_timing_sample;

typedef struct kvl_timing_config {
    const kvl_sample *sample;
    const kvl_policy *policies; /* [n_policies]; schedule fields are overridden: once, after the prefill */
    size_t n_policies;
    size_t n_prompt;            /* tokens; cut to the sample and the context */
    size_t n_new;               /* tokens decoded after the first */
    size_t n_repetitions;       /* counted ones; one more warms up */
    kvl_engine *const *engines; /* [n_policies] each policy on its own, for caches of several types; NULL: all
                                 * on the one given */
    kvl_timing_sample *samples; /* [n_policies, n_repetitions] all that was measured, caller's; or NULL */
} kvl_timing_config;

/* Medians over the repetitions. */
typedef struct kvl_timing {
    size_t n_prompt;
    size_t n_new;
    double ttft_ns;
    double compress_ns; /* scoring, selecting and moving memory, whole model, when the prompt has ended */
    double tpot_ns;     /* one decoded token */
    double tokens_per_s;
    uint64_t kv_bytes_live; /* after compression */
    uint64_t kv_bytes_peak; /* the most allocated for the cache until then */
    uint64_t
        peak_rss_bytes; /* peak of the process during this policy's runs; 0 when the system does not tell */
} kvl_timing;

/* The policy with its schedule replaced: looks once, and acts on whatever is there. Presses with a schedule
 * of their own keep it. */
kvl_policy kvl_timing_once(const kvl_policy *policy);
/* Median of n >= 1 values, which it sorts. */
double kvl_timing_median(double *x, size_t n);
/* Feeds n >= 1 tokens to a stream, at most n_batch at a time, and compresses it where the policy has a
 * schedule and fires before the last of them; *top is the most likely next one.
 *   policy  NULL: none
 *   rows    [min(n, n_batch)] scratch */
kvl_status kvl_timing_prefill(kvl_engine *engine, kvl_stream *stream, const kvl_policy *policy,
                              const int32_t *ids, size_t n, size_t n_batch, kvl_row *rows, int32_t *top,
                              kvl_err *err) KVL_MUST_USE;
/* Decodes n tokens greedily, *token first, and compresses the stream where the policy has a schedule and
 * fires; leaves the next token in *token.
 *   policy    NULL: none
 *   token_ns  [n] time of each, its compression included, or NULL */
kvl_status kvl_timing_decode(kvl_engine *engine, kvl_stream *stream, const kvl_policy *policy, int32_t *token,
                             size_t n, double *token_ns, kvl_err *err) KVL_MUST_USE;

/* out [n_policies]. */
kvl_status kvl_timing_run(kvl_timing *out, kvl_engine *engine, const kvl_timing_config *config,
                          kvl_err *err) KVL_MUST_USE;

/* Median time of three passes, after one to warm up, over so many streams (at least 1) that just begin: one
 * row each, scored. */
kvl_status kvl_timing_pass(double *ns, kvl_engine *engine, size_t n_rows, kvl_err *err) KVL_MUST_USE;

#endif
