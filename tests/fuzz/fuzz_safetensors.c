/* Fuzz: bytes as a whole safetensors file. */
#include "file/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_tensor *entries = NULL;
    size_t n = 0;
    uint64_t end = 0;
    if (kvl_safetensors_header_end(&end, data, size < 512 ? size : 512, size, "fuzz", NULL) != KVL_OK) {
        return 0;
    }
    if (kvl_safetensors_parse(&entries, &n, data, size, size, "fuzz", NULL) == KVL_OK) {
        kvl_safetensors_free(entries, n);
    }
    return 0;
}
