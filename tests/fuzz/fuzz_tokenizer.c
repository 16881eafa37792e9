/* Fuzz: bytes as tokenizer.json; what loads must encode and decode. */
#include "base/alloc.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_tokenizer *t = NULL;
    if (kvl_tokenizer_parse(&t, (const char *)data, size, "fuzz", NULL) != KVL_OK) {
        return 0;
    }
    static const char text[] = "It's 12 ab\xff  \xc3\xa9\n<|endoftext|>";
    kvl_ids ids = {0};
    char *back = NULL;
    size_t n = 0;
    if (kvl_tokenizer_encode(t, &ids, text, sizeof text - 1, true, NULL) == KVL_OK &&
        kvl_tokenizer_decode(t, &back, &n, ids.ids, ids.n, false, NULL) == KVL_OK) {
        kvl_free(back);
    }
    kvl_ids_free(&ids);
    kvl_tokenizer_close(t);
    return 0;
}
