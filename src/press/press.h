/* A press ranks the entries of one KV head: larger score = keep.
 *
 * A press is a constant struct in a file of its own and one line in press_list.def. It scores and does
 * nothing else: budgets, protections and ties are select.c's, moving memory is the cache's. It sees one head
 * through a read-only view and knows neither storage types nor panel layout nor other streams.
 * press_template.c is a working press to copy; docs/write-a-press.md walks through it.
 */
#ifndef KVL_PRESS_PRESS_H
#define KVL_PRESS_PRESS_H

#include "cache/cache.h"
#include "press/option.h"

/* One KV head of one layer at the moment of a compression. Borrowed, read only. */
typedef struct kvl_head_view {
    const kvl_cache *cache;
    const kvl_shape *shape;
    uint32_t layer;
    uint32_t head;
    size_t n;                 /* entries */
    const int32_t *positions; /* [n] token positions, in slot order */
    uint64_t n_seen;          /* tokens the stream has processed */
    uint64_t event;           /* compressions of this stream before this one */
    uint64_t seed;            /* of the policy and the stream: equal runs see equal seeds */
} kvl_head_view;

enum { KVL_PRESS_CONF_BYTES = 64 };

typedef struct kvl_press {
    const char *name;    /* id on the command line and in records: stable for ever */
    const char *summary; /* one line */
    const char *source;  /* paper and equation, or code and version */
    unsigned version;    /* raised when results change */
    bool is_identity;    /* never evicts; score is NULL */
    const kvl_option *options;
    size_t n_options;
    size_t conf_bytes; /* <= KVL_PRESS_CONF_BYTES */
    /* Floats of scratch for a head of n entries; NULL: none. */
    size_t (*scratch_floats)(const kvl_shape *shape, size_t n);
    /* Fills scores [view->n]. Pure: the same view gives the same scores. Must not give NaN. */
    void (*score)(const void *conf, const kvl_head_view *view, float *scores, float *scratch);
} kvl_press;

/* All presses, in the order of the list. */
const kvl_press *const *kvl_presses(size_t *n);
/* By name [n_name]; E_USAGE with the nearest names when unknown. */
kvl_status kvl_press_find(const kvl_press **out, const char *name, size_t n_name, kvl_err *err) KVL_MUST_USE;

/* Row-major keys of the head, after rotation, and values, widened to f32: dst [n, D]. */
void kvl_view_keys(const kvl_head_view *view, float *dst);
void kvl_view_values(const kvl_head_view *view, float *dst);

#endif
