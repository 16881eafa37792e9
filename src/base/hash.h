/* FNV-1a, 64 bits: identities of texts and configurations. Not for adversaries. */
#ifndef KVL_BASE_HASH_H
#define KVL_BASE_HASH_H

#include "base/compiler.h"

#define KVL_HASH_INIT 0xcbf29ce484222325u

static inline uint64_t kvl_hash_bytes(uint64_t h, const void *bytes, size_t n) {
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ b[i]) * 0x100000001b3u;
    }
    return h;
}

#endif
