/* Samples: the texts of a preset, by name, from the data folder; or the user's own file.
 *
 *   W<k>  k-th row of WikiText-2 raw test with at least 50 characters after stripping, first 1024 characters
 *   P<k>  first 2048 characters of PG-19 test book k
 *   B<k>  all 10,000 characters at hand of PG-19 test book k
 *   A<k>  k-th article of WikiText-2 raw test: from its ` = Title = ` line to the next such line. Only those
 * of at least 2000 characters count, which are 60; what the corpus broke into shorter pieces (two lines of a
 *         formula look like titles) does not
 *   C1    WikiText-2 raw test as one text: BOS (EOS where the tokenizer has none), then each row that is not
 *         blank followed by EOS
 *
 * Texts start with the BOS of tokenizers that have one.
 */
#ifndef KVL_PROTOCOL_SAMPLES_H
#define KVL_PROTOCOL_SAMPLES_H

#include "text/tokenizer.h"

/* A text, or a window of one (windows.h). */
typedef struct kvl_sample {
    char name[24];
    kvl_ids ids;   /* of the whole text, or of the window */
    uint64_t hash; /* FNV-1a of the text; of a window behind its beginning, of that and where it begins */
    bool has_bos;  /* the first id was put in front, it is none of the text */
    size_t n_chars;
    size_t n_bytes; /* of the text; 0 where ids stand in it that are none of it, and for windows */
    size_t text;    /* index of the text it was cut from, its cluster; a text's own */
    /* of a window only */
    size_t begin;        /* where it begins in the ids of its text */
    size_t prefill;      /* its first tokens, fed before the policies' first look */
    size_t first_scored; /* step */
} kvl_sample;

typedef struct kvl_samples {
    kvl_sample *items; /* [n] */
    size_t n;
} kvl_samples;

/* Loads the samples named in `names` from data_dir and tokenizes them. Names are separated by blanks or
 * commas; A1-A60 is a range of them. Errors: E_IO, E_USAGE for an unknown name, a range that is not one, or
 * a text that stands there twice, E_TEXT for an empty text, and those of the tokenizer. */
kvl_status kvl_samples_load(kvl_samples *out, const char *names, const char *data_dir,
                            kvl_tokenizer *tokenizer, kvl_err *err) KVL_MUST_USE;
/* Adds a text file as a sample named by its base name. E_TEXT when it is empty or gives fewer than 2 tokens,
 * E_USAGE when its text is there already. */
kvl_status kvl_samples_add_file(kvl_samples *s, const char *path, kvl_tokenizer *tokenizer,
                                kvl_err *err) KVL_MUST_USE;
void kvl_samples_free(kvl_samples *s);

/* Bytes of the first n_chars code points of UTF-8 text. */
size_t kvl_utf8_prefix(const char *text, size_t n_bytes, size_t n_chars);

#endif
