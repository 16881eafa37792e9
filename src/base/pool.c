/* Fixed pool of pthreads; items are handed out by an atomic counter, so a slow thread takes fewer.
 *
 * A loop is open while `epoch` is odd. Workers spin on it for spin_rounds, then wait on a condition, which is
 * signalled only when someone waits. The caller works too; when no item is left it closes the loop and waits
 * for those who are inside. A worker whose processor is taken by another program, or that wakes too late, is
 * not waited for unless it holds an item.
 */
#include "base/pool.h"

#include "base/alloc.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { max_threads = 256 };
/* About 20 us: longer than the gap between two loops of a pass, short enough to leave the core to others. */
enum { spin_rounds = 2000, yield_every = 256 };

typedef struct worker {
    kvl_pool *pool;
    pthread_t thread;
    unsigned index;
} worker;

struct kvl_pool {
    unsigned n_threads; /* with the caller */
    worker *workers;    /* n_threads - 1 */
    unsigned n_started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_ulong epoch;   /* raised when a loop opens, to an odd number, and when it closes */
    atomic_uint n_asleep; /* workers that wait on the condition, or are about to */
    atomic_uint n_inside; /* workers that may look at the current loop */
    atomic_bool is_closing;
    /* the current loop; written while it is closed and nobody is inside */
    kvl_item_fn *fn;
    void *ud;
    size_t n_items;
    _Alignas(64) atomic_size_t next_item;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void run_items(kvl_pool *pool, unsigned thread) {
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&pool->next_item, 1, memory_order_relaxed);
        if (item >= pool->n_items) {
            return;
        }
        pool->fn(pool->ud, item, thread);
    }
}

/* Whether a loop is open that the worker has not left yet. */
static bool is_open(unsigned long epoch, unsigned long left) { return epoch % 2 != 0 && epoch != left; }

static void wait_for_loop(kvl_pool *pool, unsigned long left) {
    for (unsigned i = 0; i < spin_rounds; i++) {
        if (is_open(atomic_load_explicit(&pool->epoch, memory_order_acquire), left)) {
            return;
        }
        if (i % yield_every == yield_every - 1) {
            sched_yield();
        } else {
            relax();
        }
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_asleep, 1); /* before the look at the epoch: one of both sides sees the other */
    while (!is_open(atomic_load(&pool->epoch), left)) {
        pthread_cond_wait(&pool->wake, &pool->lock);
    }
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    kvl_pool *pool = w->pool;
    unsigned long left = 0;
    for (;;) {
        wait_for_loop(pool, left);
        if (atomic_load(&pool->is_closing)) {
            return NULL;
        }
        /* either the caller sees this worker inside, or the worker sees that the loop was closed */
        atomic_fetch_add(&pool->n_inside, 1);
        const unsigned long epoch = atomic_load(&pool->epoch);
        if (is_open(epoch, left)) {
            run_items(pool, w->index);
            left = epoch;
        }
        atomic_fetch_sub(&pool->n_inside, 1);
    }
}

static void announce(kvl_pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->n_asleep) != 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

kvl_status kvl_pool_create(kvl_pool **out, unsigned n_threads, kvl_err *err) {
    *out = NULL;
    if (n_threads < 1 || n_threads > max_threads) {
        return kvl_fail(err, KVL_E_USAGE, "threads: expected 1 to %d, found %u", max_threads, n_threads);
    }
    kvl_pool *pool = kvl_calloc(1, sizeof *pool);
    worker *workers = kvl_calloc(n_threads, sizeof *workers);
    if (pool == NULL || workers == NULL) {
        kvl_free(pool);
        kvl_free(workers);
        return kvl_fail_nomem(err, "thread pool");
    }
    pool->n_threads = n_threads;
    pool->workers = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (unsigned i = 0; i + 1 < n_threads; i++) {
        workers[i] = (worker){.pool = pool, .index = i + 1};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
            kvl_pool_destroy(pool);
            return kvl_fail(err, KVL_E_NOMEM, "threads: thread %u of %u cannot be started", i + 2, n_threads);
        }
        pool->n_started++;
    }
    *out = pool;
    return KVL_OK;
}

void kvl_pool_destroy(kvl_pool *pool) {
    if (pool == NULL) {
        return;
    }
    atomic_store(&pool->is_closing, true);
    announce(pool);
    for (unsigned i = 0; i < pool->n_started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    kvl_free(pool->workers);
    kvl_free(pool);
}

unsigned kvl_pool_threads(const kvl_pool *pool) { return pool->n_threads; }

void kvl_pool_run(kvl_pool *pool, size_t n_items, kvl_item_fn *fn, void *ud) {
    if (n_items <= 1 || pool->n_threads == 1) {
        for (size_t i = 0; i < n_items; i++) {
            fn(ud, i, 0);
        }
        return;
    }
    pool->fn = fn;
    pool->ud = ud;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next_item, 0, memory_order_relaxed);
    announce(pool);
    run_items(pool, 0);
    atomic_fetch_add(&pool->epoch, 1); /* closed */
    for (unsigned i = 0; atomic_load(&pool->n_inside) != 0; i++) {
        if (i % yield_every == yield_every - 1) {
            sched_yield();
        } else {
            relax();
        }
    }
}
