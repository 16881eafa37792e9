/* Mistral: Llama with a sliding window in every layer. Source: MistralConfig and modeling_mistral.py of
 * transformers 5.23. Its GGUF files call themselves llama and do not say the window. */
#include "model/arch.h"
#include "model/config_common.h"
#include "model/names_llama.h"

static const char *const reads[] = {"rope_scaling", "sliding_window", "layer_types", NULL};

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    bool has_types = false;
    KVL_TRY(kvli_config_llama_like(out, f, "hidden_act", 1e-6));
    KVL_TRY(kvli_config_window(out, f, 4096));
    KVL_TRY(kvli_config_layer_types(out, f, &has_types));
    for (uint32_t i = 0; !has_types && i < out->shape.n_layers; i++) {
        out->is_local[i] = out->shape.window != 0;
    }
    out->ropes[KVL_ROPE_GLOBAL] = kvli_rope_default(10000);
    KVL_TRY(kvli_rope_read(&out->ropes[KVL_ROPE_GLOBAL], f));
    return kvli_config_rotary(out, f);
}

extern const kvl_arch kvl_arch_mistral;
const kvl_arch kvl_arch_mistral = {
    .model_type = "mistral",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm"},
};
