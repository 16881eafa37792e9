/* The list of presses, and look-up by name. */
#include "press/press.h"

#include <string.h>

#define X(id) extern const kvl_press id;
#include "press/press_list.def"
#undef X

static const kvl_press *const all[] = {
#define X(id) &id,
#include "press/press_list.def"
#undef X
};

const kvl_press *const *kvl_presses(size_t *n) {
    *n = sizeof all / sizeof all[0];
    return all;
}

kvl_status kvl_press_find(const kvl_press **out, const char *name, size_t n_name, kvl_err *err) {
    kvl_str known = {0};
    *out = NULL;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strlen(all[i]->name) == n_name && memcmp(all[i]->name, name, n_name) == 0) {
            *out = all[i];
            kvl_str_free(&known);
            return KVL_OK;
        }
        kvl_str_printf(&known, "%s%s", i == 0 ? "" : ", ", all[i]->name);
    }
    kvl_status status = kvl_fail(err, KVL_E_USAGE, "unknown press '%.*s'; known presses: %s",
                                 (int)kvl_min_size(n_name, 80), name, kvl_str_text(&known));
    kvl_str_free(&known);
    return status;
}

void kvl_view_keys(const kvl_head_view *view, float *dst) {
    kvl_cache_copy_keys(view->cache, view->layer, view->head, dst);
}

void kvl_view_values(const kvl_head_view *view, float *dst) {
    kvl_cache_copy_values(view->cache, view->layer, view->head, dst);
}
