/* Choosing a table: by what the processor and the operating system both allow, never by model number. */
#define _GNU_SOURCE
#include "kernel/kernel_int.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

enum { max_tables = 6 };

#if defined(__x86_64__)
/* Compilers differ in whether they know these by name. */
static bool has_f16c(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx512bf16(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 5) != 0;
}
#endif

/* Tables this machine runs, best first; returns how many. */
static size_t usable_tables(const kvl_kernels *out[max_tables]) {
    size_t n = 0;
#if defined(__x86_64__)
    /* the builtins look at CPUID and at XGETBV: registers the system does not save do not count */
    __builtin_cpu_init();
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        const bool has_vnni = __builtin_cpu_supports("avx512vnni");
        if (has_vnni && has_avx512bf16()) {
            out[n++] = &kvli_kernels_avx512bf16;
        }
        if (has_vnni) {
            out[n++] = &kvli_kernels_avx512vnni;
        }
        out[n++] = &kvli_kernels_avx512;
    }
    if (has_avx2) {
        out[n++] = &kvli_kernels_avx2;
    }
#endif
    out[n++] = &kvli_kernels_base;
    out[n++] = &kvli_kernels_c;
    return n;
}

kvl_status kvl_kernels_get(const kvl_kernels **out, const char *name, kvl_err *err) {
    const kvl_kernels *tables[max_tables];
    size_t n = usable_tables(tables);
    char list[80] = "";
    *out = NULL;
    if (name == NULL || strcmp(name, "auto") == 0) {
        *out = tables[0];
        return KVL_OK;
    }
    for (size_t i = 0, at = 0; i < n; i++) {
        if (strcmp(tables[i]->name, name) == 0) {
            *out = tables[i];
            return KVL_OK;
        }
        at += (size_t)snprintf(list + at, sizeof list - at, ", %s", tables[i]->name);
    }
    return kvl_fail(err, KVL_E_USAGE, "instruction set: expected auto%s on this machine, found '%.40s'", list,
                    name);
}

#if defined(__x86_64__) && defined(__linux__)
/* The processor has tiles and their products, the system saves them, and lets this process use them (a
 * permission of the whole process, to be asked for once: Linux, Documentation/arch/x86/xstate.rst). */
static bool may_use_tiles(void) {
    enum { request_permission = 0x1023, tile_data = 18 };
    const unsigned products_and_tiles = 1u << 22 | 1u << 24, saved = 3u << 17, has_xgetbv = 1u << 27;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & has_xgetbv) == 0) {
        return false;
    }
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & saved) != saved || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 ||
        (d & products_and_tiles) != products_and_tiles) {
        return false;
    }
    return has_avx512bf16() && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

kvl_status kvl_amx_gemm(kvl_gemm_fn **out, kvl_err *err) {
    *out = NULL;
#if defined(__x86_64__) && defined(__linux__)
    if (may_use_tiles()) {
        *out = kvli_gemm_amx;
        return KVL_OK;
    }
#endif
    return kvl_fail(
        err, KVL_E_USAGE,
        "arithmetic amx_bf16: expected a processor with AMX tiles for bfloat16, and a system that "
        "lets them be used, found none");
}

const char *const *kvl_kernels_names(void) {
    static const char *const names[max_tables + 1] = {"avx512bf16", "avx512vnni", "avx512", "avx2",
                                                      "base",       "c",          NULL};
    const kvl_kernels *tables[max_tables];
    return names + (max_tables - usable_tables(tables)); /* every table implies those behind it */
}

const char *kvl_cpu_extensions(void) {
    static char text[80];
    size_t n = 0;
    text[0] = '\0';
#if defined(__x86_64__)
    __builtin_cpu_init();
#define ADD(name)                                                                                            \
    if (__builtin_cpu_supports(name)) {                                                                      \
        n += (size_t)snprintf(text + n, sizeof text - n, " %s", name);                                       \
    }
    ADD("avx2")
    ADD("fma")
    ADD("avx512f")
    ADD("avx512dq")
    ADD("avx512bw")
    ADD("avx512vl")
    ADD("avx512vnni")
#undef ADD
#endif
    return n != 0 ? text : " none";
}
