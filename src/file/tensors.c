/* The directory of tensors. Chain: safetensors.c reads a header from memory; this file brings the bytes,
 * keeps the files open (so that names on disk may change afterwards), merges shards and reads values.
 * shards.c decides which files belong together. Files are read, never mapped: a file that is cut short later
 * gives E_IO instead of a signal. */
#include "file/tensors.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "file/folder.h"
#include "file/header_scan.h"
#include "file/safetensors.h"
#include "file/tensors_int.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20, N_FIRST = 512 };

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

kvl_status kvli_tensors_create(kvl_tensors **out, size_t n_shards, kvl_err *err) {
    kvl_tensors *t = kvl_calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL) {
        return kvl_fail_nomem(err, "directory of tensors");
    }
    t->shards = kvl_calloc(n_shards, sizeof *t->shards);
    if (t->shards == NULL) {
        kvl_free(t);
        return kvl_fail_nomem(err, "directory of tensors");
    }
    t->n_shards = n_shards;
    t->hash = KVL_HASH_INIT;
    *out = t;
    return KVL_OK;
}

static kvl_status read_header(kvl_tensors *t, kvli_shard *shard, kvl_err *err) {
    uint8_t first[N_FIRST];
    uint8_t *head = NULL;
    uint64_t end = 0;
    kvl_status status = KVL_OK;
    uint64_t n_first = shard->file.n_bytes < N_FIRST ? shard->file.n_bytes : N_FIRST;
    KVL_TRY(kvl_file_read(&shard->file, 0, first, n_first, err));
    KVL_TRY(kvl_safetensors_header_end(&end, first, n_first, shard->file.n_bytes, shard->file.path, err));
    head = kvl_calloc((size_t)end, 1);
    if (head == NULL) {
        return kvl_fail_nomem(err, "header of a weight file");
    }
    KVL_GO(kvl_file_read(&shard->file, 0, head, end, err));
    KVL_GO(kvl_safetensors_parse(&shard->entries, &shard->n_entries, head, end, shard->file.n_bytes,
                                 shard->file.path, err));
    t->hash = kvl_hash_bytes(t->hash, head, (size_t)end);
done:
    kvl_free(head);
    return status;
}

kvl_status kvli_tensors_add(kvl_tensors *t, size_t i, const char *path, const char *name, kvl_err *err) {
    kvli_shard *shard = &t->shards[i];
    shard->name = kvl_strdup(name);
    if (shard->name == NULL) {
        return kvl_fail_nomem(err, "name of a weight file");
    }
    KVL_TRY(kvl_file_open(&shard->file, path, err));
    return read_header(t, shard, err);
}

static int compare_name(const void *a, const void *b) {
    const kvl_tensor *const *x = a;
    const kvl_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static kvl_status check_duplicates(const kvl_tensors *t, kvl_err *err) {
    for (size_t i = 1; i < t->n_entries; i++) {
        const kvl_tensor *a = t->by_name[i - 1];
        const kvl_tensor *b = t->by_name[i];
        if (strcmp(a->name, b->name) == 0) {
            return kvl_fail(err, KVL_E_DUP,
                            "tensor '%.*s': expected it in one file, found it in '%.*s' and '%.*s'",
                            (int)KVLI_NAME_CUT, a->name, (int)KVLI_NAME_CUT, t->shards[a->file].name,
                            (int)KVLI_NAME_CUT, t->shards[b->file].name);
        }
    }
    return KVL_OK;
}

kvl_status kvli_tensors_finish(kvl_tensors *t, kvl_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_shards; i++) {
        n += t->shards[i].n_entries;
    }
    t->entries = kvl_calloc(n, sizeof *t->entries);
    t->by_name = kvl_calloc(n, sizeof *t->by_name);
    if (t->entries == NULL || t->by_name == NULL) {
        return kvl_fail_nomem(err, "directory of tensors");
    }
    for (size_t i = 0; i < t->n_shards; i++) {
        for (size_t j = 0; j < t->shards[i].n_entries; j++) {
            kvl_tensor *entry = &t->entries[t->n_entries];
            *entry = t->shards[i].entries[j];
            entry->file = (unsigned)i;
            t->by_name[t->n_entries++] = entry;
        }
    }
    qsort(t->by_name, n, sizeof *t->by_name, compare_name);
    return check_duplicates(t, err);
}

kvl_status kvl_tensors_open_file(kvl_tensors **out, const char *path, kvl_err *err) {
    kvl_tensors *t = NULL;
    const char *slash = strrchr(path, '/');
    kvl_status status = KVL_OK;
    *out = NULL;
    KVL_TRY(kvli_tensors_create(&t, 1, err));
    KVL_GO(kvli_tensors_add(t, 0, path, slash != NULL ? slash + 1 : path, err));
    KVL_GO(kvli_tensors_finish(t, err));
    *out = t;
    t = NULL;
done:
    kvl_tensors_close(t);
    return status;
}

static kvl_status fail_no_weights(const char *dir, kvl_err *err) {
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                         "model.pt",          "consolidated.00.pth",
                                         "tf_model.h5",       "model.gguf"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool is_there = false;
        KVL_TRY(kvli_folder_has(&is_there, dir, others[i], err));
        if (is_there) {
            return kvl_fail(err, KVL_E_MISSING,
                            "%s: expected %s or %s, found only %s: convert it to safetensors", dir,
                            single_name, index_name, others[i]);
        }
    }
    return kvl_fail(err, KVL_E_MISSING, "%s: expected %s or %s, found neither", dir, single_name, index_name);
}

kvl_status kvl_tensors_open_dir(kvl_tensors **out, const char *dir, kvl_err *err) {
    bool is_there = false;
    *out = NULL;
    KVL_TRY(kvli_folder_has(&is_there, dir, single_name, err));
    if (is_there) {
        kvl_str path = {0};
        kvl_status status = kvli_folder_path(&path, dir, single_name, err);
        if (status == KVL_OK) {
            status = kvl_tensors_open_file(out, kvl_str_text(&path), err);
        }
        kvl_str_free(&path);
        return status;
    }
    KVL_TRY(kvli_folder_has(&is_there, dir, index_name, err));
    if (is_there) {
        return kvli_tensors_open_index(out, dir, index_name, err);
    }
    return fail_no_weights(dir, err);
}

void kvl_tensors_close(kvl_tensors *t) {
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_shards; i++) {
        kvl_safetensors_free(t->shards[i].entries, t->shards[i].n_entries);
        kvl_gguf_close(t->shards[i].gguf);
        kvl_file_close(&t->shards[i].file);
        kvl_free(t->shards[i].name);
    }
    kvl_free(t->shards);
    kvl_free(t->entries);
    kvl_free(t->by_name);
    kvl_free(t);
}

size_t kvl_tensors_count(const kvl_tensors *t) { return t->n_entries; }
const kvl_tensor *kvl_tensors_at(const kvl_tensors *t, size_t i) { return &t->entries[i]; }
uint64_t kvl_tensors_hash(const kvl_tensors *t) { return t->hash; }

static int compare_with_name(const void *name, const void *entry) {
    const kvl_tensor *const *e = entry;
    return strcmp(name, (*e)->name);
}

const kvl_tensor *kvl_tensors_find(const kvl_tensors *t, const char *name) {
    const kvl_tensor **found = bsearch(name, t->by_name, t->n_entries, sizeof *t->by_name, compare_with_name);
    return found != NULL ? *found : NULL;
}

const char *kvl_tensors_path(const kvl_tensors *t, const kvl_tensor *tensor) {
    return t->shards[tensor->file].file.path;
}

/* x holds values first .. first + n - 1 of the tensor. */
static kvl_status check_finite(const kvl_file *file, const kvl_tensor *tensor, uint64_t first, const float *x,
                               size_t n, kvl_err *err) {
    uint32_t has_other = 0; /* in integers, which the compiler may reorder: vectors */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof bits);
        has_other |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    for (size_t i = 0; has_other != 0 && i < n; i++) {
        if (!isfinite(x[i])) {
            return kvl_fail(err, KVL_E_NONFINITE,
                            "%s: tensor '%.*s', index %llu: expected a finite value, found %s", file->path,
                            (int)KVLI_NAME_CUT, tensor->name, (unsigned long long)(first + i),
                            isnan(x[i]) ? "NaN" : "infinity");
        }
    }
    return KVL_OK;
}

kvl_status kvl_tensors_read_f32(const kvl_tensors *t, const kvl_tensor *tensor, float *dst, kvl_err *err) {
    return kvl_tensors_read_part(t, tensor, 0, tensor->n_items, dst, NULL, err);
}

kvl_status kvl_tensors_read_part(const kvl_tensors *t, const kvl_tensor *tensor, uint64_t first, uint64_t n,
                                 float *dst, uint8_t *raw, kvl_err *err) {
    const kvl_file *file = &t->shards[tensor->file].file;
    if (!kvl_dtype_is_real(tensor->dtype)) {
        return kvl_fail(err, KVL_E_TYPE,
                        "%s: tensor '%.*s', dtype: expected floats or quantised blocks, found %s", file->path,
                        (int)KVLI_NAME_CUT, tensor->name, kvl_dtype_name(tensor->dtype));
    }
    if (n == 0) {
        return KVL_OK;
    }
    uint64_t block_items = kvl_dtype_block_items(tensor->dtype);
    uint64_t block_bytes = kvl_dtype_block_bytes(tensor->dtype);
    uint64_t piece_items = PIECE_BYTES / block_bytes * block_items;
    piece_items = piece_items < n ? piece_items : n;
    uint8_t *piece = kvl_alloc((size_t)(piece_items / block_items), (size_t)block_bytes);
    if (piece == NULL) {
        return kvl_fail_nomem(err, "values of a tensor");
    }
    kvl_status status = KVL_OK;
    for (uint64_t done = 0; done < n && status == KVL_OK; done += piece_items) {
        size_t n_now = (size_t)(n - done < piece_items ? n - done : piece_items);
        uint64_t at = tensor->offset + (first + done) / block_items * block_bytes;
        status = kvl_file_read(file, at, piece, n_now / block_items * block_bytes, err);
        if (status == KVL_OK && raw != NULL) {
            memcpy(raw + done / block_items * block_bytes, piece, n_now / block_items * block_bytes);
        }
        if (status == KVL_OK) {
            kvl_dtype_widen(dst + done, piece, n_now, tensor->dtype);
            status = check_finite(file, tensor, first + done, dst + done, n_now, err);
        }
    }
    kvl_free(piece);
    return status;
}
