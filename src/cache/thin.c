/* Keys with some of their channels only.
 *
 * The first n_thin entries of a head have their keys in a list of their own, panels of n_channels rows; entry
 * n_thin is the first of the usual list. Values, positions and attention received are as ever. Room for thin
 * keys is as large as they are: they never become more, and a head that loses some of them gets new memory.
 */
#include "cache/cache_int.h"

#include "base/alloc.h"

#include <string.h>

enum { panel = KVL_KEY_PANEL };

/* Whole keys that a head of `cap` entries has room for. */
static size_t whole_room(size_t cap, size_t n_thin) { return kvl_round_up(cap - n_thin, panel); }

/* NULL for nothing, or where there is no memory. */
static void *alloc_block(size_t n, size_t item_bytes, bool *is_there) {
    void *block = n != 0 ? kvl_calloc(n, item_bytes) : NULL;
    *is_there = *is_there && (n == 0 || block != NULL);
    return block;
}

bool kvli_store_alloc(kvli_head *h, const kvl_cache *c) {
    const kvl_kv_form thin = kvli_thin_form(c, h);
    bool is_there = true;
    h->keys = alloc_block(whole_room(h->cap, h->n_thin), kvl_kv_room_bytes(&c->keys, 1), &is_there);
    h->values = alloc_block(h->cap, kvl_kv_room_bytes(&c->values, 1), &is_there);
    h->positions = alloc_block(h->cap, sizeof *h->positions, &is_there);
    h->mass = alloc_block(c->has_mass ? h->cap : 0, sizeof *h->mass, &is_there);
    h->thin_keys = alloc_block(kvl_round_up(h->n_thin, panel), kvl_kv_room_bytes(&thin, 1), &is_there);
    h->channels = alloc_block(h->n_channels, sizeof *h->channels, &is_there);
    if (!is_there) {
        kvli_store_free(h);
    }
    return is_there;
}

void kvli_store_free(kvli_head *h) {
    kvl_free(h->keys);
    kvl_free(h->values);
    kvl_free(h->positions);
    kvl_free(h->mass);
    kvl_free(h->thin_keys);
    kvl_free(h->channels);
    kvli_window_free(&h->window);
    *h = (kvli_head){0};
}

uint64_t kvl_cache_thin_head_bytes(const kvl_shape *s, bool has_mass, size_t cap, size_t n_thin,
                                   size_t n_channels) {
    const size_t beside_bytes = sizeof(int32_t) + (has_mass ? sizeof(int64_t) : 0);
    return cap * (kvl_kv_row_bytes(s->value_type, s->head_dim) + beside_bytes) +
           whole_room(cap, n_thin) * kvl_kv_row_bytes(s->key_type, s->head_dim) +
           kvl_round_up(n_thin, panel) * kvl_kv_row_bytes(s->key_type, n_channels) +
           n_channels * sizeof(uint16_t);
}

uint64_t kvl_cache_head_bytes(const kvl_shape *s, bool has_mass, size_t cap) {
    return kvl_cache_thin_head_bytes(s, has_mass, cap, 0, 0);
}

uint64_t kvli_store_bytes(const kvl_cache *c, const kvli_head *h) {
    const kvl_shape shape = {
        .head_dim = (uint32_t)c->keys.dim, .key_type = c->keys.type, .value_type = c->values.type};
    return kvl_cache_thin_head_bytes(&shape, c->has_mass, h->cap, h->n_thin, h->n_channels);
}

void kvli_key_get(const kvl_cache *c, const kvli_head *h, size_t slot, float *x) {
    float thin[KVL_MAX_HEAD_DIM];
    const kvl_kv_form form = kvli_thin_form(c, h);
    if (slot >= h->n_thin) {
        kvl_kv_get(&c->keys, x, h->keys, slot - h->n_thin, 1);
        return;
    }
    kvl_kv_get(&form, thin, h->thin_keys, slot, 1);
    memset(x, 0, c->keys.dim * sizeof *x);
    for (size_t i = 0; i < h->n_channels; i++) {
        x[h->channels[i]] = thin[i];
    }
}

void kvli_key_put(const kvl_cache *c, const kvli_head *h, size_t slot, const float *x) {
    float thin[KVL_MAX_HEAD_DIM];
    const kvl_kv_form form = kvli_thin_form(c, h);
    if (slot >= h->n_thin) {
        kvl_kv_put(&c->keys, h->keys, slot - h->n_thin, x);
        return;
    }
    for (size_t i = 0; i < h->n_channels; i++) {
        thin[i] = x[h->channels[i]];
    }
    kvl_kv_put(&form, h->thin_keys, slot, thin);
}

static size_t slot_at(const uint32_t *slots, size_t i) { return slots != NULL ? slots[i] : i; }

/* Whole keys remain so. */
static void move_whole(const kvl_cache *c, const kvli_head *to, size_t first, const kvli_head *from,
                       const uint32_t *slots, size_t start, size_t n) {
    uint32_t in_list[KVL_KEY_PANEL];
    for (size_t done = 0, n_now; done < n; done += n_now) {
        n_now = kvl_min_size(panel, n - done);
        for (size_t i = 0; i < n_now; i++) {
            in_list[i] = (uint32_t)(slot_at(slots, start + done + i) - from->n_thin);
        }
        kvl_kv_gather(&c->keys, to->keys, first + start + done - to->n_thin, from->keys, in_list, n_now);
    }
}

void kvli_keys_move(const kvl_cache *c, const kvli_head *to, size_t first, const kvli_head *from,
                    const uint32_t *slots, size_t n) {
    float x[KVL_MAX_HEAD_DIM];
    for (size_t i = 0, end; i < n; i = end) {
        const bool is_whole = slot_at(slots, i) >= from->n_thin && first + i >= to->n_thin;
        for (end = i + 1; end < n && is_whole && slot_at(slots, end) >= from->n_thin; end++) {
        }
        if (is_whole) {
            move_whole(c, to, first, from, slots, i, end - i);
        } else {
            kvli_key_get(c, from, slot_at(slots, i), x);
            kvli_key_put(c, to, first + i, x);
        }
    }
}

size_t kvli_n_staying_thin(const kvli_head *h, const uint32_t *slots, size_t n) {
    size_t n_thin = 0;
    while (n_thin < n && slots[n_thin] < h->n_thin) {
        n_thin++;
    }
    for (size_t i = n_thin; i < n; i++) {
        if (slots[i] < h->n_thin) {
            return 0;
        }
    }
    return n_thin;
}

kvl_head_thin kvl_cache_thin_keys(const kvl_cache *c, uint32_t layer, uint32_t head) {
    const kvli_head *h = &c->heads[(size_t)layer * c->n_kv_heads + head];
    return (kvl_head_thin){h->n_thin, h->thin_keys, h->channels, h->n_channels};
}

kvl_status kvl_cache_check_thin(const kvl_shape *s, kvl_err *err) {
    const kvl_kv_type type = kvl_kv_is_quantized(s->key_type) ? s->key_type : s->value_type;
    if (kvl_kv_is_quantized(type)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "keys with fewer channels: expected a cache of f32, f16 or bf16, found %s",
                        kvl_kv_type_name(type));
    }
    return KVL_OK;
}

static kvl_status check_thin(const kvl_cache *c, const kvli_head *h, kvl_err *err) {
    const kvl_shape types = {.key_type = c->keys.type, .value_type = c->values.type};
    KVL_TRY(kvl_cache_check_thin(&types, err));
    if (h->n_channels != 0 || h->n_shared != 0) {
        return kvl_fail(err, KVL_E_CHECK, "keys with fewer channels: expected a head that is %s, found one",
                        h->n_channels != 0 ? "not thinned" : "not shared");
    }
    return KVL_OK;
}

kvl_status kvl_cache_thin(kvl_cache *c, uint32_t layer, uint32_t head, const uint16_t *channels,
                          size_t n_channels, size_t n_recent, kvl_err *err) {
    kvli_head *h = &c->heads[(size_t)layer * c->n_kv_heads + head];
    KVL_TRY(check_thin(c, h, err));
    KVL_TRY(kvl_cache_own(c, layer, head, err));
    kvli_head fresh = {.n = h->n,
                       .cap = (uint32_t)kvl_cache_kept_cap(h->cap, h->n),
                       .most = h->most,
                       .n_thin = (uint32_t)(h->n - kvl_min_size(n_recent, h->n)),
                       .n_channels = (uint32_t)n_channels};
    if (!c->is_counting) {
        if (!kvli_store_alloc(&fresh, c)) {
            return kvl_fail_nomem(err, "key/value cache");
        }
        memcpy(fresh.channels, channels, n_channels * sizeof *channels);
        kvli_keys_move(c, &fresh, 0, h, NULL, h->n);
        kvl_kv_gather(&c->values, fresh.values, 0, h->values, NULL, h->n);
        memcpy(fresh.positions, h->positions, h->n * sizeof *h->positions);
        if (c->has_mass) {
            memcpy(fresh.mass, h->mass, h->n * sizeof *h->mass);
        }
    }
    kvli_store_free(h);
    *h = fresh;
    return KVL_OK;
}
