/* AVX-512 without anything that came later. */
#define KERNELS kvli_kernels_avx512
#define KERNELS_NAME "avx512"
#include "kernel/kernel_avx512.h"
