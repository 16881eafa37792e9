/* Turning the keys of survivors to consecutive positions. */
#include "press/rerotate.h"

size_t kvl_rerotate_floats(const kvl_shape *shape, size_t n) { return n * shape->head_dim; }

void kvl_rerotate(const kvl_head_view *view, kvl_cache *cache, const kvl_choice *choice, float *scratch) {
    const kvl_layer_view *in = view->in;
    if (in->rope == NULL) {
        return;
    }
    kvl_view_keys(view, scratch);
    for (size_t m = 0; m < choice->n; m++) {
        const uint32_t slot = choice->slots[m];
        float *key = scratch + slot * in->shape->head_dim;
        kvl_view_rotate(in, key, (double)m - kvl_view_rotation(view, slot));
        kvl_cache_set_key(cache, in->layer, view->head, slot, key);
    }
}
