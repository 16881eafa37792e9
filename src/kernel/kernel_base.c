/* The same vectors for any processor: 4 floats, no fused multiply-add, whatever registers the baseline has.
 */
#define VW 4
#define TILE_ROWS 6
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define KERNELS kvli_kernels_base
#define KERNELS_NAME "base"
#include "kernel/kernel_vec.h"
