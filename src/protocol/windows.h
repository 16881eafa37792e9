/* Protocols: how texts become windows, and which of a window's tokens are scored.
 *
 * A window is a sample of its own: some tokens of a text that a stream sees from its first position on. What
 * stands in front of its first scored token but the last is its prefill: nothing is scored there, policies
 * look at the stream behind it, then after each step, as their schedules say; so every scored token is
 * predicted by a query that reads the compressed cache. windows.c holds the list; a protocol is one function
 * and one line.
 *
 * `stream`, the first of the list, cuts nothing: its samples are the texts, its numbers those of
 * kvl_protocol.
 */
#ifndef KVL_PROTOCOL_WINDOWS_H
#define KVL_PROTOCOL_WINDOWS_H

#include "base/str.h"
#include "protocol/samples.h"

/* The numbers of a cut, in tokens; 0: not given, or the protocol has none. */
typedef struct kvl_window_rule {
    size_t window;  /* at most in the model's context: what stands in front of the text included */
    size_t stride;  /* from the beginning of a window to that of the next */
    size_t prefill; /* in front of the first look */
    size_t score;   /* scored in a window at most */
} kvl_window_rule;

/* A window of a list of n tokens, the one in front of the text included. */
typedef struct kvl_window {
    size_t begin, end;
    size_t first_scored; /* the step, from the beginning of the window: it predicts the first scored token */
} kvl_window;

typedef struct kvl_window_list {
    kvl_window *items; /* [n]; free with kvl_free */
    size_t n;
} kvl_window_list;

/* Where a BOS stands, if there is one. */
typedef enum kvl_head {
    KVL_HEAD_TEXT,   /* in front of the text: only windows at its beginning have it */
    KVL_HEAD_WINDOW, /* at the beginning of every window */
    KVL_HEAD_PREFIX, /* in front of the text, also where the tokenizer puts none there: BOS, or else EOS */
} kvl_head;

typedef enum kvl_bos { KVL_BOS_MODEL, KVL_BOS_ALWAYS, KVL_BOS_NEVER } kvl_bos;

/* Appends the windows of n tokens to *out; none where they are too few. */
typedef kvl_status kvl_window_cut(kvl_window_list *out, const kvl_window_rule *rule, size_t n, kvl_err *err);

typedef struct kvl_window_protocol {
    const char *name;
    const char *summary;
    const char *scored;   /* which tokens of a window are, in words; NULL: the same positions of each */
    kvl_window_rule most; /* its own numbers: those that are not 0 can be set; KVL_WINDOW_CONTEXT: the model's
                           * context */
    bool is_whole_stride; /* where no stride is given it is the window, not what is scored */
    bool is_once;         /* policies act once, behind the prefill, whatever their schedules say */
    kvl_head head;
    kvl_window_cut *cut; /* NULL: texts are not cut */
} kvl_window_protocol;

#define KVL_WINDOW_CONTEXT SIZE_MAX

/* All protocols; *n of them. */
const kvl_window_protocol *kvl_window_protocols(size_t *n);
/* NULL when there is none of this name. */
const kvl_window_protocol *kvl_window_protocol_find(const char *name);
const char *kvl_bos_name(kvl_bos bos); /* "model", "always", "never" */

/* Completes the numbers in *rule that were given (the others are 0) by those of the protocol; what these
 * exceed the model's context by is cut, which is told in *note. E_USAGE for a given number that the protocol
 * does not have, or that does not fit. */
kvl_status kvl_window_rule_fit(kvl_window_rule *rule, const kvl_window_protocol *p, size_t n_context,
                               kvl_str *note, kvl_err *err) KVL_MUST_USE;
/* Puts the token in front of every text that the protocol and `bos` ask for, or takes away what is there; one
 * that is there is not put twice. MODEL: as the tokenizer says (and the protocol's prefix). ALWAYS: BOS, or
 * EOS where the tokenizer has no BOS; E_UNSUPPORTED when it has neither. */
kvl_status kvl_texts_set_head(kvl_samples *texts, const kvl_window_protocol *p, kvl_bos bos,
                              const kvl_tokenizer *tokenizer, kvl_err *err) KVL_MUST_USE;
/* Cuts the first max_tokens tokens (0: all) of every text into windows, in the order of the texts. A text of
 * too few tokens has none; E_TEXT when no text has any. *out is the caller's (kvl_samples_free), also after
 * an error; texts must be as kvl_texts_set_head left them. */
kvl_status kvl_windows_cut(kvl_samples *out, const kvl_samples *texts, const kvl_window_protocol *p,
                           const kvl_window_rule *rule, size_t max_tokens, kvl_err *err) KVL_MUST_USE;

#endif
