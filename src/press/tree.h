/* Text of a press with its arguments: NAME or NAME(PRESS[:keep=R|:size=N],...,option=value,...). */
#ifndef KVL_PRESS_TREE_H
#define KVL_PRESS_TREE_H

#include "press/policy.h"

/* Length of the press at the beginning of text [n]: up to the first ':' outside parentheses. */
size_t kvli_press_part(const char *text, size_t n);
/* Reads a press and what it wraps from text [n] into tree [KVL_POLICY_MAX_PRESSES]. E_USAGE. */
kvl_status kvli_tree_parse(kvl_press_node *tree, const char *text, size_t n, kvl_err *err) KVL_MUST_USE;
/* Appends the canonical text: options that differ from their defaults, wrapped presses always. */
void kvli_tree_text(const kvl_press_node *node, bool has_defaults, kvl_str *out);

#endif
