/* The numbers of a model: all that caches, presses and the engine's plan may know of it. */
#ifndef KVL_MODEL_SHAPE_H
#define KVL_MODEL_SHAPE_H

#include "kernel/kernel.h"

struct kvl_calibration;

typedef enum kvl_activation { KVL_ACT_GELU_ERF, KVL_ACT_GELU_TANH, KVL_ACT_SILU } kvl_activation;
typedef enum kvl_norm_kind { KVL_NORM_LAYER, KVL_NORM_RMS } kvl_norm_kind;

/* Which rotation a layer uses: most models have one; Gemma 3 another one where attention is local. */
typedef enum kvl_rope_kind { KVL_ROPE_GLOBAL, KVL_ROPE_LOCAL, KVL_N_ROPES } kvl_rope_kind;

typedef struct kvl_shape {
    uint32_t n_layers;   /* L */
    uint32_t n_heads;    /* H, query heads */
    uint32_t n_kv_heads; /* K, key/value heads; divides H */
    uint32_t head_dim;   /* D */
    uint32_t width;      /* E */
    uint32_t ff_width;   /* F, inner width of the feed-forward block */
    uint32_t n_vocab;    /* V, rows of the output matrix */
    uint32_t n_context;  /* trained context, tokens */
    uint32_t n_rotary;   /* dimensions of a head that are rotated; even, 0 for none */
    uint32_t window;     /* tokens a local layer sees, its own included; 0: no layer is local */
    double rope_base[KVL_N_ROPES];
    float norm_eps;
    float attn_scale;    /* of q.k */
    float attn_softcap;  /* 0: none */
    float final_softcap; /* of logits; 0: none */
    float embed_scale;   /* of the embedding's rows */
    bool is_parallel;    /* attention and feed-forward both read the block's input (parallel residual) */
    bool is_gated;       /* feed-forward: act(gate) * up */
    bool has_positions;  /* learned position embeddings, n_context of them */
    kvl_norm_kind norm;
    kvl_activation activation;
    /* how caches store them; set before the first cache is made (kvl_cache_check_shape) */
    kvl_kv_type key_type, value_type;
    uint32_t n_residual; /* newest tokens of a head that are not quantised yet */
    bool has_hadamard;   /* keys and values are rotated by a Hadamard matrix before they are stored */
    /* statistics for presses that need them, borrowed; NULL: none. Set before the first stream is made */
    const struct kvl_calibration *calibration;
} kvl_shape;

/* Numbers in the keys and values of one token, all layers. */
static inline uint64_t kvl_shape_kv_items(const kvl_shape *s) {
    return 2 * (uint64_t)s->n_layers * s->n_kv_heads * s->head_dim;
}

/* Bytes that caches of these types hold for one token, all layers. */
static inline uint64_t kvl_shape_kv_bytes(const kvl_shape *s) {
    return (uint64_t)s->n_layers * s->n_kv_heads *
           (kvl_kv_row_bytes(s->key_type, s->head_dim) + kvl_kv_row_bytes(s->value_type, s->head_dim));
}

#endif
