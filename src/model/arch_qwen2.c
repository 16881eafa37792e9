/* Qwen2 and Qwen2.5: Llama with biases on queries, keys and values. Source: Qwen2Config and modeling_qwen2.py
 * of transformers 5.23. A window is used only where use_sliding_window says so, from max_window_layers on. */
#include "model/arch.h"
#include "model/config_qwen.h"
#include "model/names_llama.h"

static const char *const reads[] = {"rope_scaling", "sliding_window", "use_sliding_window", "layer_types",
                                    NULL};

kvl_status kvli_config_qwen(kvl_config *out, const kvli_fields *f) {
    bool has_window = false;
    bool has_types = false;
    uint32_t first = 0;
    KVL_TRY(kvli_config_llama_like(out, f, "hidden_act", 1e-6));
    KVL_TRY(kvli_field_bool(f, "use_sliding_window", &has_window));
    if (has_window) {
        KVL_TRY(kvli_config_window(out, f, 4096));
    }
    KVL_TRY(kvli_config_layer_types(out, f, &has_types));
    KVL_TRY(kvli_field_count(f, "max_window_layers", 0, KVLI_MAX_LAYERS, 28, &first));
    for (uint32_t i = 0; i < out->shape.n_layers; i++) {
        out->is_local[i] = (has_types ? out->is_local[i] : i >= first) && out->shape.window != 0;
    }
    out->ropes[KVL_ROPE_GLOBAL] = kvli_rope_default(10000);
    KVL_TRY(kvli_rope_read(&out->ropes[KVL_ROPE_GLOBAL], f));
    return kvli_config_rotary(out, f);
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    out->has_qkv_bias = true;
    return kvli_config_qwen(out, f);
}

extern const kvl_arch kvl_arch_qwen2;
const kvl_arch kvl_arch_qwen2 = {
    .model_type = "qwen2",
    .gguf_name = "qwen2",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm"},
};
