/* Quantised blocks -> f32. */
#ifndef KVL_FILE_DEQUANT_H
#define KVL_FILE_DEQUANT_H

#include "file/dtype.h"

/* n values, a multiple of the type's block; t is a quantised type. Source: ggml-common.h for the layouts; the
 * order of operations is that of gguf-py 0.19 quants.py, so that the bits agree. */
void kvli_dequantise(float *dst, const uint8_t *src, size_t n, kvl_dtype t);

#endif
