/* What the files of the cache share: heads and their windows. */
#ifndef KVL_CACHE_CACHE_INT_H
#define KVL_CACHE_CACHE_INT_H

#include "cache/cache.h"
#include "kernel/kv_form.h"

/* The newest entries of a head, in full. Those that have left stay until the next reservation, so that
 * earlier states of the head can be asked for. */
typedef struct kvli_window {
    void *keys, *values; /* room for cap entries, in the cache's wide forms */
    uint32_t n;          /* entries that are there, */
    uint32_t n_left;     /* the first of which, a multiple of 16, have left */
    uint32_t cap;
    uint32_t most; /* cap, at its largest since kvl_cache_most_bytes */
    bool is_guess; /* the head is counted only, and was compressed: what is left of its window is not known */
} kvli_window;

typedef struct kvli_head {
    void *keys;         /* room for cap entries; those of the window and thin ones are not there */
    void *values;       /* the same */
    int32_t *positions; /* [cap] */
    int64_t *mass;      /* [cap], or NULL */
    uint32_t n;         /* those of the window included */
    uint32_t cap;       /* multiple of 16 */
    uint64_t most;      /* bytes but for the window's, at their most since kvl_cache_most_bytes */
    void *thin_keys;    /* of the first n_thin entries, with n_channels each; the room is as large */
    uint16_t *channels; /* [n_channels] of the thin ones; both NULL and 0 where there never were any */
    uint32_t n_thin;
    uint32_t n_channels;
    uint32_t n_base;   /* entries of the base before them */
    uint32_t n_shared; /* of a base: with how many caches that stand on it begin, at most */
    kvli_window window;
} kvli_head;

struct kvl_cache {
    uint32_t n_layers;
    uint32_t n_kv_heads;
    kvl_kv_form keys, values;           /* how they lie, */
    kvl_kv_form wide_keys, wide_values; /* and in windows */
    uint32_t n_residual;                /* 0: no windows */
    bool has_hadamard;
    bool has_mass;
    bool is_counting; /* lengths and room only: no head has memory */
    kvli_head *heads; /* [L, K] */
    kvl_cache *base;  /* or NULL */
    size_t n_users;   /* who created it and the caches that stand on it */
};

/* Of a head without its window: memory for `cap` entries, of which the first n_thin have n_channels channels
 * (false: no memory, and nothing is there), its bytes, and its end. */
bool kvli_store_alloc(kvli_head *h, const kvl_cache *c);
uint64_t kvli_store_bytes(const kvl_cache *c, const kvli_head *h);
void kvli_store_free(kvli_head *h);

/* How thin keys lie. */
static inline kvl_kv_form kvli_thin_form(const kvl_cache *c, const kvli_head *h) {
    return kvl_kv_form_of(c->keys.type, h->n_channels, false);
}
/* The key x [D] of an entry that is not in the window, widened: read, with zeros for what it has not, or
 * rounded and stored. */
void kvli_key_get(const kvl_cache *c, const kvli_head *h, size_t slot, float *x);
void kvli_key_put(const kvl_cache *c, const kvli_head *h, size_t slot, const float *x);
/* The keys of entries `slots` [n] (NULL: from 0 on) become those of entries first, first + 1, ... of another
 * head, thin or not. */
void kvli_keys_move(const kvl_cache *c, const kvli_head *to, size_t first, const kvli_head *from,
                    const uint32_t *slots, size_t n);
/* Thin entries among the survivors `slots` [n] that can stay so: all of them where they come first. */
size_t kvli_n_staying_thin(const kvli_head *h, const uint32_t *slots, size_t n);

/* Entries in the window, and before it. */
static inline size_t kvli_n_window(const kvli_head *h) { return h->window.n - h->window.n_left; }
static inline size_t kvli_n_packed(const kvli_head *h) { return h->n - kvli_n_window(h); }

void kvli_window_free(kvli_window *w);
/* Room of `cap` for a copy of a window or, where w is NULL, for none; false: no memory. */
bool kvli_window_clone(kvli_window *out, const kvli_window *w, uint32_t cap, const kvl_cache *c);
/* Forgets what has left, and makes room for n_more entries or, if these are more, as many as a pass has. */
kvl_status kvli_window_reserve(const kvl_cache *c, kvli_window *w, size_t n_more, kvl_err *err) KVL_MUST_USE;
/* Before an entry is stored at the end of the window, and after it: 16 leave where there are 16 too many, and
 * become the head's packed ones. */
void kvli_window_begin(const kvl_cache *c, kvli_window *w);
void kvli_window_leave(const kvl_cache *c, kvli_head *h);
/* The window's entries `slots` [n] of a head of n_packed others become those of `to`, which may be `from` if
 * they ascend. */
void kvli_window_gather(const kvl_cache *c, kvli_window *to, const kvli_window *from, const uint32_t *slots,
                        size_t n, size_t n_packed);
/* Entry number i of the window is packed as entry `slot` of `to`. */
void kvli_window_pack(const kvl_cache *c, const kvli_head *to, size_t slot, const kvli_window *w, size_t i);

#endif
