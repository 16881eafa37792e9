/* How tests write a press of the list: those that need more than their names, wrappers with what they wrap.
 */
#ifndef KVL_TESTS_PRESS_TEXTS_H
#define KVL_TESTS_PRESS_TEXTS_H

#include "support.h"

#include <stdio.h>
#include <string.h>

/* For presses that have a model repeat its text. */
static const int32_t words[] = {5, 6, 7, 8, 9};
static const kvl_prompts prompts = {
    .first = words, .n_first = 3, .next = words + 1, .n_next = 4, .suffix = words + 4, .n_suffix = 1};

/* Text of presses that need more than their names; others are tested as NAME, wrappers as NAME(knorm,...). */
static const struct {
    const char *name, *text;
} texts[] = {
    {"duo-attention", "duo-attention(sinks=4,recent=20)"},
    {"finch", "finch(window=8)"},
    {"lagkv", "lagkv(sinks=2,lag=8)"},
    {"cur", "cur(random=on)"},
    {"noncausal", "noncausal(chunk=32)"},
    {"compactor", "compactor(chunk=32,sketch=16)"},
    {"l2_compress", "l2_compress(0.6,prune_after=40)"},
    {"fix_size_l2", "fix_size_l2(30,keep_ratio=0.3,strategy=random)"},
    {"h2o_l2", "h2o_l2(2,heavy_hitter_size=10,recent_size=20)"},
    {"snapkv_lite", "snapkv_lite(8,keep_size=30)"},
    {"pyramid_kv", "pyramid_kv(40,min_size=10)"},
    {"adaptive_l2", "adaptive_l2(30,soft_limit=20,hard_limit=60)"},
    {"simlayerkv", "simlayerkv(threshold=0.3,recent=16,initial=2)"},
    {"snapkv", "snapkv(window=8)"},
    {"decoding", "decoding(snapkv(window=8),interval=6)"},
    {"block", "block(snapkv(window=8),block=16)"},
    {"block-oracle", "block-oracle(knorm,block=16)"},
    {"kvzip", "kvzip(chunk=32,plus=on)"},
    {"dms", "dms(knorm,threshold=-6,window=16)"},
    {"cam", "cam(knorm,merge=4,interval=6)"},
};

static const char *text_of(const kvl_press *press, char out[256]) {
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].name, press->name) == 0) {
            return texts[i].text;
        }
    }
    snprintf(out, 256, "%s%s", press->name,
             press->n_inner == 0 || press->inner != NULL ? ""
             : press->n_inner == 1                       ? "(knorm)"
                                                         : "(knorm,recency)");
    return out;
}

/* The policy of a press, with `rest` behind its text. */
static kvl_policy policy_of(const kvl_press *press, const char *rest) {
    char name[256];
    char text[512];
    snprintf(text, sizeof text, "%s%s", text_of(press, name), rest);
    return test_policy(text);
}

#endif
