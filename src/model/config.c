/* Reading config.json. A field of the wrong type or out of range is never replaced by a default: a model that
 * runs with other numbers than it was trained with gives plausible and wrong results. Fields that are known
 * to change the arithmetic of some family are refused here for all families that do not read them themselves.
 */
#include "model/config.h"

#include "model/arch.h"

#include <math.h>
#include <stdio.h>
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

static bool is_absent(const json_t *value) { return value == NULL || json_is_null(value); }

static const char *type_text(const json_t *value) {
    static const char *const names[] = {"an object",     "a list", "a text", "a whole number",
                                        "a real number", "true",   "false",  "null"};
    return names[json_typeof(value)];
}

kvl_status kvli_field_count(const kvli_fields *f, const char *key, int64_t min, int64_t max, int64_t fallback,
                            uint32_t *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        if (fallback < 0) {
            return kvl_fail(f->err, KVL_E_MISSING, "%s: %s: expected a whole number, found none", f->name,
                            key);
        }
        *out = (uint32_t)fallback;
        return KVL_OK;
    }
    if (!json_is_integer(value)) {
        return kvl_fail(f->err, json_is_real(value) ? KVL_E_NUM : KVL_E_CONFIG,
                        "%s: %s: expected a whole number, found %s", f->name, key, type_text(value));
    }
    json_int_t number = json_integer_value(value);
    if (number < min || number > max) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %lld to %lld, found %lld", f->name, key,
                        (long long)min, (long long)max, (long long)number);
    }
    *out = (uint32_t)number;
    return KVL_OK;
}

kvl_status kvli_field_real(const kvli_fields *f, const char *key, double min, double max, double *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_number(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a number, found %s", f->name, key,
                        type_text(value));
    }
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %g to %g, found %g", f->name, key, min, max,
                        number);
    }
    *out = number;
    return KVL_OK;
}

kvl_status kvli_field_bool(const kvli_fields *f, const char *key, bool *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_boolean(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected true or false, found %s", f->name, key,
                        type_text(value));
    }
    *out = json_is_true(value);
    return KVL_OK;
}

kvl_status kvli_field_text(const kvli_fields *f, const char *key, const char **out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_string(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a text, found %s", f->name, key,
                        type_text(value));
    }
    *out = json_string_value(value);
    return KVL_OK;
}

static bool is_neutral(const json_t *value) {
    return is_absent(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_integer(value) && json_integer_value(value) == 0);
}

kvl_status kvli_field_refuse(const kvli_fields *f, const char *key) {
    const json_t *value = json_object_get(f->object, key);
    if (is_neutral(value)) {
        return KVL_OK;
    }
    char text[KVLI_VALUE_CUT];
    size_t n = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    text[n < sizeof text ? n : 0] = '\0';
    return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: %s: expected none (it changes the arithmetic), found %s",
                    f->name, key, text[0] != '\0' ? text : type_text(value));
}

kvl_status kvli_field_unknown(const kvli_fields *f, const char *key, const char *found, const char *known) {
    return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: %s: expected one of %s, found '%.80s'", f->name, key,
                    known, found);
}

/* What is impossible in any family gets its own code before the field is refused as unknown. */
static kvl_status check_window(const kvli_fields *f) {
    const json_t *value = json_object_get(f->object, "sliding_window");
    const json_t *context = json_object_get(f->object, "max_position_embeddings");
    if (json_is_integer(value) &&
        (json_integer_value(value) < 0 ||
         (json_is_integer(context) && json_integer_value(value) > json_integer_value(context)))) {
        return kvl_fail(f->err, KVL_E_CONFIG,
                        "%s: sliding_window: expected 0 to max_position_embeddings, found %lld", f->name,
                        (long long)json_integer_value(value));
    }
    return KVL_OK;
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    const char *model_type = NULL;
    KVL_TRY(kvli_field_text(f, "model_type", &model_type));
    if (model_type == NULL) {
        return kvl_fail(f->err, KVL_E_MISSING, "%s: model_type: expected the name of a family, found none",
                        f->name);
    }
    KVL_TRY(kvli_arch_find(&out->arch, model_type, f->name, f->err));
    KVL_TRY(check_window(f));
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        KVL_TRY(kvli_field_refuse(f, refused[i]));
    }
    return out->arch->read_config(out, f);
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
        status = kvl_fail(err, KVL_E_CONFIG, "%s: expected an object, found %s", name, type_text(config));
    }
    json_decref(config);
    return status;
}
