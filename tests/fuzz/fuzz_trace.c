/* Fuzz: bytes as a whole trace, with the checksums of its sections made right so that contents are reached;
 * and all that can be asked of it. */
#include "base/alloc.h"
#include "protocol/trace_figures.h"
#include "protocol/trace_int.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *bytes, size_t size) {
    for (size_t at = KVLI_MAGIC_BYTES + 4; size >= KVLI_SECTION_BYTES && at <= size - KVLI_SECTION_BYTES;) {
        uint32_t kind = 0;
        uint64_t n = 0;
        memcpy(&kind, bytes + at, sizeof kind);
        memcpy(&n, bytes + at + 4, sizeof n);
        if (n > size - at - KVLI_SECTION_BYTES) {
            return;
        }
        const uint64_t hash = kvli_section_hash(kind, bytes + at + KVLI_SECTION_BYTES, (size_t)n);
        memcpy(bytes + at + 12, &hash, sizeof hash);
        at += KVLI_SECTION_BYTES + (size_t)n;
    }
}

static void ask(const kvl_trace *t) {
    for (size_t p = 0; p < t->n_policies && p < 8; p++) {
        kvl_trace_figures f;
        if (kvl_trace_figures_make(&f, t, p, SIZE_MAX, NULL) == KVL_OK) {
            (void)kvl_visibility_mean(&f.seen);
            kvl_trace_figures_free(&f);
        }
    }
    (void)kvl_trace_norm(t, 0, t->n_layers - 1, t->n_kv_heads - 1, t->texts[0].n_tokens - 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_trace *t = NULL;
    uint8_t *bytes = kvl_calloc(size, 1);
    if (bytes == NULL) {
        return 0;
    }
    memcpy(bytes, data, size);
    mend(bytes, size);
    if (kvl_trace_read(&t, bytes, size, "fuzz", NULL) == KVL_OK) {
        ask(t);
        kvl_trace_free(t);
    }
    kvl_free(bytes);
    return 0;
}
