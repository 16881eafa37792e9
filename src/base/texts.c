/* Lists of short texts in one block. */
#include "base/texts.h"

#include "base/alloc.h"

void kvl_texts_vadd(kvl_texts *t, const char *fmt, va_list args) {
    if (t->n == t->cap) {
        const size_t cap = t->cap != 0 ? 2 * t->cap : 64;
        size_t *starts = kvl_resize(t->starts, t->cap, cap, sizeof *starts);
        if (starts == NULL) {
            t->bytes.failed = true;
            return;
        }
        t->starts = starts;
        t->cap = cap;
    }
    t->starts[t->n++] = t->bytes.len;
    kvl_str_vprintf(&t->bytes, fmt, args);
    kvl_str_append(&t->bytes, "", 1);
}

void kvl_texts_add(kvl_texts *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    kvl_texts_vadd(t, fmt, args);
    va_end(args);
}

const char *kvl_texts_at(const kvl_texts *t, size_t i) { return kvl_str_text(&t->bytes) + t->starts[i]; }

void kvl_texts_free(kvl_texts *t) {
    kvl_str_free(&t->bytes);
    kvl_free(t->starts);
    *t = (kvl_texts){0};
}
