/* Hypotheses: what is claimed, what would be seen if it were true, and the rule by which it is judged.
 *
 * A judge turns evidence into findings. A finding is one effect with its interval and the side on which it
 * was predicted to lie: as predicted when the whole interval is there, against when the whole interval is on
 * the other side, undecided otherwise. All findings of a run are one family: their p values are adjusted by
 * Holm's method, and a finding whose adjusted p is not below 0.05 is undecided. The verdict rests on the
 * deciding findings: refuted when one is against, supported when all are as predicted, otherwise "cannot
 * tell here".
 *
 * Adding one: a file h<nn>_<name>.c and a line in hypotheses.def.
 */
#ifndef KVL_EXPLAIN_HYPOTHESIS_H
#define KVL_EXPLAIN_HYPOTHESIS_H

#include "explain/evidence.h"

typedef enum kvl_outcome { KVL_OUTCOME_UNDECIDED, KVL_OUTCOME_PREDICTED, KVL_OUTCOME_AGAINST } kvl_outcome;
typedef enum kvl_conclusion { KVL_CANNOT_TELL, KVL_SUPPORTED, KVL_REFUTED } kvl_conclusion;
const char *kvl_outcome_name(kvl_outcome o);       /* "as predicted", "against", "undecided" */
const char *kvl_conclusion_name(kvl_conclusion v); /* "supported", "refuted", "cannot tell here" */

enum { KVL_MAX_FINDINGS = 24, KVL_FINDING_TEXT = 200 };

typedef enum kvl_side { KVL_ABOVE, KVL_BELOW, KVL_NO_SIDE } kvl_side;

typedef struct kvl_finding {
    char what[KVL_FINDING_TEXT];
    const char *unit; /* "nats/token", "share" ... */
    kvl_estimate effect;
    kvl_side side; /* on which side of the threshold the hypothesis predicts it; NO_SIDE: for information */
    double threshold; /* also the null of the p value */
    double p_adjusted;
    kvl_outcome outcome;
    bool is_deciding;
    bool is_missing; /* its arms were not run here */
} kvl_finding;

typedef struct kvl_judgement {
    kvl_finding findings[KVL_MAX_FINDINGS];
    size_t n;
    kvl_conclusion verdict;
    char why[2 * KVL_FINDING_TEXT]; /* what the verdict rests on, or why there is none; may be empty */
} kvl_judgement;

/* An arm that a hypothesis needs; lists end with a policy NULL. */
typedef struct kvl_arm_spec {
    kvl_study_id study;
    const char *policy;
    bool is_ranked; /* the norms of what it evicts are wanted */
} kvl_arm_spec;

typedef struct kvl_hypothesis {
    const char *id;    /* "H1" */
    const char *name;  /* "critical mid-norm tokens" */
    const char *claim; /* one sentence */
    const char *prediction;
    const char *experiment;
    const kvl_arm_spec *arms; /* besides "none" */
    bool wants_norms;         /* kvl_evidence.norms */
    bool wants_times;         /* kvl_evidence.times */
    void (*judge)(const kvl_evidence *ev, kvl_judgement *out);
    /* Replaces the rule of this file where a hypothesis needs another; NULL: it does not. */
    kvl_conclusion (*conclude)(const kvl_evidence *ev, kvl_judgement *j);
} kvl_hypothesis;

/* All of them in order; *n of them. */
const kvl_hypothesis *const *kvl_hypotheses(size_t *n);
/* By id, upper or lower case; NULL when there is none. */
const kvl_hypothesis *kvl_hypothesis_find(const char *id);

/* Judges the given hypotheses together, one family; each at most once. out [n]. */
void kvl_judge(kvl_judgement *out, const kvl_evidence *ev, const kvl_hypothesis *const *list, size_t n);

/* ---- for judges ---- */

/* The value of a step that is averaged. */
typedef double kvl_step_value(const kvl_step *step);
double kvl_step_nll(const kvl_step *step);
double kvl_step_entropy(const kvl_step *step);
double kvl_step_p_top(const kvl_step *step);

/* Per text: a sum over steps and their number. */
typedef struct kvl_sums {
    double num[KVL_MAX_TEXTS];
    double den[KVL_MAX_TEXTS];
    size_t n;        /* texts */
    bool is_missing; /* an arm was not run */
    kvl_study_id study;
} kvl_sums;

/* Which steps count: from .. end of those affected, in a phase or in any. */
typedef struct kvl_range {
    double from, end;               /* as shares of a text's affected steps: 0, 1 for all */
    uint32_t phase_from, phase_end; /* steps since the last compression; 0, 0 for any */
} kvl_range;
#define KVL_ALL_STEPS ((kvl_range){0, 1, 0, 0})

/* Sums of value(a) - value(b) over the affected steps in a range; b NULL: value(a) alone. Phases are those of
 * a. */
kvl_sums kvl_contrast(const kvl_evidence *ev, kvl_study_id study, const char *a, const char *b,
                      kvl_step_value *value, kvl_range range);
/* a - b, text by text: a difference of differences. Both are of one study and the same steps, or of steps of
 * the same texts: then their means are subtracted, each weighing as many steps as it has. */
kvl_estimate kvl_sums_mean(const kvl_evidence *ev, const kvl_sums *s, double null);
/* mean(a) - scale * mean(b), with the texts resampled together. */
kvl_estimate kvl_sums_difference(const kvl_evidence *ev, const kvl_sums *a, const kvl_sums *b, double scale,
                                 double null);
/* sum a / sum b: a share of an effect. */
kvl_estimate kvl_sums_share(const kvl_evidence *ev, const kvl_sums *a, const kvl_sums *b, double null);

/* The policy of lowest mean NLL among n of a study; policies that were not run are passed over. NULL: none
 * was. */
const char *kvl_best_of(const kvl_evidence *ev, kvl_study_id study, const char *const *policies, size_t n);

/* Adds a finding. `what` by printf. */
kvl_finding *kvl_find(kvl_judgement *out, kvl_estimate effect, const char *unit, kvl_side side,
                      double threshold, bool is_deciding, const char *what, ...) KVL_PRINTF(7, 8);
/* NLL of a above b on affected steps, nats per token; missing where an arm was not run. */
kvl_finding *kvl_find_nll(kvl_judgement *out, const kvl_evidence *ev, kvl_study_id study, const char *a,
                          const char *b, kvl_side side, double threshold, bool is_deciding, const char *what);
/* An estimate that is not there: its arms were not run. */
kvl_estimate kvl_no_estimate(void);

#endif
