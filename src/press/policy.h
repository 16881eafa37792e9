/* A policy: press + budget + schedule + protections + position mode, and its text.
 *
 * Text: PRESS[(ARGUMENTS)][:KEY=VALUE]...   for example   knorm:keep=0.75:cap=32:skip=0
 * Arguments of a press are the presses it wraps, then its options: adakv(snapkv(window=32),alpha=0.3). A
 * wrapped press may have a budget of its own: composed(knorm:keep=0.5,snapkv:size=64).
 *   keep=R        keep ceil(R n) of n entries, 0 < R <= 1
 *   size=N        keep N entries instead of a share
 *   bytes=SIZE    keep what fits in so much, as 64MiB: keys and values of all layers, skipped ones too; sets
 *                 cap=1, so that the cache never stays above it
 *   cap=N         act when a head holds n entries and n >= cap (trigger=ge) or n > cap (trigger=gt)
 *   trigger=ge|gt (>= and > are accepted)
 *   cadence=step | M | once   look after every step, every M steps, or once
 *                 (cap, trigger and cadence do not touch presses with a schedule of their own)
 *   sinks=N       entries of positions below N always stay
 *   recent=N      the newest N entries of a head always stay
 *   skip=A+B+...  layers left alone ("none" for no layer)
 *   order=time|score          order in which survivors are stored
 *   positions=true|cache-length   position of the next token: its own, or the length of layer 0
 */
#ifndef KVL_PRESS_POLICY_H
#define KVL_PRESS_POLICY_H

#include "press/press.h"

enum { KVL_POLICY_MAX_LAYERS = 1024, KVL_POLICY_MAX_PRESSES = 6 };

typedef struct kvl_policy {
    kvl_press_node tree[KVL_POLICY_MAX_PRESSES]; /* the press, and those it wraps */
    double keep_ratio;                           /* used when size_tok and n_bytes are 0 */
    uint64_t size_tok;                           /* entries per head, or 0 */
    uint64_t n_bytes;                            /* of the whole cache, or 0 */
    uint64_t cap_tok;                            /* trigger threshold */
    bool is_trigger_gt;                          /* n > cap instead of n >= cap */
    uint64_t cadence_tok;                        /* look every so many steps; 0: once */
    kvl_protections protections;
    uint64_t skip[KVL_POLICY_MAX_LAYERS / 64]; /* bit l: layer l is left alone */
    bool is_cache_length_position;
} kvl_policy;

/* keep=1, cap=1, trigger=ge, cadence=step, no protections, no skipped layers. */
void kvl_policy_init(kvl_policy *p);
/* Reads policy text on top of *p (which holds defaults). Errors: E_USAGE naming key, expected and found. */
kvl_status kvl_policy_parse(kvl_policy *p, const char *text, kvl_err *err) KVL_MUST_USE;
/* Sets one key, as in text. */
kvl_status kvl_policy_set(kvl_policy *p, const char *key, const char *value, kvl_err *err) KVL_MUST_USE;
/* Whether a policy's text has a budget: keep, size or bytes. */
bool kvl_policy_text_has_budget(const char *text);
/* As bytes=N. */
void kvl_policy_set_bytes(kvl_policy *p, uint64_t n_bytes);
/* Canonical text: equal policies have equal texts, and the text parses back to the policy. */
void kvl_policy_text(const kvl_policy *p, kvl_str *out);
/* Canonical press with options: "knorm(high)". */
void kvl_policy_press_text(const kvl_policy *p, kvl_str *out);
/* The same with all options, also those that are as by default: "knorm(low)". */
void kvl_policy_press_whole_text(const kvl_policy *p, kvl_str *out);

/* The outermost press. */
static inline const kvl_press *kvl_policy_press(const kvl_policy *p) { return p->tree[0].press; }
kvl_needs kvl_policy_needs(const kvl_policy *p, const kvl_shape *shape);

bool kvl_policy_skips(const kvl_policy *p, uint32_t layer);
/* Which press of the policy acts at a moment, if any. Without a schedule of its own a policy looks after the
 * steps of its cadence, the first time when the prompt has ended. */
kvl_turn kvl_policy_turn(const kvl_policy *p, const kvl_moment *moment);
bool kvl_policy_has_schedule(const kvl_policy *p);
/* Entries that stay of n in a head of a layer (of a ragged press: in the mean): n itself when the policy does
 * not act at that moment, on that many, or on that head. */
size_t kvl_policy_target(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment,
                         uint32_t layer, uint32_t head, size_t n);

/* What the policy's budget says for n entries there, before the press has its say. */
size_t kvl_policy_share(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment, uint32_t layer,
                        size_t n);
/* What it takes, when it acts, from the keys of such a head; n_channels = 0: nothing. */
kvl_thinning kvl_policy_thinning(const kvl_policy *p, const kvl_shape *shape, const kvl_moment *moment,
                                 uint32_t layer, size_t n);

/* Budgets: the one place where they become numbers of entries (budget.c, docs/policies.md). The share of a
 * budget: ceil(keep n), or size; from 1 to n. */
size_t kvl_budget_target(double keep_ratio, uint64_t size_tok, size_t n);
/* The entries per head that a budget of bytes comes to once a stream has seen n_tokens: the largest size with
 * which the keys and values of all layers are within it, at most n_tokens; 0: not even 1 fits. Layers that
 * are left alone count with all tokens, others with the budget that the press gives them. */
size_t kvl_budget_size(const kvl_policy *p, const kvl_press_node *acting, const kvl_shape *shape,
                       size_t n_tokens);
/* E_USAGE if a budget of bytes is too small for n_tokens, with the least that would do. */
kvl_status kvl_budget_check(const kvl_policy *p, const kvl_shape *shape, size_t n_tokens,
                            kvl_err *err) KVL_MUST_USE;

#endif
