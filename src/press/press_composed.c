/* composed: two presses one after the other, the second on what the first has left.
 *
 * Source: ComposedPress of kvpress 0.5.5. A part with a budget of its own leaves that share of what it finds:
 * composed(knorm:keep=0.5,keydiff:keep=0.5) keeps a quarter. Parts without one leave together what the
 * policy's budget says, by equal ratios: composed(knorm,keydiff):keep=0.25 is the same. More than two:
 * composed(composed( A,B),C).
 */
#include "press/press.h"

static kvl_status check(const kvl_press_node *self, kvl_err *err) {
    for (unsigned i = 0; i < self->press->n_inner; i++) {
        const kvl_press_node *part = kvl_press_inner(self, i);
        bool looks_again = false;
        for (uint64_t k = 0; k < part->n_nodes; k++) {
            looks_again = looks_again || part[k].press->replay != NULL || part[k].press->is_global != NULL;
        }
        if (looks_again || kvl_press_moves_keys(part) || kvl_press_scheduler(part) != NULL) {
            return kvl_fail(
                err, KVL_E_USAGE,
                "press composed: expected parts without second passes or schedules that leave keys "
                "where they are, found %s",
                part->press->name);
        }
    }
    return KVL_OK;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    return kvl_max_size(kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n),
                        kvl_press_scratch_floats(kvl_press_inner(self, 1), shape, n));
}

static size_t budget(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target) {
    for (unsigned i = 0; i < self->press->n_inner; i++) {
        n = kvl_press_part_target(self, i, shape, layer, n, target);
    }
    return n;
}

extern const kvl_press kvl_press_composed;
const kvl_press kvl_press_composed = {
    .name = "composed",
    .summary = "one press after the other, on what that has left",
    .source = "kvpress 0.5.5, ComposedPress",
    .formula = "that of each part",
    .cost = "that of its parts",
    .differs = "parts without a budget share the policy's by equal ratios (kvpress: each has its own); AdaKV "
               "may be a "
               "part",
    .advice =
        "to drop channels of what another press keeps, or to choose among a cheap press's candidates by a "
        "dear one",
    .version = 1,
    .is_sequence = true,
    .n_inner = 2,
    .check = check,
    .scratch_floats = scratch_floats,
    .budget = budget,
};
