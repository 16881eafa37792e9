/* GPT-NeoX (Pythia) configs. Source: GPTNeoXConfig of transformers 4 and 5, whose defaults are used for
 * fields that may be absent; sizes may not. The rotary fields stand in two places: rotary_pct and
 * rotary_emb_base (or rope_theta) at the top, or partial_rotary_factor and rope_theta in rope_parameters;
 * both must agree. Dropout and initialisation are of training and not read. */
#include "model/config_gpt_neox.h"

#include <math.h>
#include <string.h>

static kvl_status read_activation(kvl_activation *out, const kvli_fields *f) {
    static const struct {
        const char *name;
        kvl_activation activation;
    } table[] = {
        {"gelu", KVL_ACT_GELU_ERF},
        {"gelu_python", KVL_ACT_GELU_ERF},
        {"gelu_new", KVL_ACT_GELU_TANH},
        {"gelu_fast", KVL_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", KVL_ACT_GELU_TANH},
    };
    const char *name = "gelu";
    KVL_TRY(kvli_field_text(f, "hidden_act", &name));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0) {
            *out = table[i].activation;
            return KVL_OK;
        }
    }
    return kvli_field_unknown(f, "hidden_act", name,
                              "gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh");
}

/* Reads a number that may stand under several keys: all that are there must be equal. */
static kvl_status read_agreed(const kvli_fields *f, const char *key, double min, double max, double *value,
                              bool *is_set) {
    double number = -1;
    KVL_TRY(kvli_field_real(f, key, min, max, &number));
    if (number < 0) {
        return KVL_OK;
    }
    if (*is_set && fabs(number - *value) > 1e-12 * fabs(*value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %g as in another field, found %g", f->name,
                        key, *value, number);
    }
    *value = number;
    *is_set = true;
    return KVL_OK;
}

static kvl_status check_rope_keys(const kvli_fields *rope) {
    static const char *const known[] = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)rope->object, key, value) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            is_known = is_known || strcmp(key, known[i]) == 0;
        }
        if (!is_known && !json_is_null(value)) {
            return kvli_field_unknown(rope, "rope_parameters", key,
                                      "rope_type, rope_theta, partial_rotary_factor");
        }
    }
    const char *type = "default";
    KVL_TRY(kvli_field_text(rope, "type", &type));
    KVL_TRY(kvli_field_text(rope, "rope_type", &type));
    return strcmp(type, "default") == 0 ? KVL_OK : kvli_field_unknown(rope, "rope_type", type, "default");
}

static kvl_status read_rotary(kvl_shape *shape, const kvli_fields *f) {
    double part = 0.25;
    double base = 10000;
    bool has_part = false;
    bool has_base = false;
    const kvli_fields rope = {json_object_get(f->object, "rope_parameters"), f->name, f->err};
    KVL_TRY(read_agreed(f, "rotary_pct", 0, 1, &part, &has_part));
    KVL_TRY(read_agreed(f, "partial_rotary_factor", 0, 1, &part, &has_part));
    /* an angle per position of 1e-300 would be 0 in any arithmetic; the bounds only exclude nonsense */
    KVL_TRY(read_agreed(f, "rotary_emb_base", 1, 1e12, &base, &has_base));
    KVL_TRY(read_agreed(f, "rope_theta", 1, 1e12, &base, &has_base));
    if (rope.object != NULL && !json_is_null(rope.object)) {
        if (!json_is_object(rope.object)) {
            return kvl_fail(f->err, KVL_E_CONFIG,
                            "%s: rope_parameters: expected an object, found another type", f->name);
        }
        KVL_TRY(check_rope_keys(&rope));
        KVL_TRY(read_agreed(&rope, "partial_rotary_factor", 0, 1, &part, &has_part));
        KVL_TRY(read_agreed(&rope, "rope_theta", 1, 1e12, &base, &has_base));
    }
    shape->rope_base = base;
    shape->n_rotary = (uint32_t)(shape->head_dim * part); /* cut, as the reference does */
    if (shape->n_rotary % 2 != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG,
                        "%s: rotary_pct: expected an even number of rotated dimensions, found %u (%g of %u)",
                        f->name, shape->n_rotary, part, shape->head_dim);
    }
    return KVL_OK;
}

static kvl_status read_heads(kvl_shape *s, const kvli_fields *f) {
    uint32_t head_dim = 0;
    KVL_TRY(kvli_field_count(f, "num_attention_heads", 1, KVLI_MAX_HEADS, -1, &s->n_heads));
    KVL_TRY(kvli_field_count(f, "num_key_value_heads", 1, KVLI_MAX_HEADS, s->n_heads, &s->n_kv_heads));
    KVL_TRY(kvli_field_count(f, "hidden_size", 1, KVLI_MAX_WIDTH, -1, &s->width));
    s->head_dim = s->width / s->n_heads;
    KVL_TRY(kvli_field_count(f, "head_dim", 1, KVLI_MAX_HEAD_DIM, s->head_dim, &head_dim));
    if (s->width % s->n_heads != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG,
                        "%s: num_attention_heads: expected a divisor of hidden_size %u, found %u", f->name,
                        s->width, s->n_heads);
    }
    if (s->n_heads % s->n_kv_heads != 0) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: num_key_value_heads: expected a divisor of %u, found %u",
                        f->name, s->n_heads, s->n_kv_heads);
    }
    if (head_dim % 2 != 0 || s->head_dim % 2 != 0 || s->head_dim > KVLI_MAX_HEAD_DIM) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: head_dim: expected an even number up to %d, found %u",
                        f->name, (int)KVLI_MAX_HEAD_DIM, head_dim % 2 != 0 ? head_dim : s->head_dim);
    }
    if (s->n_kv_heads != s->n_heads) {
        return kvl_fail(f->err, KVL_E_UNSUPPORTED,
                        "%s: num_key_value_heads: expected %u (gpt_neox has no groups), found %u", f->name,
                        s->n_heads, s->n_kv_heads);
    }
    if (head_dim != s->head_dim) {
        return kvl_fail(f->err, KVL_E_UNSUPPORTED,
                        "%s: head_dim: expected hidden_size / num_attention_heads = %u, found %u", f->name,
                        s->head_dim, head_dim);
    }
    return KVL_OK;
}

kvl_status kvli_config_gpt_neox(kvl_config *out, const kvli_fields *f) {
    kvl_shape *s = &out->shape;
    double norm_eps = 1e-5;
    KVL_TRY(read_heads(s, f));
    KVL_TRY(kvli_field_count(f, "num_hidden_layers", 1, KVLI_MAX_LAYERS, -1, &s->n_layers));
    KVL_TRY(kvli_field_count(f, "intermediate_size", 1, KVLI_MAX_FF_WIDTH, -1, &s->ff_width));
    KVL_TRY(kvli_field_count(f, "vocab_size", 1, KVLI_MAX_VOCAB, -1, &s->n_vocab));
    KVL_TRY(kvli_field_count(f, "max_position_embeddings", 1, KVLI_MAX_CONTEXT, -1, &s->n_context));
    KVL_TRY(read_rotary(s, f));
    KVL_TRY(kvli_field_real(f, "layer_norm_eps", 1e-30, 1, &norm_eps)); /* above the smallest normal float */
    s->norm_eps = (float)norm_eps;
    KVL_TRY(read_activation(&s->activation, f));
    s->is_parallel = true;
    KVL_TRY(kvli_field_bool(f, "use_parallel_residual", &s->is_parallel));
    out->has_attention_bias = true;
    KVL_TRY(kvli_field_bool(f, "attention_bias", &out->has_attention_bias));
    return kvli_field_bool(f, "tie_word_embeddings", &out->is_tied);
}
