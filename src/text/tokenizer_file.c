/* tokenizer.json -> tables.
 *
 * Byte-level BPE only; every field that would change ids and is not known is refused by name. `truncation`,
 * `padding` and a ByteLevel post-processor change no ids here and are ignored. Source: the `tokenizers`
 * library, 0.2x serialisation.
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"

#include <string.h>

typedef struct loader {
    kvl_tokenizer *t;
    const char *name; /* of the file */
    kvl_err *err;
} loader;

static int cut(size_t n) { return (int)kvl_min_size(n, 80); }

/* ---- byte alphabet ---- */

static bool is_printable_byte(int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

int kvli_byte_of_alphabet(uint32_t code_point) {
    if (code_point < 256) {
        return is_printable_byte((int)code_point) ? (int)code_point : -1;
    }
    uint32_t next = 256; /* the other bytes take 256, 257, ... in order */
    for (int b = 0; b < 256; b++) {
        if (!is_printable_byte(b) && next++ == code_point) {
            return b;
        }
    }
    return -1;
}

/* Bytes of a token's text in the file; *is_word is false when it has characters outside the byte alphabet. */
static char *bytes_of_text(const char *text, size_t n, uint32_t *n_out, bool *is_word) {
    char *bytes = kvl_calloc(n + 1, 1);
    size_t n_bytes = 0;
    *is_word = true;
    for (size_t i = 0; bytes != NULL && i < n && *is_word;) { /* jansson has checked the UTF-8 */
        unsigned char c = (unsigned char)text[i];
        size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : 3;
        uint32_t code_point = len == 1 ? c : len == 2 ? c & 31u : 0xffffu;
        if (len == 2 && i + 1 < n) {
            code_point = code_point << 6 | ((unsigned char)text[i + 1] & 63u);
        }
        int byte = kvli_byte_of_alphabet(code_point);
        *is_word = byte >= 0;
        bytes[n_bytes++] = (char)byte;
        i += len;
    }
    if (bytes != NULL && !*is_word) { /* unreachable by merging; decodes to its text */
        memcpy(bytes, text, n);
        n_bytes = n;
    }
    *n_out = (uint32_t)n_bytes;
    return bytes;
}

/* ---- refusing what is not known ---- */

static kvl_status refuse(const loader *l, const char *what, const json_t *value, const char *known) {
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    kvl_status status = kvl_fail(l->err, KVL_E_UNSUPPORTED, "%s: %s: expected %s, found %.80s", l->name, what,
                                 known, text != NULL ? text : "nothing");
    kvl_free(text);
    return status;
}

/* A field that must be absent, null, false, empty or 0 to mean nothing. */
static kvl_status must_be_off(const loader *l, const json_t *object, const char *field) {
    const json_t *v = json_object_get(object, field);
    bool is_off = v == NULL || json_is_null(v) || json_is_false(v) ||
                  (json_is_string(v) && json_string_length(v) == 0) ||
                  (json_is_number(v) && json_number_value(v) == 0);
    return is_off ? KVL_OK : refuse(l, field, v, "none");
}

static bool has_type(const json_t *object, const char *type) {
    const char *found = json_string_value(json_object_get(object, "type"));
    return found != NULL && strcmp(found, type) == 0;
}

static kvl_status load_normalizer(const loader *l, const json_t *v) {
    if (v == NULL || json_is_null(v)) {
        return KVL_OK;
    }
    const json_t *list = has_type(v, "Sequence") ? json_object_get(v, "normalizers") : NULL;
    if (json_array_size(list) == 1) {
        v = json_array_get(list, 0);
    }
    if (!has_type(v, "NFC") && !(list != NULL && json_array_size(list) == 0)) {
        return refuse(l, "normalizer", v, "null or NFC");
    }
    l->t->is_nfc = has_type(v, "NFC");
    return KVL_OK;
}

static kvl_status load_pre_tokenizer(const loader *l, const json_t *v) {
    const json_t *list = has_type(v, "Sequence") ? json_object_get(v, "pretokenizers") : NULL;
    if (json_array_size(list) == 1) {
        v = json_array_get(list, 0);
    }
    if (!has_type(v, "ByteLevel")) {
        return refuse(l, "pre_tokenizer", v, "ByteLevel");
    }
    KVL_TRY(must_be_off(l, v, "add_prefix_space"));
    l->t->has_pattern = !json_is_false(json_object_get(v, "use_regex"));
    return KVL_OK;
}

static kvl_status check_rest(const loader *l, const json_t *root) {
    const json_t *post = json_object_get(root, "post_processor");
    const json_t *decoder = json_object_get(root, "decoder");
    if (post != NULL && !json_is_null(post) && !has_type(post, "ByteLevel")) {
        return refuse(l, "post_processor", post, "null or ByteLevel");
    }
    if (decoder != NULL && !json_is_null(decoder) && !has_type(decoder, "ByteLevel")) {
        return refuse(l, "decoder", decoder, "null or ByteLevel");
    }
    return KVL_OK;
}

/* ---- ids ---- */

static kvl_status read_id(const loader *l, const json_t *v, const char *token, size_t *out) {
    if (!json_is_integer(v)) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: id of '%.80s': expected a whole number, found another type",
                        l->name, token);
    }
    json_int_t id = json_integer_value(v);
    if (id < 0) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: id of '%.80s': expected 0 or more, found %lld", l->name,
                        token, (long long)id);
    }
    if (id >= KVL_MAX_VOCAB) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: id of '%.80s': expected below %d, found %lld", l->name,
                        token, (int)KVL_MAX_VOCAB, (long long)id);
    }
    *out = (size_t)id;
    return KVL_OK;
}

/* Largest id + 1 over vocabulary and added tokens; ids far beyond the number of entries are refused, so that
 * a short file cannot ask for a large table. */
static kvl_status count_ids(const loader *l, const json_t *vocab, const json_t *added) {
    const char *token = NULL;
    json_t *v = NULL;
    size_t i = 0;
    size_t n_entries = json_object_size(vocab) + json_array_size(added);
    json_object_foreach((json_t *)vocab, token, v) {
        size_t id = 0;
        KVL_TRY(read_id(l, v, token, &id));
        l->t->n_vocab = kvl_max_size(l->t->n_vocab, id + 1);
    }
    json_array_foreach(added, i, v) {
        const char *content = json_string_value(json_object_get(v, "content"));
        size_t id = 0;
        if (content == NULL) {
            return kvl_fail(l->err, KVL_E_TYPE,
                            "%s: added_tokens[%zu]: expected a content string, found none", l->name, i);
        }
        KVL_TRY(read_id(l, json_object_get(v, "id"), content, &id));
        l->t->n_vocab = kvl_max_size(l->t->n_vocab, id + 1);
    }
    if (n_entries == 0) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: model.vocab: expected tokens, found none", l->name);
    }
    if (l->t->n_vocab > 16 * n_entries + 1024) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: expected ids near the number of tokens (%zu), found %zu",
                        l->name, n_entries, l->t->n_vocab - 1);
    }
    return KVL_OK;
}

static kvl_status load_vocab(const loader *l, const json_t *vocab) {
    kvl_tokenizer *t = l->t;
    const char *text = NULL;
    json_t *v = NULL;
    KVL_TRY(kvli_map_create(&t->words, 2 * json_object_size(vocab), l->err));
    for (size_t b = 0; b < 256; b++) {
        t->byte_ids[b] = -1;
    }
    json_object_foreach((json_t *)vocab, text, v) {
        size_t id = (size_t)json_integer_value(v);
        kvl_token *token = &t->tokens[id];
        bool is_word = false;
        if (token->bytes != NULL) {
            return kvl_fail(l->err, KVL_E_DUP, "%s: id %zu: expected one token, found a second one: '%.80s'",
                            l->name, id, text);
        }
        token->bytes = bytes_of_text(text, strlen(text), &token->n_bytes, &is_word);
        if (token->bytes == NULL) {
            return kvl_fail_nomem(l->err, "vocabulary");
        }
        if (is_word && token->n_bytes == 1) {
            t->byte_ids[(unsigned char)token->bytes[0]] = (int32_t)id;
        }
        if (is_word && token->n_bytes != 0) {
            uint64_t key = kvl_hash_bytes(KVL_HASH_INIT, token->bytes, token->n_bytes);
            while (kvli_map_put(&t->words, key, (int64_t)id) != (int64_t)id) {
                key++;
            }
        }
    }
    for (int b = 0; b < 256; b++) {
        /* bytes that cannot occur in UTF-8 may be missing: text is repaired before it is encoded */
        bool can_occur = b < 0xc0 || (b >= 0xc2 && b <= 0xf4);
        if (t->byte_ids[b] < 0 && can_occur) {
            return kvl_fail(l->err, KVL_E_VOCAB,
                            "%s: model.vocab: expected a token for byte 0x%02x, found none", l->name,
                            (unsigned)b);
        }
        t->byte_ids[b] = t->byte_ids[b] < 0 ? t->byte_ids['?'] : t->byte_ids[b];
    }
    return KVL_OK;
}

/* ---- merges ---- */

/* The two parts of a merge in either form, "a b" or ["a", "b"]. */
static bool merge_parts(const json_t *v, const char **left, size_t *n_left, const char **right,
                        size_t *n_right) {
    if (json_is_array(v)) {
        const json_t *a = json_array_get(v, 0);
        const json_t *b = json_array_get(v, 1);
        *left = json_string_value(a);
        *right = json_string_value(b);
        *n_left = json_string_length(a);
        *n_right = json_string_length(b);
        return json_array_size(v) == 2 && *left != NULL && *right != NULL;
    }
    *left = json_string_value(v);
    const char *space = *left != NULL ? strchr(*left, ' ') : NULL;
    if (space == NULL || strchr(space + 1, ' ') != NULL) {
        return false;
    }
    *n_left = (size_t)(space - *left);
    *right = space + 1;
    *n_right = json_string_length(v) - *n_left - 1;
    return true;
}

static int32_t id_of_text(const kvl_tokenizer *t, const char *text, size_t n, kvl_str *joined) {
    uint32_t n_bytes = 0;
    bool is_word = false;
    char *bytes = bytes_of_text(text, n, &n_bytes, &is_word);
    int32_t id = bytes != NULL && is_word ? kvli_find_bytes(t, bytes, n_bytes) : -1;
    if (bytes != NULL) {
        kvl_str_append(joined, bytes, n_bytes);
    } else {
        joined->failed = true; /* out of memory */
    }
    kvl_free(bytes);
    return id;
}

static kvl_status load_merge(const loader *l, size_t rank, const json_t *v, kvl_str *joined) {
    const char *left = NULL;
    const char *right = NULL;
    size_t n_left = 0;
    size_t n_right = 0;
    if (!merge_parts(v, &left, &n_left, &right, &n_right)) {
        return kvl_fail(l->err, KVL_E_MERGE,
                        "%s: model.merges[%zu]: expected two parts, found something else", l->name, rank);
    }
    kvl_str_clear(joined);
    int32_t left_id = id_of_text(l->t, left, n_left, joined);
    int32_t right_id = id_of_text(l->t, right, n_right, joined);
    KVL_TRY(kvl_str_check(joined, "merges", l->err));
    int32_t id = kvli_find_bytes(l->t, kvl_str_text(joined), joined->len);
    if (left_id < 0 || right_id < 0 || id < 0) {
        return kvl_fail(l->err, KVL_E_MERGE,
                        "%s: model.merges[%zu]: expected parts and result in the vocabulary, found "
                        "'%.*s' + '%.*s'",
                        l->name, rank, cut(n_left), left, cut(n_right), right);
    }
    l->t->merge_ids[rank] = id;
    /* of two merges of one pair the first rank counts */
    (void)kvli_map_put(&l->t->merges, (uint64_t)(uint32_t)left_id << 32 | (uint32_t)right_id, (int64_t)rank);
    return KVL_OK;
}

static kvl_status load_merges(const loader *l, const json_t *merges) {
    size_t n = json_array_size(merges);
    kvl_str joined = {0};
    kvl_status status = KVL_OK;
    if (!json_is_array(merges)) {
        return kvl_fail(l->err, KVL_E_TYPE, "%s: model.merges: expected a list, found something else",
                        l->name);
    }
    if (n > KVL_MAX_VOCAB) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: model.merges: expected at most %d, found %zu", l->name,
                        (int)KVL_MAX_VOCAB, n);
    }
    KVL_TRY(kvli_map_create(&l->t->merges, n, l->err));
    l->t->merge_ids = kvl_calloc(n, sizeof *l->t->merge_ids);
    l->t->n_merges = n;
    if (l->t->merge_ids == NULL) {
        return kvl_fail_nomem(l->err, "merges");
    }
    for (size_t rank = 0; rank < n && status == KVL_OK; rank++) {
        status = load_merge(l, rank, json_array_get(merges, rank), &joined);
    }
    kvl_str_free(&joined);
    return status;
}

/* ---- added tokens ---- */

static kvl_status load_added_token(const loader *l, size_t i, const json_t *v) {
    kvl_tokenizer *t = l->t;
    const json_t *content = json_object_get(v, "content");
    size_t n = json_string_length(content);
    size_t id = (size_t)json_integer_value(json_object_get(v, "id"));
    kvl_token *token = &t->tokens[id];
    if (n == 0 || n > KVL_MAX_ADDED_BYTES) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: added_tokens[%zu]: expected 1 to %d bytes, found %zu",
                        l->name, i, (int)KVL_MAX_ADDED_BYTES, n);
    }
    KVL_TRY(must_be_off(l, v, "single_word"));
    KVL_TRY(must_be_off(l, v, "lstrip"));
    KVL_TRY(must_be_off(l, v, "rstrip"));
    if (token->is_added) {
        return kvl_fail(l->err, KVL_E_DUP, "%s: added_tokens[%zu]: id %zu stands twice", l->name, i, id);
    }
    bool is_same = token->bytes == NULL ||
                   (token->n_bytes == n && memcmp(token->bytes, json_string_value(content), n) == 0);
    if (!is_same) {
        /* the vocabulary may hold it in byte-alphabet form */
        uint32_t n_bytes = 0;
        bool is_word = false;
        char *bytes = bytes_of_text(json_string_value(content), n, &n_bytes, &is_word);
        if (bytes == NULL) {
            return kvl_fail_nomem(l->err, "added tokens");
        }
        is_same = n_bytes == token->n_bytes && memcmp(bytes, token->bytes, n_bytes) == 0;
        kvl_free(bytes);
    }
    if (!is_same) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: added_tokens[%zu]: id %zu is another token in model.vocab",
                        l->name, i, id);
    }
    kvl_free(token->bytes);
    *token = (kvl_token){.bytes = kvl_strndup(json_string_value(content), n),
                         .n_bytes = (uint32_t)n,
                         .is_added = true,
                         .is_special = json_is_true(json_object_get(v, "special"))};
    if (token->bytes == NULL) {
        return kvl_fail_nomem(l->err, "added tokens");
    }
    t->added[t->n_added++] = (kvl_added){.id = (int32_t)id,
                                         .is_special = token->is_special,
                                         .is_normalized = json_is_true(json_object_get(v, "normalized"))};
    return KVL_OK;
}

/* Longest first, so that the first match is the longest. An insertion sort would be quadratic: buckets by
 * length. */
static kvl_status sort_added(const loader *l) {
    kvl_tokenizer *t = l->t;
    kvl_added *sorted = kvl_calloc(t->n_added, sizeof *sorted);
    size_t count[KVL_MAX_ADDED_BYTES + 2] = {0};
    if (sorted == NULL) {
        return kvl_fail_nomem(l->err, "added tokens");
    }
    for (size_t i = 0; i < t->n_added; i++) {
        count[KVL_MAX_ADDED_BYTES - t->tokens[t->added[i].id].n_bytes + 1]++;
    }
    for (size_t n = 1; n < KVL_MAX_ADDED_BYTES + 2; n++) {
        count[n] += count[n - 1];
    }
    for (size_t i = 0; i < t->n_added; i++) {
        sorted[count[KVL_MAX_ADDED_BYTES - t->tokens[t->added[i].id].n_bytes]++] = t->added[i];
    }
    kvl_free(t->added);
    t->added = sorted;
    return KVL_OK;
}

static kvl_status load_added(const loader *l, const json_t *added) {
    size_t i = 0;
    json_t *v = NULL;
    if (json_array_size(added) > KVL_MAX_ADDED) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: added_tokens: expected at most %d, found %zu", l->name,
                        (int)KVL_MAX_ADDED, json_array_size(added));
    }
    l->t->added = kvl_calloc(json_array_size(added), sizeof *l->t->added);
    if (l->t->added == NULL) {
        return kvl_fail_nomem(l->err, "added tokens");
    }
    json_array_foreach(added, i, v) { KVL_TRY(load_added_token(l, i, v)); }
    return sort_added(l);
}

/* ---- the whole document ---- */

static kvl_status load_root(const loader *l, const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    static const char *const off[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                      "end_of_word_suffix", "byte_fallback"};
    if (!has_type(model, "BPE") &&
        (json_object_get(model, "type") != NULL || json_object_get(model, "merges") == NULL)) {
        return refuse(l, "model.type", json_object_get(model, "type"), "BPE");
    }
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        KVL_TRY(must_be_off(l, model, off[i]));
    }
    if (!json_is_object(vocab)) {
        return kvl_fail(l->err, KVL_E_TYPE, "%s: model.vocab: expected an object, found something else",
                        l->name);
    }
    l->t->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    KVL_TRY(load_normalizer(l, json_object_get(root, "normalizer")));
    KVL_TRY(load_pre_tokenizer(l, json_object_get(root, "pre_tokenizer")));
    KVL_TRY(check_rest(l, root));
    KVL_TRY(count_ids(l, vocab, added));
    l->t->tokens = kvl_calloc(l->t->n_vocab, sizeof *l->t->tokens);
    if (l->t->tokens == NULL) {
        return kvl_fail_nomem(l->err, "vocabulary");
    }
    KVL_TRY(load_vocab(l, vocab));
    KVL_TRY(load_merges(l, json_object_get(model, "merges")));
    return load_added(l, added);
}

kvl_status kvli_tokenizer_load(kvl_tokenizer *t, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) {
    json_t *root = NULL;
    KVL_TRY(kvl_json_parse(&root, bytes, n_bytes, name, err));
    loader l = {t, name, err};
    kvl_status status = load_root(&l, root);
    json_decref(root);
    return status;
}
