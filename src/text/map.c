/* Hash map from 64-bit keys, linear probing, never resized. */
#include "text/tokenizer_int.h"

#include "base/alloc.h"
#include "base/rng.h"

kvl_status kvli_map_create(kvl_map *m, size_t n_items, kvl_err *err) {
    size_t n_slots = 16;
    while (n_slots < 2 * n_items) {
        n_slots *= 2;
    }
    *m = (kvl_map){.n_slots = n_slots};
    m->keys = kvl_calloc(n_slots, sizeof *m->keys);
    m->values = kvl_calloc(n_slots, sizeof *m->values);
    if (m->keys == NULL || m->values == NULL) {
        kvli_map_free(m);
        return kvl_fail_nomem(err, "tokenizer tables");
    }
    for (size_t i = 0; i < n_slots; i++) {
        m->values[i] = -1;
    }
    return KVL_OK;
}

void kvli_map_free(kvl_map *m) {
    kvl_free(m->keys);
    kvl_free(m->values);
    *m = (kvl_map){0};
}

static size_t slot_of(const kvl_map *m, uint64_t key) {
    size_t slot = (size_t)kvl_rng_mix(key) & (m->n_slots - 1);
    while (m->values[slot] >= 0 && m->keys[slot] != key) {
        slot = (slot + 1) & (m->n_slots - 1);
    }
    return slot;
}

int64_t kvli_map_put(kvl_map *m, uint64_t key, int64_t value) {
    size_t slot = slot_of(m, key);
    if (m->values[slot] < 0) {
        m->keys[slot] = key;
        m->values[slot] = value;
    }
    return m->values[slot];
}

int64_t kvli_map_get(const kvl_map *m, uint64_t key) {
    return m->n_slots != 0 ? m->values[slot_of(m, key)] : -1;
}
