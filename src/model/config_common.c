/* Fields that most families share. Defaults are those of transformers 4 and 5; sizes have none. */
#include "model/config_common.h"

#include <math.h>
#include <string.h>

kvl_status kvli_config_sizes(kvl_config *out, const kvli_fields *f) {
    kvl_shape *s = &out->shape;
    KVL_TRY(kvli_field_count(f, "num_attention_heads", 1, KVLI_MAX_HEADS, -1, &s->n_heads));
    KVL_TRY(kvli_field_count(f, "num_key_value_heads", 1, KVLI_MAX_HEADS, s->n_heads, &s->n_kv_heads));
    KVL_TRY(kvli_field_count(f, "hidden_size", 1, KVLI_MAX_WIDTH, -1, &s->width));
    bool has_dim = kvli_field_has(f, "head_dim");
    KVL_TRY(kvli_field_count(f, "head_dim", 1, KVLI_MAX_HEAD_DIM, s->width / s->n_heads, &s->head_dim));
    if (!has_dim && s->width % s->n_heads != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a divisor of hidden_size %u, found %u",
                        f->name, kvli_field_name(f, "num_attention_heads"), s->width, s->n_heads);
    }
    if (s->n_heads % s->n_kv_heads != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a divisor of %u, found %u", f->name,
                        kvli_field_name(f, "num_key_value_heads"), s->n_heads, s->n_kv_heads);
    }
    if (s->head_dim % 2 != 0 || s->head_dim > KVLI_MAX_HEAD_DIM || s->head_dim == 0) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected an even number up to %d, found %u", f->name,
                        kvli_field_name(f, "head_dim"), (int)KVLI_MAX_HEAD_DIM, s->head_dim);
    }
    KVL_TRY(kvli_field_count(f, "num_hidden_layers", 1, KVLI_MAX_LAYERS, -1, &s->n_layers));
    KVL_TRY(kvli_field_count(f, "intermediate_size", 1, KVLI_MAX_FF_WIDTH, -1, &s->ff_width));
    KVL_TRY(kvli_field_count(f, "vocab_size", 1, KVLI_MAX_VOCAB, -1, &s->n_vocab));
    KVL_TRY(kvli_field_count(f, "max_position_embeddings", 1, KVLI_MAX_CONTEXT, -1, &s->n_context));
    s->attn_scale = (float)(1.0 / sqrt((double)s->head_dim));
    return KVL_OK;
}

kvl_status kvli_config_activation(kvl_activation *out, const kvli_fields *f, const char *key) {
    static const struct {
        const char *name;
        kvl_activation activation;
    } table[] = {
        {"gelu", KVL_ACT_GELU_ERF},
        {"gelu_python", KVL_ACT_GELU_ERF},
        {"gelu_new", KVL_ACT_GELU_TANH},
        {"gelu_fast", KVL_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", KVL_ACT_GELU_TANH},
        {"silu", KVL_ACT_SILU},
        {"swish", KVL_ACT_SILU},
    };
    const char *name = NULL;
    KVL_TRY(kvli_field_text(f, key, &name));
    if (name == NULL) {
        return KVL_OK;
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0) {
            *out = table[i].activation;
            return KVL_OK;
        }
    }
    return kvli_field_unknown(f, key, name,
                              "gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish");
}

kvl_status kvli_config_llama_like(kvl_config *out, const kvli_fields *f, const char *act_key, double eps) {
    kvl_shape *s = &out->shape;
    KVL_TRY(kvli_config_sizes(out, f));
    KVL_TRY(kvli_field_real(f, "rms_norm_eps", 1e-30, 1, &eps)); /* above the smallest normal float */
    s->norm_eps = (float)eps;
    s->norm = KVL_NORM_RMS;
    s->is_gated = true;
    s->activation = KVL_ACT_SILU;
    KVL_TRY(kvli_config_activation(&s->activation, f, act_key));
    return kvli_field_bool(f, "tie_word_embeddings", &out->is_tied);
}

kvl_status kvli_config_rotary(kvl_config *out, const kvli_fields *f) {
    static const char said[] = "rope.dimension_count"; /* in GGUF only */
    kvl_shape *s = &out->shape;
    double part = out->ropes[KVL_ROPE_GLOBAL].part;
    uint32_t cut = (uint32_t)(s->head_dim * part); /* cut, as the reference does */
    KVL_TRY(kvli_field_count(f, said, 1, KVLI_MAX_HEAD_DIM, cut, &s->n_rotary));
    if (s->n_rotary % 2 != 0 || s->n_rotary > s->head_dim) {
        return kvl_fail(f->err, KVL_E_CONFIG,
                        "%s: %s: expected an even number of rotated dimensions up to %u, found %u", f->name,
                        kvli_field_has(f, said) ? kvli_field_name(f, said) : "rotary_pct", s->head_dim,
                        s->n_rotary);
    }
    for (int i = 0; i < KVL_N_ROPES; i++) {
        s->rope_base[i] = out->ropes[i].base;
    }
    return KVL_OK;
}

kvl_status kvli_config_window(kvl_config *out, const kvli_fields *f, uint32_t absent) {
    absent = json_object_get(f->object, "sliding_window") == NULL ? absent : 0;
    return kvli_field_count(f, "sliding_window", 0, KVLI_MAX_CONTEXT, absent, &out->shape.window);
}

kvl_status kvli_config_layer_types(kvl_config *out, const kvli_fields *f, bool *has_types) {
    const json_t *types = json_object_get(f->object, "layer_types");
    *has_types = types != NULL && !json_is_null(types);
    if (!*has_types) {
        return KVL_OK;
    }
    if (!json_is_array(types) || json_array_size(types) != out->shape.n_layers) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: layer_types: expected a list of %u types, found %zu",
                        f->name, out->shape.n_layers, json_array_size(types));
    }
    for (size_t i = 0; i < out->shape.n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        type = type != NULL ? type : "";
        if (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0) {
            return kvli_field_unknown(f, "layer_types", type, "full_attention, sliding_attention");
        }
        out->is_local[i] = *type == 's';
    }
    return KVL_OK;
}
