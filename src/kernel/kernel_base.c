/* The same vectors for any processor: 4 floats, no fused multiply-add, whatever registers the baseline has.
 */
#include "kernel/kernel.h"

#define VW 4
#define TILE_ROWS 6
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define VEC_OF_F16(p)                                                                                        \
    (vec) { kvl_f32_of_f16((p)[0]), kvl_f32_of_f16((p)[1]), kvl_f32_of_f16((p)[2]), kvl_f32_of_f16((p)[3]) }
#define IVEC_OF_U8(p)                                                                                        \
    (ivec) { (p)[0], (p)[1], (p)[2], (p)[3] }
#define IVEC_OF_I8(p)                                                                                        \
    (ivec) { (int8_t)(p)[0], (int8_t)(p)[1], (int8_t)(p)[2], (int8_t)(p)[3] }
#define IVEC_OF_U16(p) IVEC_OF_U8(p)
#define VEC_OF_INTS(v) __builtin_convertvector(v, vec)
#define KERNELS kvli_kernels_base
#define KERNELS_NAME "base"
#include "kernel/kernel_vec.h"
