/* Status names and error texts. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    int exit_code;
    const char *text;
} status_table[KVL_N_STATUS] = {
#define X(id, name, exit_code, text) {name, exit_code, text},
    KVL_STATUS_LIST(X)
#undef X
};

static bool is_known(kvl_status s) { return (unsigned)s < (unsigned)KVL_N_STATUS; }

const char *kvl_status_name(kvl_status s) { return is_known(s) ? status_table[s].name : "E_UNKNOWN"; }
const char *kvl_status_text(kvl_status s) { return is_known(s) ? status_table[s].text : "unknown"; }
int kvl_status_exit_code(kvl_status s) { return is_known(s) ? status_table[s].exit_code : 1; }

/* Copies src to dst with control characters and DEL escaped; cuts what does not fit. */
static void copy_printable(char *dst, size_t cap, const char *src) {
    size_t n = 0;
    for (; *src != '\0'; src++) {
        unsigned char c = (unsigned char)*src;
        bool is_control = c < 0x20 || c == 0x7f;
        if (n + (is_control ? 4 : 1) >= cap) {
            break;
        }
        if (is_control) {
            static const char hex[] = "0123456789abcdef";
            dst[n++] = '\\';
            dst[n++] = 'x';
            dst[n++] = hex[c >> 4];
            dst[n++] = hex[c & 15];
        } else {
            dst[n++] = (char)c;
        }
    }
    dst[n] = '\0';
}

kvl_status kvl_fail(kvl_err *err, kvl_status status, const char *fmt, ...) {
    if (err != NULL) {
        char raw[sizeof err->msg];
        va_list args;
        va_start(args, fmt);
        vsnprintf(raw, sizeof raw, fmt, args);
        va_end(args);
        err->status = status;
        copy_printable(err->msg, sizeof err->msg, raw);
    }
    return status;
}
