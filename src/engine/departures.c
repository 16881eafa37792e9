/* The log of departures: one array of numbers, brought up to date by comparing it with what heads hold. */
#include "engine/departures.h"

#include "base/alloc.h"

#include <string.h>

struct kvl_departures {
    uint32_t n_layers;
    uint32_t n_heads;
    size_t n_tokens;
    size_t n_events;
    uint32_t *events;  /* [n_tokens + 1] */
    uint32_t *left_at; /* [L, K, n_tokens] */
};

static size_t n_left_at(const kvl_departures *d) { return (size_t)d->n_layers * d->n_heads * d->n_tokens; }

uint64_t kvl_departures_bytes(const kvl_shape *shape, size_t n_tokens) {
    const uint64_t n = (uint64_t)shape->n_layers * shape->n_kv_heads * n_tokens + n_tokens + 1;
    return n * sizeof(uint32_t) + sizeof(kvl_departures);
}

static kvl_status create(kvl_departures **out, const kvl_departures *like, kvl_err *err) {
    kvl_departures *d = kvl_calloc(1, sizeof *d);
    *out = NULL;
    if (d == NULL) {
        return kvl_fail_nomem(err, "log of departures");
    }
    *d = *like;
    d->events = kvl_calloc(d->n_tokens + 1, sizeof *d->events);
    d->left_at = kvl_calloc(kvl_max_size(1, n_left_at(d)), sizeof *d->left_at);
    if (d->events == NULL || d->left_at == NULL) {
        kvl_departures_destroy(d);
        return kvl_fail_nomem(err, "log of departures");
    }
    *out = d;
    return KVL_OK;
}

kvl_status kvl_departures_create(kvl_departures **out, const kvl_shape *shape, size_t n_tokens,
                                 kvl_err *err) {
    const kvl_departures like = {
        .n_layers = shape->n_layers, .n_heads = shape->n_kv_heads, .n_tokens = n_tokens};
    KVL_TRY(create(out, &like, err));
    for (size_t i = 0; i < n_left_at(*out); i++) {
        (*out)->left_at[i] = KVL_STAYS;
    }
    return KVL_OK;
}

kvl_status kvl_departures_fork(kvl_departures **out, const kvl_departures *d, kvl_err *err) {
    KVL_TRY(create(out, d, err));
    memcpy((*out)->events, d->events, d->n_events * sizeof *d->events);
    memcpy((*out)->left_at, d->left_at, n_left_at(d) * sizeof *d->left_at);
    return KVL_OK;
}

void kvl_departures_destroy(kvl_departures *d) {
    if (d != NULL) {
        kvl_free(d->events);
        kvl_free(d->left_at);
        kvl_free(d);
    }
}

static uint32_t *head_of(const kvl_departures *d, uint32_t layer, uint32_t head) {
    return d->left_at + ((size_t)layer * d->n_heads + head) * d->n_tokens;
}

static void keep_present(uint32_t *left_at, size_t n_tokens, const kvl_head_entries *entries, size_t n) {
    for (size_t j = 0; j < n; j++) {
        if ((size_t)entries->positions[j] < n_tokens) {
            left_at[entries->positions[j]] = KVL_STAYS;
        }
    }
}

void kvl_departures_note_head(kvl_departures *d, const kvl_cache *cache, uint32_t layer, uint32_t head,
                              size_t n_seen) {
    uint32_t *left_at = head_of(d, layer, head);
    const kvl_head_entries shared = kvl_cache_shared_entries(cache, layer, head);
    const kvl_head_entries own = kvl_cache_entries(cache, layer, head);
    for (size_t p = 0; p < kvl_min_size(n_seen, d->n_tokens); p++) { /* all that were there left, but: */
        left_at[p] = left_at[p] == KVL_STAYS ? (uint32_t)n_seen : left_at[p];
    }
    keep_present(left_at, d->n_tokens, &shared, shared.n);
    keep_present(left_at, d->n_tokens, &own, own.n);
}

void kvl_departures_note_event(kvl_departures *d, size_t n_seen) {
    const bool is_known = d->n_events != 0 && d->events[d->n_events - 1] == n_seen;
    if (!is_known && n_seen <= d->n_tokens) {
        d->events[d->n_events++] = (uint32_t)n_seen;
    }
}

void kvl_departures_set(kvl_departures *d, uint32_t layer, uint32_t head, size_t position, uint32_t left_at) {
    head_of(d, layer, head)[position] = left_at;
}

size_t kvl_departures_tokens(const kvl_departures *d) { return d->n_tokens; }
uint32_t kvl_departures_layers(const kvl_departures *d) { return d->n_layers; }
uint32_t kvl_departures_heads(const kvl_departures *d) { return d->n_heads; }

const uint32_t *kvl_departures_head(const kvl_departures *d, uint32_t layer, uint32_t head) {
    return head_of(d, layer, head);
}

bool kvl_departures_visible(const kvl_departures *d, uint32_t layer, uint32_t head, size_t position,
                            size_t token) {
    return position <= token && token < head_of(d, layer, head)[position];
}

const uint32_t *kvl_departures_events(const kvl_departures *d, size_t *n) {
    *n = d->n_events;
    return d->events;
}
