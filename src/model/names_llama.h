/* Names that Llama's checkpoints introduced and most families since have kept. */
#ifndef KVL_MODEL_NAMES_LLAMA_H
#define KVL_MODEL_NAMES_LLAMA_H

#define KVLI_NAMES_LLAMA                                                                                     \
    [KVLI_EMBEDDING] = "embed_tokens", [KVLI_FINAL_NORM] = "norm", [KVLI_OUTPUT] = "lm_head",                \
    [KVLI_ATTN_NORM] = "layers.%u.input_layernorm", [KVLI_Q] = "layers.%u.self_attn.q_proj",                 \
    [KVLI_K] = "layers.%u.self_attn.k_proj", [KVLI_V] = "layers.%u.self_attn.v_proj",                        \
    [KVLI_ATTN_OUT] = "layers.%u.self_attn.o_proj", [KVLI_FF_GATE] = "layers.%u.mlp.gate_proj",              \
    [KVLI_FF_UP] = "layers.%u.mlp.up_proj", [KVLI_FF_DOWN] = "layers.%u.mlp.down_proj"

#endif
