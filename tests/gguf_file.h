/* Building GGUF files byte by byte, so that a test can write any mistake. */
#ifndef KVL_TESTS_GGUF_FILE_H
#define KVL_TESTS_GGUF_FILE_H

#include "base/str.h"
#include "file/gguf.h"

#include <string.h>

static inline void put(kvl_str *s, uint64_t value, unsigned n_bytes) {
    for (unsigned i = 0; i < n_bytes; i++) {
        char byte = (char)(value >> (8 * i));
        kvl_str_append(s, &byte, 1);
    }
}

static inline void put_text(kvl_str *s, const char *text) {
    put(s, strlen(text), 8);
    kvl_str_puts(s, text);
}

static inline void put_head(kvl_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_entries) {
    kvl_str_puts(s, "GGUF");
    put(s, version, 4);
    put(s, n_tensors, 8);
    put(s, n_entries, 8);
}

static inline void put_u32(kvl_str *s, const char *key, uint32_t value) {
    put_text(s, key);
    put(s, KVL_GGUF_U32, 4);
    put(s, value, 4);
}

static inline void put_string(kvl_str *s, const char *key, const char *text) {
    put_text(s, key);
    put(s, KVL_GGUF_STRING, 4);
    put_text(s, text);
}

static inline void put_info(kvl_str *s, const char *name, unsigned n_dims, const uint64_t *dims,
                            uint32_t type, uint64_t offset) {
    put_text(s, name);
    put(s, n_dims, 4);
    for (unsigned i = 0; i < n_dims && i < 16; i++) {
        put(s, dims[i], 8);
    }
    put(s, type, 4);
    put(s, offset, 8);
}

static inline void put_data(kvl_str *s, size_t n_bytes) {
    while (s->len % 32 != 0) {
        put(s, 0, 1);
    }
    for (size_t i = 0; i < n_bytes; i++) {
        put(s, 1, 1);
    }
}

#endif
