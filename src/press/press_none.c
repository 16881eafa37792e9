/* none: the full cache. The row every other row is compared with. */
#include "press/press.h"

extern const kvl_press kvl_press_none;
const kvl_press kvl_press_none = {
    .name = "none",
    .summary = "full cache, nothing is evicted",
    .source = "the definition of attention",
    .advice = "as what every other press is compared with",
    .version = 1,
    .is_identity = true,
};
