/* Presets: a named protocol, policy grid and samples. preset.c is the one table. */
#ifndef KVL_PROTOCOL_PRESET_H
#define KVL_PROTOCOL_PRESET_H

#include "base/compiler.h"

/* The stream protocol: tokens go in one by one; step t feeds token t and scores token t+1; after every step
 * (and after the prefill) each policy looks at its stream. */
typedef struct kvl_protocol {
    bool has_windows;  /* the samples are windows (windows.h), with their own prefill and first scored step
                        * instead of those below; a policy that acts once leaves alone what has no prefill */
    size_t max_tokens; /* of a sample; longer ones are cut */
    size_t prefill;    /* tokens fed in one pass before the first step; nothing is scored in it */
    size_t count_from; /* first scored step */
    size_t baseline_tokens; /* published-style baseline: one pass over at most so many tokens; 0: the same
                               tokens */
    bool is_two_phase; /* prefill = count_from = cap = max(32, min(256, max(T - 50, T / 2))) for T tokens */
} kvl_protocol;

typedef struct kvl_preset {
    const char *name;
    const char *summary;
    const char *samples; /* names, see samples.h */
    const char *const
        *policies; /* policy texts, NULL-terminated; each is run at every ratio unless it has size= */
    const double *keep_ratios; /* decreasing, 0-terminated; 1 is the baseline */
    kvl_protocol protocol;
    const char *note;    /* what differs from the original, or NULL */
    bool has_mean_ppl;   /* PPL is the mean of the samples' PPLs, as published, not that of all tokens */
    const char *windows; /* the protocol of windows that it takes (windows.h); NULL: stream */
} kvl_preset;

/* All presets; *n of them. */
const kvl_preset *kvl_presets(size_t *n);
/* NULL when there is none of this name. */
const kvl_preset *kvl_preset_find(const char *name);

#endif
