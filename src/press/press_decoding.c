/* decoding: leave the prompt alone, then compress everything every `interval` tokens.
 *
 * Source: DecodingPress and CompressionRatioDecodingPress of kvpress 0.5.5. With size=N the cache is cut to N
 * entries, so that it holds N to N + interval - 1; with keep=R to that share of all tokens seen so far, not
 * of the entries that are left. A text without a prompt is decoding from its first token on.
 */
#include "press/press.h"

typedef struct conf {
    uint64_t interval;
} conf;

static const kvl_option options[] = {
    {.name = "interval",
     .kind = KVL_OPTION_COUNT,
     .offset = offsetof(conf, interval),
     .initial = "512",
     .min = 1,
     .max = 1 << 20,
     .help = "tokens from one compression to the next"},
};

static kvl_turn turn(const kvl_press_node *self, const kvl_moment *moment) {
    const conf *c = kvl_press_conf(self);
    const bool is_due =
        moment->n_seen > moment->n_prefill && (moment->n_seen - moment->n_prefill) % c->interval == 0;
    return (kvl_turn){is_due ? self : NULL, moment->n_seen};
}

extern const kvl_press kvl_press_decoding;
const kvl_press kvl_press_decoding = {
    .name = "decoding",
    .summary = "compress while decoding, every so many tokens",
    .source = "kvpress 0.5.5, DecodingPress and CompressionRatioDecodingPress",
    .formula = "the wrapped press's",
    .cost = "the wrapped press on the whole cache, every `interval` tokens",
    .differs =
        "entries stay in order of position (kvpress: by score after the first time); window presses see "
        "true queries at true positions; counts tokens, where kvpress counts calls",
    .advice =
        "For long generations: give it size=N, so that the cache stays between N and N + interval entries.",
    .version = 1,
    .n_inner = 1,
    .options = options,
    .n_options = 1,
    .conf_bytes = sizeof(conf),
    .turn = turn,
};
