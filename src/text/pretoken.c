/* Splitting text into words: patterns of the families, through PCRE2.
 *
 * Patterns are written as in the files (their regular expressions are Oniguruma's); only known ones run,
 * because a pattern from a file could run for ever. \s is spelled out: with UCP, PCRE2's also matches U+180E,
 * which Unicode no longer calls white space. Sources: `tokenizers` 0.2x, llama.cpp's llama-vocab.cpp.
 */
#include "text/tokenizer_int.h"

#include <string.h>

static const char spaces[] =
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
/* llama.cpp folds ASCII letters only */
#define ASCII_CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define NOT_LOWER "(?:(?=\\p{L})[^a-z])"
#define NOT_UPPER "(?:(?=\\p{L})[^A-Z])"
#define TEKKEN_REST "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char llama3[] = CONTRACTIONS "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" SPACES;
static const char qwen2[] = CONTRACTIONS "|" WORD "|\\p{N}|" SYMBOLS "|" SPACES;
static const char tekken[] = LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER "*" TEKKEN_REST;
static const char digits[] = "\\p{N}";
static const char *const known[] = {gpt2, llama3, qwen2, tekken};

static const char llama3_gguf[] = ASCII_CONTRACTIONS "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" SPACES;
static const char qwen2_gguf[] = ASCII_CONTRACTIONS "|" WORD "|\\p{N}|" SYMBOLS "|" SPACES;
static const char tekken_gguf[] =
    LEAD NOT_LOWER "*" NOT_UPPER "+|" LEAD NOT_LOWER "+" NOT_UPPER "*" TEKKEN_REST;

/* Pattern with \s and \S spelled out. */
static void spell_out(kvl_str *out, const char *pattern) {
    bool is_in_class = false;
    for (const char *c = pattern; *c != '\0'; c++) {
        if (c[0] == '\\' && c[1] == 's') {
            kvl_str_printf(out, is_in_class ? "%s" : "[%s]", spaces);
            c++;
        } else if (c[0] == '\\' && c[1] == 'S') { /* never inside a class in these patterns */
            kvl_str_printf(out, "[^%s]", spaces);
            c++;
        } else {
            is_in_class = *c == '[' || (is_in_class && *c != ']');
            kvl_str_append(out, c, 1);
        }
    }
}

static kvl_status add_pattern(const kvli_vocab_loader *l, const char *text) {
    kvl_tokenizer *t = l->t;
    kvl_str spelled = {0};
    int code = 0;
    PCRE2_SIZE at = 0;
    if (t->n_patterns == KVL_MAX_PATTERNS) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: pre_tokenizer: expected at most %d steps, found more",
                        l->name, (int)KVL_MAX_PATTERNS);
    }
    spell_out(&spelled, text);
    kvl_status status = kvl_str_check(&spelled, "pre-tokeniser", l->err);
    if (status != KVL_OK) {
        kvl_str_free(&spelled);
        return status;
    }
    pcre2_code *pattern = pcre2_compile((PCRE2_SPTR)kvl_str_text(&spelled), spelled.len,
                                        PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    kvl_str_free(&spelled);
    if (pattern == NULL) {
        return kvl_fail(l->err, KVL_E_REGEX,
                        "%s: pre-tokeniser: the pattern does not compile (PCRE2 code %d at %zu)", l->name,
                        code, at);
    }
    /* hardened systems may forbid executable memory: matching then runs interpreted */
    (void)pcre2_jit_compile(pattern, PCRE2_JIT_COMPLETE);
    t->patterns[t->n_patterns] = pattern;
    t->matches[t->n_patterns++] = pcre2_match_data_create_from_pattern(pattern, NULL);
    return t->matches[t->n_patterns - 1] != NULL
               ? KVL_OK
               : kvl_fail(l->err, KVL_E_NOMEM, "%s: expected memory for the pre-tokeniser, found none",
                          l->name);
}

kvl_status kvli_pattern_add_gpt2(const kvli_vocab_loader *l) { return add_pattern(l, gpt2); }
kvl_status kvli_pattern_add_digits(const kvli_vocab_loader *l) { return add_pattern(l, digits); }

kvl_status kvli_pattern_add_text(const kvli_vocab_loader *l, const char *text) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i], text) == 0) {
            return add_pattern(l, text);
        }
    }
    return kvl_fail(l->err, KVL_E_REGEX, "%s: pre_tokenizer: expected a known pattern, found '%.80s'",
                    l->name, text);
}

typedef struct named {
    const char *name;
    const char *pattern;
    bool has_digits_apart; /* every digit is a word, before the pattern is applied */
    bool ignores_merges;
    bool has_bos;
} named;

/* Source: llama.cpp, llama-vocab.cpp (llama_vocab::impl::load). */
static const named names[] = {
    {"gpt-2", gpt2, false, false, false},
    {"phi-2", gpt2, false, false, false},
    {"mpt", gpt2, false, false, false},
    {"olmo", gpt2, false, false, false},
    {"smollm", gpt2, true, false, false},
    {"starcoder", gpt2, true, false, false},
    {"refact", gpt2, true, false, false},
    {"command-r", gpt2, true, false, false},
    {"codeshell", gpt2, true, false, false},
    {"llama3", llama3_gguf, false, true, true},
    {"llama-v3", llama3_gguf, false, true, true},
    {"llama-bpe", llama3_gguf, false, true, true},
    {"dbrx", llama3_gguf, false, false, false},
    {"smaug-bpe", llama3_gguf, false, false, false},
    {"qwen2", qwen2_gguf, false, false, false},
    {"stablelm2", qwen2_gguf, false, false, false},
    {"deepseek-r1-qwen", qwen2_gguf, false, false, false},
    {"megrez", qwen2_gguf, false, false, false},
    {"tekken", tekken_gguf, false, true, true},
};

kvl_status kvli_pattern_add_named(const kvli_vocab_loader *l, const char *name, size_t n, bool *has_bos) {
    kvl_str list = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const named *entry = &names[i];
        if (strlen(entry->name) == n && memcmp(entry->name, name, n) == 0) {
            l->t->ignore_merges = entry->ignores_merges;
            *has_bos = entry->has_bos;
            if (entry->has_digits_apart) {
                KVL_TRY(add_pattern(l, digits));
            }
            kvl_str_free(&list);
            return add_pattern(l, entry->pattern);
        }
        kvl_str_printf(&list, "%s%s", i != 0 ? ", " : "", entry->name);
    }
    kvl_status status =
        kvl_fail(l->err, KVL_E_UNSUPPORTED, "%s: tokenizer.ggml.pre: expected one of %s, found '%.*s'",
                 l->name, kvl_str_text(&list), (int)kvl_min_size(n, 80), name);
    kvl_str_free(&list);
    return status;
}

static kvl_status encode_word(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n, kvl_err *err) {
    return t->kind == KVL_TOK_UNIGRAM ? kvli_encode_unigram(t, out, text, n, err)
                                      : kvli_encode_bpe(t, out, text, n, err);
}

/* Splits by pattern `level` and hands matches and what lies between to the next. */
static kvl_status split(kvl_tokenizer *t, kvl_ids *out, size_t level, const char *text, size_t n,
                        kvl_err *err) {
    if (level == t->n_patterns) {
        return encode_word(t, out, text, n, err);
    }
    for (size_t at = 0; at < n;) {
        /* the text was checked once; a check at every word would be quadratic */
        int rc = pcre2_match(t->patterns[level], (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK,
                             t->matches[level], NULL);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
            return kvl_fail(err, KVL_E_REGEX, "pre-tokeniser: matching failed at byte %zu (PCRE2 code %d)",
                            at, rc);
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(t->matches[level]);
        const size_t start = rc < 0 ? n : range[0];
        const size_t end = rc < 0 ? n : range[1];
        if (end <= at) {
            return kvl_fail(err, KVL_E_REGEX, "pre-tokeniser: empty match at byte %zu", at);
        }
        if (start > at) {
            KVL_TRY(split(t, out, level + 1, text + at, start - at, err));
        }
        if (end > start) {
            KVL_TRY(split(t, out, level + 1, text + start, end - start, err));
        }
        at = end;
    }
    return KVL_OK;
}

kvl_status kvli_encode_piece(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n, kvl_err *err) {
    static const char mark[] = "\xe2\x96\x81";
    if (!t->is_split_at_marks) {
        return n != 0 ? split(t, out, 0, text, n, err) : KVL_OK;
    }
    for (size_t at = 0; at < n;) {
        size_t end = at + 1;
        while (end < n && (n - end < 3 || memcmp(text + end, mark, 3) != 0)) {
            end++;
        }
        KVL_TRY(split(t, out, 0, text + at, end - at, err));
        at = end;
    }
    return KVL_OK;
}
