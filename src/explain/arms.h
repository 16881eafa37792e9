/* How hypotheses write their arms, and arms that several of them read. */
#ifndef KVL_EXPLAIN_ARMS_H
#define KVL_EXPLAIN_ARMS_H

#include "explain/hypothesis.h"

/* Layer 0 is left alone, as in the published loop. */
#define KVLI_STEP(press, keep) press ":keep=" keep ":cap=32:skip=0"
#define KVLI_CAP(press, keep, cap) press ":keep=" keep ":cap=" cap ":skip=0"
#define KVLI_ONCE(press, keep) press ":keep=" keep ":cadence=once:skip=0"

/* KnormPress at every keep ratio, step by step. */
enum { KVLI_N_CURVE = 11 };
extern const char *const kvli_curve[KVLI_N_CURVE];
extern const double kvli_curve_ratios[KVLI_N_CURVE];
#define KVLI_CURVE_ARMS                                                                                      \
    {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.95"), true}, {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.9"), true},   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.85"), true},                                                  \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.8"), true},                                                   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.75"), true},                                                  \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.7"), true},                                                   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.6"), true},                                                   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.5"), true},                                                   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.4"), true},                                                   \
        {KVL_STUDY_STEP, KVLI_STEP("knorm", "0.3"), true}, {                                                 \
        KVL_STUDY_STEP, KVLI_STEP("knorm", "0.1"), true                                                      \
    }

/* KnormPress at 0.95: the published worst setting. */
#define KVLI_LIGHT KVLI_STEP("knorm", "0.95")

/* The setting of the curve with the lowest NLL; NULL without a curve. */
const char *kvli_best(const kvl_evidence *ev);
/* The spike: NLL at 0.95 above the best setting of the curve. */
kvl_sums kvli_spike(const kvl_evidence *ev);
/* Every number of s divided by `by`. */
kvl_sums kvli_divided(kvl_sums s, double by);

#endif
