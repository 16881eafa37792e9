/* Encoding and decoding: added tokens out of the raw text, normalisation, added tokens out of the normalised
 * text, words, merges; and back. The order is that of the `tokenizers` library (AddedVocabulary).
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"

#include <string.h>

#include <utf8proc.h>

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
    if (status == KVL_OK && t->has_pattern) {
        status = kvli_pattern_create(t, err);
    }
    if (status != KVL_OK) {
        kvl_tokenizer_close(t);
        return status;
    }
    *out = t;
    return KVL_OK;
}

kvl_status kvl_tokenizer_open(kvl_tokenizer **out, const char *path, kvl_err *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    *out = NULL;
    KVL_TRY(kvl_file_load(&bytes, &n_bytes, path, KVL_TOKENIZER_MAX_BYTES, err));
    kvl_status status = kvl_tokenizer_parse(out, bytes, n_bytes, path, err);
    kvl_free(bytes);
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
    kvl_free(t->added);
    pcre2_match_data_free(t->match);
    pcre2_code_free(t->pattern);
    kvl_free(t->scratch.symbols);
    kvl_free(t->scratch.heap);
    kvl_free(t);
}

size_t kvl_tokenizer_vocab_size(const kvl_tokenizer *t) { return t->n_vocab; }
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
} encoding;

/* The longest added token of the given kind that starts at text, or NULL. `added` is sorted longest first. */
static const kvl_added *added_at(const encoding *e, const char *text, size_t n, bool is_normalized) {
    for (size_t i = 0; i < e->t->n_added; i++) {
        const kvl_added *a = &e->t->added[i];
        const kvl_token *token = &e->t->tokens[a->id];
        bool is_wanted = a->is_normalized == is_normalized && (e->parse_special || !a->is_special);
        if (is_wanted && token->n_bytes <= n && token->bytes[0] == text[0] &&
            memcmp(token->bytes, text, token->n_bytes) == 0) {
            return a;
        }
    }
    return NULL;
}

typedef kvl_status piece_fn(const encoding *e, const char *text, size_t n, kvl_err *err);

/* Cuts added tokens of one kind out of the text and hands the pieces between to fn. */
static kvl_status split_added(const encoding *e, const char *text, size_t n, bool is_normalized, piece_fn *fn,
                              kvl_err *err) {
    bool starts[256] = {false};
    for (size_t i = 0; i < e->t->n_added; i++) {
        starts[(unsigned char)e->t->tokens[e->t->added[i].id].bytes[0]] = true;
    }
    size_t piece = 0;
    for (size_t at = 0; at < n;) {
        const kvl_added *a =
            starts[(unsigned char)text[at]] ? added_at(e, text + at, n - at, is_normalized) : NULL;
        if (a == NULL) {
            at++;
            continue;
        }
        if (at > piece) {
            KVL_TRY(fn(e, text + piece, at - piece, err));
        }
        KVL_TRY(kvl_ids_push(e->out, a->id, err));
        at += e->t->tokens[a->id].n_bytes;
        piece = at;
    }
    return n > piece ? fn(e, text + piece, n - piece, err) : KVL_OK;
}

static kvl_status encode_words(const encoding *e, const char *text, size_t n, kvl_err *err) {
    return kvli_encode_piece(e->t, e->out, text, n, err);
}

static bool is_ascii(const char *text, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= (unsigned char)text[i];
    }
    return all < 0x80;
}

/* Appends the NFC form of text without U+11A7. */
static kvl_status append_nfc(kvl_str *out, const char *text, size_t n, kvl_err *err) {
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_ssize_t n_nfc = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &nfc,
                                          (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (n_nfc < 0) {
        return kvl_fail(err, n_nfc == UTF8PROC_ERROR_NOMEM ? KVL_E_NOMEM : KVL_E_TEXT, "normalisation: %s",
                        utf8proc_errmsg(n_nfc));
    }
    kvl_str_append(out, (const char *)nfc, (size_t)n_nfc);
    kvl_free(nfc); /* utf8proc allocates from the C library, as base does */
    return KVL_OK;
}

/* utf8proc 2.8 swallows U+11A7 behind a Hangul syllable; the character starts a cluster and composes with
 * nothing, so that normalising on both sides of it is exact. */
static kvl_status normalise(kvl_str *out, const char *text, size_t n, kvl_err *err) {
    static const char apart[] = "\xe1\x86\xa7";
    for (size_t piece = 0, at = 0; piece < n;) {
        while (at < n && (n - at < 3 || memcmp(text + at, apart, 3) != 0)) {
            at++;
        }
        if (at > piece) {
            KVL_TRY(append_nfc(out, text + piece, at - piece, err));
        }
        if (at < n) {
            kvl_str_append(out, apart, 3);
            at += 3;
        }
        piece = at;
    }
    return kvl_str_check(out, "normalised text", err);
}

static kvl_status encode_normalised(const encoding *e, const char *text, size_t n, kvl_err *err) {
    if (!e->t->is_nfc || is_ascii(text, n)) {
        return split_added(e, text, n, true, encode_words, err);
    }
    kvl_str nfc = {.max_len = (size_t)1 << 33};
    kvl_status status = normalise(&nfc, text, n, err);
    if (status == KVL_OK) {
        status = split_added(e, kvl_str_text(&nfc), nfc.len, true, encode_words, err);
    }
    kvl_str_free(&nfc);
    return status;
}

/* Length of a valid UTF-8 character at text, or 0; *n_bad gets the length of the maximal bad part (at least
 * 1). */
static size_t utf8_char(const unsigned char *s, size_t n, size_t *n_bad) {
    unsigned char c = s[0];
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte: no overlong forms, no surrogates */
    size_t len = c < 0x80                 ? 1
                 : c >= 0xc2 && c <= 0xdf ? 2
                 : c >= 0xe0 && c <= 0xef ? 3
                 : c >= 0xf0 && c <= 0xf4 ? 4
                                          : 0;
    *n_bad = 1;
    low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
    high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
    for (size_t i = 1; i < len; i++) {
        if (i >= n || s[i] < low || s[i] > high) {
            *n_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

/* Appends text to out with every maximal bad part replaced by U+FFFD. */
static void repair_utf8(kvl_str *out, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t n_bad = 0;
        size_t len = utf8_char((const unsigned char *)text + at, n - at, &n_bad);
        if (len != 0) {
            kvl_str_append(out, text + at, len);
            at += len;
        } else {
            kvl_str_puts(out, "\xef\xbf\xbd");
            at += n_bad;
        }
    }
}

static bool is_utf8(const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t n_bad = 0;
        size_t len = utf8_char((const unsigned char *)text + at, n - at, &n_bad);
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

kvl_status kvl_tokenizer_encode(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n_bytes,
                                bool parse_special, kvl_err *err) {
    encoding e = {t, out, parse_special};
    if (is_ascii(text, n_bytes) || is_utf8(text, n_bytes)) {
        return split_added(&e, text, n_bytes, false, encode_normalised, err);
    }
    kvl_str repaired = {.max_len = (size_t)1 << 33};
    repair_utf8(&repaired, text, n_bytes);
    kvl_status status = kvl_str_check(&repaired, "text", err);
    if (status == KVL_OK) {
        status = split_added(&e, kvl_str_text(&repaired), repaired.len, false, encode_normalised, err);
    }
    kvl_str_free(&repaired);
    return status;
}

/* ---- decoding ---- */

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
            kvl_str_append(&text, token->bytes, token->n_bytes);
        }
    }
    kvl_status status = kvl_str_check(&text, "decoded text", err);
    if (status == KVL_OK) {
        *n_bytes = text.len;
        *out = kvl_strndup(kvl_str_text(&text), text.len);
        status = *out != NULL ? KVL_OK : kvl_fail_nomem(err, "decoded text");
    }
    kvl_str_free(&text);
    return status;
}
