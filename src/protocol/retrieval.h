/* Retrieval tests: is what stands in the context still found when the cache was compressed?
 *
 * A task hides facts in filler text, to length and depth that are exact in tokens, and asks for them. The
 * context is prefilled and compressed once; then the question is fed, without further compression, and an
 * answer is decoded greedily (presses with a schedule of their own go by that throughout). The compression
 * does not know the question, or it does (is_query_aware): then all of the prompt but its last token is
 * prefilled before. Every generated token is predicted through the compressed cache.
 *
 * Prompts run in lockstep with all policies, in waves that fit the memory (64 streams are enough); policies
 * share a prompt's prefill. What is generated does not depend on that: the bits are those of each alone.
 */
#ifndef KVL_PROTOCOL_RETRIEVAL_H
#define KVL_PROTOCOL_RETRIEVAL_H

#include "engine/engine.h"
#include "text/tokenizer.h"

/* ---- prompts ---- */

enum { KVL_RETRIEVAL_MAX_NEEDLES = 8, KVL_RETRIEVAL_ANSWER_BYTES = 16, KVL_RETRIEVAL_TEXT_BYTES = 320 };

/* The format of a conversation. Templates that come with a model are programs: none is ever run. */
typedef enum kvl_chat {
    KVL_CHAT_NONE,   /* plain text to be continued */
    KVL_CHAT_CHATML, /* <|im_start|>user ... <|im_end|>, for tokenizers that have these tokens */
    KVL_N_CHATS
} kvl_chat;
const char *kvl_chat_name(kvl_chat chat); /* "none", "chatml" */
/* The format that a tokenizer's tokens are for. */
kvl_chat kvl_chat_of(const kvl_tokenizer *tokenizer);

typedef enum kvl_filler {
    KVL_FILLER_NOISE, /* five short sentences again and again (Mohtashami & Jaggi 2023) */
    KVL_FILLER_BOOKS, /* sentences of data/pg19_10samples.json, from a drawn one on */
    KVL_N_FILLERS
} kvl_filler;
const char *kvl_filler_name(kvl_filler filler); /* "noise", "books" */

/* A sentence that is hidden, and where: in hundredths of a percent of the filler. */
typedef struct kvl_needle {
    char text[KVL_RETRIEVAL_TEXT_BYTES];
    unsigned place;
} kvl_needle;

/* The words of one prompt. */
typedef struct kvl_retrieval_words {
    char head[KVL_RETRIEVAL_TEXT_BYTES];           /* in front of the filler */
    kvl_needle needles[KVL_RETRIEVAL_MAX_NEEDLES]; /* the first stands at the depth asked for */
    size_t n_needles;
    char question[KVL_RETRIEVAL_TEXT_BYTES];
    char lead[KVL_RETRIEVAL_TEXT_BYTES]; /* how the answer begins */
    char answers[KVL_RETRIEVAL_MAX_NEEDLES][KVL_RETRIEVAL_ANSWER_BYTES];
    size_t n_answers;
} kvl_retrieval_words;

typedef struct kvl_retrieval_task kvl_retrieval_task;

/* Which prompt of a task. All draws are functions of these. */
typedef struct kvl_retrieval_point {
    const kvl_retrieval_task *task;
    size_t n_tokens; /* of the whole prompt: BOS, format, context, question and lead */
    unsigned depth;  /* percent of the filler's tokens before the (first) needle, 0 to 100 */
    size_t trial;
    uint64_t seed;
} kvl_retrieval_point;

struct kvl_retrieval_task {
    const char *name; /* stable for ever */
    const char *summary;
    const char *source; /* paper or code, and where this differs */
    kvl_filler filler;  /* unless asked otherwise */
    void (*write)(kvl_retrieval_words *out, const kvl_retrieval_point *point);
};

/* All tasks; *n of them. */
const kvl_retrieval_task *kvl_retrieval_tasks(size_t *n);
/* E_USAGE with the nearest name. */
kvl_status kvl_retrieval_find(const kvl_retrieval_task **out, const char *name, kvl_err *err) KVL_MUST_USE;

typedef struct kvl_retrieval_prompt {
    kvl_retrieval_point point;
    kvl_retrieval_words words;
    kvl_ids ids;                  /* [n_tokens] */
    size_t n_context;             /* tokens before the question */
    size_t needle_at, needle_end; /* tokens of the first needle */
    size_t n_filler;              /* tokens of filler, and those of them before the first needle */
    size_t n_filler_before;
    uint64_t hash; /* FNV-1a of the ids */
} kvl_retrieval_prompt;

/* Makes prompts: a tokenizer, a format, and filler in tokens. */
typedef struct kvl_prompt_maker kvl_prompt_maker;

/* The tokenizer is borrowed. Errors: E_USAGE for a format whose tokens it has not; E_IO where data_dir has no
 * books. */
kvl_status kvl_prompt_maker_create(kvl_prompt_maker **out, kvl_tokenizer *tokenizer, kvl_chat chat,
                                   kvl_filler filler, const char *data_dir, kvl_err *err) KVL_MUST_USE;
void kvl_prompt_maker_destroy(kvl_prompt_maker *m);
/* *out is the caller's: kvl_retrieval_prompt_free. E_USAGE for a length in which the task has no room for
 * filler, with the least that would do. */
kvl_status kvl_retrieval_make(kvl_retrieval_prompt *out, const kvl_prompt_maker *maker,
                              const kvl_retrieval_point *point, kvl_err *err) KVL_MUST_USE;
void kvl_retrieval_prompt_free(kvl_retrieval_prompt *p);

/* ---- scores ---- */

/* How many of a prompt's answers a text contains, letters of ASCII compared without case (RULER's
 * string_match_all). A trial is right when it is all of them. */
size_t kvl_retrieval_score(const kvl_retrieval_words *words, const char *text);

/* What can be said of a policy in one cell (task, length, depth) of n trials. */
typedef enum kvl_retrieval_verdict {
    KVL_RETRIEVAL_RATE,            /* its rate */
    KVL_RETRIEVAL_FULL_FAILS,      /* nothing: the model fails with the full cache */
    KVL_RETRIEVAL_NOTHING_EVICTED, /* nothing: in no trial did it evict anything */
} kvl_retrieval_verdict;
const char *kvl_retrieval_verdict_text(kvl_retrieval_verdict v);
/* The full cache passes a cell when it is right in at least 80 % of the trials. */
bool kvl_retrieval_full_passes(size_t n_right, size_t n);
kvl_retrieval_verdict kvl_retrieval_judge(size_t n_right_full, size_t n, size_t n_events);

/* ---- runs ---- */

typedef struct kvl_retrieval_result {
    int32_t *ids; /* [n_ids] generated, without the token that ended it */
    size_t n_ids;
    bool has_ended; /* by such a token, before the limit */
    char *text;     /* of the ids, as far as it is text */
    size_t n_found; /* answers in it */
    bool is_right;
    /* when the question, or in query-aware runs its last token, was yet to be fed */
    size_t n_events;
    size_t kept_min, kept_max; /* entries of a head, in layers that the policy does not skip */
    double kept_mean;
    uint64_t kv_bytes; /* live */
} kvl_retrieval_result;

typedef struct kvl_retrieval_config {
    const kvl_tokenizer *tokenizer; /* for texts; its EOS and <|im_end|> end an answer */
    const kvl_retrieval_prompt *prompts;
    size_t n_prompts;
    const kvl_policy *policies; /* [n_policies], without the full cache */
    size_t n_policies;
    bool is_query_aware;   /* the question is compressed with the context */
    size_t max_new;        /* tokens of an answer, >= 1 */
    uint64_t memory_bytes; /* for weights, caches and scratch; 0: no limit */
    /* After every pass: rows done and to do at most; false stops with E_INTERRUPTED. May be NULL. */
    bool (*progress)(void *ud, size_t rows_done, size_t rows_total);
    void *progress_ud;
} kvl_retrieval_config;

/* Fills out [n_policies + 1, n_prompts], the full cache first; free with kvl_retrieval_free, also after an
 * error. Errors: E_NOMEM, also where memory_bytes does not suffice for one prompt (names what is needed),
 * E_USAGE for a budget of bytes that is too small, E_INTERRUPTED, those of the engine. */
kvl_status kvl_retrieval_run(kvl_retrieval_result *out, kvl_engine *engine,
                             const kvl_retrieval_config *config, kvl_err *err) KVL_MUST_USE;
void kvl_retrieval_free(kvl_retrieval_result *results, size_t n);

#endif
