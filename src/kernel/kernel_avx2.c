/* AVX2 + FMA: 8 floats a vector, 16 registers: 6 rows x 2 vectors = 12 accumulators, 2 weights, 1 value. */
#include <immintrin.h>

#define VW 8
#define TILE_ROWS 6
#define vec_fma(a, b, c) ((vec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define VEC_MAX(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define VEC_OF_F16(p) ((vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define IVEC_OF_U8(p) ((ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define IVEC_OF_I8(p) ((ivec)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define IVEC_OF_U16(p) ((ivec)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define VEC_OF_INTS(v) ((vec)_mm256_cvtepi32_ps((__m256i)(v)))
#define VEC_MADD16(a, b) ((ivec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#define KERNELS kvli_kernels_avx2
#define KERNELS_NAME "avx2"
#include "kernel/kernel_vec.h"
