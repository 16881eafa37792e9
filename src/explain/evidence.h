/* Evidence: what arms of an experiment did, text by text and step by step.
 *
 * An arm is one policy on all texts of a study. A study is one protocol; all its arms score the same tokens
 * of the same texts, so that any two can be compared token by token. Judges of hypotheses read evidence only:
 * where it comes from, a model or a simulation in which the truth is known, is the same to them.
 */
#ifndef KVL_EXPLAIN_EVIDENCE_H
#define KVL_EXPLAIN_EVIDENCE_H

#include "base/status.h"
#include "stats/resample.h"

/* The protocols of the experiments. */
typedef enum kvl_study_id {
    KVL_STUDY_STEP,   /* token by token, a cap of 32 entries: the published loop against a matched baseline */
    KVL_STUDY_ONCE,   /* a context compressed once, the tokens behind it scored */
    KVL_STUDY_CAP_16, /* as the first with other caps, on texts of three or four caps */
    KVL_STUDY_CAP_64,
    KVL_STUDY_CAP_128,
    KVL_STUDY_CAP_256,
    KVL_STUDY_CAP_512,
    KVL_STUDY_CAP_1024,
    KVL_N_STUDIES
} kvl_study_id;

enum {
    KVL_MAX_TEXTS = 512,
    KVL_EVIDENCE_LAGS = 64, /* lags whose visibility is known: 1 .. 64 */
    KVL_STEP_LAGS = 4,      /* and at every step */
};

/* One scored step of an arm on a text. Only of the step-by-step study with a cap of 32 is more known than the
 * NLL. */
typedef struct kvl_step {
    double nll;               /* nats */
    float entropy, p_top;     /* of the prediction */
    float lag[KVL_STEP_LAGS]; /* share of compressed heads that see the token at lag 1, 2 ... */
    float n_visible;          /* entries seen, its own included, mean over compressed heads */
    float evicted_rank;       /* norm rank (0 lowest, 1 highest) among all keys so far of what the last
                               * compression evicted, mean; NAN where not asked for or nothing was evicted */
    uint32_t phase;           /* steps since the last compression; UINT32_MAX before the first */
    bool is_hit;              /* the most likely token was the right one */
} kvl_step;

/* One arm on one text. */
typedef struct kvl_account {
    kvl_step *steps; /* [n] */
    size_t n;
    size_t first;                              /* step of steps[0]: tokens before it in the text */
    double lag_visible[KVL_EVIDENCE_LAGS + 1]; /* [j]: mean over steps of at least j tokens before them */
    double first_token;                        /* share of compressed heads that hold position 0 at the end */
} kvl_account;

typedef struct kvl_arm {
    kvl_study_id study;
    const char *policy; /* as its hypothesis writes it; "none": the full cache */
    kvl_account *texts; /* [n_texts of the study] */
} kvl_arm;

typedef struct kvl_study_facts {
    size_t n_texts;        /* 0: not run */
    size_t first_affected; /* first step that can read a compressed cache */
    size_t n_tokens;       /* of a text at most */
    kvl_resamples *resamples;
} kvl_study_facts;

/* Of the full cache, one for each text and layer: how norms go with attention. */
typedef struct kvl_norm_facts {
    size_t n_texts, n_layers;
    double *correlation; /* [n_texts, n_layers] Spearman of key norm and mean attention received, mean of
                          * heads */
    double *lost_norm;   /* [n_texts, n_layers] attention lost by evicting the half of highest norms */
    double *lost_best;   /* ... the half that received least */
    double *lost_random; /* ... half of all, on average: the attention of all entries, halved */
    size_t n_skipped;    /* layers that the experiments leave alone: the first so many */
} kvl_norm_facts;

/* Prefills of one prompt, in turns. */
typedef struct kvl_time_facts {
    size_t n_rounds; /* 0: not measured */
    size_t n_prompt;
    double *full_ns;                             /* [n_rounds] without a policy */
    double *compressed_ns;                       /* [n_rounds] with one, its compression included */
    kvl_resamples *resamples;                    /* of rounds */
    double decode_full_ns, decode_compressed_ns; /* medians of a token */
} kvl_time_facts;

typedef struct kvl_model_facts {
    const char *name;
    uint64_t n_params;
    size_t n_layers, n_heads; /* KV heads */
    bool is_rotary;
    bool has_learned_positions;
} kvl_model_facts;

typedef struct kvl_evidence {
    kvl_model_facts model;
    kvl_study_facts studies[KVL_N_STUDIES];
    kvl_arm *arms; /* [n_arms] */
    size_t n_arms;
    kvl_norm_facts norms;
    kvl_time_facts times;
} kvl_evidence;

const char *kvl_study_name(kvl_study_id id);
/* Entries at which a study's policies act; 0: they act once. */
size_t kvl_study_cap(kvl_study_id id);

/* Begins a study of n_texts texts; resamples are drawn. */
kvl_status kvl_evidence_begin(kvl_evidence *ev, kvl_study_id study, size_t n_texts, size_t first_affected,
                              size_t n_resamples, uint64_t seed, kvl_err *err) KVL_MUST_USE;
/* Adds an arm without accounts to a study that has begun; its policy is borrowed. *out is borrowed until the
 * next arm is added. */
kvl_status kvl_evidence_add(kvl_arm **out, kvl_evidence *ev, kvl_study_id study, const char *policy,
                            kvl_err *err) KVL_MUST_USE;
/* Gives an arm n steps on a text, all zero but for ranks and phases that are not known. */
kvl_status kvl_account_create(kvl_account *out, size_t n, size_t first, kvl_err *err) KVL_MUST_USE;
/* NULL when the study has no such arm. */
const kvl_arm *kvl_evidence_find(const kvl_evidence *ev, kvl_study_id study, const char *policy);
void kvl_evidence_free(kvl_evidence *ev);

#endif
