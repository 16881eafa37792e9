/* Names, sizes and numbers of types. The widening of quantised blocks is in dequant.c. */
#include "file/dtype.h"

#include "file/dequant.h"
#include "kernel/kernel.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t block_items;
    uint32_t block_bytes;
    int32_t gguf;
} table[KVL_N_DTYPES] = {
#define X(id, name, block_items, block_bytes, gguf) {name, block_items, block_bytes, gguf},
    KVL_DTYPE_LIST(X)
#undef X
};

/* Defined by ggml, not read here. */
static const struct {
    uint32_t number;
    const char *name;
} refused[] = {
    {4, "Q4_2 (removed)"},
    {5, "Q4_3 (removed)"},
    {9, "Q8_1"},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {29, "IQ1_M"},
    {31, "Q4_0_4_4 (removed)"},
    {32, "Q4_0_4_8 (removed)"},
    {33, "Q4_0_8_8 (removed)"},
    {34, "TQ1_0"},
    {35, "TQ2_0"},
    {36, "IQ4_NL_4_4 (removed)"},
    {37, "IQ4_NL_4_8 (removed)"},
    {38, "IQ4_NL_8_8 (removed)"},
    {39, "MXFP4"},
    {40, "NVFP4"},
    {41, "Q1_0"},
};

const char *kvl_dtype_name(kvl_dtype t) { return (unsigned)t < (unsigned)KVL_N_DTYPES ? table[t].name : "?"; }

uint32_t kvl_dtype_block_items(kvl_dtype t) { return table[t].block_items; }
uint32_t kvl_dtype_block_bytes(kvl_dtype t) { return table[t].block_bytes; }
bool kvl_dtype_is_real(kvl_dtype t) { return (unsigned)t <= (unsigned)KVL_DTYPE_IQ4_XS; }

kvl_dtype kvl_dtype_of_gguf(uint32_t number) {
    for (unsigned i = 0; i < KVL_N_DTYPES; i++) {
        if (table[i].gguf >= 0 && (uint32_t)table[i].gguf == number) {
            return (kvl_dtype)i;
        }
    }
    return KVL_N_DTYPES;
}

const char *kvl_dtype_refused_name(uint32_t number) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (refused[i].number == number) {
            return refused[i].name;
        }
    }
    return NULL;
}

static uint64_t load_le(const uint8_t *src, unsigned n_bytes) {
    uint64_t bits = 0;
    for (unsigned i = 0; i < n_bytes; i++) {
        bits |= (uint64_t)src[i] << (8 * i);
    }
    return bits;
}

static void widen_f32(float *dst, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)load_le(src + 4 * i, 4);
        memcpy(&dst[i], &bits, sizeof bits);
    }
}

static void widen_f64(float *dst, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = load_le(src + 8 * i, 8);
        double value = 0;
        memcpy(&value, &bits, sizeof value);
        dst[i] = (float)value;
    }
}

void kvl_dtype_widen(float *dst, const uint8_t *src, size_t n, kvl_dtype t) {
    switch (t) {
    case KVL_DTYPE_F32: widen_f32(dst, src, n); break;
    case KVL_DTYPE_F16: kvl_widen_f16(dst, src, n); break;
    case KVL_DTYPE_BF16: kvl_widen_bf16(dst, src, n); break;
    case KVL_DTYPE_F64: widen_f64(dst, src, n); break;
    default: kvli_dequantise(dst, src, n, t); break;
    }
}
