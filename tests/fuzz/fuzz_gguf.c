/* Fuzz: bytes as a whole GGUF file, then every value of its metadata read, and blocks widened. */
#include "file/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const kvl_gguf *g) {
    for (size_t i = 0; i < kvl_gguf_count(g); i++) {
        const kvl_gguf_value *v = kvl_gguf_at(g, i);
        kvl_cursor c = kvl_cursor_open(v->bytes, v->n_bytes);
        for (uint64_t k = 0; k < v->n; k++) {
            size_t n = 0;
            if (v->type == KVL_GGUF_STRING) {
                if (kvl_gguf_next_text(&c, &n) == NULL) {
                    __builtin_trap(); /* the parser has promised that it is there */
                }
            } else {
                (void)kvl_gguf_int_at(v, k);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_gguf *g = NULL;
    if (kvl_gguf_parse(&g, data, size, size, "fuzz", NULL, NULL) != KVL_OK) {
        return 0;
    }
    read_values(g);
    for (size_t i = 0; i < kvl_gguf_n_tensors(g); i++) {
        const kvl_tensor *t = kvl_gguf_tensor(g, i);
        static float values[1024];
        if (kvl_dtype_is_real(t->dtype) && t->n_items <= 1024) {
            kvl_dtype_widen(values, data + t->offset, (size_t)t->n_items, t->dtype);
        }
    }
    kvl_gguf_close(g);
    return 0;
}
