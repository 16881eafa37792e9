/* What surrounds the model in a tokenizer.json: normalizer, pre_tokenizer, post_processor, decoder.
 *
 * Each is one step or a Sequence of steps; a step that is not known is refused by name, because a skipped one
 * would change every number. Source: the `tokenizers` library, 0.2x.
 */
#include "text/tokenizer_int.h"

#include "base/json.h"

#include <string.h>

static const char mark[] = "\xe2\x96\x81"; /* U+2581, stands for a space */

static bool has_type(const json_t *step, const char *type) {
    const char *found = json_string_value(json_object_get(step, "type"));
    return found != NULL && strcmp(found, type) == 0;
}

typedef kvl_status step_fn(const kvli_vocab_loader *l, const json_t *step);

/* Calls fn for a step, or for each of a Sequence; null is no step. */
static kvl_status each_step(const kvli_vocab_loader *l, const json_t *v, const char *list, step_fn *fn) {
    if (v == NULL || json_is_null(v)) {
        return KVL_OK;
    }
    if (!has_type(v, "Sequence")) {
        return fn(l, v);
    }
    const json_t *steps = json_object_get(v, list);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        KVL_TRY(fn(l, json_array_get(steps, i)));
    }
    return KVL_OK;
}

/* The text of a literal pattern {"String": text}, or NULL. */
static const char *literal_of(const json_t *step) {
    return json_string_value(json_object_get(json_object_get(step, "pattern"), "String"));
}

/* ---- normalizer ---- */

static kvl_status add_normal(const kvli_vocab_loader *l, const json_t *step) {
    const char *from = literal_of(step);
    const char *content = json_string_value(json_object_get(step, "content"));
    const char *prepend = json_string_value(json_object_get(step, "prepend"));
    if (has_type(step, "NFC") || has_type(step, "NFKC")) {
        return kvli_normal_add(l, has_type(step, "NFC") ? KVL_NORMAL_NFC : KVL_NORMAL_NFKC, NULL, NULL);
    }
    if (has_type(step, "Prepend") && prepend != NULL) {
        return kvli_normal_add(l, KVL_NORMAL_PREPEND, NULL, prepend);
    }
    if (has_type(step, "Replace") && from != NULL && from[0] != '\0' && content != NULL) {
        return kvli_normal_add(l, KVL_NORMAL_REPLACE, from, content);
    }
    return kvli_json_refuse(l, "normalizer", step, "NFC, NFKC, Prepend or Replace of a text");
}

/* ---- pre_tokenizer ---- */

bool kvli_pipeline_has_bytes(const json_t *pre_tokenizer) {
    const json_t *steps = json_object_get(pre_tokenizer, "pretokenizers");
    bool has_bytes = has_type(pre_tokenizer, "ByteLevel");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        has_bytes = has_bytes || has_type(json_array_get(steps, i), "ByteLevel");
    }
    return has_bytes;
}

/* U+2581 for spaces and, by the scheme, in front. */
static kvl_status add_metaspace(const kvli_vocab_loader *l, const json_t *step) {
    const json_t *scheme = json_object_get(step, "prepend_scheme");
    const char *name = json_string_value(scheme);
    const char *replacement = json_string_value(json_object_get(step, "replacement"));
    if (name == NULL) { /* files before 0.15 */
        name = json_is_false(json_object_get(step, "add_prefix_space")) ? "never" : "always";
    }
    bool is_known = strcmp(name, "always") == 0 || strcmp(name, "first") == 0 || strcmp(name, "never") == 0;
    if (!is_known || replacement == NULL || strcmp(replacement, mark) != 0) {
        return kvli_json_refuse(l, "pre_tokenizer", step, "Metaspace with U+2581 and always, first or never");
    }
    l->t->has_space_prefix = strcmp(name, "never") != 0;
    l->t->is_prefix_first_only = strcmp(name, "first") == 0;
    l->t->is_split_at_marks = !json_is_false(json_object_get(step, "split"));
    return kvli_normal_add(l, KVL_NORMAL_REPLACE, " ", mark);
}

/* Whether normalising leaves no spaces, so that a split at spaces does nothing (Gemma). */
static bool has_no_spaces(const kvl_tokenizer *t) {
    for (size_t i = 0; i < t->n_normals; i++) {
        const kvl_normal *n = &t->normals[i];
        if (n->kind == KVL_NORMAL_REPLACE && strcmp(n->from, " ") == 0 && strchr(n->to, ' ') == NULL) {
            return true;
        }
    }
    return false;
}

static kvl_status add_split(const kvli_vocab_loader *l, const json_t *step) {
    const char *regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    const char *literal = literal_of(step);
    const char *behavior = json_string_value(json_object_get(step, "behavior"));
    bool is_inverted = json_is_true(json_object_get(step, "invert"));
    if (literal != NULL && strcmp(literal, " ") == 0 && has_no_spaces(l->t)) {
        return KVL_OK;
    }
    /* the known patterns match all of any text, so that removing what does not match isolates the matches */
    const char *expected = is_inverted ? "Removed" : "Isolated";
    if (regex == NULL || behavior == NULL || strcmp(behavior, expected) != 0) {
        return kvli_json_refuse(l, "pre_tokenizer", step, "a Split that isolates a known pattern");
    }
    return kvli_pattern_add_text(l, regex);
}

static kvl_status add_pre_tokenizer(const kvli_vocab_loader *l, const json_t *step) {
    if (has_type(step, "ByteLevel") && l->t->kind == KVL_TOK_BYTES) {
        KVL_TRY(kvli_json_must_be_off(l, step, "add_prefix_space"));
        return json_is_false(json_object_get(step, "use_regex")) ? KVL_OK : kvli_pattern_add_gpt2(l);
    }
    if (has_type(step, "Digits") && json_is_true(json_object_get(step, "individual_digits"))) {
        return kvli_pattern_add_digits(l);
    }
    if (has_type(step, "Metaspace") && l->t->kind != KVL_TOK_BYTES) {
        return add_metaspace(l, step);
    }
    if (has_type(step, "Split")) {
        return add_split(l, step);
    }
    return kvli_json_refuse(l, "pre_tokenizer", step, "ByteLevel, Digits one by one, Split or Metaspace");
}

/* ---- decoder ---- */

static kvl_status add_decoder(const kvli_vocab_loader *l, const json_t *step) {
    static const char *const for_text[] = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"};
    bool is_known = l->t->kind == KVL_TOK_BYTES && has_type(step, "ByteLevel");
    for (size_t i = 0; i < sizeof for_text / sizeof for_text[0]; i++) {
        is_known = is_known || (l->t->kind != KVL_TOK_BYTES && has_type(step, for_text[i]));
    }
    if (!is_known) {
        return kvli_json_refuse(l, "decoder", step,
                                "ByteLevel, or Replace, ByteFallback, Fuse, Strip and Metaspace");
    }
    bool is_metaspace = has_type(step, "Metaspace") && l->t->has_space_prefix;
    l->t->is_prefix_dropped = l->t->is_prefix_dropped || is_metaspace || has_type(step, "Strip");
    return KVL_OK;
}

kvl_status kvli_pipeline_load(const kvli_vocab_loader *l, const json_t *root) {
    KVL_TRY(each_step(l, json_object_get(root, "normalizer"), "normalizers", add_normal));
    KVL_TRY(each_step(l, json_object_get(root, "pre_tokenizer"), "pretokenizers", add_pre_tokenizer));
    return each_step(l, json_object_get(root, "decoder"), "decoders", add_decoder);
}

/* ---- post_processor ---- */

static kvl_status add_post_processor(const kvli_vocab_loader *l, const json_t *step) {
    if (has_type(step, "ByteLevel")) { /* offsets only */
        return KVL_OK;
    }
    const json_t *parts = json_object_get(step, "single");
    const size_t n = json_array_size(parts);
    bool has_text_last = n != 0 && json_object_get(json_array_get(parts, n - 1), "Sequence") != NULL;
    if (!has_type(step, "TemplateProcessing") || n > 2 || !has_text_last) {
        return kvli_json_refuse(l, "post_processor", step,
                                "ByteLevel, or TemplateProcessing with at most one token in front");
    }
    if (n == 1) {
        return KVL_OK;
    }
    const json_t *special = json_object_get(json_array_get(parts, 0), "SpecialToken");
    const char *name = json_string_value(json_object_get(special, "id"));
    const json_t *ids = json_object_get(
        name != NULL ? json_object_get(json_object_get(step, "special_tokens"), name) : NULL, "ids");
    const json_t *id = json_array_get(ids, 0);
    if (json_array_size(ids) != 1 || !json_is_integer(id) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= (json_int_t)l->t->n_vocab) {
        return kvl_fail(l->err, KVL_E_VOCAB,
                        "%s: post_processor: expected one id below %zu for the token in front", l->name,
                        l->t->n_vocab);
    }
    l->t->bos_id = (int32_t)json_integer_value(id);
    return KVL_OK;
}

kvl_status kvli_pipeline_load_bos(const kvli_vocab_loader *l, const json_t *post_processor) {
    return each_step(l, post_processor, "processors", add_post_processor);
}
