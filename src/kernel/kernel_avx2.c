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
/* both halves of the table, then the one that bit 3 says */
#define VEC_OF_TABLE(t, i)                                                                                   \
    ((vec)_mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(t), (__m256i)(i)),                       \
                           _mm256_permutevar8x32_ps(_mm256_loadu_ps((t) + 8), (__m256i)(i)),                 \
                           _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)(i), 28))))
#define KERNELS kvli_kernels_avx2
#define KERNELS_NAME "avx2"
#include "kernel/kernel_vec.h"
