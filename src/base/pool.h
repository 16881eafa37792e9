/* Thread pool: one parallel loop at a time, split by item count only.
 *
 * Each item is run by exactly one thread, and what an item computes may not depend on which; so results
 * are the same bits for any number of threads. Workers spin briefly between loops, then sleep.
 */
#ifndef KVL_BASE_POOL_H
#define KVL_BASE_POOL_H

#include "base/status.h"

typedef struct kvl_pool kvl_pool;

/* Runs item `item` on thread `thread` (0 .. n_threads-1; for per-thread scratch). */
typedef void kvl_item_fn(void *ud, size_t item, unsigned thread);

kvl_status kvl_pool_create(kvl_pool **out, unsigned n_threads, kvl_err *err) KVL_MUST_USE;
void kvl_pool_destroy(kvl_pool *pool);
unsigned kvl_pool_threads(const kvl_pool *pool);
/* Runs fn for items 0 .. n_items-1 and returns when all are done. The caller is thread 0. */
void kvl_pool_run(kvl_pool *pool, size_t n_items, kvl_item_fn *fn, void *ud);

#endif
