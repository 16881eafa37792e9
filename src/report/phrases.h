/* Sentences that records hold in English, in the language of a reader, by their form. */
#ifndef KVL_REPORT_PHRASES_H
#define KVL_REPORT_PHRASES_H

#include "report/words.h"

/* A form of text and what it is in Chinese; * stands for anything, in the same order in both. */
typedef struct kvli_phrase {
    const char *en, *zh;
} kvli_phrase;

/* What a word is called in the language: in Chinese by its key in the list; `otherwise` where it is not
 * there.
 */
const char *kvli_phrase_find(kvl_lang lang, const kvli_phrase *list, size_t n, const char *key,
                             const char *otherwise);
/* Appends a text in the language: by the first form that it has, whose stars are looked up too; as it is
 * where it has none. Whether it is known in the language. */
bool kvli_phrase_put(kvl_str *out, kvl_lang lang, const kvli_phrase *list, size_t n, const char *text);

/* The line of a protocol or on how it was computed, and a note of a sweep; what is not known here stays as it
 * was recorded. */
void kvli_put_protocol(kvl_str *out, kvl_lang lang, const char *text);
void kvli_put_note(kvl_str *out, kvl_lang lang, const char *text);

#endif
