/* prefill-decoding: one press when the prompt has ended, another one while decoding.
 *
 * Source: PrefillDecodingPress of kvpress 0.5.5. The first press acts once, at the end of the prompt, or by
 * its own schedule inside it (block); the second one by its schedule (decoding, dms, cam), without one after
 * every token, where keep is then a share of all tokens seen. Each part may have a budget of its own:
 * prefill-decoding(snapkv:keep=0.3,decoding(keydiff):size=512).
 */
#include "press/press.h"

static kvl_turn turn(const kvl_press_node *self, const kvl_moment *moment) {
    const bool is_decoding = moment->n_seen > moment->n_prefill;
    const kvl_press_node *part = kvl_press_inner(self, is_decoding);
    const kvl_press_node *scheduler = kvl_press_scheduler(part);
    if (scheduler == NULL) {
        const bool is_due = is_decoding || moment->n_seen == moment->n_prefill;
        return (kvl_turn){is_due ? part : NULL, is_decoding ? moment->n_seen : 0};
    }
    kvl_turn out = scheduler->press->turn(scheduler, moment);
    out.node = out.node == scheduler ? part : out.node;
    return out;
}

static size_t scratch_floats(const kvl_press_node *self, const kvl_shape *shape, size_t n) {
    return kvl_max_size(kvl_press_scratch_floats(kvl_press_inner(self, 0), shape, n),
                        kvl_press_scratch_floats(kvl_press_inner(self, 1), shape, n));
}

extern const kvl_press kvl_press_prefill_decoding;
const kvl_press kvl_press_prefill_decoding = {
    .name = "prefill-decoding",
    .summary = "one press for the prompt, another one while decoding",
    .source = "kvpress 0.5.5, PrefillDecodingPress",
    .formula = "that of the part whose turn it is",
    .cost = "that of its parts",
    .differs = "parts that look twice (kvzip) work too; kvpress ignores them silently",
    .advice = "For long prompts and long generations: give each part a budget of its own.",
    .version = 1,
    .is_outermost = true,
    .n_inner = 2,
    .turn = turn,
    .scratch_floats = scratch_floats,
};
