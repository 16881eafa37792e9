/* The numbers of a model: all that caches, presses and the engine's plan may know of it. */
#ifndef KVL_MODEL_SHAPE_H
#define KVL_MODEL_SHAPE_H

#include "base/compiler.h"

typedef enum kvl_activation { KVL_ACT_GELU_ERF, KVL_ACT_GELU_TANH } kvl_activation;

typedef struct kvl_shape {
    uint32_t n_layers;   /* L */
    uint32_t n_heads;    /* H, query heads */
    uint32_t n_kv_heads; /* K, key/value heads; divides H */
    uint32_t head_dim;   /* D */
    uint32_t width;      /* E */
    uint32_t ff_width;   /* inner width of the feed-forward block */
    uint32_t n_vocab;    /* V, rows of the output matrix */
    uint32_t n_context;  /* trained context, tokens */
    uint32_t n_rotary;   /* dimensions of a head that are rotated; even, 0 for none */
    double rope_base;
    float norm_eps;
    bool is_parallel; /* attention and feed-forward both read the block's input (parallel residual) */
    kvl_activation activation;
} kvl_shape;

#endif
