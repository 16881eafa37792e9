/* A press ranks the entries of a KV cache: larger score = keep.
 *
 * A press is a constant struct in a file of its own and one line in press_list.def. Three steps, each a
 * function that a press may have: score (how much an entry is worth), budget (how many stay in a layer) and
 * select (which stay). Most presses only score; rounding, protections and ties are select.c's, moving memory
 * is the cache's. A wrapper is a press around another one: what it does not do itself, that one does, as in
 * adakv(snapkv(window=32)). press_template.c is a press to copy; docs/write-a-press.md walks through it.
 */
#ifndef KVL_PRESS_PRESS_H
#define KVL_PRESS_PRESS_H

#include "press/option.h"
#include "press/view.h"

enum { KVL_PRESS_CONF_BYTES = 512 };

typedef struct kvl_press kvl_press;

/* A press with its options, and behind it those it wraps: a tree in the order of its text. */
typedef struct kvl_press_node {
    const kvl_press *press;
    uint64_t n_nodes;  /* of this press and all within it */
    double keep_ratio; /* a budget of its own as a part of another press: 0 and 0 for the policy's */
    uint64_t size_tok;
    _Alignas(16) unsigned char conf[KVL_PRESS_CONF_BYTES];
} kvl_press_node;

/* Its options, a struct of the press's own. */
static inline const void *kvl_press_conf(const kvl_press_node *node) { return node->conf; }
/* The index-th wrapped press. */
static inline const kvl_press_node *kvl_press_inner(const kvl_press_node *node, unsigned index) {
    const kvl_press_node *inner = node + 1;
    for (; index != 0; index--) {
        inner += inner->n_nodes;
    }
    return inner;
}

/* Where a stream is in its text. */
typedef struct kvl_moment {
    uint64_t n_seen;    /* tokens it has processed */
    uint64_t n_prefill; /* of them those of the prompt; 0: there is none, everything is decoding */
    uint64_t n_events;  /* compressions so far */
} kvl_moment;

/* What is done at a moment. */
typedef struct kvl_turn {
    const kvl_press_node *node; /* the press that acts, of several the one whose turn it is; NULL: none now */
    uint64_t n_of; /* tokens of which a keep ratio is a share; 0: of the entries that are there */
} kvl_turn;

/* Words around what a model is asked to repeat, as ids of its tokenizer. */
typedef struct kvl_prompts {
    const int32_t *first, *next,
        *suffix; /* before the first part of a text, before the others, before each */
    size_t n_first, n_next, n_suffix;
} kvl_prompts;

/* What second passes may be made of. */
typedef struct kvl_context {
    const int32_t
        *text; /* [n_text] the stream's text, of which it has seen the first n_seen tokens; or NULL */
    uint64_t n_text;
    uint64_t n_seen;
    const kvl_prompts *prompts; /* NULL: not known */
} kvl_context;

/* A second pass: tokens that run behind the stream's own, on a copy of it that is then thrown away. */
typedef struct kvl_replay {
    int32_t *ids; /* [room for n_text, all prompts, and KVL_REPLAY_MORE] */
    size_t n;
    uint64_t first, end; /* tokens of the text that it is about */
} kvl_replay;
enum { KVL_REPLAY_MORE = 64 };

/* Which entries of one head stay. */
typedef struct kvl_choice {
    uint32_t *slots; /* [n] room for all entries of the head */
    size_t n;
} kvl_choice;

/* What a press takes from keys: of the channels n_channels stay (as many as there are, or 0: nothing is
 * taken), but the newest n_recent entries of a head keep all. */
typedef struct kvl_thinning {
    size_t n_channels, n_recent;
} kvl_thinning;

/* What the policy asks of every selection. */
typedef struct kvl_protections {
    uint64_t n_sinks;    /* entries of positions below always stay */
    uint64_t n_recent;   /* and the newest of a head */
    bool is_score_order; /* survivors in the order of their ranks, not of their positions */
} kvl_protections;

struct kvl_press {
    const char *name;    /* id on the command line and in records: stable for ever */
    const char *summary; /* one line */
    const char *source;  /* paper and equation, or code and version */
    const char *formula; /* of the score, in one line of plain text */
    const char *cost;    /* operations and memory of one compression of a layer */
    const char *differs; /* from the reference code; NULL: not known to */
    const char *reads;   /* of what the cache holds, as "keys" or "keys, values"; NULL: positions at most */
    const char *advice;  /* when to take it, and when not, in a sentence or two; NULL: nothing to say */
    unsigned version;    /* raised when results change */
    bool is_identity;    /* never evicts; has no functions */
    bool is_ragged;      /* heads of a layer may keep other numbers than the budget says */
    bool is_outermost;   /* may not be wrapped itself */
    bool is_outcome;     /* how much stays does not depend on the policy's budget */
    bool is_signed;      /* scores may be below 0 */
    bool is_sequence;    /* the presses it wraps act one after another; it has no steps but budget */
    unsigned n_inner;    /* presses it wraps: first in its parentheses */
    const char *inner;   /* text of a wrapped press that is not given; NULL: must be given */
    const kvl_option *options;
    size_t n_options;
    size_t conf_bytes; /* <= KVL_PRESS_CONF_BYTES */

    /* Whether the presses that it wraps fit it, when a policy is read: E_USAGE. NULL: all do. */
    kvl_status (*check)(const kvl_press_node *self, kvl_err *err);
    /* What streams must note for it; NULL: nothing. Needs of wrapped presses are added. */
    kvl_needs (*needs)(const kvl_press_node *self, const kvl_shape *shape);
    /* Floats of scratch for heads of up to n entries, those of wrapped presses included; NULL: none, or
     * those of the wrapped press. */
    size_t (*scratch_floats)(const kvl_press_node *self, const kvl_shape *shape, size_t n);

    /* Of presses with a schedule of their own, which the policy's cap and cadence then do not touch: who acts
     * at a moment (itself, or one that it wraps), on what. Depends on the moment alone. NULL: whenever the
     * policy looks, but not inside a prompt. */
    kvl_turn (*turn)(const kvl_press_node *self, const kvl_moment *moment);

    /* Of presses that look again: the tokens of second pass number `round`, from 0; with n = 0 there is none
     * any more. E_USAGE for a context that has not what it takes. NULL: they do not. */
    kvl_status (*replay)(const kvl_press_node *self, const kvl_context *context, size_t round,
                         kvl_replay *replay, kvl_err *err);
    /* Takes from the copy what that pass tells of a layer's entries into learned [K][entries], at first 0 and
     * handed to kvl_view_learned. The copy holds the stream's entries in their slots, then the pass's;
     * queries and lengths of inputs of the pass's tokens are noted. scratch: scratch_floats for as many
     * entries. */
    void (*learn)(const kvl_press_node *self, const kvl_layer_view *copy, const kvl_replay *replay,
                  float *const *learned, float *scratch);

    /* Fills scores [view->n] of one head, which depend on that head alone. Pure: the same view gives the same
     * scores. No NaN. scratch is 64-byte aligned. */
    void (*score)(const void *conf, const kvl_head_view *view, float *scores, float *scratch);
    /* The same where heads of a layer depend on each other: scores[k] [view->heads[k].n]. A press has one of
     * the two, a wrapper at most one. */
    void (*score_layer)(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                        float *scratch);

    /* Entries that stay of n in each head of a layer, when the policy's budget says `target`. NULL:
     * target. */
    size_t (*budget)(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, size_t n,
                     size_t target);
    /* Whether a head is left alone, whatever the budget. NULL: none is. */
    bool (*spares)(const kvl_press_node *self, const kvl_shape *shape, uint32_t layer, uint32_t head);
    /* Chooses what stays in each head of a layer, choices [K]. NULL: kvl_select for each head.
     *   floats   scratch_floats of them, as score has
     *   scratch  kvl_select_scratch_bytes(all entries of the layer), 8-byte aligned */
    kvl_status (*select)(const kvl_press_node *self, const kvl_layer_view *view, float *const *scores,
                         kvl_choice *choices, const kvl_protections *protections, float *floats,
                         void *scratch, kvl_err *err);
    /* Whether it chooses among the entries of all layers at once, instead of by select: the best of all stay,
     * and of every head one. NULL: it does not. */
    bool (*is_global)(const kvl_press_node *self);
    /* Changes survivors of one head, before the others go: slots of the cache, by kvl_cache_set_*. Those of
     * presses within each other follow each other, the innermost first. */
    void (*alter)(const kvl_press_node *self, const kvl_head_view *view, kvl_cache *cache,
                  const kvl_choice *choice, float *scratch);
    /* Whether that turns the keys of all heads to their places. A policy then continues at the length of
     * layer 0, and calls it in every layer that it does not skip, so that all keys before a compression stand
     * where they are. NULL: it does not. */
    bool (*moves_keys)(const kvl_press_node *self);

    /* Of presses that take channels from keys (kvl_cache_thin), after the others are gone and once for each
     * head: how many, and what each channel of the view's entries is worth, scores [D]; of equal ones the
     * lower goes first. A press anywhere in a tree does so. NULL: it does not. */
    kvl_thinning (*thin)(const kvl_press_node *self, const kvl_shape *shape);
    void (*score_channels)(const kvl_press_node *self, const kvl_head_view *view, float *scores,
                           float *scratch);
};

KVL_API_BEGIN

/* All presses, in the order of the list; those of plug-ins (plugin.h) behind them. */
const kvl_press *const *kvl_presses(size_t *n);
/* By name [n_name]; of a plug-in also as NAME@HASH, which must then be its hash. E_USAGE with the nearest
 * names when unknown. */
kvl_status kvl_press_find(const kvl_press **out, const char *name, size_t n_name, kvl_err *err) KVL_MUST_USE;

/* The steps of a press or of the one that does it for it. */
kvl_needs kvl_press_needs(const kvl_press_node *node, const kvl_shape *shape);
size_t kvl_press_scratch_floats(const kvl_press_node *node, const kvl_shape *shape, size_t n);
void kvl_press_score_layer(const kvl_press_node *node, const kvl_layer_view *view, float *const *scores,
                           float *scratch);
size_t kvl_press_budget(const kvl_press_node *node, const kvl_shape *shape, uint32_t layer, size_t n,
                        size_t target);
/* Entries that part number `index` of a sequence leaves of n, when the policy's budget says `target` for what
 * all leave in the end. */
size_t kvl_press_part_target(const kvl_press_node *node, unsigned index, const kvl_shape *shape,
                             uint32_t layer, size_t n, size_t target);
bool kvl_press_spares(const kvl_press_node *node, const kvl_shape *shape, uint32_t layer, uint32_t head);
kvl_status kvl_press_select(const kvl_press_node *node, const kvl_layer_view *view, float *const *scores,
                            kvl_choice *choices, const kvl_protections *protections, float *floats,
                            void *scratch, kvl_err *err) KVL_MUST_USE;
void kvl_press_alter(const kvl_press_node *node, const kvl_head_view *view, kvl_cache *cache,
                     const kvl_choice *choice, float *scratch);
/* The sequence that stands for a press: itself, or one within wrappers that only have a schedule; NULL: none.
 */
const kvl_press_node *kvl_press_sequence(const kvl_press_node *node);
/* Whether a press evicts anything, and whether it changes what stays. */
bool kvl_press_evicts(const kvl_press_node *node);
bool kvl_press_alters(const kvl_press_node *node);
/* Whether a press of the tree moves keys. */
bool kvl_press_moves_keys(const kvl_press_node *node);
/* The first press of a tree that takes channels from keys; NULL: none. Those that stay of a head, ascending:
 * channels [n_channels]; scratch: scratch_floats of the tree. */
const kvl_press_node *kvl_press_thinner(const kvl_press_node *node);
void kvl_press_channels(const kvl_press_node *thinner, const kvl_head_view *view, uint16_t *channels,
                        size_t n_channels, float *scratch);
/* The first press from the outside that has a schedule; NULL: none. */
const kvl_press_node *kvl_press_scheduler(const kvl_press_node *node);
/* The press of a tree that looks again; NULL: none. */
const kvl_press_node *kvl_press_replayer(const kvl_press_node *node);
/* Whether any press of the tree does. */
bool kvl_press_looks_again(const kvl_press_node *node);
bool kvl_press_is_global(const kvl_press_node *node);
/* The press of a tree that scores. */
const kvl_press_node *kvl_press_scorer(const kvl_press_node *node);
/* Whether each head is scored and selected by itself: no function of the tree sees a layer. */
bool kvl_press_is_by_head(const kvl_press_node *node);
bool kvl_press_is_ragged(const kvl_press_node *node);
/* Whether how much stays does not depend on the policy's budget: the press is such a one, or its parts have
 * budgets of their own. */
bool kvl_press_is_outcome(const kvl_press_node *node);
/* Whether a press of the tree sets lengths: a larger budget of the policy may then leave less in some layer.
 */
bool kvl_press_has_budget(const kvl_press_node *node);

/* Every score becomes the mean over the heads that hold that position. */
void kvl_scores_mean_over_heads(const kvl_layer_view *view, float *const *scores);
/* Indices of n scores from the lowest to the highest: order [n]. Of equal ones the first comes first. */
void kvl_order_by_score(const float *scores, size_t n, uint32_t *order);
/* Gives entries of the first n_first and the last n_last tokens the largest score of the layer plus 1: how
 * several presses protect sinks and windows. */
void kvl_scores_protect(const kvl_layer_view *view, float *const *scores, size_t n_first, size_t n_last);

KVL_API_END

#endif
