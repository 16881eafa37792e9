/* Bounded growable byte string, always NUL-terminated. Errors stick: append freely, check once. */
#ifndef KVL_BASE_STR_H
#define KVL_BASE_STR_H

#include "base/status.h"

#include <stdarg.h>

typedef struct kvl_str {
    char *data; /* NUL-terminated; NULL only before the first append */
    size_t len; /* bytes without the NUL */
    size_t cap;
    size_t max_len; /* appends beyond it fail; 0 means 1 GiB */
    bool failed;    /* memory or max_len was exceeded; contents are then incomplete */
} kvl_str;

void kvl_str_append(kvl_str *s, const char *bytes, size_t n);
void kvl_str_puts(kvl_str *s, const char *text);
void kvl_str_printf(kvl_str *s, const char *fmt, ...) KVL_PRINTF(2, 3);
void kvl_str_vprintf(kvl_str *s, const char *fmt, va_list args) KVL_PRINTF(2, 0);
void kvl_str_clear(kvl_str *s);
void kvl_str_free(kvl_str *s);
/* Contents as a C string ("" when empty); borrowed until the next change. */
const char *kvl_str_text(const kvl_str *s);
/* E_NOMEM if any append failed, naming what was being written. */
kvl_status kvl_str_check(const kvl_str *s, const char *what, kvl_err *err) KVL_MUST_USE;

/* Columns of a terminal that a text takes, if none of its characters is wide. */
size_t kvl_text_columns(const char *text);
/* Bytes of the control character that a text begins with, in UTF-8: 1, or 2 (U+0080 to U+009F); 0: it does
 * not. Terminals obey both kinds. */
size_t kvl_control_bytes(const char *text);

/* The name in names [n] with the smallest edit distance to word, or NULL when none is near. */
const char *kvl_nearest_name(const char *word, size_t n_word, const char *const *names, size_t n);

#endif
