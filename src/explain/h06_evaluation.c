/* H6: the published analysis and the paper differ only in how perplexity is computed. */
#include "explain/arms.h"

#include <math.h>

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.5"), false},
    {0},
};

/* The published aggregate is a mean of perplexities, in which the worst texts weigh most. */
static kvl_sums of_perplexities(const kvl_evidence *ev, const char *policy, const char *best) {
    kvl_sums s = kvl_contrast(ev, KVL_STUDY_STEP, policy, NULL, kvl_step_nll, KVL_ALL_STEPS);
    const kvl_sums b = kvl_contrast(ev, KVL_STUDY_STEP, best, NULL, kvl_step_nll, KVL_ALL_STEPS);
    for (size_t t = 0; t < s.n && !s.is_missing; t++) {
        s.num[t] = exp(s.num[t] / s.den[t]) - exp(b.num[t] / b.den[t]);
        s.den[t] = exp(b.num[t] / b.den[t]);
    }
    return s;
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double negligible = 0.01;
    const char *best = kvli_best(ev);
    const kvl_sums spike = kvli_spike(ev);
    kvl_find(out, kvl_sums_mean(ev, &spike, negligible), "nats/token", KVL_BELOW, negligible, true,
             "the spike in pooled NLL of matched tokens that read a compressed cache");
    if (best != NULL) {
        const kvl_sums mean = of_perplexities(ev, KVLI_LIGHT, best);
        kvl_find(out, kvl_sums_mean(ev, &mean, 0), "share of the best PPL", KVL_NO_SIDE, 0, false,
                 "the spike in the mean of perplexities, same tokens");
    }
    kvl_find_nll(out, ev, KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), KVLI_ONCE("knorm", "0.5"), KVL_NO_SIDE,
                 0, false, "compressed once instead of step by step: 0.95 above 0.5");
}

extern const kvl_hypothesis kvl_hypothesis_evaluation;
const kvl_hypothesis kvl_hypothesis_evaluation = {
    .id = "H6",
    .name = "evaluation method",
    .claim = "the published analysis and the paper differ only by how perplexity is computed",
    .prediction = "on matched tokens, pooled, the spike is gone (under 0.01 nats)",
    .experiment = "all aggregates from the NLLs of the same tokens",
    .arms = arms,
    .judge = judge,
};
