/* Opening and closing a model. Chain: config.json -> kvl_config (config.c) -> tensor directory (file/) -> the
 * family's binder (arch_*.c) -> kvl_model. The tokenizer is not read here: it is text's. Files are closed
 * when the weights are in memory. */
#include "model/model.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/str.h"
#include "file/folder.h"
#include "file/tensors.h"
#include "model/arch.h"
#include "model/config.h"

#include <stdio.h>
#include <string.h>

static kvl_status read_config(kvl_config *out, kvl_model *m, kvl_err *err) {
    kvl_str path = {0};
    char *text = NULL;
    size_t n = 0;
    kvl_status status = KVL_OK;
    KVL_GO(kvli_folder_path(&path, m->dir, "config.json", err));
    KVL_GO(kvl_file_load(&text, &n, kvl_str_text(&path), KVLI_CONFIG_MAX_BYTES, err));
    KVL_GO(kvli_config_parse(out, text, n, kvl_str_text(&path), err));
    m->hash = kvl_hash_bytes(KVL_HASH_INIT, text, n);
done:
    kvl_free(text);
    kvl_str_free(&path);
    return status;
}

static void note_dtype(kvl_model *m, const kvl_tensors *tensors) {
    for (size_t i = 0; i < kvl_tensors_count(tensors); i++) {
        const kvl_tensor *t = kvl_tensors_at(tensors, i);
        if (t->n_dims == 2) {
            snprintf(m->stored_dtype, sizeof m->stored_dtype, "%s", kvl_dtype_name(t->dtype));
            return;
        }
    }
}

/* dir without slashes at its end, and its last part. */
static kvl_status set_names(kvl_model *m, const char *dir, kvl_err *err) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') {
        n--;
    }
    size_t start = n;
    while (start > 0 && dir[start - 1] != '/') {
        start--;
    }
    m->dir = kvl_strndup(dir, n);
    m->name = kvl_strndup(dir + start, n - start);
    return m->dir != NULL && m->name != NULL ? KVL_OK : kvl_fail_nomem(err, "name of a model");
}

static kvl_status fill(kvl_model *m, const char *dir, kvl_err *err) {
    kvl_config config;
    kvl_tensors *tensors = NULL;
    KVL_TRY(set_names(m, dir, err));
    KVL_TRY(read_config(&config, m, err));
    m->shape = config.shape;
    m->arch = config.arch->model_type;
    KVL_TRY(kvl_tensors_open_dir(&tensors, m->dir, err));
    kvl_status status = KVL_OK;
    uint64_t layout = kvl_tensors_hash(tensors);
    m->hash = kvl_hash_bytes(m->hash, &layout, sizeof layout);
    note_dtype(m, tensors);
    m->layers = kvl_calloc(m->shape.n_layers, sizeof *m->layers);
    if (m->layers == NULL) {
        status = kvl_fail_nomem(err, "layers of a model");
        goto done;
    }
    status = config.arch->bind(m, &config, tensors, err);
done:
    kvl_tensors_close(tensors);
    return status;
}

kvl_status kvl_model_open(kvl_model **out, const char *dir, kvl_err *err) {
    *out = NULL;
    kvl_model *m = kvl_calloc(1, sizeof *m);
    if (m == NULL) {
        return kvl_fail_nomem(err, "model");
    }
    kvl_status status = fill(m, dir, err);
    if (status != KVL_OK) {
        kvl_model_close(m);
        return status;
    }
    *out = m;
    return KVL_OK;
}

static void free_linear(kvl_linear *l) {
    kvl_free(l->panels);
    kvl_free(l->bias);
}

static void free_norm(kvl_norm *n) {
    kvl_free(n->gain);
    kvl_free(n->shift);
}

void kvl_model_close(kvl_model *m) {
    if (m == NULL) {
        return;
    }
    for (uint32_t i = 0; m->layers != NULL && i < m->shape.n_layers; i++) {
        kvl_layer *layer = &m->layers[i];
        free_norm(&layer->attn_norm);
        free_norm(&layer->ff_norm);
        free_linear(&layer->qkv);
        free_linear(&layer->attn_out);
        free_linear(&layer->ff_up);
        free_linear(&layer->ff_down);
    }
    free_norm(&m->final_norm);
    free_linear(&m->output);
    kvl_free(m->layers);
    kvl_free(m->embedding);
    kvl_free(m->name);
    kvl_free(m->dir);
    kvl_free(m);
}
