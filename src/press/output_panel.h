/* What values become behind the output projection, a panel of outputs at a time, so that no matrix is copied
 * as a whole. */
#ifndef KVL_PRESS_OUTPUT_PANEL_H
#define KVL_PRESS_OUTPUT_PANEL_H

#include "press/room.h"
#include "press/view.h"

/* Outputs first .. first + KVL_PANEL_COLS - 1 of the layer's projection, as many as there are. */
typedef struct kvl_output_panel {
    float *rows; /* [KVL_PANEL_COLS, H D] */
    size_t n_rows;
    float *slice; /* [KVL_PANEL_COLS, D] of a query head */
    float *panel; /* the same, packed */
    float *out;   /* of some values, [.., KVL_PANEL_COLS] */
} kvl_output_panel;

kvl_output_panel kvl_output_panel_take(kvl_room *room, const kvl_shape *shape);
void kvl_output_panel_open(kvl_output_panel *p, const kvl_layer_view *view, size_t first);
/* sums[j] += measure of the panel's outputs for value j through query head `head` (0 .. H-1); outputs beyond
 * the last are 0.
 *   values   [n, D]
 *   measure  of KVL_PANEL_COLS numbers */
void kvl_output_panel_add(const kvl_output_panel *p, const kvl_layer_view *view, uint32_t head,
                          const float *values, size_t n, float (*measure)(const float *out), float *sums);

#endif
