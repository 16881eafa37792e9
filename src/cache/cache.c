/* Ragged cache: one growable block of keys, values and positions per (layer, head). */
#include "cache/cache.h"

#include "base/alloc.h"
#include "kernel/kernel.h"

#include <string.h>

enum { panel = KVL_KEY_PANEL };

typedef struct head_store {
    void *keys;         /* [cap / 16, D, 16] */
    void *values;       /* [cap, D] */
    int32_t *positions; /* [cap] */
    int64_t *mass;      /* [cap], or NULL */
    uint32_t n;
    uint32_t cap;      /* multiple of 16 */
    uint32_t most;     /* cap, at its largest since kvl_cache_most_bytes */
    uint32_t n_base;   /* entries of the base before them */
    uint32_t n_shared; /* of a base: with how many caches that stand on it begin, at most */
} head_store;

struct kvl_cache {
    uint32_t n_layers;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    kvl_kv_type key_type, value_type;
    bool has_mass;
    bool is_counting;  /* lengths and room only: no store has memory */
    head_store *heads; /* [L, K] */
    kvl_cache *base;   /* or NULL */
    size_t n_users;    /* who created it and the caches that stand on it */
};

static const char *const type_names[KVL_N_KV_TYPES] = {"f32", "f16", "bf16"};

const char *kvl_kv_type_name(kvl_kv_type t) { return type_names[t]; }

kvl_status kvl_kv_type_find(kvl_kv_type *out, const char *name, kvl_err *err) {
    for (int t = 0; t < KVL_N_KV_TYPES; t++) {
        if (strcmp(name, type_names[t]) == 0) {
            *out = (kvl_kv_type)t;
            return KVL_OK;
        }
    }
    return kvl_fail(err, KVL_E_USAGE, "cache type: expected f32, f16 or bf16, found '%.40s'", name);
}

static head_store *at(const kvl_cache *c, uint32_t layer, uint32_t head) {
    return &c->heads[(size_t)layer * c->n_kv_heads + head];
}

static size_t n_heads(const kvl_cache *c) { return (size_t)c->n_layers * c->n_kv_heads; }

static void free_store(head_store *h) {
    kvl_free(h->keys);
    kvl_free(h->values);
    kvl_free(h->positions);
    kvl_free(h->mass);
    *h = (head_store){0};
}

/* A store of `cap` entries holding the first h->n entries of h; h itself is untouched. */
static bool clone_store(head_store *out, const head_store *h, uint32_t cap, const kvl_cache *c) {
    *out = (head_store){.n = h->n, .cap = cap, .most = cap, .n_base = h->n_base};
    uint32_t head_dim = c->head_dim;
    if (c->is_counting) {
        return true;
    }
    const size_t key_bytes = head_dim * kvl_kv_bytes(c->key_type);
    const size_t value_bytes = head_dim * kvl_kv_bytes(c->value_type);
    out->keys = kvl_calloc(cap, key_bytes);
    out->values = kvl_calloc(cap, value_bytes);
    out->positions = kvl_calloc(cap, sizeof(int32_t));
    out->mass = c->has_mass ? kvl_calloc(cap, sizeof(int64_t)) : NULL;
    if (out->keys == NULL || out->values == NULL || out->positions == NULL ||
        (c->has_mass && out->mass == NULL)) {
        free_store(out);
        return false;
    }
    if (h->n != 0) {
        memcpy(out->keys, h->keys, kvl_round_up(h->n, panel) * key_bytes);
        memcpy(out->values, h->values, h->n * value_bytes);
        memcpy(out->positions, h->positions, h->n * sizeof(int32_t));
    }
    if (h->n != 0 && c->has_mass) {
        memcpy(out->mass, h->mass, h->n * sizeof(int64_t));
    }
    return true;
}

static kvl_status set_capacity(head_store *h, uint32_t cap, const kvl_cache *c, kvl_err *err) {
    head_store fresh;
    if (!clone_store(&fresh, h, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    fresh.most = (uint32_t)kvl_max_size(h->most, cap);
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
    c->key_type = shape->key_type;
    c->value_type = shape->value_type;
    c->n_users = 1;
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

bool kvl_cache_is_counting(const kvl_cache *c) { return c->is_counting; }
void kvl_cache_track_mass(kvl_cache *c) { c->has_mass = true; }

void kvl_cache_destroy(kvl_cache *c) {
    if (c == NULL || --c->n_users != 0) {
        return;
    }
    for (size_t i = 0; i < n_heads(c); i++) {
        free_store(&c->heads[i]);
    }
    kvl_cache_destroy(c->base);
    kvl_free(c->heads);
    kvl_free(c);
}

/* An empty cache of the same shape that stands on the same base. */
static kvl_status create_like(kvl_cache **out, const kvl_cache *c, kvl_cache *base, kvl_err *err) {
    kvl_shape shape = {.n_layers = c->n_layers,
                       .n_kv_heads = c->n_kv_heads,
                       .head_dim = c->head_dim,
                       .key_type = c->key_type,
                       .value_type = c->value_type};
    KVL_TRY(kvl_cache_create(out, &shape, err));
    (*out)->is_counting = c->is_counting;
    (*out)->has_mass = c->has_mass;
    (*out)->base = base;
    if (base != NULL) {
        base->n_users++;
    }
    return KVL_OK;
}

kvl_status kvl_cache_fork(kvl_cache **out, const kvl_cache *c, kvl_err *err) {
    KVL_TRY(create_like(out, c, c->base, err));
    for (size_t i = 0; i < n_heads(c); i++) {
        if (!clone_store(&(*out)->heads[i], &c->heads[i], c->heads[i].cap, c)) {
            kvl_cache_destroy(*out);
            *out = NULL;
            return kvl_fail_nomem(err, "copy of a key/value cache");
        }
    }
    return KVL_OK;
}

kvl_status kvl_cache_stand_on(kvl_cache **out, kvl_cache *base, const uint32_t *n_base, kvl_err *err) {
    *out = NULL;
    if (base->base != NULL) {
        return kvl_fail(err, KVL_E_CHECK, "key/value cache: expected a base without a base, found one");
    }
    KVL_TRY(create_like(out, base, base, err));
    for (size_t i = 0; i < n_heads(base); i++) {
        (*out)->heads[i].n_base = n_base[i];
        base->heads[i].n_shared = n_base[i] > base->heads[i].n_shared ? n_base[i] : base->heads[i].n_shared;
    }
    return KVL_OK;
}

const kvl_cache *kvl_cache_base(const kvl_cache *c) { return c->base; }
bool kvl_cache_is_base(const kvl_cache *c) { return c->n_users > 1; }

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

/* Of the key and the value of one entry. */
static uint64_t entry_bytes(uint32_t head_dim, kvl_kv_type key_type, kvl_kv_type value_type) {
    return head_dim * (uint64_t)(kvl_kv_bytes(key_type) + kvl_kv_bytes(value_type));
}

static uint64_t beside_bytes(bool has_mass) { return sizeof(int32_t) + (has_mass ? sizeof(int64_t) : 0); }

uint64_t kvl_cache_head_bytes(const kvl_shape *s, bool has_mass, size_t cap) {
    return cap * (entry_bytes(s->head_dim, s->key_type, s->value_type) + beside_bytes(has_mass));
}

static kvl_status reserve(const kvl_cache *c, head_store *h, size_t n_more, kvl_err *err) {
    size_t cap = kvl_cache_grown_cap(h->cap, h->n + n_more);
    if (cap < h->n + n_more) {
        return kvl_fail(err, KVL_E_LIMIT, "key/value cache: expected at most 2^31 entries, found more");
    }
    return cap > h->cap ? set_capacity(h, (uint32_t)cap, c, err) : KVL_OK;
}

kvl_status kvl_cache_reserve_head(kvl_cache *c, uint32_t layer, uint32_t head, size_t n_more, kvl_err *err) {
    return reserve(c, at(c, layer, head), n_more, err);
}

kvl_status kvl_cache_reserve(kvl_cache *c, size_t n_more, kvl_err *err) {
    for (size_t i = 0; i < n_heads(c); i++) {
        KVL_TRY(reserve(c, &c->heads[i], n_more, err));
    }
    return KVL_OK;
}

/* Item of entry `slot`'s first key dimension; the next dimension is `panel` items further. */
static size_t key_item(size_t slot, uint32_t head_dim) {
    return (slot / panel * head_dim) * panel + slot % panel;
}

static void put_key(const kvl_cache *c, void *keys, size_t first, const float *key) {
    float *as_f32 = (float *)keys + first;
    uint16_t *as_u16 = (uint16_t *)keys + first;
    if (c->key_type == KVL_KV_F32) {
        for (size_t d = 0; d < c->head_dim; d++) {
            as_f32[d * panel] = key[d];
        }
        return;
    }
    for (size_t d = 0; d < c->head_dim; d++) {
        as_u16[d * panel] = c->key_type == KVL_KV_F16 ? kvl_f16_of_f32(key[d]) : kvl_bf16_of_f32(key[d]);
    }
}

static void put_value(const kvl_cache *c, void *values, size_t slot, const float *value) {
    char *to = (char *)values + slot * c->head_dim * kvl_kv_bytes(c->value_type);
    kvl_kv_narrow(to, c->value_type, value, c->head_dim);
}

void kvl_cache_set_key(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *key) {
    put_key(c, at(c, layer, head)->keys, key_item(slot, c->head_dim), key);
}

void kvl_cache_set_value(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *value) {
    put_value(c, at(c, layer, head)->values, slot, value);
}

void kvl_cache_append(kvl_cache *c, uint32_t layer, uint32_t head, const float *key, const float *value,
                      int32_t position) {
    head_store *h = at(c, layer, head);
    if (c->is_counting) {
        h->n++;
        return;
    }
    put_key(c, h->keys, key_item(h->n, c->head_dim), key);
    put_value(c, h->values, h->n, value);
    h->positions[h->n] = position;
    if (c->has_mass) {
        h->mass[h->n] = 0;
    }
    h->n++;
}

size_t kvl_cache_len(const kvl_cache *c, uint32_t layer, uint32_t head) {
    return (size_t)at(c, layer, head)->n_base + at(c, layer, head)->n;
}

kvl_head_entries kvl_cache_entries(const kvl_cache *c, uint32_t layer, uint32_t head) {
    const head_store *h = at(c, layer, head);
    return (kvl_head_entries){h->keys, h->values, h->positions, h->mass, h->n};
}

kvl_head_entries kvl_cache_shared_entries(const kvl_cache *c, uint32_t layer, uint32_t head) {
    kvl_head_entries entries = {0};
    if (at(c, layer, head)->n_base != 0) {
        entries = kvl_cache_entries(c->base, layer, head);
        entries.n = at(c, layer, head)->n_base;
    }
    return entries;
}

static void copy_keys(const kvl_cache *c, const kvl_head_entries *entries, size_t from_slot, size_t n,
                      float *dst) {
    for (size_t j = 0; j < n; j++) {
        const size_t first = key_item(from_slot + j, c->head_dim);
        float *to = dst + j * c->head_dim;
        if (c->key_type == KVL_KV_F32) {
            const float *from = (const float *)entries->keys + first;
            for (size_t d = 0; d < c->head_dim; d++) {
                to[d] = from[d * panel];
            }
            continue;
        }
        const uint16_t *from = (const uint16_t *)entries->keys + first;
        for (size_t d = 0; d < c->head_dim; d++) {
            const uint16_t bits = from[d * panel];
            to[d] = c->key_type == KVL_KV_F16 ? kvl_f32_of_f16(bits) : kvl_f32_of_bf16(bits);
        }
    }
}

void kvl_cache_copy_keys(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst) {
    const kvl_head_entries shared = kvl_cache_shared_entries(c, layer, head);
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    copy_keys(c, &shared, 0, shared.n, dst);
    copy_keys(c, &own, 0, own.n, dst + shared.n * c->head_dim);
}

void kvl_cache_copy_key_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                             float *dst) {
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    copy_keys(c, &own, first, n, dst);
}

void kvl_cache_copy_values(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst) {
    const kvl_head_entries shared = kvl_cache_shared_entries(c, layer, head);
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    kvl_kv_widen(dst, c->value_type, shared.values, shared.n * c->head_dim);
    kvl_kv_widen(dst + shared.n * c->head_dim, c->value_type, own.values, own.n * c->head_dim);
}

void kvl_cache_copy_value_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                               float *dst) {
    const size_t row_bytes = c->head_dim * kvl_kv_bytes(c->value_type);
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    kvl_kv_widen(dst, c->value_type, (const char *)own.values + first * row_bytes, n * c->head_dim);
}

/* Adds entries behind those of a block that has room. */
static void add_entries(const kvl_cache *c, head_store *to, const kvl_head_entries *from) {
    const size_t key_bytes = kvl_kv_bytes(c->key_type);
    const size_t value_bytes = c->head_dim * kvl_kv_bytes(c->value_type);
    for (size_t j = 0; j < from->n; j++, to->n++) {
        const size_t to_item = key_item(to->n, c->head_dim);
        const size_t from_item = key_item(j, c->head_dim);
        for (size_t d = 0; d < (size_t)c->head_dim * panel; d += panel) {
            memcpy((char *)to->keys + (to_item + d) * key_bytes,
                   (const char *)from->keys + (from_item + d) * key_bytes, key_bytes);
        }
        memcpy((char *)to->values + to->n * value_bytes, (const char *)from->values + j * value_bytes,
               value_bytes);
        to->positions[to->n] = from->positions[j];
        if (c->has_mass) {
            to->mass[to->n] = from->mass[j];
        }
    }
}

kvl_status kvl_cache_own(kvl_cache *c, uint32_t layer, uint32_t head, kvl_err *err) {
    head_store *h = at(c, layer, head);
    const kvl_head_entries shared = kvl_cache_shared_entries(c, layer, head);
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    if (shared.n == 0) {
        return KVL_OK;
    }
    head_store fresh;
    const head_store empty = {0};
    if (!clone_store(&fresh, &empty, (uint32_t)kvl_cache_grown_cap(h->cap, shared.n + own.n), c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    if (c->is_counting) {
        fresh.n = (uint32_t)(shared.n + own.n);
    } else {
        add_entries(c, &fresh, &shared);
        add_entries(c, &fresh, &own);
    }
    fresh.most = h->most > fresh.cap ? h->most : fresh.cap;
    free_store(h);
    *h = fresh;
    return KVL_OK;
}

/* Keys of the entries `slots`, a panel of the new block at a time. In place if the slots ascend: what a lane
 * is written over has been read. */
static void gather_keys(const kvl_cache *c, void *to, const void *from, const uint32_t *slots, size_t n) {
    for (size_t first = 0; first < n; first += panel) {
        const size_t n_lanes = kvl_min_size(panel, n - first);
        size_t at_item[panel];
        for (size_t lane = 0; lane < n_lanes; lane++) {
            at_item[lane] = key_item(slots[first + lane], c->head_dim);
        }
        const size_t to_item = key_item(first, c->head_dim);
        for (size_t d = 0; d < (size_t)c->head_dim * panel; d += panel) {
            for (size_t lane = 0; lane < n_lanes; lane++) {
                if (c->key_type == KVL_KV_F32) {
                    ((uint32_t *)to)[to_item + d + lane] = ((const uint32_t *)from)[at_item[lane] + d];
                } else {
                    ((uint16_t *)to)[to_item + d + lane] = ((const uint16_t *)from)[at_item[lane] + d];
                }
            }
        }
    }
}

/* The entries `slots` of `from` become the first of `to`, which may be `from` if the slots ascend. */
static void gather(const kvl_cache *c, const head_store *to, const head_store *from, const uint32_t *slots,
                   size_t n) {
    const size_t value_bytes = c->head_dim * kvl_kv_bytes(c->value_type);
    size_t same = 0; /* entries that stay where they are */
    while (to == from && same < n && slots[same] == same) {
        same++;
    }
    const size_t first = same / panel * panel;
    gather_keys(c, (char *)to->keys + key_item(first, c->head_dim) * kvl_kv_bytes(c->key_type), from->keys,
                slots + first, n - first);
    for (size_t i = same, end; i < n; i = end) {
        for (end = i + 1; end < n && slots[end] == slots[end - 1] + 1; end++) {
        }
        memmove((char *)to->values + i * value_bytes, (const char *)from->values + slots[i] * value_bytes,
                (end - i) * value_bytes);
        memmove(to->positions + i, from->positions + slots[i], (end - i) * sizeof *to->positions);
        if (c->has_mass) {
            memmove(to->mass + i, from->mass + slots[i], (end - i) * sizeof *to->mass);
        }
    }
}

kvl_status kvl_cache_keep(kvl_cache *c, uint32_t layer, uint32_t head, const uint32_t *slots, size_t n_slots,
                          kvl_err *err) {
    head_store *h = at(c, layer, head);
    bool is_ascending = true;
    KVL_TRY(kvl_cache_own(c, layer, head, err));
    if (n_slots < h->n_shared) {
        return kvl_fail(err, KVL_E_CHECK,
                        "layer %u, head %u: expected %u entries, which are shared, found %zu", layer, head,
                        h->n_shared, n_slots);
    }
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
        gather(c, h, h, slots, n_slots);
        h->n = (uint32_t)n_slots;
        return KVL_OK;
    }
    head_store empty = {0};
    head_store fresh;
    if (!clone_store(&fresh, &empty, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    gather(c, &fresh, h, slots, n_slots);
    fresh.n = (uint32_t)n_slots;
    fresh.most = h->most;
    free_store(h);
    *h = fresh;
    return KVL_OK;
}

uint64_t kvl_cache_live_bytes(const kvl_cache *c) {
    uint64_t n = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        n += (uint64_t)c->heads[i].n_base + c->heads[i].n;
    }
    return n * entry_bytes(c->head_dim, c->key_type, c->value_type);
}

/* Of room for n entries. */
static uint64_t room_bytes(const kvl_cache *c, size_t n) {
    return n * (entry_bytes(c->head_dim, c->key_type, c->value_type) + beside_bytes(c->has_mass));
}

uint64_t kvl_cache_reserved_bytes(const kvl_cache *c) {
    size_t n = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        n += c->heads[i].cap;
    }
    return room_bytes(c, n);
}

uint64_t kvl_cache_most_bytes(kvl_cache *c) {
    size_t n = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        n += c->heads[i].most;
        c->heads[i].most = c->heads[i].cap;
    }
    return room_bytes(c, n);
}
