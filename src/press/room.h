/* Scratch laid out once: the same lines count what a press needs and hand it out.
 *
 * A press has a function that takes its blocks from a room, in order. Without memory behind it the room only
 * counts, which is what scratch_floats returns; with the scratch it was given, blocks are 64-byte aligned. */
#ifndef KVL_PRESS_ROOM_H
#define KVL_PRESS_ROOM_H

#include "base/status.h"

#include <stdint.h>

typedef struct kvl_room {
    float *base; /* NULL: blocks are counted only */
    size_t used; /* floats */
} kvl_room;

static inline void *kvl_room_take(kvl_room *room, size_t n_bytes) {
    float *block = room->base != NULL ? room->base + room->used : NULL;
    room->used += kvl_round_up(n_bytes, KVL_ALIGN_BYTES) / sizeof *room->base;
    return block;
}

static inline float *kvl_room_floats(kvl_room *room, size_t n) {
    return kvl_room_take(room, n * sizeof *room->base);
}

#endif
