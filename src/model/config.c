/* Reading config.json. A field of the wrong type or out of range is never replaced by a default: a model that
 * runs with other numbers than it was trained with gives plausible and wrong results. Fields that are known
 * to change the arithmetic of some family are refused here for all families that do not read them themselves.
 */
#include "model/config.h"

#include "model/arch.h"

#include <string.h>

/* Set by other families or by wrappers around this one; harmless only when absent, null, false or empty. */
static const char *const refused[] = {
    "rope_scaling",
    "quantization_config",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_softcapping",
    "qk_norm",
    "qk_layernorm",
    "use_qk_norm",
    "use_qkv_bias",
    "use_sliding_window",
    "sliding_window",
    "alibi",
    "use_alibi",
    "position_embedding_type",
    "embedding_multiplier",
    "residual_multiplier",
    "attention_multiplier",
    "logits_scaling",
    "logit_scale",
    "query_pre_attn_scalar",
    "num_experts",
    "num_local_experts",
    "layer_types",
    "attention_chunk_size",
    "no_rope_layers",
    "scale_attn_by_inverse_layer_idx",
    "mlp_bias",
    "add_cross_attention",
    "is_encoder_decoder",
    "pruned_heads",
    "chunk_size_feed_forward",
};

/* What is impossible in any family gets its own code before the field is refused as unknown. */
static kvl_status check_window(const kvli_fields *f) {
    const json_t *value = json_object_get(f->object, "sliding_window");
    json_int_t context =
        json_integer_value(json_object_get(f->object, "max_position_embeddings")); /* 0: none */
    if (json_is_integer(value) &&
        (json_integer_value(value) < 0 || (context > 0 && json_integer_value(value) > context))) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected 0 to the context's length, found %lld",
                        f->name, kvli_field_name(f, "sliding_window"), (long long)json_integer_value(value));
    }
    return KVL_OK;
}

static bool is_read(const kvl_arch *arch, const char *key) {
    for (const char *const *known = arch->reads; known != NULL && *known != NULL; known++) {
        if (strcmp(*known, key) == 0) {
            return true;
        }
    }
    return false;
}

static const char *type_name(const json_t *value) { return json_is_array(value) ? "a list" : "another type"; }

kvl_status kvli_config_read(kvl_config *out, const char *model_type, const kvli_fields *f) {
    KVL_TRY(kvli_arch_find(&out->arch, model_type, f->name, f->err));
    KVL_TRY(check_window(f));
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!is_read(out->arch, refused[i])) {
            KVL_TRY(kvli_field_refuse(f, refused[i]));
        }
    }
    out->shape.embed_scale = 1;
    return out->arch->read_config(out, f);
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    const char *model_type = NULL;
    KVL_TRY(kvli_field_text(f, "model_type", &model_type));
    if (model_type == NULL) {
        return kvl_fail(f->err, KVL_E_MISSING, "%s: model_type: expected the name of a family, found none",
                        f->name);
    }
    return kvli_config_read(out, model_type, f);
}

kvl_status kvli_config_parse(kvl_config *out, const char *bytes, size_t n_bytes, const char *name,
                             kvl_err *err) {
    json_t *config = NULL;
    *out = (kvl_config){0};
    KVL_TRY(kvl_json_parse(&config, bytes, n_bytes, name, err));
    kvl_status status = KVL_OK;
    if (json_is_object(config)) {
        const kvli_fields fields = {.object = config, .name = name, .err = err};
        status = read_config(out, &fields);
    } else {
        status = kvl_fail(err, KVL_E_CONFIG, "%s: expected an object, found %s", name, type_name(config));
    }
    json_decref(config);
    return status;
}
