/* Bounded reads; "n <= size - pos", so that no n can wrap the comparison. */
#include "base/cursor.h"

bool kvl_cursor_need(kvl_cursor *c, uint64_t n_bytes) {
    if (c->failed || n_bytes > c->size - c->pos) {
        c->failed = true;
        return false;
    }
    return true;
}

const uint8_t *kvl_cursor_take(kvl_cursor *c, uint64_t n_bytes) {
    if (!kvl_cursor_need(c, n_bytes)) {
        return NULL;
    }
    const uint8_t *bytes = c->base + c->pos;
    c->pos += n_bytes;
    return bytes;
}

static uint64_t read_le(kvl_cursor *c, unsigned n_bytes) {
    const uint8_t *bytes = kvl_cursor_take(c, n_bytes);
    uint64_t value = 0;
    for (unsigned i = 0; bytes != NULL && i < n_bytes; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint32_t kvl_cursor_u32le(kvl_cursor *c) { return (uint32_t)read_le(c, 4); }
uint64_t kvl_cursor_u64le(kvl_cursor *c) { return read_le(c, 8); }
