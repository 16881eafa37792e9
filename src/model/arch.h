/* One model family: how its config.json is read and how its tensors become a kvl_model.
 *
 * A family is a constant struct in its own file and one line in arch_list.def. Both functions are pure but
 * for what they fill; on failure the caller frees the model.
 */
#ifndef KVL_MODEL_ARCH_H
#define KVL_MODEL_ARCH_H

#include "file/tensors.h"
#include "model/config.h"
#include "model/model.h"

typedef struct kvl_arch {
    const char *model_type; /* as in config.json; stable for ever */
    /* Fills shape, is_tied and has_attention_bias. */
    kvl_status (*read_config)(kvl_config *out, const kvli_fields *fields);
    /* Fills everything from embedding to output; m->shape and m->layers [L] are there already. */
    kvl_status (*bind)(kvl_model *m, const kvl_config *config, const kvl_tensors *tensors, kvl_err *err);
} kvl_arch;

/* The family of that model_type; E_UNSUPPORTED naming the known ones. `name` is the config file's. */
kvl_status kvli_arch_find(const kvl_arch **out, const char *model_type, const char *name,
                          kvl_err *err) KVL_MUST_USE;

#endif
