/* One model family: how its config is read and under which names its tensors stand.
 *
 * A family is a constant struct in its own file and one line in arch_list.def. Everything else - looking
 * tensors up, checking shapes, packing - is common (bind.c).
 */
#ifndef KVL_MODEL_ARCH_H
#define KVL_MODEL_ARCH_H

#include "model/config.h"

/* What a tensor is for. Names of layers hold one %u. Fused tensors stand beside their parts; a family names
 * the one or the other. */
typedef enum kvli_role {
    KVLI_EMBEDDING,
    KVLI_POSITIONS,
    KVLI_FINAL_NORM,
    KVLI_OUTPUT,
    KVLI_ATTN_NORM,
    KVLI_ATTN_POST_NORM,
    KVLI_FF_NORM,
    KVLI_FF_POST_NORM,
    KVLI_Q,
    KVLI_K,
    KVLI_V,
    KVLI_QKV,
    KVLI_Q_NORM,
    KVLI_K_NORM,
    KVLI_ATTN_OUT,
    KVLI_FF_GATE,
    KVLI_FF_UP,
    KVLI_FF_GATE_UP,
    KVLI_FF_DOWN,
    KVLI_N_ROLES
} kvli_role;

/* Rows of a matrix may be stored in another order than they are used in: stored row of a used row. */
typedef size_t kvli_row_fn(const kvl_shape *shape, size_t used_row);

typedef struct kvl_arch {
    const char *model_type; /* as in config.json; stable for ever */
    const char *gguf_name;  /* general.architecture of its GGUF files */
    const char *const
        *reads; /* fields of config.c's list of refused ones that it understands; NULL-terminated */
    /* Fills config: shape, is_tied, ropes and flags. */
    kvl_status (*read_config)(kvl_config *out, const kvli_fields *fields);
    const char *prefix;              /* of the names below; checkpoints without it are read too */
    const char *names[KVLI_N_ROLES]; /* without ".weight" and ".bias" */
    const char *const *buffers;      /* ends of names of tensors that are recomputed; NULL-terminated */
    kvli_row_fn *qkv_row;            /* of the fused projection; NULL: all queries, all keys, all values */
    kvli_row_fn *gguf_rotary_row;    /* of queries and keys in its GGUF files */
    bool is_transposed;              /* matrices are stored [in, out] (not in GGUF) */
    bool has_gain_from_zero;         /* norms store gain - 1 (not in GGUF) */
} kvl_arch;

/* The family of that model_type; E_UNSUPPORTED naming the known ones. `name` is the config file's. */
kvl_status kvli_arch_find(const kvl_arch **out, const char *model_type, const char *name,
                          kvl_err *err) KVL_MUST_USE;
/* The same by general.architecture. */
kvl_status kvli_arch_find_gguf(const kvl_arch **out, const char *gguf_name, const char *name,
                               kvl_err *err) KVL_MUST_USE;

#endif
