/* Typed reads of the fields of one JSON object, each message naming file and field. */
#ifndef KVL_MODEL_FIELDS_H
#define KVL_MODEL_FIELDS_H

#include "base/json.h"

/* One JSON object being read; name is its file, for messages. */
typedef struct kvli_fields {
    const json_t *object;
    const char *name;
    kvl_err *err;
    const struct kvli_alias
        *aliases; /* for messages: fields that stand under other names in the file; NULL */
} kvli_fields;

/* Field of a config.json and the GGUF key it is read from; a table ends with NULL. */
typedef struct kvli_alias {
    const char *field;
    const char *key;
} kvli_alias;

/* The name under which the field stands in the file. */
const char *kvli_field_name(const kvli_fields *f, const char *key);
/* Present and not null. */
bool kvli_field_has(const kvli_fields *f, const char *key);

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
