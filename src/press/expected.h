/* What coming queries are expected to attend to, when their moments are known: shared by presses that differ
 * in where these come from. */
#ifndef KVL_PRESS_EXPECTED_H
#define KVL_PRESS_EXPECTED_H

#include "press/press.h"

typedef struct kvl_expected {
    uint64_t n_future; /* coming positions over which rotations are averaged, >= 1 */
    uint64_t n_sinks;  /* entries of positions below have no part: score 0 */
    bool has_value_norm;
    double epsilon;
} kvl_expected;

/* Scores [view->n] of one head: (a + epsilon) |v|, or a, where a is the mean over the group of
 * softmax(scale k.m + scale^2 / 2 k'Sk), m and S the moments turned to the coming positions.
 *   means        [G, D] of plain queries
 *   covariances  [G, D, D], symmetric; NULL: taken for 0
 *   scratch      [kvl_expected_floats(shape, n)] 64-byte aligned */
void kvl_expected_score(const kvl_head_view *view, const kvl_expected *how, const float *means,
                        const float *covariances, float *scores, float *scratch);
size_t kvl_expected_floats(const kvl_shape *shape, size_t n);

#endif
