/* libyaml's events -> a tree. */
#include "base/yaml.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>
#include <yaml.h>

typedef struct reader {
    yaml_parser_t parser;
    const char *bytes;
    size_t n_bytes;
    const char *name;
    size_t n_nodes;
    kvl_err *err;
} reader;

static kvl_status fail_at(reader *r, kvl_status status, yaml_mark_t mark, const char *text) {
    return kvl_fail(r->err, status, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1, text);
}

/* Whether a tab is among the blanks that begin a line (from 0). */
static bool is_indented_by_tab(const reader *r, size_t line) {
    const char *at = r->bytes;
    const char *end = r->bytes + r->n_bytes;
    for (; line != 0 && at != NULL; line--) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at != NULL ? at + 1 : NULL;
    }
    while (at != NULL && at < end && *at == ' ') {
        at++;
    }
    return at != NULL && at < end && *at == '\t';
}

static kvl_status fail_parser(reader *r) {
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        return kvl_fail_nomem(r->err, "YAML");
    }
    const char *problem = p->problem != NULL ? p->problem : "not valid YAML";
    if (p->error == YAML_READER_ERROR) { /* it knows bytes only */
        size_t line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->n_bytes; i++) {
            line += r->bytes[i] == '\n';
        }
        return kvl_fail(r->err, KVL_E_UTF8, "%s:%zu: expected UTF-8 without control characters: %s", r->name,
                        line, problem);
    }
    if (is_indented_by_tab(r, p->problem_mark.line)) {
        problem = "expected blanks in front of the line, found a tab";
    }
    return fail_at(r, KVL_E_YAML, p->problem_mark, problem);
}

/* The next event; the caller deletes it. */
static kvl_status next_event(reader *r, yaml_event_t *event) {
    return yaml_parser_parse(&r->parser, event) ? KVL_OK : fail_parser(r);
}

/* Control characters (line ends are none here) could forge lines of whoever prints the text. libyaml puts a
 * NUL behind it. */
static bool has_control(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\0' || (text[i] != '\n' && kvl_control_bytes(text + i) != 0)) {
            return true;
        }
    }
    return false;
}

static kvl_status copy_text(reader *r, char **out, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    const size_t n = event->data.scalar.length;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL) {
        return fail_at(r, KVL_E_UNSUPPORTED, event->start_mark, "expected no anchors and no tags, found one");
    }
    if (n > KVL_YAML_MAX_TEXT) {
        return kvl_fail(r->err, KVL_E_LIMIT, "%s:%zu:%zu: expected a text of at most %d bytes, found %zu",
                        r->name, event->start_mark.line + 1, event->start_mark.column + 1,
                        (int)KVL_YAML_MAX_TEXT, n);
    }
    if (has_control(text, n)) {
        return fail_at(r, KVL_E_YAML, event->start_mark, "expected a text without control characters");
    }
    *out = kvl_strndup(text, n);
    return *out != NULL ? KVL_OK : kvl_fail_nomem(r->err, "YAML");
}

static kvl_status new_node(reader *r, kvl_yaml **out, const yaml_event_t *event) {
    if (++r->n_nodes > KVL_YAML_MAX_NODES) {
        return kvl_fail(r->err, KVL_E_LIMIT, "%s:%zu:%zu: expected at most %d values", r->name,
                        event->start_mark.line + 1, event->start_mark.column + 1, (int)KVL_YAML_MAX_NODES);
    }
    *out = kvl_calloc(1, sizeof **out);
    if (*out == NULL) {
        return kvl_fail_nomem(r->err, "YAML");
    }
    (*out)->line = event->start_mark.line + 1;
    (*out)->column = event->start_mark.column + 1;
    return KVL_OK;
}

/* A key into key, which the caller frees in any case; E_DUP where the mapping has it already. */
static kvl_status take_key(reader *r, char **key, const kvl_yaml *map, const yaml_event_t *event) {
    if (event->type != YAML_SCALAR_EVENT) {
        return fail_at(r, event->type == YAML_ALIAS_EVENT ? KVL_E_UNSUPPORTED : KVL_E_YAML, event->start_mark,
                       "expected a plain text as a key");
    }
    KVL_TRY(copy_text(r, key, event));
    const kvl_yaml *other = kvl_yaml_find(map, *key);
    if (other != NULL) {
        return kvl_fail(r->err, KVL_E_DUP, "%s:%zu:%zu: key '%.80s' stands already in line %zu", r->name,
                        event->start_mark.line + 1, event->start_mark.column + 1, *key, other->line);
    }
    return KVL_OK;
}

static kvl_status read_node(reader *r, kvl_yaml **out, const yaml_event_t *event, size_t depth);

/* Reads the items of *node until the end of it. */
static kvl_status read_items(reader *r, kvl_yaml *node, size_t depth) {
    kvl_yaml **last = &node->first;
    for (;;) {
        yaml_event_t event;
        yaml_mark_t mark = {0};
        char *key = NULL;
        KVL_TRY(next_event(r, &event));
        kvl_status status = KVL_OK;
        const bool is_end = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        if (!is_end && node->kind == KVL_YAML_MAP) {
            mark = event.start_mark;
            status = take_key(r, &key, node, &event);
            yaml_event_delete(&event);
            if (status == KVL_OK) {
                status = next_event(r, &event);
            }
            if (status != KVL_OK) {
                kvl_free(key);
                return status;
            }
        }
        if (!is_end) {
            status = read_node(r, last, &event, depth);
        }
        yaml_event_delete(&event);
        if (is_end || *last == NULL) {
            kvl_free(key);
            return status;
        }
        if (key != NULL) {
            (*last)->key = key;
            (*last)->line = mark.line + 1;
            (*last)->column = mark.column + 1;
        }
        KVL_TRY(status);
        last = &(*last)->next;
    }
}

/* The node that an event begins. *out may be set although it fails: the root frees it. */
static kvl_status read_node(reader *r, kvl_yaml **out, const yaml_event_t *event, size_t depth) {
    if (event->type == YAML_ALIAS_EVENT) {
        return fail_at(r, KVL_E_UNSUPPORTED, event->start_mark, "expected no aliases, found one");
    }
    KVL_TRY(new_node(r, out, event));
    kvl_yaml *node = *out;
    if (event->type == YAML_SCALAR_EVENT) {
        node->kind = KVL_YAML_TEXT;
        return copy_text(r, &node->text, event);
    }
    const bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    const bool has_extra =
        is_list ? event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL
                : event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    node->kind = is_list ? KVL_YAML_LIST : KVL_YAML_MAP;
    if (has_extra) {
        return fail_at(r, KVL_E_UNSUPPORTED, event->start_mark, "expected no anchors and no tags, found one");
    }
    if (depth == KVL_YAML_MAX_DEPTH) {
        return kvl_fail(r->err, KVL_E_DEPTH, "%s:%zu:%zu: expected values nested at most %d deep, found more",
                        r->name, event->start_mark.line + 1, event->start_mark.column + 1,
                        (int)KVL_YAML_MAX_DEPTH);
    }
    return read_items(r, node, depth + 1);
}

/* Skips events up to the first that is none of `type`, which is left in *event. */
static kvl_status expect_event(reader *r, yaml_event_type_t type) {
    yaml_event_t event;
    KVL_TRY(next_event(r, &event));
    const bool is_it = event.type == type;
    const yaml_mark_t mark = event.start_mark;
    yaml_event_delete(&event);
    return is_it ? KVL_OK : fail_at(r, KVL_E_YAML, mark, "expected one document");
}

static kvl_status read_document(reader *r, kvl_yaml **out) {
    yaml_event_t event;
    KVL_TRY(expect_event(r, YAML_STREAM_START_EVENT));
    KVL_TRY(next_event(r, &event));
    kvl_status status = KVL_OK;
    if (event.type == YAML_STREAM_END_EVENT) {
        status = new_node(r, out, &event);
        if (status == KVL_OK) {
            (*out)->kind = KVL_YAML_MAP;
        }
        yaml_event_delete(&event);
        return status;
    }
    yaml_event_delete(&event); /* the beginning of a document */
    KVL_TRY(next_event(r, &event));
    status = read_node(r, out, &event, 0);
    yaml_event_delete(&event);
    KVL_TRY(status);
    KVL_TRY(expect_event(r, YAML_DOCUMENT_END_EVENT));
    return expect_event(r, YAML_STREAM_END_EVENT);
}

kvl_status kvl_yaml_parse(kvl_yaml **out, const char *bytes, size_t n_bytes, const char *name, kvl_err *err) {
    reader r = {.bytes = bytes, .n_bytes = n_bytes, .name = name, .err = err};
    *out = NULL;
    if (n_bytes > KVL_YAML_MAX_BYTES) {
        return kvl_fail(err, KVL_E_LIMIT, "%s: expected at most %d bytes, found %zu", name,
                        (int)KVL_YAML_MAX_BYTES, n_bytes);
    }
    if (!yaml_parser_initialize(&r.parser)) {
        return kvl_fail_nomem(err, "YAML");
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING); /* no guesses from a mark of UTF-16 */
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)bytes, n_bytes);
    const kvl_status status = read_document(&r, out);
    yaml_parser_delete(&r.parser);
    if (status != KVL_OK) {
        kvl_yaml_free(*out);
        *out = NULL;
    }
    return status;
}

kvl_status kvl_yaml_load(kvl_yaml **out, const char *path, kvl_err *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    *out = NULL;
    KVL_TRY(kvl_file_load(&bytes, &n_bytes, path, KVL_YAML_MAX_BYTES, err));
    const kvl_status status = kvl_yaml_parse(out, bytes, n_bytes, path, err);
    kvl_free(bytes);
    return status;
}

void kvl_yaml_free(kvl_yaml *node) {
    while (node != NULL) {
        kvl_yaml *next = node->next;
        kvl_yaml_free(node->first);
        kvl_free(node->key);
        kvl_free(node->text);
        kvl_free(node);
        node = next;
    }
}

const kvl_yaml *kvl_yaml_find(const kvl_yaml *map, const char *key) {
    const kvl_yaml *item = map->kind == KVL_YAML_MAP ? map->first : NULL;
    while (item != NULL && strcmp(item->key, key) != 0) {
        item = item->next;
    }
    return item;
}

const char *kvl_yaml_kind_text(const kvl_yaml *node) {
    return node->kind == KVL_YAML_TEXT ? "a text" : node->kind == KVL_YAML_LIST ? "a list" : "a mapping";
}

void kvl_yaml_quote(kvl_str *out, const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    /* signs may begin a list, a mark of documents or what others read as nothing */
    const bool is_plain =
        text[0] != '\0' && text[strspn(text, plain)] == '\0' && strchr("+-", text[0]) == NULL;
    if (is_plain) {
        kvl_str_puts(out, text);
        return;
    }
    kvl_str_puts(out, "\"");
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            kvl_str_printf(out, "\\x%02x", c);
        } else {
            kvl_str_puts(out, c == '"' || c == '\\' ? "\\" : "");
            kvl_str_append(out, text, 1);
        }
    }
    kvl_str_puts(out, "\"");
}
