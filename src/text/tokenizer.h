/* Text <-> token ids, from a Hugging Face tokenizer.json or from the vocabulary inside a GGUF file.
 *
 * Byte-level BPE (GPT-2, Pythia, Llama 3, Qwen, SmolLM2), BPE over characters with byte tokens (Llama 2,
 * Mistral, Phi-3, Gemma) and Unigram. Ids equal those of the `tokenizers` library, and llama.cpp's for GGUF.
 * Anything in the file that would change ids and is not known here is refused by name (E_UNSUPPORTED).
 *
 * Encoding uses scratch memory inside the tokenizer: one caller at a time.
 */
#ifndef KVL_TEXT_TOKENIZER_H
#define KVL_TEXT_TOKENIZER_H

#include "base/status.h"

typedef struct kvl_tokenizer kvl_tokenizer;

/* Growable list of ids; free with kvl_ids_free. */
typedef struct kvl_ids {
    int32_t *ids;
    size_t n;
    size_t cap;
} kvl_ids;

void kvl_ids_free(kvl_ids *ids);
/* Appends one id. */
kvl_status kvl_ids_push(kvl_ids *ids, int32_t id, kvl_err *err) KVL_MUST_USE;

enum { KVL_TOKENIZER_MAX_BYTES = 256 << 20 };

/* The tokenizer of the model at path: of a checkpoint folder (its tokenizer.json), of a GGUF file (its own
 * vocabulary, also when a tokenizer.json lies beside it), or a file *.json by itself. */
kvl_status kvl_tokenizer_open(kvl_tokenizer **out, const char *path, kvl_err *err) KVL_MUST_USE;
/* The same from memory (fuzzing, tests); `name` is for messages. */
kvl_status kvl_tokenizer_parse(kvl_tokenizer **out, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) KVL_MUST_USE;
struct kvl_gguf;
/* From the metadata of a GGUF file; the header may be closed afterwards. */
kvl_status kvl_tokenizer_of_gguf(kvl_tokenizer **out, const struct kvl_gguf *g, kvl_err *err) KVL_MUST_USE;
void kvl_tokenizer_close(kvl_tokenizer *t);

/* Number of rows a model needs: largest id + 1. */
size_t kvl_tokenizer_vocab_size(const kvl_tokenizer *t);
/* Id of a token given by its text in the file (for added tokens: its content), or -1. */
int32_t kvl_tokenizer_find(const kvl_tokenizer *t, const char *token);
/* Id that the file puts in front of every text (the caller does that), or -1. */
int32_t kvl_tokenizer_bos(const kvl_tokenizer *t);
/* Id of the token that begins texts, also where no file says that it is put there: the one that a GGUF file
 * names; of a tokenizer.json the one put in front, or the first special token of <|begin_of_text|>, <s>,
 * <bos>,
 * <|startoftext|>. -1 when there is none. */
int32_t kvl_tokenizer_start(const kvl_tokenizer *t);
/* Id that ends a text: the one that a GGUF file names; of a tokenizer.json the first special token of
 * <|endoftext|>, </s>, <eos>, <|end_of_text|>, <|eot_id|>. -1 when there is none. */
int32_t kvl_tokenizer_eos(const kvl_tokenizer *t);
/* FNV-1a of the file's bytes (of its header for GGUF). */
uint64_t kvl_tokenizer_hash(const kvl_tokenizer *t);

/* Whether all n bytes are valid UTF-8. */
bool kvl_is_utf8(const char *text, size_t n);

/* Appends the ids of text [n_bytes] to *out. Bytes that are not UTF-8 are replaced by U+FFFD, each maximal
 * bad part once (as Python's errors="replace"). Added tokens in the text become their ids, longest first;
 * special ones only with parse_special (as `tokenizers` does by default), otherwise they are ordinary text.
 * No BOS is added. */
kvl_status kvl_tokenizer_encode(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n_bytes,
                                bool parse_special, kvl_err *err) KVL_MUST_USE;
/* Bytes of ids [n], NUL-terminated, owned by the caller (kvl_free); may hold invalid UTF-8 when ids split a
 * character. With skip_special, ids of special added tokens give nothing. E_VOCAB for an id outside. */
kvl_status kvl_tokenizer_decode(const kvl_tokenizer *t, char **out, size_t *n_bytes, const int32_t *ids,
                                size_t n, bool skip_special, kvl_err *err) KVL_MUST_USE;

#endif
