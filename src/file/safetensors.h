/* safetensors header: bytes -> entries. Needs no file, so that it can be fuzzed.
 *
 * Format: 8-byte little-endian header length, a JSON object {name: {dtype, shape, data_offsets}}, data.
 * Source: README and reference validator of huggingface/safetensors.
 */
#ifndef KVL_FILE_SAFETENSORS_H
#define KVL_FILE_SAFETENSORS_H

#include "file/tensors.h"

enum { KVL_SAFETENSORS_MAX_HEADER = 100000000, KVL_SAFETENSORS_MAX_TENSORS = 1 << 20 };

/* Parses a header. `head` holds the first head_bytes bytes of a file of file_bytes bytes; head_bytes must
 * reach to the end of the JSON header (kvl_safetensors_header_end). Entries are sorted by offset; *out and
 * the names in it are one owner: free with kvl_safetensors_free. `name` is for messages. Errors: every S-
 * case has its code; E_MAGIC names pickles, zip files, GGUF, HTML and Git-LFS pointers. */
kvl_status kvl_safetensors_parse(kvl_tensor **out, size_t *n_out, const uint8_t *head, uint64_t head_bytes,
                                 uint64_t file_bytes, const char *name, kvl_err *err) KVL_MUST_USE;
void kvl_safetensors_free(kvl_tensor *entries, size_t n);
/* From the first bytes of a file (as many as there are, up to 512) to the end of its header in bytes. */
kvl_status kvl_safetensors_header_end(uint64_t *out, const uint8_t *first, uint64_t n_first,
                                      uint64_t file_bytes, const char *name, kvl_err *err) KVL_MUST_USE;

#endif
