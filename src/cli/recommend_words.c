/* Settings of `kvlab recommend` in words. */
#include "cli/recommend_words.h"

#include "cli/args.h"

#include <string.h>

void kvl_recommend_put_policy(kvl_str *out, const kvl_trial *trial) {
    kvl_str text = {0};
    if (trial == NULL) {
        kvl_str_puts(out, "none");
        return;
    }
    kvl_policy_text(&trial->policy, &text);
    const char *all = kvl_str_text(&text);
    const char *cap = strstr(all, ":cap=1:"); /* what a text has anyway */
    kvl_str_append(out, all, cap != NULL ? (size_t)(cap - all) : text.len);
    kvl_str_puts(out, cap != NULL ? cap + strlen(":cap=1") : "");
    kvl_str_free(&text);
}

void kvl_recommend_put_types(kvl_str *out, const kvl_recommend_info *info, const kvl_trial *trial) {
    const kvl_form *form = &info->config->forms[trial != NULL ? trial->form : 0];
    kvl_str_printf(out, "%s/%s", kvl_kv_type_name(form->key_type), kvl_kv_type_name(form->value_type));
}

void kvl_recommend_put_model(kvl_str *out, const kvl_recommend_options *o) {
    const struct {
        const char *option, *value;
    } words[] = {{"-m", o->model.path},
                 {"-hf", o->model.hf_repo},
                 {"-hff", o->model.hf_file},
                 {"--arith", o->arith != KVL_ARITH_F32 ? kvl_arith_name(o->arith) : NULL}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].value != NULL) {
            kvl_str_printf(out, " %s ", words[i].option);
            kvl_args_quote(out, words[i].value);
        }
    }
}

void kvl_recommend_put_setting(kvl_str *out, const kvl_recommend_info *info, const kvl_trial *trial) {
    const kvl_form *form = &info->config->forms[trial->form];
    const kvl_shape *shape = &info->model->shape;
    kvl_str policy = {0};
    kvl_recommend_put_policy(&policy, trial);
    kvl_str_puts(out, "-P ");
    kvl_args_quote(out, kvl_str_text(&policy));
    kvl_str_free(&policy);
    if (form->key_type != KVL_KV_F32) {
        kvl_str_printf(out, " -ctk %s", kvl_kv_type_name(form->key_type));
    }
    if (form->value_type != KVL_KV_F32) {
        kvl_str_printf(out, " -ctv %s", kvl_kv_type_name(form->value_type));
    }
    if (shape->n_residual != 0) {
        kvl_str_printf(out, " --kv-residual %u", shape->n_residual);
    }
    kvl_str_puts(out, shape->has_hadamard ? " --kv-hadamard on" : "");
}

void kvl_recommend_put_lacks(kvl_str *out, unsigned lacks) {
    static const char *const words[] = {"quality", "bytes", "TTFT", "TPOT"};
    const char *gap = "";
    for (unsigned i = 0; i < 4; i++) {
        if ((lacks >> i & 1) != 0) {
            kvl_str_printf(out, "%s%s", gap, words[i]);
            gap = ", ";
        }
    }
}
