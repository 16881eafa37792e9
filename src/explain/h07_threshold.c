/* H7: the curve is there only because the cap is 32. */
#include "explain/arms.h"

#define CAP_ARMS(study, cap)                                                                                 \
    {study, KVLI_CAP("knorm", "0.95", cap), false}, {study, KVLI_CAP("knorm", "0.5", cap), false}, {         \
        study, KVLI_CAP("knorm", "0.3", cap), false                                                          \
    }

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    CAP_ARMS(KVL_STUDY_CAP_16, "16"),
    CAP_ARMS(KVL_STUDY_CAP_64, "64"),
    CAP_ARMS(KVL_STUDY_CAP_128, "128"),
    CAP_ARMS(KVL_STUDY_CAP_256, "256"),
    CAP_ARMS(KVL_STUDY_CAP_512, "512"),
    CAP_ARMS(KVL_STUDY_CAP_1024, "1024"),
    {0},
};

typedef struct cap {
    kvl_study_id study;
    const char *light;
    const char *heavy[2];
} cap;

#define CAP(study, cap)                                                                                      \
    {                                                                                                        \
        study, KVLI_CAP("knorm", "0.95", cap), {                                                             \
            KVLI_CAP("knorm", "0.5", cap), KVLI_CAP("knorm", "0.3", cap)                                     \
        }                                                                                                    \
    }
static const cap caps[] = {
    CAP(KVL_STUDY_CAP_16, "16"),     CAP(KVL_STUDY_STEP, "32"),     CAP(KVL_STUDY_CAP_64, "64"),
    CAP(KVL_STUDY_CAP_128, "128"),   CAP(KVL_STUDY_CAP_256, "256"), CAP(KVL_STUDY_CAP_512, "512"),
    CAP(KVL_STUDY_CAP_1024, "1024"),
};

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const double negligible = 0.01;
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        const cap *c = &caps[i];
        const size_t n = kvl_study_cap(c->study);
        const char *best = kvl_best_of(ev, c->study, c->heavy, 2);
        if (best == NULL) {
            continue;
        }
        const kvl_sums s = kvl_contrast(ev, c->study, c->light, best, kvl_step_nll, KVL_ALL_STEPS);
        const bool is_large = n >= 128;
        kvl_find(out, kvl_sums_mean(ev, &s, negligible), "nats/token", is_large ? KVL_BELOW : KVL_NO_SIDE,
                 negligible, is_large, "the spike at cap %zu: 0.95 above the better of 0.5 and 0.3", n);
    }
}

extern const kvl_hypothesis kvl_hypothesis_threshold;
const kvl_hypothesis kvl_hypothesis_threshold = {
    .id = "H7",
    .name = "threshold bug",
    .claim = "the curve exists only because compression fires at 32 entries",
    .prediction = "no spike (under 0.01 nats) at caps of 128 and more",
    .experiment = "caps from 16 to 1024, each on texts of three or four caps",
    .arms = arms,
    .judge = judge,
};
