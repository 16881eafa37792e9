/* A field of the wrong type or out of range is never replaced by a default: a model that runs with other
 * numbers than it was trained with gives plausible and wrong results. */
#include "model/fields.h"

#include <string.h>

enum { VALUE_CUT = 81 }; /* longest value of a field that is printed, with its NUL */

const char *kvli_field_name(const kvli_fields *f, const char *key) {
    for (const kvli_alias *a = f->aliases; a != NULL && a->field != NULL; a++) {
        if (strcmp(a->field, key) == 0) {
            return a->key;
        }
    }
    return key;
}

bool kvli_field_has(const kvli_fields *f, const char *key) {
    const json_t *value = json_object_get(f->object, key);
    return value != NULL && !json_is_null(value);
}

static bool is_absent(const json_t *value) { return value == NULL || json_is_null(value); }

static const char *type_text(const json_t *value) {
    static const char *const names[] = {"an object",     "a list", "a text", "a whole number",
                                        "a real number", "true",   "false",  "null"};
    return names[json_typeof(value)];
}

kvl_status kvli_field_count(const kvli_fields *f, const char *key, int64_t min, int64_t max, int64_t fallback,
                            uint32_t *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        if (fallback < 0) {
            return kvl_fail(f->err, KVL_E_MISSING, "%s: %s: expected a whole number, found none", f->name,
                            kvli_field_name(f, key));
        }
        *out = (uint32_t)fallback;
        return KVL_OK;
    }
    if (!json_is_integer(value)) {
        return kvl_fail(f->err, json_is_real(value) ? KVL_E_NUM : KVL_E_CONFIG,
                        "%s: %s: expected a whole number, found %s", f->name, kvli_field_name(f, key),
                        type_text(value));
    }
    json_int_t number = json_integer_value(value);
    if (number < min || number > max) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %lld to %lld, found %lld", f->name,
                        kvli_field_name(f, key), (long long)min, (long long)max, (long long)number);
    }
    *out = (uint32_t)number;
    return KVL_OK;
}

kvl_status kvli_field_real(const kvli_fields *f, const char *key, double min, double max, double *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_number(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a number, found %s", f->name,
                        kvli_field_name(f, key), type_text(value));
    }
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected %g to %g, found %g", f->name,
                        kvli_field_name(f, key), min, max, number);
    }
    *out = number;
    return KVL_OK;
}

kvl_status kvli_field_bool(const kvli_fields *f, const char *key, bool *out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_boolean(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected true or false, found %s", f->name,
                        kvli_field_name(f, key), type_text(value));
    }
    *out = json_is_true(value);
    return KVL_OK;
}

kvl_status kvli_field_text(const kvli_fields *f, const char *key, const char **out) {
    const json_t *value = json_object_get(f->object, key);
    if (is_absent(value)) {
        return KVL_OK;
    }
    if (!json_is_string(value)) {
        return kvl_fail(f->err, KVL_E_CONFIG, "%s: %s: expected a text, found %s", f->name,
                        kvli_field_name(f, key), type_text(value));
    }
    *out = json_string_value(value);
    return KVL_OK;
}

static bool is_neutral(const json_t *value) {
    return is_absent(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_integer(value) && json_integer_value(value) == 0);
}

kvl_status kvli_field_refuse(const kvli_fields *f, const char *key) {
    const json_t *value = json_object_get(f->object, key);
    if (is_neutral(value)) {
        return KVL_OK;
    }
    char text[VALUE_CUT];
    size_t n = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    text[n < sizeof text ? n : 0] = '\0';
    return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: %s: expected none (it changes the arithmetic), found %s",
                    f->name, kvli_field_name(f, key), text[0] != '\0' ? text : type_text(value));
}

kvl_status kvli_field_unknown(const kvli_fields *f, const char *key, const char *found, const char *known) {
    return kvl_fail(f->err, KVL_E_UNSUPPORTED, "%s: %s: expected one of %s, found '%.80s'", f->name,
                    kvli_field_name(f, key), known, found);
}
