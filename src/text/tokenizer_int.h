/* What the files of the text room share: the tables of a tokenizer. */
#ifndef KVL_TEXT_TOKENIZER_INT_H
#define KVL_TEXT_TOKENIZER_INT_H

#include "base/str.h"
#include "text/tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { KVL_MAX_VOCAB = 1 << 22, KVL_MAX_ADDED = 1 << 16, KVL_MAX_ADDED_BYTES = 1024 };

/* Bytes of one id. */
typedef struct kvl_token {
    char *bytes; /* owned; NULL for a gap in the ids */
    uint32_t n_bytes;
    bool is_added;
    bool is_special;
} kvl_token;

/* Open addressing from 64-bit keys to values; the caller resolves equal keys. */
typedef struct kvl_map {
    uint64_t *keys;
    int64_t *values; /* -1: empty */
    size_t n_slots;  /* power of two, at most half full */
} kvl_map;

kvl_status kvli_map_create(kvl_map *m, size_t n_items, kvl_err *err) KVL_MUST_USE;
void kvli_map_free(kvl_map *m);
/* Puts a value unless the key is there; returns the value that is there afterwards. */
int64_t kvli_map_put(kvl_map *m, uint64_t key, int64_t value);
/* -1 when absent. */
int64_t kvli_map_get(const kvl_map *m, uint64_t key);

typedef struct kvl_added {
    int32_t id;
    bool is_special;
    bool is_normalized; /* searched in the normalised text, not in the raw one */
} kvl_added;

/* Working memory of one word's merges. */
typedef struct kvl_bpe_scratch {
    struct kvl_symbol *symbols; /* [cap] */
    struct kvl_merge *heap;     /* [heap_cap] */
    size_t cap;
    size_t heap_cap;
    size_t n_heap;
} kvl_bpe_scratch;

struct kvl_tokenizer {
    kvl_token *tokens; /* [n_vocab] */
    size_t n_vocab;
    kvl_map words;      /* hash of token bytes -> id; equal hashes are compared */
    kvl_map merges;     /* left id << 32 | right id -> index into merge_ids; the index is the rank */
    int32_t *merge_ids; /* [n_merges] id of the merged token */
    size_t n_merges;
    int32_t byte_ids[256];
    kvl_added *added; /* [n_added], longest first */
    size_t n_added;
    bool is_nfc;
    bool has_pattern;   /* false: no splitting (use_regex false) */
    bool ignore_merges; /* a whole word that is a token is taken as it is */
    pcre2_code *pattern;
    pcre2_match_data *match;
    kvl_bpe_scratch scratch;
    uint64_t hash;
};

/* Fills the tables from a parsed document. */
kvl_status kvli_tokenizer_load(kvl_tokenizer *t, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) KVL_MUST_USE;
/* Compiles the GPT-2 splitting pattern. */
kvl_status kvli_pattern_create(kvl_tokenizer *t, kvl_err *err) KVL_MUST_USE;
/* Appends the ids of one piece of valid, normalised text: splits it into words, merges each. */
kvl_status kvli_encode_piece(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n,
                             kvl_err *err) KVL_MUST_USE;
/* Appends the ids of one word. */
kvl_status kvli_encode_word(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n,
                            kvl_err *err) KVL_MUST_USE;
/* Id of a token with these bytes that came from the vocabulary, or -1. */
int32_t kvli_find_bytes(const kvl_tokenizer *t, const char *bytes, size_t n);
/* Byte that a code point of the byte alphabet stands for, or -1 (GPT-2's bytes_to_unicode, inverted). */
int kvli_byte_of_alphabet(uint32_t code_point);

#endif
