/* Splitting text into words: the GPT-2 pattern through PCRE2. */
#include "text/tokenizer_int.h"

/* White space is spelled out: with UCP, PCRE2's \s also matches U+180E, which Unicode no longer calls white
 * space. */
#define SPACES                                                                                               \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACES
                                   "\\p{L}\\p{N}]+|[" SPACES "]+(?![^" SPACES "])|[" SPACES "]+";

kvl_status kvli_pattern_create(kvl_tokenizer *t, kvl_err *err) {
    int code = 0;
    PCRE2_SIZE at = 0;
    t->pattern = pcre2_compile((PCRE2_SPTR)gpt2_pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                               &at, NULL);
    if (t->pattern == NULL) {
        return kvl_fail(err, KVL_E_REGEX,
                        "pre-tokeniser: the pattern does not compile (PCRE2 code %d at %zu)", code, at);
    }
    /* hardened systems may forbid executable memory: matching then runs interpreted */
    (void)pcre2_jit_compile(t->pattern, PCRE2_JIT_COMPLETE);
    t->match = pcre2_match_data_create_from_pattern(t->pattern, NULL);
    return t->match != NULL ? KVL_OK : kvl_fail(err, KVL_E_NOMEM, "out of memory: pre-tokeniser");
}

kvl_status kvli_encode_piece(kvl_tokenizer *t, kvl_ids *out, const char *text, size_t n, kvl_err *err) {
    if (!t->has_pattern) {
        return n != 0 ? kvli_encode_word(t, out, text, n, err) : KVL_OK;
    }
    for (size_t at = 0; at < n;) {
        /* the text was checked once; a check at every word would be quadratic */
        int rc = pcre2_match(t->pattern, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, t->match, NULL);
        if (rc < 0) {
            return kvl_fail(err, KVL_E_REGEX, "pre-tokeniser: matching failed at byte %zu (PCRE2 code %d)",
                            at, rc);
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(t->match);
        if (range[1] <= at) {
            return kvl_fail(err, KVL_E_REGEX, "pre-tokeniser: empty match at byte %zu", at);
        }
        KVL_TRY(kvli_encode_word(t, out, text + range[0], range[1] - range[0], err));
        at = range[1];
    }
    return KVL_OK;
}
