/* The newest entries of a head before they are quantised.
 *
 * A window of R tokens holds R to R + 15: 16 leave at once, so that it always begins with a panel. How many
 * are in it when a head holds n entries does not depend on how these came: one by one or many in a pass.
 */
#include "cache/cache_int.h"

#include "base/alloc.h"

#include <string.h>

enum { panel = KVL_KEY_PANEL };

size_t kvl_cache_window_len(const kvl_shape *s, size_t n_window, size_t n_more) {
    const size_t n = n_window + n_more;
    return n < s->n_residual + (size_t)panel ? n : s->n_residual + (n - s->n_residual) % panel;
}

size_t kvl_cache_window_cap(const kvl_shape *s, size_t cap, size_t n_more) {
    /* of R + 15 entries 16 leave as soon as one comes; then they lie there until the pass ends */
    const size_t need = kvl_round_up(s->n_residual + kvl_min_size(n_more, KVL_CACHE_PASS), panel) + panel;
    const bool is_right = cap >= need && cap < 2 * need;
    return s->n_residual == 0 || is_right ? cap : need;
}

uint64_t kvl_cache_window_bytes(const kvl_shape *s, size_t cap) {
    return cap * (kvl_kv_row_bytes(kvl_kv_wide_type(s->key_type), s->head_dim) +
                  kvl_kv_row_bytes(kvl_kv_wide_type(s->value_type), s->head_dim));
}

void kvli_window_free(kvli_window *w) {
    kvl_free(w->keys);
    kvl_free(w->values);
    *w = (kvli_window){0};
}

bool kvli_window_clone(kvli_window *out, const kvli_window *w, uint32_t cap, const kvl_cache *c) {
    *out = (kvli_window){.cap = cap, .most = cap};
    if (w != NULL) {
        out->n = w->n;
        out->n_left = w->n_left;
        out->is_guess = w->is_guess;
    }
    if (c->is_counting || cap == 0) {
        return true;
    }
    out->keys = kvl_calloc(cap, kvl_kv_room_bytes(&c->wide_keys, 1));
    out->values = kvl_calloc(cap, kvl_kv_room_bytes(&c->wide_values, 1));
    if (out->keys == NULL || out->values == NULL) {
        kvli_window_free(out);
        return false;
    }
    if (out->n != 0) {
        kvl_kv_gather(&c->wide_keys, out->keys, 0, w->keys, NULL, w->n);
        kvl_kv_gather(&c->wide_values, out->values, 0, w->values, NULL, w->n);
    }
    return true;
}

static void forget_left(const kvl_cache *c, kvli_window *w) {
    w->n -= w->n_left;
    if (!c->is_counting && w->n_left != 0) {
        const size_t room = kvl_round_up(w->n, panel);
        memmove(w->keys, (const char *)w->keys + kvl_kv_room_bytes(&c->wide_keys, w->n_left),
                kvl_kv_room_bytes(&c->wide_keys, room));
        memmove(w->values, (const char *)w->values + kvl_kv_room_bytes(&c->wide_values, w->n_left),
                kvl_kv_room_bytes(&c->wide_values, room));
    }
    w->n_left = 0;
}

kvl_status kvli_window_reserve(const kvl_cache *c, kvli_window *w, size_t n_more, kvl_err *err) {
    const kvl_shape shape = {.n_residual = c->n_residual};
    kvli_window fresh;
    forget_left(c, w);
    const uint32_t cap = (uint32_t)kvl_cache_window_cap(&shape, w->cap, n_more);
    if (cap == w->cap) {
        return KVL_OK;
    }
    if (!kvli_window_clone(&fresh, w, cap, c)) {
        return kvl_fail_nomem(err, "key/value cache");
    }
    fresh.most = w->most > cap ? w->most : cap;
    kvli_window_free(w);
    *w = fresh;
    return KVL_OK;
}

void kvli_window_pack(const kvl_cache *c, const kvli_head *to, size_t slot, const kvli_window *w, size_t i) {
    float x[KVL_MAX_HEAD_DIM];
    kvl_kv_get(&c->wide_keys, x, w->keys, w->n_left + i, 1);
    kvl_kv_put(&c->keys, to->keys, slot, x);
    kvl_kv_get(&c->wide_values, x, w->values, w->n_left + i, 1);
    kvl_kv_put(&c->values, to->values, slot, x);
}

void kvli_window_gather(const kvl_cache *c, kvli_window *to, const kvli_window *from, const uint32_t *slots,
                        size_t n, size_t n_packed) {
    uint32_t in_window[KVL_KEY_PANEL];
    const uint32_t n_left = from->n_left; /* `to` may be `from` */
    for (size_t done = 0, n_now; done < n; done += n_now) {
        n_now = kvl_min_size(panel, n - done);
        for (size_t i = 0; i < n_now; i++) {
            in_window[i] = (uint32_t)(n_left + slots[done + i] - n_packed);
        }
        kvl_kv_gather(&c->wide_keys, to->keys, done, from->keys, in_window, n_now);
        kvl_kv_gather(&c->wide_values, to->values, done, from->values, in_window, n_now);
    }
    to->n = (uint32_t)n;
    to->n_left = 0;
}

void kvli_window_begin(const kvl_cache *c, kvli_window *w) {
    if (w->n == w->cap) { /* more than a pass since the last reservation */
        forget_left(c, w);
    }
    w->n++;
}

void kvli_window_leave(const kvl_cache *c, kvli_head *h) {
    kvli_window *w = &h->window;
    if (kvli_n_window(h) < c->n_residual + (size_t)panel) {
        return;
    }
    const size_t n_packed = kvli_n_packed(h);
    for (size_t i = 0; i < panel && !c->is_counting; i++) {
        kvli_window_pack(c, h, n_packed + i, w, i);
    }
    w->n_left += panel;
}

kvl_head_window kvl_cache_window(const kvl_cache *c, uint32_t layer, uint32_t head, size_t n) {
    const kvli_head *h = &c->heads[(size_t)layer * c->n_kv_heads + head];
    const kvli_window *w = &h->window;
    if (c->n_residual == 0) {
        return (kvl_head_window){.n_packed = n};
    }
    const size_t n_then = w->n - (h->n - n); /* in the window's memory */
    const size_t rest = n_then > c->n_residual ? n_then - c->n_residual : 0;
    const size_t n_left = rest / panel * panel;
    return (kvl_head_window){.n_packed = n - (n_then - n_left),
                             .keys = (const char *)w->keys + kvl_kv_room_bytes(&c->wide_keys, n_left),
                             .values = (const char *)w->values + kvl_kv_room_bytes(&c->wide_values, n_left)};
}
