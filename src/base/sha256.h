/* SHA-256: keys of what must be told apart for good. */
#ifndef KVL_BASE_SHA256_H
#define KVL_BASE_SHA256_H

#include "base/status.h"

enum { KVL_SHA256_TEXT = 65 };

/* The hash of n bytes as 64 hexadecimal digits. E_NOMEM. */
kvl_status kvl_sha256(char out[KVL_SHA256_TEXT], const void *bytes, size_t n, kvl_err *err) KVL_MUST_USE;

#endif
