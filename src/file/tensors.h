/* A directory of tensors from one or several safetensors files, or from a GGUF file: names, types, shapes,
 * and where the bytes are.
 *
 * Opening reads headers only and checks the whole layout against the real file sizes (no overlap, no hole,
 * no byte too many). Values are read one tensor at a time, widened to f32 and scanned for NaN and infinity.
 */
#ifndef KVL_FILE_TENSORS_H
#define KVL_FILE_TENSORS_H

#include "base/status.h"
#include "file/dtype.h"

enum { KVL_MAX_DIMS = 8 };

/* One entry; owned by the directory. */
typedef struct kvl_tensor {
    const char *name;
    kvl_dtype dtype;
    unsigned n_dims;
    uint64_t dims[KVL_MAX_DIMS]; /* slowest first */
    uint64_t n_items;
    uint64_t n_bytes;
    uint64_t offset; /* bytes from the start of its file */
    unsigned file;   /* which file of the directory */
} kvl_tensor;

typedef struct kvl_tensors kvl_tensors;

/* Opens every weight file of a checkpoint directory: model.safetensors, or the shards that
 * model.safetensors.index.json names (base names only; each tensor in the shard the index says).
 * Errors: E_MISSING when neither is there (naming .bin/.pt files if those are), and all of safetensors. */
kvl_status kvl_tensors_open_dir(kvl_tensors **out, const char *dir, kvl_err *err) KVL_MUST_USE;
/* Opens one safetensors file. */
kvl_status kvl_tensors_open_file(kvl_tensors **out, const char *path, kvl_err *err) KVL_MUST_USE;
struct kvl_gguf;
/* Opens a GGUF file, or all files of a split one given by its first (NAME-00001-of-000NN.gguf); *meta borrows
 * the header of the first, which has the metadata. Errors: all of kvl_gguf_parse; E_MISSING for a split file
 * whose other files are not there. */
kvl_status kvl_tensors_open_gguf(kvl_tensors **out, const struct kvl_gguf **meta, const char *path,
                                 kvl_err *err) KVL_MUST_USE;
void kvl_tensors_close(kvl_tensors *t);

size_t kvl_tensors_count(const kvl_tensors *t);
const kvl_tensor *kvl_tensors_at(const kvl_tensors *t, size_t i);
/* NULL when absent. */
const kvl_tensor *kvl_tensors_find(const kvl_tensors *t, const char *name);
/* Path of the file a tensor lives in; borrowed. */
const char *kvl_tensors_path(const kvl_tensors *t, const kvl_tensor *tensor);
/* FNV-1a over all headers: identity of the checkpoint's layout. */
uint64_t kvl_tensors_hash(const kvl_tensors *t);

/* Reads a tensor into dst [n_items] f32 (widened exactly; F64 rounded to nearest).
 * Errors: E_TYPE for integers, E_NONFINITE with name and index, E_IO. Never allocates more than 1 MiB. */
kvl_status kvl_tensors_read_f32(const kvl_tensors *t, const kvl_tensor *tensor, float *dst,
                                kvl_err *err) KVL_MUST_USE;
/* The same for values first .. first + n - 1 (multiples of the type's block; n = 0 checks the type
 * only). Threads may read at once. raw: NULL, or gets the bytes as they are stored. */
kvl_status kvl_tensors_read_part(const kvl_tensors *t, const kvl_tensor *tensor, uint64_t first, uint64_t n,
                                 float *dst, uint8_t *raw, kvl_err *err) KVL_MUST_USE;

#endif
