/* Bounded reader over bytes from a file. The only place that does pointer arithmetic on such bytes.
 *
 * The first failed read sticks: later reads return 0 and the cursor does not move; check `failed` once.
 */
#ifndef KVL_BASE_CURSOR_H
#define KVL_BASE_CURSOR_H

#include "base/status.h"

typedef struct kvl_cursor {
    const uint8_t *base; /* borrowed */
    uint64_t size;       /* bytes */
    uint64_t pos;        /* bytes; always <= size */
    bool failed;
} kvl_cursor;

static inline kvl_cursor kvl_cursor_open(const void *bytes, uint64_t n_bytes) {
    return (kvl_cursor){.base = bytes, .size = n_bytes};
}
/* True when n more bytes are there; otherwise the cursor fails. */
bool kvl_cursor_need(kvl_cursor *c, uint64_t n_bytes);
/* The next n bytes (borrowed), or NULL. */
const uint8_t *kvl_cursor_take(kvl_cursor *c, uint64_t n_bytes);
uint32_t kvl_cursor_u32le(kvl_cursor *c);
uint64_t kvl_cursor_u64le(kvl_cursor *c);

#endif
