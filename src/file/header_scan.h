/* Pull reader for the JSON of a safetensors header: strings, whole numbers and punctuation, nothing else.
 *
 * A header is one object of flat objects, so no recursion is needed, and a general parser would cost ten
 * times the header in memory and read large integers through a signed or floating type.
 */
#ifndef KVL_FILE_HEADER_SCAN_H
#define KVL_FILE_HEADER_SCAN_H

#include "base/cursor.h"
#include "base/str.h"

enum { KVLI_NAME_CUT = 80 }; /* longest part of a name from a file that is printed, bytes */

typedef struct kvli_scan {
    kvl_cursor cursor; /* position = byte of the file */
    const char *file;  /* for messages; borrowed */
    kvl_err *err;
} kvli_scan;

/* The next byte that is not JSON white space, not consumed; -1 at the end. */
int kvli_scan_peek(kvli_scan *s);
/* Consumes the next byte if it is c (white space before it is skipped). */
bool kvli_scan_is(kvli_scan *s, char c);
/* Consumes c or fails: E_JSON. */
kvl_status kvli_scan_expect(kvli_scan *s, char c, const char *where) KVL_MUST_USE;
/* Decodes a string behind what is in `out`. E_JSON, E_UTF8 (lone surrogates), E_TYPE when another value
 * stands there. A NUL character is E_JSON: names are C strings. */
kvl_status kvli_scan_string(kvli_scan *s, kvl_str *out, const char *where) KVL_MUST_USE;
/* Exact unsigned integer. E_NUM for signs, fractions, exponents and values from 2^64; E_TYPE otherwise. */
kvl_status kvli_scan_u64(kvli_scan *s, uint64_t *out, const char *where) KVL_MUST_USE;

/* Offset of the first byte that is not well-formed UTF-8, or n. Source: Unicode 15, table 3-7. */
uint64_t kvli_utf8_check(kvl_cursor text);

#endif
