/* Records and documents as JSON lines, out and in. */
#include "store/exchange.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/sha256.h"
#include "store/store_int.h"

#include <math.h>
#include <string.h>

enum { CANONICAL = JSON_COMPACT | JSON_SORT_KEYS };

static const char record_schema[] = "kvlab.record/1";
static const char document_schema[] = "kvlab.document/1";

/* ---- out ---- */

/* A JSON text as an object where that gives the same text again, otherwise as a string; NULL is null. */
static json_t *embed(const char *text) {
    json_t *value = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    char *again = value != NULL ? json_dumps(value, CANONICAL | JSON_REAL_PRECISION(17)) : NULL;
    const bool is_same = again != NULL && strcmp(again, text) == 0;
    kvl_free(again);
    if (!is_same) {
        json_decref(value);
        value = text != NULL ? json_string(text) : json_null();
    }
    return value;
}

#define SET_KEY(name, member) json_object_set_new(o, name, json_string(r->member))
#define SET_TEXT(name, member) json_object_set_new(o, name, json_string(r->member != NULL ? r->member : ""))
#define SET_ROLE(name, member) json_object_set_new(o, name, json_string(kvl_record_role_name(r->member)))
#define SET_REAL(name, member) json_object_set_new(o, name, kvl_json_number(r->member))
#define SET_SIZE(name, member) json_object_set_new(o, name, json_integer((json_int_t)r->member))
#define SET_U64(name, member) SET_SIZE(name, member)
#define SET(kind, member, column) bad |= SET_##kind(column, member);

kvl_status kvl_record_write_line(kvl_str *out, const kvl_record *r, const char *why, size_t n_attempts,
                                 kvl_err *err) {
    json_t *o = json_pack("{s:s, s:s}", "schema", record_schema, "state", why == NULL ? "done" : "failed");
    int bad = o == NULL;
    KVLI_CELL_COLUMNS(SET)
    bad |= json_object_set_new(o, "why", why != NULL ? json_string(why) : json_null());
    bad |= json_object_set_new(o, "n_attempts", json_integer((json_int_t)n_attempts));
    bad |= json_object_set_new(o, "identity", embed(r->identity));
    bad |= json_object_set_new(o, "facts", embed(r->facts));
    json_t *list = json_array();
    for (size_t i = 0; why == NULL && r->nll != NULL && i < r->n_scored; i++) {
        bad |= json_array_append_new(list, kvl_json_number(r->nll[i]));
    }
    bad |= json_object_set_new(o, "nll_nats", list);
    if (bad != 0) {
        json_decref(o);
        return kvl_fail(err, KVL_E_JSON, "record %s: cannot be written as JSON", r->key);
    }
    return kvl_json_write(out, o, false, err);
}

kvl_status kvl_document_write_line(kvl_str *out, const kvl_document *d, kvl_err *err) {
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s%}", "schema", document_schema, "kind", d->kind,
                  "model", d->model, "key", d->key, "group_key", d->group != NULL ? d->group : "", "command",
                  d->command, "made", d->made, "lines", d->lines, d->n_bytes);
    if (o == NULL) {
        return kvl_fail(err, KVL_E_JSON, "document %s: cannot be written as JSON", d->key);
    }
    return kvl_json_write(out, o, false, err);
}

/* ---- in ---- */

typedef struct reader {
    const json_t *object;
    const char *where;
    kvl_err *err;
} reader;

static kvl_status fail_type(const reader *in, const char *name, const char *expected) {
    return kvl_fail(in->err, KVL_E_TYPE, "%s: '%s': expected %s, found %s", in->where, name, expected,
                    json_object_get(in->object, name) == NULL ? "none" : "another value");
}

static kvl_status get_text(const reader *in, const char *name, char **out) {
    const json_t *v = json_object_get(in->object, name);
    if (!json_is_string(v)) {
        return fail_type(in, name, "a text");
    }
    *out = kvl_strndup(json_string_value(v), json_string_length(v));
    return *out != NULL ? KVL_OK : kvl_fail_nomem(in->err, in->where);
}

static kvl_status get_key(const reader *in, const char *name, char out[KVL_KEY_TEXT]) {
    const char *text = json_string_value(json_object_get(in->object, name));
    if (text == NULL || strlen(text) != KVL_KEY_TEXT - 1) {
        return fail_type(in, name, "a key of 64 hexadecimal digits");
    }
    memcpy(out, text, KVL_KEY_TEXT);
    return KVL_OK;
}

static kvl_status get_count(const reader *in, const char *name, uint64_t *out) {
    const json_t *v = json_object_get(in->object, name);
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return fail_type(in, name, "a whole number of at least 0");
    }
    *out = (uint64_t)json_integer_value(v);
    return KVL_OK;
}

static kvl_status get_size(const reader *in, const char *name, size_t *out) {
    uint64_t n = 0;
    KVL_TRY(get_count(in, name, &n));
    *out = (size_t)n;
    return KVL_OK;
}

static kvl_status get_real(const reader *in, const char *name, double *out) {
    const json_t *v = json_object_get(in->object, name);
    if (!json_is_number(v) && !json_is_null(v)) {
        return fail_type(in, name, "a number or null");
    }
    *out = json_is_null(v) ? (double)NAN : json_number_value(v);
    return KVL_OK;
}

static kvl_status get_role(const reader *in, const char *name, kvl_record_role *out) {
    const char *text = json_string_value(json_object_get(in->object, name));
    for (kvl_record_role role = KVL_ROLE_POLICY; text != NULL && role <= KVL_ROLE_ONE_PASS; role++) {
        if (strcmp(text, kvl_record_role_name(role)) == 0) {
            *out = role;
            return KVL_OK;
        }
    }
    return fail_type(in, name, "policy, baseline or one-pass");
}

/* The JSON text that `embed` embedded. */
static kvl_status get_embedded(const reader *in, const char *name, char **out) {
    const json_t *v = json_object_get(in->object, name);
    if (json_is_object(v)) {
        *out = json_dumps(v, CANONICAL | JSON_REAL_PRECISION(17));
        return *out != NULL ? KVL_OK : kvl_fail_nomem(in->err, in->where);
    }
    return json_is_null(v) ? KVL_OK : get_text(in, name, out);
}

static kvl_status get_nll(const reader *in, kvl_record *r) {
    const json_t *list = json_object_get(in->object, "nll_nats");
    if (!json_is_array(list) || json_array_size(list) != r->n_scored) {
        return kvl_fail(in->err, KVL_E_COUNT, "%s: 'nll_nats': expected a list of %zu numbers, found %zu",
                        in->where, r->n_scored, json_array_size(list));
    }
    double sum = 0;
    r->nll = kvl_calloc(r->n_scored, sizeof *r->nll);
    if (r->nll == NULL && r->n_scored != 0) {
        return kvl_fail_nomem(in->err, in->where);
    }
    for (size_t i = 0; i < r->n_scored; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v)) {
            return kvl_fail(in->err, KVL_E_TYPE,
                            "%s: 'nll_nats': expected numbers, found another value at %zu", in->where, i);
        }
        r->nll[i] = json_number_value(v);
        sum += r->nll[i];
    }
    return fabs(sum - r->nll_sum) <= 1e-9 * (1 + fabs(sum))
               ? KVL_OK
               : kvl_fail(in->err, KVL_E_CHECK,
                          "%s: 'nll_sum': expected %.17g, the sum of the NLLs, found %.17g", in->where, sum,
                          r->nll_sum);
}

static kvl_status check_key(const reader *in, const kvl_record *r) {
    char key[KVL_SHA256_TEXT];
    if (r->identity == NULL) {
        return fail_type(in, "identity", "an object");
    }
    KVL_TRY(kvl_sha256(key, r->identity, strlen(r->identity), in->err));
    return strcmp(key, r->key) == 0
               ? KVL_OK
               : kvl_fail(in->err, KVL_E_CHECK, "%s: 'key': expected %s, the hash of the identity, found %s",
                          in->where, key, r->key);
}

#define GET_KEY(name, member) get_key(in, name, r->member)
#define GET_TEXT(name, member) get_text(in, name, &r->member)
#define GET_ROLE(name, member) get_role(in, name, &r->member)
#define GET_REAL(name, member) get_real(in, name, &r->member)
#define GET_SIZE(name, member) get_size(in, name, &r->member)
#define GET_U64(name, member) get_count(in, name, &r->member)
#define GET(kind, member, column) KVL_TRY(GET_##kind(column, member));

static kvl_status read_record(const reader *in, kvl_exchange *x) {
    kvl_record *r = &x->record;
    KVLI_CELL_COLUMNS(GET)
    KVL_TRY(get_embedded(in, "identity", &r->identity));
    KVL_TRY(get_embedded(in, "facts", &r->facts));
    KVL_TRY(get_size(in, "n_attempts", &x->n_attempts));
    KVL_TRY(check_key(in, r));
    if (json_is_null(json_object_get(in->object, "why"))) {
        return get_nll(in, r);
    }
    return get_text(in, "why", &x->why);
}

static kvl_status read_document(const reader *in, kvl_document *d) {
    KVL_TRY(get_text(in, "kind", &d->kind));
    KVL_TRY(get_text(in, "model", &d->model));
    KVL_TRY(get_text(in, "key", &d->key));
    KVL_TRY(get_text(in, "group_key", &d->group));
    KVL_TRY(get_text(in, "command", &d->command));
    KVL_TRY(get_text(in, "made", &d->made));
    KVL_TRY(get_text(in, "lines", &d->lines));
    d->n_bytes = strlen(d->lines);
    return KVL_OK;
}

kvl_status kvl_exchange_read(kvl_exchange *out, const char *line, size_t n, const char *where, kvl_err *err) {
    json_t *object = NULL;
    *out = (kvl_exchange){0};
    KVL_TRY(kvl_json_parse(&object, line, n, where, err));
    const reader in = {.object = object, .where = where, .err = err};
    const char *schema = json_string_value(json_object_get(object, "schema"));
    kvl_status status = KVL_OK;
    if (schema != NULL && strcmp(schema, record_schema) == 0) {
        status = read_record(&in, out);
    } else if (schema != NULL && strcmp(schema, document_schema) == 0) {
        out->is_document = true;
        status = read_document(&in, &out->document);
    } else {
        status = kvl_fail(err, KVL_E_VERSION, "%s: 'schema': expected %s or %s, found %.60s", where,
                          record_schema, document_schema, schema != NULL ? schema : "none");
    }
    json_decref(object);
    return status;
}

void kvl_exchange_free(kvl_exchange *x) {
    kvl_document_free(&x->document);
    kvl_record_free(&x->record);
    kvl_free(x->why);
    *x = (kvl_exchange){0};
}
