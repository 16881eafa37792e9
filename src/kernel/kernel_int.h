/* The tables that kernel_init.c chooses from. The wide ones exist on x86-64 only. */
#ifndef KVL_KERNEL_KERNEL_INT_H
#define KVL_KERNEL_KERNEL_INT_H

#include "kernel/kv_form.h"

/* A weight of a blocked panel: d * q + m. */
typedef struct kvli_weight {
    float d, m;
    int32_t q;
} kvli_weight;
kvli_weight kvli_blocked_weight(const kvl_panels *w, size_t n_in, size_t column, size_t k);

/* Numbers of iq4_nl. */
extern const int8_t kvli_iq4_nl[16];
/* Dimension d of entry `slot`, widened. */
float kvli_kv_at(const kvl_kv_form *f, const void *list, size_t slot, size_t d);

extern const kvl_kernels kvli_kernels_c;
extern const kvl_kernels kvli_kernels_base;
#if defined(__x86_64__)
extern const kvl_kernels kvli_kernels_avx2;
extern const kvl_kernels kvli_kernels_avx512;
extern const kvl_kernels kvli_kernels_avx512vnni;
extern const kvl_kernels kvli_kernels_avx512bf16;
kvl_gemm_fn kvli_gemm_amx;
#endif

#endif
