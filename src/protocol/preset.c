/* The presets of the published U-curve analysis, of its follow-ups and of the paper's quick script, and the
 * protocol that most papers on compression share (prefill-continue).
 *
 * Sources: od-liu/CS3602-LLM-Inference-Acceleration ae58300 (ucurve*), 67bbc8b and f4b4c53 (kv-*,
 * knormpress); alessiodevoto/l2compress f93d6ca (paper-quick). Parameters are those of the scripts;
 * docs/presets.md tells what each was and what is known to be wrong with it.
 */
#include "protocol/preset.h"

#include <string.h>

static const double ratios_11[] = {1, .95, .9, .85, .8, .75, .7, .6, .5, .4, .3, 0};
static const double ratios_6[] = {1, .9, .8, .7, .5, .3, 0};
static const double ratios_2phase[] = {1, .9, .5, .1, 0};
static const double ratios_9[] = {1, .9, .8, .7, .6, .5, .4, .3, .2, .1, 0};
static const double ratios_kv[] = {1, .8, .5, .3, 0};
static const double ratios_tenths[] = {1, .95, .9, .8, .7, .6, .5, .4, .3, .2, .1, 0};
static const double ratios_paper[] = {1, .98, 0};

static const char *const policies_ucurve[] = {"knorm:cap=32:skip=0", NULL};
static const char *const policies_unsorted[] = {"knorm:cap=32:skip=0:order=score", NULL};
static const char *const policies_dead[] = {"knorm:cap=512:skip=0", NULL};
static const char *const policies_2phase[] = {"knorm:skip=0", NULL};
static const char *const policies_compare[] = {"knorm:cap=256:skip=0", "recency:cap=256:skip=0", NULL};
static const char *const policies_knormpress[] = {"knorm:cap=1024:trigger=gt:skip=0+1", NULL};
static const char *const policies_kv_l2[] = {"knorm:cap=100:trigger=gt:skip=0+1", NULL};
/* recent = int(512 share), shares 0.3 to 0.6 and 1 */
static const char *const policies_fix512[] = {
    "knorm:size=512:cap=512:trigger=gt:recent=307:skip=0+1",
    "knorm:size=512:cap=512:trigger=gt:recent=256:skip=0+1",
    "knorm:size=512:cap=512:trigger=gt:recent=204:skip=0+1",
    "knorm:size=512:cap=512:trigger=gt:recent=153:skip=0+1",
    "random(redrawn):size=512:cap=512:trigger=gt:recent=256:skip=0+1",
    "knorm(high):size=512:cap=512:trigger=gt:recent=256:skip=0+1",
    "recency:size=512:cap=512:trigger=gt:recent=512:skip=0+1",
    NULL};
static const char *const policies_stream512[] = {"streaming:size=512:cap=512:trigger=gt:recent=508:skip=0+1",
                                                 NULL};
static const char *const policies_paper[] = {"knorm:cap=1000:skip=0+1:order=score", NULL};
static const char *const policies_once[] = {"knorm:cadence=once:order=score", NULL};

static const char five[] = "W1 W2 W3 P1 P2";
static const char five_books[] = "B1 B2 B3 B4 B5";
static const char ten_books[] = "B1 B2 B3 B4 B5 B6 B7 B8 B9 B10";

static const kvl_preset presets[] = {
    {"ucurve", "the published U-curve: KnormPress, 32-entry trigger, 11 keep ratios, 5 samples", five,
     policies_ucurve, ratios_11, .protocol = {.max_tokens = 256, .baseline_tokens = 512},
     .has_mean_ppl = true},
    {"ucurve-6row", "the published 6-row table: 6 keep ratios, 4 samples", "W1 W2 P1 P2", policies_ucurve,
     ratios_6, .protocol = {.max_tokens = 256, .baseline_tokens = 512}, .has_mean_ppl = true},
    {"ucurve-11row", "the published 11-row table (the same run as ucurve)", five, policies_ucurve, ratios_11,
     .protocol = {.max_tokens = 256, .baseline_tokens = 512}, .has_mean_ppl = true},
    {"ucurve-fair", "ucurve against a baseline on the same tokens", five, policies_ucurve, ratios_11,
     .protocol = {.max_tokens = 256}, .has_mean_ppl = true},
    {"ucurve-unsorted", "ucurve with survivors stored in norm order (must not matter)", five,
     policies_unsorted, ratios_11, .protocol = {.max_tokens = 256, .baseline_tokens = 512},
     .has_mean_ppl = true},
    {"ucurve-dead", "the published \"fix\": a trigger of 512 that never fires", five, policies_dead,
     ratios_11, .protocol = {.max_tokens = 512, .baseline_tokens = 512}, .has_mean_ppl = true},
    {"ucurve-2phase", "prefill most of the text, then compress while scoring the rest", five, policies_2phase,
     ratios_2phase, .protocol = {.max_tokens = 1024, .baseline_tokens = 1024, .is_two_phase = true},
     .has_mean_ppl = true},
    {"ucurve-compare", "KnormPress against keeping the newest, trigger 256, prefill 256", five_books,
     policies_compare, ratios_9, .protocol = {.max_tokens = 1024, .prefill = 256, .count_from = 256},
     .note = "the original used other PG-19 books (longer than 50,000 characters); here: the first five of "
             "the test "
             "split",
     .has_mean_ppl = true},
    {"knormpress", "KnormPress as released: trigger above 1024, layers 0 and 1 left alone", five_books,
     policies_knormpress, ratios_9, .protocol = {.max_tokens = 2048}},
    {"kv-l2", "the follow-up's benchmark default: trigger above 100, layers 0 and 1 left alone", "B1 B2",
     policies_kv_l2, ratios_kv, .protocol = {.max_tokens = 2000}},
    {"kv-fix512", "fixed size 512 with a protected recent share", ten_books, policies_fix512, ratios_paper,
     .protocol = {.max_tokens = 3000}},
    {"kv-stream512", "4 sinks and the newest 508", ten_books, policies_stream512, ratios_paper,
     .protocol = {.max_tokens = 3000}},
    {"prefill-continue",
     "compress a context of 512 tokens once, score the 256 that follow, all along 5 books: 11 keep ratios",
     five_books, policies_once, ratios_tenths,
     .protocol = {.max_tokens = 769, .prefill = 512, .count_from = 512}, .windows = "prefill-continue"},
    {"paper-quick", "the paper's quick script: one chunk of 3000 tokens, trigger 1000, keep 0.98", "C1",
     policies_paper, ratios_paper, .protocol = {.max_tokens = 3000},
     .note = "the original reads WikiText-2 train in fp16; here the test split stands in, in f32"},
};

const kvl_preset *kvl_presets(size_t *n) {
    *n = sizeof presets / sizeof presets[0];
    return presets;
}

const kvl_preset *kvl_preset_find(const char *name) {
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}
