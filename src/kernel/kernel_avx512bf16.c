/* AVX-512 with dot products of 8-bit integers and of bfloat16 pairs: twice the speed in BF16_PAIRS too. */
#include <immintrin.h>

#define VEC_DOT_BF16(sum, a, b) ((vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b)))
#define ROUND_32(to, x)                                                                                      \
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps((x) + 16), _mm512_loadu_ps(x)))
#define VEC_DOT_INT8(sum, w, x) ((ivec)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(w), (__m512i)(x)))
#define KERNELS kvli_kernels_avx512bf16
#define KERNELS_NAME "avx512bf16"
#include "kernel/kernel_avx512.h"
