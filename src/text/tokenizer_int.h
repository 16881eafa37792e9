/* What the files of the text room share: the tables of a tokenizer. */
#ifndef KVL_TEXT_TOKENIZER_INT_H
#define KVL_TEXT_TOKENIZER_INT_H

#include "base/str.h"
#include "text/tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    KVL_MAX_VOCAB = 1 << 22,
    KVL_MAX_ADDED = 1 << 16,
    KVL_MAX_ADDED_BYTES = 1024,
    KVL_MAX_NORMALS = 8,
    KVL_MAX_PATTERNS = 4,
};

/* How pieces of text become ids. */
typedef enum kvl_tokenizer_kind {
    KVL_TOK_BYTES,   /* byte-level BPE: symbols are bytes, vocabulary in GPT-2's byte alphabet */
    KVL_TOK_CHARS,   /* BPE over characters, merges listed; unknown ones become byte tokens */
    KVL_TOK_SPM,     /* the same, merges ranked by the scores of their results (SentencePiece, GGUF) */
    KVL_TOK_UNIGRAM, /* most likely segmentation */
} kvl_tokenizer_kind;

/* Token of one id. */
typedef struct kvl_token {
    char *bytes; /* owned; NULL for a gap in the ids. As found in text: U+2581 still stands for a space */
    uint32_t n_bytes;
    bool is_added;
    bool is_special;
    int16_t byte; /* of a byte token <0xNN>; -1 */
} kvl_token;

typedef enum kvl_normal_kind {
    KVL_NORMAL_NFC,
    KVL_NORMAL_NFKC,
    KVL_NORMAL_PREPEND,
    KVL_NORMAL_REPLACE,
} kvl_normal_kind;

/* One step of normalisation. */
typedef struct kvl_normal {
    kvl_normal_kind kind;
    char *from; /* of a replacement */
    char *to;   /* of a replacement; what is prepended */
} kvl_normal;

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
    char *text; /* owned; what is searched for */
    uint32_t n_bytes;
    bool is_special;
    bool is_normalized;                       /* searched in the normalised text, not in the raw one */
    bool is_left_stripped, is_right_stripped; /* takes the white space on that side along */
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
    kvl_tokenizer_kind kind;
    kvl_token *tokens; /* [n_vocab] */
    double *scores;    /* [n_vocab]; NULL unless SPM or UNIGRAM */
    size_t n_vocab;
    kvl_map words;      /* hash of token bytes -> id; equal hashes are compared */
    kvl_map merges;     /* left id << 32 | right id -> index into merge_ids; the index is the rank */
    int32_t *merge_ids; /* [n_merges] id of the merged token */
    size_t n_merges;
    int32_t byte_ids[256]; /* -1 where there is none (not in byte-level vocabularies) */
    int32_t unk_id;        /* -1: none */
    int32_t bos_id;        /* put in front of every text; -1: none */
    int32_t start_id;      /* begins a text, put there or not; -1: none */
    int32_t eos_id;        /* ends a text; -1: none */
    bool has_byte_fallback;
    bool joins_over_unknown; /* bytes without a token are dropped before merging, not after */
    bool is_unk_fused;       /* neighbouring unknown characters give one unknown token */
    bool ignore_merges;      /* a whole word that is a token is taken as it is */
    uint32_t max_bytes;      /* of a token of the vocabulary */
    double min_score;        /* UNIGRAM */
    kvl_added *added;        /* [n_added], by their texts */
    size_t n_added;
    size_t added_from[257]; /* index of the first added token with that first byte */
    kvl_normal normals[KVL_MAX_NORMALS];
    size_t n_normals;
    bool has_space_prefix;                  /* U+2581 goes before a piece that does not start with it */
    bool is_prefix_first_only;              /* only at the start of the text */
    bool is_split_at_marks;                 /* a word starts at every U+2581 */
    bool is_prefix_dropped;                 /* decoding drops the first space */
    pcre2_code *patterns[KVL_MAX_PATTERNS]; /* each splits what the one before left; none: no splitting */
    pcre2_match_data *matches[KVL_MAX_PATTERNS];
    size_t n_patterns;
    kvl_bpe_scratch scratch;
    uint64_t hash;
};

/* What fills a tokenizer: where it comes from, for messages. */
typedef struct kvli_vocab_loader {
    kvl_tokenizer *t;
    const char *name; /* of the file */
    kvl_err *err;
} kvli_vocab_loader;

/* ---- vocab.c: filling the tables, from either kind of file ---- */

/* Room for n_vocab ids; `kind` must be set. */
kvl_status kvli_vocab_create(const kvli_vocab_loader *l, size_t n_vocab) KVL_MUST_USE;
/* The token of an id by its text in the file. E_DUP when the id stands twice, E_VOCAB when the text does. */
kvl_status kvli_vocab_add(const kvli_vocab_loader *l, size_t id, const char *text, size_t n) KVL_MUST_USE;
/* Checks that every character gives an id: by byte tokens or the unknown token, where the kind needs them. */
kvl_status kvli_vocab_check_bytes(const kvli_vocab_loader *l) KVL_MUST_USE;
kvl_status kvli_vocab_reserve_merges(const kvli_vocab_loader *l, size_t n) KVL_MUST_USE;
kvl_status kvli_vocab_add_merge(const kvli_vocab_loader *l, size_t rank, const char *left, size_t n_left,
                                const char *right, size_t n_right) KVL_MUST_USE;
/* Cuts "left right" at its only space; false otherwise. Left starts where the text does. */
bool kvli_split_merge(const char *text, size_t n, size_t *n_left, const char **right, size_t *n_right);
kvl_status kvli_vocab_reserve_added(const kvli_vocab_loader *l, size_t n) KVL_MUST_USE;
/* An added token; id, flags of `like` are copied. Normalises the text if it is searched in normalised text.
 */
kvl_status kvli_vocab_add_added(const kvli_vocab_loader *l, const kvl_added *like, const char *text,
                                size_t n) KVL_MUST_USE;
/* Sorts the added tokens; call once, last. */
void kvli_vocab_finish(const kvli_vocab_loader *l);
/* The longest added token of that kind at the start of text [n >= 1], or NULL. */
const kvl_added *kvli_find_added(const kvl_tokenizer *t, const char *text, size_t n, bool is_normalized,
                                 bool with_special);

/* ---- normal.c ---- */

/* Appends a step; from and to are copied (NULL: none). */
kvl_status kvli_normal_add(const kvli_vocab_loader *l, kvl_normal_kind kind, const char *from,
                           const char *to) KVL_MUST_USE;
/* Whether normalising could change this text. */
bool kvli_normal_changes(const kvl_tokenizer *t, const char *text, size_t n);
kvl_status kvli_normal_apply(kvl_str *out, const kvl_tokenizer *t, const char *text, size_t n,
                             kvl_err *err) KVL_MUST_USE;
/* Length of a valid UTF-8 character at s [n >= 1], or 0; *n_bad gets the length of the maximal bad part (at
 * least 1). */
size_t kvli_utf8_char(const unsigned char *s, size_t n, size_t *n_bad);
/* Appends text with every maximal bad part replaced by U+FFFD. */
void kvli_repair_utf8(kvl_str *out, const char *text, size_t n);
/* Bytes of the white space character at the start of text, or 0. */
size_t kvli_space_at_start(const char *text, size_t n);
/* The same at its end. */
size_t kvli_space_at_end(const char *text, size_t n);

/* ---- splitting and merging ---- */

/* Fills the tables from the text of a tokenizer.json. */
kvl_status kvli_tokenizer_load(kvl_tokenizer *t, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) KVL_MUST_USE;
struct json_t;
/* normalizer, pre_tokenizer and decoder; `kind` must be set. */
kvl_status kvli_pipeline_load(const kvli_vocab_loader *l, const struct json_t *root) KVL_MUST_USE;
/* The token in front of every text; after the vocabulary. */
kvl_status kvli_pipeline_load_bos(const kvli_vocab_loader *l,
                                  const struct json_t *post_processor) KVL_MUST_USE;
/* Whether text becomes GPT-2's byte alphabet. */
bool kvli_pipeline_has_bytes(const struct json_t *pre_tokenizer);
/* E_UNSUPPORTED: what, the value found, what is known. */
kvl_status kvli_json_refuse(const kvli_vocab_loader *l, const char *what, const struct json_t *value,
                            const char *known);
/* A field that must be absent, null, false, empty or 0. */
kvl_status kvli_json_must_be_off(const kvli_vocab_loader *l, const struct json_t *object,
                                 const char *field) KVL_MUST_USE;

/* Splitting patterns by llama.cpp's names; E_UNSUPPORTED. Sets what else goes with the name there; *has_bos:
 * a text starts with that token unless the file says otherwise. */
kvl_status kvli_pattern_add_named(const kvli_vocab_loader *l, const char *name, size_t n,
                                  bool *has_bos) KVL_MUST_USE;
/* One pattern by its text in a tokenizer.json: known ones only, E_REGEX (a pattern from a file could run for
 * ever). */
kvl_status kvli_pattern_add_text(const kvli_vocab_loader *l, const char *text) KVL_MUST_USE;
kvl_status kvli_pattern_add_gpt2(const kvli_vocab_loader *l) KVL_MUST_USE;
/* Every character of category N by itself. */
kvl_status kvli_pattern_add_digits(const kvli_vocab_loader *l) KVL_MUST_USE;

/* Appends the ids of one piece of valid, normalised text: splits it into words, encodes each. */
kvl_status kvli_encode_piece(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n,
                             kvl_err *err) KVL_MUST_USE;
/* Appends the ids of one word: bpe.c, unigram.c. */
kvl_status kvli_encode_bpe(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n,
                           kvl_err *err) KVL_MUST_USE;
kvl_status kvli_encode_unigram(kvl_tokenizer *t, kvl_ids *out, const char *word, size_t n,
                               kvl_err *err) KVL_MUST_USE;
/* Appends byte tokens for a character outside the vocabulary, or the unknown token (once for neighbours, if
 * that is the rule and *was_unknown says that the last one was), or nothing. */
kvl_status kvli_encode_unknown(const kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n,
                               bool *was_unknown, kvl_err *err) KVL_MUST_USE;
/* Id of a token with these bytes that came from the vocabulary, or -1. */
int32_t kvli_find_bytes(const kvl_tokenizer *t, const char *bytes, size_t n);
/* Byte that a code point of the byte alphabet stands for, or -1 (GPT-2's bytes_to_unicode, inverted). */
int kvli_byte_of_alphabet(uint32_t code_point);

#endif
