/* How much an entry can move attention's output: the size of its value behind the output projection. */
#ifndef KVL_PRESS_CRITICAL_H
#define KVL_PRESS_CRITICAL_H

#include "press/press.h"

/* E_USAGE if the wrapped press gives scores below 0: multiplied, they would turn their order. */
kvl_status kvl_critical_check(const kvl_press_node *self, kvl_err *err) KVL_MUST_USE;

/* The mean, over the query heads h of KV head k, of |W_h v_j|_1, with W_h the columns of the output
 * projection that read h: norms [K, kvl_view_longest(view)]. scratch  kvl_critical_floats(shape, longest
 * head) floats, 64-byte aligned */
void kvl_critical_norms(const kvl_layer_view *view, float *norms, float *scratch);
size_t kvl_critical_floats(const kvl_shape *shape, size_t n);

/* Scores become (score + epsilon) * norm; those of the best n_first entries the largest number there is.
 *   norms    [head->n]
 *   slots    [head->n] room
 *   scratch  kvl_select_scratch_bytes(head->n)
 * Errors: E_CHECK for a score that is no number; the others are then as they were. */
kvl_status kvl_critical_rescale(const kvl_head_view *head, float *scores, const float *norms, double epsilon,
                                size_t n_first, uint32_t *slots, void *scratch, kvl_err *err) KVL_MUST_USE;

#endif
