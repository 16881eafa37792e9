/* Encoding and decoding: added tokens out of the raw text, normalisation, added tokens out of the normalised
 * text, words, merges; and back. The order is that of the `tokenizers` library (AddedVocabulary).
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "file/gguf.h"

#include <string.h>

void kvl_ids_free(kvl_ids *ids) {
    kvl_free(ids->ids);
    *ids = (kvl_ids){0};
}

kvl_status kvl_ids_push(kvl_ids *ids, int32_t id, kvl_err *err) {
    if (ids->n == ids->cap) {
        size_t cap = kvl_max_size(64, 2 * ids->cap);
        int32_t *fresh = kvl_resize(ids->ids, ids->n, cap, sizeof *fresh);
        if (fresh == NULL) {
            return kvl_fail_nomem(err, "token ids");
        }
        ids->ids = fresh;
        ids->cap = cap;
    }
    ids->ids[ids->n++] = id;
    return KVL_OK;
}

int32_t kvli_find_bytes(const kvl_tokenizer *t, const char *bytes, size_t n) {
    uint64_t key = kvl_hash_bytes(KVL_HASH_INIT, bytes, n);
    for (;; key++) { /* equal hashes stand under the next keys */
        int64_t id = kvli_map_get(&t->words, key);
        if (id < 0) {
            return -1;
        }
        if (t->tokens[id].n_bytes == n && memcmp(t->tokens[id].bytes, bytes, n) == 0) {
            return (int32_t)id;
        }
    }
}

kvl_status kvl_tokenizer_parse(kvl_tokenizer **out, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) {
    *out = NULL;
    kvl_tokenizer *t = kvl_calloc(1, sizeof *t);
    if (t == NULL) {
        return kvl_fail_nomem(err, name);
    }
    t->hash = kvl_hash_bytes(KVL_HASH_INIT, bytes, n_bytes);
    kvl_status status = kvli_tokenizer_load(t, bytes, n_bytes, name, err);
    if (status != KVL_OK) {
        kvl_tokenizer_close(t);
        return status;
    }
    *out = t;
    return KVL_OK;
}

static kvl_status open_json(kvl_tokenizer **out, const char *path, kvl_err *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    KVL_TRY(kvl_file_load(&bytes, &n_bytes, path, KVL_TOKENIZER_MAX_BYTES, err));
    kvl_status status = kvl_tokenizer_parse(out, bytes, n_bytes, path, err);
    kvl_free(bytes);
    return status;
}

static kvl_status open_gguf(kvl_tokenizer **out, const char *path, kvl_err *err) {
    kvl_file file = {0};
    kvl_gguf *header = NULL;
    KVL_TRY(kvl_file_open(&file, path, err));
    kvl_status status = kvl_gguf_read(&header, &file, err);
    kvl_file_close(&file);
    if (status == KVL_OK) {
        status = kvl_tokenizer_of_gguf(out, header, err);
        kvl_gguf_close(header);
    }
    return status;
}

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path);
    size_t n_end = strlen(end);
    return n >= n_end && strcmp(path + n - n_end, end) == 0;
}

kvl_status kvl_tokenizer_open(kvl_tokenizer **out, const char *path, kvl_err *err) {
    *out = NULL;
    if (ends_with(path, ".json")) {
        return open_json(out, path, err);
    }
    if (ends_with(path, ".gguf")) {
        return open_gguf(out, path, err);
    }
    kvl_str file = {0};
    kvl_str_printf(&file, "%s/tokenizer.json", path);
    kvl_status status = kvl_str_check(&file, "path", err);
    if (status == KVL_OK) {
        status = open_json(out, kvl_str_text(&file), err);
    }
    kvl_str_free(&file);
    return status;
}

void kvl_tokenizer_close(kvl_tokenizer *t) {
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; t->tokens != NULL && i < t->n_vocab; i++) {
        kvl_free(t->tokens[i].bytes);
    }
    kvl_free(t->tokens);
    kvli_map_free(&t->words);
    kvli_map_free(&t->merges);
    kvl_free(t->merge_ids);
    for (size_t i = 0; t->added != NULL && i < t->n_added; i++) {
        kvl_free(t->added[i].text);
    }
    kvl_free(t->added);
    kvl_free(t->scores);
    for (size_t i = 0; i < t->n_normals; i++) {
        kvl_free(t->normals[i].from);
        kvl_free(t->normals[i].to);
    }
    for (size_t i = 0; i < t->n_patterns; i++) {
        pcre2_match_data_free(t->matches[i]);
        pcre2_code_free(t->patterns[i]);
    }
    kvl_free(t->scratch.symbols);
    kvl_free(t->scratch.heap);
    kvl_free(t);
}

size_t kvl_tokenizer_vocab_size(const kvl_tokenizer *t) { return t->n_vocab; }
int32_t kvl_tokenizer_bos(const kvl_tokenizer *t) { return t->bos_id; }
int32_t kvl_tokenizer_start(const kvl_tokenizer *t) { return t->start_id; }
int32_t kvl_tokenizer_eos(const kvl_tokenizer *t) { return t->eos_id; }
uint64_t kvl_tokenizer_hash(const kvl_tokenizer *t) { return t->hash; }

int32_t kvl_tokenizer_find(const kvl_tokenizer *t, const char *token) {
    size_t n = strlen(token);
    for (size_t i = 0; i < t->n_added; i++) {
        const kvl_token *added = &t->tokens[t->added[i].id];
        if (added->n_bytes == n && memcmp(added->bytes, token, n) == 0) {
            return t->added[i].id;
        }
    }
    return kvli_find_bytes(t, token, n);
}

/* ---- encoding ---- */

typedef struct encoding {
    kvl_tokenizer *t;
    kvl_ids *out;
    bool parse_special;
    size_t n_before; /* ids in `out` before this text */
} encoding;

typedef kvl_status piece_fn(const encoding *e, const char *text, size_t n, kvl_err *err);

/* Cuts added tokens of one kind out of the text and hands the pieces between to fn. */
static kvl_status split_added(const encoding *e, const char *text, size_t n, bool is_normalized, piece_fn *fn,
                              kvl_err *err) {
    size_t piece = 0;
    for (size_t at = 0; at < n;) {
        const kvl_added *a = kvli_find_added(e->t, text + at, n - at, is_normalized, e->parse_special);
        if (a == NULL) {
            at++;
            continue;
        }
        size_t end = at;
        while (a->is_left_stripped && end > piece && kvli_space_at_end(text + piece, end - piece) != 0) {
            end -= kvli_space_at_end(text + piece, end - piece);
        }
        if (end > piece) {
            KVL_TRY(fn(e, text + piece, end - piece, err));
        }
        KVL_TRY(kvl_ids_push(e->out, a->id, err));
        at += a->n_bytes;
        while (a->is_right_stripped && kvli_space_at_start(text + at, n - at) != 0) {
            at += kvli_space_at_start(text + at, n - at);
        }
        piece = at;
    }
    return n > piece ? fn(e, text + piece, n - piece, err) : KVL_OK;
}

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581 */
enum { N_MARK = sizeof space_mark - 1 };

static kvl_status encode_words(const encoding *e, const char *text, size_t n, kvl_err *err) {
    const kvl_tokenizer *t = e->t;
    bool is_marked = n >= N_MARK && memcmp(text, space_mark, N_MARK) == 0;
    bool is_first = e->out->n == e->n_before;
    if (!t->has_space_prefix || is_marked || (t->is_prefix_first_only && !is_first)) {
        return kvli_encode_piece(e->t, e->out, text, n, err);
    }
    kvl_str marked = {.max_len = (size_t)1 << 33};
    kvl_str_puts(&marked, space_mark);
    kvl_str_append(&marked, text, n);
    kvl_status status = kvl_str_check(&marked, "text", err);
    if (status == KVL_OK) {
        status = kvli_encode_piece(e->t, e->out, kvl_str_text(&marked), marked.len, err);
    }
    kvl_str_free(&marked);
    return status;
}

static kvl_status encode_normalised(const encoding *e, const char *text, size_t n, kvl_err *err) {
    if (!kvli_normal_changes(e->t, text, n)) {
        return split_added(e, text, n, true, encode_words, err);
    }
    kvl_str normal = {0};
    kvl_status status = kvli_normal_apply(&normal, e->t, text, n, err);
    if (status == KVL_OK) {
        status = split_added(e, kvl_str_text(&normal), normal.len, true, encode_words, err);
    }
    kvl_str_free(&normal);
    return status;
}

kvl_status kvl_tokenizer_encode(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n_bytes,
                                bool parse_special, kvl_err *err) {
    encoding e = {t, out, parse_special, out->n};
    if (kvl_is_utf8(text, n_bytes)) {
        return split_added(&e, text, n_bytes, false, encode_normalised, err);
    }
    kvl_str repaired = {.max_len = (size_t)1 << 33};
    kvli_repair_utf8(&repaired, text, n_bytes);
    kvl_status status = kvl_str_check(&repaired, "text", err);
    if (status == KVL_OK) {
        status = split_added(&e, kvl_str_text(&repaired), repaired.len, false, encode_normalised, err);
    }
    kvl_str_free(&repaired);
    return status;
}

/* ---- decoding ---- */

static void append_decoded(kvl_str *text, const kvl_tokenizer *t, const kvl_token *token) {
    if (token->byte >= 0) {
        const char byte = (char)token->byte;
        kvl_str_append(text, &byte, 1);
        return;
    }
    for (size_t i = 0; i < token->n_bytes;) {
        bool is_mark = t->kind != KVL_TOK_BYTES && token->n_bytes - i >= N_MARK &&
                       memcmp(token->bytes + i, space_mark, N_MARK) == 0;
        kvl_str_append(text, is_mark ? " " : token->bytes + i, 1);
        i += is_mark ? N_MARK : 1;
    }
}

kvl_status kvl_tokenizer_decode(const kvl_tokenizer *t, char **out, size_t *n_bytes, const int32_t *ids,
                                size_t n, bool skip_special, kvl_err *err) {
    kvl_str text = {0};
    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->n_vocab || t->tokens[ids[i]].bytes == NULL) {
            kvl_str_free(&text);
            return kvl_fail(err, KVL_E_VOCAB,
                            "decoding: expected an id of the vocabulary (below %zu), found %d", t->n_vocab,
                            ids[i]);
        }
        const kvl_token *token = &t->tokens[ids[i]];
        if (!(skip_special && token->is_special)) {
            append_decoded(&text, t, token);
        }
    }
    const char *start = kvl_str_text(&text);
    if (t->is_prefix_dropped && *start == ' ') {
        start++;
    }
    kvl_status status = kvl_str_check(&text, "decoded text", err);
    if (status == KVL_OK) {
        *n_bytes = text.len - (size_t)(start - kvl_str_text(&text));
        *out = kvl_strndup(start, *n_bytes);
        status = *out != NULL ? KVL_OK : kvl_fail_nomem(err, "decoded text");
    }
    kvl_str_free(&text);
    return status;
}
