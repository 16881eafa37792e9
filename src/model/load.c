/* Tensors one at a time: read and widen one, pack it, free it; so the peak is the packed model and one
 * matrix. Sizes come from the config, but a tensor is allocated only when the file has exactly that many
 * values. */
#include "model/load.h"

#include "base/alloc.h"
#include "base/str.h"
#include "kernel/kernel.h"

#include <stdio.h>
#include <string.h>

enum { NAME_CUT = 80, SHAPE_TEXT = 256 };

static void print_shape(char text[SHAPE_TEXT], const uint64_t *dims, unsigned n_dims) {
    size_t n = 0;
    text[n++] = '[';
    for (unsigned i = 0; i < n_dims; i++) { /* at most 8 numbers of 20 digits: fits */
        n += (size_t)snprintf(text + n, SHAPE_TEXT - n, "%s%llu", i != 0 ? ", " : "",
                              (unsigned long long)dims[i]);
    }
    snprintf(text + n, SHAPE_TEXT - n, "]");
}

kvl_status kvli_load_find(const kvl_tensor **out, const kvl_tensors *tensors, const char *name,
                          uint64_t n_rows, uint64_t n_cols, kvl_err *err) {
    const uint64_t dims[2] = {n_rows, n_cols};
    const unsigned n_dims = n_cols != 0 ? 2 : 1;
    const kvl_tensor *tensor = kvl_tensors_find(tensors, name);
    if (tensor == NULL) {
        const char *file =
            kvl_tensors_count(tensors) != 0 ? kvl_tensors_path(tensors, kvl_tensors_at(tensors, 0)) : "";
        return kvl_fail(err, KVL_E_MISSING, "%s: expected tensor '%.*s', found none", file, (int)NAME_CUT,
                        name);
    }
    if (tensor->n_dims != n_dims || memcmp(tensor->dims, dims, n_dims * sizeof dims[0]) != 0) {
        char expected[SHAPE_TEXT];
        char found[SHAPE_TEXT];
        print_shape(expected, dims, n_dims);
        print_shape(found, tensor->dims, tensor->n_dims);
        return kvl_fail(err, KVL_E_SHAPE, "%s: tensor '%.*s': expected %s, found %s",
                        kvl_tensors_path(tensors, tensor), (int)NAME_CUT, name, expected, found);
    }
    *out = tensor;
    return KVL_OK;
}

/* Hash by 8-byte words: bytewise FNV-1a would take longer than reading the file. The shift brings high bits
 * down, which multiplication alone does not. */
static uint64_t hash_floats(uint64_t h, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        uint64_t word = 0;
        memcpy(&word, x + i, (n - i < 2 ? n - i : 2) * sizeof *x);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

static float *new_floats(kvl_model *m, size_t n) {
    float *block = kvl_calloc(n, sizeof *block);
    if (block != NULL) {
        m->weight_bytes += (uint64_t)n * sizeof *block;
    }
    return block;
}

/* A block that will not stay. */
static void drop_floats(kvl_model *m, float *block, size_t n) {
    if (block != NULL) {
        m->weight_bytes -= (uint64_t)n * sizeof *block;
    }
    kvl_free(block);
}

static kvl_status reorder(float **values, kvl_model *m, size_t n_rows, size_t row_items, kvli_row_fn *row_of,
                          kvl_err *err) {
    float *used = new_floats(m, n_rows * row_items);
    if (used == NULL) {
        return kvl_fail_nomem(err, "weights");
    }
    for (size_t row = 0; row < n_rows; row++) {
        memcpy(used + row_of(&m->shape, row) * row_items, *values + row * row_items,
               row_items * sizeof *used);
    }
    drop_floats(m, *values, n_rows * row_items);
    *values = used;
    return KVL_OK;
}

kvl_status kvli_load_values(float **out, kvl_model *m, const kvl_tensors *tensors, const char *name,
                            uint64_t n_rows, uint64_t n_cols, kvli_row_fn *row_of, kvl_err *err) {
    const kvl_tensor *tensor = NULL;
    *out = NULL;
    KVL_TRY(kvli_load_find(&tensor, tensors, name, n_rows, n_cols, err));
    size_t n = (size_t)tensor->n_items;
    float *values = new_floats(m, n);
    if (values == NULL) {
        return kvl_fail_nomem(err, "weights");
    }
    kvl_status status = KVL_OK;
    KVL_GO(kvl_tensors_read_f32(tensors, tensor, values, err));
    m->hash = hash_floats(m->hash, values, n);
    m->n_params += n;
    if (row_of != NULL) {
        KVL_GO(reorder(&values, m, (size_t)n_rows, n / (size_t)n_rows, row_of, err));
    }
    *out = values;
    values = NULL;
done:
    drop_floats(m, values, n);
    return status;
}

kvl_status kvli_load_pack(kvl_linear *out, kvl_model *m, const float *rows, uint32_t n_in, uint32_t n_out,
                          kvl_err *err) {
    out->n_in = n_in;
    out->n_out = n_out;
    out->panels = new_floats(m, kvl_panels_size(n_in, n_out));
    if (out->panels == NULL) {
        return kvl_fail_nomem(err, "packed weights");
    }
    kvl_pack_panels(out->panels, rows, n_in, n_out);
    return KVL_OK;
}

kvl_status kvli_load_linear(kvl_linear *out, kvl_model *m, const kvl_tensors *tensors, const char *prefix,
                            uint32_t n_in, uint32_t n_out, bool has_bias, kvli_row_fn *row_of, kvl_err *err) {
    kvl_str name = {0};
    float *rows = NULL;
    kvl_status status = KVL_OK;
    kvl_str_printf(&name, "%s.weight", prefix);
    KVL_GO(kvl_str_check(&name, prefix, err));
    KVL_GO(kvli_load_values(&rows, m, tensors, kvl_str_text(&name), n_out, n_in, row_of, err));
    KVL_GO(kvli_load_pack(out, m, rows, n_in, n_out, err));
    if (has_bias) {
        kvl_str_clear(&name);
        kvl_str_printf(&name, "%s.bias", prefix);
        KVL_GO(kvl_str_check(&name, prefix, err));
        KVL_GO(kvli_load_values(&out->bias, m, tensors, kvl_str_text(&name), n_out, 0, row_of, err));
    }
done:
    drop_floats(m, rows, (size_t)n_in * n_out);
    kvl_str_free(&name);
    return status;
}

kvl_status kvli_load_norm(kvl_norm *out, kvl_model *m, const kvl_tensors *tensors, const char *prefix,
                          uint32_t width, kvl_err *err) {
    kvl_str name = {0};
    kvl_status status = KVL_OK;
    kvl_str_printf(&name, "%s.weight", prefix);
    KVL_GO(kvl_str_check(&name, prefix, err));
    KVL_GO(kvli_load_values(&out->gain, m, tensors, kvl_str_text(&name), width, 0, NULL, err));
    kvl_str_clear(&name);
    kvl_str_printf(&name, "%s.bias", prefix);
    KVL_GO(kvl_str_check(&name, prefix, err));
    KVL_GO(kvli_load_values(&out->shift, m, tensors, kvl_str_text(&name), width, 0, NULL, err));
done:
    kvl_str_free(&name);
    return status;
}
