/* Normalisation and UTF-8: what happens to text before it is split into words. */
#include "text/tokenizer_int.h"

#include "base/alloc.h"

#include <string.h>

#include <utf8proc.h>

/* ---- UTF-8 ---- */

size_t kvli_utf8_char(const unsigned char *s, size_t n, size_t *n_bad) {
    unsigned char c = s[0];
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte: no overlong forms, no surrogates */
    size_t len = c < 0x80                 ? 1
                 : c >= 0xc2 && c <= 0xdf ? 2
                 : c >= 0xe0 && c <= 0xef ? 3
                 : c >= 0xf0 && c <= 0xf4 ? 4
                                          : 0;
    *n_bad = 1;
    low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
    high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
    for (size_t i = 1; i < len; i++) {
        if (i >= n || s[i] < low || s[i] > high) {
            *n_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

void kvli_repair_utf8(kvl_str *out, const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t n_bad = 0;
        size_t len = kvli_utf8_char((const unsigned char *)text + at, n - at, &n_bad);
        if (len != 0) {
            kvl_str_append(out, text + at, len);
            at += len;
        } else {
            kvl_str_puts(out, "\xef\xbf\xbd");
            at += n_bad;
        }
    }
}

bool kvl_is_utf8(const char *text, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t n_bad = 0;
        size_t len = kvli_utf8_char((const unsigned char *)text + at, n - at, &n_bad);
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

/* Unicode's White_Space, as far as it occurs in one, two or three bytes. */
static bool is_space(const char *c, size_t n) {
    static const char *const spaces[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80",
                                         "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84",
                                         "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88",
                                         "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                         "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    if (n == 1) {
        return *c == ' ' || (*c >= '\t' && *c <= '\r');
    }
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        if (strlen(spaces[i]) == n && memcmp(c, spaces[i], n) == 0) {
            return true;
        }
    }
    return false;
}

size_t kvli_space_at_start(const char *text, size_t n) {
    size_t n_bad = 0;
    size_t len = n != 0 ? kvli_utf8_char((const unsigned char *)text, n, &n_bad) : 0;
    return len != 0 && is_space(text, len) ? len : 0;
}

size_t kvli_space_at_end(const char *text, size_t n) {
    for (size_t len = 1; len <= 3 && len <= n; len++) {
        if (kvli_space_at_start(text + n - len, len) == len) {
            return len;
        }
    }
    return 0;
}

/* ---- steps ---- */

kvl_status kvli_normal_add(const kvli_vocab_loader *l, kvl_normal_kind kind, const char *from,
                           const char *to) {
    kvl_tokenizer *t = l->t;
    if (t->n_normals == KVL_MAX_NORMALS) {
        return kvl_fail(l->err, KVL_E_LIMIT, "%s: normalizer: expected at most %d steps, found more", l->name,
                        (int)KVL_MAX_NORMALS);
    }
    kvl_normal *step = &t->normals[t->n_normals++];
    step->kind = kind;
    step->from = from != NULL ? kvl_strdup(from) : NULL;
    step->to = to != NULL ? kvl_strdup(to) : NULL;
    bool is_ok = (from == NULL || step->from != NULL) && (to == NULL || step->to != NULL);
    return is_ok ? KVL_OK : kvl_fail_nomem(l->err, "normalizer");
}

static bool is_ascii(const char *text, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= (unsigned char)text[i];
    }
    return all < 0x80;
}

bool kvli_normal_changes(const kvl_tokenizer *t, const char *text, size_t n) {
    bool is_plain = true;
    for (size_t i = 0; i < t->n_normals; i++) {
        is_plain =
            is_plain && (t->normals[i].kind == KVL_NORMAL_NFC || t->normals[i].kind == KVL_NORMAL_NFKC);
    }
    return !(is_plain && is_ascii(text, n));
}

/* Appends the composed form of text without U+11A7. */
static kvl_status append_composed(kvl_str *out, const char *text, size_t n, bool is_compatible,
                                  kvl_err *err) {
    utf8proc_uint8_t *composed = NULL;
    int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n_composed = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &composed,
                                               (utf8proc_option_t)options);
    if (n_composed < 0) {
        return kvl_fail(err, n_composed == UTF8PROC_ERROR_NOMEM ? KVL_E_NOMEM : KVL_E_TEXT,
                        "normalisation: %s", utf8proc_errmsg(n_composed));
    }
    kvl_str_append(out, (const char *)composed, (size_t)n_composed);
    kvl_free(composed); /* utf8proc allocates from the C library, as base does */
    return KVL_OK;
}

/* utf8proc 2.8 swallows U+11A7 behind a Hangul syllable; the character starts a cluster and composes with
 * nothing, so that normalising on both sides of it is exact. */
static kvl_status compose(kvl_str *out, const char *text, size_t n, bool is_compatible, kvl_err *err) {
    static const char apart[] = "\xe1\x86\xa7";
    for (size_t piece = 0, at = 0; piece < n;) {
        while (at < n && (n - at < 3 || memcmp(text + at, apart, 3) != 0)) {
            at++;
        }
        if (at > piece) {
            KVL_TRY(append_composed(out, text + piece, at - piece, is_compatible, err));
        }
        if (at < n) {
            kvl_str_append(out, apart, 3);
            at += 3;
        }
        piece = at;
    }
    return KVL_OK;
}

static void replace(kvl_str *out, const char *text, size_t n, const char *from, const char *to) {
    const size_t n_from = strlen(from);
    for (size_t at = 0; at < n;) {
        if (n - at >= n_from && memcmp(text + at, from, n_from) == 0) {
            kvl_str_puts(out, to);
            at += n_from;
        } else {
            kvl_str_append(out, text + at, 1);
            at++;
        }
    }
}

static kvl_status apply_step(kvl_str *out, const kvl_normal *step, const char *text, size_t n, kvl_err *err) {
    switch (step->kind) {
    case KVL_NORMAL_NFC:
    case KVL_NORMAL_NFKC: return compose(out, text, n, step->kind == KVL_NORMAL_NFKC, err);
    case KVL_NORMAL_PREPEND:
        kvl_str_puts(out, n != 0 ? step->to : "");
        kvl_str_append(out, text, n);
        return KVL_OK;
    case KVL_NORMAL_REPLACE: break;
    }
    replace(out, text, n, step->from, step->to);
    return KVL_OK;
}

kvl_status kvli_normal_apply(kvl_str *out, const kvl_tokenizer *t, const char *text, size_t n, kvl_err *err) {
    kvl_str from = {.max_len = (size_t)1 << 33};
    kvl_status status = KVL_OK;
    out->max_len = from.max_len;
    kvl_str_clear(out);
    kvl_str_append(out, text, n);
    for (size_t i = 0; i < t->n_normals; i++) {
        kvl_str swap = from;
        from = *out;
        *out = swap;
        kvl_str_clear(out);
        KVL_GO(apply_step(out, &t->normals[i], kvl_str_text(&from), from.len, err));
        KVL_GO(kvl_str_check(out, "normalised text", err));
    }
    KVL_GO(kvl_str_check(out, "normalised text", err));
done:
    kvl_str_free(&from);
    return status;
}
