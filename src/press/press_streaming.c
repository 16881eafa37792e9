/* streaming: the first tokens (attention sinks) and the newest.
 *
 * Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", ICLR 2024 (arXiv
 * 2309.17453), section 3.2; positions are the stream's (positions=), not re-based inside the cache as in that
 * paper.
 */
#include "press/press.h"

typedef struct conf {
    uint64_t sinks;
} conf;

static const kvl_option options[] = {
    {.name = "sinks",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, sinks),
     .initial = "4",
     .max = 1e6,
     .help = "first tokens that always stay"},
};

static void score(const void *conf_ptr, const kvl_head_view *view, float *scores, float *scratch) {
    (void)scratch;
    const conf *c = conf_ptr;
    for (size_t j = 0; j < view->n; j++) {
        bool is_sink = (uint64_t)view->positions[j] < view->in->first_token + c->sinks;
        /* Sinks rank above every position there can be; among them, earlier first. */
        scores[j] = is_sink ? 0x1p30f - (float)view->positions[j] : (float)view->positions[j];
    }
}

extern const kvl_press kvl_press_streaming;
const kvl_press kvl_press_streaming = {
    .name = "streaming",
    .summary = "keep the first tokens (sinks) and the newest",
    .source = "Xiao et al. 2024, arXiv 2309.17453, section 3.2",
    .formula = "sinks first, then position",
    .cost = "nothing but the selection",
    .advice = "for endless streams at little cost; what lies between the sinks and the window is lost",
    .version = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .score = score,
};
