/* All memory of the library: checked sizes, zeroed blocks, a failing switch for tests.
 *
 * Blocks are owned by whoever allocated them and go back through kvl_free. Array blocks are aligned to
 * KVL_ALIGN_BYTES so that kernels may use aligned vectors.
 */
#ifndef KVL_BASE_ALLOC_H
#define KVL_BASE_ALLOC_H

#include "base/status.h"

/* Zeroed array of n items; NULL when n * item_bytes overflows or memory ends. n = 0 gives a block. */
void *kvl_calloc(size_t n, size_t item_bytes) KVL_MUST_USE;
/* The same without zeroing: for large blocks whose every item is written before it is read. */
void *kvl_alloc(size_t n, size_t item_bytes) KVL_MUST_USE;
/* Resizes a block of kvl_calloc from n_old to n_new items (new items zeroed); NULL leaves the old one. */
void *kvl_resize(void *block, size_t n_old, size_t n_new, size_t item_bytes) KVL_MUST_USE;
void kvl_free(void *block);
/* Copy of the first n bytes of text with a NUL behind them. */
char *kvl_strndup(const char *text, size_t n) KVL_MUST_USE;
char *kvl_strdup(const char *text) KVL_MUST_USE;

/* E_NOMEM naming what was wanted. */
kvl_status kvl_fail_nomem(kvl_err *err, const char *what);

/* Tests only: the call with this index (0 = next) and every later one fails; a negative index never fails. */
void kvl_alloc_fail_after(int64_t n_calls);
/* Allocation calls since program start. */
uint64_t kvl_alloc_count(void);

#endif
