/* What this machine does at best: the limits that measured speeds are compared with.
 *
 * On a shared machine the clock and the memory bus move within minutes, so limits are measured in the process
 * and the minute of what they are compared with, on the same pool of threads. */
#ifndef KVL_KERNEL_LIMITS_H
#define KVL_KERNEL_LIMITS_H

#include "base/pool.h"
#include "kernel/kernel.h"

typedef struct kvl_limits {
    double flop_per_ns;  /* GFLOP/s on registers alone; 0: not known for this instruction set */
    double bytes_per_ns; /* GB/s of reading memory beyond the last cache, four streams per thread */
} kvl_limits;

/* Measures the table `isa` of kvl_kernels_get with all threads of the pool, in that arithmetic (bf16 and int8
 * are known where there is an instruction for them); about 0.4 s. The best of many short runs counts, since
 * neighbours only ever slow one down. E_NOMEM (256 MiB are read). */
kvl_status kvl_limits_measure(kvl_limits *out, const char *isa, kvl_arith arith, kvl_pool *pool,
                              kvl_err *err) KVL_MUST_USE;

#endif
