/* Statistics of a model as a file: four tensors in f32, and where they come from as text. */
#include "cache/calibration.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/os.h"
#include "file/tensors.h"
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull; /* for %llx */

static const char format_name[] = "kvlab calibration 1";

/* The tensors, in the order of the file; names of the first two as kvpress has them. */
enum { n_parts = 4 };
typedef struct part {
    const char *name;
    float *data;
    unsigned n_dims;
    size_t dims[4];
    size_t n; /* numbers */
} part;

static void list_parts(const kvl_calibration *c, part parts[n_parts]) {
    const size_t dim = c->head_dim;
    const part list[n_parts] = {
        {"query_mean", c->means, 3, {c->n_layers, c->n_heads, dim}, 0},
        {"query_cov", c->covariances, 4, {c->n_layers, c->n_heads, dim, dim}, 0},
        {"query_filter", c->filters, 3, {c->n_layers, c->n_kv_heads, dim}, 0},
        {"head_score", c->head_scores, 2, {c->n_layers, c->n_kv_heads}, 0},
    };
    for (size_t i = 0; i < n_parts; i++) {
        parts[i] = list[i];
        parts[i].n = 1;
        for (unsigned d = 0; d < parts[i].n_dims; d++) {
            parts[i].n *= parts[i].dims[d];
        }
    }
}

kvl_status kvl_calibration_create(kvl_calibration **out, const kvl_model *model, kvl_err *err) {
    const kvl_shape *s = &model->shape;
    part parts[n_parts];
    kvl_calibration *c = kvl_calloc(1, sizeof *c);
    *out = c;
    if (c == NULL) {
        return kvl_fail_nomem(err, "statistics");
    }
    c->n_layers = s->n_layers;
    c->n_heads = s->n_heads;
    c->n_kv_heads = s->n_kv_heads;
    c->head_dim = s->head_dim;
    c->model_hash = model->hash;
    c->layout_hash = model->layout_hash;
    list_parts(c, parts);
    float **to[n_parts] = {&c->means, &c->covariances, &c->filters, &c->head_scores};
    c->ranks = kvl_calloc(parts[3].n, sizeof *c->ranks);
    bool has_all = c->ranks != NULL;
    for (size_t i = 0; i < n_parts; i++) {
        *to[i] = kvl_calloc(parts[i].n, sizeof(float));
        has_all = has_all && *to[i] != NULL;
    }
    if (!has_all) {
        kvl_calibration_destroy(c);
        *out = NULL;
        return kvl_fail_nomem(err, "statistics");
    }
    return KVL_OK;
}

void kvl_calibration_destroy(kvl_calibration *c) {
    if (c != NULL) {
        kvl_free(c->means);
        kvl_free(c->covariances);
        kvl_free(c->filters);
        kvl_free(c->head_scores);
        kvl_free(c->ranks);
        kvl_str_free(&c->texts);
        kvl_free(c);
    }
}

static uint64_t hash_of(const kvl_calibration *c) {
    part parts[n_parts];
    uint64_t h = kvl_hash_bytes(KVL_HASH_INIT, &c->model_hash, sizeof c->model_hash);
    h = kvl_hash_bytes(h, &c->layout_hash, sizeof c->layout_hash);
    list_parts(c, parts);
    for (size_t i = 0; i < n_parts; i++) {
        h = kvl_hash_bytes(h, parts[i].data, parts[i].n * sizeof(float));
    }
    return h;
}

void kvl_calibration_seal(kvl_calibration *c) {
    const size_t n = (size_t)c->n_layers * c->n_kv_heads;
    for (size_t i = 0; i < n; i++) {
        c->ranks[i] = 0;
        for (size_t j = 0; j < n; j++) {
            const float a = c->head_scores[j];
            const float b = c->head_scores[i];
            c->ranks[i] += a < b || (a == b && j < i);
        }
    }
    c->hash = hash_of(c);
}

/* ---- writing ---- */

static json_t *describe_part(const part *p, size_t *offset) {
    json_t *dims = json_array();
    for (unsigned d = 0; d < p->n_dims; d++) {
        json_array_append_new(dims, json_integer((json_int_t)p->dims[d]));
    }
    const size_t first = *offset;
    *offset += p->n * sizeof(float);
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", dims, "data_offsets", (json_int_t)first,
                     (json_int_t)*offset);
}

static json_t *describe(const kvl_calibration *c, const part parts[n_parts]) {
    char model[20], layout[20], own[20], tokens[24];
    size_t offset = 0;
    snprintf(model, sizeof model, "%016llx", (ull)c->model_hash);
    snprintf(layout, sizeof layout, "%016llx", (ull)c->layout_hash);
    snprintf(own, sizeof own, "%016llx", (ull)c->hash);
    snprintf(tokens, sizeof tokens, "%llu", (ull)c->n_tokens);
    json_t *o = json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:s}}", "__metadata__", "format", format_name,
                          "model_hash", model, "layout_hash", layout, "hash", own, "tokens", tokens, "texts",
                          kvl_str_text(&c->texts));
    for (size_t i = 0; o != NULL && i < n_parts; i++) {
        json_object_set_new(o, parts[i].name, describe_part(&parts[i], &offset));
    }
    return o;
}

kvl_status kvl_calibration_save(const kvl_calibration *c, const char *path, kvl_err *err) {
    part parts[n_parts];
    kvl_str header = {0};
    kvl_str bytes = {.max_len = SIZE_MAX / 2};
    kvl_status status = KVL_OK;
    list_parts(c, parts);
    KVL_GO(kvl_json_write(&header, describe(c, parts), false, err));
    while (header.len % 8 != 0) { /* tensors begin at multiples of 8 */
        kvl_str_puts(&header, " ");
    }
    const uint64_t n_header = header.len;
    kvl_str_append(&bytes, (const char *)&n_header, sizeof n_header);
    kvl_str_append(&bytes, kvl_str_text(&header), header.len);
    for (size_t i = 0; i < n_parts; i++) {
        kvl_str_append(&bytes, (const char *)parts[i].data, parts[i].n * sizeof(float));
    }
    KVL_GO(kvl_str_check(&header, path, err));
    KVL_GO(kvl_str_check(&bytes, path, err));
    KVL_GO(kvl_file_save(path, bytes.data, bytes.len, err));
done:
    kvl_str_free(&header);
    kvl_str_free(&bytes);
    return status;
}

/* ---- reading ---- */

/* The header as JSON; the file is known to be safetensors. */
static kvl_status load_header(json_t **out, const char *path, kvl_err *err) {
    kvl_file file = {0};
    uint64_t n = 0;
    char *text = NULL;
    kvl_status status = KVL_OK;
    KVL_TRY(kvl_file_open(&file, path, err));
    KVL_GO(kvl_file_read(&file, 0, &n, sizeof n, err));
    text = n < file.n_bytes ? kvl_alloc(n, 1) : NULL;
    if (text == NULL) {
        KVL_GO(kvl_fail_nomem(err, path));
    }
    KVL_GO(kvl_file_read(&file, sizeof n, text, n, err));
    KVL_GO(kvl_json_parse(out, text, n, path, err));
done:
    kvl_free(text);
    kvl_file_close(&file);
    return status;
}

static kvl_status read_hash(uint64_t *out, const json_t *metadata, const char *key, const char *path,
                            kvl_err *err) {
    const char *text = json_string_value(json_object_get(metadata, key));
    char *end = NULL;
    *out = text != NULL ? strtoull(text, &end, 16) : 0;
    return text != NULL && strlen(text) == 16 && *end == '\0'
               ? KVL_OK
               : kvl_fail(err, KVL_E_CONFIG, "%s: %s: expected 16 hexadecimal digits, found '%.40s'", path,
                          key, text != NULL ? text : "");
}

static kvl_status read_metadata(kvl_calibration *c, const json_t *metadata, const kvl_model *model,
                                const char *path, kvl_err *err) {
    const char *format = json_string_value(json_object_get(metadata, "format"));
    const char *texts = json_string_value(json_object_get(metadata, "texts"));
    const char *tokens = json_string_value(json_object_get(metadata, "tokens"));
    if (format == NULL || strcmp(format, format_name) != 0) {
        return kvl_fail(err, KVL_E_CONFIG, "%s: expected statistics of format '%s', found '%.60s'", path,
                        format_name, format != NULL ? format : "");
    }
    KVL_TRY(read_hash(&c->model_hash, metadata, "model_hash", path, err));
    KVL_TRY(read_hash(&c->layout_hash, metadata, "layout_hash", path, err));
    KVL_TRY(read_hash(&c->hash, metadata, "hash", path, err));
    const bool is_open = model->output.segments[0].panels.data != NULL; /* else the contents are not known */
    const uint64_t expected = is_open ? model->hash : model->layout_hash;
    const uint64_t found = is_open ? c->model_hash : c->layout_hash;
    if (expected != found) {
        return kvl_fail(err, KVL_E_CONFIG,
                        "%s: expected statistics of the model %s (hash %016llx), found those of %016llx",
                        path, model->name, (ull)expected, (ull)found);
    }
    if (texts == NULL || tokens == NULL) {
        return kvl_fail(err, KVL_E_CONFIG, "%s: expected names and tokens of texts, found none", path);
    }
    c->n_tokens = strtoull(tokens, NULL, 10);
    kvl_str_puts(&c->texts, texts);
    return kvl_str_check(&c->texts, path, err);
}

static kvl_status read_part(const part *p, const kvl_tensors *tensors, const char *path, kvl_err *err) {
    const kvl_tensor *t = kvl_tensors_find(tensors, p->name);
    bool is_same = t != NULL && t->n_dims == p->n_dims;
    for (unsigned d = 0; is_same && d < p->n_dims; d++) {
        is_same = t->dims[d] == p->dims[d];
    }
    if (t == NULL || !is_same) {
        return kvl_fail(err, t == NULL ? KVL_E_MISSING : KVL_E_SHAPE,
                        "%s: %s: expected a tensor of %zu numbers in the model's shape, found %s", path,
                        p->name, p->n, t == NULL ? "none" : "another one");
    }
    return kvl_tensors_read_f32(tensors, t, p->data, err);
}

kvl_status kvl_calibration_load(kvl_calibration **out, const char *path, const kvl_model *model,
                                kvl_err *err) {
    kvl_tensors *tensors = NULL;
    kvl_calibration *c = NULL;
    json_t *header = NULL;
    part parts[n_parts];
    kvl_status status = KVL_OK;
    *out = NULL;
    KVL_GO(kvl_tensors_open_file(&tensors, path, err));
    KVL_GO(load_header(&header, path, err));
    KVL_GO(kvl_calibration_create(&c, model, err));
    KVL_GO(read_metadata(c, json_object_get(header, "__metadata__"), model, path, err));
    list_parts(c, parts);
    for (size_t i = 0; i < n_parts; i++) {
        KVL_GO(read_part(&parts[i], tensors, path, err));
    }
    const uint64_t noted = c->hash;
    kvl_calibration_seal(c);
    if (c->hash != noted) {
        KVL_GO(kvl_fail(err, KVL_E_CONFIG, "%s: expected contents of hash %016llx, found %016llx", path,
                        (ull)noted, (ull)c->hash));
    }
    *out = c;
    c = NULL;
done:
    kvl_calibration_destroy(c);
    kvl_tensors_close(tensors);
    json_decref(header);
    return status;
}
