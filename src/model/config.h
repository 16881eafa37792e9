/* config.json: bytes -> checked numbers. Needs no file, so that it can be fuzzed.
 *
 * The general part reads fields by type and range and refuses what changes the arithmetic and is not
 * implemented; the families (arch.h) say which fields they have.
 */
#ifndef KVL_MODEL_CONFIG_H
#define KVL_MODEL_CONFIG_H

#include "base/json.h"
#include "model/shape.h"

enum {
    KVLI_CONFIG_MAX_BYTES = 4 << 20,
    KVLI_VALUE_CUT = 81, /* longest value of a field that is printed, with its NUL */
    KVLI_MAX_LAYERS = 1024,
    KVLI_MAX_HEADS = 1024,
    KVLI_MAX_HEAD_DIM = 1024,
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
    bool has_attention_bias;
} kvl_config;

/* Parses the text of a config.json. `name` is for messages. Errors: all of kvl_json_parse, E_MISSING,
 * E_NUM (a size that is not whole), E_CONFIG, E_UNSUPPORTED. */
kvl_status kvli_config_parse(kvl_config *out, const char *bytes, size_t n_bytes, const char *name,
                             kvl_err *err) KVL_MUST_USE;

/* One JSON object being read; name is its file, for messages. */
typedef struct kvli_fields {
    const json_t *object;
    const char *name;
    kvl_err *err;
} kvli_fields;

/* Whole number in [min, max]. Absent or null: *out = fallback when fallback >= 0, E_MISSING otherwise. */
kvl_status kvli_field_count(const kvli_fields *f, const char *key, int64_t min, int64_t max, int64_t fallback,
                            uint32_t *out) KVL_MUST_USE;
/* Finite number in [min, max]; absent or null: *out stays. */
kvl_status kvli_field_real(const kvli_fields *f, const char *key, double min, double max,
                           double *out) KVL_MUST_USE;
/* true or false; absent or null: *out stays. */
kvl_status kvli_field_bool(const kvli_fields *f, const char *key, bool *out) KVL_MUST_USE;
/* Text; absent or null: *out stays. Borrowed from the document. */
kvl_status kvli_field_text(const kvli_fields *f, const char *key, const char **out) KVL_MUST_USE;
/* Absent, null, false, or an empty list or object: KVL_OK; any other value: E_UNSUPPORTED naming key and
 * value. */
kvl_status kvli_field_refuse(const kvli_fields *f, const char *key) KVL_MUST_USE;
/* E_UNSUPPORTED for a value that is not among `known` (text for the message). */
kvl_status kvli_field_unknown(const kvli_fields *f, const char *key, const char *found, const char *known);

#endif
