/* Fuzz: bytes as a GGUF file with a vocabulary; what loads must encode and decode. */
#include "base/alloc.h"
#include "file/gguf.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_gguf *g = NULL;
    kvl_tokenizer *t = NULL;
    if (kvl_gguf_parse(&g, data, size, size, "fuzz", NULL, NULL) != KVL_OK) {
        return 0;
    }
    static const char text[] = "It's 12 ab\xff  \xc3\xa9\n<s>\xe2\x96\x81</s>";
    if (kvl_tokenizer_of_gguf(&t, g, NULL) == KVL_OK) {
        kvl_ids ids = {0};
        char *back = NULL;
        size_t n = 0;
        if (kvl_tokenizer_encode(t, &ids, text, sizeof text - 1, true, NULL) == KVL_OK &&
            kvl_tokenizer_decode(t, &back, &n, ids.ids, ids.n, false, NULL) == KVL_OK) {
            kvl_free(back);
        }
        kvl_ids_free(&ids);
    }
    kvl_tokenizer_close(t);
    kvl_gguf_close(g);
    return 0;
}
