/* What the files of the engine share: the engine itself and its scratch. */
#ifndef KVL_ENGINE_ENGINE_INT_H
#define KVL_ENGINE_ENGINE_INT_H

#include "base/pool.h"
#include "engine/engine.h"
#include "kernel/kernel.h"

enum {
    KVL_BATCH_ROWS = KVL_CACHE_PASS, /* rows computed together; larger batches are cut (bits do not change) */
    KVL_SCORE_ROWS = 64,             /* rows scored at once, with the references they are compared with */
    KVL_VOCAB_PIECE = 256,           /* logits of a row at a time */
    KVL_ATTEND_BLOCK = 16,           /* rows of a stream whose attention is one piece of work */
};

/* Activations of one batch; each [KVL_BATCH_ROWS, width] floats. */
typedef struct kvl_activations {
    float *x;        /* [E] residual stream */
    float *attn_in;  /* [E] normalised input of attention */
    float *ff_in;    /* [E] normalised input of the feed-forward block */
    float *qkv;      /* [(H + 2K) D] */
    float *mix;      /* [H D] attention output before projection */
    float *attn;     /* [E] attention output */
    float *gate;     /* [F] of gated feed-forward blocks; NULL otherwise */
    float *inner;    /* [F] inner layer of the feed-forward block */
    float *ff;       /* [E] feed-forward output */
    float *logits;   /* [n_threads, KVL_SCORE_ROWS, KVL_VOCAB_PIECE] */
    kvl_q8 *rounded; /* [largest n_in / 32] input of the product being computed, in arithmetic int8 */
} kvl_activations;

/* Rows and width in floats of each block of kvl_activations, in the order of its fields. */
enum { KVLI_N_ACTIVATIONS = 11 };
typedef struct kvli_block {
    size_t n_rows, width;
} kvli_block;
void kvli_activation_blocks(kvli_block out[KVLI_N_ACTIVATIONS], const kvl_model *model, unsigned n_threads);

/* What scratch and the rotation table grow to: at least double, so that a growing text copies seldom. */
static inline size_t kvli_grown(size_t have, size_t need) {
    return need <= have ? have : kvl_max_size(need, 2 * have);
}
/* Positions that the rotation table starts with. */
size_t kvli_first_positions(const kvl_shape *shape);
/* Scratch of every thread for a compression of heads of up to n entries. */
size_t kvli_compress_floats(const kvl_policy *policy, const kvl_shape *shape, size_t n);
size_t kvli_compress_bytes(const kvl_policy *policy, const kvl_shape *shape, size_t n);
/* Entries that a policy, acting now, leaves in a head; all of a layer it skips. */
size_t kvli_target_of(const kvl_policy *policy, const kvl_cache *cache, const kvl_moment *moment,
                      const kvl_shape *shape, uint32_t layer, uint32_t head);
/* What a press that acts takes from the keys of a head: nothing where they are thin already or all recent. */
kvl_thinning kvli_thinning_left(const kvl_press_node *node, const kvl_cache *cache, const kvl_shape *shape,
                                uint32_t layer, uint32_t head);
/* Whether a policy, acting now, changes anything in a head. */
bool kvli_acts_on_head(const kvl_policy *policy, const kvl_cache *cache, const kvl_moment *moment,
                       const kvl_shape *shape, uint32_t layer, uint32_t head);
static inline kvl_moment kvli_moment_of(const kvl_stream *stream) {
    return (kvl_moment){stream->n_seen, stream->n_prefill, stream->n_events};
}

/* What stays of one row's logits x in one piece of the vocabulary; the last three where they are needed. */
typedef struct kvl_score_part {
    double sum; /* of exp(x - most) */
    float most;
    int32_t top;   /* first id with that logit */
    double mean;   /* sum of exp(x - most) x */
    double mean_b; /* sum of exp(a - most of a) x, a the logits of the row's reference */
} kvl_score_part;

/* A run of rows of one stream inside a batch. */
typedef struct kvl_span {
    kvl_stream *stream;
    size_t first_row; /* index into `order` */
    size_t n_rows;
    uint64_t n_seen;   /* tokens of the stream before them */
    uint64_t n_events; /* compressions of the stream before them */
    bool is_evicting;  /* the stream is compressed between them, or behind */
} kvl_span;

typedef struct kvl_thread_scratch {
    float *floats;
    size_t n_floats;
    void *bytes;
    size_t n_bytes;
    /* of kvli_engine_run: the first item that failed on this thread */
    kvl_status status;
    size_t failed;
    kvl_err err;
} kvl_thread_scratch;

/* Neighbouring spans that attend together, and the first of their items of attention. */
typedef struct kvl_span_group {
    size_t first_span, n_spans;
    size_t first_item;
} kvl_span_group;

struct kvl_engine {
    const kvl_model *model;
    const kvl_kernels *kernels;
    kvl_gemm_fn *gemm; /* of the model's arithmetic */
    kvl_pool *pool;
    unsigned n_threads;
    float *cos_sin[KVL_N_ROPES]; /* [n_positions, n_rotary]: n_rotary/2 cosines, then sines; NULL: not used */
    size_t n_positions;
    kvl_activations act;
    kvl_score_part *score_parts; /* [KVL_SCORE_ROWS, pieces] */
    kvl_thread_scratch *scratch; /* [n_threads] */
    /* the batch being computed */
    const kvl_row *rows;
    size_t order[KVL_BATCH_ROWS];     /* rows grouped by stream, order inside a stream kept */
    int32_t position[KVL_BATCH_ROWS]; /* of each row */
    kvl_span spans[KVL_BATCH_ROWS];
    size_t n_spans;
    kvl_span_group groups[KVL_BATCH_ROWS]; /* of the layer being computed */
    size_t n_groups;
    uint64_t scratch_bytes;
    const kvl_prompts *prompts; /* NULL: not known */
};

/* Room of at least these sizes for every thread; contents are undefined. */
kvl_status kvli_engine_scratch(kvl_engine *e, size_t n_floats, size_t n_bytes, kvl_err *err) KVL_MUST_USE;
/* kvl_pool_run for items that may fail; the error is that of the first one that did. */
typedef kvl_status kvli_item_fn(void *ud, size_t item, unsigned thread, kvl_err *err);
kvl_status kvli_engine_run(kvl_engine *e, size_t n_items, kvli_item_fn *fn, void *ud,
                           kvl_err *err) KVL_MUST_USE;
/* Rotation table for positions below n. */
kvl_status kvli_engine_rotary(kvl_engine *e, size_t n_positions, kvl_err *err) KVL_MUST_USE;
typedef void kvli_activation_fn(float *x, size_t n);

/* What happens to each piece of a product's output, in this order; all may be NULL. */
typedef struct kvli_after {
    kvli_activation_fn *activate;
    const float *add; /* [n_rows, n_out], added to the output */
    float *add_to;    /* [n_rows, n_out], to which the output is added */
} kvli_after;

/* out[r] = in[r] W + b for the batch's first n rows, split over the pool by output columns. */
void kvli_engine_linear(kvl_engine *e, const kvl_linear *w, float *out, const float *in, size_t n_rows,
                        kvli_after after);
/* In arithmetic int8: rounds the inputs of a product, if any of its weights are blocked, to act.rounded. */
void kvli_engine_round(kvl_engine *e, const kvl_linear *w, const float *in, size_t n_rows);
/* The same for columns first .. first + n_cols - 1 (first a multiple of 32), by the calling thread alone;
 * inputs rounded before (kvli_engine_round). */
void kvli_engine_multiply(const kvl_engine *e, const kvl_linear *w, float *out, size_t out_stride,
                          const float *in, size_t n_rows, size_t first, size_t n_cols);
/* act.inner = act(in W_gate) * (in W_up), for the batch's first n rows; both products in one phase. */
void kvli_engine_gated(kvl_engine *e, const kvl_layer *layer, const float *in, size_t n_rows,
                       kvli_activation_fn *activate);
/* out = norm(in) over n values; out may be in. */
void kvli_engine_norm(const kvl_engine *e, const kvl_norm *norm, float *out, const float *in, size_t n);
/* Attention of layer `layer` for the batch: normalises queries and keys where the model does, rotates,
 * appends, attends, compresses; qkv -> mix. */
kvl_status kvli_engine_attention(kvl_engine *e, uint32_t layer, kvl_err *err) KVL_MUST_USE;
/* A compression of a stream: what presses are told of the moment. */
typedef struct kvli_event {
    kvl_stream *stream;
    const kvl_policy *policy;
    kvl_moment moment;     /* before this compression */
    float *const *learned; /* [L K][entries] what second passes told, or NULL */
} kvli_event;
kvl_layer_view kvli_layer_view(const kvl_engine *e, const kvli_event *event, uint32_t layer);
kvl_head_view kvli_head_view(const kvl_layer_view *in, uint32_t head, size_t target);
/* "press NAME: " before what a step failed with. */
kvl_status kvli_name_press(const kvl_policy *policy, kvl_status status, kvl_err *err);

/* Numbers for all entries of a stream: heads [L K][entries]. */
typedef struct kvli_lists {
    float *data;
    float **heads;
} kvli_lists;
void kvli_lists_free(kvli_lists *lists);
/* Runs the second passes that the policy's press asks for; *out stays empty where it asks for none. */
kvl_status kvli_look_again(kvl_engine *e, const kvli_event *event, kvli_lists *out,
                           kvl_err *err) KVL_MUST_USE;
/* Compresses by a press that chooses among all layers. */
kvl_status kvli_compress_global(kvl_engine *e, const kvli_event *event, kvl_err *err) KVL_MUST_USE;
/* Scores, selects and applies for one head, if the policy acts on it. */
kvl_status kvli_compress_head(kvl_engine *e, const kvli_event *event, uint32_t layer, uint32_t head,
                              unsigned thread, kvl_err *err) KVL_MUST_USE;
/* E_CHECK if the stream does not note what the policy needs. */
kvl_status kvli_check_needs(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape,
                            kvl_err *err) KVL_MUST_USE;
/* Floats of scratch with which a thread attends to heads of up to n entries: weights, and the mass of a block
 * of rows behind them. */
static inline size_t kvli_weight_floats(size_t n) {
    /* shared and own entries each fill whole panels */
    return KVL_ATTEND_ROWS * kvl_round_up(n + KVL_KEY_PANEL - 1, KVL_KEY_PANEL);
}
static inline size_t kvli_attend_floats(size_t n, bool has_mass) {
    return kvli_weight_floats(n) + (has_mass ? n * sizeof(int64_t) / sizeof(float) : 0);
}
static inline size_t kvli_vocab_pieces(const kvl_shape *s) {
    return (s->n_vocab + KVL_VOCAB_PIECE - 1) / KVL_VOCAB_PIECE;
}
/* What the rows want to know of their predictions; rows index the batch. */
kvl_status kvli_engine_score(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) KVL_MUST_USE;

#endif
