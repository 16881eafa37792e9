/* H2: light compression makes wrong predictions confident, heavy compression makes them cautious. */
#include "explain/arms.h"

#define HEAVY KVLI_STEP("knorm", "0.3")
#define HALF KVLI_STEP("knorm", "0.5")
#define STATIC_LIGHT KVLI_STEP("random", "0.95")
#define STATIC_HALF KVLI_STEP("random", "0.5")

static const kvl_arm_spec arms[] = {
    {KVL_STUDY_STEP, KVLI_LIGHT, true},   {KVL_STUDY_STEP, HALF, false},
    {KVL_STUDY_STEP, HEAVY, false},       {KVL_STUDY_STEP, STATIC_LIGHT, false},
    {KVL_STUDY_STEP, STATIC_HALF, false}, {0},
};

/* How far the NLL lies above what the model itself expects: 0 for a calibrated one. */
static double surprise(const kvl_step *s) { return s->nll - (double)s->entropy; }

static double overconfidence(const kvl_step *s) { return (double)s->p_top - (s->is_hit ? 1 : 0); }

static kvl_estimate change(const kvl_evidence *ev, const char *a, const char *b, kvl_step_value *value) {
    const kvl_sums s = kvl_contrast(ev, KVL_STUDY_STEP, a, b, value, KVL_ALL_STEPS);
    return kvl_sums_mean(ev, &s, 0);
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double half = 0.5; /* "absent" where less than half of it is left */
    kvl_find(out, change(ev, KVLI_LIGHT, HALF, surprise), "nats/token", KVL_ABOVE, 0, true,
             "(a) NLL minus entropy, 0.95 above 0.5");
    kvl_find(out, change(ev, KVLI_LIGHT, HALF, overconfidence), "probability", KVL_ABOVE, 0, false,
             "(a) top-1 confidence minus accuracy, 0.95 above 0.5");
    kvl_find(out, change(ev, HEAVY, KVLI_LIGHT, kvl_step_entropy), "nats/token", KVL_ABOVE, 0, true,
             "(b) predictive entropy, 0.3 above 0.95");
    kvl_find(out, change(ev, KVLI_LIGHT, HEAVY, kvl_step_p_top), "probability", KVL_ABOVE, 0, false,
             "(b) top-1 confidence, 0.95 above 0.3");
    const kvl_sums by_norm = kvl_contrast(ev, KVL_STUDY_STEP, KVLI_LIGHT, HALF, surprise, KVL_ALL_STEPS);
    const kvl_sums by_chance =
        kvl_contrast(ev, KVL_STUDY_STEP, STATIC_LIGHT, STATIC_HALF, surprise, KVL_ALL_STEPS);
    kvl_find(out, kvl_sums_share(ev, &by_chance, &by_norm, half), "share", KVL_BELOW, half, true,
             "(c) that gap under priorities drawn once at random, as a share of the gap under norms");
}

extern const kvl_hypothesis kvl_hypothesis_conflict;
const kvl_hypothesis kvl_hypothesis_conflict = {
    .id = "H2",
    .name = "conflict beats insufficiency",
    .claim =
        "a cache with few keys missing gives confident wrong predictions, one with many missing cautious "
        "ones: conflicting information is worse than missing information",
    .prediction = "(a) worse calibration at 0.95 than at 0.5, (b) more entropy at 0.3 than at 0.95, (c) not "
                  "under priorities drawn once at random",
    .experiment = "entropy, top-1 confidence and accuracy beside the NLL of every step, KnormPress and "
                  "random(static)",
    .arms = arms,
    .judge = judge,
};
