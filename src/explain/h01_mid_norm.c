/* H1: the keys just below the highest norms carry the meaning. Bands of norms, evicted once. */
#include "explain/arms.h"

#include <math.h>

#define BAND(from, keep) KVLI_ONCE("band(from=" from ")", keep)
#define BAND_ARM(from)                                                                                       \
    { KVL_STUDY_ONCE, BAND(from, "0.95"), false }
#define CRITICAL BAND("0.95", "0.97")
#define TOP BAND("0.98", "0.98")
#define MIDDLE BAND("0.75", "0.95")
#define RANDOM KVLI_ONCE("random", "0.97")

static const char *const bands[] = {
    BAND("0", "0.95"),   BAND("0.05", "0.95"), BAND("0.1", "0.95"), BAND("0.15", "0.95"),
    BAND("0.2", "0.95"), BAND("0.25", "0.95"), BAND("0.3", "0.95"), BAND("0.35", "0.95"),
    BAND("0.4", "0.95"), BAND("0.45", "0.95"), BAND("0.5", "0.95"), BAND("0.55", "0.95"),
    BAND("0.6", "0.95"), BAND("0.65", "0.95"), BAND("0.7", "0.95"), BAND("0.75", "0.95"),
    BAND("0.8", "0.95"), BAND("0.85", "0.95"), BAND("0.9", "0.95"), BAND("0.95", "0.95"),
};
enum { N_BANDS = sizeof bands / sizeof bands[0] };

static const kvl_arm_spec arms[] = {
    {KVL_STUDY_ONCE, CRITICAL, false},
    {KVL_STUDY_ONCE, TOP, false},
    {KVL_STUDY_ONCE, RANDOM, false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.9"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.75"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.5"), false},
    {KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.3"), false},
    BAND_ARM("0"),
    BAND_ARM("0.05"),
    BAND_ARM("0.1"),
    BAND_ARM("0.15"),
    BAND_ARM("0.2"),
    BAND_ARM("0.25"),
    BAND_ARM("0.3"),
    BAND_ARM("0.35"),
    BAND_ARM("0.4"),
    BAND_ARM("0.45"),
    BAND_ARM("0.5"),
    BAND_ARM("0.55"),
    BAND_ARM("0.6"),
    BAND_ARM("0.65"),
    BAND_ARM("0.7"),
    BAND_ARM("0.75"),
    BAND_ARM("0.8"),
    BAND_ARM("0.85"),
    BAND_ARM("0.9"),
    BAND_ARM("0.95"),
    {0},
};

static kvl_sums damage(const kvl_evidence *ev, const char *policy) {
    return kvl_contrast(ev, KVL_STUDY_ONCE, policy, "none", kvl_step_nll, KVL_ALL_STEPS);
}

/* The band of 5 % that hurts most, for information: chosen by the very figure that is shown. */
static void find_worst_band(const kvl_evidence *ev, kvl_judgement *out) {
    const char *worst = NULL;
    double most = -(double)INFINITY;
    for (size_t i = 0; i < N_BANDS; i++) {
        const kvl_sums s = damage(ev, bands[i]);
        const kvl_estimate e = kvl_sums_mean(ev, &s, 0);
        if (e.mean > most) {
            most = e.mean;
            worst = bands[i];
        }
    }
    if (worst != NULL) {
        const kvl_sums s = damage(ev, worst);
        kvl_find(out, kvl_sums_mean(ev, &s, 0), "nats/token", KVL_NO_SIDE, 0, false,
                 "the worst of 20 bands of 5 %%: %s", worst);
    }
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    enum { n_critical = 7, n_top = 5, n_middle = 12 }; /* keys that go, of 256 */
    const double negligible = 0.01;
    const kvl_sums critical = kvli_divided(damage(ev, CRITICAL), n_critical);
    const kvl_sums top = kvli_divided(damage(ev, TOP), n_top);
    const kvl_sums middle = kvli_divided(damage(ev, MIDDLE), n_middle);
    kvl_find_nll(out, ev, KVL_STUDY_ONCE, CRITICAL, RANDOM, KVL_ABOVE, negligible, true,
                 "evicting the norm band 95-98 % once, above evicting as many at random");
    kvl_find(out, kvl_sums_difference(ev, &critical, &top, 1, 0), "nats/token per key", KVL_ABOVE, 0, true,
             "the band 95-98 %% above the band 98-100 %%, per evicted key");
    kvl_find(out, kvl_sums_difference(ev, &critical, &middle, 1, 0), "nats/token per key", KVL_ABOVE, 0, true,
             "the band 95-98 %% above the band 75-80 %%, per evicted key");
    kvl_find_nll(out, ev, KVL_STUDY_ONCE, KVLI_ONCE("knorm", "0.95"), KVLI_ONCE("knorm", "0.5"), KVL_ABOVE, 0,
                 true, "KnormPress once at 0.95 above once at 0.5: a U-curve without a schedule");
    find_worst_band(ev, out);
}

extern const kvl_hypothesis kvl_hypothesis_mid_norm;
const kvl_hypothesis kvl_hypothesis_mid_norm = {
    .id = "H1",
    .name = "critical mid-norm tokens",
    .claim =
        "keys ranked just below the highest norms carry the meaning; evicting exactly those explodes PPL",
    .prediction =
        "evicted once, the norm band 95-98 % hurts more per key than its neighbours and than random "
        "keys, and the curve over keep ratios is a U again",
    .experiment = "prefill 256 tokens, evict one band of norms once, score the tokens behind",
    .arms = arms,
    .judge = judge,
};
