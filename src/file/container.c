/* Files that are often found under a weight file's name. A wrong guess would only change a message: the
 * caller asks when the file has already been seen not to be safetensors. */
#include "file/container.h"

#include <string.h>

typedef struct container {
    const char *magic;
    size_t at; /* byte of the file */
    size_t n_bytes;
    const char *text;
} container;

#define MAGIC(at, bytes, text)                                                                               \
    { bytes, at, sizeof(bytes) - 1, text }

static const container known[] = {
    MAGIC(0, "version https://git-lfs", "a Git-LFS pointer, not the file itself: run git lfs pull"),
    MAGIC(0, "GGUF", "a GGUF file"),
    MAGIC(0, "tjgg", "a GGML file of an old kind (ggjt)"),
    MAGIC(0, "ggjt", "a GGML file of an old kind (ggjt)"),
    MAGIC(0, "lmgg", "a GGML file of an old kind (ggml)"),
    MAGIC(0, "PK\x03\x04", "a zip file (PyTorch .pt/.bin or .npz): convert it to safetensors"),
    MAGIC(0, "PK\x05\x06", "an empty zip file"),
    MAGIC(0, "\x80\x02", "a pickle (old PyTorch .pt/.bin): convert it to safetensors"),
    MAGIC(0, "\x80\x03", "a pickle (old PyTorch .pt/.bin): convert it to safetensors"),
    MAGIC(0, "\x80\x04", "a pickle (old PyTorch .pt/.bin): convert it to safetensors"),
    MAGIC(0, "\x80\x05", "a pickle (old PyTorch .pt/.bin): convert it to safetensors"),
    MAGIC(0, "\x93NUMPY", "a NumPy array: convert it to safetensors"),
    MAGIC(0, "\x89HDF\r\n", "an HDF5 file: convert it to safetensors"),
    MAGIC(0, "\x1f\x8b", "a gzip file: unpack it first"),
    MAGIC(0, "\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    MAGIC(0, "\xfd\x37zXZ", "an xz file: unpack it first"),
    MAGIC(0, "BZh", "a bzip2 file: unpack it first"),
    MAGIC(0, "7z\xbc\xaf", "a 7-Zip file: unpack it first"),
    MAGIC(257, "ustar", "a tar file: unpack it first"),
};

static bool starts_with_any_case(const uint8_t *bytes, uint64_t n_bytes, const char *lower) {
    size_t n = strlen(lower);
    if (n_bytes < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t c = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (uint8_t)(bytes[i] + 32) : bytes[i];
        if (c != (uint8_t)lower[i]) {
            return false;
        }
    }
    return true;
}

static bool is_html(const uint8_t *first, uint64_t n_first) {
    while (n_first != 0 && (*first == ' ' || *first == '\n' || *first == '\r' || *first == '\t')) {
        first++;
        n_first--;
    }
    return starts_with_any_case(first, n_first, "<!doctype") ||
           starts_with_any_case(first, n_first, "<html") || starts_with_any_case(first, n_first, "<?xml") ||
           starts_with_any_case(first, n_first, "<head");
}

const char *kvli_container_name(const uint8_t *first, uint64_t n_first) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const container *c = &known[i];
        if (n_first >= c->at && n_first - c->at >= c->n_bytes &&
            memcmp(first + c->at, c->magic, c->n_bytes) == 0) {
            return c->text;
        }
    }
    return is_html(first, n_first) ? "an HTML page: the download failed" : NULL;
}
