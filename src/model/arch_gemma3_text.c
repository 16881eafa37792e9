/* Gemma 3, text: as Gemma 2 with queries and keys normalised by head instead of the soft caps, five local
 * layers to each global one, and a rotation of its own (base 10000, never scaled) in the local ones. Source:
 * Gemma3TextConfig and modeling_gemma3.py of transformers 5.23. */
#include "model/arch.h"
#include "model/config_gemma.h"
#include "model/names_llama.h"

enum { LAYERS_27B = 62 };

static const char *const reads[] = {
    "rope_scaling",           "sliding_window",          "layer_types", "query_pre_attn_scalar",
    "attn_logit_softcapping", "final_logit_softcapping", NULL};

/* Two forms: rope_theta, rope_scaling and rope_local_base_freq at the top; or rope_parameters with an object
 * for each layer type. */
static kvl_status read_ropes(kvl_config *out, const kvli_fields *f) {
    kvli_rope *global = &out->ropes[KVL_ROPE_GLOBAL];
    kvli_rope *local = &out->ropes[KVL_ROPE_LOCAL];
    *global = kvli_rope_default(1e6);
    *local = kvli_rope_default(1e4);
    json_t *both = json_object_get(f->object, "rope_parameters");
    if (json_object_get(both, "full_attention") == NULL &&
        json_object_get(both, "sliding_attention") == NULL) {
        KVL_TRY(kvli_field_real(f, "rope_local_base_freq", 1, 1e12, &local->base));
        return kvli_rope_read(global, f);
    }
    kvli_fields inner = *f;
    inner.object = both;
    KVL_TRY(kvli_rope_read_object(local, &inner, "sliding_attention"));
    return kvli_rope_read_object(global, &inner, "full_attention");
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    KVL_TRY(kvli_config_gemma(out, f, 6));
    kvli_config_gemma_scale(out, LAYERS_27B);
    out->has_qk_norm = true;
    KVL_TRY(read_ropes(out, f));
    return kvli_config_rotary(out, f);
}

extern const kvl_arch kvl_arch_gemma3_text;
const kvl_arch kvl_arch_gemma3_text = {
    .model_type = "gemma3_text",
    .gguf_name = "gemma3",
    .reads = reads,
    .read_config = read_config,
    .prefix = "model.",
    .names = {KVLI_NAMES_LLAMA, KVLI_NAMES_GEMMA, KVLI_NAMES_QK_NORM},
    .has_gain_from_zero = true,
};
