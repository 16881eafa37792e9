/* GGUF files as a directory of tensors: one file, or the files NAME-00001-of-000NN.gguf ... of a split one.
 * Source of the split: llama.cpp's llama_split_path; `split.count` in the metadata must agree. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "file/gguf.h"
#include "file/tensors_int.h"

#include <string.h>

enum { SPLIT_SUFFIX = 20 }; /* "-00001-of-00003.gguf" */

static bool read_digits(const char *text, unsigned *out) {
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *out = *out * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

/* Number of this file and of all, from the name; 1 of 1 for a file that is not split. */
static void read_split(const char *path, unsigned *index, unsigned *count) {
    size_t n = strlen(path);
    const char *suffix = n >= SPLIT_SUFFIX ? path + n - SPLIT_SUFFIX : "";
    bool is_split = *suffix == '-' && read_digits(suffix + 1, index) && memcmp(suffix + 6, "-of-", 4) == 0 &&
                    read_digits(suffix + 10, count) && strcmp(suffix + 15, ".gguf") == 0;
    if (!is_split) {
        *index = 1;
        *count = 1;
    }
}

static kvl_status add_file(kvl_tensors *t, unsigned i, const char *path, kvl_err *err) {
    kvli_shard *shard = &t->shards[i];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    shard->name = kvl_strdup(name);
    if (shard->name == NULL) {
        return kvl_fail_nomem(err, "name of a weight file");
    }
    if (i != 0 && !kvl_file_exists(path)) {
        return kvl_fail(err, KVL_E_MISSING, "%s: expected file %u of %zu of a split model, found none", path,
                        i + 1, t->n_shards);
    }
    KVL_TRY(kvl_file_open(&shard->file, path, err));
    KVL_TRY(kvl_gguf_read(&shard->gguf, &shard->file, err));
    shard->n_entries = kvl_gguf_n_tensors(shard->gguf);
    shard->entries = kvl_calloc(shard->n_entries, sizeof *shard->entries);
    if (shard->entries == NULL) {
        return kvl_fail_nomem(err, "list of tensors");
    }
    for (size_t k = 0; k < shard->n_entries; k++) {
        shard->entries[k] = *kvl_gguf_tensor(shard->gguf, k);
    }
    uint64_t hash = kvl_gguf_hash(shard->gguf);
    t->hash = kvl_hash_bytes(t->hash, &hash, sizeof hash);
    return KVL_OK;
}

static kvl_status check_count(const kvl_tensors *t, kvl_err *err) {
    int64_t count = (int64_t)t->n_shards;
    int64_t n_tensors = (int64_t)t->n_entries;
    const kvl_gguf *first = t->shards[0].gguf;
    KVL_TRY(kvl_gguf_int(first, "split.count", &count, err));
    KVL_TRY(kvl_gguf_int(first, "split.tensors.count", &n_tensors, err));
    if (count > 1 && (uint64_t)count != t->n_shards) {
        return kvl_fail(
            err, KVL_E_MISSING,
            "%s: split.count: expected %zu as in the file's name, found %lld (keep the names that the "
            "files were published under)",
            kvl_gguf_name(first), t->n_shards, (long long)count);
    }
    if ((uint64_t)n_tensors != t->n_entries) {
        return kvl_fail(err, KVL_E_MISSING, "%s: split.tensors.count: expected %lld tensors, found %zu",
                        kvl_gguf_name(first), (long long)n_tensors, t->n_entries);
    }
    return KVL_OK;
}

kvl_status kvl_tensors_open_gguf(kvl_tensors **out, const kvl_gguf **meta, const char *path, kvl_err *err) {
    unsigned index = 1;
    unsigned count = 1;
    kvl_tensors *t = NULL;
    kvl_str name = {0};
    kvl_status status = KVL_OK;
    *out = NULL;
    read_split(path, &index, &count);
    if (index != 1 || count == 0 || count > KVLI_MAX_SHARDS) {
        return kvl_fail(err, KVL_E_MISSING,
                        "%s: expected the first file of a split model (-00001-of-...), found file %u of %u",
                        path, index, count);
    }
    KVL_TRY(kvli_tensors_create(&t, count, err));
    KVL_GO(add_file(t, 0, path, err));
    for (unsigned i = 1; i < count; i++) {
        kvl_str_clear(&name);
        kvl_str_append(&name, path, strlen(path) - SPLIT_SUFFIX);
        kvl_str_printf(&name, "-%05u-of-%05u.gguf", i + 1, count);
        KVL_GO(kvl_str_check(&name, "name of a weight file", err));
        KVL_GO(add_file(t, i, kvl_str_text(&name), err));
    }
    KVL_GO(kvli_tensors_finish(t, err));
    KVL_GO(check_count(t, err));
    *meta = t->shards[0].gguf;
    *out = t;
    t = NULL;
done:
    kvl_str_free(&name);
    kvl_tensors_close(t);
    return status;
}
