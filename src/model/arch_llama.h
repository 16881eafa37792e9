/* What other families share with Llama's file. */
#ifndef KVL_MODEL_ARCH_LLAMA_H
#define KVL_MODEL_ARCH_LLAMA_H

#include "model/arch.h"

kvli_row_fn kvli_llama_gguf_row;

#endif
