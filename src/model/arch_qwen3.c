/* Qwen3: heads of their own width, queries and keys normalised by head before rotation. Source: Qwen3Config
 * and modeling_qwen3.py of transformers 5.23. */
#include "model/arch.h"
#include "model/config_qwen.h"
#include "model/names_llama.h"

static const char *const reads[] = {"rope_scaling", "sliding_window", "use_sliding_window", "layer_types",
                                    NULL};

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    bool has_bias = false;
    KVL_TRY(kvli_field_bool(f, "attention_bias", &has_bias));
    out->has_qkv_bias = out->has_out_bias = has_bias;
    out->has_qk_norm = true;
    return kvli_config_qwen(out, f);
}

extern const kvl_arch kvl_arch_qwen3;
const kvl_arch kvl_arch_qwen3 = {
    .model_type = "qwen3",
    .gguf_name = "qwen3",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm", KVLI_NAMES_QK_NORM},
};
