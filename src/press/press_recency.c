/* recency: keep the newest entries ("truncate" in the published comparison). */
#include "press/press.h"

static void score(const void *conf, const kvl_head_view *view, float *scores, float *scratch) {
    (void)conf;
    (void)scratch;
    for (size_t j = 0; j < view->n; j++) {
        scores[j] = (float)view->positions[j];
    }
}

extern const kvl_press kvl_press_recency;
const kvl_press kvl_press_recency = {
    .name = "recency",
    .summary = "keep the newest entries (sliding window)",
    .source = "sliding window; \"truncate\" of the published comparison",
    .formula = "position",
    .cost = "nothing but the selection",
    .advice = "as a control, and where only the last tokens matter; the model loses its first tokens, which "
              "streaming keeps",
    .version = 1,
    .score = score,
};
