/* The forward pass over a batch of rows, and compression between passes.
 *
 * A row is one token of one stream. Prefill is many rows of one stream, decoding is one row, a sweep is some
 * rows of each of its streams: one pass, one code path, weights read once. A row sees what its stream's cache
 * holds and the rows of the same stream before it in the batch; between its rows a stream may be compressed.
 * What a row computes does not depend on the other streams in the batch, on how a text is cut into batches,
 * or on the number of threads: same bits.
 *
 * One engine serves one caller at a time; several engines may share a model.
 */
#ifndef KVL_ENGINE_ENGINE_H
#define KVL_ENGINE_ENGINE_H

#include "cache/cache.h"
#include "engine/departures.h"
#include "model/model.h"
#include "press/policy.h"

typedef struct kvl_engine kvl_engine;

typedef struct kvl_engine_options {
    unsigned n_threads; /* 0: all processors this process may use */
    const char *isa;    /* NULL or "auto": the best there is */
} kvl_engine_options;

/* One sequence: its cache and its logical position. Create with kvl_stream_create. */
typedef struct kvl_stream {
    kvl_cache *cache;
    uint64_t n_seen;     /* tokens processed: the position of the next token in mode `true` */
    uint64_t n_prefill;  /* of the text, how many are its prompt, set by the caller; 0: none, all is
                          * decoding */
    uint64_t n_events;   /* compressions so far */
    const int32_t *text; /* [n_text] ids of the text from its first token on, borrowed: for presses that
                          * look again; NULL: not told */
    uint64_t n_text;
    uint64_t seed;                 /* for presses that draw; set by the caller, copied by forks */
    kvl_needs needs;               /* what is noted of it: kvl_stream_watch */
    kvl_tap *tap;                  /* where queries are noted; or NULL */
    bool is_cache_length_position; /* position of the next token: length of layer 0, not n_seen */
    uint64_t n_moved;              /* tokens when keys were last moved to their slots; 0: never */
    uint64_t len_moved;            /* of layer 0 then */
    kvl_departures *departures;    /* when entries left, kvl_stream_log; or NULL */
} kvl_stream;

typedef struct kvl_row {
    kvl_stream *stream;
    int32_t token;
    int32_t target;         /* next token, for its NLL; -1: not scored */
    bool wants_top;         /* fill `top` and `p_top` */
    bool wants_entropy;     /* fill `entropy` */
    const float *reference; /* [E], caller's: `hidden` of the same token with another cache, of an earlier
                             * pass or of a row before this one; fill `kl` and `is_same_top`; or NULL */
    /* Compress the stream by this policy, which must fire then, after the row: what kvl_engine_compress would
     * do between two passes, with the same bits. Only policies that act by head (kvl_policy_is_by_head).
     * NULL: do not. */
    const kvl_policy *evict;
    /* filled in by the pass */
    int32_t top;      /* most likely next token; the lowest id among equals */
    bool is_same_top; /* it is the reference's too */
    double nll;       /* nats, of target */
    double p_top;     /* probability of top */
    double entropy;   /* nats, of the prediction; absolute error about 1e-6, as of kl */
    double kl;        /* nats, of the reference's prediction from the row's; exactly 0 for equal states */
    float *hidden;    /* [E], caller's: the final state, normalised, that predictions are made of; or NULL */
    float *logits;    /* [V], caller's, or NULL */
} kvl_row;

/* The model is borrowed and must outlive the engine. */
kvl_status kvl_engine_create(kvl_engine **out, const kvl_model *model, const kvl_engine_options *options,
                             kvl_err *err) KVL_MUST_USE;
void kvl_engine_destroy(kvl_engine *e);
const char *kvl_engine_isa(const kvl_engine *e);
unsigned kvl_engine_threads(const kvl_engine *e);
const kvl_model *kvl_engine_model(const kvl_engine *e);
/* Bytes of scratch allocated so far: activations, rotation tables, scratch of the threads. */
uint64_t kvl_engine_scratch_bytes(const kvl_engine *e);

/* Words for presses that have a model repeat its text, borrowed until the engine is destroyed. */
void kvl_engine_set_prompts(kvl_engine *e, const kvl_prompts *prompts);

/* Rows that one pass computes together; larger batches are cut (bits do not change). */
size_t kvl_engine_pass_rows(void);

kvl_status kvl_stream_create(kvl_stream **out, const kvl_engine *e, kvl_err *err) KVL_MUST_USE;
/* An exact copy that continues on its own; what the stream shares with others, the copy shares too. */
kvl_status kvl_stream_fork(kvl_stream **out, const kvl_stream *s, kvl_err *err) KVL_MUST_USE;
/* The same, but the copy notes of its queries only what these needs ask for, which the stream's must meet. */
kvl_status kvl_stream_fork_for(kvl_stream **out, const kvl_stream *s, kvl_needs needs,
                               kvl_err *err) KVL_MUST_USE;
void kvl_stream_destroy(kvl_stream *s);

/* Has a stream that has seen nothing yet note what policies need: the union of kvl_policy_needs of all by
 * which it or its forks will be compressed. */
kvl_status kvl_stream_watch(kvl_stream *s, const kvl_shape *shape, kvl_needs needs,
                            kvl_err *err) KVL_MUST_USE;
/* Stops noting queries and gives their memory back, when no press will ask for them any more. */
void kvl_stream_unwatch(kvl_stream *s);
/* Has a stream that has seen nothing yet, and its forks, keep a log of the first n_tokens tokens: when
 * entries leave the cache. Counting streams keep none. */
kvl_status kvl_stream_log(kvl_stream *s, const kvl_shape *shape, size_t n_tokens, kvl_err *err) KVL_MUST_USE;
/* Enters a compression of the stream into its log, if there is one. Those by kvl_engine_compress and between
 * rows are entered there; a nested stream's is when its base has been compressed. */
void kvl_stream_note_departures(kvl_stream *s);
/* Bytes of the noted queries. */
uint64_t kvl_stream_tap_bytes(const kvl_stream *s, const kvl_shape *shape);

/* Makes room for n_more tokens of a stream in its cache, the scratch and the rotation tables, so that passes
 * over its rows (256 at most in one) allocate nothing until they are there. */
kvl_status kvl_stream_reserve(kvl_engine *e, kvl_stream *s, size_t n_more, kvl_err *err) KVL_MUST_USE;

/* Runs the rows in order. Tokens must lie below the embedding's rows, targets below V; logits only where
 * asked. Errors: E_USAGE for a token outside, E_NOMEM, E_CHECK for a logit that is not finite (names the
 * row) or a score that is no number. After an error the streams of the batch are undefined. */
kvl_status kvl_engine_forward(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) KVL_MUST_USE;

/* One stream to compress by one policy. */
typedef struct kvl_compress_job {
    kvl_stream *stream;
    const kvl_policy *policy;
} kvl_compress_job;

/* Whether each head is compressed by itself, to a length that is known before: the policy may act between the
 * rows of a pass. */
bool kvl_policy_is_by_head(const kvl_policy *policy);
/* Whether the policy, looked at now, would evict anything from this stream. */
bool kvl_policy_fires(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape);
/* Whether two policies that both fire would do the same to this stream now: same scores, sizes, protections
 * and order. What they do later may differ. */
bool kvl_policies_act_alike(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                            const kvl_shape *shape);
/* Whether what two policies that both fire leave of this stream are beginnings of one ranking: they act once,
 * store survivors by score, and differ in their budgets only. */
bool kvl_policies_nest(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                       const kvl_shape *shape);
/* What a policy will leave of s, when s has been compressed by the one that keeps most among those that nest
 * with it: *out shares its entries with s. That compression must come next (E_CHECK there if it keeps less
 * than *out shares), and s then takes no rows, but may be destroyed. Where s keeps a log, so does *out:
 * kvl_stream_note_departures after that compression. */
kvl_status kvl_stream_nest(kvl_stream **out, const kvl_stream *s, const kvl_policy *policy,
                           const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
/* Scores, selects and applies for every head of every layer on which the policy acts. Jobs are of distinct
 * streams on which their policies fire; each stream's n_events is raised by one. E_CHECK also for a policy
 * whose needs its stream was not told of, E_USAGE for a second pass that lacks its text or prompts. A second
 * pass takes a copy of the stream's cache and a prefill of its tokens. */
kvl_status kvl_engine_compress(kvl_engine *e, const kvl_compress_job *jobs, size_t n_jobs,
                               kvl_err *err) KVL_MUST_USE;

/* At most what the second passes of a compression allocate for a copy of the stream and its queries; 0 where
 * the policy looks at nothing again. */
uint64_t kvl_second_pass_bytes(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape);

/* The same for one stream, if the policy fires on it now. */
kvl_status kvl_engine_compress_if_due(kvl_engine *e, kvl_stream *stream, const kvl_policy *policy,
                                      kvl_err *err) KVL_MUST_USE;
/* The scores by which a policy would rank a stream's entries now: for each layer, for each KV head, one for
 * each entry, all in a row. The stream must note what the policy needs (E_CHECK), and stands on no other. */
kvl_status kvl_engine_rank(kvl_engine *e, kvl_stream *stream, const kvl_policy *policy, float *scores,
                           kvl_err *err) KVL_MUST_USE;

/* Streams with counting caches (kvl_cache_create_counting), and what passes and compressions do to their
 * lengths, room and events; nothing is computed, so that a run can be followed before it takes place. */
kvl_status kvl_stream_create_counting(kvl_stream **out, const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
/* Takes over the lengths of another stream's heads: what a ragged press left cannot be counted before. */
kvl_status kvl_count_follow(kvl_stream *counting, const kvl_stream *real, const kvl_shape *shape,
                            kvl_err *err) KVL_MUST_USE;
/* Rows of one stream follow each other; their compressions are counted too. */
kvl_status kvl_count_forward(const kvl_shape *shape, const kvl_row *rows, size_t n_rows,
                             kvl_err *err) KVL_MUST_USE;
kvl_status kvl_count_compress(const kvl_shape *shape, const kvl_compress_job *jobs, size_t n_jobs,
                              kvl_err *err) KVL_MUST_USE;

#endif
