/* H3: removing a quarter denoises: an optimum at keep 0.75. */
#include "explain/arms.h"

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.75"), false},
    {0},
};

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double negligible = 0.01;
    const char *best = kvli_best(ev);
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_STEP("knorm", "0.6"), KVLI_STEP("knorm", "0.75"), KVL_ABOVE,
                 negligible, true, "keep 0.6 above keep 0.75");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_STEP("knorm", "0.5"), KVLI_STEP("knorm", "0.75"), KVL_ABOVE,
                 negligible, true, "keep 0.5 above keep 0.75");
    kvl_find_nll(out, ev, KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.75"), KVLI_ONCE("knorm", "0.95"), KVL_BELOW,
                 0, true, "removing the quarter of highest norms once, above removing a twentieth");
    if (best != NULL) {
        const kvl_sums s =
            kvl_contrast(ev, KVL_STUDY_STEP, KVLI_STEP("knorm", "0.75"), best, kvl_step_nll, KVL_ALL_STEPS);
        kvl_find(out, kvl_sums_mean(ev, &s, 0), "nats/token", KVL_NO_SIDE, 0, false,
                 "keep 0.75 above the best of the curve here, %s", best);
    }
}

extern const kvl_hypothesis kvl_hypothesis_optimum;
const kvl_hypothesis kvl_hypothesis_optimum = {
    .id = "H3",
    .name = "denoising, optimum at 0.75",
    .claim = "evicting about a quarter removes noise: keep 0.75 is the best setting",
    .prediction = "keep 0.75 is better than 0.6 and 0.5 by more than 0.01 nats, and removing the quarter of "
                  "highest norms once is better than removing a twentieth",
    .experiment = "the curve at 11 keep ratios on the same tokens; the same evicted once",
    .arms = arms,
    .judge = judge,
};
