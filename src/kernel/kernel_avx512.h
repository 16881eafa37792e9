/* AVX-512: 16 floats a vector, 32 registers: 12 rows x 2 vectors = 24 accumulators, 2 weights, 1 value. */
#include <immintrin.h>

#define VW 16
#define TILE_ROWS 12
#define vec_fma(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VEC_MAX(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MAX_OF_LANES(v) _mm512_reduce_max_ps((__m512)(v))
#define WIDEN_HALF(v, which)                                                                                 \
    ((dvec)_mm512_cvtps_pd((which) == 0 ? _mm512_castps512_ps256((__m512)(v))                                \
                                        : _mm512_extractf32x8_ps((__m512)(v), 1)))
#define VEC_OF_F16(p) ((vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#define IVEC_OF_U8(p) ((ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define IVEC_OF_I8(p) ((ivec)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define IVEC_OF_U16(p) ((ivec)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#define VEC_OF_INTS(v) ((vec)_mm512_cvtepi32_ps((__m512i)(v)))
#define VEC_OF_TABLE(t, i) ((vec)_mm512_permutexvar_ps((__m512i)(i), _mm512_loadu_ps(t)))
#define VEC_MADD16(a, b) ((ivec)_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
/* Four steps of 16 bytes, or one half of four steps of 32 bytes, so that each column's four come together:
 * rows of 4 bytes to the 128 bits of their columns, then turned there. */
#define TURN_4X4(v)                                                                                          \
    _mm512_shuffle_epi8(                                                                                     \
        v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)))
#define QUADS_OF_NIBBLES(q)                                                                                  \
    ((ivec)TURN_4X4(_mm512_permutexvar_epi32(                                                                \
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), _mm512_loadu_si512(q))))
#define QUADS_OF_BYTES(q, half)                                                                              \
    ((ivec)TURN_4X4(_mm512_permutex2var_epi32(                                                               \
        _mm512_loadu_si512(q),                                                                               \
        _mm512_add_epi32(_mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27),        \
                         _mm512_set1_epi32(4 * (half))),                                                     \
        _mm512_loadu_si512((q) + 64))))
#define MOST_OF_INTS(v) _mm512_reduce_max_epi32((__m512i)(v))
#define SUM_OF_INTS(v) _mm512_reduce_add_epi32((__m512i)(v))
#define STORE_BYTES(to, v) _mm_storeu_si128((__m128i *)(void *)(to), _mm512_cvtepi32_epi8((__m512i)(v)))
#include "kernel/kernel_vec.h"
