/* Fields that Gemma 2 and Gemma 3 share. */
#ifndef KVL_MODEL_CONFIG_GEMMA_H
#define KVL_MODEL_CONFIG_GEMMA_H

#include "model/config_common.h"

/* Everything but the rotations; every `pattern`-th layer (or sliding_window_pattern-th, or as layer_types
 * says) sees all tokens, the others a window. Caps in the shape are
 * the defaults of absent fields. */
kvl_status kvli_config_gemma(kvl_config *out, const kvli_fields *f, uint32_t pattern) KVL_MUST_USE;

/* Attention's scale of the 27B sizes in GGUF files. */
void kvli_config_gemma_scale(kvl_config *out, uint32_t n_layers_of_27b);

#endif
