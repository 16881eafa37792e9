/* Texts by their forms. */
#include "report/phrases.h"

#include <string.h>

const char *kvli_phrase_find(kvl_lang lang, const kvli_phrase *list, size_t n, const char *key,
                             const char *otherwise) {
    for (size_t i = 0; lang == KVL_ZH && i < n; i++) {
        if (strcmp(list[i].en, key) == 0) {
            return list[i].zh;
        }
    }
    return otherwise;
}

/* ---- forms ---- */

enum { MOST_STARS = 6, MOST_DEPTH = 2 };

typedef struct part {
    const char *at;
    size_t n;
} part;

/* Whether a text is of the form of a pattern; what its stars stand for, the first ones as short as they can
 * be. */
static bool match(part stars[MOST_STARS], const char *pattern, const char *text) {
    for (size_t i = 0;; i++) {
        const size_t n = strcspn(pattern, "*");
        if (strncmp(pattern, text, n) != 0) {
            return false;
        }
        text += n;
        if (pattern[n] == '\0' || i == MOST_STARS) {
            return pattern[n] == '\0' && *text == '\0';
        }
        pattern += n + 1;
        const size_t next = strcspn(pattern, "*");
        const char *end = text;
        while (*end != '\0' && (next == 0 || strncmp(end, pattern, next) != 0)) {
            end++;
        }
        stars[i] = (part){.at = text, .n = (size_t)(end - text)};
        text = end;
    }
}

static bool put(kvl_str *out, kvl_lang lang, const kvli_phrase *list, size_t n, const char *text, int depth) {
    part stars[MOST_STARS] = {0};
    size_t i = 0;
    while (i < n && !match(stars, list[i].en, text)) {
        i++;
    }
    if (lang == KVL_EN || depth == MOST_DEPTH || i == n) {
        kvl_str_puts(out, text);
        return lang == KVL_EN;
    }
    const part *star = stars;
    for (const char *form = list[i].zh; *form != '\0';) {
        const size_t n_plain = strcspn(form, "*");
        kvl_str_append(out, form, n_plain);
        form += n_plain;
        if (*form == '*') {
            kvl_str inner = {0};
            kvl_str_append(&inner, star->at, star->n);
            put(out, lang, list, n, kvl_str_text(&inner), depth + 1);
            kvl_str_free(&inner);
            star++;
            form++;
        }
    }
    return true;
}

bool kvli_phrase_put(kvl_str *out, kvl_lang lang, const kvli_phrase *list, size_t n, const char *text) {
    return put(out, lang, list, n, text, 0);
}
