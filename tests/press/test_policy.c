/* Policy text, selection, and each press against written-out arithmetic. */
#include "support.h"

#include "base/rng.h"
#include "press/policy.h"
#include "press/select.h"

#include <math.h>
#include <string.h>

static void check_text(const char *text, const char *canonical) {
    kvl_policy p;
    kvl_err err = {0};
    kvl_str out = {0};
    kvl_policy_init(&p);
    if (kvl_policy_parse(&p, text, &err) != KVL_OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    kvl_policy_text(&p, &out);
    assert_string_equal(kvl_str_text(&out), canonical);
    kvl_policy again;
    kvl_policy_init(&again);
    assert_int_equal(kvl_policy_parse(&again, canonical, NULL), KVL_OK);
    assert_memory_equal(&p, &again, sizeof p);
    kvl_str_free(&out);
}

static void test_canonical_text(void **state) {
    (void)state;
    check_text("none", "none");
    check_text("knorm", "knorm:keep=1:cap=1");
    check_text("knorm(low):keep=0.75:cap=32:skip=0", "knorm:keep=0.75:cap=32:skip=0");
    check_text("knorm(high):cap=32:keep=.5:trigger=>:skip=1+0",
               "knorm(high):keep=0.5:cap=32:trigger=gt:skip=0+1");
    check_text("knorm(side=high):order=score:positions=cache-length",
               "knorm(high):keep=1:cap=1:order=score:positions=cache-length");
    check_text("random(redrawn,seed=7):cadence=4", "random(redrawn,seed=7):keep=1:cap=1:cadence=4");
    check_text("random(seed=7):cadence=once", "random(seed=7):keep=1:cap=1:cadence=once");
    check_text("streaming(8):size=512:recent=508:sinks=4",
               "streaming(sinks=8):size=512:cap=1:sinks=4:recent=508");
    check_text("recency:trigger=>=:skip=none", "recency:keep=1:cap=1");
}

static void test_bad_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "unknown press ''"},
        {"knrom", "unknown press 'knrom'; did you mean knorm"},
        {"knorm(", "closing )"},
        {"knorm(middle)", "expected one of low|high, found 'middle'"},
        {"knorm(size=3)", "unknown option 'size'; it has: side"},
        {"knorm(low,)", "after the comma"},
        {"recency(3)", "expected no options"},
        {"streaming(-1)", "expected a whole number from 0"},
        {"streaming(99999999)", "expected a whole number from 0"},
        {"random(static,9)", "expected name=value"},
        {"knorm:keep=0", "keep: expected a ratio above 0 and at most 1, found '0'"},
        {"knorm:keep=-1", "found '-1'"},
        {"knorm:keep=1.5", "found '1.5'"},
        {"knorm:keep=nan", "found 'nan'"},
        {"knorm:keep=", "found ''"},
        {"knorm:keep=0.5x", "found '0.5x'"},
        {"knorm:cap=0", "cap: expected a whole number above 0"},
        {"knorm:cap=-3", "cap"},
        {"knorm:cap=99999999999999999999", "cap"},
        {"knorm:trigger=lt", "expected ge or gt"},
        {"knorm:cadence=0", "cadence"},
        {"knorm:skip=a", "skip"},
        {"knorm:skip=1+", "layer after the +"},
        {"knorm:skip=1024", "skip"},
        {"knorm:order=norm", "expected time or score"},
        {"knorm:positions=rebased", "expected true or cache-length"},
        {"knorm:colour=red", "unknown key 'colour'"},
        {"knorm:keep", "expected key=value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_policy p;
        kvl_err err = {0};
        kvl_policy_init(&p);
        assert_int_equal(kvl_policy_parse(&p, cases[i].text, &err), KVL_E_USAGE);
        if (strstr(err.msg, cases[i].part) == NULL) {
            fail_msg("'%s': message '%s' lacks '%s'", cases[i].text, err.msg, cases[i].part);
        }
    }
}

/* Kept entries at the trigger of 32, as the published protocol rounds: ceil(rho n). */
static void test_targets(void **state) {
    (void)state;
    const kvl_shape shape = {.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    const kvl_moment at = {.n_seen = 32};
    static const struct {
        const char *keep;
        size_t kept;
    } cases[] = {{"0.95", 31}, {"0.9", 29}, {"0.85", 28}, {"0.8", 26}, {"0.75", 24}, {"0.7", 23},
                 {"0.6", 20},  {"0.5", 16}, {"0.4", 13},  {"0.3", 10}, {"0.1", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64] = "knorm:cap=32:keep=";
        memcpy(text + strlen(text), cases[i].keep, strlen(cases[i].keep) + 1);
        kvl_policy p = test_policy(text);
        assert_int_equal(kvl_policy_target(&p, &shape, &at, 0, 0, 32), cases[i].kept);
        assert_int_equal(kvl_policy_target(&p, &shape, &at, 0, 0, 31), 31); /* below the trigger: nothing */
    }
    kvl_policy gt = test_policy("knorm:cap=32:trigger=gt:size=16");
    assert_int_equal(kvl_policy_target(&gt, &shape, &at, 0, 0, 32), 32);
    assert_int_equal(kvl_policy_target(&gt, &shape, &at, 0, 0, 33), 16);
    kvl_policy tiny = test_policy("knorm:keep=0.0001");
    assert_int_equal(kvl_policy_target(&tiny, &shape, &at, 0, 0, 5), 1);
    kvl_policy none = test_policy("none");
    assert_int_equal(kvl_policy_target(&none, &shape, &at, 0, 0, 1000), 1000);
}

/* 2: sink, 1: among the newest, 0: by score. */
static int rank_of(const kvl_policy *p, const int32_t *positions, size_t n, size_t j) {
    size_t newer = 0;
    for (size_t i = 0; i < n; i++) {
        newer += positions[i] > positions[j];
    }
    return (uint64_t)positions[j] < p->protections.n_sinks ? 2 : newer < p->protections.n_recent ? 1 : 0;
}

static bool is_before(const kvl_policy *p, const float *scores, const int32_t *positions, size_t n, size_t a,
                      size_t b) {
    int ranks[2] = {rank_of(p, positions, n, a), rank_of(p, positions, n, b)};
    if (ranks[0] != ranks[1]) {
        return ranks[0] > ranks[1];
    }
    if (ranks[0] == 0 && scores[a] != scores[b]) {
        return scores[a] > scores[b];
    }
    return positions[a] > positions[b];
}

/* Selection against repeated search for the best remaining entry. */
static void check_select(uint64_t seed, size_t n, size_t target, const char *text) {
    static const float values[] = {-INFINITY, -2.5f, -1e-40f, -0.0f, 0.0f, 1e-40f, 2.5f, 7.0f};
    kvl_policy p = test_policy(text);
    float scores[200];
    int32_t positions[200];
    uint32_t slots[200];
    _Alignas(16) static char scratch[200 * 32];
    assert_true(kvl_select_scratch_bytes(n) <= sizeof scratch);
    for (size_t j = 0; j < n; j++) {
        scores[j] = values[kvl_rng_draw(seed, 0, j) % 8]; /* many ties */
        positions[j] =
            (int32_t)(p.protections.is_score_order || seed % 2 ? (j * 7 + 3) % n : j); /* sorted or not */
    }
    assert_int_equal(kvl_select(slots, target, &p.protections, scores, positions, n, scratch, NULL), KVL_OK);
    bool is_taken[200] = {false};
    bool want[200] = {false};
    for (size_t k = 0; k < target; k++) {
        size_t best = n;
        for (size_t j = 0; j < n; j++) {
            if (!is_taken[j] && (best == n || is_before(&p, scores, positions, n, j, best))) {
                best = j;
            }
        }
        is_taken[best] = true;
        want[best] = true;
        if (p.protections.is_score_order) {
            assert_int_equal(slots[k], best);
        }
    }
    for (size_t k = 0; k < target; k++) {
        assert_true(want[slots[k]]);
        want[slots[k]] = false;
        assert_true(p.protections.is_score_order || k == 0 || positions[slots[k]] > positions[slots[k - 1]]);
    }
}

static void test_select(void **state) {
    (void)state;
    static const char *const texts[] = {"knorm",
                                        "knorm:sinks=3",
                                        "knorm:recent=5",
                                        "knorm:sinks=2:recent=4",
                                        "knorm:order=score",
                                        "knorm:order=score:sinks=2:recent=6",
                                        "knorm:recent=1000"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (uint64_t seed = 0; seed < 30; seed++) {
            size_t n = 1 + kvl_rng_draw(seed, 5, i) % 60;
            n += n % 7 == 0; /* keeps the made-up positions distinct */
            check_select(seed, n, 1 + kvl_rng_draw(seed, 6, i) % n, texts[i]);
        }
    }
}

static void test_nan_score_is_refused(void **state) {
    (void)state;
    kvl_policy p = test_policy("knorm");
    float scores[3] = {1, NAN, 2};
    int32_t positions[3] = {0, 1, 2};
    uint32_t slots[2];
    _Alignas(16) char scratch[128];
    kvl_err err = {0};
    assert_int_equal(kvl_select(slots, 2, &p.protections, scores, positions, 3, scratch, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "slot 1"));
}

/* One head with 4 entries of 2 dimensions: norms 5, 1, 13, 2 by hand (3-4-5, 5-12-13). */
static void score_with(const char *text, float scores[4], uint64_t event) {
    static const float keys[4][2] = {{3, 4}, {0, 1}, {5, 12}, {2, 0}};
    static const float values[4][2] = {{1, 0}, {6, 8}, {0, 0}, {0, 2}};
    kvl_shape shape = {.n_layers = 2, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    kvl_cache *c = NULL;
    assert_int_equal(kvl_cache_create(&c, &shape, NULL), KVL_OK);
    assert_int_equal(kvl_cache_reserve(c, 4, NULL), KVL_OK);
    for (int32_t j = 0; j < 4; j++) {
        kvl_cache_append(c, 1, 0, keys[j], values[j], 10 * j);
    }
    kvl_policy p = test_policy(text);
    const kvl_layer_view in = {
        .cache = c, .shape = &shape, .layer = 1, .n_seen = 31, .event = event, .seed = 5};
    const kvl_head_view view = {.in = &in, .n = 4, .positions = kvl_cache_entries(c, 1, 0).positions};
    float scratch[64];
    kvl_policy_press(&p)->score(p.tree[0].conf, &view, scores, scratch);
    kvl_cache_destroy(c);
}

static void check_scores(const char *text, float a, float b, float c, float d) {
    float s[4];
    score_with(text, s, 0);
    assert_true(s[0] == a && s[1] == b && s[2] == c && s[3] == d);
}

static void test_presses_by_hand(void **state) {
    (void)state;
    check_scores("knorm", -5, -1, -13, -2);
    check_scores("knorm(high)", 5, 1, 13, 2);
    check_scores("recency", 0, 10, 20, 30);
    check_scores("streaming(sinks=15)", 0x1p30f, 0x1p30f - 10, 20, 30);
    check_scores("template", 1, 10, 0, 2);
}

static void test_random_kinds(void **state) {
    (void)state;
    float first[4], second[4], other[4];
    score_with("random(static)", first, 0);
    score_with("random(static)", second, 1);
    assert_memory_equal(first, second, sizeof first); /* drawn once */
    score_with("random(static,seed=1)", other, 0);
    assert_memory_not_equal(first, other, sizeof first);
    score_with("random(redrawn)", first, 0);
    score_with("random(redrawn)", second, 1);
    assert_memory_not_equal(first, second, sizeof first); /* fresh at every compression */
    score_with("random(redrawn)", second, 0);
    assert_memory_equal(first, second, sizeof first); /* and reproducible */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_text),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_nan_score_is_refused),
        cmocka_unit_test(test_presses_by_hand),
        cmocka_unit_test(test_random_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
