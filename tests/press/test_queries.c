/* Presses that rank by queries, on layers small enough to work out by hand: heads of two dimensions. */
#include "support.h"

#include "model/model.h"
#include "press/expected.h"
#include "press/policy.h"
#include "press/rerotate.h"
#include "press/select.h"

#include <math.h>
#include <string.h>

enum { most = 16 };

/* One layer of one KV head. */
typedef struct layer {
    kvl_shape shape;
    kvl_policy policy;
    kvl_cache *cache;
    kvl_tap *tap;
    kvl_layer_view view;
    kvl_head_view head;
    float *scratch;
    float scores[most];
} layer;

static const kvl_kernels *kernels;

static void open_layer(layer *l, const char *text, uint32_t n_heads) {
    memset(l, 0, sizeof *l);
    l->shape = (kvl_shape){
        .n_layers = 1, .n_heads = n_heads, .n_kv_heads = 1, .head_dim = 2, .n_rotary = 2, .attn_scale = 1};
    kvl_policy_init(&l->policy);
    assert_ok(kvl_policy_parse(&l->policy, text, NULL));
    const kvl_needs needs = kvl_policy_needs(&l->policy, &l->shape);
    assert_ok(kvl_cache_create(&l->cache, &l->shape, NULL));
    if (needs.has_mass) {
        kvl_cache_track_mass(l->cache);
    }
    assert_ok(kvl_cache_reserve(l->cache, most, NULL));
    assert_ok(kvl_tap_create(&l->tap, &l->shape, needs, NULL));
    l->scratch = kvl_calloc(kvl_press_scratch_floats(l->policy.tree, &l->shape, most) + 16, sizeof(float));
    assert_non_null(l->scratch);
    l->view = (kvl_layer_view){
        .shape = &l->shape, .kernels = kernels, .heads = &l->head, .cache = l->cache, .tap = l->tap};
    l->head = (kvl_head_view){.in = &l->view, .target = 1};
}

static void close_layer(layer *l) {
    kvl_cache_destroy(l->cache);
    kvl_tap_destroy(l->tap);
    kvl_free(l->scratch);
}

/* Appends a token with its entry, and notes the query of its first head. */
static void append(layer *l, float q0, float q1, float k0, float k1, float v0, float v1) {
    const uint64_t token = l->view.n_seen++;
    kvl_cache_append(l->cache, 0, 0, (float[]){k0, k1}, (float[]){v0, v1}, (int32_t)token);
    kvl_tap_note_plain(l->tap, kernels, 0, 0, token, (float[]){q0, q1});
    kvl_tap_note_rotated(l->tap, 0, 0, token, (float[]){q0, q1});
    l->head.n = kvl_cache_len(l->cache, 0, 0);
    l->head.positions = kvl_cache_entries(l->cache, 0, 0).positions;
}

static void score(layer *l) {
    float *scores[] = {l->scores};
    kvl_press_score_layer(l->policy.tree, &l->view, scores, l->scratch);
}

static void assert_scores(const layer *l, const double *expected) {
    for (size_t j = 0; j < l->head.n; j++) {
        if (!(fabs((double)l->scores[j] - expected[j]) <= 2e-6 * fmax(1, fabs(expected[j])))) {
            fail_msg("slot %zu: expected %.9g, found %.9g", j, expected[j], (double)l->scores[j]);
        }
    }
}

/* What the press's own selection keeps of the scores, as digits. */
static void assert_selected(layer *l, const char *expected) {
    uint32_t slots[most];
    _Alignas(16) static char scratch[most * 32];
    float *scores[] = {l->scores};
    kvl_choice choice = {.slots = slots};
    char found[most + 1] = {0};
    assert_true(kvl_select_scratch_bytes(most) <= sizeof scratch);
    assert_ok(kvl_press_select(l->policy.tree, &l->view, scores, &choice, &l->policy.protections, l->scratch,
                               scratch, NULL));
    for (size_t i = 0; i < choice.n; i++) {
        found[i] = (char)('0' + slots[i]);
    }
    assert_string_equal(found, expected);
}

/* ---- h2o ---- */

/* Sums 4 1 3 2 1 over two query heads; of a budget of 3 the newest 2 (1.5 rounded up) rank first, with one
 * more than the 5 queries there were. */
static void test_h2o(void **state) {
    (void)state;
    static const int64_t sums[] = {4, 1, 3, 2, 1};
    layer l;
    open_layer(&l, "h2o", 2);
    for (size_t j = 0; j < 5; j++) {
        append(&l, 0, 0, 0, 0, 0, 0);
        kvl_cache_entries(l.cache, 0, 0).mass[j] = sums[j] * KVL_MASS_ONE;
    }
    l.head.target = 3;
    score(&l);
    assert_scores(&l, (double[]){2, 0.5, 1.5, 6, 6});
    assert_selected(&l, "034");
    l.head.target = 1; /* one token: the newest */
    score(&l);
    assert_selected(&l, "4");
    close_layer(&l);
    open_layer(&l, "h2o(recent=0)", 2);
    for (size_t j = 0; j < 5; j++) {
        append(&l, 0, 0, 0, 0, 0, 0);
        kvl_cache_entries(l.cache, 0, 0).mass[j] = sums[j] * KVL_MASS_ONE;
    }
    l.head.target = 3;
    score(&l);
    assert_selected(&l, "023");
    close_layer(&l);
}

/* ---- expected-attention ---- */

/* Queries (1, 0) and (3, 0) behind the sink: mean (2, 0), covariance diag(1, 0). Keys (0, 1) and (1, 0),
 * values of norms 5 and 1. */
static void open_expected(layer *l, const char *text) {
    open_layer(l, text, 1);
    append(l, 9, 9, 5, 5, 1, 1);
    append(l, 1, 0, 0, 1, 3, 4);
    append(l, 3, 0, 1, 0, 1, 0);
}

/* Scores when key 2 has the larger logit by `more`; epsilon 0.5. */
static void check_logits(layer *l, double more) {
    const double a1 = 1 / (1 + exp(more)), a2 = 1 / (1 + exp(-more));
    const double s1 = 5 * (a1 + 0.5), s2 = a2 + 0.5;
    score(l);
    assert_scores(l, (double[]){fmax(s1, s2) + 1, s1, s2});
    close_layer(l);
}

static void test_expected(void **state) {
    (void)state;
    layer l;
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5)");
    check_logits(&l, 2 + 0.5); /* m.k + k'Sk / 2 */
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5,covariance=off)");
    check_logits(&l, 2);
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5)");
    l.shape.attn_scale = 0.5f; /* m.k / 2 + k'Sk / 8 */
    check_logits(&l, 1.125);
    open_expected(&l, "expected-attention(sinks=1,vnorm=off)");
    score(&l);
    const double a2 = 1 / (1 + exp(-2.5));
    assert_scores(&l, (double[]){a2 + 1, 1 - a2, a2});
    close_layer(&l);
}

/* Quarter turns: the next two positions, 3 and 4, have the cosines 0 and 1 and the sines -1 and 0: R is
 * [.5 .5; -.5 .5], the mean (1, -1), the covariance [.25 -.25; -.25 .25]. Logits -1 + 1/8 and 1 + 1/8. */
static void test_expected_rotation(void **state) {
    (void)state;
    float frequencies[] = {1.57079632679f};
    const kvl_rope rope = {frequencies, 1};
    layer l;
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5,future=2)");
    l.view.rope = &rope;
    check_logits(&l, 2);
    /* twice as long: the mean (2, -2), the covariance 4 times: logits -2 + 1/2 and 2 + 1/2 */
    const kvl_rope longer = {frequencies, 2};
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5,future=2)");
    l.view.rope = &longer;
    check_logits(&l, 4);
    /* no rotation at all is the same for every position */
    frequencies[0] = 0;
    open_expected(&l, "expected-attention(sinks=1,epsilon=0.5,future=2)");
    l.view.rope = &rope;
    check_logits(&l, 2.5);
}

/* Two query heads over one KV head, moments given: each head's softmax is averaged. Logits 0 and 1, 0 and 3.
 */
static void test_expected_group(void **state) {
    (void)state;
    static const float means[] = {1, 0, 3, 0};
    const kvl_expected how = {.n_future = 1};
    layer l;
    open_layer(&l, "expected-attention", 2);
    append(&l, 0, 0, 0, 1, 0, 0);
    append(&l, 0, 0, 1, 0, 0, 0);
    kvl_expected_score(&l.head, &how, means, NULL, l.scores, l.scratch);
    const double a = (1 / (1 + exp(-1.0)) + 1 / (1 + exp(-3.0))) / 2;
    assert_scores(&l, (double[]){1 - a, a});
    close_layer(&l);
}

/* ---- cap ---- */

/* The anchor (2, 0); keys at a right angle and along it: weights 1/2 and 1 with tau = ln 2. Values (1, 1) and
 * (2, 0): M = 1 + [.5 .5; .5 .5] + [4 0; 0 0] = [5.5 .5; .5 1.5], of determinant 8; leverages 6/8 and 6/8. */
static void test_cap(void **state) {
    (void)state;
    layer l;
    open_layer(&l, "cap(tau=0.69314718055994531,sinks=1,epsilon=0)", 1);
    append(&l, 9, 9, 5, 5, 1, 1);
    append(&l, 1, 0, 0, 5, 1, 1);
    append(&l, 3, 0, 3, 0, 2, 0);
    score(&l);
    assert_scores(&l, (double[]){1.75, 0.375, 0.75});
    close_layer(&l);
    /* epsilon counts in M alone: weights 1 and 1.5 there, M = [8 1; 1 2], of determinant 15: leverages
     * (2 - 2 + 8) / 15 and 4 * 2 / 15 */
    open_layer(&l, "cap(tau=0.69314718055994531,sinks=1,epsilon=0.5)", 1);
    append(&l, 9, 9, 5, 5, 1, 1);
    append(&l, 1, 0, 0, 5, 1, 1);
    append(&l, 3, 0, 3, 0, 2, 0);
    score(&l);
    assert_scores(&l, (double[]){8.0 / 15 + 1, 4.0 / 15, 8.0 / 15});
    close_layer(&l);
}

/* ---- finch ---- */

/* Equal keys: the query at 2 gives a third to each of the entries before it, of which there are 2, that at 3
 * a quarter, 3 being there. */
static void test_finch(void **state) {
    (void)state;
    layer l;
    open_layer(&l, "finch(window=2)", 1);
    for (size_t j = 0; j < 4; j++) {
        append(&l, 1, 1, 0, 0, 0, 0);
    }
    score(&l);
    assert_scores(&l, (double[]){17.0 / 24, 17.0 / 24, 41.0 / 24, 41.0 / 24});
    close_layer(&l);
    open_layer(&l, "finch(window=2,normalize=off)", 1);
    for (size_t j = 0; j < 4; j++) {
        append(&l, 1, 1, 0, 0, 0, 0);
    }
    score(&l);
    assert_scores(&l, (double[]){7.0 / 24, 7.0 / 24, 31.0 / 24, 31.0 / 24});
    close_layer(&l);
}

static void check_chunks(const char *text, size_t target, const char *expected) {
    static const float scores[] = {5, 4, 3, 2, 1, 0, 6, 6};
    layer l;
    open_layer(&l, text, 1);
    for (size_t j = 0; j < 8; j++) {
        append(&l, 0, 0, 0, 0, 0, 0);
    }
    memcpy(l.scores, scores, sizeof scores);
    l.head.target = target;
    assert_selected(&l, expected);
    close_layer(&l);
}

static void test_finch_chunks(void **state) {
    (void)state;
    check_chunks("finch(window=2)", 4, "0167");
    check_chunks("finch(window=2)", 5, "01267");
    check_chunks("finch(window=2,chunk=4)", 4, "0167");
    check_chunks("finch(window=2,chunk=4)", 6, "012467"); /* 3 each; without chunks 012367 */
    check_chunks("finch(window=2,chunk=4)", 5, "01467");  /* 2 and 3 */
    check_chunks("finch(window=2,chunk=3)", 4, "0367");   /* 1, 2 of 4 so far, 2 */
    check_chunks("finch(window=2,chunk=4)", 2, "67");     /* the window before what chunks would keep */
    check_chunks("finch(window=2,chunk=4):sinks=2", 3, "017");
    check_chunks("finch(window=2,chunk=4):recent=4", 6, "014567");
}

/* Quarter turns: the key of position p is (1, 0) turned p times. Of 0, 1, 3 those of 1 and 3 stay, at 0
 * and 1. */
static void check_rerotation(const char *text, const float expected[4]) {
    float frequencies[] = {1.57079632679f};
    const kvl_rope rope = {frequencies, 1};
    uint32_t slots[] = {1, 3};
    const kvl_choice choice = {slots, 2};
    float keys[2 * 4];
    layer l;
    open_layer(&l, text, 1);
    l.view.rope = &rope;
    append(&l, 0, 0, 1, 0, 0, 0);
    append(&l, 0, 0, 0, 1, 0, 0);
    append(&l, 0, 0, -1, 0, 0, 0);
    append(&l, 0, 0, 0, -1, 0, 0);
    kvl_press_alter(l.policy.tree, &l.head, l.cache, &choice, l.scratch);
    kvl_cache_copy_keys(l.cache, 0, 0, keys);
    for (size_t d = 0; d < 2; d++) {
        assert_true(fabsf(keys[2 + d] - expected[d]) < 1e-6f);
        assert_true(fabsf(keys[6 + d] - expected[2 + d]) < 1e-6f);
    }
    assert_true(keys[0] == 1 && keys[1] == 0 && keys[4] == -1 && keys[5] == 0); /* those that go */
    close_layer(&l);
}

static void test_finch_rerotation(void **state) {
    (void)state;
    check_rerotation("finch", (float[]){1, 0, 0, 1});
    check_rerotation("finch(rerotate=off)", (float[]){0, 1, 0, -1});
}

/* ---- simlayerkv ---- */

/* Equal keys, so that the query at 9 gives a tenth to each: 3 tenths to the first and the two before it. */
static void check_lazy(const char *text, const char *expected) {
    layer l;
    open_layer(&l, text, 1);
    for (size_t j = 0; j < 10; j++) {
        append(&l, 1, 1, 0, 0, 0, 0);
    }
    score(&l);
    assert_selected(&l, expected);
    close_layer(&l);
}

static void test_simlayerkv(void **state) {
    (void)state;
    layer l;
    open_layer(&l, "simlayerkv(threshold=0.25,recent=2,initial=1)", 1);
    for (size_t j = 0; j < 10; j++) {
        append(&l, 1, 1, 0, 0, 0, 0);
    }
    score(&l);
    assert_scores(&l, (double[]){1, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, -0.05, 1});
    close_layer(&l);
    check_lazy("simlayerkv(threshold=0.25,recent=2,initial=1)", "09");
    check_lazy("simlayerkv(threshold=0.35,recent=2,initial=1)", "0123456789");
    check_lazy("simlayerkv(threshold=0.25,recent=4,initial=1)", "0789");
    check_lazy("simlayerkv(threshold=0.25,recent=4,initial=1,last=2)", "089");
    check_lazy("simlayerkv(threshold=0.05,recent=1,initial=0)", "9"); /* one at least */
    check_lazy("simlayerkv(threshold=0.25,recent=2,initial=1):sinks=3:recent=2", "01289");
}

static void check_least(const char *text, size_t n, size_t expected) {
    const kvl_shape shape = {.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    kvl_policy p;
    kvl_policy_init(&p);
    assert_ok(kvl_policy_parse(&p, text, NULL));
    assert_int_equal(kvl_press_budget(p.tree, &shape, 0, n, 3), expected);
}

static void test_simlayerkv_budget(void **state) {
    (void)state;
    check_least("simlayerkv(threshold=0.9)", 1029, 1029); /* 4 + 1024 + 1 */
    check_least("simlayerkv(threshold=0.9)", 1030, 1027); /* 4 + 1023 */
    check_least("simlayerkv", 5000, 5000);
    check_least("simlayerkv(threshold=0,initial=0,recent=1)", 9, 1);
}

/* ---- all ---- */

/* As many entries as sinks, or fewer, and one entry alone: numbers, not NaN. */
static void test_few(void **state) {
    (void)state;
    static const char *const texts[] = {"h2o", "expected-attention", "cap", "finch", "simlayerkv"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        layer l;
        open_layer(&l, texts[i], 1);
        for (size_t j = 0; j < 6; j++) {
            append(&l, 1, 0, 0, 0, 0, 0);
            score(&l);
            for (size_t k = 0; k <= j; k++) {
                assert_true(isfinite(l.scores[k]));
            }
        }
        close_layer(&l);
    }
}

static int find_kernels(void **state) {
    (void)state;
    return kvl_kernels_get(&kernels, NULL, NULL) == KVL_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2o),
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_expected_rotation),
        cmocka_unit_test(test_expected_group),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_finch),
        cmocka_unit_test(test_finch_chunks),
        cmocka_unit_test(test_finch_rerotation),
        cmocka_unit_test(test_simlayerkv),
        cmocka_unit_test(test_simlayerkv_budget),
        cmocka_unit_test(test_few),
    };
    return cmocka_run_group_tests(tests, find_kernels, NULL);
}
