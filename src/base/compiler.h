/* The only compiler-specific text: attributes and checked arithmetic. */
#ifndef KVL_BASE_COMPILER_H
#define KVL_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVL_MUST_USE __attribute__((warn_unused_result))
#define KVL_PRINTF(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
/* What plug-ins may call (include/kvlab_press.h) stands between these two; all else stays hidden. */
#define KVL_API_BEGIN _Pragma("GCC visibility push(default)")
#define KVL_API_END _Pragma("GCC visibility pop")
#define KVL_ALIGN_BYTES 64 /* one cache line, one AVX-512 vector */

/* Overflow-checked arithmetic on sizes that come from files; true when *out holds the exact result. */
static inline bool kvl_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool kvl_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t kvl_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t kvl_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t kvl_round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

#endif
