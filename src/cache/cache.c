/* Ragged cache: one growable block of keys, values and positions per (layer, head). */
#include "cache/cache_int.h"

#include "base/alloc.h"

#include <string.h>

enum { panel = KVL_KEY_PANEL };

static const char *const type_names[KVL_N_KV_TYPES] = {"f32",  "f16",  "bf16",  "q8_0",
                                                       "q4_0", "q4_1", "iq4_nl"};

const char *kvl_kv_type_name(kvl_kv_type t) { return type_names[t]; }

kvl_status kvl_kv_type_find(kvl_kv_type *out, const char *name, kvl_err *err) {
    for (int t = 0; t < KVL_N_KV_TYPES; t++) {
        if (strcmp(name, type_names[t]) == 0) {
            *out = (kvl_kv_type)t;
            return KVL_OK;
        }
    }
    return kvl_fail(err, KVL_E_USAGE,
                    "cache type: expected f32, f16, bf16, q8_0, q4_0, q4_1 or iq4_nl, found '%.40s'", name);
}

kvl_status kvl_cache_check_shape(const kvl_shape *s, kvl_err *err) {
    const kvl_kv_type type = kvl_kv_is_quantized(s->key_type) ? s->key_type : s->value_type;
    if (kvl_kv_is_quantized(type) && (s->head_dim % KVL_KV_BLOCK != 0 || s->head_dim > KVL_MAX_HEAD_DIM)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "cache type %s: expected heads of a multiple of %d dimensions, found %u",
                        kvl_kv_type_name(type), KVL_KV_BLOCK, s->head_dim);
    }
    if (!kvl_kv_is_quantized(type) && (s->n_residual != 0 || s->has_hadamard)) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected a quantised cache type (-ctk, -ctv), found %s and %s",
                        s->n_residual != 0 ? "--kv-residual" : "--kv-hadamard", kvl_kv_type_name(s->key_type),
                        kvl_kv_type_name(s->value_type));
    }
    if (s->has_hadamard && (s->head_dim & (s->head_dim - 1)) != 0) {
        return kvl_fail(err, KVL_E_USAGE,
                        "--kv-hadamard: expected heads of a power of two of dimensions, found %u",
                        s->head_dim);
    }
    return KVL_OK;
}

static kvli_head *at(const kvl_cache *c, uint32_t layer, uint32_t head) {
    return &c->heads[(size_t)layer * c->n_kv_heads + head];
}

static size_t n_heads(const kvl_cache *c) { return (size_t)c->n_layers * c->n_kv_heads; }

/* A store of `cap` entries holding the first h->n entries of h, but none of its window; h itself is
 * untouched. */
static bool clone_store(kvli_head *out, const kvli_head *h, uint32_t cap, const kvl_cache *c) {
    const size_t room = kvl_round_up(kvli_n_packed(h), panel);
    *out = (kvli_head){
        .n = h->n, .cap = cap, .n_base = h->n_base, .n_thin = h->n_thin, .n_channels = h->n_channels};
    out->most = kvli_store_bytes(c, out);
    if (c->is_counting) {
        return true;
    }
    if (!kvli_store_alloc(out, c)) {
        return false;
    }
    if (h->n_thin != 0) {
        const kvl_kv_form thin = kvli_thin_form(c, h);
        memcpy(out->thin_keys, h->thin_keys, kvl_kv_room_bytes(&thin, kvl_round_up(h->n_thin, panel)));
    }
    if (h->n_channels != 0) {
        memcpy(out->channels, h->channels, h->n_channels * sizeof *h->channels);
    }
    if (h->n > h->n_thin) {
        const size_t n_whole = kvl_round_up(kvli_n_packed(h) - h->n_thin, panel);
        memcpy(out->keys, h->keys, kvl_kv_room_bytes(&c->keys, n_whole));
    }
    if (h->n != 0) {
        memcpy(out->values, h->values, kvl_kv_room_bytes(&c->values, room));
        memcpy(out->positions, h->positions, h->n * sizeof(int32_t));
    }
    if (h->n != 0 && c->has_mass) {
        memcpy(out->mass, h->mass, h->n * sizeof(int64_t));
    }
    return true;
}

static kvl_status set_capacity(kvli_head *h, uint32_t cap, const kvl_cache *c, kvl_err *err) {
    kvli_head fresh;
    if (!clone_store(&fresh, h, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    fresh.most = h->most > fresh.most ? h->most : fresh.most;
    fresh.window = h->window;
    h->window = (kvli_window){0};
    kvli_store_free(h);
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
    c->keys = kvl_kv_form_of(shape->key_type, shape->head_dim, false);
    c->values = kvl_kv_form_of(shape->value_type, shape->head_dim, true);
    c->wide_keys = kvl_kv_form_of(kvl_kv_wide_type(shape->key_type), shape->head_dim, false);
    c->wide_values = kvl_kv_form_of(kvl_kv_wide_type(shape->value_type), shape->head_dim, true);
    c->n_residual = shape->n_residual;
    c->has_hadamard = shape->has_hadamard;
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
        kvli_store_free(&c->heads[i]);
    }
    kvl_cache_destroy(c->base);
    kvl_free(c->heads);
    kvl_free(c);
}

static kvl_shape shape_of(const kvl_cache *c) {
    return (kvl_shape){.n_layers = c->n_layers,
                       .n_kv_heads = c->n_kv_heads,
                       .head_dim = (uint32_t)c->keys.dim,
                       .key_type = c->keys.type,
                       .value_type = c->values.type,
                       .n_residual = c->n_residual,
                       .has_hadamard = c->has_hadamard};
}

/* An empty cache of the same shape that stands on the same base. */
static kvl_status create_like(kvl_cache **out, const kvl_cache *c, kvl_cache *base, kvl_err *err) {
    const kvl_shape shape = shape_of(c);
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
        const kvli_window *w = &c->heads[i].window;
        kvli_head *to = &(*out)->heads[i];
        if (!clone_store(to, &c->heads[i], c->heads[i].cap, c) ||
            !kvli_window_clone(&to->window, w, w->cap, c)) {
            kvl_cache_destroy(*out);
            *out = NULL;
            return kvl_fail_nomem(err, "copy of a key/value cache");
        }
    }
    return KVL_OK;
}

kvl_status kvl_cache_stand_on(kvl_cache **out, kvl_cache *base, const uint32_t *n_base, kvl_err *err) {
    *out = NULL;
    if (base->base != NULL || base->n_residual != 0) {
        return kvl_fail(err, KVL_E_CHECK, "key/value cache: expected a base without a %s, found one",
                        base->base != NULL ? "base" : "window");
    }
    for (size_t i = 0; i < n_heads(base); i++) {
        if (base->heads[i].n_thin != 0) {
            return kvl_fail(err, KVL_E_CHECK,
                            "key/value cache: expected a base with whole keys, found thin ones");
        }
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

static kvl_status reserve(const kvl_cache *c, kvli_head *h, size_t n_more, kvl_err *err) {
    size_t cap = kvl_cache_grown_cap(h->cap, h->n + n_more);
    if (cap < h->n + n_more) {
        return kvl_fail(err, KVL_E_LIMIT, "key/value cache: expected at most 2^31 entries, found more");
    }
    if (cap > h->cap) {
        KVL_TRY(set_capacity(h, (uint32_t)cap, c, err));
    }
    return c->n_residual != 0 ? kvli_window_reserve(c, &h->window, n_more, err) : KVL_OK;
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

/* Stores a vector as entry `slot` of a head, wherever it is. */
static void put(const kvl_cache *c, const kvli_head *h, bool is_value, size_t slot, const float *x) {
    float turned[KVL_MAX_HEAD_DIM];
    const size_t n_packed = kvli_n_packed(h);
    if (c->has_hadamard) {
        memcpy(turned, x, c->keys.dim * sizeof *x);
        kvl_hadamard(turned, c->keys.dim);
        x = turned;
    }
    if (slot < n_packed && is_value) {
        kvl_kv_put(&c->values, h->values, slot, x);
    } else if (slot < n_packed) {
        kvli_key_put(c, h, slot, x);
    } else {
        kvl_kv_put(is_value ? &c->wide_values : &c->wide_keys, is_value ? h->window.values : h->window.keys,
                   h->window.n_left + slot - n_packed, x);
    }
}

void kvl_cache_set_key(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *key) {
    put(c, at(c, layer, head), false, slot, key);
}

void kvl_cache_set_value(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *value) {
    put(c, at(c, layer, head), true, slot, value);
}

void kvl_cache_append(kvl_cache *c, uint32_t layer, uint32_t head, const float *key, const float *value,
                      int32_t position) {
    kvli_head *h = at(c, layer, head);
    const uint32_t slot = h->n++;
    if (c->n_residual != 0) {
        kvli_window_begin(c, &h->window);
    }
    if (!c->is_counting) {
        put(c, h, false, slot, key);
        put(c, h, true, slot, value);
        h->positions[slot] = position;
    }
    if (!c->is_counting && c->has_mass) {
        h->mass[slot] = 0;
    }
    if (c->n_residual != 0) {
        kvli_window_leave(c, h);
    }
}

size_t kvl_cache_len(const kvl_cache *c, uint32_t layer, uint32_t head) {
    return (size_t)at(c, layer, head)->n_base + at(c, layer, head)->n;
}

kvl_head_entries kvl_cache_entries(const kvl_cache *c, uint32_t layer, uint32_t head) {
    const kvli_head *h = at(c, layer, head);
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

/* Entries first .. first + n - 1 of a head's own, widened and turned back. */
static void get(const kvl_cache *c, const kvli_head *h, bool is_value, size_t first, size_t n, float *dst) {
    const size_t dim = c->keys.dim;
    const size_t n_packed = kvli_n_packed(h);
    const size_t middle = kvl_min_size(kvl_max_size(first, n_packed), first + n);
    if (is_value || h->n_thin == 0) {
        kvl_kv_get(is_value ? &c->values : &c->keys, dst, is_value ? h->values : h->keys, first,
                   middle - first);
    } else {
        for (size_t j = first; j < middle; j++) {
            kvli_key_get(c, h, j, dst + (j - first) * dim);
        }
    }
    if (middle < first + n) {
        kvl_kv_get(is_value ? &c->wide_values : &c->wide_keys, dst + (middle - first) * dim,
                   is_value ? h->window.values : h->window.keys, h->window.n_left + middle - n_packed,
                   first + n - middle);
    }
    for (size_t j = 0; j < n && c->has_hadamard; j++) {
        kvl_hadamard(dst + j * dim, dim);
    }
}

static void get_all(const kvl_cache *c, uint32_t layer, uint32_t head, bool is_value, float *dst) {
    const kvli_head *h = at(c, layer, head);
    if (h->n_base != 0) {
        get(c->base, at(c->base, layer, head), is_value, 0, h->n_base, dst);
    }
    get(c, h, is_value, 0, h->n, dst + h->n_base * c->keys.dim);
}

void kvl_cache_copy_keys(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst) {
    get_all(c, layer, head, false, dst);
}

void kvl_cache_copy_values(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst) {
    get_all(c, layer, head, true, dst);
}

void kvl_cache_copy_key_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                             float *dst) {
    get(c, at(c, layer, head), false, first, n, dst);
}

void kvl_cache_copy_value_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                               float *dst) {
    get(c, at(c, layer, head), true, first, n, dst);
}

/* Adds entries behind those of a block that has room. */
static void add_entries(const kvl_cache *c, kvli_head *to, const kvl_head_entries *from) {
    if (from->n == 0) {
        return;
    }
    kvl_kv_gather(&c->keys, to->keys, to->n, from->keys, NULL, from->n);
    kvl_kv_gather(&c->values, to->values, to->n, from->values, NULL, from->n);
    memcpy(to->positions + to->n, from->positions, from->n * sizeof *to->positions);
    if (c->has_mass) {
        memcpy(to->mass + to->n, from->mass, from->n * sizeof *to->mass);
    }
    to->n += (uint32_t)from->n;
}

kvl_status kvl_cache_own(kvl_cache *c, uint32_t layer, uint32_t head, kvl_err *err) {
    kvli_head *h = at(c, layer, head);
    const kvl_head_entries shared = kvl_cache_shared_entries(c, layer, head);
    const kvl_head_entries own = kvl_cache_entries(c, layer, head);
    if (shared.n == 0) {
        return KVL_OK;
    }
    kvli_head fresh;
    const kvli_head empty = {0};
    if (!clone_store(&fresh, &empty, (uint32_t)kvl_cache_grown_cap(h->cap, shared.n + own.n), c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    if (c->is_counting) {
        fresh.n = (uint32_t)(shared.n + own.n);
    } else {
        add_entries(c, &fresh, &shared);
        add_entries(c, &fresh, &own);
    }
    fresh.most = h->most > fresh.most ? h->most : fresh.most;
    kvli_store_free(h);
    *h = fresh;
    return KVL_OK;
}

/* The entries `slots` of `from`, none of its window, become the first of `to`, which may be `from` if the
 * slots ascend. */
static void gather(const kvl_cache *c, const kvli_head *to, const kvli_head *from, const uint32_t *slots,
                   size_t n) {
    size_t same = 0; /* entries that stay where they are */
    while (to == from && same < n && slots[same] == same) {
        same++;
    }
    kvl_kv_gather(&c->keys, to->keys, same, from->keys, slots + same, n - same);
    kvl_kv_gather(&c->values, to->values, same, from->values, slots + same, n - same);
}

static void gather_beside(const kvl_cache *c, const kvli_head *to, const kvli_head *from,
                          const uint32_t *slots, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to->positions[i] = from->positions[slots[i]];
        if (c->has_mass) {
            to->mass[i] = from->mass[slots[i]];
        }
    }
}

/* Entries at the end of a list of slots that are in the window: these stay in it. */
static size_t n_staying(const kvli_head *h, const uint32_t *slots, size_t n) {
    size_t n_window = 0;
    while (n_window < n && slots[n - 1 - n_window] >= kvli_n_packed(h)) {
        n_window++;
    }
    return n_window;
}

/* Errors of kvl_cache_keep. */
static kvl_status check_slots(const kvl_cache *c, uint32_t layer, uint32_t head, const uint32_t *slots,
                              size_t n_slots, bool *is_ascending, kvl_err *err) {
    const kvli_head *h = at(c, layer, head);
    if (n_slots < h->n_shared) {
        return kvl_fail(err, KVL_E_CHECK,
                        "layer %u, head %u: expected %u entries, which are shared, found %zu", layer, head,
                        h->n_shared, n_slots);
    }
    *is_ascending = true;
    for (size_t i = 0; i < n_slots && !c->is_counting; i++) {
        if (slots[i] >= h->n || n_slots > h->n) {
            return kvl_fail(err, KVL_E_CHECK, "layer %u, head %u: expected slots below %u, found %u", layer,
                            head, h->n, slots[i]);
        }
        *is_ascending = *is_ascending && (i == 0 || slots[i] > slots[i - 1]);
    }
    return KVL_OK;
}

/* A head of `cap` entries with the entries `slots`, in any order, and its window. */
static kvl_status regroup(const kvl_cache *c, kvli_head *h, const uint32_t *slots, size_t n, uint32_t cap,
                          kvl_err *err) {
    const size_t n_window = n_staying(h, slots, n);
    const size_t n_packed = kvli_n_packed(h);
    kvli_head fresh;
    fresh = (kvli_head){
        .cap = cap, .n_thin = (uint32_t)kvli_n_staying_thin(h, slots, n), .n_channels = h->n_channels};
    if (!kvli_store_alloc(&fresh, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    if (h->n_channels != 0) {
        memcpy(fresh.channels, h->channels, h->n_channels * sizeof *h->channels);
    }
    if (!kvli_window_clone(&fresh.window, NULL, h->window.cap, c)) {
        kvli_store_free(&fresh);
        return kvl_fail_nomem(err, "key/value cache");
    }
    for (size_t i = 0, end; i < n - n_window; i = end) {
        for (end = i; end < n - n_window && slots[end] < n_packed; end++) {
        }
        kvli_keys_move(c, &fresh, i, h, slots + i, end - i);
        kvl_kv_gather(&c->values, fresh.values, i, h->values, slots + i, end - i);
        for (; end < n - n_window && slots[end] >= n_packed; end++) { /* before older ones: they leave */
            kvli_window_pack(c, &fresh, end, &h->window, slots[end] - n_packed);
        }
    }
    kvli_window_gather(c, &fresh.window, &h->window, slots + n - n_window, n_window, n_packed);
    gather_beside(c, &fresh, h, slots, n);
    fresh.n = (uint32_t)n;
    fresh.most = kvli_store_bytes(c, &fresh) > h->most ? kvli_store_bytes(c, &fresh) : h->most;
    fresh.window.most = h->window.most;
    kvli_store_free(h);
    *h = fresh;
    return KVL_OK;
}

kvl_status kvl_cache_keep(kvl_cache *c, uint32_t layer, uint32_t head, const uint32_t *slots, size_t n_slots,
                          kvl_err *err) {
    kvli_head *h = at(c, layer, head);
    bool is_ascending = true;
    KVL_TRY(kvl_cache_own(c, layer, head, err));
    KVL_TRY(check_slots(c, layer, head, slots, n_slots, &is_ascending, err));
    const uint32_t cap = (uint32_t)kvl_cache_kept_cap(h->cap, n_slots);
    if (c->is_counting) {
        h->n_thin = h->n - h->n_thin < n_slots ? (uint32_t)(n_slots - (h->n - h->n_thin)) : 0;
        h->window.n = (uint32_t)kvl_min_size(kvli_n_window(h), n_slots);
        h->window.n_left = 0;
        h->window.is_guess = c->n_residual != 0;
        h->cap = cap;
        h->n = (uint32_t)n_slots;
        h->most = kvli_store_bytes(c, h) > h->most ? kvli_store_bytes(c, h) : h->most;
        return KVL_OK;
    }
    if (!is_ascending || cap != h->cap || h->n_thin != 0) {
        return regroup(c, h, slots, n_slots, cap, err);
    }
    const size_t n_window = n_staying(h, slots, n_slots);
    gather(c, h, h, slots, n_slots - n_window);
    kvli_window_gather(c, &h->window, &h->window, slots + n_slots - n_window, n_window, kvli_n_packed(h));
    gather_beside(c, h, h, slots, n_slots);
    h->n = (uint32_t)n_slots;
    return KVL_OK;
}

uint64_t kvl_cache_live_bytes(const kvl_cache *c) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        const kvli_head *h = &c->heads[i];
        const size_t most = kvl_min_size(h->n, c->n_residual + (size_t)panel - 1);
        const size_t n_window = h->window.is_guess ? most : kvli_n_window(h);
        const size_t n = (size_t)h->n_base + h->n - n_window;
        const kvl_kv_form thin = kvli_thin_form(c, h);
        bytes += kvl_kv_room_bytes(&c->keys, n - h->n_thin) + kvl_kv_room_bytes(&thin, h->n_thin);
        bytes += kvl_kv_room_bytes(&c->values, n);
        bytes += kvl_kv_room_bytes(&c->wide_keys, n_window) + kvl_kv_room_bytes(&c->wide_values, n_window);
    }
    return bytes;
}

uint64_t kvl_cache_head_live_bytes(const kvl_shape *s, size_t n) {
    const size_t most = s->n_residual != 0 ? s->n_residual + (size_t)panel - 1 : 0;
    const size_t n_window = kvl_min_size(n, most);
    const size_t row_bytes =
        kvl_kv_row_bytes(s->key_type, s->head_dim) + kvl_kv_row_bytes(s->value_type, s->head_dim);
    return (n - n_window) * row_bytes + kvl_cache_window_bytes(s, n_window);
}

static uint64_t window_bytes(const kvl_cache *c, size_t n) {
    return kvl_kv_room_bytes(&c->wide_keys, n) + kvl_kv_room_bytes(&c->wide_values, n);
}

uint64_t kvl_cache_reserved_bytes(const kvl_cache *c) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        bytes += kvli_store_bytes(c, &c->heads[i]) + window_bytes(c, c->heads[i].window.cap);
    }
    return bytes;
}

uint64_t kvl_cache_most_bytes(kvl_cache *c) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n_heads(c); i++) {
        kvli_head *h = &c->heads[i];
        bytes += h->most + window_bytes(c, h->window.most);
        h->most = kvli_store_bytes(c, h);
        h->window.most = h->window.cap;
    }
    return bytes;
}
