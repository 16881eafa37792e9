/* Values of documents, checked; memory of a content. */
#include "report/gather_int.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

/* What a content owns, newest first. */
typedef struct block {
    struct block *next;
    void *bytes;
} block;

void *kvli_own(kvli_gather *g, size_t n, size_t item_bytes) {
    if (g->status != KVL_OK) {
        return NULL;
    }
    block *b = kvl_calloc(1, sizeof *b);
    void *bytes = b != NULL ? kvl_calloc(n, item_bytes) : NULL;
    if (bytes == NULL) {
        kvl_free(b);
        g->status = kvl_fail_nomem(g->err, "report");
        return NULL;
    }
    *b = (block){.next = g->content->owned, .bytes = bytes};
    g->content->owned = b;
    return bytes;
}

char *kvli_own_text(kvli_gather *g, const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = kvli_own(g, n, 1);
    return copy != NULL ? memcpy(copy, text, n) : NULL;
}

void kvl_content_free(kvl_content *c) {
    kvli_sweep_cells_free(c->cells);
    for (size_t i = 0; i < c->n_other_groups; i++) {
        kvl_str_free(&c->other_groups[i]);
    }
    for (block *b = c->owned; b != NULL;) {
        block *next = b->next;
        kvl_free(b->bytes);
        kvl_free(b);
        b = next;
    }
    *c = (kvl_content){0};
}

/* ---- lines ---- */

size_t kvli_most_lines(const kvli_gather *g) {
    size_t n = 1;
    for (size_t i = 0; i < g->document->n_bytes; i++) {
        n += g->document->lines[i] == '\n';
    }
    return n;
}

static void read_line(kvli_gather *g, const char *bytes, size_t n, kvli_line_fn *fn, void *ud) {
    json_t *line = NULL;
    kvl_err fault = {0};
    if (kvl_json_parse(&line, bytes, n, "JSON", &fault) != KVL_OK) {
        g->status = kvl_fail(g->err, fault.status == KVL_E_NOMEM ? KVL_E_NOMEM : KVL_E_STORE,
                             "store: document '%s' of %s, line %zu: %s", g->document->kind,
                             g->document->model, g->line, fault.msg);
        return;
    }
    if (json_is_object(line)) {
        fn(g, line, ud);
    } else {
        kvli_gather_fail(g, "line", "an object", line);
    }
    json_decref(line);
}

void kvli_each_line(kvli_gather *g, kvli_line_fn *fn, void *ud) {
    const char *at = g->document->lines;
    const char *end = at + g->document->n_bytes;
    for (g->line = 1; at < end && g->status == KVL_OK; g->line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if (stop != at) {
            read_line(g, at, (size_t)(stop - at), fn, ud);
        }
        at = stop + 1;
    }
}

bool kvli_is_schema(const json_t *line, const char *schema) {
    const char *own = json_string_value(json_object_get(line, "schema"));
    return own != NULL && strcmp(own, schema) == 0;
}

/* ---- values ---- */

void kvli_gather_fail(kvli_gather *g, const char *name, const char *expected, const json_t *found) {
    static const char *const types[] = {"an object",     "a list", "a text", "a whole number",
                                        "a real number", "true",   "false",  "null"};
    if (g->status == KVL_OK) {
        g->status =
            kvl_fail(g->err, KVL_E_STORE, "store: document '%s' of %s, line %zu: '%s': expected %s, found %s",
                     g->document->kind, g->document->model, g->line, name, expected,
                     found != NULL ? types[json_typeof(found)] : "nothing");
    }
}

char *kvli_get_text(kvli_gather *g, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    if (!json_is_string(value)) {
        kvli_gather_fail(g, name, "a text", value);
        return NULL;
    }
    return kvli_own_text(g, json_string_value(value));
}

bool kvli_get_bool(kvli_gather *g, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    if (!json_is_boolean(value)) {
        kvli_gather_fail(g, name, "true or false", value);
    }
    return json_is_true(value);
}

uint64_t kvli_get_count(kvli_gather *g, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > (json_int_t)1 << 53) {
        kvli_gather_fail(g, name, "a whole number from 0 to 2^53", value);
        return 0;
    }
    return (uint64_t)n;
}

static double number_of(kvli_gather *g, const json_t *value, const char *name) {
    if (!json_is_number(value) && !json_is_null(value)) {
        kvli_gather_fail(g, name, "a number or null", value);
    }
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

double kvli_get_number(kvli_gather *g, const json_t *o, const char *name) {
    return number_of(g, json_object_get(o, name), name);
}

double kvli_list_number(kvli_gather *g, const json_t *list, size_t i, const char *name) {
    return number_of(g, json_array_get(list, i), name);
}

const json_t *kvli_get_list(kvli_gather *g, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    if (!json_is_array(value)) {
        kvli_gather_fail(g, name, "a list", value);
        return NULL;
    }
    return value;
}

kvl_estimate kvli_read_estimate(kvli_gather *g, const json_t *o) {
    kvl_estimate e = {.mean = kvli_get_number(g, o, "mean"),
                      .low = kvli_get_number(g, o, "low"),
                      .high = kvli_get_number(g, o, "high"),
                      .p = kvli_get_number(g, o, "p"),
                      .n_clusters = kvli_get_count(g, o, "n_clusters"),
                      .is_few = kvli_get_bool(g, o, "is_few")};
    e.has_interval = !isnan(e.low) && !isnan(e.high);
    if (!e.has_interval) {
        e.low = e.high = e.mean;
    }
    return e;
}

kvl_estimate kvli_get_estimate(kvli_gather *g, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    if (!json_is_object(value)) {
        kvli_gather_fail(g, name, "an object", value);
        return (kvl_estimate){0};
    }
    return kvli_read_estimate(g, value);
}

/* ---- policies ---- */

double kvli_policy_keep(const char *policy) {
    if (strcmp(policy, "none") == 0) {
        return 1;
    }
    const char *found = strstr(policy, ":keep=");
    char *end = NULL;
    const double keep = found != NULL ? strtod(found + 6, &end) : (double)NAN;
    return found != NULL && end != found + 6 ? keep : (double)NAN;
}
