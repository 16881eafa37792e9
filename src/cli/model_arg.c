/* From -m, -hf and operands to a path. */
#include "cli/model_arg.h"

#include "base/os.h"
#include "cli/cmd.h"
#include "cli/hub_env.h"

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
