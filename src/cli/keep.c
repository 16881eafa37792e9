/* Making documents and putting them into the store. */
#include "cli/keep.h"

#include "cli/calibration_arg.h"
#include "cli/commit.h"
#include "cli/model_arg.h"

#include "base/alloc.h"
#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

json_t *kvl_keep_hash(uint64_t hash) {
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    return json_string(text);
}

json_t *kvl_keep_samples(const kvl_samples *samples) {
    json_t *list = json_array();
    for (size_t i = 0; i < samples->n; i++) {
        const kvl_sample *s = &samples->items[i];
        json_array_append_new(list,
                              json_pack("[s, o, I]", s->name, kvl_keep_hash(s->hash), (json_int_t)s->ids.n));
    }
    return list;
}

json_t *kvl_keep_policies(const kvl_policy *policies, size_t n, const kvl_shape *shape) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char calibration[KVL_CALIBRATION_TEXT];
        kvl_str text = {0};
        kvl_policy_text(&policies[i], &text);
        kvl_calibration_text(calibration, &policies[i], shape);
        json_array_append_new(list, json_pack("[s, s]", kvl_str_text(&text), calibration));
        kvl_str_free(&text);
    }
    return list;
}

json_t *kvl_keep_counts(const size_t *counts, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_integer((json_int_t)counts[i]));
    }
    return list;
}

/* All that the document follows from. */
static json_t *identity_of(const kvl_keep *what) {
    char cache[KVL_CACHE_TEXT];
    kvl_cache_text(cache, &what->model->shape);
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:o}", "kind", what->kind, "model",
                     what->model->name, "model_hash", kvl_keep_hash(what->model->hash), "arith",
                     kvl_arith_name(what->model->arith), "cache", cache, "isa", what->isa, "version",
                     KVL_VERSION, "commit", KVL_COMMIT, "options", what->options);
}

static kvl_status set_key(kvl_document *d, const kvl_keep *what, kvl_err *err) {
    kvl_str text = {0};
    kvl_status status = kvl_json_write(&text, identity_of(what), false, err);
    KVL_GO(status);
    d->key = kvl_calloc(KVL_SHA256_TEXT, 1);
    KVL_GO(d->key != NULL ? kvl_sha256(d->key, kvl_str_text(&text), text.len, err)
                          : kvl_fail_nomem(err, what->kind));
done:
    kvl_str_free(&text);
    return status;
}

kvl_status kvl_keep_make(kvl_document *out, const kvl_keep *what, kvl_str *lines, kvl_err *err) {
    *out = (kvl_document){0};
    KVL_TRY(set_key(out, what, err));
    KVL_TRY(kvl_str_check(lines, what->kind, err));
    out->kind = kvl_strdup(what->kind);
    out->model = kvl_strdup(what->model->name);
    out->group = kvl_strdup("");
    out->command = kvl_strdup(what->command);
    out->lines = kvl_strndup(kvl_str_text(lines), lines->len);
    out->n_bytes = lines->len;
    kvl_str_free(lines);
    return out->kind != NULL && out->model != NULL && out->group != NULL && out->command != NULL &&
                   out->lines != NULL
               ? KVL_OK
               : kvl_fail_nomem(err, what->kind);
}

kvl_status kvl_keep_put(const kvl_store_arg *arg, const char *out_dir, const kvl_document *documents,
                        size_t n, kvl_err *err) {
    kvl_store *store = NULL;
    KVL_TRY(kvl_store_arg_open(&store, arg, out_dir, KVL_STORE_WRITE, err));
    kvl_status status = KVL_OK;
    for (size_t i = 0; store != NULL && i < n && status == KVL_OK; i++) {
        status = kvl_store_put_document(store, &documents[i], err);
    }
    kvl_store_close(store);
    return status;
}

kvl_status kvl_keep_document(const kvl_store_arg *arg, const char *out_dir, const kvl_keep *what,
                             kvl_str *lines, kvl_err *err) {
    kvl_document d;
    kvl_status status = kvl_keep_make(&d, what, lines, err);
    if (status == KVL_OK) {
        status = kvl_keep_put(arg, out_dir, &d, 1, err);
    }
    kvl_document_free(&d);
    return status;
}
