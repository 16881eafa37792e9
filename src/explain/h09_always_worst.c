/* H9: keep 0.9 to 0.95 is the worst configuration in general. */
#include "explain/arms.h"

#define ARM(policy)                                                                                          \
    { KVL_STUDY_STEP, policy, false }
#define PROTECTED_LIGHT KVLI_STEP("knorm", "0.95") ":recent=8"
#define PROTECTED_HALF KVLI_STEP("knorm", "0.5") ":recent=8"

static const kvl_arm_spec arms[] = {
    ARM(KVLI_LIGHT),
    ARM(KVLI_STEP("knorm", "0.5")),
    ARM(PROTECTED_LIGHT),
    ARM(PROTECTED_HALF),
    ARM(KVLI_STEP("recency", "0.95")),
    ARM(KVLI_STEP("recency", "0.3")),
    ARM(KVLI_STEP("random(redrawn)", "0.95")),
    ARM(KVLI_STEP("random(redrawn)", "0.5")),
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.3"), false},
    {0},
};

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_LIGHT, KVLI_STEP("knorm", "0.5"), KVL_ABOVE, 0, true,
                 "KnormPress step by step: 0.95 above 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, PROTECTED_LIGHT, PROTECTED_HALF, KVL_ABOVE, 0, false,
                 "with the newest 8 keys protected: 0.95 above 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_STEP("recency", "0.95"), KVLI_STEP("recency", "0.3"),
                 KVL_ABOVE, 0, true, "keeping the newest: 0.95 above 0.3");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_STEP("random(redrawn)", "0.95"),
                 KVLI_STEP("random(redrawn)", "0.5"), KVL_ABOVE, 0, false,
                 "priorities drawn anew at every compression: 0.95 above 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), KVLI_ONCE("knorm", "0.3"), KVL_ABOVE, 0,
                 true, "KnormPress once after the context: 0.95 above 0.3");
}

extern const kvl_hypothesis kvl_hypothesis_always_worst;
const kvl_hypothesis kvl_hypothesis_always_worst = {
    .id = "H9",
    .name = "0.9-0.95 is always worst",
    .claim = "light compression (keep 0.9 to 0.95) is the worst configuration in general",
    .prediction = "0.95 is worse than heavier compression with every ranking, schedule and protection",
    .experiment = "0.95 against 0.5 or 0.3 with other rankings, with protection, and compressed once",
    .arms = arms,
    .judge = judge,
};
