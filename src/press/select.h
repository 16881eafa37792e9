/* Scores + budget + protections -> the list of slots that stay. The one place for rounding and ties. */
#ifndef KVL_PRESS_SELECT_H
#define KVL_PRESS_SELECT_H

#include "press/press.h"

KVL_API_BEGIN

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
kvl_status kvl_select(uint32_t *slots, size_t target, const kvl_protections *protections, const float *scores,
                      const int32_t *positions, size_t n, void *scratch, kvl_err *err) KVL_MUST_USE;

/* The same for each head of a layer by itself, target = view->heads[k].target. Writes choices [K].
 *   scratch  kvl_select_scratch_bytes(longest head) */
kvl_status kvl_select_heads(const kvl_layer_view *view, float *const *scores, kvl_choice *choices,
                            const kvl_protections *protections, void *scratch, kvl_err *err) KVL_MUST_USE;

/* The same for heads that compete: each head k keeps its best max(1, (size_t)(alpha * target)), target =
 * heads[k].target; the rest of the sum of targets goes to the best of all heads (policy's protections
 * before all scores; equal ones: the newer entry, then the lower head). Writes choices [K].
 *   scratch  kvl_select_scratch_bytes(entries of all heads) */
kvl_status kvl_select_among(const kvl_head_view *heads, size_t n_heads, float *const *scores, double alpha,
                            kvl_choice *choices, const kvl_protections *protections, void *scratch,
                            kvl_err *err) KVL_MUST_USE;
/* The same for all heads of a layer. */
kvl_status kvl_select_together(const kvl_layer_view *view, float *const *scores, double alpha,
                               kvl_choice *choices, const kvl_protections *protections, void *scratch,
                               kvl_err *err) KVL_MUST_USE;

KVL_API_END

#endif
