/* config.json: bytes -> checked numbers. Needs no file, so that it can be fuzzed.
 *
 * The general part reads fields by type and range and refuses what changes the arithmetic and is not
 * implemented; the families (arch.h) say which fields they have.
 */
#ifndef KVL_MODEL_CONFIG_H
#define KVL_MODEL_CONFIG_H

#include "model/fields.h"
#include "model/rope.h"
#include "model/shape.h"

enum {
    KVLI_CONFIG_MAX_BYTES = 4 << 20,
    KVLI_MAX_LAYERS = 1024,
    KVLI_MAX_HEADS = 1024,
    KVLI_MAX_HEAD_DIM = KVL_MAX_HEAD_DIM,
    KVLI_MAX_WIDTH = 1 << 17,
    KVLI_MAX_FF_WIDTH = 1 << 20,
    KVLI_MAX_VOCAB = 1 << 22,
    KVLI_MAX_CONTEXT = 1 << 24,
};

struct kvl_arch;

typedef struct kvl_config {
    kvl_shape shape;
    const struct kvl_arch *arch; /* of the list; constant */
    bool is_tied;                /* the output matrix is the embedding */
    bool is_gguf;                /* tensors under GGUF's names and in GGUF's arrangement */
    bool is_tied_if_absent;      /* tied when the file has no output matrix */
    bool has_qkv_bias, has_out_bias, has_ff_bias;
    bool has_bias_if_present; /* the file decides (GGUF does not say) */
    bool has_qk_norm;
    bool has_post_norms; /* of the outputs of attention and feed-forward */
    kvli_rope ropes[KVL_N_ROPES];
    bool is_local[KVLI_MAX_LAYERS]; /* layers that see a window only */
} kvl_config;

/* Parses the text of a config.json. `name` is for messages. Errors: all of kvl_json_parse, E_MISSING,
 * E_NUM (a size that is not whole), E_CONFIG, E_UNSUPPORTED. */
kvl_status kvli_config_parse(kvl_config *out, const char *bytes, size_t n_bytes, const char *name,
                             kvl_err *err) KVL_MUST_USE;

/* The same for fields that are already read; model_type as in config.json. */
kvl_status kvli_config_read(kvl_config *out, const char *model_type, const kvli_fields *f) KVL_MUST_USE;

#endif
