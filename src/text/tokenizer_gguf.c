/* The vocabulary inside a GGUF file -> tables. Ids are llama.cpp's (llama-vocab.cpp, b6900 and later): no
 * Unicode normalisation, user-defined tokens cut out of the raw text, control tokens only on request.
 *
 * Differences: where two cut-out tokens overlap in a text, the one further left is taken, not the longer one;
 * a user-defined token is one whatever its name (llama.cpp takes "</s>" for a control token always).
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "file/gguf.h"

#include <math.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_BYTE = 6 };

typedef struct gguf_vocab {
    kvli_vocab_loader l;
    const kvl_gguf *g;
    const kvl_gguf_value *tokens;
    const kvl_gguf_value *scores; /* SPM only */
    const kvl_gguf_value *types;  /* NULL: all normal */
} gguf_vocab;

static bool is_text(const char *text, size_t n, const char *expected) {
    return strlen(expected) == n && memcmp(text, expected, n) == 0;
}

/* ---- kind and splitting ---- */

static kvl_status read_kind(gguf_vocab *v) {
    const char *model = "";
    size_t n = 0;
    KVL_TRY(kvl_gguf_text(v->g, "tokenizer.ggml.model", &model, &n, v->l.err));
    if (!is_text(model, n, "gpt2") && !is_text(model, n, "llama")) {
        return kvl_fail(
            v->l.err, n != 0 ? KVL_E_UNSUPPORTED : KVL_E_MISSING,
            "%s: tokenizer.ggml.model: expected gpt2 (byte-level BPE) or llama (SentencePiece BPE), "
            "found '%.*s'",
            v->l.name, (int)kvl_min_size(n, 80), model);
    }
    v->l.t->kind = is_text(model, n, "gpt2") ? KVL_TOK_BYTES : KVL_TOK_SPM;
    v->l.t->has_byte_fallback = v->l.t->kind == KVL_TOK_SPM;
    return KVL_OK;
}

static kvl_status read_splitting(gguf_vocab *v, bool *has_bos) {
    const char *pre = "";
    size_t n = 0;
    bool has_prefix = v->l.t->kind == KVL_TOK_SPM;
    KVL_TRY(kvl_gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", &has_prefix, v->l.err));
    if (v->l.t->kind == KVL_TOK_SPM) {
        *has_bos = true;
        if (has_prefix) {
            v->l.t->is_prefix_dropped = true;
            KVL_TRY(kvli_normal_add(&v->l, KVL_NORMAL_PREPEND, NULL, " "));
        }
        return kvli_normal_add(&v->l, KVL_NORMAL_REPLACE, " ", "\xe2\x96\x81");
    }
    if (has_prefix) {
        return kvl_fail(v->l.err, KVL_E_UNSUPPORTED,
                        "%s: tokenizer.ggml.add_space_prefix: expected false with gpt2, found true",
                        v->l.name);
    }
    KVL_TRY(kvl_gguf_text(v->g, "tokenizer.ggml.pre", &pre, &n, v->l.err));
    return kvli_pattern_add_named(&v->l, pre, n, has_bos);
}

/* ---- tokens ---- */

static kvl_status find_arrays(gguf_vocab *v) {
    const kvl_gguf *g = v->g;
    KVL_TRY(kvl_gguf_array(g, "tokenizer.ggml.tokens", KVL_GGUF_STRING, &v->tokens, v->l.err));
    KVL_TRY(kvl_gguf_array(g, "tokenizer.ggml.token_type", KVL_GGUF_I32, &v->types, v->l.err));
    if (v->l.t->kind == KVL_TOK_SPM) {
        KVL_TRY(kvl_gguf_array(g, "tokenizer.ggml.scores", KVL_GGUF_F32, &v->scores, v->l.err));
    }
    if (v->tokens == NULL || (v->l.t->kind == KVL_TOK_SPM && v->scores == NULL)) {
        return kvl_fail(v->l.err, KVL_E_MISSING, "%s: tokenizer.ggml.%s: expected a list, found nothing",
                        v->l.name, v->tokens == NULL ? "tokens" : "scores");
    }
    const kvl_gguf_value *same[] = {v->scores, v->types};
    for (size_t i = 0; i < 2; i++) {
        if (same[i] != NULL && same[i]->n != v->tokens->n) {
            return kvl_fail(v->l.err, KVL_E_VOCAB, "%s: %s: expected one for each of %llu tokens, found %llu",
                            v->l.name, same[i]->key, (unsigned long long)v->tokens->n,
                            (unsigned long long)same[i]->n);
        }
    }
    return KVL_OK;
}

static int64_t type_of(const gguf_vocab *v, uint64_t id) {
    return v->types != NULL ? kvl_gguf_int_at(v->types, id) : 0;
}

static kvl_status load_tokens(gguf_vocab *v) {
    kvl_tokenizer *t = v->l.t;
    kvl_cursor c = kvl_cursor_open(v->tokens->bytes, v->tokens->n_bytes);
    if (v->tokens->n > KVL_MAX_VOCAB) {
        return kvl_fail(v->l.err, KVL_E_LIMIT, "%s: vocabulary: expected at most %d tokens, found %llu",
                        v->l.name, (int)KVL_MAX_VOCAB, (unsigned long long)v->tokens->n);
    }
    KVL_TRY(kvli_vocab_create(&v->l, (size_t)v->tokens->n));
    for (size_t id = 0; id < t->n_vocab; id++) {
        size_t n = 0;
        const char *text = kvl_gguf_next_text(&c, &n);
        KVL_TRY(kvli_vocab_add(&v->l, id, text, n));
        if (v->scores != NULL) {
            t->scores[id] = (double)kvl_gguf_f32_at(v->scores, id);
            if (!isfinite(t->scores[id])) {
                return kvl_fail(v->l.err, KVL_E_VOCAB,
                                "%s: tokenizer.ggml.scores[%zu]: expected a finite number", v->l.name, id);
            }
        }
        if (t->kind == KVL_TOK_SPM && type_of(v, id) == TYPE_BYTE && t->tokens[id].byte < 0) {
            return kvl_fail(v->l.err, KVL_E_VOCAB,
                            "%s: byte token %zu: expected <0x00> to <0xFF>, found '%.*s'", v->l.name, id,
                            (int)kvl_min_size(n, 80), text);
        }
    }
    return kvli_vocab_check_bytes(&v->l);
}

static kvl_status load_merges(gguf_vocab *v) {
    const kvl_gguf_value *merges = NULL;
    KVL_TRY(kvl_gguf_array(v->g, "tokenizer.ggml.merges", KVL_GGUF_STRING, &merges, v->l.err));
    if (merges == NULL) {
        return kvl_fail(v->l.err, KVL_E_MISSING, "%s: tokenizer.ggml.merges: expected a list, found nothing",
                        v->l.name);
    }
    kvl_cursor c = kvl_cursor_open(merges->bytes, merges->n_bytes);
    KVL_TRY(kvli_vocab_reserve_merges(&v->l, (size_t)merges->n));
    for (size_t rank = 0; rank < merges->n; rank++) {
        size_t n = 0, n_left = 0, n_right = 0;
        const char *right = NULL;
        const char *text = kvl_gguf_next_text(&c, &n);
        if (!kvli_split_merge(text, n, &n_left, &right, &n_right)) {
            return kvl_fail(v->l.err, KVL_E_MERGE,
                            "%s: tokenizer.ggml.merges[%zu]: expected two parts, found '%.*s'", v->l.name,
                            rank, (int)kvl_min_size(n, 80), text);
        }
        KVL_TRY(kvli_vocab_add_merge(&v->l, rank, text, n_left, right, n_right));
    }
    return KVL_OK;
}

/* ---- tokens that are cut out of the text ---- */

/* llama.cpp knows by the model's name that these tokens of Phi-3 take the white space behind them along. */
static bool strips_right(const gguf_vocab *v, const char *text, size_t n) {
    const char *name = "";
    size_t n_name = 0;
    bool is_phi3 = false;
    if (kvl_gguf_text(v->g, "general.name", &name, &n_name, NULL) != KVL_OK) {
        return false;
    }
    for (size_t i = 0; i + 4 <= n_name; i++) {
        bool has_phi = (name[i] | 32) == 'p' && (name[i + 1] | 32) == 'h' && (name[i + 2] | 32) == 'i';
        size_t digit = i + 3 + (name[i + 3] == '-');
        is_phi3 = is_phi3 || (has_phi && digit < n_name && name[digit] == '3');
    }
    return is_phi3 && !is_text(text, n, "<unk>") && !is_text(text, n, "<s>") &&
           !is_text(text, n, "<|endoftext|>");
}

static kvl_status load_added(gguf_vocab *v) {
    kvl_cursor c = kvl_cursor_open(v->tokens->bytes, v->tokens->n_bytes);
    size_t n_added = 0;
    for (uint64_t id = 0; id < v->tokens->n; id++) {
        int64_t type = type_of(v, id);
        n_added += type == TYPE_UNKNOWN || type == TYPE_CONTROL || type == TYPE_USER_DEFINED;
    }
    KVL_TRY(kvli_vocab_reserve_added(&v->l, n_added));
    for (uint64_t id = 0; id < v->tokens->n; id++) {
        size_t n = 0;
        const char *text = kvl_gguf_next_text(&c, &n);
        int64_t type = type_of(v, id);
        if (n == 0 || (type != TYPE_UNKNOWN && type != TYPE_CONTROL && type != TYPE_USER_DEFINED)) {
            continue;
        }
        kvl_added like = {.id = (int32_t)id,
                          .is_special = type != TYPE_USER_DEFINED,
                          .is_right_stripped = strips_right(v, text, n)};
        KVL_TRY(kvli_vocab_add_added(&v->l, &like, text, n));
    }
    kvli_vocab_finish(&v->l);
    return KVL_OK;
}

/* A token id of the metadata, or -1. */
static kvl_status read_id(gguf_vocab *v, const char *key, int32_t *out) {
    int64_t id = -1;
    KVL_TRY(kvl_gguf_int(v->g, key, &id, v->l.err));
    if (kvl_gguf_find(v->g, key) != NULL && (id < 0 || id >= (int64_t)v->l.t->n_vocab)) {
        return kvl_fail(v->l.err, KVL_E_VOCAB, "%s: %s: expected an id below %zu, found %lld", v->l.name, key,
                        v->l.t->n_vocab, (long long)id);
    }
    *out = (int32_t)id;
    return KVL_OK;
}

static kvl_status read_ids(gguf_vocab *v, bool has_bos) {
    int32_t bos = -1;
    int32_t other = -1; /* checked, not used: every character gives bytes, or nothing */
    bool has_eos = false;
    KVL_TRY(read_id(v, "tokenizer.ggml.bos_token_id", &bos));
    KVL_TRY(read_id(v, "tokenizer.ggml.eos_token_id", &v->l.t->eos_id));
    KVL_TRY(read_id(v, "tokenizer.ggml.unknown_token_id", &other));
    KVL_TRY(kvl_gguf_bool(v->g, "tokenizer.ggml.add_bos_token", &has_bos, v->l.err));
    KVL_TRY(kvl_gguf_bool(v->g, "tokenizer.ggml.add_eos_token", &has_eos, v->l.err));
    if (has_eos) {
        return kvl_fail(v->l.err, KVL_E_UNSUPPORTED,
                        "%s: tokenizer.ggml.add_eos_token: expected false, found true", v->l.name);
    }
    if (has_bos && bos < 0) {
        return kvl_fail(v->l.err, KVL_E_VOCAB,
                        "%s: tokenizer.ggml.bos_token_id: expected the token in front of every text, found "
                        "nothing",
                        v->l.name);
    }
    v->l.t->bos_id = has_bos ? bos : -1;
    v->l.t->start_id = bos;
    return KVL_OK;
}

static kvl_status load_vocab(gguf_vocab *v) {
    bool has_bos = false;
    KVL_TRY(read_kind(v));
    KVL_TRY(read_splitting(v, &has_bos));
    KVL_TRY(find_arrays(v));
    KVL_TRY(load_tokens(v));
    if (v->l.t->kind == KVL_TOK_BYTES) {
        KVL_TRY(load_merges(v));
    }
    KVL_TRY(load_added(v));
    return read_ids(v, has_bos);
}

kvl_status kvl_tokenizer_of_gguf(kvl_tokenizer **out, const kvl_gguf *g, kvl_err *err) {
    *out = NULL;
    kvl_tokenizer *t = kvl_calloc(1, sizeof *t);
    if (t == NULL) {
        return kvl_fail_nomem(err, "tokenizer");
    }
    t->hash = kvl_gguf_hash(g);
    gguf_vocab v = {.l = {t, kvl_gguf_name(g), err}, .g = g};
    kvl_status status = load_vocab(&v);
    if (status != KVL_OK) {
        kvl_tokenizer_close(t);
        return status;
    }
    *out = t;
    return KVL_OK;
}
