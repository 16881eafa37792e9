/* The tensor directory of a GGUF file and its layout: tensors follow each other in the order of their infos,
 * each padded to the alignment, from the aligned end of the header to the end of the file. */
#include "file/gguf_int.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

static const char *name_at(const kvli_gguf_reader *r, size_t at) { return r->g->tensor_names.data + at; }

static kvl_status read_name(kvli_gguf_reader *r, size_t *at) {
    KVL_TRY(kvli_gguf_need(r, 8, "length of a tensor's name", ""));
    uint64_t n = kvl_cursor_u64le(&r->cursor);
    KVL_TRY(kvli_gguf_need(r, n, "a tensor's name", ""));
    const uint8_t *bytes = kvl_cursor_take(&r->cursor, n);
    bool has_nul = n != 0 && memchr(bytes, 0, (size_t)n) != NULL;
    if (n == 0 || n > KVLI_GGUF_MAX_NAME || has_nul) {
        return kvl_fail(r->err, KVL_E_NAME,
                        "%s: name of a tensor at byte %llu: expected 1 to %d bytes%s, found %llu", r->g->name,
                        (ull)(r->cursor.pos - n), (int)KVLI_GGUF_MAX_NAME, has_nul ? " without NUL" : "",
                        (ull)n);
    }
    *at = r->g->tensor_names.len;
    kvl_str_append(&r->g->tensor_names, (const char *)bytes, (size_t)n);
    kvl_str_append(&r->g->tensor_names, "", 1);
    return kvl_str_check(&r->g->tensor_names, "tensor names", r->err);
}

static kvl_status read_shape(kvli_gguf_reader *r, kvl_tensor *t, const char *name) {
    KVL_TRY(kvli_gguf_need(r, 4, "dimensions of", name));
    t->n_dims = kvl_cursor_u32le(&r->cursor);
    if (t->n_dims == 0 || t->n_dims > KVLI_GGUF_MAX_DIMS) {
        return kvl_fail(r->err, KVL_E_SHAPE, "%s: tensor '%.*s': expected 1 to %d dimensions, found %u",
                        r->g->name, (int)KVLI_NAME_CUT, name, (int)KVLI_GGUF_MAX_DIMS, t->n_dims);
    }
    KVL_TRY(kvli_gguf_need(r, 8 * (uint64_t)t->n_dims, "dimensions of", name));
    t->n_items = 1;
    for (unsigned i = 0; i < t->n_dims; i++) {
        uint64_t dim = kvl_cursor_u64le(&r->cursor); /* fastest first in the file */
        t->dims[t->n_dims - 1 - i] = dim;
        if (dim == 0 || dim > INT64_MAX) {
            return kvl_fail(r->err, KVL_E_SHAPE,
                            "%s: tensor '%.*s', dimension %u: expected 1 to 2^63 - 1, found %llu", r->g->name,
                            (int)KVLI_NAME_CUT, name, i, (ull)dim);
        }
        if (!kvl_mul_u64(t->n_items, dim, &t->n_items)) {
            return kvl_fail(r->err, KVL_E_OVERFLOW, "%s: tensor '%.*s': expected fewer than 2^64 values",
                            r->g->name, (int)KVLI_NAME_CUT, name);
        }
    }
    return KVL_OK;
}

static kvl_status read_dtype(kvli_gguf_reader *r, kvl_tensor *t, const char *name) {
    KVL_TRY(kvli_gguf_need(r, 4, "type of tensor", name));
    uint32_t number = kvl_cursor_u32le(&r->cursor);
    t->dtype = kvl_dtype_of_gguf(number);
    if (t->dtype == KVL_N_DTYPES) {
        const char *refused = kvl_dtype_refused_name(number);
        return kvl_fail(
            r->err, refused != NULL ? KVL_E_UNSUPPORTED : KVL_E_TYPE,
            "%s: tensor '%.*s', type: expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to "
            "Q6_K, IQ4_NL or IQ4_XS, found %u%s%s%s",
            r->g->name, (int)KVLI_NAME_CUT, name, number, refused != NULL ? " (" : "",
            refused != NULL ? refused : "", refused != NULL ? ")" : "");
    }
    uint64_t block_items = kvl_dtype_block_items(t->dtype);
    uint64_t row_items = t->dims[t->n_dims - 1];
    if (row_items % block_items != 0) {
        return kvl_fail(r->err, KVL_E_SHAPE,
                        "%s: tensor '%.*s': expected rows of a multiple of %llu values (%s), found %llu",
                        r->g->name, (int)KVLI_NAME_CUT, name, (ull)block_items, kvl_dtype_name(t->dtype),
                        (ull)row_items);
    }
    if (!kvl_mul_u64(t->n_items / block_items, kvl_dtype_block_bytes(t->dtype), &t->n_bytes)) {
        return kvl_fail(r->err, KVL_E_OVERFLOW, "%s: tensor '%.*s': expected fewer than 2^64 bytes",
                        r->g->name, (int)KVLI_NAME_CUT, name);
    }
    return KVL_OK;
}

static kvl_status read_info(kvli_gguf_reader *r, kvl_tensor *t, size_t *at) {
    KVL_TRY(read_name(r, at));
    KVL_TRY(read_shape(r, t, name_at(r, *at)));
    KVL_TRY(read_dtype(r, t, name_at(r, *at)));
    KVL_TRY(kvli_gguf_need(r, 8, "offset of", name_at(r, *at)));
    t->offset = kvl_cursor_u64le(&r->cursor);
    return KVL_OK;
}

static bool pad(uint64_t n, uint64_t alignment, uint64_t *out) {
    if (!kvl_add_u64(n, alignment - 1, out)) {
        return false;
    }
    *out -= *out % alignment;
    return true;
}

static kvl_status check_place(const kvli_gguf_reader *r, const kvl_tensor *t, uint64_t expected,
                              uint64_t data_bytes) {
    const char *file = r->g->name;
    if (t->offset % r->g->alignment != 0) {
        return kvl_fail(r->err, KVL_E_ALIGN,
                        "%s: tensor '%.*s', offset: expected a multiple of %llu, found %llu", file,
                        (int)KVLI_NAME_CUT, t->name, (ull)r->g->alignment, (ull)t->offset);
    }
    if (t->offset != expected) {
        kvl_status status = t->offset < expected      ? KVL_E_OVERLAP
                            : t->offset >= data_bytes ? KVL_E_OFFSET
                                                      : KVL_E_HOLE;
        return kvl_fail(r->err, status,
                        "%s: tensor '%.*s', offset: expected %llu (the end of the one before), found %llu",
                        file, (int)KVLI_NAME_CUT, t->name, (ull)expected, (ull)t->offset);
    }
    return KVL_OK;
}

static kvl_status check_layout(kvli_gguf_reader *r) {
    kvl_gguf *g = r->g;
    uint64_t start = 0;
    uint64_t end = 0; /* of the last tensor, padded, from start */
    if (!pad(r->cursor.pos, g->alignment, &start)) {
        return kvl_fail(r->err, KVL_E_OVERFLOW, "%s: expected a shorter header", g->name);
    }
    uint64_t data_bytes = start <= r->file_bytes ? r->file_bytes - start : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        kvl_tensor *t = &g->tensors[i];
        uint64_t last = 0;
        KVL_TRY(check_place(r, t, end, data_bytes));
        if (!kvl_add_u64(t->offset, t->n_bytes, &last) || !pad(last, g->alignment, &end)) {
            return kvl_fail(r->err, KVL_E_OVERFLOW, "%s: tensor '%.*s': expected an end below 2^64", g->name,
                            (int)KVLI_NAME_CUT, t->name);
        }
        if (last > data_bytes) {
            return kvl_fail(
                r->err, KVL_E_SIZE,
                "%s: tensor '%.*s' needs %llu bytes of data: expected a file of at least that, found %llu "
                "bytes in all",
                g->name, (int)KVLI_NAME_CUT, t->name, (ull)last, (ull)r->file_bytes);
        }
        t->offset += start;
    }
    if (g->n_tensors != 0 && data_bytes > end) {
        return kvl_fail(r->err, KVL_E_EXTRA,
                        "%s: behind the last tensor at byte %llu: expected the end, found %llu bytes",
                        g->name, (ull)(start + end), (ull)(data_bytes - end));
    }
    return KVL_OK;
}

static int compare_name(const void *a, const void *b) {
    const kvl_tensor *const *x = a;
    const kvl_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static kvl_status check_names(const kvli_gguf_reader *r) {
    const kvl_gguf *g = r->g;
    kvl_status status = KVL_OK;
    const kvl_tensor **sorted = kvl_calloc(g->n_tensors, sizeof *sorted);
    if (sorted == NULL) {
        return kvl_fail_nomem(r->err, "list of tensors");
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        sorted[i] = &g->tensors[i];
    }
    qsort(sorted, g->n_tensors, sizeof *sorted, compare_name);
    for (size_t i = 1; i < g->n_tensors && status == KVL_OK; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            status =
                kvl_fail(r->err, KVL_E_DUP, "%s: tensor '%.*s': expected it once, found it as %zu and %zu",
                         g->name, (int)KVLI_NAME_CUT, sorted[i]->name, (size_t)(sorted[i - 1] - g->tensors),
                         (size_t)(sorted[i] - g->tensors));
        }
    }
    kvl_free(sorted);
    return status;
}

kvl_status kvli_gguf_read_tensors(kvli_gguf_reader *r, uint64_t n_tensors) {
    kvl_gguf *g = r->g;
    size_t *at = kvl_calloc((size_t)n_tensors, sizeof *at);
    kvl_status status = KVL_OK;
    g->tensors = kvl_calloc((size_t)n_tensors, sizeof *g->tensors);
    if (at == NULL || g->tensors == NULL) {
        KVL_GO(kvl_fail_nomem(r->err, "list of tensors"));
    }
    for (size_t i = 0; i < n_tensors; i++) {
        KVL_GO(read_info(r, &g->tensors[i], &at[i]));
    }
    g->n_tensors = (size_t)n_tensors;
    for (size_t i = 0; i < n_tensors; i++) {
        g->tensors[i].name = name_at(r, at[i]);
    }
    KVL_GO(check_names(r));
    KVL_GO(check_layout(r));
done:
    kvl_free(at);
    return status;
}
