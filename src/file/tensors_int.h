/* What tensors.c and shards.c share: the directory while it is being built. */
#ifndef KVL_FILE_TENSORS_INT_H
#define KVL_FILE_TENSORS_INT_H

#include "base/os.h"
#include "file/gguf.h"
#include "file/tensors.h"

enum { KVLI_MAX_SHARDS = 512 }; /* each stays open: half of the usual limit of descriptors */

typedef struct kvli_shard {
    kvl_file file;
    char *name;          /* in the folder; for messages */
    kvl_tensor *entries; /* of kvl_safetensors_parse; owns the names */
    kvl_gguf *gguf;      /* of a GGUF file: owns the names instead */
    size_t n_entries;
} kvli_shard;

struct kvl_tensors {
    kvli_shard *shards;
    size_t n_shards;
    kvl_tensor *entries; /* of all shards, by file and offset; names borrowed from the shards */
    size_t n_entries;
    const kvl_tensor **by_name; /* sorted: lookup cannot be slowed down by chosen names */
    uint64_t hash;
};

/* Empty directory for n_shards shards. */
kvl_status kvli_tensors_create(kvl_tensors **out, size_t n_shards, kvl_err *err) KVL_MUST_USE;
/* Opens shard i from `path` and reads its header. */
kvl_status kvli_tensors_add(kvl_tensors *t, size_t i, const char *path, const char *name,
                            kvl_err *err) KVL_MUST_USE;
/* When all shards are added: one list, one order by name; E_DUP when a name is in two shards. */
kvl_status kvli_tensors_finish(kvl_tensors *t, kvl_err *err) KVL_MUST_USE;
/* The shards of dir/model.safetensors.index.json, each tensor where the index says. */
kvl_status kvli_tensors_open_index(kvl_tensors **out, const char *dir, const char *index_name,
                                   kvl_err *err) KVL_MUST_USE;

#endif
