/* Growable strings: doubling, bounded, sticky failure. */
#include "base/str.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

static const size_t default_max_len = (size_t)1 << 30;

static bool reserve(kvl_str *s, size_t n_more) {
    size_t max_len = s->max_len != 0 ? s->max_len : default_max_len;
    if (s->failed || n_more > max_len - s->len) {
        s->failed = true;
        return false;
    }
    size_t need = s->len + n_more + 1;
    if (need > s->cap) {
        size_t cap = kvl_max_size(need, kvl_max_size(64, 2 * s->cap));
        char *data = kvl_resize(s->data, s->cap, cap, 1);
        if (data == NULL) {
            s->failed = true;
            return false;
        }
        s->data = data;
        s->cap = cap;
    }
    return true;
}

void kvl_str_append(kvl_str *s, const char *bytes, size_t n) {
    if (n != 0 && reserve(s, n)) {
        memcpy(s->data + s->len, bytes, n);
        s->len += n;
        s->data[s->len] = '\0';
    }
}

void kvl_str_puts(kvl_str *s, const char *text) { kvl_str_append(s, text, strlen(text)); }

void kvl_str_vprintf(kvl_str *s, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0 || !reserve(s, (size_t)n)) {
        s->failed = true;
    } else {
        vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

void kvl_str_printf(kvl_str *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    kvl_str_vprintf(s, fmt, args);
    va_end(args);
}

void kvl_str_clear(kvl_str *s) {
    s->len = 0;
    s->failed = false;
    if (s->data != NULL) {
        s->data[0] = '\0';
    }
}

void kvl_str_free(kvl_str *s) {
    kvl_free(s->data);
    *s = (kvl_str){.max_len = s->max_len};
}

const char *kvl_str_text(const kvl_str *s) { return s->data != NULL ? s->data : ""; }

kvl_status kvl_str_check(const kvl_str *s, const char *what, kvl_err *err) {
    return s->failed ? kvl_fail_nomem(err, what) : KVL_OK;
}

/* ---- terminals ---- */

size_t kvl_text_columns(const char *text) {
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

size_t kvl_control_bytes(const char *text) {
    const unsigned char c = (unsigned char)text[0];
    if (c == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80) {
        return 2;
    }
    return (c < 0x20 && c != '\0') || c == 0x7f ? 1 : 0;
}

/* ---- names ---- */

enum { max_name = 40, near_enough = 3 };

static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t row[max_name + 1];
    for (size_t j = 0; j <= n_b; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = kvl_min_size(replace, kvl_min_size(row[j], row[j - 1]) + 1);
        }
    }
    return row[n_b];
}

const char *kvl_nearest_name(const char *word, size_t n_word, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t best_distance = near_enough + 1;
    if (n_word > max_name) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t n_name = strlen(names[i]);
        size_t distance = n_name <= max_name ? edit_distance(word, n_word, names[i], n_name) : best_distance;
        if (distance < best_distance && distance < n_name) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}
