/* Names what a file really is when it is not safetensors. */
#ifndef KVL_FILE_CONTAINER_H
#define KVL_FILE_CONTAINER_H

#include "base/compiler.h"

/* What the first bytes (up to 512) belong to and what to do about it, or NULL when nothing known. Looks at
 * bytes only; nothing is decompressed. */
const char *kvli_container_name(const uint8_t *first, uint64_t n_first);

#endif
