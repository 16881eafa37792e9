/* Many short texts, one after the other: cells of a table. Errors stick, as those of a string. */
#ifndef KVL_BASE_TEXTS_H
#define KVL_BASE_TEXTS_H

#include "base/str.h"

typedef struct kvl_texts {
    kvl_str bytes;  /* the texts, a NUL behind each */
    size_t *starts; /* [cap] of them in bytes, the first n are used */
    size_t n, cap;
} kvl_texts;

void kvl_texts_add(kvl_texts *t, const char *fmt, ...) KVL_PRINTF(2, 3);
void kvl_texts_vadd(kvl_texts *t, const char *fmt, va_list args) KVL_PRINTF(2, 0);
/* Text i < n, borrowed until the next is added. */
const char *kvl_texts_at(const kvl_texts *t, size_t i);
void kvl_texts_free(kvl_texts *t);

#endif
