/* One entry to jansson. The depth is measured before parsing: jansson's own limit (2048) is compiled in. */
#include "base/json.h"

#include "base/alloc.h"
#include "base/os.h"

#include <math.h>
#include <string.h>

/* Deepest nesting of [ and { outside strings; stops counting beyond the limit. */
static int nesting_depth(const char *bytes, size_t n_bytes) {
    int depth = 0;
    int deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes && deepest <= KVL_JSON_MAX_DEPTH; i++) {
        char c = bytes[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return deepest;
}

static kvl_status status_of(enum json_error_code code) {
    switch (code) {
    case json_error_invalid_utf8: return KVL_E_UTF8;
    case json_error_duplicate_key: return KVL_E_DUP;
    case json_error_numeric_overflow: return KVL_E_NUM;
    case json_error_out_of_memory: return KVL_E_NOMEM;
    case json_error_stack_overflow: return KVL_E_DEPTH;
    default: return KVL_E_JSON;
    }
}

kvl_status kvl_json_parse(json_t **out, const char *bytes, size_t n_bytes, const char *name, kvl_err *err) {
    *out = NULL;
    if (nesting_depth(bytes, n_bytes) > KVL_JSON_MAX_DEPTH) {
        return kvl_fail(err, KVL_E_DEPTH, "%s: expected JSON nested at most %d deep, found more", name,
                        (int)KVL_JSON_MAX_DEPTH);
    }
    json_error_t detail;
    *out = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &detail);
    if (*out == NULL) {
        return kvl_fail(err, status_of(json_error_code(&detail)), "%s: line %d, column %d: %s", name,
                        detail.line, detail.column, detail.text);
    }
    return KVL_OK;
}

kvl_status kvl_json_load(json_t **out, const char *path, uint64_t max_bytes, kvl_err *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    *out = NULL;
    KVL_TRY(kvl_file_load(&bytes, &n_bytes, path, max_bytes, err));
    kvl_status status = kvl_json_parse(out, bytes, n_bytes, path, err);
    kvl_free(bytes);
    return status;
}

json_t *kvl_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *kvl_json_join(json_t *object, json_t *rest) {
    if (object == NULL || rest == NULL || json_object_update(object, rest) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(rest);
    return object;
}

kvl_status kvl_json_write(kvl_str *out, json_t *value, bool is_indented, kvl_err *err) {
    size_t layout = is_indented ? JSON_INDENT(2) : JSON_COMPACT;
    char *text = value != NULL ? json_dumps(value, layout | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(value);
    if (text == NULL) {
        out->failed = true;
        return kvl_fail_nomem(err, "JSON output");
    }
    kvl_str_printf(out, "%s\n", text);
    kvl_free(text); /* jansson allocates from the C library, as base does */
    return kvl_str_check(out, "JSON output", err);
}
