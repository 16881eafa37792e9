/* key-rerotation: after a compression keys stand as if the others had never been there.
 *
 * Source: KeyRerotationPress of kvpress 0.5.5; the idea is that of the positions within the cache of Xiao et
 * al., "Efficient Streaming Language Models with Attention Sinks" (arXiv 2309.17453), section 3.2. The key in
 * place m is turned by m less the position at which it stood: at m as from the start, whatever the scaling of
 * the rotation. What follows goes on at the length of layer 0.
 */
#include "press/press.h"
#include "press/rerotate.h"

static bool moves_keys(const kvl_press_node *self) {
    (void)self;
    return true;
}

static kvl_status check(const kvl_press_node *self, kvl_err *err) {
    const kvl_press_node *inner = kvl_press_inner(self, 0);
    return !kvl_press_moves_keys(inner)
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE,
                          "press key-rerotation: expected a press that leaves keys where they are "
                          "within it, found %s",
                          inner->press->name);
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    return kvl_max_size(kvl_rerotate_floats(shape, n),
                        kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n));
}

static void alter(const kvl_press_node *self, const kvl_head_view *view, kvl_cache *cache,
                  const kvl_choice *choice, float *scratch) {
    (void)self;
    kvl_rerotate(view, cache, choice, scratch);
}

extern const kvl_press kvl_press_key_rerotation;
const kvl_press kvl_press_key_rerotation = {
    .name = "key-rerotation",
    .summary = "turn the keys of what stays to consecutive positions",
    .source = "kvpress 0.5.5, KeyRerotationPress; Xiao et al. 2024, arXiv 2309.17453, section 3.2",
    .formula =
        "the wrapped press's; key m of the n that stay becomes R(m - p) k, p the position at which it stood",
    .cost = "3 K n_rotary operations for each entry that stays; n D floats",
    .differs = "may act again: keys are then turned from their places, not from their tokens' positions",
    .reads = "keys",
    .advice =
        "for texts beyond the trained context, and around streaming to have its positions within the cache; "
        "distances in the text are lost",
    .version = 1,
    .n_inner = 1,
    .check = check,
    .scratch_floats = scratch_floats,
    .alter = alter,
    .moves_keys = moves_keys,
};
