/* What gguf.c and gguf_tensors.c share: the header while it is being read. */
#ifndef KVL_FILE_GGUF_INT_H
#define KVL_FILE_GGUF_INT_H

#include "base/str.h"
#include "file/gguf.h"
#include "file/header_scan.h"

enum {
    KVLI_GGUF_MAX_COUNT = 65536, /* metadata entries, tensors */
    KVLI_GGUF_MAX_KEY = 65535,
    KVLI_GGUF_MAX_NAME = 64,
    KVLI_GGUF_MAX_DIMS = 4,
    KVLI_GGUF_MAX_TEXT = 64 << 20,
    KVLI_GGUF_MAX_ARRAY = 1 << 26,
    KVLI_GGUF_MAX_ALIGN = 65536,
};

struct kvl_gguf {
    char *name;
    uint8_t *head; /* copy of the header: what values point into */
    kvl_gguf_value *values;
    size_t n_values;
    const kvl_gguf_value **by_key; /* sorted */
    kvl_str keys;                  /* NUL-terminated, one after another */
    kvl_tensor *tensors;
    size_t n_tensors;
    kvl_str tensor_names;
    unsigned version;
    uint64_t alignment;
    uint64_t hash;
};

typedef struct kvli_gguf_reader {
    kvl_gguf *g;
    kvl_cursor cursor; /* over the bytes at hand; position = byte of the file */
    uint64_t file_bytes;
    bool *wants_more;
    kvl_err *err;
} kvli_gguf_reader;

/* n more bytes must follow: E_TRUNC when the file ends before; when only the bytes at hand do, *wants_more is
 * set too. `what` and `name` say what is being read. */
kvl_status kvli_gguf_need(kvli_gguf_reader *r, uint64_t n, const char *what, const char *name) KVL_MUST_USE;
/* A count that must fit the rest of the file at min_bytes each: E_COUNT; E_LIMIT above limit. */
kvl_status kvli_gguf_count(kvli_gguf_reader *r, uint64_t *out, uint64_t min_bytes, uint64_t limit,
                           const char *what, const char *name) KVL_MUST_USE;
/* n_tensors entries, then the whole layout. The cursor stands behind the metadata. */
kvl_status kvli_gguf_read_tensors(kvli_gguf_reader *r, uint64_t n_tensors) KVL_MUST_USE;

#endif
