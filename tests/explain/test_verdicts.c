/* Every verdict rule on simulated traces in which the truth is known, both ways.
 *
 * A world says what each arm costs at each step. Texts differ in their level and in how strongly they react,
 * so that intervals have something to cover. The judges see nothing but the traces.
 */
#include "support.h"

#include "base/rng.h"
#include "explain/additive.h"
#include "explain/cause.h"

#include <math.h>
#include <string.h>

enum { N_TEXTS = 64, N_STEPS = 188, CAP = 32 };

/* What an arm does at a step, beside the full cache. */
typedef struct effect {
    double excess;  /* nats */
    double entropy; /* nats above the full cache's 3.5 */
    double p_top;   /* above 0.25 */
    double missing; /* share of each of lags 1 to 4 not seen */
    double rank;    /* of what was evicted; below 0: not known */
    double first;   /* share of heads that hold the first token */
} effect;

typedef struct place {
    kvl_study_id study;
    const char *policy;
    double keep; /* of the policy's text; 1 without */
    size_t step;
    double z; /* of this step, normal: what the world may let vary */
} place;

typedef effect world_fn(const place *at);

static bool has(const char *policy, const char *word) { return strstr(policy, word) != NULL; }

static double keep_of(const char *policy) {
    const char *at = strstr(policy, "keep=");
    return at != NULL ? strtod(at + 5, NULL) : 1;
}

/* Steps between compressions of a policy of the step-by-step study. */
static size_t period_of(const char *policy, double keep) {
    const char *size = strstr(policy, "size=");
    const char *cap = strstr(policy, "cap=");
    if (size != NULL && cap != NULL) {
        return (size_t)(strtoul(cap + 4, NULL, 10) - strtoul(size + 5, NULL, 10));
    }
    return CAP - (size_t)ceil(keep * CAP);
}

/* ---- building evidence ---- */

static void fill_text(kvl_account *a, kvl_study_id study, const char *policy, size_t text, world_fn *world) {
    const double level = 3.6 + 0.3 * kvl_rng_normal(1, 0, text);
    const double strength = 1 + 0.2 * kvl_rng_normal(1, 1, text);
    const bool is_full = strcmp(policy, "none") == 0;
    for (size_t i = 0; i < a->n; i++) {
        const uint64_t at = text * 1000 + i;
        const place p = {study, policy, keep_of(policy), i, kvl_rng_normal(1, 2, at)};
        const effect e = is_full ? (effect){.rank = -1} : world(&p);
        const double period = is_full ? 1 : (double)period_of(policy, p.keep);
        kvl_step *s = &a->steps[i];
        /* the token's own surprise is common to all arms; what is left differs from arm to arm */
        s->nll = level + 2 * kvl_rng_normal(1, 3, at) + strength * e.excess +
                 0.1 * kvl_rng_normal(7 + strlen(policy), 4, at);
        s->entropy = (float)(3.5 + strength * e.entropy + 0.2 * kvl_rng_normal(1, 5, at));
        s->p_top = (float)(0.25 + strength * e.p_top);
        s->is_hit = kvl_rng_unit(1, 6, at) < 0.2f;
        for (int j = 0; j < KVL_STEP_LAGS; j++) {
            s->lag[j] = (float)(1 - e.missing);
        }
        s->evicted_rank = e.rank < 0 ? (float)NAN : (float)e.rank;
        s->n_visible = (float)(CAP * (1 + p.keep) / 2);
        s->phase = (uint32_t)(i % (size_t)fmax(period, 1));
        a->first_token = e.first;
    }
    for (size_t j = 1; j <= KVL_EVIDENCE_LAGS; j++) {
        a->lag_visible[j] = (double)a->steps[a->n - 1].lag[0];
    }
}

static void add_arm(kvl_evidence *ev, kvl_study_id study, const char *policy, world_fn *world) {
    kvl_arm *arm = NULL;
    if (kvl_evidence_find(ev, study, policy) != NULL) {
        return;
    }
    assert_ok(kvl_evidence_add(&arm, ev, study, policy, NULL));
    for (size_t t = 0; t < N_TEXTS; t++) {
        assert_ok(kvl_account_create(&arm->texts[t], N_STEPS, CAP, NULL));
        fill_text(&arm->texts[t], study, policy, t, world);
    }
}

static kvl_evidence simulate(const kvl_hypothesis *h, world_fn *world) {
    kvl_evidence ev = {.model = {.name = "simulated", .is_rotary = true, .n_layers = 6, .n_heads = 4}};
    for (const kvl_arm_spec *spec = h->arms; spec != NULL && spec->policy != NULL; spec++) {
        if (ev.studies[spec->study].n_texts == 0) {
            assert_ok(kvl_evidence_begin(&ev, spec->study, N_TEXTS, CAP, 10000, 1, NULL));
            add_arm(&ev, spec->study, "none", world);
        }
        add_arm(&ev, spec->study, spec->policy, world);
    }
    return ev;
}

static kvl_conclusion judge(const char *id, world_fn *world) {
    static kvl_judgement j;
    const kvl_hypothesis *h = kvl_hypothesis_find(id);
    assert_non_null(h);
    kvl_evidence ev = simulate(h, world);
    kvl_judge(&j, &ev, &h, 1);
    kvl_evidence_free(&ev);
    return j.verdict;
}

#define assert_verdict(id, world, expected)                                                                  \
    assert_string_equal(kvl_conclusion_name(judge(id, world)), kvl_conclusion_name(expected))

/* ---- worlds ---- */

/* Nothing costs anything. */
static effect nothing(const place *at) {
    (void)at;
    return (effect){.rank = 0.9};
}

/* A spike at light compression, flat otherwise. */
static double spike(double keep) { return keep > 0.9 ? 0.9 : keep > 0.85 ? 0.5 : keep > 0.77 ? 0.3 : 0.2; }

/* Only recent tokens matter: what is missing of them is the whole cost, whatever the ranking. */
static effect recency_world(const place *at) {
    const size_t period = period_of(at->policy, at->keep);
    const size_t phase = at->step % (period != 0 ? period : 1);
    double missing = period <= 1 ? 0.6 : period < 4 ? 0.45 : period < 8 ? 0.3 : 0.2;
    missing *= period >= 16 ? 1.6 - 1.2 * (double)phase / 15 : 1;
    missing = has(at->policy, "redrawn") ? 0.1 : missing;
    missing = has(at->policy, "recent=") || has(at->policy, "recency") ? 0.02 : missing;
    missing = fmin(fmax(missing * (1 + 0.3 * at->z), 0), 1);
    return (effect){.excess = 1.5 * missing, .missing = missing, .rank = 0.9, .first = 0.1};
}

/* Norms carry the meaning: the cost is in the ranking, wherever the newest tokens are. */
static effect norm_world(const place *at) {
    const bool is_by_norm = has(at->policy, "knorm") && !has(at->policy, "high");
    const double cost = is_by_norm ? spike(at->keep) : 0.2;
    return (effect){.excess = cost * (1 + 0.3 * at->z),
                    .missing = has(at->policy, "recent=") ? 0.1 : 0.1 + 0.3 * at->keep,
                    .rank = 0.9 + 0.02 * at->z,
                    .first = 0.9};
}

static void test_recency(void **state) {
    (void)state;
    assert_verdict("H8", recency_world, KVL_SUPPORTED);
    assert_verdict("H8", norm_world, KVL_REFUTED);
    assert_verdict("H8", nothing, KVL_CANNOT_TELL);
}

static effect critical_band(const place *at) {
    const bool is_critical = has(at->policy, "from=0.95)") || has(at->policy, "knorm:keep=0.95");
    return (effect){.excess = is_critical ? 0.4 : 0.05, .rank = -1};
}

static effect no_band(const place *at) {
    return (effect){.excess =
                        has(at->policy, "band") || has(at->policy, "random") ? 0.03 : 0.5 * (1 - at->keep),
                    .rank = -1};
}

static void test_mid_norm(void **state) {
    (void)state;
    assert_verdict("H1", critical_band, KVL_SUPPORTED);
    assert_verdict("H1", no_band, KVL_REFUTED);
}

/* Wrong and sure of itself under light compression by norms; unsure under heavy. */
static effect conflict_world(const place *at) {
    const bool is_light = at->keep > 0.9 && has(at->policy, "knorm");
    return (effect){.excess = is_light ? 0.8 : 0.2,
                    .entropy = is_light         ? -0.3
                               : at->keep < 0.4 ? 0.4
                                                : 0.1,
                    .p_top = is_light ? 0.1 : 0,
                    .rank = -1};
}

/* The same gap for any static ranking, and light compression no surer than heavy. */
static effect no_conflict(const place *at) {
    const bool is_light = at->keep > 0.9;
    return (effect){.excess = is_light ? 0.8 : 0.2, .entropy = is_light ? 0.2 : 0, .rank = -1};
}

static void test_conflict(void **state) {
    (void)state;
    assert_verdict("H2", conflict_world, KVL_SUPPORTED);
    assert_verdict("H2", no_conflict, KVL_REFUTED);
    assert_verdict("H2", nothing, KVL_CANNOT_TELL);
}

static effect optimum_world(const place *at) {
    return (effect){.excess = 2 * fabs(at->keep - 0.75), .rank = -1};
}

static effect flat_world(const place *at) {
    return (effect){.excess = at->study == KVL_STUDY_ONCE ? 1 - at->keep : spike(at->keep), .rank = -1};
}

static void test_optimum(void **state) {
    (void)state;
    assert_verdict("H3", optimum_world, KVL_SUPPORTED);
    assert_verdict("H3", flat_world, KVL_REFUTED);
}

static effect spike_world(const place *at) { return (effect){.excess = spike(at->keep), .rank = -1}; }

static void test_positions_and_scale(void **state) {
    (void)state;
    assert_verdict("H4", spike_world, KVL_REFUTED);
    assert_verdict("H4", nothing, KVL_CANNOT_TELL);
    assert_verdict("H5", spike_world, KVL_CANNOT_TELL);
}

/* A model without rotary positions cannot refute that rotary ones would be robust. */
static void test_learned_positions(void **state) {
    (void)state;
    static kvl_judgement j;
    const kvl_hypothesis *h = kvl_hypothesis_find("H4");
    kvl_evidence ev = simulate(h, spike_world);
    ev.model.is_rotary = false;
    kvl_judge(&j, &ev, &h, 1);
    assert_int_equal(j.verdict, KVL_CANNOT_TELL);
    kvl_evidence_free(&ev);
}

static void test_evaluation(void **state) {
    (void)state;
    assert_verdict("H6", spike_world, KVL_REFUTED);
    assert_verdict("H6", optimum_world, KVL_REFUTED);
}

static effect only_at_32(const place *at) {
    return (effect){.excess = at->study == KVL_STUDY_STEP || at->study == KVL_STUDY_CAP_16 ? spike(at->keep)
                                                                                           : -0.2 * at->keep,
                    .rank = -1};
}

static void test_threshold(void **state) {
    (void)state;
    assert_verdict("H7", spike_world, KVL_REFUTED);
    assert_verdict("H7", only_at_32, KVL_SUPPORTED);
}

static void test_always_worst(void **state) {
    (void)state;
    assert_verdict("H9", spike_world, KVL_SUPPORTED);
    assert_verdict("H9", recency_world, KVL_CANNOT_TELL);
    assert_verdict("H9", flat_world, KVL_REFUTED);
}

static effect lost_sinks(const place *at) {
    const bool is_bad = has(at->policy, "recency") && !has(at->policy, "sinks");
    return (effect){.excess = is_bad ? 0.8 : 0.1, .first = has(at->policy, "knorm") ? 0.9 : 0, .rank = -1};
}

static effect no_sinks(const place *at) {
    return (effect){.excess = has(at->policy, "knorm") && !has(at->policy, "sinks") ? 0.3 : 0.1,
                    .first = 0.1,
                    .rank = -1};
}

static void test_sinks(void **state) {
    (void)state;
    assert_verdict("H11", lost_sinks, KVL_SUPPORTED);
    assert_verdict("H11", no_sinks, KVL_REFUTED);
}

/* ---- evidence that is not steps ---- */

static double *numbers(size_t n, double level, double spread, uint64_t stream) {
    double *x = kvl_calloc(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = level + spread * kvl_rng_normal(3, stream, i);
    }
    return x;
}

static kvl_conclusion judge_times(double compressed_ns) {
    static kvl_judgement j;
    enum { n_rounds = 20 };
    const kvl_hypothesis *h = kvl_hypothesis_find("H10");
    kvl_evidence ev = {.times = {.n_rounds = n_rounds, .n_prompt = 256}};
    ev.times.full_ns = numbers(n_rounds, 1e7, 5e5, 1);
    ev.times.compressed_ns = numbers(n_rounds, compressed_ns, 5e5, 2);
    ev.times.decode_full_ns = ev.times.decode_compressed_ns = 1e5;
    assert_ok(kvl_resamples_create(&ev.times.resamples, n_rounds, 10000, 1, NULL));
    kvl_judge(&j, &ev, &h, 1);
    kvl_evidence_free(&ev);
    return j.verdict;
}

static void test_ttft(void **state) {
    (void)state;
    assert_int_equal(judge_times(0.07e7), KVL_SUPPORTED);
    assert_int_equal(judge_times(1.02e7), KVL_REFUTED);
}

static kvl_conclusion judge_norms(double correlation, double lost_norm) {
    static kvl_judgement j;
    enum { n_layers = 6 };
    const kvl_hypothesis *h = kvl_hypothesis_find("H12");
    kvl_evidence ev = {0};
    assert_ok(kvl_evidence_begin(&ev, KVL_STUDY_STEP, N_TEXTS, CAP, 10000, 1, NULL));
    ev.norms = (kvl_norm_facts){.n_texts = N_TEXTS, .n_layers = n_layers, .n_skipped = 1};
    ev.norms.correlation = numbers(N_TEXTS * n_layers, correlation, 0.1, 1);
    ev.norms.lost_norm = numbers(N_TEXTS * n_layers, lost_norm, 0.05, 2);
    ev.norms.lost_best = numbers(N_TEXTS * n_layers, 0.05, 0.01, 3);
    ev.norms.lost_random = numbers(N_TEXTS * n_layers, 0.5, 0, 4);
    kvl_judge(&j, &ev, &h, 1);
    kvl_evidence_free(&ev);
    return j.verdict;
}

static void test_norm_attention(void **state) {
    (void)state;
    assert_int_equal(judge_norms(-0.4, 0.2), KVL_SUPPORTED);
    assert_int_equal(judge_norms(0.3, 0.6), KVL_REFUTED);
    assert_int_equal(judge_norms(0, 0.5), KVL_CANNOT_TELL);
}

/* ---- the rule itself ---- */

/* Without its arms nothing is decided, and it is said that they were not run. */
static void test_nothing_run(void **state) {
    (void)state;
    static kvl_judgement j[32];
    size_t n = 0;
    const kvl_hypothesis *const *list = kvl_hypotheses(&n);
    const kvl_evidence ev = {0};
    kvl_judge(j, &ev, list, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(j[i].verdict, KVL_CANNOT_TELL);
    }
}

/* Too few texts decide nothing, however large the effect. */
static void test_few_texts(void **state) {
    (void)state;
    static kvl_judgement j;
    const kvl_hypothesis *h = kvl_hypothesis_find("H9");
    kvl_evidence ev = simulate(h, spike_world);
    for (size_t s = 0; s < KVL_N_STUDIES; s++) {
        if (ev.studies[s].n_texts != 0) {
            kvl_resamples_destroy(ev.studies[s].resamples);
            assert_ok(kvl_resamples_create(&ev.studies[s].resamples, 10, 10000, 1, NULL));
        }
    }
    kvl_judge(&j, &ev, &h, 1);
    assert_int_equal(j.verdict, KVL_CANNOT_TELL);
    kvl_evidence_free(&ev);
}

/* The cause: shares as the world has them. */
static void test_cause(void **state) {
    (void)state;
    kvl_cause cause;
    kvl_str text = {0};
    kvl_evidence ev = simulate(kvl_hypothesis_find("H8"), recency_world);
    kvl_find_cause(&cause, &ev);
    for (size_t i = 0; i < KVL_N_PROTECTIONS; i++) {
        assert_true(cause.removed[i].mean > 0.9 && cause.removed[i].mean < 1);
        assert_true(cause.removed[i].low < cause.removed[i].mean &&
                    cause.removed[i].mean < cause.removed[i].high);
    }
    assert_true(cause.by_chance.mean > 0.8 && cause.by_chance.mean < 1.2);
    kvl_write_cause(&text, &cause, &ev.model, KVL_SUPPORTED);
    assert_non_null(strstr(kvl_str_text(&text), "recent tokens that are missed"));
    kvl_str_clear(&text);
    kvl_write_cause(&text, &cause, &ev.model, KVL_REFUTED);
    assert_null(strstr(kvl_str_text(&text), "recent tokens that are missed"));
    kvl_str_free(&text);
    kvl_evidence_free(&ev);
}

/* A world that is additive is found to be; one in which norms decide is not foretold for other rankings. */
static void test_additive(void **state) {
    (void)state;
    static kvl_additive a;
    kvl_evidence ev = simulate(kvl_hypothesis_find("H8"), recency_world);
    assert_ok(kvl_additive_fit(&a, &ev, NULL));
    assert_int_equal(a.n_fitted, 11);
    assert_true(a.r_squared > 0.9);
    assert_true(a.mean_error_others < 0.2);
    kvl_evidence_free(&ev);
    ev = simulate(kvl_hypothesis_find("H8"), norm_world);
    assert_ok(kvl_additive_fit(&a, &ev, NULL));
    assert_false(a.r_squared_others > 0.5);
    kvl_evidence_free(&ev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recency),
        cmocka_unit_test(test_mid_norm),
        cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_positions_and_scale),
        cmocka_unit_test(test_learned_positions),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_always_worst),
        cmocka_unit_test(test_ttft),
        cmocka_unit_test(test_sinks),
        cmocka_unit_test(test_norm_attention),
        cmocka_unit_test(test_nothing_run),
        cmocka_unit_test(test_few_texts),
        cmocka_unit_test(test_cause),
        cmocka_unit_test(test_additive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
