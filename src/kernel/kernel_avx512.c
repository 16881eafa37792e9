/* AVX-512: 16 floats a vector, 32 registers: 12 rows x 2 vectors = 24 accumulators, 2 weights, 1 value. */
#include <immintrin.h>

#define VW 16
#define TILE_ROWS 12
#define vec_fma(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define KERNELS kvli_kernels_avx512
#define KERNELS_NAME "avx512"
#include "kernel/kernel_vec.h"
