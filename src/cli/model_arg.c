/* From -m, -hf and operands to a path. */
#include "cli/model_arg.h"

#include "base/os.h"
#include "cli/cmd.h"
#include "cli/hub_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool kvl_model_arg_take(kvl_model_arg *m, int id, const char *value) {
    switch (id) {
    case KVL_ARG_MODEL: m->path = value; return true;
    case KVL_ARG_HF_REPO: m->hf_repo = value; return true;
    case KVL_ARG_HF_FILE: m->hf_file = value; return true;
    case KVL_ARG_OFFLINE: m->is_offline = true; return true;
    default: return false;
    }
}

kvl_status kvl_cache_arg_take(kvl_cache_arg *c, int id, const char *value, bool *is_taken, kvl_err *err) {
    enum { MAX_RESIDUAL = 1 << 20 };
    char *end = NULL;
    long n = 0;
    *is_taken = true;
    switch (id) {
    case KVL_ARG_TYPE_K: return kvl_kv_type_find(&c->key_type, value, err);
    case KVL_ARG_TYPE_V: return kvl_kv_type_find(&c->value_type, value, err);
    case KVL_ARG_RESIDUAL:
        n = strtol(value, &end, 10);
        if (end == value || *end != 0 || n < 0 || n > MAX_RESIDUAL) {
            return kvl_fail(err, KVL_E_USAGE, "--kv-residual: expected 0 to %d tokens, found '%.40s'",
                            (int)MAX_RESIDUAL, value);
        }
        c->n_residual = (uint32_t)n;
        return KVL_OK;
    case KVL_ARG_HADAMARD:
        c->has_hadamard = strcmp(value, "on") == 0;
        if (!c->has_hadamard && strcmp(value, "off") != 0) {
            return kvl_fail(err, KVL_E_USAGE, "--kv-hadamard: expected on or off, found '%.40s'", value);
        }
        return KVL_OK;
    default: *is_taken = false; return KVL_OK;
    }
}

void kvl_cache_text(char text[KVL_CACHE_TEXT], const kvl_shape *s) {
    char window[40] = "";
    if (s->n_residual != 0) {
        snprintf(window, sizeof window, ", newest %u in full", s->n_residual);
    }
    snprintf(text, KVL_CACHE_TEXT, "%s/%s%s%s", kvl_kv_type_name(s->key_type),
             kvl_kv_type_name(s->value_type), window, s->has_hadamard ? ", hadamard" : "");
}

kvl_status kvl_cache_arg_apply(const kvl_cache_arg *c, kvl_shape *shape, kvl_err *err) {
    shape->key_type = c->key_type;
    shape->value_type = c->value_type;
    shape->n_residual = c->n_residual;
    shape->has_hadamard = c->has_hadamard;
    return kvl_cache_check_shape(shape, err);
}

kvl_status kvl_model_arg_operand(kvl_model_arg *m, const char *operand, kvl_err *err) {
    kvl_hub_name name;
    size_t n = strlen(operand);
    bool is_file = n > 5 && strcmp(operand + n - 5, ".gguf") == 0;
    if (kvl_model_arg_is_given(m)) {
        return kvl_fail(err, KVL_E_USAGE, "model: expected one, found '%.80s' too", operand);
    }
    if (!is_file && !kvl_file_exists(operand) && kvl_hub_name_parse(&name, operand, NULL) == KVL_OK) {
        m->hf_repo = operand;
    } else {
        m->path = operand;
    }
    return KVL_OK;
}

bool kvl_model_arg_is_given(const kvl_model_arg *m) { return m->path != NULL || m->hf_repo != NULL; }

kvl_status kvl_model_arg_resolve(kvl_str *out, const kvl_model_arg *m, kvl_err *err) {
    kvl_hub hub = {0};
    kvl_hub_name name;
    kvl_hub_env env = kvl_hub_env_read();
    if (m->path != NULL && m->hf_repo != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "model: expected one of -m and -hf, found both");
    }
    if (m->hf_file != NULL && m->hf_repo == NULL) {
        return kvl_fail(err, KVL_E_USAGE, "-hff: expected -hf ORG/NAME with it, found none");
    }
    if (m->hf_repo == NULL) {
        if (m->path != NULL) {
            kvl_str_puts(out, m->path);
        } else {
            kvl_str_printf(out, "%s/models/novels-7m", kvl_data_root());
        }
        return kvl_str_check(out, "path of a model", err);
    }
    KVL_TRY(kvl_hub_name_parse(&name, m->hf_repo, err));
    kvl_status status = kvl_hub_open(&hub, &env, err);
    if (status == KVL_OK) {
        status = kvl_hub_find(out, &hub, &name, m->hf_file, err);
    }
    kvl_hub_close(&hub);
    return status;
}
