/* A model: checked, prepacked weights under names that mean something.
 *
 * Opened from a checkpoint directory (config.json, *.safetensors) or a GGUF file. Every tensor's shape is
 * checked at binding; afterwards nothing is looked up by name. Immutable and shareable between threads.
 * One file per family: arch_list.def is the list.
 */
#ifndef KVL_MODEL_MODEL_H
#define KVL_MODEL_MODEL_H

#include "base/status.h"
#include "kernel/kernel.h"
#include "model/shape.h"

/* Some columns of a product, packed for kvl_kernels.gemm. */
typedef struct kvl_segment {
    kvl_panels panels; /* data is owned */
    uint32_t first;    /* column; a multiple of 32 */
    uint32_t n_cols;
} kvl_segment;

/* Product y = x W + b. Weights stay as they are stored, quantised blocks too; parts of a fused product may be
 * stored in different types, so that a product has up to three segments. */
typedef struct kvl_linear {
    kvl_segment segments[3];
    uint32_t n_segments;
    float *bias; /* [n_out] or NULL */
    uint32_t n_in;
    uint32_t n_out;
} kvl_linear;

typedef struct kvl_norm {
    float *gain;  /* [n]; NULL: there is no such norm */
    float *shift; /* [n]; NULL for RMS norms */
} kvl_norm;

typedef struct kvl_layer {
    kvl_norm attn_norm;      /* before attention */
    kvl_norm attn_post_norm; /* of attention's output (Gemma); often none */
    kvl_norm ff_norm;        /* before the feed-forward block */
    kvl_norm ff_post_norm;   /* of its output; often none */
    kvl_norm q_norm, k_norm; /* [D], of each head before rotation; often none */
    kvl_linear qkv;          /* E -> (H + 2K) D: all queries, then all keys, then all values, by head */
    kvl_linear attn_out;     /* H D -> E */
    kvl_linear ff_gate;      /* E -> F; empty unless is_gated */
    kvl_linear ff_up;        /* E -> F */
    kvl_linear ff_down;      /* F -> E */
    bool is_local;           /* sees the last `window` tokens only */
    kvl_rope_kind rope;
} kvl_layer;

/* Angle of position p in pair i: p * frequencies[i]; sine and cosine are multiplied by gain. */
typedef struct kvl_rope {
    float *frequencies; /* [n_rotary / 2]; NULL: not used by any layer */
    float gain;
} kvl_rope;

typedef enum kvl_weight_kind {
    KVL_WEIGHT_EMBEDDING, /* of tokens and positions; a tied output matrix counts here */
    KVL_WEIGHT_ATTENTION,
    KVL_WEIGHT_FEED_FORWARD,
    KVL_WEIGHT_NORM,
    KVL_WEIGHT_OUTPUT,
    KVL_N_WEIGHT_KINDS
} kvl_weight_kind;

typedef struct kvl_weight_bytes {
    uint64_t stored_bytes;   /* of the tensors used, in the file */
    uint64_t resident_bytes; /* after packing */
} kvl_weight_bytes;

/* "f32", "bf16", "int8", "amx_bf16". */
const char *kvl_arith_name(kvl_arith a);
/* E_USAGE listing the names, or for an arithmetic that this machine does not have. */
kvl_status kvl_arith_find(kvl_arith *out, const char *name, kvl_err *err) KVL_MUST_USE;

typedef struct kvl_model {
    kvl_shape shape;
    kvl_arith arith;
    char *name;           /* last part of the path */
    char *path;           /* directory or file as given */
    uint64_t hash;        /* config text, tensor headers and, where read, contents: identity in records */
    uint64_t layout_hash; /* without contents: the same for a model of headers only */
    kvl_linear embedding; /* E -> V_in, for its columns; empty when tied: the output holds it */
    float *positions;     /* [n_context, E], learned; or NULL */
    uint32_t n_vocab_in;
    kvl_layer *layers; /* [L] */
    kvl_rope ropes[KVL_N_ROPES];
    kvl_norm final_norm;
    kvl_linear output;     /* E -> V */
    uint64_t n_params;     /* as stored (a tied matrix counts once) */
    uint64_t weight_bytes; /* resident after packing: all kinds */
    kvl_weight_bytes kinds[KVL_N_WEIGHT_KINDS];
    const char *arch;     /* "gpt_neox" */
    char stored_dtype[8]; /* "F16": type of the first weight matrix of a layer in the file */
} kvl_model;

/* Opens a checkpoint directory or a .gguf file; weights are read by n_threads threads (0: all processors).
 * Errors: E_IO, E_JSON, E_CONFIG (C- cases), E_UNSUPPORTED (unknown model_type, activation, rope scaling, or
 * any config field that changes the arithmetic and is not known), E_MISSING, E_EXTRA, E_SHAPE, E_NONFINITE.
 */
kvl_status kvl_model_open(kvl_model **out, const char *path, unsigned n_threads, kvl_err *err) KVL_MUST_USE;
/* The same with weights packed for that arithmetic. E_UNSUPPORTED for int8 when no weights are quantised
 * blocks. */
kvl_status kvl_model_open_as(kvl_model **out, const char *path, kvl_arith arith, unsigned n_threads,
                             kvl_err *err) KVL_MUST_USE;
/* The same from headers alone: every check but those of values, and every size and count that opening gives;
 * no weights (all pointers to them are NULL), so that no engine can be made of it. The hash is not that of
 * the opened model. Rotation factors of a GGUF file are read. */
kvl_status kvl_model_open_headers(kvl_model **out, const char *path, kvl_err *err) KVL_MUST_USE;
void kvl_model_close(kvl_model *m);
/* Layers that see a window only. */
uint32_t kvl_model_local_layers(const kvl_model *m);
/* Whether the path is taken for a GGUF file (by its end), not for a checkpoint directory. */
bool kvl_model_is_gguf_path(const char *path);

/* Row of the embedding for a token below n_vocab_in, scaled: out [E]. */
void kvl_model_embed(const kvl_model *m, int32_t token, float *out);
/* The weights of one output column, widened: out [n_in]. */
void kvl_linear_column(const kvl_linear *w, size_t column, float *out);

#endif
