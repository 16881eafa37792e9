/* H5: large models have redundancy, so light compression does not harm them. */
#include "explain/arms.h"

#include <stdio.h>

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    {0},
};

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const kvl_sums spike = kvli_spike(ev);
    kvl_find(out, kvl_sums_mean(ev, &spike, 0), "nats/token", KVL_NO_SIDE, 0, false,
             "the spike at cap 32 with %.4g million parameters", (double)ev->model.n_params * 1e-6);
}

static kvl_conclusion conclude(const kvl_evidence *ev, kvl_judgement *j) {
    (void)ev;
    snprintf(j->why, sizeof j->why,
             "one model was run: compare the spike at the same cap over models of one family");
    return KVL_CANNOT_TELL;
}

extern const kvl_hypothesis kvl_hypothesis_scale;
const kvl_hypothesis kvl_hypothesis_scale = {
    .id = "H5",
    .name = "scale",
    .claim = "large models have redundancy: light compression is harmless there",
    .prediction = "at the same cap the spike in nats shrinks steadily as models of one family grow",
    .experiment = "the curve at cap 32 on models of several sizes, one run for each",
    .arms = arms,
    .judge = judge,
    .conclude = conclude,
};
