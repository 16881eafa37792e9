/* Languages. Every text that a reader sees is written in both beside each other, so none can be missing. */
#ifndef KVL_REPORT_WORDS_H
#define KVL_REPORT_WORDS_H

#include "base/str.h"

typedef enum kvl_lang { KVL_EN, KVL_ZH, KVL_N_LANGS } kvl_lang;

/* As in HTML's lang. */
static inline const char *kvl_lang_code(kvl_lang lang) { return lang == KVL_ZH ? "zh-Hans" : "en"; }

static inline const char *kvl_word(kvl_lang lang, const char *en, const char *zh) {
    return lang == KVL_ZH ? zh : en;
}

/* Appends one of two formats with the same arguments, in the same order. */
#define KVL_SAY(out, lang, en, zh, ...)                                                                      \
    ((lang) == KVL_ZH ? kvl_str_printf((out), zh, __VA_ARGS__) : kvl_str_printf((out), en, __VA_ARGS__))

#endif
