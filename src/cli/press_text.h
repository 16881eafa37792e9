/* Words for presses, from their descriptors: what `kvlab press` and the help of other commands print. */
#ifndef KVL_CLI_PRESS_TEXT_H
#define KVL_CLI_PRESS_TEXT_H

#include "base/str.h"
#include "press/press.h"

typedef enum kvl_press_group {
    KVL_PRESS_BY_ENTRIES,
    KVL_PRESS_BY_QUERIES,
    KVL_PRESS_WRAPPERS,
    KVL_PRESS_PLUGINS,
    KVL_N_PRESS_GROUPS
} kvl_press_group;

kvl_press_group kvl_press_group_of(const kvl_press *press);
/* A heading: "by keys, values and positions". */
const char *kvl_press_group_text(kvl_press_group group);

/* What it reads and what streams note for it, with default options: "keys, queries of the last 64 tokens". */
void kvl_press_needs_text(const kvl_press *press, kvl_str *out);
/* On what it decides: "head", "layer", "layer, ragged", "wrapper". */
void kvl_press_unit_text(const kvl_press *press, kvl_str *out);
/* Values of an option: "1 to 4096", "low or high". */
void kvl_press_values_text(const kvl_option *option, kvl_str *out);
/* Policy text to try: the first option at its default, and for a wrapper something to wrap. */
void kvl_press_example(const kvl_press *press, kvl_str *out);

/* Appends all presses in groups, a line each, for --help. */
void kvl_press_help(kvl_str *out);

#endif
