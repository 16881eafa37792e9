/* AVX2 + FMA: 8 floats a vector, 16 registers: 6 rows x 2 vectors = 12 accumulators, 2 weights, 1 value. */
#include <immintrin.h>

#define VW 8
#define TILE_ROWS 6
#define vec_fma(a, b, c) ((vec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define KERNELS kvli_kernels_avx2
#define KERNELS_NAME "avx2"
#include "kernel/kernel_vec.h"
