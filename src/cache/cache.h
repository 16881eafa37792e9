/* The ragged key/value cache of one stream.
 *
 * Every (layer, KV head) is a list of its own: its length, its positions, its memory. An entry has a slot
 * (where it lies) and a position (which token it came from); the two are unrelated once something was
 * evicted. `keep` moves the survivors together and gives memory back; nothing is masked.
 *
 *   keys       panels of 16 entries, dimensions-major inside: entry j, dimension d at
 *              keys[(j / 16 * D + d) * 16 + j % 16]; so attention scores 16 keys without horizontal sums
 *   values     [n, D] row-major; both in the types that the shape names
 *   positions  [n]
 *
 * The keys of a head's first entries may be thin: stored with some of their D channels only, the others being
 * 0 from then on (kvl_cache_thin).
 *
 * A cache may stand on another, its base: each head then begins with the first n_base entries of the base's
 * head, which are shared, not copied, and goes on with entries of its own.
 *
 * One thread may change a (layer, head) while others change different ones; nothing else is synchronised.
 */
#ifndef KVL_CACHE_CACHE_H
#define KVL_CACHE_CACHE_H

#include "base/status.h"
#include "model/shape.h"

typedef struct kvl_cache kvl_cache;

/* "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", as llama.cpp names them. */
const char *kvl_kv_type_name(kvl_kv_type t);
/* E_USAGE listing the names. */
kvl_status kvl_kv_type_find(kvl_kv_type *out, const char *name, kvl_err *err) KVL_MUST_USE;

/* Entries that lie together. */
typedef struct kvl_head_entries {
    const void *keys;         /* after rotation, of the cache's key type (kernel/kv_form.h); of those behind
                               * the thin ones (kvl_cache_thin_keys) */
    const void *values;       /* of its value type */
    const int32_t *positions; /* [n] */
    int64_t *mass;            /* [n] attention received, or NULL: not tracked */
    size_t n;
} kvl_head_entries;

/* Whether caches can store heads of this shape as it says. E_USAGE: quantised types need dimensions in blocks
 * of 32, a window and a rotation a quantised type, a rotation a power of two of dimensions. */
kvl_status kvl_cache_check_shape(const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
/* An empty cache for a model of this shape, which must be one that can be stored; destroy with
 * kvl_cache_destroy. */
kvl_status kvl_cache_create(kvl_cache **out, const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
/* The same, but nothing is stored: lengths, room and bytes go as in a real cache that is used alike. `append`
 * and `keep` do not read what they are given; entries and keys must not be asked for. Once a head with a
 * window or with thin keys was reduced its bytes are the most they can be: which entries survive is not
 * known.
 */
kvl_status kvl_cache_create_counting(kvl_cache **out, const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
bool kvl_cache_is_counting(const kvl_cache *c);
void kvl_cache_destroy(kvl_cache *c);
/* Keeps beside each entry the attention it has received, in units of 1 / KVL_MASS_ONE, summed over the query
 * heads of its group; whoever attends adds to it. For an empty cache. */
void kvl_cache_track_mass(kvl_cache *c);
/* An exact copy (slots, positions and bits), independent but for the base, which both then stand on. */
kvl_status kvl_cache_fork(kvl_cache **out, const kvl_cache *c, kvl_err *err) KVL_MUST_USE;
/* A cache that stands on `base`, so far without entries of its own: head i = layer * K + head begins with
 * the first n_base[i] of the base's. The base must have no base itself (E_CHECK). It lives as long as what
 * stands on it; it may still be reduced once, to no less than is shared, before anything above it is read.
 * Base and what stands on it belong to one thread when they are created, forked and destroyed. */
kvl_status kvl_cache_stand_on(kvl_cache **out, kvl_cache *base, const uint32_t *n_base,
                              kvl_err *err) KVL_MUST_USE;
/* The cache it stands on, or NULL. */
const kvl_cache *kvl_cache_base(const kvl_cache *c);
/* Whether other caches stand on this one. */
bool kvl_cache_is_base(const kvl_cache *c);

/* Makes room for n_more entries in every head, or in one, so that `append` cannot fail. */
kvl_status kvl_cache_reserve(kvl_cache *c, size_t n_more, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_cache_reserve_head(kvl_cache *c, uint32_t layer, uint32_t head, size_t n_more,
                                  kvl_err *err) KVL_MUST_USE;
/* Adds one entry behind the last. Room must have been reserved.
 *   key    [D], rotated for its position; value [D] */
void kvl_cache_append(kvl_cache *c, uint32_t layer, uint32_t head, const float *key, const float *value,
                      int32_t position);

/* Entries of a head, shared ones included. */
size_t kvl_cache_len(const kvl_cache *c, uint32_t layer, uint32_t head);
/* A head's own entries, and before them those it shares (n = 0 without a base). Borrowed until the next
 * change of that head. */
kvl_head_entries kvl_cache_entries(const kvl_cache *c, uint32_t layer, uint32_t head);
kvl_head_entries kvl_cache_shared_entries(const kvl_cache *c, uint32_t layer, uint32_t head);
/* A head with a window (kvl_shape.n_residual) as it was when it held n entries of its own, at least those of
 * the last reservation: so many are those of kvl_cache_entries, the others lie here, one panel after another,
 * in the wide types (kvl_kv_wide_type). Without a window all n are packed. */
typedef struct kvl_head_window {
    size_t n_packed;
    const void *keys, *values;
} kvl_head_window;
kvl_head_window kvl_cache_window(const kvl_cache *c, uint32_t layer, uint32_t head, size_t n);
/* Takes channels away from the keys of a head, but for those of its newest n_recent entries (which then come
 * last): the others count as 0, and nothing is stored of them. Later entries have all channels. Once for each
 * head. A list of survivors that puts other entries before thin ones (kvl_cache_keep) makes these whole
 * again, with zeros. channels  [n_channels] those that stay, ascending, at least one Errors: E_NOMEM (the
 * head is then unchanged), E_USAGE for a quantised cache (check_thin), E_CHECK for a head that is thin
 * already or a cache others stand on. */
kvl_status kvl_cache_check_thin(const kvl_shape *shape, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_cache_thin(kvl_cache *c, uint32_t layer, uint32_t head, const uint16_t *channels,
                          size_t n_channels, size_t n_recent, kvl_err *err) KVL_MUST_USE;
/* A head's thin keys: of its first n entries, laid out like others but with those channels only. n_channels =
 * 0: the head was never thinned. */
typedef struct kvl_head_thin {
    size_t n;
    const void *keys;
    const uint16_t *channels; /* [n_channels] */
    size_t n_channels;
} kvl_head_thin;
kvl_head_thin kvl_cache_thin_keys(const kvl_cache *c, uint32_t layer, uint32_t head);
/* Copies what a head shares, so that all its entries are its own. E_NOMEM: the head is then unchanged. */
kvl_status kvl_cache_own(kvl_cache *c, uint32_t layer, uint32_t head, kvl_err *err) KVL_MUST_USE;
/* Row-major copies of all keys or values of a head, widened: dst [n, D]. */
void kvl_cache_copy_keys(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst);
void kvl_cache_copy_values(const kvl_cache *c, uint32_t layer, uint32_t head, float *dst);
/* Keys or values of the head's own entries first .. first + n - 1: dst [n, D]. */
void kvl_cache_copy_key_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                             float *dst);
void kvl_cache_copy_value_rows(const kvl_cache *c, uint32_t layer, uint32_t head, size_t first, size_t n,
                               float *dst);

KVL_API_BEGIN
/* Rounds and overwrites the key or the value [D] of an entry that is the head's own. */
void kvl_cache_set_key(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *key);
void kvl_cache_set_value(kvl_cache *c, uint32_t layer, uint32_t head, size_t slot, const float *value);
KVL_API_END

/* Reduces one head to n_slots distinct slots, stored in the order given; all are then its own. Survivors keep
 * their positions and bits. Memory is given back when at least half of the block would stay empty.
 * Errors: E_NOMEM (the head is then unchanged), E_CHECK for a slot outside the head or listed twice in an
 * ascending list, or fewer slots than other caches share. */
kvl_status kvl_cache_keep(kvl_cache *c, uint32_t layer, uint32_t head, const uint32_t *slots, size_t n_slots,
                          kvl_err *err) KVL_MUST_USE;

/* Bytes of keys and values of the entries present, shared ones included; and of everything allocated for
 * entries, by this cache alone: a base is counted where it is asked. */
uint64_t kvl_cache_live_bytes(const kvl_cache *c);
uint64_t kvl_cache_reserved_bytes(const kvl_cache *c);
/* What would be allocated if every head had the most room that it had since the last call (or its creation):
 * at least what was allocated at any moment in between, in whatever order the heads changed. */
uint64_t kvl_cache_most_bytes(kvl_cache *c);

/* The rules of windows: entries in one that had n_window after n_more came, its room of `cap` after room for
 * n_more entries was asked for, and the bytes of such room. A pass appends KVL_CACHE_PASS entries at most. */
enum { KVL_CACHE_PASS = 256 };
size_t kvl_cache_window_len(const kvl_shape *shape, size_t n_window, size_t n_more);
size_t kvl_cache_window_cap(const kvl_shape *shape, size_t cap, size_t n_more);
uint64_t kvl_cache_window_bytes(const kvl_shape *shape, size_t cap);

/* The rules of growth and shrinking, by which the cache itself goes; a head is one block of room for `cap`
 * entries. Room after n entries were asked for (below n beyond 2^31 entries), and after a reduction to n. A
 * change of room copies the head: old and new block exist at once. */
size_t kvl_cache_grown_cap(size_t cap, size_t n);
size_t kvl_cache_kept_cap(size_t cap, size_t n);
/* Live bytes of a head that holds n entries; with windows the most they can be. */
uint64_t kvl_cache_head_live_bytes(const kvl_shape *shape, size_t n);
/* Bytes of a block: keys, values, positions and, where it is tracked, attention received; and of one whose
 * first n_thin entries have n_channels of the keys' channels. */
uint64_t kvl_cache_head_bytes(const kvl_shape *shape, bool has_mass, size_t cap);
uint64_t kvl_cache_thin_head_bytes(const kvl_shape *shape, bool has_mass, size_t cap, size_t n_thin,
                                   size_t n_channels);

#endif
