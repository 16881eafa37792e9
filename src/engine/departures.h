/* When each entry of a cache left it: the whole history of which keys a query saw, in one number per position
 * and head.
 *
 * A key at position p is visible to the query of token t iff p <= t < left_at[p], where left_at is how many
 * tokens the stream had seen when the entry was evicted. Sliding windows of layers are not looked at: the log
 * says what the cache holds.
 */
#ifndef KVL_ENGINE_DEPARTURES_H
#define KVL_ENGINE_DEPARTURES_H

#include "cache/cache.h"

typedef struct kvl_departures kvl_departures;

/* left_at of an entry that is still there. */
#define KVL_STAYS UINT32_MAX

/* A log of positions 0 .. n_tokens - 1 of every (layer, KV head), at first with nothing evicted; of later
 * tokens nothing is noted. Bytes: kvl_departures_bytes. Destroy with kvl_departures_destroy. */
kvl_status kvl_departures_create(kvl_departures **out, const kvl_shape *shape, size_t n_tokens,
                                 kvl_err *err) KVL_MUST_USE;
kvl_status kvl_departures_fork(kvl_departures **out, const kvl_departures *d, kvl_err *err) KVL_MUST_USE;
void kvl_departures_destroy(kvl_departures *d);
uint64_t kvl_departures_bytes(const kvl_shape *shape, size_t n_tokens);

/* Notes what a head lost since it was last noted, by comparing with what it holds, when n_seen tokens were
 * seen. O(n_seen); again at the same moment: the same. One thread may note a head while others note others.
 */
void kvl_departures_note_head(kvl_departures *d, const kvl_cache *cache, uint32_t layer, uint32_t head,
                              size_t n_seen);
/* Notes a compression when n_seen tokens were seen; of several at one moment one. */
void kvl_departures_note_event(kvl_departures *d, size_t n_seen);
/* Enters one departure, for a log that is read from elsewhere; position < n_tokens. */
void kvl_departures_set(kvl_departures *d, uint32_t layer, uint32_t head, size_t position, uint32_t left_at);

size_t kvl_departures_tokens(const kvl_departures *d);
uint32_t kvl_departures_layers(const kvl_departures *d);
uint32_t kvl_departures_heads(const kvl_departures *d);
/* left_at [n_tokens] of a head; KVL_STAYS where the entry never left or never came. */
const uint32_t *kvl_departures_head(const kvl_departures *d, uint32_t layer, uint32_t head);
/* Whether the query of a token sees the key at a position; both below n_tokens. */
bool kvl_departures_visible(const kvl_departures *d, uint32_t layer, uint32_t head, size_t position,
                            size_t token);
/* Compressions so far: the tokens seen at each, ascending; *n of them. */
const uint32_t *kvl_departures_events(const kvl_departures *d, size_t *n);

#endif
