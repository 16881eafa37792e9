/* Phi-3: fused projections, possibly a window in every layer. Source: Phi3Config and modeling_phi3.py of
 * transformers 5.23. The long-context variants (rope type longrope) are refused. */
#include "model/arch.h"
#include "model/config_common.h"
#include "model/names_llama.h"

static const char *const reads[] = {"rope_scaling", "sliding_window", NULL};

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    KVL_TRY(kvli_config_llama_like(out, f, "hidden_act", 1e-5));
    KVL_TRY(kvli_config_window(out, f, 0));
    for (uint32_t i = 0; i < out->shape.n_layers; i++) {
        out->is_local[i] = out->shape.window != 0;
    }
    out->ropes[KVL_ROPE_GLOBAL] = kvli_rope_default(10000);
    KVL_TRY(kvli_rope_read(&out->ropes[KVL_ROPE_GLOBAL], f));
    if (out->ropes[KVL_ROPE_GLOBAL].type != KVLI_ROPE_PLAIN) {
        return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: rope_type: expected default for phi3, found another",
                        f->name);
    }
    return kvli_config_rotary(out, f);
}

extern const kvl_arch kvl_arch_phi3;
const kvl_arch kvl_arch_phi3 = {
    .model_type = "phi3",
    .gguf_name = "phi3",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {[KVLI_EMBEDDING] = "embed_tokens",
              [KVLI_FINAL_NORM] = "norm",
              [KVLI_OUTPUT] = "lm_head",
              [KVLI_ATTN_NORM] = "layers.%u.input_layernorm",
              [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm",
              [KVLI_QKV] = "layers.%u.self_attn.qkv_proj",
              [KVLI_ATTN_OUT] = "layers.%u.self_attn.o_proj",
              [KVLI_FF_GATE_UP] = "layers.%u.mlp.gate_up_proj",
              [KVLI_FF_DOWN] = "layers.%u.mlp.down_proj"},
};
