/* H4: learned positions make the model fragile; rotary ones would be robust. */
#include "explain/arms.h"

#include <stdio.h>

#define ALL_LAYERS(press, keep, more) press ":keep=" keep ":cap=32:skip=none" more
#define TRUE_LIGHT ALL_LAYERS("knorm", "0.95", "")
#define TRUE_HALF ALL_LAYERS("knorm", "0.5", "")
#define MOVED_LIGHT ALL_LAYERS("knorm", "0.95", ":positions=cache-length")
#define MOVED_HALF ALL_LAYERS("knorm", "0.5", ":positions=cache-length")
#define REBASED_LIGHT ALL_LAYERS("key-rerotation(knorm)", "0.95", "")
#define REBASED_HALF ALL_LAYERS("key-rerotation(knorm)", "0.5", "")
#define BY_SCORE KVLI_STEP("knorm", "0.9") ":order=score"

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    {KVL_STUDY_STEP, TRUE_LIGHT, false},
    {KVL_STUDY_STEP, TRUE_HALF, false},
    {KVL_STUDY_STEP, MOVED_LIGHT, false},
    {KVL_STUDY_STEP, MOVED_HALF, false},
    {KVL_STUDY_STEP, REBASED_LIGHT, false},
    {KVL_STUDY_STEP, REBASED_HALF, false},
    {KVL_STUDY_STEP, BY_SCORE, false},
    {0},
};

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double small = 0.05;
    const kvl_sums spike = kvli_spike(ev);
    kvl_find(out, kvl_sums_mean(ev, &spike, small), "nats/token", KVL_BELOW, small, true,
             "the spike (0.95 above the best) with every key at its true position, %s positions",
             ev->model.is_rotary               ? "rotary"
             : ev->model.has_learned_positions ? "learned"
                                               : "no");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, MOVED_LIGHT, TRUE_LIGHT, KVL_NO_SIDE, 0, false,
                 "0.95, all layers: new tokens at the length of the cache, above their true positions");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, MOVED_HALF, TRUE_HALF, KVL_NO_SIDE, 0, false, "the same at 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, REBASED_LIGHT, TRUE_LIGHT, KVL_NO_SIDE, 0, false,
                 "0.95, all layers: keys rotated to their slots, above their true positions");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, REBASED_HALF, TRUE_HALF, KVL_NO_SIDE, 0, false, "the same at 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, TRUE_LIGHT, KVLI_LIGHT, KVL_NO_SIDE, 0, false,
                 "0.95: layer 0 compressed too, above layer 0 left alone");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, BY_SCORE, KVLI_STEP("knorm", "0.9"), KVL_NO_SIDE, 0, false,
                 "0.9: survivors stored by score, above stored by time (rounding only)");
}

/* Only a rotary model can refute it: the claim is about what rotary positions would do. */
static kvl_conclusion conclude(const kvl_evidence *ev, kvl_judgement *j) {
    const kvl_finding *spike = &j->findings[0];
    if (ev->model.is_rotary && spike->outcome == KVL_OUTCOME_AGAINST) {
        snprintf(j->why, sizeof j->why,
                 "the model is rotary, keys are at their true positions, and the spike "
                 "is there");
        return KVL_REFUTED;
    }
    snprintf(j->why, sizeof j->why, "%s",
             !ev->model.is_rotary ? "the model has no rotary positions: what they would change is not seen"
                                  : "rotary positions, but no clear spike or none at all: nothing shows what "
                                    "learned ones would do");
    return KVL_CANNOT_TELL;
}

extern const kvl_hypothesis kvl_hypothesis_positions;
const kvl_hypothesis kvl_hypothesis_positions = {
    .id = "H4",
    .name = "learned positions are fragile",
    .claim = "the curve comes from learned position embeddings; rotary positions would be robust",
    .prediction = "no spike (under 0.05 nats) in a rotary model whose keys stay at their true positions",
    .experiment =
        "true positions against cache-length positions and re-rotated keys; order of storage; layer "
        "0 compressed or not",
    .arms = arms,
    .judge = judge,
    .conclude = conclude,
};
