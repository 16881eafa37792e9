/* tokenizer.json -> tables: model, vocabulary, merges, added tokens.
 *
 * Every field that would change ids and is not known is refused by name. `truncation` and `padding` change no
 * ids here and are ignored. Source: the `tokenizers` library, 0.2x serialisation.
 */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/json.h"

#include <string.h>

kvl_status kvli_json_refuse(const kvli_vocab_loader *l, const char *what, const json_t *value,
                            const char *known) {
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    kvl_status status = kvl_fail(l->err, KVL_E_UNSUPPORTED, "%s: %s: expected %s, found %.80s", l->name, what,
                                 known, text != NULL ? text : "nothing");
    kvl_free(text);
    return status;
}

kvl_status kvli_json_must_be_off(const kvli_vocab_loader *l, const json_t *object, const char *field) {
    const json_t *v = json_object_get(object, field);
    bool is_off = v == NULL || json_is_null(v) || json_is_false(v) ||
                  (json_is_string(v) && json_string_length(v) == 0) ||
                  (json_is_number(v) && json_number_value(v) == 0);
    return is_off ? KVL_OK : kvli_json_refuse(l, field, v, "none");
}

/* ---- ids ---- */

static kvl_status read_id(const kvli_vocab_loader *l, const json_t *v, const char *token, size_t *out) {
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
static kvl_status count_ids(const kvli_vocab_loader *l, const json_t *vocab, const json_t *added,
                            size_t *n_ids) {
    const char *token = NULL;
    json_t *v = NULL;
    size_t i = 0;
    size_t id = 0;
    size_t n_entries = json_object_size(vocab) + json_array_size(vocab) + json_array_size(added);
    *n_ids = json_array_size(vocab);
    json_object_foreach((json_t *)vocab, token, v) {
        KVL_TRY(read_id(l, v, token, &id));
        *n_ids = kvl_max_size(*n_ids, id + 1);
    }
    json_array_foreach(added, i, v) {
        const char *content = json_string_value(json_object_get(v, "content"));
        if (content == NULL) {
            return kvl_fail(l->err, KVL_E_TYPE,
                            "%s: added_tokens[%zu]: expected a content string, found none", l->name, i);
        }
        KVL_TRY(read_id(l, json_object_get(v, "id"), content, &id));
        *n_ids = kvl_max_size(*n_ids, id + 1);
    }
    if (n_entries == 0) {
        return kvl_fail(l->err, KVL_E_VOCAB, "%s: model.vocab: expected tokens, found none", l->name);
    }
    if (*n_ids > 16 * n_entries + 1024) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: expected ids near the number of tokens (%zu), found %zu",
                        l->name, n_entries, *n_ids - 1);
    }
    return KVL_OK;
}

/* ---- BPE ---- */

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
    return *left != NULL && kvli_split_merge(*left, json_string_length(v), n_left, right, n_right);
}

static kvl_status load_merges(const kvli_vocab_loader *l, const json_t *merges) {
    if (!json_is_array(merges)) {
        return kvl_fail(l->err, KVL_E_TYPE, "%s: model.merges: expected a list, found something else",
                        l->name);
    }
    KVL_TRY(kvli_vocab_reserve_merges(l, json_array_size(merges)));
    for (size_t rank = 0; rank < json_array_size(merges); rank++) {
        const char *left = NULL;
        const char *right = NULL;
        size_t n_left = 0;
        size_t n_right = 0;
        if (!merge_parts(json_array_get(merges, rank), &left, &n_left, &right, &n_right)) {
            return kvl_fail(l->err, KVL_E_MERGE,
                            "%s: model.merges[%zu]: expected two parts, found something else", l->name, rank);
        }
        KVL_TRY(kvli_vocab_add_merge(l, rank, left, n_left, right, n_right));
    }
    return KVL_OK;
}

static kvl_status load_bpe(const kvli_vocab_loader *l, const json_t *model) {
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    kvl_tokenizer *t = l->t;
    const char *text = NULL;
    json_t *v = NULL;
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        KVL_TRY(kvli_json_must_be_off(l, model, off[i]));
    }
    t->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    t->is_unk_fused = json_is_true(json_object_get(model, "fuse_unk"));
    json_object_foreach(json_object_get(model, "vocab"), text, v) {
        KVL_TRY(kvli_vocab_add(l, (size_t)json_integer_value(v), text, strlen(text)));
    }
    const json_t *unk = json_object_get(model, "unk_token");
    if (json_string_length(unk) != 0) {
        t->unk_id = kvli_find_bytes(t, json_string_value(unk), json_string_length(unk));
        if (t->unk_id < 0) {
            return kvl_fail(l->err, KVL_E_VOCAB,
                            "%s: model.unk_token: expected a token of the vocabulary, found '%.80s'", l->name,
                            json_string_value(unk));
        }
    }
    return load_merges(l, json_object_get(model, "merges"));
}

/* ---- Unigram ---- */

static kvl_status load_unigram(const kvli_vocab_loader *l, const json_t *model) {
    kvl_tokenizer *t = l->t;
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *unk = json_object_get(model, "unk_id");
    for (size_t id = 0; id < json_array_size(vocab); id++) {
        const json_t *pair = json_array_get(vocab, id);
        const json_t *piece = json_array_get(pair, 0);
        const json_t *score = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !json_is_string(piece) || !json_is_number(score)) {
            return kvl_fail(l->err, KVL_E_TYPE, "%s: model.vocab[%zu]: expected [piece, score]", l->name, id);
        }
        KVL_TRY(kvli_vocab_add(l, id, json_string_value(piece), json_string_length(piece)));
        t->scores[id] = json_number_value(score);
        t->min_score = id == 0 || t->scores[id] < t->min_score ? t->scores[id] : t->min_score;
    }
    t->is_unk_fused = true;
    if (unk != NULL && !json_is_null(unk)) {
        size_t id = 0;
        KVL_TRY(read_id(l, unk, "unk_id", &id));
        if (id >= json_array_size(vocab)) {
            return kvl_fail(l->err, KVL_E_VOCAB, "%s: model.unk_id: expected an id below %zu, found %zu",
                            l->name, json_array_size(vocab), id);
        }
        t->unk_id = (int32_t)id;
    }
    return KVL_OK;
}

/* ---- added tokens ---- */

static kvl_status load_added(const kvli_vocab_loader *l, const json_t *added) {
    size_t i = 0;
    json_t *v = NULL;
    KVL_TRY(kvli_vocab_reserve_added(l, json_array_size(added)));
    json_array_foreach(added, i, v) {
        const json_t *content = json_object_get(v, "content");
        KVL_TRY(kvli_json_must_be_off(l, v, "single_word"));
        kvl_added like = {.id = (int32_t)json_integer_value(json_object_get(v, "id")),
                          .is_special = json_is_true(json_object_get(v, "special")),
                          .is_normalized = json_is_true(json_object_get(v, "normalized")),
                          .is_left_stripped = json_is_true(json_object_get(v, "lstrip")),
                          .is_right_stripped = json_is_true(json_object_get(v, "rstrip"))};
        KVL_TRY(kvli_vocab_add_added(l, &like, json_string_value(content), json_string_length(content)));
    }
    kvli_vocab_finish(l);
    return KVL_OK;
}

/* ---- the whole document ---- */

/* Kind of model; a BPE's symbols are bytes if its pipeline turns text into the byte alphabet. */
static kvl_status find_kind(const kvli_vocab_loader *l, const json_t *root, const json_t *model) {
    const json_t *type = json_object_get(model, "type");
    const char *name = json_string_value(type);
    bool is_bpe = name != NULL ? strcmp(name, "BPE") == 0 : json_object_get(model, "merges") != NULL;
    const json_t *vocab = json_object_get(model, "vocab");
    if (!is_bpe && (name == NULL || strcmp(name, "Unigram") != 0)) {
        return kvli_json_refuse(l, "model.type", type, "BPE or Unigram");
    }
    if (is_bpe ? !json_is_object(vocab) : !json_is_array(vocab)) {
        return kvl_fail(l->err, KVL_E_TYPE, "%s: model.vocab: expected %s, found something else", l->name,
                        is_bpe ? "an object" : "a list");
    }
    bool has_bytes = kvli_pipeline_has_bytes(json_object_get(root, "pre_tokenizer"));
    l->t->kind = !is_bpe ? KVL_TOK_UNIGRAM : has_bytes ? KVL_TOK_BYTES : KVL_TOK_CHARS;
    l->t->has_byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    l->t->joins_over_unknown = true;
    return has_bytes ? kvli_json_must_be_off(l, model, "byte_fallback") : KVL_OK;
}

/* The first of these names [n] that is a special token, or -1: the file does not say which begin or end a
 * text. Gemma has a </s> that is HTML. */
static int32_t find_special(const kvl_tokenizer *t, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const int32_t id = kvl_tokenizer_find(t, names[i]);
        if (id >= 0 && t->tokens[id].is_special) {
            return id;
        }
    }
    return -1;
}

/* Known names, in the order of how sure they are. */
static kvl_status find_ends(const kvli_vocab_loader *l, const json_t *post_processor) {
    static const char *const starts[] = {"<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>"};
    static const char *const ends[] = {"<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>"};
    kvl_tokenizer *t = l->t;
    t->eos_id = find_special(t, ends, sizeof ends / sizeof ends[0]);
    KVL_TRY(kvli_pipeline_load_bos(l, post_processor));
    t->start_id = t->bos_id >= 0 ? t->bos_id : find_special(t, starts, sizeof starts / sizeof starts[0]);
    return KVL_OK;
}

static kvl_status load_root(const kvli_vocab_loader *l, const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    size_t n_ids = 0;
    KVL_TRY(find_kind(l, root, model));
    KVL_TRY(kvli_pipeline_load(l, root));
    KVL_TRY(count_ids(l, json_object_get(model, "vocab"), added, &n_ids));
    KVL_TRY(kvli_vocab_create(l, n_ids));
    KVL_TRY(l->t->kind == KVL_TOK_UNIGRAM ? load_unigram(l, model) : load_bpe(l, model));
    KVL_TRY(kvli_vocab_check_bytes(l));
    KVL_TRY(load_added(l, added));
    return find_ends(l, json_object_get(root, "post_processor"));
}

kvl_status kvli_tokenizer_load(kvl_tokenizer *t, const char *bytes, size_t n_bytes, const char *name,
                               kvl_err *err) {
    json_t *root = NULL;
    KVL_TRY(kvl_json_parse(&root, bytes, n_bytes, name, err));
    kvli_vocab_loader l = {t, name, err};
    kvl_status status = load_root(&l, root);
    json_decref(root);
    return status;
}
