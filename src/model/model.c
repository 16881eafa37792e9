/* Opening and closing a model. Chain: config.json or GGUF metadata -> kvl_config (config.c, config_gguf.c) ->
 * directory of tensors (file/) -> bind.c -> kvl_model. The tokenizer is not read here: it is text's. Files
 * are closed when the weights are in memory. */
#include "model/model.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/str.h"
#include "file/folder.h"
#include "file/gguf.h"
#include "file/tensors.h"
#include "kernel/kernel.h"
#include "model/bind.h"
#include "model/config_gguf.h"

#include <stdio.h>
#include <string.h>

bool kvl_model_is_gguf_path(const char *path) {
    size_t n = strlen(path);
    return n >= 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static kvl_status read_config(kvl_config *out, kvl_model *m, kvl_err *err) {
    kvl_str path = {0};
    char *text = NULL;
    size_t n = 0;
    kvl_status status = KVL_OK;
    KVL_GO(kvli_folder_path(&path, m->path, "config.json", err));
    KVL_GO(kvl_file_load(&text, &n, kvl_str_text(&path), KVLI_CONFIG_MAX_BYTES, err));
    KVL_GO(kvli_config_parse(out, text, n, kvl_str_text(&path), err));
    m->hash = kvl_hash_bytes(KVL_HASH_INIT, text, n);
done:
    kvl_free(text);
    kvl_str_free(&path);
    return status;
}

/* Config and directory of tensors, from either kind of checkpoint. */
static kvl_status open_files(kvl_config *config, kvl_tensors **tensors, kvl_model *m, kvl_err *err) {
    if (kvl_model_is_gguf_path(m->path)) {
        const kvl_gguf *meta = NULL;
        KVL_TRY(kvl_tensors_open_gguf(tensors, &meta, m->path, err));
        m->hash = KVL_HASH_INIT;
        return kvli_config_of_gguf(config, meta, err);
    }
    KVL_TRY(read_config(config, m, err));
    return kvl_tensors_open_dir(tensors, m->path, err);
}

static void note_dtype(kvl_model *m, const kvl_tensors *tensors) {
    const kvl_tensor *first = NULL;
    for (size_t i = 0; i < kvl_tensors_count(tensors); i++) {
        const kvl_tensor *t = kvl_tensors_at(tensors, i);
        bool is_of_layer = strstr(t->name, ".0.") != NULL;
        if (t->n_dims == 2 && (first == NULL || is_of_layer)) {
            first = t;
            if (is_of_layer) {
                break;
            }
        }
    }
    snprintf(m->stored_dtype, sizeof m->stored_dtype, "%s",
             first != NULL ? kvl_dtype_name(first->dtype) : "");
}

/* NAME of ".../models--ORG--NAME/snapshots/COMMIT", the folder of a checkpoint in the hub cache; false for
 * other paths [n]. */
static bool read_hub_name(const char *path, size_t n, size_t *start, size_t *len) {
    static const char middle[] = "/snapshots/", head[] = "models--";
    enum { n_commit = 40, n_middle = sizeof middle - 1, n_head = sizeof head - 1 };
    if (n < n_commit + n_middle || strspn(path + n - n_commit, "0123456789abcdef") < n_commit ||
        strncmp(path + n - n_commit - n_middle, middle, n_middle) != 0) {
        return false;
    }
    size_t end = n - n_commit - n_middle;
    size_t repo = end;
    while (repo > 0 && path[repo - 1] != '/') {
        repo--;
    }
    *start = end;
    while (*start > repo + n_head && strncmp(path + *start - 2, "--", 2) != 0) {
        --*start;
    }
    *len = end - *start;
    return *len != 0 && strncmp(path + repo, head, n_head) == 0;
}

/* path without slashes at its end, and its last part (of a snapshot in the hub cache: the model's name). */
static kvl_status set_names(kvl_model *m, const char *path, kvl_err *err) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    size_t len = n - start;
    size_t hub_start = 0, hub_len = 0;
    if (read_hub_name(path, n, &hub_start, &hub_len)) {
        start = hub_start;
        len = hub_len;
    }
    m->path = kvl_strndup(path, n);
    m->name = kvl_strndup(path + start, len);
    return m->path != NULL && m->name != NULL ? KVL_OK : kvl_fail_nomem(err, "name of a model");
}

/* pool: NULL for headers only */
static kvl_status fill(kvl_model *m, const char *path, kvl_pool *pool, kvl_err *err) {
    kvl_config *config = kvl_calloc(1, sizeof *config);
    kvl_tensors *tensors = NULL;
    kvl_status status = KVL_OK;
    if (config == NULL) {
        KVL_GO(kvl_fail_nomem(err, "config of a model"));
    }
    KVL_GO(set_names(m, path, err));
    KVL_GO(open_files(config, &tensors, m, err));
    m->shape = config->shape;
    m->arch = config->arch->model_type;
    uint64_t layout = kvl_tensors_hash(tensors);
    m->hash = kvl_hash_bytes(m->hash, &layout, sizeof layout);
    m->layout_hash = m->hash;
    note_dtype(m, tensors);
    m->layers = kvl_calloc(m->shape.n_layers, sizeof *m->layers);
    if (m->layers == NULL) {
        KVL_GO(kvl_fail_nomem(err, "layers of a model"));
    }
    kvli_loader loader = {
        .m = m, .tensors = tensors, .pool = pool, .err = err, .is_header_only = pool == NULL};
    KVL_GO(kvli_bind(&loader, config));
done:
    kvl_free(config);
    kvl_tensors_close(tensors);
    return status;
}

static const char *const arith_names[KVL_N_ARITHS] = {"f32", "bf16", "int8", "amx_bf16"};

const char *kvl_arith_name(kvl_arith a) { return arith_names[a]; }

kvl_status kvl_arith_find(kvl_arith *out, const char *name, kvl_err *err) {
    for (int a = 0; a < KVL_N_ARITHS; a++) {
        if (strcmp(name, arith_names[a]) == 0) {
            kvl_gemm_fn *gemm;
            *out = (kvl_arith)a;
            return a == KVL_ARITH_AMX_BF16 ? kvl_amx_gemm(&gemm, err) : KVL_OK;
        }
    }
    return kvl_fail(err, KVL_E_USAGE, "arithmetic: expected f32, bf16, int8 or amx_bf16, found '%.40s'",
                    name);
}

kvl_status kvl_model_open(kvl_model **out, const char *path, unsigned n_threads, kvl_err *err) {
    return kvl_model_open_as(out, path, KVL_ARITH_F32, n_threads, err);
}

static bool has_blocks(const kvl_linear *w) {
    bool is_any = false;
    for (uint32_t i = 0; i < w->n_segments; i++) {
        is_any = is_any || kvl_panel_is_blocked(w->segments[i].panels.type);
    }
    return is_any;
}

static kvl_status check_arith(const kvl_model *m, const char *path, kvl_err *err) {
    bool is_any = has_blocks(&m->output);
    for (uint32_t i = 0; i < m->shape.n_layers; i++) {
        const kvl_layer *l = &m->layers[i];
        is_any = is_any || has_blocks(&l->qkv) || has_blocks(&l->attn_out) || has_blocks(&l->ff_gate) ||
                 has_blocks(&l->ff_up) || has_blocks(&l->ff_down);
    }
    if (m->arith == KVL_ARITH_INT8 && !is_any) {
        return kvl_fail(err, KVL_E_UNSUPPORTED,
                        "%s: arithmetic int8: expected weights in quantised blocks (Q8_0, Q4_K, ...), found "
                        "none",
                        path);
    }
    return KVL_OK;
}

kvl_status kvl_model_open_as(kvl_model **out, const char *path, kvl_arith arith, unsigned n_threads,
                             kvl_err *err) {
    kvl_pool *pool = NULL;
    kvl_status status = KVL_OK;
    *out = NULL;
    kvl_model *m = kvl_calloc(1, sizeof *m);
    if (m == NULL) {
        return kvl_fail_nomem(err, "model");
    }
    m->arith = arith;
    KVL_GO(kvl_pool_create(&pool, n_threads != 0 ? n_threads : kvl_cpu_count(), err));
    KVL_GO(fill(m, path, pool, err));
    KVL_GO(check_arith(m, path, err));
    *out = m;
    m = NULL;
done:
    kvl_pool_destroy(pool);
    kvl_model_close(m);
    return status;
}

kvl_status kvl_model_open_headers(kvl_model **out, const char *path, kvl_err *err) {
    *out = NULL;
    kvl_model *m = kvl_calloc(1, sizeof *m);
    if (m == NULL) {
        return kvl_fail_nomem(err, "model");
    }
    kvl_status status = fill(m, path, NULL, err);
    if (status != KVL_OK) {
        kvl_model_close(m);
        return status;
    }
    *out = m;
    return KVL_OK;
}

uint32_t kvl_model_local_layers(const kvl_model *m) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->shape.n_layers; i++) {
        n += m->layers[i].is_local;
    }
    return n;
}

void kvl_linear_column(const kvl_linear *w, size_t column, float *out) {
    const kvl_segment *segment = w->segments;
    while (column >= (size_t)segment->first + segment->n_cols) {
        segment++;
    }
    kvl_panel_column(out, &segment->panels, w->n_in, column - segment->first);
}

void kvl_model_embed(const kvl_model *m, int32_t token, float *out) {
    kvl_linear_column(m->embedding.n_out != 0 ? &m->embedding : &m->output, (size_t)token, out);
    for (size_t k = 0; k < m->shape.width; k++) {
        out[k] *= m->shape.embed_scale;
    }
}

static void free_linear(kvl_linear *l) {
    for (uint32_t i = 0; i < l->n_segments; i++) {
        kvl_free(l->segments[i].panels.data);
    }
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
        kvl_norm *norms[] = {&layer->attn_norm,    &layer->attn_post_norm, &layer->ff_norm,
                             &layer->ff_post_norm, &layer->q_norm,         &layer->k_norm};
        kvl_linear *linears[] = {&layer->qkv, &layer->attn_out, &layer->ff_gate, &layer->ff_up,
                                 &layer->ff_down};
        for (size_t n = 0; n < sizeof norms / sizeof norms[0]; n++) {
            free_norm(norms[n]);
        }
        for (size_t n = 0; n < sizeof linears / sizeof linears[0]; n++) {
            free_linear(linears[n]);
        }
    }
    for (int kind = 0; kind < KVL_N_ROPES; kind++) {
        kvl_free(m->ropes[kind].frequencies);
    }
    free_norm(&m->final_norm);
    free_linear(&m->output);
    kvl_free(m->layers);
    free_linear(&m->embedding);
    kvl_free(m->positions);
    kvl_free(m->name);
    kvl_free(m->path);
    kvl_free(m);
}
