/* GPT-NeoX (Pythia): tensors -> kvl_model. Source: modeling_gpt_neox.py of transformers.
 *
 * query_key_value is stored head by head, [H, 3, D, E]: q, k and v of head 0, then of head 1, ... It is used
 * as all queries, all keys, all values, [3, H, D, E]. Names stand with or without "gpt_neox." (the latter
 * from checkpoints of the model without its output matrix, which then must be tied). Buffers that old
 * checkpoints carry (causal mask, its filler, rotary frequencies) are recomputed and skipped; any other
 * tensor that is not used is an error, because a weight that is ignored makes another model. */
#include "base/alloc.h"
#include "base/str.h"
#include "kernel/kernel.h"
#include "model/arch.h"
#include "model/config_gpt_neox.h"
#include "model/load.h"

#include <string.h>

static const char family_prefix[] = "gpt_neox.";

/* Names inside one layer; NULL-terminated. */
static const char *const layer_weights[] = {"input_layernorm.weight",
                                            "input_layernorm.bias",
                                            "post_attention_layernorm.weight",
                                            "post_attention_layernorm.bias",
                                            "attention.query_key_value.weight",
                                            "attention.dense.weight",
                                            "mlp.dense_h_to_4h.weight",
                                            "mlp.dense_h_to_4h.bias",
                                            "mlp.dense_4h_to_h.weight",
                                            "mlp.dense_4h_to_h.bias",
                                            NULL};
static const char *const attention_biases[] = {"attention.query_key_value.bias", "attention.dense.bias",
                                               NULL};
static const char *const layer_buffers[] = {"attention.bias", "attention.masked_bias",
                                            "attention.rotary_emb.inv_freq", "rotary_emb.inv_freq", NULL};
static const char *const top_weights[] = {"embed_in.weight", "final_layer_norm.weight",
                                          "final_layer_norm.bias", NULL};
static const char *const top_buffers[] = {"rotary_emb.inv_freq", NULL};

static bool is_in(const char *name, const char *const *list) {
    for (; *list != NULL; list++) {
        if (strcmp(name, *list) == 0) {
            return true;
        }
    }
    return false;
}

/* "layers.N.rest" with N in canonical decimal: returns rest, or NULL. */
static const char *parse_layer(const char *name, uint32_t *layer) {
    static const char prefix[] = "layers.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
        return NULL;
    }
    const char *digit = name + sizeof prefix - 1;
    if (*digit == '0' && digit[1] != '.') {
        return NULL;
    }
    uint32_t value = 0;
    unsigned n_digits = 0;
    for (; *digit >= '0' && *digit <= '9' && n_digits < 6; digit++, n_digits++) {
        value = value * 10 + (uint32_t)(*digit - '0');
    }
    *layer = value;
    return n_digits != 0 && *digit == '.' ? digit + 1 : NULL;
}

static bool is_known(const char *name, const kvl_config *config, const char *prefix) {
    if (strcmp(name, "embed_out.weight") == 0) {
        return true;
    }
    if (strncmp(name, prefix, strlen(prefix)) != 0) {
        return false;
    }
    name += strlen(prefix);
    uint32_t layer = 0;
    const char *rest = parse_layer(name, &layer);
    if (rest == NULL) {
        return is_in(name, top_weights) || is_in(name, top_buffers);
    }
    return layer < config->shape.n_layers && (is_in(rest, layer_weights) || is_in(rest, layer_buffers) ||
                                              (config->has_attention_bias && is_in(rest, attention_biases)));
}

static kvl_status check_extra(const kvl_tensors *tensors, const kvl_config *config, const char *prefix,
                              kvl_err *err) {
    for (size_t i = 0; i < kvl_tensors_count(tensors); i++) {
        const kvl_tensor *t = kvl_tensors_at(tensors, i);
        if (!is_known(t->name, config, prefix)) {
            return kvl_fail(err, KVL_E_EXTRA,
                            "%s: expected only tensors of a gpt_neox model of %u layers%s, found '%.80s'",
                            kvl_tensors_path(tensors, t), config->shape.n_layers,
                            config->has_attention_bias ? "" : " without attention biases", t->name);
        }
    }
    return KVL_OK;
}

static size_t row_of_qkv(const kvl_shape *shape, size_t stored_row) {
    size_t dim = stored_row % shape->head_dim;
    size_t part = stored_row / shape->head_dim % 3; /* query, key, value */
    size_t head = stored_row / shape->head_dim / 3;
    return (part * shape->n_heads + head) * shape->head_dim + dim;
}

static kvl_status bind_layer(kvl_model *m, uint32_t layer, const kvl_config *config,
                             const kvl_tensors *tensors, const char *prefix, kvl_err *err) {
    const kvl_shape *s = &m->shape;
    kvl_layer *to = &m->layers[layer];
    const struct {
        kvl_linear *linear;
        const char *name;
        uint32_t n_in;
        uint32_t n_out;
        bool has_bias;
        kvli_row_fn *row_of;
    } linears[] = {
        {&to->qkv, "attention.query_key_value", s->width, 3 * s->width, config->has_attention_bias,
         row_of_qkv},
        {&to->attn_out, "attention.dense", s->width, s->width, config->has_attention_bias, NULL},
        {&to->ff_up, "mlp.dense_h_to_4h", s->width, s->ff_width, true, NULL},
        {&to->ff_down, "mlp.dense_4h_to_h", s->ff_width, s->width, true, NULL},
    };
    kvl_str name = {0};
    kvl_status status = KVL_OK;
    kvl_str_printf(&name, "%slayers.%u.input_layernorm", prefix, layer);
    KVL_GO(kvl_str_check(&name, "name of a tensor", err));
    KVL_GO(kvli_load_norm(&to->attn_norm, m, tensors, kvl_str_text(&name), s->width, err));
    kvl_str_clear(&name);
    kvl_str_printf(&name, "%slayers.%u.post_attention_layernorm", prefix, layer);
    KVL_GO(kvl_str_check(&name, "name of a tensor", err));
    KVL_GO(kvli_load_norm(&to->ff_norm, m, tensors, kvl_str_text(&name), s->width, err));
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        kvl_str_clear(&name);
        kvl_str_printf(&name, "%slayers.%u.%s", prefix, layer, linears[i].name);
        KVL_GO(kvl_str_check(&name, "name of a tensor", err));
        KVL_GO(kvli_load_linear(linears[i].linear, m, tensors, kvl_str_text(&name), linears[i].n_in,
                                linears[i].n_out, linears[i].has_bias, linears[i].row_of, err));
    }
done:
    kvl_str_free(&name);
    return status;
}

/* Both matrices stored although they are said to be one: fine if they are equal, two models otherwise. */
static kvl_status check_tied_copy(kvl_model *m, const kvl_tensors *tensors, kvl_err *err) {
    const kvl_tensor *tensor = NULL;
    size_t n = (size_t)m->shape.n_vocab * m->shape.width;
    kvl_status status = KVL_OK;
    KVL_TRY(kvli_load_find(&tensor, tensors, "embed_out.weight", m->shape.n_vocab, m->shape.width, err));
    float *copy = kvl_calloc(n, sizeof *copy);
    if (copy == NULL) {
        return kvl_fail_nomem(err, "weights");
    }
    KVL_GO(kvl_tensors_read_f32(tensors, tensor, copy, err));
    for (size_t i = 0; i < n; i++) {
        if (copy[i] < m->embedding[i] || copy[i] > m->embedding[i]) {
            status = kvl_fail(err, KVL_E_CONFIG,
                              "%s: tensor 'embed_out.weight', index %zu: expected the value of embed_in "
                              "(tie_word_embeddings is true), found another",
                              kvl_tensors_path(tensors, tensor), i);
            break;
        }
    }
done:
    kvl_free(copy);
    return status;
}

static kvl_status bind_output(kvl_model *m, const kvl_config *config, const kvl_tensors *tensors,
                              kvl_err *err) {
    const kvl_shape *s = &m->shape;
    if (!config->is_tied) {
        return kvli_load_linear(&m->output, m, tensors, "embed_out", s->width, s->n_vocab, false, NULL, err);
    }
    if (kvl_tensors_find(tensors, "embed_out.weight") != NULL) {
        KVL_TRY(check_tied_copy(m, tensors, err));
    }
    return kvli_load_pack(&m->output, m, m->embedding, s->width, s->n_vocab, err);
}

static kvl_status bind(kvl_model *m, const kvl_config *config, const kvl_tensors *tensors, kvl_err *err) {
    const kvl_shape *s = &m->shape;
    const char *prefix = kvl_tensors_find(tensors, "embed_in.weight") != NULL ? "" : family_prefix;
    bool is_short = *prefix == '\0';
    KVL_TRY(check_extra(tensors, config, prefix, err));
    KVL_TRY(kvli_load_values(&m->embedding, m, tensors,
                             is_short ? "embed_in.weight" : "gpt_neox.embed_in.weight", s->n_vocab, s->width,
                             NULL, err));
    m->n_vocab_in = s->n_vocab;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        KVL_TRY(bind_layer(m, layer, config, tensors, prefix, err));
    }
    KVL_TRY(kvli_load_norm(&m->final_norm, m, tensors,
                           is_short ? "final_layer_norm" : "gpt_neox.final_layer_norm", s->width, err));
    return bind_output(m, config, tensors, err);
}

extern const kvl_arch kvl_arch_gpt_neox;
const kvl_arch kvl_arch_gpt_neox = {
    .model_type = "gpt_neox", .read_config = kvli_config_gpt_neox, .bind = bind};
