/* YAML from untrusted files: libyaml behind limits of size, depth and count, into a small tree.
 *
 * Scalars are texts, whatever YAML would make of them: `no`, 010, 1e3 and "0.95" are read by whoever asks for
 * them. Refused: anchors, aliases, tags, a second document, keys that are no scalars, keys given twice,
 * control characters. An empty file is an empty mapping.
 */
#ifndef KVL_BASE_YAML_H
#define KVL_BASE_YAML_H

#include "base/str.h"

enum {
    KVL_YAML_MAX_BYTES = 1 << 20,
    KVL_YAML_MAX_DEPTH = 16,
    KVL_YAML_MAX_NODES = 4096,
    KVL_YAML_MAX_TEXT = 4096 /* bytes of a scalar */
};

typedef enum kvl_yaml_kind { KVL_YAML_TEXT, KVL_YAML_LIST, KVL_YAML_MAP } kvl_yaml_kind;

typedef struct kvl_yaml {
    kvl_yaml_kind kind;
    size_t line, column;    /* where it begins, its key if it has one; from 1 */
    char *key;              /* in a mapping; otherwise NULL */
    char *text;             /* of a TEXT: UTF-8, "" for nothing; otherwise NULL */
    struct kvl_yaml *first; /* of a LIST or MAP, in the order of the file; NULL: empty */
    struct kvl_yaml *next;
} kvl_yaml;

/* Parses a whole document; kvl_yaml_free the result. `name` is for messages, which begin NAME:LINE:COLUMN.
 * Errors: E_YAML, E_UTF8, E_DUP, E_DEPTH, E_LIMIT, E_UNSUPPORTED (anchors, aliases, tags). */
kvl_status kvl_yaml_parse(kvl_yaml **out, const char *bytes, size_t n_bytes, const char *name,
                          kvl_err *err) KVL_MUST_USE;
/* Loads a file and parses it. */
kvl_status kvl_yaml_load(kvl_yaml **out, const char *path, kvl_err *err) KVL_MUST_USE;
void kvl_yaml_free(kvl_yaml *node);
/* The value of a key of a mapping, or NULL. */
const kvl_yaml *kvl_yaml_find(const kvl_yaml *map, const char *key);
/* "a text", "a list", "a mapping". */
const char *kvl_yaml_kind_text(const kvl_yaml *node);
/* Appends a text as a scalar that reads back to it, in quotes where it needs them. */
void kvl_yaml_quote(kvl_str *out, const char *text);

#endif
