/* What this machine grants the process: processors, memory, clock. For people to read, and for the default of
 * a sweep's memory; no result is computed from it. */
#ifndef KVL_BASE_MACHINE_H
#define KVL_BASE_MACHINE_H

#include "base/compiler.h"

/* 0: unknown, or no limit. */
typedef struct kvl_machine {
    char cpu[64];                    /* model name of the processor; "" when unknown */
    unsigned n_online;               /* processors of the system */
    double cpu_quota;                /* processors' worth of time that the control group allows */
    uint64_t memory_total_bytes;     /* of the system */
    uint64_t memory_available_bytes; /* without swapping, by the system's own estimate */
    uint64_t memory_limit_bytes;     /* of the control group */
    uint64_t clock_resolution_ns;    /* of kvl_clock_ns, as the system states it */
} kvl_machine;

/* Reads /proc and /sys below `root`: "" for this machine, another folder in tests. Control groups of version
 * 2 (the process's own group and all above it: the smallest limit counts) and of version 1. */
void kvl_machine_read(kvl_machine *out, const char *root);

#endif
