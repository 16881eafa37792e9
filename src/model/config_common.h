/* Fields that most families share. */
#ifndef KVL_MODEL_CONFIG_COMMON_H
#define KVL_MODEL_CONFIG_COMMON_H

#include "model/config.h"

/* num_attention_heads, num_key_value_heads, hidden_size, head_dim, num_hidden_layers, intermediate_size,
 * vocab_size, max_position_embeddings; attn_scale = head_dim^-1/2. */
kvl_status kvli_config_sizes(kvl_config *out, const kvli_fields *f) KVL_MUST_USE;
/* A decoder as Llama's: sizes, RMS norms with rms_norm_eps (or the default given), gated feed-forward with
 * `act_key` (default silu), tie_word_embeddings. No rotation. */
kvl_status kvli_config_llama_like(kvl_config *out, const kvli_fields *f, const char *act_key,
                                  double eps) KVL_MUST_USE;
/* n_rotary from part of the heads (or from GGUF's rope.dimension_count), rope_base from the settings. */
kvl_status kvli_config_rotary(kvl_config *out, const kvli_fields *f) KVL_MUST_USE;
/* An activation by its name in transformers; *out stays when the field is absent. */
kvl_status kvli_config_activation(kvl_activation *out, const kvli_fields *f, const char *key) KVL_MUST_USE;
/* sliding_window into shape.window: `absent` when there is no such field, 0 when it is null. */
kvl_status kvli_config_window(kvl_config *out, const kvli_fields *f, uint32_t absent) KVL_MUST_USE;
/* layer_types into is_local; absent: *has_types = false. */
kvl_status kvli_config_layer_types(kvl_config *out, const kvli_fields *f, bool *has_types) KVL_MUST_USE;

#endif
