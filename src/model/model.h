/* A model: checked, prepacked weights under names that mean something.
 *
 * Opened from a checkpoint directory (config.json, tokenizer.json, *.safetensors). Every tensor's shape is
 * checked at binding; afterwards nothing is looked up by name. Immutable and shareable between threads.
 * One binder per family: arch_list.def is the list.
 */
#ifndef KVL_MODEL_MODEL_H
#define KVL_MODEL_MODEL_H

#include "base/status.h"
#include "model/shape.h"

/* Product y = x W + b with W packed for kvl_kernels.gemm. */
typedef struct kvl_linear {
    float *panels; /* [ceil(n_out / 32), n_in, 32] */
    float *bias;   /* [n_out] or NULL */
    uint32_t n_in;
    uint32_t n_out;
} kvl_linear;

typedef struct kvl_norm {
    float *gain;  /* [E] */
    float *shift; /* [E]; zeros when the family has none */
} kvl_norm;

typedef struct kvl_layer {
    kvl_norm attn_norm; /* before attention */
    kvl_norm ff_norm;   /* before the feed-forward block */
    kvl_linear qkv;     /* E -> (H + 2K) D: all queries, then all keys, then all values, by head */
    kvl_linear attn_out;
    kvl_linear ff_up;
    kvl_linear ff_down;
} kvl_layer;

typedef struct kvl_model {
    kvl_shape shape;
    char *name; /* last part of the directory's path */
    char *dir;
    uint64_t hash;    /* config text, tensor headers and, where read, contents: identity in records */
    float *embedding; /* [V_in, E] row-major */
    uint32_t n_vocab_in;
    kvl_layer *layers; /* [L] */
    kvl_norm final_norm;
    kvl_linear output;     /* E -> V */
    uint64_t n_params;     /* as stored (a tied matrix counts once) */
    uint64_t weight_bytes; /* resident after packing */
    const char *arch;      /* "gpt_neox" */
    char stored_dtype[8];  /* "F16": type of the first weight matrix in the file */
} kvl_model;

/* Errors: E_IO, E_JSON, E_CONFIG (C- cases), E_UNSUPPORTED (unknown model_type, activation, rope scaling, or
 * any config field that changes the arithmetic and is not known), E_MISSING, E_SHAPE, E_NONFINITE. */
kvl_status kvl_model_open(kvl_model **out, const char *dir, kvl_err *err) KVL_MUST_USE;
void kvl_model_close(kvl_model *m);

#endif
