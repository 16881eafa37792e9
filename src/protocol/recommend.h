/* A compression setting for a deployment: search, confirmation, time and memory. Nothing is printed.
 *
 * A setting is a policy and the types in which the cache is stored. The protocol is what deployments do: a
 * prompt is prefilled with the full cache, compressed once, and what follows is scored against the full cache
 * in the first form, on the same tokens.
 *
 *   1 coarse       every press at up to three budgets, on every second window to tune on
 *   2 budgets      presses that were among the best two at a budget, at every budget, on all these windows
 *   3 protections  the best of each budget with first and newest tokens protected
 *   4 forms        the best of each budget's two best presses, and the full cache, in the other forms
 *   5 confirm      finalists of the front of loss and bytes, on windows of other texts
 *   6 time         finalists and the full cache (twice) take turns (timing.h)
 *
 * Only 5 and 6 make statements. Stages 1 to 4 rank by means on windows that all settings of a stage share.
 */
#ifndef KVL_PROTOCOL_RECOMMEND_H
#define KVL_PROTOCOL_RECOMMEND_H

#include "engine/engine.h"
#include "protocol/cut.h"
#include "protocol/timing.h"
#include "stats/choice.h"

enum { KVL_RECOMMEND_SEED = 1 }; /* of the resamples that intervals are from */
enum { KVL_RECOMMEND_STAGES = 6, KVL_MAX_FORMS = 4, KVL_MAX_FINALISTS = 12 };

/* How a cache is stored. */
typedef struct kvl_form {
    kvl_kv_type key_type, value_type;
} kvl_form;

/* A setting, and what the search found. */
typedef struct kvl_trial {
    kvl_policy policy;
    size_t policy_id; /* index of the first trial with this policy */
    size_t form;      /* index into the config's */
    double loss;      /* nats per token above the full cache in form 0 */
    uint64_t bytes;   /* of keys and values at the end of a window, at most over windows */
    bool is_fixed;    /* its budget is its own: it is tried at that alone */
    bool is_whole;    /* on all windows to tune on; only such are ranked against each other for the finals */
} kvl_trial;

typedef struct kvl_finalist {
    size_t trial; /* index */
    kvl_claim claim;
    double smallest;        /* difference that the clusters find with 80 % power; NAN: a single one */
    unsigned lacks;         /* of the wish: bits as in choice.h */
    bool is_behind;         /* another one is as good in loss, bytes, TTFT and TPOT, and better in one */
    double compress_ns;     /* median, part of TTFT */
    uint64_t kv_bytes_live; /* right after compression */
    uint64_t kv_bytes_peak; /* allocated for keys and values until then, at most: the whole prompt's first */
    uint64_t peak_rss_bytes;
} kvl_finalist;

typedef struct kvl_recommend_progress {
    size_t stage;                 /* from 0 */
    size_t rows_done, rows_total; /* of the stage; both 0 while times are measured */
} kvl_recommend_progress;

typedef struct kvl_recommend_config {
    const kvl_cuts *tune, *test; /* windows of n_prompt + n_new + 1 tokens; of different texts */
    size_t n_prompt, n_new;
    const kvl_policy *policies; /* [n_policies] to search; those without a budget at every ratio */
    size_t n_policies;
    const double *ratios; /* [n_ratios] falling */
    size_t n_ratios;
    kvl_form forms[KVL_MAX_FORMS]; /* the first is what the full cache is stored in now */
    size_t n_forms;
    kvl_wish wish;
    size_t n_finalists;         /* at most KVL_MAX_FINALISTS */
    size_t n_repetitions;       /* of times, >= 1 */
    size_t n_timed;             /* tokens decoded when times are measured */
    uint64_t memory_bytes;      /* limit of a sweep; 0: none */
    const kvl_prompts *prompts; /* for presses that have a model repeat its text; or NULL */
    kvl_engine_options options; /* threads and instruction set */
    /* Called now and then; returning false stops with E_INTERRUPTED. May be NULL. */
    bool (*progress)(void *ud, const kvl_recommend_progress *progress);
    void *progress_ud;
} kvl_recommend_config;

typedef struct kvl_recommend {
    kvl_trial *trials; /* [n_trials] every setting that was tried, once */
    size_t n_trials;
    kvl_finalist finalists[KVL_MAX_FINALISTS]; /* [n_finalists] by rising bytes */
    size_t n_finalists;
    kvl_finalist full;               /* the full cache in form 0; its loss is 0 */
    kvl_median same_ttft, same_tpot; /* ratios of the full cache to itself: what this machine can tell */
    kvl_timing_sample *times;        /* [n_finalists + 2, repetitions] all that was measured: the full cache,
                                      * the same once more, the finalists */
    double full_nll;                 /* nats per token on the windows to test on */
    size_t n_clusters; /* that intervals take for independent: texts, or windows if texts are few */
    bool is_by_window;
    size_t answer;   /* index into finalists; n_finalists: none qualifies */
    size_t nearest;  /* the finalist that misses by least; n_finalists: there is none */
    size_t missed;   /* where no finalist evicts, the evicting trial that came nearest to the limits of loss
                      * and bytes on the texts to choose on; n_trials: one does, or none was tried */
    const char *isa; /* of the engines, and their threads */
    unsigned n_threads;
    size_t rows; /* tokens through the model, times left out */
    uint64_t wall_ns[KVL_RECOMMEND_STAGES];
} kvl_recommend;

/* Runs it on views of the model, whose shape's types are not used. Results are owned by *out: free with
 * kvl_recommend_free. Errors: E_TEXT without windows, E_USAGE where nothing is to be searched or where the
 * first form cannot be stored (later ones are to be checked before), those of sweeps and timing. */
kvl_status kvl_recommend_run(kvl_recommend *out, const kvl_model *model, const kvl_recommend_config *config,
                             kvl_err *err) KVL_MUST_USE;
void kvl_recommend_free(kvl_recommend *r);

/* Budgets that stage 1 tries, of n falling ones: indices [3]; returns how many. */
size_t kvl_coarse_budgets(size_t indices[3], size_t n);

#endif
