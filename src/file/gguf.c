/* GGUF metadata. Method: (1) magic, version, counts; (2) entries one by one, each checked against the bytes
 * that are left; (3) sorted by key: a key must stand once; (4) tensors and layout (gguf_tensors.c).
 *
 *     magic u32 | version u32 | n_tensors u64 | n_kv u64 | entries | tensor infos | padding | data
 *
 * The size of the header is not written anywhere, so a file is read by growing pieces until the header is
 * whole; a count is believed only if the rest of the file could hold it, so that growth stops early.
 */
#include "file/gguf_int.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "file/container.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { FIRST_PIECE = 1 << 20, DEFAULT_ALIGNMENT = 32, MIN_ENTRY_BYTES = 14, MIN_INFO_BYTES = 33 };

static const struct {
    const char *name;
    uint32_t n_bytes; /* of one element; of a string the least */
} types[KVL_GGUF_N_TYPES] = {
    [KVL_GGUF_U8] = {"u8", 1},        [KVL_GGUF_I8] = {"i8", 1},     [KVL_GGUF_U16] = {"u16", 2},
    [KVL_GGUF_I16] = {"i16", 2},      [KVL_GGUF_U32] = {"u32", 4},   [KVL_GGUF_I32] = {"i32", 4},
    [KVL_GGUF_F32] = {"f32", 4},      [KVL_GGUF_BOOL] = {"bool", 1}, [KVL_GGUF_STRING] = {"string", 8},
    [KVL_GGUF_ARRAY] = {"array", 12}, [KVL_GGUF_U64] = {"u64", 8},   [KVL_GGUF_I64] = {"i64", 8},
    [KVL_GGUF_F64] = {"f64", 8},
};

kvl_status kvli_gguf_need(kvli_gguf_reader *r, uint64_t n, const char *what, const char *name) {
    if (n > r->file_bytes - r->cursor.pos) {
        return kvl_fail(r->err, KVL_E_TRUNC, "%s: %s '%.*s' at byte %llu: expected %llu bytes, found %llu",
                        r->g->name, what, (int)KVLI_NAME_CUT, name, (ull)r->cursor.pos, (ull)n,
                        (ull)(r->file_bytes - r->cursor.pos));
    }
    if (n > r->cursor.size - r->cursor.pos) {
        *r->wants_more = true;
        return kvl_fail(r->err, KVL_E_TRUNC, "%s: expected more of the header than %llu bytes", r->g->name,
                        (ull)r->cursor.size);
    }
    return KVL_OK;
}

kvl_status kvli_gguf_count(kvli_gguf_reader *r, uint64_t *out, uint64_t min_bytes, uint64_t limit,
                           const char *what, const char *name) {
    KVL_TRY(kvli_gguf_need(r, 8, what, name));
    *out = kvl_cursor_u64le(&r->cursor);
    uint64_t most = (r->file_bytes - r->cursor.pos) / min_bytes;
    if (*out > most) {
        return kvl_fail(r->err, KVL_E_COUNT,
                        "%s: %s '%.*s': expected at most %llu (the file has no room for more), found %llu",
                        r->g->name, what, (int)KVLI_NAME_CUT, name, (ull)most, (ull)*out);
    }
    if (*out > limit) {
        return kvl_fail(r->err, KVL_E_LIMIT, "%s: %s '%.*s': expected at most %llu, found %llu", r->g->name,
                        what, (int)KVLI_NAME_CUT, name, (ull)limit, (ull)*out);
    }
    return KVL_OK;
}

/* ---- metadata entries ---- */

static kvl_status read_key(kvli_gguf_reader *r, size_t *at) {
    uint64_t n = 0;
    KVL_TRY(kvli_gguf_need(r, 8, "length of a key", ""));
    n = kvl_cursor_u64le(&r->cursor);
    KVL_TRY(kvli_gguf_need(r, n, "a key", ""));
    if (n == 0 || n > KVLI_GGUF_MAX_KEY) {
        return kvl_fail(r->err, KVL_E_KEY, "%s: key at byte %llu: expected 1 to %d bytes, found %llu",
                        r->g->name, (ull)r->cursor.pos, (int)KVLI_GGUF_MAX_KEY, (ull)n);
    }
    const uint8_t *bytes = kvl_cursor_take(&r->cursor, n);
    for (uint64_t i = 0; i < n; i++) {
        if (bytes[i] == 0 || bytes[i] >= 0x80) {
            return kvl_fail(r->err, KVL_E_KEY, "%s: key at byte %llu: expected ASCII, found byte 0x%02x",
                            r->g->name, (ull)(r->cursor.pos - n + i), bytes[i]);
        }
    }
    *at = r->g->keys.len;
    kvl_str_append(&r->g->keys, (const char *)bytes, (size_t)n);
    kvl_str_append(&r->g->keys, "", 1);
    return kvl_str_check(&r->g->keys, "metadata keys", r->err);
}

static kvl_status read_type(kvli_gguf_reader *r, const char *key, kvl_gguf_type *out) {
    KVL_TRY(kvli_gguf_need(r, 4, "type of", key));
    uint32_t type = kvl_cursor_u32le(&r->cursor);
    if (type >= KVL_GGUF_N_TYPES) {
        return kvl_fail(r->err, KVL_E_TYPE, "%s: type of '%.*s': expected 0 to %d, found %u", r->g->name,
                        (int)KVLI_NAME_CUT, key, KVL_GGUF_N_TYPES - 1, type);
    }
    *out = (kvl_gguf_type)type;
    return KVL_OK;
}

static kvl_status skip_strings(kvli_gguf_reader *r, const kvl_gguf_value *v) {
    for (uint64_t i = 0; i < v->n; i++) {
        KVL_TRY(kvli_gguf_need(r, 8, "a text in", v->key));
        uint64_t n = kvl_cursor_u64le(&r->cursor);
        KVL_TRY(kvli_gguf_need(r, n, "a text in", v->key));
        if (n > KVLI_GGUF_MAX_TEXT) {
            return kvl_fail(r->err, KVL_E_LIMIT,
                            "%s: a text in '%.*s': expected at most %d bytes, found %llu", r->g->name,
                            (int)KVLI_NAME_CUT, v->key, (int)KVLI_GGUF_MAX_TEXT, (ull)n);
        }
        (void)kvl_cursor_take(&r->cursor, n);
    }
    return KVL_OK;
}

static kvl_status read_elements(kvli_gguf_reader *r, kvl_gguf_value *v) {
    uint64_t start = r->cursor.pos;
    if (v->type == KVL_GGUF_STRING) {
        KVL_TRY(skip_strings(r, v));
    } else {
        uint64_t n_bytes = v->n * types[v->type].n_bytes; /* n <= 2^26 */
        KVL_TRY(kvli_gguf_need(r, n_bytes, "value of", v->key));
        const uint8_t *bytes = kvl_cursor_take(&r->cursor, n_bytes);
        for (uint64_t i = 0; v->type == KVL_GGUF_BOOL && i < n_bytes; i++) {
            if (bytes[i] > 1) {
                return kvl_fail(r->err, KVL_E_TYPE, "%s: value of '%.*s': expected a bool (0 or 1), found %u",
                                r->g->name, (int)KVLI_NAME_CUT, v->key, bytes[i]);
            }
        }
    }
    v->n_bytes = r->cursor.pos - start;
    v->bytes = r->g->head + start;
    return KVL_OK;
}

static kvl_status read_entry(kvli_gguf_reader *r, kvl_gguf_value *v, size_t *key_at) {
    KVL_TRY(read_key(r, key_at));
    const char *key = r->g->keys.data + *key_at;
    v->key = key; /* may move: set again when all are read */
    KVL_TRY(read_type(r, key, &v->type));
    v->n = 1;
    if (v->type == KVL_GGUF_ARRAY) {
        v->is_array = true;
        KVL_TRY(read_type(r, key, &v->type));
        if (v->type == KVL_GGUF_ARRAY) {
            return kvl_fail(
                r->err, KVL_E_UNSUPPORTED,
                "%s: value of '%.*s': expected an array of plain values, found an array of arrays",
                r->g->name, (int)KVLI_NAME_CUT, key);
        }
        KVL_TRY(kvli_gguf_count(r, &v->n, types[v->type].n_bytes, KVLI_GGUF_MAX_ARRAY, "length of", key));
    }
    return read_elements(r, v);
}

static int compare_key(const void *a, const void *b) {
    const kvl_gguf_value *const *x = a;
    const kvl_gguf_value *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);
    return order != 0 ? order : (*x < *y ? -1 : *x > *y);
}

static kvl_status sort_keys(kvl_gguf *g, kvl_err *err) {
    g->by_key = kvl_calloc(g->n_values, sizeof *g->by_key);
    if (g->by_key == NULL) {
        return kvl_fail_nomem(err, "metadata");
    }
    for (size_t i = 0; i < g->n_values; i++) {
        g->by_key[i] = &g->values[i];
    }
    qsort(g->by_key, g->n_values, sizeof *g->by_key, compare_key);
    for (size_t i = 1; i < g->n_values; i++) {
        if (strcmp(g->by_key[i - 1]->key, g->by_key[i]->key) == 0) {
            return kvl_fail(err, KVL_E_DUP,
                            "%s: key '%.*s': expected it once, found it at entries %zu and %zu", g->name,
                            (int)KVLI_NAME_CUT, g->by_key[i]->key, (size_t)(g->by_key[i - 1] - g->values),
                            (size_t)(g->by_key[i] - g->values));
        }
    }
    return KVL_OK;
}

static kvl_status read_entries(kvli_gguf_reader *r, uint64_t n) {
    kvl_gguf *g = r->g;
    size_t *key_at = kvl_calloc((size_t)n, sizeof *key_at);
    kvl_status status = KVL_OK;
    g->values = kvl_calloc((size_t)n, sizeof *g->values);
    if (key_at == NULL || g->values == NULL) {
        KVL_GO(kvl_fail_nomem(r->err, "metadata"));
    }
    for (size_t i = 0; i < n; i++) {
        KVL_GO(read_entry(r, &g->values[i], &key_at[i]));
    }
    g->n_values = (size_t)n;
    for (size_t i = 0; i < n; i++) {
        g->values[i].key = g->keys.data + key_at[i];
    }
    KVL_GO(sort_keys(g, r->err));
done:
    kvl_free(key_at);
    return status;
}

static kvl_status read_alignment(kvl_gguf *g, kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, "general.alignment");
    g->alignment = DEFAULT_ALIGNMENT;
    if (v == NULL) {
        return KVL_OK;
    }
    if (v->is_array || v->type != KVL_GGUF_U32) {
        return kvl_fail(err, KVL_E_ALIGN, "%s: general.alignment: expected a u32, found %s%s", g->name,
                        v->is_array ? "an array of " : "", types[v->type].name);
    }
    g->alignment = (uint64_t)kvl_gguf_int_at(v, 0);
    bool is_power = g->alignment != 0 && (g->alignment & (g->alignment - 1)) == 0;
    if (!is_power || g->alignment < 8 || g->alignment > KVLI_GGUF_MAX_ALIGN) {
        return kvl_fail(err, KVL_E_ALIGN,
                        "%s: general.alignment: expected a power of two from 8 to %d, found %llu", g->name,
                        (int)KVLI_GGUF_MAX_ALIGN, (ull)g->alignment);
    }
    return KVL_OK;
}

/* ---- the whole header ---- */

static kvl_status read_magic(kvli_gguf_reader *r) {
    static const char magic[] = "GGUF";
    const uint8_t *bytes = r->cursor.base;
    if (r->file_bytes >= 4 && r->cursor.size >= 4 && memcmp(bytes, magic, 4) != 0) {
        const char *found = kvli_container_name(bytes, r->cursor.size);
        return kvl_fail(r->err, KVL_E_MAGIC, "%s: at byte 0: expected a GGUF file, found %s", r->g->name,
                        found != NULL ? found : "another kind of file");
    }
    KVL_TRY(kvli_gguf_need(r, 8, "magic and version", ""));
    (void)kvl_cursor_take(&r->cursor, 4);
    uint32_t version = kvl_cursor_u32le(&r->cursor);
    uint32_t swapped = __builtin_bswap32(version);
    if (swapped >= 1 && swapped <= 3) {
        return kvl_fail(r->err, KVL_E_ENDIAN,
                        "%s: version at byte 4: expected a little-endian file, found a big-endian one",
                        r->g->name);
    }
    if (version < 2 || version > 3) {
        return kvl_fail(r->err, KVL_E_VERSION, "%s: version at byte 4: expected 2 or 3, found %u", r->g->name,
                        version);
    }
    r->g->version = version;
    return KVL_OK;
}

static kvl_status read_all(kvli_gguf_reader *r) {
    uint64_t n_tensors = 0;
    uint64_t n_entries = 0;
    KVL_TRY(read_magic(r));
    KVL_TRY(kvli_gguf_count(r, &n_tensors, MIN_INFO_BYTES, KVLI_GGUF_MAX_COUNT, "number of tensors", ""));
    KVL_TRY(kvli_gguf_count(r, &n_entries, MIN_ENTRY_BYTES, KVLI_GGUF_MAX_COUNT, "number of metadata entries",
                            ""));
    KVL_TRY(read_entries(r, n_entries));
    KVL_TRY(read_alignment(r->g, r->err));
    KVL_TRY(kvli_gguf_read_tensors(r, n_tensors));
    r->g->hash = kvl_hash_bytes(KVL_HASH_INIT, r->g->head, (size_t)r->cursor.pos);
    return KVL_OK;
}

kvl_status kvl_gguf_parse(kvl_gguf **out, const uint8_t *bytes, uint64_t n_bytes, uint64_t file_bytes,
                          const char *name, bool *wants_more, kvl_err *err) {
    bool ignored = false;
    *out = NULL;
    wants_more = wants_more != NULL ? wants_more : &ignored;
    *wants_more = false;
    kvl_gguf *g = kvl_calloc(1, sizeof *g);
    if (g == NULL) {
        return kvl_fail_nomem(err, "GGUF header");
    }
    kvl_status status = KVL_OK;
    g->name = kvl_strdup(name);
    g->head = kvl_calloc((size_t)n_bytes, 1);
    if (g->name == NULL || g->head == NULL) {
        KVL_GO(kvl_fail_nomem(err, "GGUF header"));
    }
    if (n_bytes != 0) {
        memcpy(g->head, bytes, (size_t)n_bytes);
    }
    kvli_gguf_reader r = {.g = g,
                          .cursor = kvl_cursor_open(g->head, n_bytes),
                          .file_bytes = file_bytes,
                          .wants_more = wants_more,
                          .err = err};
    KVL_GO(read_all(&r));
    *out = g;
    g = NULL;
done:
    kvl_gguf_close(g);
    return status;
}

kvl_status kvl_gguf_read(kvl_gguf **out, const kvl_file *file, kvl_err *err) {
    kvl_status status = KVL_E_TRUNC;
    *out = NULL;
    bool wants_more = true;
    for (uint64_t n = FIRST_PIECE; wants_more; n *= 4) {
        uint64_t n_now = n < file->n_bytes ? n : file->n_bytes;
        uint8_t *bytes = kvl_alloc((size_t)n_now, 1);
        if (bytes == NULL) {
            status = kvl_fail_nomem(err, "GGUF header");
            break;
        }
        status = kvl_file_read(file, 0, bytes, n_now, err);
        wants_more = false;
        if (status == KVL_OK) {
            status = kvl_gguf_parse(out, bytes, n_now, file->n_bytes, file->path, &wants_more, err);
        }
        kvl_free(bytes);
    }
    return status;
}

void kvl_gguf_close(kvl_gguf *g) {
    if (g == NULL) {
        return;
    }
    kvl_free(g->name);
    kvl_free(g->head);
    kvl_free(g->values);
    kvl_free(g->by_key);
    kvl_str_free(&g->keys);
    kvl_free(g->tensors);
    kvl_str_free(&g->tensor_names);
    kvl_free(g);
}

const char *kvl_gguf_name(const kvl_gguf *g) { return g->name; }
unsigned kvl_gguf_version(const kvl_gguf *g) { return g->version; }
uint64_t kvl_gguf_hash(const kvl_gguf *g) { return g->hash; }
size_t kvl_gguf_count(const kvl_gguf *g) { return g->n_values; }
const kvl_gguf_value *kvl_gguf_at(const kvl_gguf *g, size_t i) { return &g->values[i]; }
size_t kvl_gguf_n_tensors(const kvl_gguf *g) { return g->n_tensors; }
const kvl_tensor *kvl_gguf_tensor(const kvl_gguf *g, size_t i) { return &g->tensors[i]; }

static int compare_with_key(const void *name, const void *entry) {
    const kvl_gguf_value *const *e = entry;
    return strcmp(name, (*e)->key);
}

const kvl_gguf_value *kvl_gguf_find(const kvl_gguf *g, const char *key) {
    const kvl_gguf_value **found = bsearch(key, g->by_key, g->n_values, sizeof *g->by_key, compare_with_key);
    return found != NULL ? *found : NULL;
}

/* ---- typed reads ---- */

static kvl_status fail_type(const kvl_gguf *g, const kvl_gguf_value *v, const char *expected, kvl_err *err) {
    return kvl_fail(err, KVL_E_TYPE, "%s: %.*s: expected %s, found %s%s", g->name, (int)KVLI_NAME_CUT, v->key,
                    expected, v->is_array ? "an array of " : "", types[v->type].name);
}

static uint64_t bits_at(const kvl_gguf_value *v, uint64_t i) {
    unsigned n = types[v->type].n_bytes;
    kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
    (void)kvl_cursor_take(&c, i * n);
    const uint8_t *bytes = kvl_cursor_take(&c, n);
    uint64_t bits = 0;
    for (unsigned b = 0; bytes != NULL && b < n; b++) {
        bits |= (uint64_t)bytes[b] << (8 * b);
    }
    return bits;
}

float kvl_gguf_f32_at(const kvl_gguf_value *v, uint64_t i) {
    uint32_t bits = (uint32_t)bits_at(v, i);
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t kvl_gguf_int_at(const kvl_gguf_value *v, uint64_t i) {
    uint64_t bits = bits_at(v, i);
    switch (v->type) {
    case KVL_GGUF_I8: return (int8_t)bits;
    case KVL_GGUF_I16: return (int16_t)bits;
    case KVL_GGUF_I32: return (int32_t)bits;
    default: return (int64_t)bits;
    }
}

static bool is_int(kvl_gguf_type t) {
    return t == KVL_GGUF_U8 || t == KVL_GGUF_I8 || t == KVL_GGUF_U16 || t == KVL_GGUF_I16 ||
           t == KVL_GGUF_U32 || t == KVL_GGUF_I32 || t == KVL_GGUF_U64 || t == KVL_GGUF_I64;
}

kvl_status kvl_gguf_int(const kvl_gguf *g, const char *key, int64_t *out, kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, key);
    if (v == NULL) {
        return KVL_OK;
    }
    if (v->is_array || !is_int(v->type)) {
        return fail_type(g, v, "an integer", err);
    }
    if (v->type == KVL_GGUF_U64 && bits_at(v, 0) > INT64_MAX) {
        return kvl_fail(err, KVL_E_CONFIG, "%s: %.*s: expected at most 2^63 - 1, found %llu", g->name,
                        (int)KVLI_NAME_CUT, key, (ull)bits_at(v, 0));
    }
    *out = kvl_gguf_int_at(v, 0);
    return KVL_OK;
}

kvl_status kvl_gguf_real(const kvl_gguf *g, const char *key, double *out, kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, key);
    if (v == NULL) {
        return KVL_OK;
    }
    if (v->is_array || (v->type != KVL_GGUF_F32 && v->type != KVL_GGUF_F64)) {
        return fail_type(g, v, "a float", err);
    }
    if (v->type == KVL_GGUF_F32) {
        *out = (double)kvl_gguf_f32_at(v, 0);
    } else {
        uint64_t bits = bits_at(v, 0);
        memcpy(out, &bits, sizeof *out);
    }
    return KVL_OK;
}

kvl_status kvl_gguf_bool(const kvl_gguf *g, const char *key, bool *out, kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, key);
    if (v == NULL) {
        return KVL_OK;
    }
    if (v->is_array || v->type != KVL_GGUF_BOOL) {
        return fail_type(g, v, "a bool", err);
    }
    *out = v->bytes[0] != 0;
    return KVL_OK;
}

kvl_status kvl_gguf_text(const kvl_gguf *g, const char *key, const char **out, size_t *n, kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, key);
    if (v == NULL) {
        return KVL_OK;
    }
    if (v->is_array || v->type != KVL_GGUF_STRING) {
        return fail_type(g, v, "a string", err);
    }
    kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
    *out = kvl_gguf_next_text(&c, n);
    return KVL_OK;
}

kvl_status kvl_gguf_array(const kvl_gguf *g, const char *key, kvl_gguf_type type, const kvl_gguf_value **out,
                          kvl_err *err) {
    const kvl_gguf_value *v = kvl_gguf_find(g, key);
    if (v == NULL) {
        return KVL_OK;
    }
    if (!v->is_array || v->type != type) {
        return kvl_fail(err, KVL_E_TYPE, "%s: %.*s: expected an array of %s, found %s%s", g->name,
                        (int)KVLI_NAME_CUT, key, types[type].name, v->is_array ? "an array of " : "",
                        types[v->type].name);
    }
    *out = v;
    return KVL_OK;
}

const char *kvl_gguf_next_text(kvl_cursor *c, size_t *n) {
    *n = (size_t)kvl_cursor_u64le(c);
    return (const char *)kvl_cursor_take(c, *n);
}
