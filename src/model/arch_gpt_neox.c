/* GPT-NeoX (Pythia). Sources: GPTNeoXConfig and modeling_gpt_neox.py of transformers 4 and 5.
 *
 * query_key_value is stored head by head, [H, 3, D, E]: q, k and v of head 0, then of head 1, ... (GGUF files
 * have all queries, all keys, all values). The rotary fields stand in two places: rotary_pct and
 * rotary_emb_base (or rope_theta) at the top, or partial_rotary_factor and rope_theta in rope_parameters;
 * both must agree. */
#include "model/arch.h"
#include "model/config_common.h"

#include <math.h>

static const char *const reads[] = {"rope_scaling", NULL};
static const char *const buffers[] = {".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq",
                                      NULL};

/* Reads an older name of a field; what another name said must agree. */
static kvl_status read_old(const kvli_fields *f, const char *key, double min, double max, bool has_new,
                           double *value) {
    double number = *value;
    KVL_TRY(kvli_field_real(f, key, min, max, &number));
    if (has_new && fabs(number - *value) > 1e-12 * fabs(*value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %g as in another field, found %g", f->name,
                        key, *value, number);
    }
    *value = number;
    return KVL_OK;
}

static kvl_status read_rotary(kvl_config *out, const kvli_fields *f) {
    kvli_rope rope = kvli_rope_default(10000);
    rope.part = 0.25;
    bool has_object = kvli_field_has(f, "rope_parameters");
    bool has_base = has_object || kvli_field_has(f, "rope_theta");
    bool has_part = has_object || kvli_field_has(f, "partial_rotary_factor");
    KVL_TRY(kvli_rope_read(&rope, f));
    KVL_TRY(read_old(f, "rotary_pct", 0, 1, has_part, &rope.part));
    /* an angle per position of 1e-300 would be 0 in any arithmetic; the bounds only exclude nonsense */
    KVL_TRY(read_old(f, "rotary_emb_base", 1, 1e12, has_base, &rope.base));
    out->ropes[KVL_ROPE_GLOBAL] = rope;
    return kvli_config_rotary(out, f);
}

static kvl_status read_config(kvl_config *out, const kvli_fields *f) {
    kvl_shape *s = &out->shape;
    double norm_eps = 1e-5;
    KVL_TRY(kvli_config_sizes(out, f));
    if (s->n_kv_heads != s->n_heads) {
        return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: %s: expected %u (gpt_neox has no groups), found %u",
                        f->name, kvli_field_name(f, "num_key_value_heads"), s->n_heads, s->n_kv_heads);
    }
    KVL_TRY(read_rotary(out, f));
    KVL_TRY(kvli_field_real(f, "layer_norm_eps", 1e-30, 1, &norm_eps)); /* above the smallest normal float */
    s->norm_eps = (float)norm_eps;
    s->norm = KVL_NORM_LAYER;
    s->activation = KVL_ACT_GELU_ERF;
    KVL_TRY(kvli_config_activation(&s->activation, f, "hidden_act"));
    s->is_parallel = true;
    KVL_TRY(kvli_field_bool(f, "use_parallel_residual", &s->is_parallel));
    bool has_bias = true;
    KVL_TRY(kvli_field_bool(f, "attention_bias", &has_bias));
    out->has_qkv_bias = out->has_out_bias = has_bias;
    out->has_ff_bias = true;
    return kvli_field_bool(f, "tie_word_embeddings", &out->is_tied);
}

static size_t stored_row(const kvl_shape *shape, size_t used_row) {
    size_t dim = used_row % shape->head_dim;
    size_t head = used_row / shape->head_dim % shape->n_heads;
    size_t part = used_row / shape->head_dim / shape->n_heads; /* query, key, value */
    return (head * 3 + part) * shape->head_dim + dim;
}

extern const kvl_arch kvl_arch_gpt_neox;
const kvl_arch kvl_arch_gpt_neox = {
    .model_type = "gpt_neox",
    .gguf_name = "gptneox",
    .reads = reads,
    .read_config = read_config,
    .prefix = "gpt_neox.",
    .names = {[KVLI_EMBEDDING] = "embed_in",
              [KVLI_FINAL_NORM] = "final_layer_norm",
              [KVLI_OUTPUT] = "embed_out",
              [KVLI_ATTN_NORM] = "layers.%u.input_layernorm",
              [KVLI_FF_NORM] = "layers.%u.post_attention_layernorm",
              [KVLI_QKV] = "layers.%u.attention.query_key_value",
              [KVLI_ATTN_OUT] = "layers.%u.attention.dense",
              [KVLI_FF_UP] = "layers.%u.mlp.dense_h_to_4h",
              [KVLI_FF_DOWN] = "layers.%u.mlp.dense_4h_to_h"},
    .buffers = buffers,
    .qkv_row = stored_row,
};
