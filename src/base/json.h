/* JSON from untrusted files: jansson behind limits of size and depth, duplicates refused. */
#ifndef KVL_BASE_JSON_H
#define KVL_BASE_JSON_H

#include "base/str.h"

#include <jansson.h>

enum { KVL_JSON_MAX_DEPTH = 64 };

/* Parses a whole document; json_decref the result. `name` is for messages. Errors: E_DEPTH, E_DUP, E_UTF8,
 * E_NUM (numbers beyond range), E_JSON with line and column. */
kvl_status kvl_json_parse(json_t **out, const char *bytes, size_t n_bytes, const char *name,
                          kvl_err *err) KVL_MUST_USE;
/* Loads a file of at most max_bytes and parses it. */
kvl_status kvl_json_load(json_t **out, const char *path, uint64_t max_bytes, kvl_err *err) KVL_MUST_USE;

/* A real number, or null where JSON has no form for it (infinite, NaN). */
json_t *kvl_json_number(double x);
/* Adds the members of `rest` to an object; takes both, of which either may be NULL. NULL if anything failed.
 */
json_t *kvl_json_join(json_t *object, json_t *rest);
/* Appends the text of a value (all 17 digits) and a line end, and releases the value; NULL is E_NOMEM. */
kvl_status kvl_json_write(kvl_str *out, json_t *value, bool is_indented, kvl_err *err) KVL_MUST_USE;

#endif
