/* Ragged cache: one growable block of keys, values and positions per (layer, head). */
#include "cache/cache.h"

#include "base/alloc.h"
#include "kernel/kernel.h"

#include <string.h>

enum { panel = KVL_KEY_PANEL };

typedef struct head_store {
    float *keys;        /* [cap / 16, D, 16] */
    float *values;      /* [cap, D] */
    int32_t *positions; /* [cap] */
    uint32_t n;
    uint32_t cap; /* multiple of 16 */
} head_store;

struct kvl_cache {
    uint32_t n_layers;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    bool is_counting;  /* lengths and room only: no store has memory */
    head_store *heads; /* [L, K] */
};

static head_store *at(const kvl_cache *c, uint32_t layer, uint32_t head) {
    return &c->heads[(size_t)layer * c->n_kv_heads + head];
}

static size_t n_heads(const kvl_cache *c) { return (size_t)c->n_layers * c->n_kv_heads; }

static void free_store(head_store *h) {
    kvl_free(h->keys);
    kvl_free(h->values);
    kvl_free(h->positions);
    *h = (head_store){0};
}

/* A store of `cap` entries holding the first h->n entries of h; h itself is untouched. */
static bool clone_store(head_store *out, const head_store *h, uint32_t cap, const kvl_cache *c) {
    *out = (head_store){.n = h->n, .cap = cap};
    uint32_t head_dim = c->head_dim;
    if (c->is_counting) {
        return true;
    }
    size_t n_panels = cap / panel;
    size_t panel_floats = (size_t)head_dim * panel;
    out->keys = kvl_calloc(n_panels, panel_floats * sizeof(float));
    out->values = kvl_calloc(cap, head_dim * sizeof(float));
    out->positions = kvl_calloc(cap, sizeof(int32_t));
    if (out->keys == NULL || out->values == NULL || out->positions == NULL) {
        free_store(out);
        return false;
    }
    if (h->n != 0) {
        memcpy(out->keys, h->keys, kvl_round_up(h->n, panel) * head_dim * sizeof(float));
        memcpy(out->values, h->values, (size_t)h->n * head_dim * sizeof(float));
        memcpy(out->positions, h->positions, h->n * sizeof(int32_t));
    }
    return true;
}

static kvl_status set_capacity(head_store *h, uint32_t cap, const kvl_cache *c, kvl_err *err) {
    head_store fresh;
    if (!clone_store(&fresh, h, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    free_store(h);
    *h = fresh;
    return KVL_OK;
}

kvl_status kvl_cache_create(kvl_cache **out, const kvl_shape *shape, kvl_err *err) {
    *out = NULL;
    kvl_cache *c = kvl_calloc(1, sizeof *c);
    if (c == NULL) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    c->n_layers = shape->n_layers;
    c->n_kv_heads = shape->n_kv_heads;
    c->head_dim = shape->head_dim;
    c->heads = kvl_calloc(n_heads(c), sizeof *c->heads);
    if (c->heads == NULL) {
        kvl_free(c);
        return kvl_fail_nomem(err, "key/value cache");
    }
    *out = c;
    return KVL_OK;
}

kvl_status kvl_cache_create_counting(kvl_cache **out, const kvl_shape *shape, kvl_err *err) {
    KVL_TRY(kvl_cache_create(out, shape, err));
    (*out)->is_counting = true;
    return KVL_OK;
}

void kvl_cache_destroy(kvl_cache *c) {
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < n_heads(c); i++) {
        free_store(&c->heads[i]);
    }
    kvl_free(c->heads);
    kvl_free(c);
}

kvl_status kvl_cache_fork(kvl_cache **out, const kvl_cache *c, kvl_err *err) {
    kvl_shape shape = {.n_layers = c->n_layers, .n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim};
    KVL_TRY(kvl_cache_create(out, &shape, err));
    (*out)->is_counting = c->is_counting;
    for (size_t i = 0; i < n_heads(c); i++) {
        if (!clone_store(&(*out)->heads[i], &c->heads[i], c->heads[i].cap, c)) {
            kvl_cache_destroy(*out);
            *out = NULL;
            return kvl_fail_nomem(err, "copy of a key/value cache");
        }
    }
    return KVL_OK;
}

size_t kvl_cache_grown_cap(size_t cap, size_t n) {
    size_t need = kvl_round_up(n, panel);
    size_t grown = kvl_max_size(need, kvl_round_up(cap * 3 / 2, panel));
    return need <= cap ? cap : kvl_min_size(grown, INT32_MAX / panel * panel);
}

size_t kvl_cache_kept_cap(size_t cap, size_t n) {
    /* Room for one more panel is left: the next token comes at once. */
    size_t want = kvl_round_up(n + 1, panel);
    return want <= cap / 2 ? want : cap;
}

uint64_t kvl_cache_head_bytes(uint32_t head_dim, size_t cap) {
    return (uint64_t)cap * (2 * (uint64_t)head_dim * sizeof(float) + sizeof(int32_t));
}

kvl_status kvl_cache_reserve(kvl_cache *c, size_t n_more, kvl_err *err) {
    for (size_t i = 0; i < n_heads(c); i++) {
        head_store *h = &c->heads[i];
        size_t cap = kvl_cache_grown_cap(h->cap, h->n + n_more);
        if (cap < h->n + n_more) {
            return kvl_fail(err, KVL_E_LIMIT, "key/value cache: expected at most 2^31 entries, found more");
        }
        if (cap > h->cap) {
            KVL_TRY(set_capacity(h, (uint32_t)cap, c, err));
        }
    }
    return KVL_OK;
}

/* Entry `slot`'s first key dimension; the next dimension is `panel` floats further. */
static float *key_at(const head_store *h, size_t slot, uint32_t head_dim) {
    return h->keys + (slot / panel * head_dim) * panel + slot % panel;
}

void kvl_cache_append(kvl_cache *c, uint32_t layer, uint32_t head, const float *key, const float *value,
                      int32_t position) {
    head_store *h = at(c, layer, head);
    if (c->is_counting) {
        h->n++;
        return;
    }
    float *to = key_at(h, h->n, c->head_dim);
    for (uint32_t d = 0; d < c->head_dim; d++) {
        to[(size_t)d * panel] = key[d];
    }
    memcpy(h->values + (size_t)h->n * c->head_dim, value, c->head_dim * sizeof(float));
    h->positions[h->n] = position;
    h->n++;
}

size_t kvl_cache_len(const kvl_cache *c, uint32_t layer, uint32_t head) { return at(c, layer, head)->n; }

kvl_head_entries kvl_cache_entries(const kvl_cache *c, uint32_t layer, uint32_t head) {
    const head_store *h = at(c, layer, head);
    return (kvl_head_entries){h->keys, h->values, h->positions, h->n};
}

void kvl_cache_copy_keys(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst) {
    const head_store *h = at(c, layer, head);
    for (size_t j = 0; j < h->n; j++) {
        const float *from = key_at(h, j, c->head_dim);
        for (uint32_t d = 0; d < c->head_dim; d++) {
            dst[j * c->head_dim + d] = from[(size_t)d * panel];
        }
    }
}

static void move_entry(const head_store *to, size_t to_slot, const head_store *from, size_t from_slot,
                       uint32_t head_dim) {
    float *to_key = key_at(to, to_slot, head_dim);
    const float *from_key = key_at(from, from_slot, head_dim);
    for (uint32_t d = 0; d < head_dim; d++) {
        to_key[(size_t)d * panel] = from_key[(size_t)d * panel];
    }
    memmove(to->values + to_slot * head_dim, from->values + from_slot * head_dim, head_dim * sizeof(float));
    to->positions[to_slot] = from->positions[from_slot];
}

kvl_status kvl_cache_keep(kvl_cache *c, uint32_t layer, uint32_t head, const uint32_t *slots, size_t n_slots,
                          kvl_err *err) {
    head_store *h = at(c, layer, head);
    bool is_ascending = true;
    if (c->is_counting) {
        h->cap = (uint32_t)kvl_cache_kept_cap(h->cap, n_slots);
        h->n = (uint32_t)n_slots;
        return KVL_OK;
    }
    for (size_t i = 0; i < n_slots; i++) {
        if (slots[i] >= h->n || n_slots > h->n) {
            return kvl_fail(err, KVL_E_CHECK, "layer %u, head %u: expected slots below %u, found %u", layer,
                            head, h->n, slots[i]);
        }
        is_ascending = is_ascending && (i == 0 || slots[i] > slots[i - 1]);
    }
    uint32_t cap = (uint32_t)kvl_cache_kept_cap(h->cap, n_slots);
    if (is_ascending && cap == h->cap) {
        for (size_t i = 0; i < n_slots; i++) {
            if (slots[i] != i) {
                move_entry(h, i, h, slots[i], c->head_dim);
            }
        }
        h->n = (uint32_t)n_slots;
        return KVL_OK;
    }
    head_store empty = {0};
    head_store fresh;
    if (!clone_store(&fresh, &empty, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    for (size_t i = 0; i < n_slots; i++) {
        move_entry(&fresh, i, h, slots[i], c->head_dim);
    }
    fresh.n = (uint32_t)n_slots;
    free_store(h);
    *h = fresh;
    return KVL_OK;
}

uint64_t kvl_cache_live_bytes(const kvl_cache *c) {
    uint64_t n = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        n += c->heads[i].n;
    }
    return n * c->head_dim * 2 * sizeof(float);
}

uint64_t kvl_cache_reserved_bytes(const kvl_cache *c) {
    size_t n = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        n += c->heads[i].cap;
    }
    return kvl_cache_head_bytes(c->head_dim, n);
}
