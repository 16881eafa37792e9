/* GGUF headers: metadata and tensor directory, parsed from memory.
 *
 * Source: ggml-org/ggml docs/gguf.md (versions 2 and 3, little-endian). Everything is checked against the
 * real file size before any weight is read: counts, types, shapes, offsets, no overlap, no hole. The parsed
 * object owns a copy of the header; texts and arrays are read in place.
 */
#ifndef KVL_FILE_GGUF_H
#define KVL_FILE_GGUF_H

#include "base/cursor.h"
#include "base/os.h"
#include "file/tensors.h"

/* Types of metadata values, as numbered in the file. */
typedef enum kvl_gguf_type {
    KVL_GGUF_U8,
    KVL_GGUF_I8,
    KVL_GGUF_U16,
    KVL_GGUF_I16,
    KVL_GGUF_U32,
    KVL_GGUF_I32,
    KVL_GGUF_F32,
    KVL_GGUF_BOOL,
    KVL_GGUF_STRING,
    KVL_GGUF_ARRAY,
    KVL_GGUF_U64,
    KVL_GGUF_I64,
    KVL_GGUF_F64,
    KVL_GGUF_N_TYPES
} kvl_gguf_type;

/* One metadata entry; owned by the header. */
typedef struct kvl_gguf_value {
    const char *key;
    kvl_gguf_type type; /* of the value, or of each element of an array; never KVL_GGUF_ARRAY */
    bool is_array;
    uint64_t n;           /* elements; 1 for a plain value */
    const uint8_t *bytes; /* first element, unaligned; strings: u64 length, then bytes, one after another */
    uint64_t n_bytes;     /* of all elements */
} kvl_gguf_value;

typedef struct kvl_gguf kvl_gguf;

/* Parses the first n_bytes of a file of file_bytes. When the header goes on behind n_bytes (and the file
 * does too), returns KVL_E_TRUNC with *wants_more set: read more and parse again. `name` is for messages and
 * is copied. Errors: E_MAGIC, E_VERSION, E_ENDIAN, E_COUNT, E_TRUNC, E_KEY, E_NAME, E_DUP, E_TYPE, E_ALIGN,
 * E_SHAPE, E_OVERFLOW, E_OFFSET, E_OVERLAP, E_HOLE, E_SIZE, E_EXTRA, E_LIMIT, E_UNSUPPORTED. */
kvl_status kvl_gguf_parse(kvl_gguf **out, const uint8_t *bytes, uint64_t n_bytes, uint64_t file_bytes,
                          const char *name, bool *wants_more, kvl_err *err) KVL_MUST_USE;
/* The header of an open file; reads no further than it must. */
kvl_status kvl_gguf_read(kvl_gguf **out, const kvl_file *file, kvl_err *err) KVL_MUST_USE;
void kvl_gguf_close(kvl_gguf *g);

const char *kvl_gguf_name(const kvl_gguf *g); /* the file, for messages */
unsigned kvl_gguf_version(const kvl_gguf *g);
uint64_t kvl_gguf_hash(const kvl_gguf *g); /* FNV-1a of the header */
size_t kvl_gguf_count(const kvl_gguf *g);
const kvl_gguf_value *kvl_gguf_at(const kvl_gguf *g, size_t i);
/* NULL when absent. */
const kvl_gguf_value *kvl_gguf_find(const kvl_gguf *g, const char *key);

/* Typed reads of a plain value: absent leaves *out and returns KVL_OK; another type is E_TYPE naming the key.
 * Integers of every width and sign are accepted by _int (E_CONFIG beyond int64); F32 and F64 by _real. */
kvl_status kvl_gguf_int(const kvl_gguf *g, const char *key, int64_t *out, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_gguf_real(const kvl_gguf *g, const char *key, double *out, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_gguf_bool(const kvl_gguf *g, const char *key, bool *out, kvl_err *err) KVL_MUST_USE;
/* Borrowed, not NUL-terminated. */
kvl_status kvl_gguf_text(const kvl_gguf *g, const char *key, const char **out, size_t *n,
                         kvl_err *err) KVL_MUST_USE;
/* An array whose elements have that type; absent leaves *out. E_TYPE otherwise. */
kvl_status kvl_gguf_array(const kvl_gguf *g, const char *key, kvl_gguf_type type, const kvl_gguf_value **out,
                          kvl_err *err) KVL_MUST_USE;

/* Element i of an array of that plain type (unaligned, little-endian). i < n. */
float kvl_gguf_f32_at(const kvl_gguf_value *v, uint64_t i);
int64_t kvl_gguf_int_at(const kvl_gguf_value *v, uint64_t i);
/* Walks the strings of an array: open with kvl_cursor_open(v->bytes, v->n_bytes). The parser has checked the
 * lengths, so that v->n calls cannot fail. */
const char *kvl_gguf_next_text(kvl_cursor *c, size_t *n);

/* The tensor directory, in the order of the file; `file` is 0. Owned by the header. */
size_t kvl_gguf_n_tensors(const kvl_gguf *g);
const kvl_tensor *kvl_gguf_tensor(const kvl_gguf *g, size_t i);

#endif
