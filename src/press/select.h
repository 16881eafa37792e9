/* Scores + budget + protections -> the list of slots that stay. The one place for rounding and ties. */
#ifndef KVL_PRESS_SELECT_H
#define KVL_PRESS_SELECT_H

#include "press/policy.h"

/* Scratch of one selection over n entries. */
size_t kvl_select_scratch_bytes(size_t n);

/* Chooses exactly `target` of n entries, 1 <= target <= n, and writes their slots.
 *
 * Ranking: protected entries first (sinks, then the newest), then larger score; equal scores: the newer
 * entry. A target below the number of protected entries drops the lowest ranked of those. Output order:
 * ascending position, or the ranking with order=score.
 *   slots      [target] out
 *   scores     [n] no NaN (E_CHECK names the slot)
 *   positions  [n] distinct, from 0
 *   scratch    kvl_select_scratch_bytes(n), 8-byte aligned */
kvl_status kvl_select(uint32_t *slots, size_t target, const kvl_policy *policy, const float *scores,
                      const int32_t *positions, size_t n, void *scratch, kvl_err *err) KVL_MUST_USE;

#endif
