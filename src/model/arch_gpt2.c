/* GPT-2: learned positions, matrices stored [in, out]. Source: GPT2Config and modeling_gpt2.py of
 * transformers 5.23. Its config.json has names of its own; they are read under those of the other families.
 */
#include "model/arch.h"
#include "model/config_common.h"

#include <string.h>

static const char *const buffers[] = {".attn.bias", ".attn.masked_bias", NULL};

static const kvli_alias aliases[] = {
    {"hidden_size", "n_embd"},
    {"num_attention_heads", "n_head"},
    {"num_hidden_layers", "n_layer"},
    {"max_position_embeddings", "n_positions"},
    {"intermediate_size", "n_inner"},
    {"layer_norm_eps", "layer_norm_epsilon"},
    {"hidden_act", "activation_function"},
    {NULL, NULL},
};

static kvl_status read_fields(kvl_config *out, const kvli_fields *f) {
    kvl_shape *s = &out->shape;
    double eps = 1e-5;
    bool is_scaled = true;
    KVL_TRY(kvli_config_sizes(out, f));
    KVL_TRY(kvli_field_real(f, "layer_norm_eps", 1e-30, 1, &eps)); /* above the smallest normal float */
    s->norm_eps = (float)eps;
    s->norm = KVL_NORM_LAYER;
    s->activation = KVL_ACT_GELU_TANH;
    KVL_TRY(kvli_config_activation(&s->activation, f, "hidden_act"));
    KVL_TRY(kvli_field_bool(f, "scale_attn_weights", &is_scaled));
    s->attn_scale = is_scaled ? s->attn_scale : 1;
    s->has_positions = true;
    out->has_qkv_bias = out->has_out_bias = out->has_ff_bias = true;
    out->is_tied = true;
    return kvli_field_bool(f, "tie_word_embeddings", &out->is_tied);
}

/* n_inner is absent or null in most checkpoints: 4 E. */
static kvl_status rename_fields(json_t *object) {
    for (const kvli_alias *a = aliases; a->field != NULL; a++) {
        json_t *value = json_object_get(object, a->key);
        if (value != NULL && json_object_set(object, a->field, value) != 0) {
            return KVL_E_NOMEM;
        }
    }
    json_t *inner = json_object_get(object, "intermediate_size");
    json_t *width = json_object_get(object, "hidden_size");
    json_int_t n = json_integer_value(width);
    if ((inner == NULL || json_is_null(inner)) && n > 0 && n <= KVLI_MAX_WIDTH) {
        return json_object_set_new(object, "intermediate_size", json_integer(4 * n)) == 0 ? KVL_OK
                                                                                          : KVL_E_NOMEM;
    }
    return KVL_OK;
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    if (out->is_gguf) { /* has the common names already */
        return read_fields(out, f);
    }
    json_t *renamed = json_copy((json_t *)(uintptr_t)f->object);
    kvli_fields fields = {.object = renamed, .name = f->name, .err = f->err, .aliases = aliases};
    kvl_status status = KVL_OK;
    if (renamed == NULL || rename_fields(renamed) != KVL_OK) {
        status = kvl_fail(f->err, KVL_E_NOMEM, "%s: expected memory for its fields, found none", f->name);
    } else {
        status = read_fields(out, &fields);
    }
    json_decref(renamed);
    return status;
}

extern const kvl_arch kvl_arch_gpt2;
const kvl_arch kvl_arch_gpt2 = {
    .model_type = "gpt2",
    .gguf_name = "gpt2",
    .read_config = read_config,
    .prefix = "transformer.",
    .names = {[KVLI_EMBEDDING] = "wte",
              [KVLI_POSITIONS] = "wpe",
              [KVLI_FINAL_NORM] = "ln_f",
              [KVLI_OUTPUT] = "lm_head",
              [KVLI_ATTN_NORM] = "h.%u.ln_1",
              [KVLI_FF_NORM] = "h.%u.ln_2",
              [KVLI_QKV] = "h.%u.attn.c_attn",
              [KVLI_ATTN_OUT] = "h.%u.attn.c_proj",
              [KVLI_FF_UP] = "h.%u.mlp.c_fc",
              [KVLI_FF_DOWN] = "h.%u.mlp.c_proj"},
    .buffers = buffers,
    .is_transposed = true,
};
