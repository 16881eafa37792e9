/* Presets: a named protocol, policy grid and samples, each a file (docs/sweep-files.md); those that come with
 * the program lie in the folder `presets`. */
#ifndef KVL_PROTOCOL_PRESET_H
#define KVL_PROTOCOL_PRESET_H

#include "base/yaml.h"

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
    const char *samples; /* names, see samples.h; NULL: whoever runs it names some */
    const char *const
        *policies; /* policy texts, NULL-terminated; each is run at every ratio unless it has size= */
    const double *keep_ratios; /* decreasing, 0-terminated; 1 is the baseline */
    kvl_protocol protocol;
    const char *note;    /* what differs from the original, or NULL */
    bool has_mean_ppl;   /* PPL is the mean of the samples' PPLs, as published, not that of all tokens */
    const char *windows; /* the protocol of windows that it takes (windows.h); NULL: stream */
} kvl_preset;

/* The keys of a preset's file; *n of them. */
const char *const *kvl_preset_keys(size_t *n);
bool kvl_preset_has_key(const char *key);
/* Makes a preset of a document, whose keys that are none of a preset are left to the caller; `path` is for
 * messages and gives the name: without folders and .yaml. *out is the caller's (kvl_preset_destroy). Policies
 * are parsed by kvl_preset_check, since their presses may have to be loaded first. Errors: E_USAGE for a
 * value that is none, E_MISSING for a key that must be there; messages begin PATH:LINE. */
kvl_status kvl_preset_read(kvl_preset **out, const kvl_yaml *doc, const char *path,
                           kvl_err *err) KVL_MUST_USE;
void kvl_preset_destroy(kvl_preset *p);
/* Whether a document is a preset: has policies. */
bool kvl_preset_is_one(const kvl_yaml *doc);
/* Parses the policies of a document; E_USAGE, PATH:LINE and those of kvl_policy_parse. */
kvl_status kvl_preset_check(const kvl_yaml *doc, const char *path, kvl_err *err) KVL_MUST_USE;

/* Loads all presets of a folder (*.yaml), once for the process and sorted by name. Errors: E_MISSING when
 * there is no folder or no preset in it, those of each file. */
kvl_status kvl_presets_load(const char *dir, kvl_err *err) KVL_MUST_USE;
/* All that were loaded; *n of them, 0 before kvl_presets_load. */
const kvl_preset *const *kvl_presets(size_t *n);
/* NULL when there is none of this name among them. */
const kvl_preset *kvl_preset_find(const char *name);

#endif
