/* Keys of survivors as if the others had never been there. */
#ifndef KVL_PRESS_REROTATE_H
#define KVL_PRESS_REROTATE_H

#include "press/press.h"

/* Turns the keys of what stays in a head to consecutive positions: that in place m of the choice is rotated
 * by m afterwards. For the alter step of presses that move keys (moves_keys).
 *   scratch  kvl_rerotate_floats(shape, view->n) */
void kvl_rerotate(const kvl_head_view *view, kvl_cache *cache, const kvl_choice *choice, float *scratch);
size_t kvl_rerotate_floats(const kvl_shape *shape, size_t n);

#endif
