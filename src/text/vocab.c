/* Filling the tables of a tokenizer: tokens, merges, added tokens, from either kind of file. */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

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

/* Bytes of a token's text in the file, owned by the caller; NULL without memory. *is_word is false when the
 * text cannot come from merging: it has characters outside the byte alphabet. */
static char *bytes_of_text(kvl_tokenizer_kind kind, const char *text, size_t n, uint32_t *n_out,
                           bool *is_word) {
    char *bytes = kvl_strndup(text, n);
    *n_out = (uint32_t)n;
    *is_word = n != 0;
    if (bytes == NULL || kind != KVL_TOK_BYTES) {
        return bytes;
    }
    uint32_t n_bytes = 0;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        bool is_pair = (c & 0xe0) == 0xc0 && i + 1 < n;
        uint32_t code_point = is_pair ? (c & 31u) << 6 | ((unsigned char)text[i + 1] & 63u) : c;
        int byte = is_pair || c < 0x80 ? kvli_byte_of_alphabet(code_point) : -1;
        if (byte < 0) {
            memcpy(bytes, text, n); /* it decodes to its text */
            *is_word = false;
            return bytes;
        }
        bytes[n_bytes++] = (char)byte;
        i += is_pair ? 2 : 1;
    }
    *n_out = n_bytes;
    return bytes;
}

/* The byte of a token <0xNN>, or -1. */
static int byte_of_token(const char *text, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    const char *high = memchr(digits, text[3], 16);
    const char *low = memchr(digits, text[4], 16);
    return high != NULL && low != NULL ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

/* ---- tokens ---- */

kvl_status kvli_vocab_create(const kvli_vocab_loader *l, size_t n_vocab) {
    kvl_tokenizer *t = l->t;
    if (n_vocab == 0 || n_vocab > KVL_MAX_VOCAB) {
        return kvl_fail(l->err, n_vocab == 0 ? KVL_E_VOCAB : KVL_E_LIMIT,
                        "%s: vocabulary: expected 1 to %d tokens, found %zu", l->name, (int)KVL_MAX_VOCAB,
                        n_vocab);
    }
    KVL_TRY(kvli_map_create(&t->words, n_vocab, l->err));
    t->tokens = kvl_calloc(n_vocab, sizeof *t->tokens);
    bool is_scored = t->kind == KVL_TOK_SPM || t->kind == KVL_TOK_UNIGRAM;
    t->scores = is_scored ? kvl_calloc(n_vocab, sizeof *t->scores) : NULL;
    if (t->tokens == NULL || (is_scored && t->scores == NULL)) {
        return kvl_fail_nomem(l->err, "vocabulary");
    }
    t->n_vocab = n_vocab;
    t->unk_id = -1;
    t->bos_id = -1;
    t->start_id = -1;
    t->eos_id = -1;
    for (size_t i = 0; i < n_vocab; i++) {
        t->tokens[i].byte = -1;
    }
    for (size_t b = 0; b < 256; b++) {
        t->byte_ids[b] = -1;
    }
    return KVL_OK;
}

kvl_status kvli_vocab_add(const kvli_vocab_loader *l, size_t id, const char *text, size_t n) {
    kvl_tokenizer *t = l->t;
    kvl_token *token = &t->tokens[id];
    bool is_word = false;
    if (token->bytes != NULL) {
        return kvl_fail(l->err, KVL_E_DUP, "%s: id %zu: expected one token, found a second one: '%.*s'",
                        l->name, id, cut(n), text);
    }
    token->bytes = bytes_of_text(t->kind, text, n, &token->n_bytes, &is_word);
    if (token->bytes == NULL) {
        return kvl_fail_nomem(l->err, "vocabulary");
    }
    token->byte = (int16_t)(t->kind == KVL_TOK_BYTES ? -1 : byte_of_token(text, n));
    t->max_bytes = token->n_bytes > t->max_bytes ? token->n_bytes : t->max_bytes;
    if (token->byte >= 0) {
        t->byte_ids[token->byte] = (int32_t)id;
    } else if (t->kind == KVL_TOK_BYTES && is_word && token->n_bytes == 1) {
        t->byte_ids[(unsigned char)token->bytes[0]] = (int32_t)id;
    }
    if (!is_word) {
        return KVL_OK;
    }
    int32_t other = kvli_find_bytes(t, token->bytes, token->n_bytes);
    if (other >= 0) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: token '%.*s': expected one id, found %d and %zu", l->name,
                        cut(n), text, other, id);
    }
    uint64_t key = kvl_hash_bytes(KVL_HASH_INIT, token->bytes, token->n_bytes);
    while (kvli_map_put(&t->words, key, (int64_t)id) != (int64_t)id) {
        key++;
    }
    return KVL_OK;
}

kvl_status kvli_vocab_check_bytes(const kvli_vocab_loader *l) {
    const kvl_tokenizer *t = l->t;
    if (t->kind == KVL_TOK_BYTES) { /* SmolLM2 lacks some control characters: they give no id */
        return KVL_OK;
    }
    if (!t->has_byte_fallback) {
        return t->unk_id >= 0
                   ? KVL_OK
                   : kvl_fail(l->err, KVL_E_VOCAB,
                              "%s: expected an unknown token or byte fallback, found neither", l->name);
    }
    for (int b = 0; b < 256; b++) {
        if (t->byte_ids[b] < 0) {
            return kvl_fail(l->err, KVL_E_VOCAB, "%s: vocabulary: expected a token <0x%02X>, found none",
                            l->name, (unsigned)b);
        }
    }
    return KVL_OK;
}

/* ---- merges ---- */

kvl_status kvli_vocab_reserve_merges(const kvli_vocab_loader *l, size_t n) {
    kvl_tokenizer *t = l->t;
    if (n > KVL_MAX_VOCAB) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: merges: expected at most %d, found %zu", l->name,
                        (int)KVL_MAX_VOCAB, n);
    }
    KVL_TRY(kvli_map_create(&t->merges, n, l->err));
    t->merge_ids = kvl_calloc(n, sizeof *t->merge_ids);
    t->n_merges = n;
    return t->merge_ids != NULL ? KVL_OK : kvl_fail_nomem(l->err, "merges");
}

bool kvli_split_merge(const char *text, size_t n, size_t *n_left, const char **right, size_t *n_right) {
    const char *space = memchr(text, ' ', n);
    if (space == NULL) {
        return false;
    }
    *n_left = (size_t)(space - text);
    *right = space + 1;
    *n_right = n - *n_left - 1;
    return memchr(*right, ' ', *n_right) == NULL;
}

/* Id of a token by its text in the file; appends its bytes to *joined. */
static int32_t id_of_text(const kvl_tokenizer *t, const char *text, size_t n, kvl_str *joined) {
    uint32_t n_bytes = 0;
    bool is_word = false;
    char *bytes = bytes_of_text(t->kind, text, n, &n_bytes, &is_word);
    int32_t id = bytes != NULL && is_word ? kvli_find_bytes(t, bytes, n_bytes) : -1;
    if (bytes != NULL) {
        kvl_str_append(joined, bytes, n_bytes);
    } else {
        joined->failed = true; /* out of memory */
    }
    kvl_free(bytes);
    return id;
}

kvl_status kvli_vocab_add_merge(const kvli_vocab_loader *l, size_t rank, const char *left, size_t n_left,
                                const char *right, size_t n_right) {
    kvl_tokenizer *t = l->t;
    kvl_str joined = {0};
    int32_t left_id = id_of_text(t, left, n_left, &joined);
    int32_t right_id = id_of_text(t, right, n_right, &joined);
    kvl_status status = kvl_str_check(&joined, "merges", l->err);
    int32_t id = status == KVL_OK ? kvli_find_bytes(t, kvl_str_text(&joined), joined.len) : -1;
    kvl_str_free(&joined);
    KVL_TRY(status);
    if (left_id < 0 || right_id < 0 || id < 0) {
        return kvl_fail(l->err, KVL_E_MERGE,
                        "%s: merge %zu: expected parts and result in the vocabulary, found '%.*s' + '%.*s'",
                        l->name, rank, cut(n_left), left, cut(n_right), right);
    }
    t->merge_ids[rank] = id;
    /* of two merges of one pair the first rank counts */
    (void)kvli_map_put(&t->merges, (uint64_t)(uint32_t)left_id << 32 | (uint32_t)right_id, (int64_t)rank);
    return KVL_OK;
}

/* ---- added tokens ---- */

kvl_status kvli_vocab_reserve_added(const kvli_vocab_loader *l, size_t n) {
    if (n > KVL_MAX_ADDED) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: added tokens: expected at most %d, found %zu", l->name,
                        (int)KVL_MAX_ADDED, n);
    }
    l->t->added = kvl_calloc(n, sizeof *l->t->added);
    return l->t->added != NULL ? KVL_OK : kvl_fail_nomem(l->err, "added tokens");
}

/* Whether the vocabulary holds that text under the token's id, as it is or in the byte alphabet. */
static kvl_status check_same(const kvli_vocab_loader *l, const kvl_token *token, int32_t id, const char *text,
                             size_t n) {
    uint32_t n_bytes = 0;
    bool is_word = false;
    if (token->bytes == NULL || (token->n_bytes == n && memcmp(token->bytes, text, n) == 0)) {
        return KVL_OK;
    }
    char *bytes = bytes_of_text(l->t->kind, text, n, &n_bytes, &is_word);
    if (bytes == NULL) {
        return kvl_fail_nomem(l->err, "added tokens");
    }
    bool is_same = n_bytes == token->n_bytes && memcmp(bytes, token->bytes, n_bytes) == 0;
    kvl_free(bytes);
    return is_same ? KVL_OK
                   : kvl_fail(l->err, KVL_E_VOCAB,
                              "%s: added token '%.*s': id %d is another token in the vocabulary", l->name,
                              cut(n), text, id);
}

kvl_status kvli_vocab_add_added(const kvli_vocab_loader *l, const kvl_added *like, const char *text,
                                size_t n) {
    kvl_tokenizer *t = l->t;
    kvl_token *token = &t->tokens[like->id];
    if (n == 0 || n > KVL_MAX_ADDED_BYTES) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: added token %d: expected 1 to %d bytes, found %zu", l->name,
                        like->id, (int)KVL_MAX_ADDED_BYTES, n);
    }
    if (token->is_added) {
        return kvl_fail(l->err, KVL_E_DUP, "%s: added token '%.*s': id %d stands twice", l->name, cut(n),
                        text, like->id);
    }
    KVL_TRY(check_same(l, token, like->id, text, n));
    kvl_str normal = {0};
    kvl_status status = KVL_OK;
    if (like->is_normalized) {
        KVL_GO(kvli_normal_apply(&normal, t, text, n, l->err));
    } else {
        kvl_str_append(&normal, text, n);
        KVL_GO(kvl_str_check(&normal, "added tokens", l->err));
    }
    char *copy = kvl_strndup(text, n);
    kvl_added *added = &t->added[t->n_added++];
    *added = *like;
    added->text = kvl_strndup(kvl_str_text(&normal), normal.len);
    added->n_bytes = (uint32_t)normal.len;
    kvl_free(token->bytes);
    *token = (kvl_token){copy, (uint32_t)n, true, like->is_special, token->byte};
    status = copy != NULL && added->text != NULL ? KVL_OK : kvl_fail_nomem(l->err, "added tokens");
done:
    kvl_str_free(&normal);
    return status;
}

static int compare_added(const void *a, const void *b) {
    const kvl_added *x = a;
    const kvl_added *y = b;
    int order = memcmp(x->text, y->text, kvl_min_size(x->n_bytes, y->n_bytes));
    if (order != 0) {
        return order;
    }
    return x->n_bytes != y->n_bytes ? (x->n_bytes < y->n_bytes ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

void kvli_vocab_finish(const kvli_vocab_loader *l) {
    kvl_tokenizer *t = l->t;
    if (t->n_added != 0) {
        qsort(t->added, t->n_added, sizeof *t->added, compare_added);
    }
    for (size_t i = 0; i < t->n_added; i++) {
        t->added_from[(unsigned char)t->added[i].text[0] + 1]++;
    }
    for (size_t b = 1; b <= 256; b++) {
        t->added_from[b] += t->added_from[b - 1];
    }
}

/* Entries of [from, to) whose byte `at` is below `byte`; all share the bytes before it. An entry that ends
 * there is below every byte. */
static size_t lower_bound(const kvl_added *added, size_t from, size_t to, size_t at, unsigned byte) {
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        bool is_below = added[middle].n_bytes <= at || (unsigned char)added[middle].text[at] < byte;
        from = is_below ? middle + 1 : from;
        to = is_below ? to : middle;
    }
    return from;
}

const kvl_added *kvli_find_added(const kvl_tokenizer *t, const char *text, size_t n, bool is_normalized,
                                 bool with_special) {
    const kvl_added *found = NULL;
    const unsigned char first = (unsigned char)text[0];
    size_t from = t->added_from[first];
    size_t to = t->added_from[first + 1];
    for (size_t length = 1; from < to; length++) {
        for (size_t i = from; i < to && t->added[i].n_bytes == length; i++) {
            const kvl_added *a = &t->added[i];
            bool is_wanted = a->is_normalized == is_normalized && (with_special || !a->is_special);
            found = is_wanted ? a : found;
        }
        if (length == n) {
            break;
        }
        unsigned next = (unsigned char)text[length];
        from = lower_bound(t->added, from, to, length, next);
        to = lower_bound(t->added, from, to, length, next + 1);
    }
    return found;
}
