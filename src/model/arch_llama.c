/* Llama 2 and 3, SmolLM2 and what else uses their shape. Sources: LlamaConfig and modeling_llama.py of
 * transformers 5.23; for the order of rows in GGUF, LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py.
 */
#include "model/arch.h"
#include "model/arch_llama.h"
#include "model/config_common.h"
#include "model/names_llama.h"

static const char *const reads[] = {"rope_scaling", "mlp_bias", NULL};
static const char *const buffers[] = {"rotary_emb.inv_freq", NULL};

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    bool has_bias = false;
    KVL_TRY(kvli_config_llama_like(out, f, "hidden_act", 1e-6));
    KVL_TRY(kvli_field_bool(f, "attention_bias", &has_bias));
    KVL_TRY(kvli_field_bool(f, "mlp_bias", &out->has_ff_bias));
    out->has_qkv_bias = out->has_out_bias = has_bias;
    out->ropes[KVL_ROPE_GLOBAL] = kvli_rope_default(10000);
    KVL_TRY(kvli_rope_read(&out->ropes[KVL_ROPE_GLOBAL], f));
    return kvli_config_rotary(out, f);
}

/* GGUF files hold the two halves of a head interleaved, for rotation of adjacent pairs. */
size_t kvli_llama_gguf_row(const kvl_shape *shape, size_t used_row) {
    size_t dim = used_row % shape->head_dim;
    size_t half = shape->head_dim / 2;
    return used_row - dim + dim % half * 2 + dim / half;
}

extern const kvl_arch kvl_arch_llama;
const kvl_arch kvl_arch_llama = {
    .model_type = "llama",
    .gguf_name = "llama",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm"},
    .buffers = buffers,
    .gguf_rotary_row = kvli_llama_gguf_row,
};
