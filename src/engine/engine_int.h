/* What the files of the engine share: the engine itself and its scratch. */
#ifndef KVL_ENGINE_ENGINE_INT_H
#define KVL_ENGINE_ENGINE_INT_H

#include "base/pool.h"
#include "engine/engine.h"
#include "kernel/kernel.h"

enum {
    KVL_BATCH_ROWS = 256, /* rows computed together; larger batches are cut (bits do not change) */
    KVL_SCORE_ROWS = 64,  /* rows whose logits are held at once */
};

/* Activations of one batch; each [KVL_BATCH_ROWS, width]. */
typedef struct kvl_activations {
    float *x;       /* [E] residual stream */
    float *attn_in; /* [E] normalised input of attention */
    float *ff_in;   /* [E] normalised input of the feed-forward block */
    float *qkv;     /* [(H + 2K) D] */
    float *mix;     /* [H D] attention output before projection */
    float *attn;    /* [E] attention output */
    float *gate;    /* [F] of gated feed-forward blocks; NULL otherwise */
    float *inner;   /* [F] inner layer of the feed-forward block */
    float *ff;      /* [E] feed-forward output */
    float *logits;  /* [KVL_SCORE_ROWS, V] */
} kvl_activations;

/* Rows and width of each block of kvl_activations, in the order of its fields. */
enum { KVLI_N_ACTIVATIONS = 10 };
typedef struct kvli_block {
    size_t n_rows, width;
} kvli_block;
void kvli_activation_blocks(kvli_block out[KVLI_N_ACTIVATIONS], const kvl_shape *shape);

/* What scratch and the rotation table grow to: at least double, so that a growing text copies seldom. */
static inline size_t kvli_grown(size_t have, size_t need) {
    return need <= have ? have : kvl_max_size(need, 2 * have);
}
/* Positions that the rotation table starts with. */
size_t kvli_first_positions(const kvl_shape *shape);
/* Scratch of every thread for a compression of heads of n entries. */
size_t kvli_compress_floats(const kvl_press *press, const kvl_shape *shape, size_t n);
size_t kvli_compress_bytes(size_t n);

/* A run of rows of one stream inside a batch. */
typedef struct kvl_span {
    kvl_stream *stream;
    size_t first_row; /* index into `order` */
    size_t n_rows;
} kvl_span;

typedef struct kvl_thread_scratch {
    float *floats;
    size_t n_floats;
    void *bytes;
    size_t n_bytes;
} kvl_thread_scratch;

struct kvl_engine {
    const kvl_model *model;
    const kvl_kernels *kernels;
    kvl_pool *pool;
    unsigned n_threads;
    float *cos_sin[KVL_N_ROPES]; /* [n_positions, n_rotary]: n_rotary/2 cosines, then sines; NULL: not used */
    size_t n_positions;
    kvl_activations act;
    kvl_thread_scratch *scratch; /* [n_threads] */
    /* the batch being computed */
    size_t order[KVL_BATCH_ROWS];     /* rows grouped by stream, order inside a stream kept */
    int32_t position[KVL_BATCH_ROWS]; /* of each row */
    kvl_span spans[KVL_BATCH_ROWS];
    size_t n_spans;
    uint64_t scratch_bytes;
};

/* Room of at least these sizes for every thread; contents are undefined. */
kvl_status kvli_engine_scratch(kvl_engine *e, size_t n_floats, size_t n_bytes, kvl_err *err) KVL_MUST_USE;
/* Rotation table for positions below n. */
kvl_status kvli_engine_rotary(kvl_engine *e, size_t n_positions, kvl_err *err) KVL_MUST_USE;
/* out[r] = in[r] W + b for the batch's first n rows, split over the pool by output columns. If `activate` is
 * set it is applied to each finished piece. */
void kvli_engine_linear(kvl_engine *e, const kvl_linear *w, float *out, const float *in, size_t n_rows,
                        void (*activate)(float *x, size_t n));
/* act.inner = act(in W_gate) * (in W_up), for the batch's first n rows; both products in one phase. */
void kvli_engine_gated(kvl_engine *e, const kvl_layer *layer, const float *in, size_t n_rows,
                       void (*activate)(float *x, size_t n));
/* out = norm(in) over n values; out may be in. */
void kvli_engine_norm(const kvl_engine *e, const kvl_norm *norm, float *out, const float *in, size_t n);
/* Attention of layer `layer` for the batch: normalises queries and keys where the model does, rotates,
 * appends, attends; qkv -> mix. */
void kvli_engine_attention(kvl_engine *e, uint32_t layer);
/* NLL, top and logits of the rows that want them; rows index the batch. */
kvl_status kvli_engine_score(kvl_engine *e, kvl_row *rows, size_t n_rows, kvl_err *err) KVL_MUST_USE;

#endif
