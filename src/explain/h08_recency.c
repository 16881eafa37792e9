/* H8: the curve is set by which of the last few tokens are visible.
 *
 * Recency loss and norm ranking are told apart by rankings that know no norms (drawn once, drawn anew, upside
 * down), by protecting the newest keys under the same ranking, and by moving the refresh period and the size
 * of the cache each while the other is held.
 */
#include "explain/arms.h"
#include "explain/recency.h"

#define PROTECTED(n) KVLI_STEP("knorm", "0.95") ":recent=" n
#define SIZED(size, cap) "knorm:size=" size ":cap=" cap ":skip=0"
#define STATIC_LIGHT KVLI_STEP("random", "0.95")
#define STATIC_HALF KVLI_STEP("random", "0.5")
#define REDRAWN_LIGHT KVLI_STEP("random(redrawn)", "0.95")
#define REDRAWN_HALF KVLI_STEP("random(redrawn)", "0.5")
#define HIGH_LIGHT KVLI_STEP("knorm(high)", "0.95")
#define HIGH_HALF KVLI_STEP("knorm(high)", "0.5")
#define NEWEST_LIGHT KVLI_STEP("recency", "0.95")
#define NEWEST_HEAVY KVLI_STEP("recency", "0.3")
#define HALF KVLI_STEP("knorm", "0.5")
#define NEWEST_HALF KVLI_STEP("recency", "0.5")
/* 16 entries are kept every 1, 2, 4 and 8 steps; every 16 is keep 0.5 */
#define PERIOD_1 SIZED("16", "17")
#define PERIOD_2 SIZED("16", "18")
#define PERIOD_4 SIZED("16", "20")
#define PERIOD_8 SIZED("16", "24")
/* 24 entries on average, kept every 1, 3, 8 and 24 steps; every 16 is keep 0.5 */
#define MEAN_1 SIZED("24", "25")
#define MEAN_3 SIZED("23", "26")
#define MEAN_8 SIZED("20", "28")
#define MEAN_24 SIZED("12", "36")

static const kvl_arm_spec arms[] = {
    KVLI_CURVE_ARMS,
    {KVL_STUDY_STEP, PROTECTED("1"), false},
    {KVL_STUDY_STEP, PROTECTED("2"), false},
    {KVL_STUDY_STEP, PROTECTED("4"), false},
    {KVL_STUDY_STEP, PROTECTED("8"), false},
    {KVL_STUDY_STEP, PROTECTED("16"), false},
    {KVL_STUDY_STEP, STATIC_LIGHT, false},
    {KVL_STUDY_STEP, STATIC_HALF, false},
    {KVL_STUDY_STEP, REDRAWN_LIGHT, false},
    {KVL_STUDY_STEP, REDRAWN_HALF, false},
    {KVL_STUDY_STEP, HIGH_LIGHT, false},
    {KVL_STUDY_STEP, HIGH_HALF, false},
    {KVL_STUDY_STEP, NEWEST_LIGHT, false},
    {KVL_STUDY_STEP, NEWEST_HALF, false},
    {KVL_STUDY_STEP, NEWEST_HEAVY, false},
    {KVL_STUDY_STEP, PERIOD_1, false},
    {KVL_STUDY_STEP, PERIOD_2, false},
    {KVL_STUDY_STEP, PERIOD_4, false},
    {KVL_STUDY_STEP, PERIOD_8, false},
    {KVL_STUDY_STEP, MEAN_1, false},
    {KVL_STUDY_STEP, MEAN_3, false},
    {KVL_STUDY_STEP, MEAN_8, false},
    {KVL_STUDY_STEP, MEAN_24, false},
    {0},
};

static kvl_sums nll(const kvl_evidence *ev, const char *a, const char *b) {
    return kvl_contrast(ev, KVL_STUDY_STEP, a, b, kvl_step_nll, KVL_ALL_STEPS);
}

const kvl_protection kvl_protections_tried[KVL_N_PROTECTIONS] = {
    {1, PROTECTED("1")}, {2, PROTECTED("2")}, {4, PROTECTED("4")}, {8, PROTECTED("8")}, {16, PROTECTED("16")},
};

kvl_estimate kvl_protection_share(const kvl_evidence *ev, size_t i) {
    const kvl_sums removed = nll(ev, KVLI_LIGHT, kvl_protections_tried[i].policy);
    const kvl_sums excess = nll(ev, KVLI_LIGHT, "none");
    return kvl_sums_share(ev, &removed, &excess, 0);
}

/* (a) protecting the newest; (b) rankings without norms. */
static void judge_rankings(const kvl_evidence *ev, kvl_judgement *out) {
    const double half = 0.5;
    const kvl_sums spike = kvli_spike(ev);
    const kvl_sums removed = nll(ev, KVLI_LIGHT, PROTECTED("4"));
    const kvl_sums by_chance = nll(ev, STATIC_LIGHT, STATIC_HALF);
    const kvl_sums redrawn = nll(ev, REDRAWN_LIGHT, REDRAWN_HALF);
    kvl_find(out, kvl_sums_mean(ev, &spike, 0), "nats/token", KVL_ABOVE, 0, true,
             "the spike: 0.95 above the best of the curve");
    kvl_find(out, kvl_sums_share(ev, &removed, &spike, half), "share of the spike", KVL_ABOVE, half, true,
             "(a) removed at 0.95 by protecting the newest 4 keys");
    kvl_find(out, kvl_sums_mean(ev, &by_chance, 0), "nats/token", KVL_ABOVE, 0, true,
             "(b) priorities drawn once at random: 0.95 above 0.5");
    kvl_find(out, kvl_sums_share(ev, &redrawn, &spike, half), "share of the spike", KVL_BELOW, half, true,
             "(b) priorities drawn anew at every compression: 0.95 above 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, HIGH_LIGHT, HIGH_HALF, KVL_ABOVE, 0, false,
                 "(b) keeping the highest norms: 0.95 above 0.5");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, KVLI_LIGHT, REDRAWN_LIGHT, KVL_ABOVE, 0, false,
                 "(b) KnormPress above priorities drawn anew, at 0.95");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, NEWEST_LIGHT, NEWEST_HEAVY, KVL_BELOW, 0.01, false,
                 "(c) keeping the newest: 0.95 above 0.3");
}

/* (d, e) period and size apart; (f) within a cycle; (g) along the text. */
static void judge_schedules(const kvl_evidence *ev, kvl_judgement *out) {
    const kvl_range first = {0, 1, 0, 1};
    const kvl_range last = {0, 1, 15, 16};
    const kvl_range early = {0, 1.0 / 3, 0, 0};
    const kvl_range late = {2.0 / 3, 1, 0, 0};
    kvl_find_nll(out, ev, KVL_STUDY_STEP, PERIOD_1, HALF, KVL_ABOVE, 0, true,
                 "(d) 16 entries kept: compressed every step above every 16 steps");
    kvl_find_nll(out, ev, KVL_STUDY_STEP, MEAN_1, HALF, KVL_ABOVE, 0, false,
                 "(e) 24 entries on average: compressed every step above every 16 steps");
    const kvl_sums after = kvl_contrast(ev, KVL_STUDY_STEP, HALF, "none", kvl_step_nll, first);
    const kvl_sums before = kvl_contrast(ev, KVL_STUDY_STEP, HALF, "none", kvl_step_nll, last);
    kvl_find(out, kvl_sums_difference(ev, &after, &before, 1, 0), "nats/token", KVL_ABOVE, 0, true,
             "(f) keep 0.5: the step after a compression above the last before the next");
    const kvl_sums newest_after = kvl_contrast(ev, KVL_STUDY_STEP, NEWEST_HALF, "none", kvl_step_nll, first);
    const kvl_sums newest_before = kvl_contrast(ev, KVL_STUDY_STEP, NEWEST_HALF, "none", kvl_step_nll, last);
    kvl_find(out, kvl_sums_difference(ev, &newest_after, &newest_before, 1, 0), "nats/token", KVL_NO_SIDE, 0,
             false, "(f) the same when the newest are kept");
    const kvl_sums light_late = kvl_contrast(ev, KVL_STUDY_STEP, KVLI_LIGHT, "none", kvl_step_nll, late);
    const kvl_sums light_early = kvl_contrast(ev, KVL_STUDY_STEP, KVLI_LIGHT, "none", kvl_step_nll, early);
    kvl_find(out, kvl_sums_difference(ev, &light_late, &light_early, 1, 0), "nats/token", KVL_ABOVE, 0, false,
             "(g) 0.95: the last third of a text above the first");
    const kvl_sums half_late = kvl_contrast(ev, KVL_STUDY_STEP, HALF, "none", kvl_step_nll, late);
    const kvl_sums half_early = kvl_contrast(ev, KVL_STUDY_STEP, HALF, "none", kvl_step_nll, early);
    kvl_find(out, kvl_sums_difference(ev, &half_late, &half_early, 1, 0), "nats/token", KVL_NO_SIDE, 0, false,
             "(g) 0.5: the last third of a text above the first");
}

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    judge_rankings(ev, out);
    judge_schedules(ev, out);
    kvli_judge_steps(ev, out);
}

extern const kvl_hypothesis kvl_hypothesis_recency;
const kvl_hypothesis kvl_hypothesis_recency = {
    .id = "H8",
    .name = "recency and refresh",
    .claim = "the curve is set by which of the last few tokens are still visible, not by norms or meaning",
    .prediction = "protecting the newest 4 keys removes most of the spike; priorities drawn once at random "
                  "show one too, drawn anew they do not; at equal size it falls with the refresh period; "
                  "within a cycle the loss is a sawtooth",
    .experiment = "rankings with and without norms, protections, periods and sizes held in turn, on the same "
                  "tokens",
    .arms = arms,
    .judge = judge,
};
