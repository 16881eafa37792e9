/* Honest time: what a user waits for, with and without compression.
 *
 * A prompt is prefilled in one call; TTFT is the time from the call to the moment the first new token's id is
 * in the caller's hands; then the policy compresses the prompt's cache once; then tokens are decoded
 * greedily. All policies take turns in every repetition, in an order that rotates, after one warm-up round;
 * figures are medians.
 */
#ifndef KVL_PROTOCOL_TIMING_H
#define KVL_PROTOCOL_TIMING_H

#include "engine/engine.h"
#include "protocol/samples.h"

typedef struct kvl_timing_config {
    const kvl_sample *sample;
    const kvl_policy *policies; /* [n_policies]; schedule fields are overridden: once, after the prefill */
    size_t n_policies;
    size_t n_prompt;      /* tokens; cut to the sample and the context */
    size_t n_new;         /* tokens decoded after the first */
    size_t n_repetitions; /* counted ones; one more warms up */
} kvl_timing_config;

/* Medians over the repetitions. */
typedef struct kvl_timing {
    size_t n_prompt;
    size_t n_new;
    double ttft_ns;
    double compress_ns; /* scoring, selecting and moving memory, whole model */
    double tpot_ns;     /* one decoded token */
    double tokens_per_s;
    uint64_t kv_bytes_live; /* after compression */
    uint64_t
        peak_rss_bytes; /* peak of the process during this policy's runs; 0 when the system does not tell */
} kvl_timing;

/* out [n_policies]. */
kvl_status kvl_timing_run(kvl_timing *out, kvl_engine *engine, const kvl_timing_config *config,
                          kvl_err *err) KVL_MUST_USE;

/* Median time of three passes, after one to warm up, over so many streams (at least 1) that just begin: one
 * row each, scored. */
kvl_status kvl_timing_pass(double *ns, kvl_engine *engine, size_t n_rows, kvl_err *err) KVL_MUST_USE;

#endif
