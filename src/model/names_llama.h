/* Names that Llama's checkpoints introduced and most families since have kept. */
#ifndef KVL_MODEL_NAMES_LLAMA_H
#define KVL_MODEL_NAMES_LLAMA_H

#define KVLI_NAMES_LLAMA                                                                                     \
    [KVLI_EMBEDDING] = "embed_tokens", [KVLI_FINAL_NORM] = "norm", [KVLI_OUTPUT] = "lm_head",                \
    [KVLI_ATTN_NORM] = "layers.%u.input_layernorm", [KVLI_Q] = "layers.%u.self_attn.q_proj",                 \
    [KVLI_K] = "layers.%u.self_attn.k_proj", [KVLI_V] = "layers.%u.self_attn.v_proj",                        \
    [KVLI_ATTN_OUT] = "layers.%u.self_attn.o_proj", [KVLI_FF_GATE] = "layers.%u.mlp.gate_proj",              \
    [KVLI_FF_UP] = "layers.%u.mlp.up_proj", [KVLI_FF_DOWN] = "layers.%u.mlp.down_proj"

/* Of the families whose heads are normalised before rotation. */
#define KVLI_NAMES_QK_NORM                                                                                   \
    [KVLI_Q_NORM] = "layers.%u.self_attn.q_norm", [KVLI_K_NORM] = "layers.%u.self_attn.k_norm"

/* Norms around both blocks; in Llama's checkpoints post_attention_layernorm stands before the feed-forward
 * block, in Gemma's behind attention. */
#define KVLI_NAMES_GEMMA                                                                                     \
    [KVLI_ATTN_POST_NORM] = "layers.%u.post_attention_layernorm",                                            \
    [KVLI_FF_NORM] = "layers.%u.pre_feedforward_layernorm",                                                  \
    [KVLI_FF_POST_NORM] = "layers.%u.post_feedforward_layernorm"

#endif
