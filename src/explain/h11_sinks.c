/* H11: low-norm selection keeps the first tokens, keeping the newest does not. */
#include "explain/arms.h"

#define NORM KVLI_STEP("knorm", "0.5")
#define NEWEST KVLI_STEP("recency", "0.5")
#define WITH_SINKS(policy) policy ":sinks=4"

static const kvl_arm_spec arms[] = {
    {KVL_STUDY_STEP, NORM, false},
    {KVL_STUDY_STEP, NEWEST, false},
    {KVL_STUDY_STEP, WITH_SINKS(NORM), false},
    {KVL_STUDY_STEP, WITH_SINKS(NEWEST), false},
    {0},
};

/* Heads whose kept set holds position 0 at the end of a text. */
static kvl_sums first_token(const kvl_evidence *ev, const char *policy) {
    const kvl_arm *arm = kvl_evidence_find(ev, KVL_STUDY_STEP, policy);
    kvl_sums s = {.study = KVL_STUDY_STEP, .n = ev->studies[KVL_STUDY_STEP].n_texts};
    s.is_missing = arm == NULL;
    for (size_t t = 0; t < s.n && arm != NULL; t++) {
        s.num[t] = arm->texts[t].first_token;
        s.den[t] = 1;
    }
    return s;
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double half = 0.5;
    const kvl_sums kept = first_token(ev, NORM);
    const kvl_sums newest =
        kvl_contrast(ev, KVL_STUDY_STEP, NEWEST, WITH_SINKS(NEWEST), kvl_step_nll, KVL_ALL_STEPS);
    const kvl_sums norm =
        kvl_contrast(ev, KVL_STUDY_STEP, NORM, WITH_SINKS(NORM), kvl_step_nll, KVL_ALL_STEPS);
    kvl_find(out, kvl_sums_mean(ev, &kept, half), "share of heads", KVL_ABOVE, half, true,
             "KnormPress at 0.5 still holds the first token at the end of a text");
    kvl_find(out, kvl_sums_mean(ev, &newest, 0), "nats/token", KVL_NO_SIDE, 0, false,
             "what 4 forced sinks gain when the newest are kept");
    kvl_find(out, kvl_sums_mean(ev, &norm, 0), "nats/token", KVL_NO_SIDE, 0, false,
             "what 4 forced sinks gain under KnormPress");
    kvl_find(out, kvl_sums_difference(ev, &newest, &norm, 1, 0), "nats/token", KVL_ABOVE, 0, true,
             "the first gain above the second");
}

extern const kvl_hypothesis kvl_hypothesis_sinks;
const kvl_hypothesis kvl_hypothesis_sinks = {
    .id = "H11",
    .name = "attention sinks",
    .claim = "low-norm selection keeps the first tokens by itself; keeping the newest loses them",
    .prediction =
        "most heads hold position 0 under KnormPress, and forcing 4 sinks gains more when the newest "
        "are kept than under KnormPress",
    .experiment = "keep 0.5 with and without four forced sinks, both rankings",
    .arms = arms,
    .judge = judge,
};
