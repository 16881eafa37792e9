/* SHA-256 as libcrypto computes it. */
#include "base/sha256.h"

#include "base/alloc.h"

#include <openssl/evp.h>

kvl_status kvl_sha256(char out[KVL_SHA256_TEXT], const void *bytes, size_t n, kvl_err *err) {
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;
    if (EVP_Digest(bytes, n, digest, &n_digest, EVP_sha256(), NULL) != 1 ||
        2 * n_digest + 1 != KVL_SHA256_TEXT) {
        return kvl_fail_nomem(err, "SHA-256");
    }
    for (size_t i = 0; i < n_digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * n_digest] = '\0';
    return KVL_OK;
}
