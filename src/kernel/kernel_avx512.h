/* AVX-512: 16 floats a vector, 32 registers: 12 rows x 2 vectors = 24 accumulators, 2 weights, 1 value. */
#include <immintrin.h>

#define VW 16
#define TILE_ROWS 12
#define vec_fma(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VEC_OF_F16(p) ((vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#define IVEC_OF_U8(p) ((ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define IVEC_OF_I8(p) ((ivec)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define IVEC_OF_U16(p) ((ivec)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#define VEC_OF_INTS(v) ((vec)_mm512_cvtepi32_ps((__m512i)(v)))
#include "kernel/kernel_vec.h"
