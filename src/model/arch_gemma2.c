/* Gemma 2: norms before and after each block, every other layer local, soft caps on scores and logits.
 * Source: Gemma2Config and modeling_gemma2.py of transformers 5.23. Embeddings are scaled by sqrt(E); norms
 * store gain - 1 (not in GGUF). */
#include "model/arch.h"
#include "model/config_gemma.h"
#include "model/names_llama.h"

#include <math.h>

enum { LAYERS_27B = 46 };

static const char *const reads[] = {
    "rope_scaling",           "sliding_window",          "layer_types", "query_pre_attn_scalar",
    "attn_logit_softcapping", "final_logit_softcapping", NULL};

/* Absent: *out stays; null: no cap. */
static kvl_status read_cap(float *out, const kvli_fields *f, const char *key) {
    double cap = json_object_get(f->object, key) == NULL ? (double)*out : 0;
    KVL_TRY(kvli_field_real(f, key, 0, 1e6, &cap));
    *out = (float)cap;
    return KVL_OK;
}

static kvl_status read_windows(kvl_config *out, const kvli_fields *f, uint32_t pattern) {
    bool has_types = false;
    KVL_TRY(kvli_config_window(out, f, 4096));
    KVL_TRY(kvli_config_layer_types(out, f, &has_types));
    KVL_TRY(kvli_field_count(f, "sliding_window_pattern", 1, KVLI_MAX_LAYERS, pattern, &pattern));
    for (uint32_t i = 0; i < out->shape.n_layers; i++) {
        out->is_local[i] = (has_types ? out->is_local[i] : (i + 1) % pattern != 0) && out->shape.window != 0;
    }
    return KVL_OK;
}

kvl_status kvli_config_gemma(kvl_config *out, const kvli_fields *f, uint32_t pattern) {
    kvl_shape *s = &out->shape;
    uint32_t head_dim = 0;
    bool has_bias = false;
    out->is_tied = true;
    KVL_TRY(kvli_field_count(f, "head_dim", 1, KVLI_MAX_HEAD_DIM, -1, &head_dim)); /* never width / heads */
    KVL_TRY(kvli_config_llama_like(out, f, "hidden_activation", 1e-6));
    if (!kvli_field_has(f, "hidden_activation")) {
        s->activation = KVL_ACT_GELU_TANH;
    }
    double scalar = head_dim;
    KVL_TRY(kvli_field_real(f, "query_pre_attn_scalar", 1e-3, 1e6, &scalar));
    KVL_TRY(kvli_field_bool(f, "attention_bias", &has_bias));
    KVL_TRY(kvli_field_refuse(f, "use_bidirectional_attention"));
    KVL_TRY(read_cap(&s->attn_softcap, f, "attn_logit_softcapping"));
    KVL_TRY(read_cap(&s->final_softcap, f, "final_logit_softcapping"));
    out->has_qkv_bias = out->has_out_bias = has_bias;
    out->has_post_norms = true;
    s->attn_scale = (float)(1.0 / sqrt(scalar));
    s->embed_scale = (float)sqrt((double)s->width);
    return read_windows(out, f, pattern);
}

/* GGUF does not say query_pre_attn_scalar; it is head_dim except in the largest size (llama.cpp likewise). */
void kvli_config_gemma_scale(kvl_config *out, uint32_t n_layers_of_27b) {
    if (out->is_gguf && out->shape.n_layers == n_layers_of_27b) {
        out->shape.attn_scale = (float)(1.0 / sqrt((double)(out->shape.width / out->shape.n_heads)));
    }
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    out->shape.attn_softcap = 50;
    out->shape.final_softcap = 30;
    KVL_TRY(kvli_config_gemma(out, f, 2));
    kvli_config_gemma_scale(out, LAYERS_27B);
    out->ropes[KVL_ROPE_GLOBAL] = kvli_rope_default(10000);
    KVL_TRY(kvli_rope_read(&out->ropes[KVL_ROPE_GLOBAL], f));
    return kvli_config_rotary(out, f);
}

extern const kvl_arch kvl_arch_gemma2;
const kvl_arch kvl_arch_gemma2 = {
    .model_type = "gemma2",
    .gguf_name = "gemma2",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, KVLI_NAMES_GEMMA},
    .has_gain_from_zero = true,
};
