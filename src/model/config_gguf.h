/* Metadata of a GGUF file -> checked numbers. */
#ifndef KVL_MODEL_CONFIG_GGUF_H
#define KVL_MODEL_CONFIG_GGUF_H

#include "file/gguf.h"
#include "model/config.h"

/* Reads <architecture>.* of the header; the vocabulary's size is the embedding's. Errors: E_MISSING, E_TYPE,
 * E_CONFIG, E_VOCAB (tokens and embedding disagree), E_UNSUPPORTED (architecture, rope scaling, or a key of
 * the architecture that is not known). */
kvl_status kvli_config_of_gguf(kvl_config *out, const kvl_gguf *g, kvl_err *err) KVL_MUST_USE;

#endif
