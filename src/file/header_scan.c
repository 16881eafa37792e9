/* The JSON subset of safetensors headers. Every byte is taken through the cursor, so that no length in the
 * text can lead outside it. Literals (true, null), nested arrays and real numbers have no place in a header:
 * the caller meets them as E_TYPE or E_NUM where it expected something else. */
#include "file/header_scan.h"

#include "base/alloc.h"

static int peek_raw(const kvli_scan *s) {
    kvl_cursor probe = s->cursor;
    const uint8_t *byte = kvl_cursor_take(&probe, 1);
    return byte != NULL ? *byte : -1;
}

static int take_raw(kvli_scan *s) {
    const uint8_t *byte = kvl_cursor_take(&s->cursor, 1);
    return byte != NULL ? *byte : -1;
}

int kvli_scan_peek(kvli_scan *s) {
    int c = peek_raw(s);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        (void)take_raw(s);
        c = peek_raw(s);
    }
    return c;
}

bool kvli_scan_is(kvli_scan *s, char c) {
    if (kvli_scan_peek(s) != (int)c) {
        return false;
    }
    (void)take_raw(s);
    return true;
}

static kvl_status fail_at(kvli_scan *s, kvl_status status, const char *expected, const char *where) {
    int c = peek_raw(s);
    unsigned long long at = s->cursor.pos;
    if (c < 0) {
        return kvl_fail(s->err, status, "%s: header at byte %llu in '%.*s': expected %s, found its end",
                        s->file, at, (int)KVLI_NAME_CUT, where, expected);
    }
    return kvl_fail(s->err, status, "%s: header at byte %llu in '%.*s': expected %s, found byte 0x%02x",
                    s->file, at, (int)KVLI_NAME_CUT, where, expected, (unsigned)c);
}

kvl_status kvli_scan_expect(kvli_scan *s, char c, const char *where) {
    const char expected[] = {'\'', c, '\'', '\0'};
    return kvli_scan_is(s, c) ? KVL_OK : fail_at(s, KVL_E_JSON, expected, where);
}

/* True when a JSON value starts with c: then the text may be well-formed, but is of the wrong type. */
static bool starts_value(int c) {
    return c == '"' || c == '{' || c == '[' || c == '-' || (c >= '0' && c <= '9') || c == 't' || c == 'f' ||
           c == 'n';
}

static int hex_value(int c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex4(kvli_scan *s, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(peek_raw(s));
        if (digit < 0) {
            return false;
        }
        (void)take_raw(s);
        *out = *out * 16 + (uint32_t)digit;
    }
    return true;
}

static void append_utf8(kvl_str *out, uint32_t point) {
    char bytes[4];
    size_t n = 0;
    if (point < 0x80) {
        bytes[n++] = (char)point;
    } else if (point < 0x800) {
        bytes[n++] = (char)(0xc0 | point >> 6);
        bytes[n++] = (char)(0x80 | (point & 63));
    } else if (point < 0x10000) {
        bytes[n++] = (char)(0xe0 | point >> 12);
        bytes[n++] = (char)(0x80 | (point >> 6 & 63));
        bytes[n++] = (char)(0x80 | (point & 63));
    } else {
        bytes[n++] = (char)(0xf0 | point >> 18);
        bytes[n++] = (char)(0x80 | (point >> 12 & 63));
        bytes[n++] = (char)(0x80 | (point >> 6 & 63));
        bytes[n++] = (char)(0x80 | (point & 63));
    }
    kvl_str_append(out, bytes, n);
}

/* Behind "\u": one code point, which may take two escapes. */
static kvl_status scan_unicode(kvli_scan *s, kvl_str *out, const char *where) {
    uint32_t point = 0;
    uint32_t low = 0;
    if (!take_hex4(s, &point)) {
        return fail_at(s, KVL_E_JSON, "four hexadecimal digits", where);
    }
    if (point == 0) {
        return fail_at(s, KVL_E_JSON, "no NUL character before here", where);
    }
    if (point >= 0xd800 && point < 0xe000) {
        bool has_low = point < 0xdc00 && peek_raw(s) == '\\' && take_raw(s) == '\\' && peek_raw(s) == 'u' &&
                       take_raw(s) == 'u' && take_hex4(s, &low) && low >= 0xdc00 && low < 0xe000;
        if (!has_low) {
            return fail_at(s, KVL_E_UTF8, "both halves of a surrogate pair before here", where);
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, point);
    return KVL_OK;
}

static kvl_status scan_escape(kvli_scan *s, kvl_str *out, const char *where) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    int c = peek_raw(s);
    if (c == 'u') {
        (void)take_raw(s);
        return scan_unicode(s, out, where);
    }
    for (size_t i = 0; i < sizeof from - 1; i++) {
        if (c == (int)from[i]) {
            (void)take_raw(s);
            kvl_str_append(out, &to[i], 1);
            return KVL_OK;
        }
    }
    return fail_at(s, KVL_E_JSON, "an escape", where);
}

kvl_status kvli_scan_string(kvli_scan *s, kvl_str *out, const char *where) {
    int c = kvli_scan_peek(s);
    if (c != '"') {
        return fail_at(s, starts_value(c) ? KVL_E_TYPE : KVL_E_JSON, "a string", where);
    }
    (void)take_raw(s);
    for (;;) {
        c = peek_raw(s);
        if (c < 0x20) { /* also the end of the header */
            return fail_at(s, KVL_E_JSON, "a character of a string", where);
        }
        (void)take_raw(s);
        if (c == '"') {
            break;
        }
        if (c == '\\') {
            KVL_TRY(scan_escape(s, out, where));
        } else {
            const char byte = (char)c;
            kvl_str_append(out, &byte, 1);
        }
    }
    return kvl_str_check(out, "names of tensors", s->err);
}

kvl_status kvli_scan_u64(kvli_scan *s, uint64_t *out, const char *where) {
    static const char expected[] = "a whole number from 0 to 2^64 - 1";
    int c = kvli_scan_peek(s);
    *out = 0;
    if (c < '0' || c > '9') {
        kvl_status status = c == '-' ? KVL_E_NUM : starts_value(c) ? KVL_E_TYPE : KVL_E_JSON;
        return fail_at(s, status, expected, where);
    }
    bool is_zero = c == '0';
    for (unsigned n = 0; (c = peek_raw(s)) >= '0' && c <= '9'; n++) {
        if (is_zero && n > 0) {
            return fail_at(s, KVL_E_JSON, "no digit behind a leading 0", where);
        }
        if (!kvl_mul_u64(*out, 10, out) || !kvl_add_u64(*out, (uint64_t)(c - '0'), out)) {
            return fail_at(s, KVL_E_NUM, expected, where);
        }
        (void)take_raw(s);
    }
    if (c == '.' || c == 'e' || c == 'E') {
        return fail_at(s, KVL_E_NUM, expected, where);
    }
    return KVL_OK;
}

/* Bytes behind the lead byte and the range of the first of them; false for a byte that cannot lead. */
static bool utf8_lead(unsigned lead, unsigned *n_more, unsigned *low, unsigned *high) {
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        *n_more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        *n_more = 2;
        *low = lead == 0xe0 ? 0xa0 : 0x80;  /* no overlong form */
        *high = lead == 0xed ? 0x9f : 0xbf; /* no surrogate */
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        *n_more = 3;
        *low = lead == 0xf0 ? 0x90 : 0x80;
        *high = lead == 0xf4 ? 0x8f : 0xbf; /* nothing above U+10FFFF */
    } else {
        return false;
    }
    return true;
}

uint64_t kvli_utf8_check(kvl_cursor text) {
    const uint8_t *byte = NULL;
    uint64_t start = text.pos;
    while ((byte = kvl_cursor_take(&text, 1)) != NULL) {
        if (*byte >= 0x80) {
            unsigned n_more = 0;
            unsigned low = 0;
            unsigned high = 0;
            if (!utf8_lead(*byte, &n_more, &low, &high)) {
                return start;
            }
            for (; n_more != 0; n_more--) {
                byte = kvl_cursor_take(&text, 1);
                if (byte == NULL || *byte < low || *byte > high) {
                    return start;
                }
                low = 0x80;
                high = 0xbf;
            }
        }
        start = text.pos;
    }
    return start;
}
