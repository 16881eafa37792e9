/* Types of stored numbers, and their widening to f32.
 *
 * Quantised types hold whole blocks: `block_items` values in `block_bytes` bytes; a row of a matrix is a
 * whole number of blocks. Source of the layouts: ggml-org/ggml ggml-common.h, as read by the `gguf` Python
 * package, whose results these are bit for bit.
 */
#ifndef KVL_FILE_DTYPE_H
#define KVL_FILE_DTYPE_H

#include "base/compiler.h"

#define KVL_DTYPE_LIST(                                                                                      \
    X) /* constant, name, items of a block, bytes of a block, number in GGUF (-1: none) */                   \
    X(KVL_DTYPE_F32, "F32", 1, 4, 0)                                                                         \
    X(KVL_DTYPE_F16, "F16", 1, 2, 1)                                                                         \
    X(KVL_DTYPE_BF16, "BF16", 1, 2, 30)                                                                      \
    X(KVL_DTYPE_F64, "F64", 1, 8, 28)                                                                        \
    X(KVL_DTYPE_Q4_0, "Q4_0", 32, 18, 2)                                                                     \
    X(KVL_DTYPE_Q4_1, "Q4_1", 32, 20, 3)                                                                     \
    X(KVL_DTYPE_Q5_0, "Q5_0", 32, 22, 6)                                                                     \
    X(KVL_DTYPE_Q5_1, "Q5_1", 32, 24, 7)                                                                     \
    X(KVL_DTYPE_Q8_0, "Q8_0", 32, 34, 8)                                                                     \
    X(KVL_DTYPE_Q2_K, "Q2_K", 256, 84, 10)                                                                   \
    X(KVL_DTYPE_Q3_K, "Q3_K", 256, 110, 11)                                                                  \
    X(KVL_DTYPE_Q4_K, "Q4_K", 256, 144, 12)                                                                  \
    X(KVL_DTYPE_Q5_K, "Q5_K", 256, 176, 13)                                                                  \
    X(KVL_DTYPE_Q6_K, "Q6_K", 256, 210, 14)                                                                  \
    X(KVL_DTYPE_IQ4_NL, "IQ4_NL", 32, 18, 20)                                                                \
    X(KVL_DTYPE_IQ4_XS, "IQ4_XS", 256, 136, 23)                                                              \
    X(KVL_DTYPE_I64, "I64", 1, 8, 27)                                                                        \
    X(KVL_DTYPE_I32, "I32", 1, 4, 26)                                                                        \
    X(KVL_DTYPE_I16, "I16", 1, 2, 25)                                                                        \
    X(KVL_DTYPE_I8, "I8", 1, 1, 24)                                                                          \
    X(KVL_DTYPE_U8, "U8", 1, 1, -1)                                                                          \
    X(KVL_DTYPE_U16, "U16", 1, 2, -1)                                                                        \
    X(KVL_DTYPE_U32, "U32", 1, 4, -1)                                                                        \
    X(KVL_DTYPE_U64, "U64", 1, 8, -1)                                                                        \
    X(KVL_DTYPE_BOOL, "BOOL", 1, 1, -1)

typedef enum kvl_dtype {
#define X(id, name, block_items, block_bytes, gguf) id,
    KVL_DTYPE_LIST(X)
#undef X
        KVL_N_DTYPES
} kvl_dtype;

const char *kvl_dtype_name(kvl_dtype t);
uint32_t kvl_dtype_block_items(kvl_dtype t);
uint32_t kvl_dtype_block_bytes(kvl_dtype t);
/* Whether kvl_dtype_widen reads it: floats and quantised blocks. */
bool kvl_dtype_is_real(kvl_dtype t);
/* The type with that number in GGUF, or KVL_N_DTYPES. */
kvl_dtype kvl_dtype_of_gguf(uint32_t number);
/* Name of a GGUF type number that is not read here ("IQ2_XXS"), or NULL for one that was never defined. */
const char *kvl_dtype_refused_name(uint32_t number);
/* n values to f32, exactly as defined (F64 rounded to nearest). src unaligned, little-endian; n a multiple of
 * the block. Only for types that are real. */
void kvl_dtype_widen(float *dst, const uint8_t *src, size_t n, kvl_dtype t);

#endif
