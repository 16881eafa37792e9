/* The list of families. Adding one: its file, and its line in arch_list.def. */
#include "model/arch.h"

#include <string.h>

#define X(id) extern const kvl_arch kvl_arch_##id;
#include "model/arch_list.def"
#undef X

static const kvl_arch *const arch_list[] = {
#define X(id) &kvl_arch_##id,
#include "model/arch_list.def"
#undef X
};

static const char known_types[] =
#define X(id) " " #id
#include "model/arch_list.def"
#undef X
    ;

kvl_status kvli_arch_find(const kvl_arch **out, const char *model_type, const char *name, kvl_err *err) {
    for (size_t i = 0; i < sizeof arch_list / sizeof arch_list[0]; i++) {
        if (strcmp(arch_list[i]->model_type, model_type) == 0) {
            *out = arch_list[i];
            return KVL_OK;
        }
    }
    return kvl_fail(err, KVL_E_UNSUPPORTED, "%s: model_type: expected one of%s, found '%.80s'", name,
                    known_types, model_type);
}

kvl_status kvli_arch_find_gguf(const kvl_arch **out, const char *gguf_name, const char *name, kvl_err *err) {
    for (size_t i = 0; i < sizeof arch_list / sizeof arch_list[0]; i++) {
        const char *known = arch_list[i]->gguf_name;
        if (known != NULL && strcmp(known, gguf_name) == 0) {
            *out = arch_list[i];
            return KVL_OK;
        }
    }
    return kvl_fail(err, KVL_E_UNSUPPORTED, "%s: general.architecture: expected a family of%s, found '%.80s'",
                    name, known_types, gguf_name);
}
