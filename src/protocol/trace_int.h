/* What writer and reader of traces agree on: docs/trace.md. */
#ifndef KVL_PROTOCOL_TRACE_INT_H
#define KVL_PROTOCOL_TRACE_INT_H

#include "base/hash.h"
#include "protocol/trace.h"

#define KVLI_TRACE_MAGIC "KVLTRACE"
enum { KVLI_TRACE_VERSION = 1, KVLI_MAGIC_BYTES = 8, KVLI_SECTION_BYTES = 20, KVLI_LOST_ONE = 65535 };

/* A section: kind u32, bytes of its content u64, FNV-1a of kind and content u64, content. */
typedef enum kvli_section {
    KVLI_SECTION_HEAD = 1, /* the first */
    KVLI_SECTION_CELL,
    KVLI_SECTION_NORMS,
    KVLI_SECTION_LOST,
    KVLI_SECTION_END, /* the last: how many came before */
} kvli_section;

static inline uint64_t kvli_section_hash(uint32_t kind, const void *content, size_t n) {
    const uint8_t bytes[4] = {(uint8_t)kind, (uint8_t)(kind >> 8), (uint8_t)(kind >> 16),
                              (uint8_t)(kind >> 24)};
    return kvl_hash_bytes(kvl_hash_bytes(KVL_HASH_INIT, bytes, sizeof bytes), content, n);
}

/* The first of n ascending events behind a position: index into events, n if there is none. */
static inline size_t kvli_next_event(const uint32_t *events, size_t n, size_t position) {
    size_t low = 0;
    size_t high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (events[middle] <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

#endif
