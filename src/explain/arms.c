/* The curve and its spike. */
#include "explain/arms.h"

const char *const kvli_curve[KVLI_N_CURVE] = {
    KVLI_STEP("knorm", "0.95"), KVLI_STEP("knorm", "0.9"),  KVLI_STEP("knorm", "0.85"),
    KVLI_STEP("knorm", "0.8"),  KVLI_STEP("knorm", "0.75"), KVLI_STEP("knorm", "0.7"),
    KVLI_STEP("knorm", "0.6"),  KVLI_STEP("knorm", "0.5"),  KVLI_STEP("knorm", "0.4"),
    KVLI_STEP("knorm", "0.3"),  KVLI_STEP("knorm", "0.1"),
};
const double kvli_curve_ratios[KVLI_N_CURVE] = {.95, .9, .85, .8, .75, .7, .6, .5, .4, .3, .1};

const char *kvli_best(const kvl_evidence *ev) {
    return kvl_best_of(ev, KVL_STUDY_STEP, kvli_curve, KVLI_N_CURVE);
}

kvl_sums kvli_spike(const kvl_evidence *ev) {
    const char *best = kvli_best(ev);
    return best != NULL ? kvl_contrast(ev, KVL_STUDY_STEP, KVLI_LIGHT, best, kvl_step_nll, KVL_ALL_STEPS)
                        : (kvl_sums){.is_missing = true};
}

kvl_sums kvli_divided(kvl_sums s, double by) {
    for (size_t t = 0; t < s.n; t++) {
        s.num[t] /= by;
    }
    return s;
}
