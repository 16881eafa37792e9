/* Presses that rank by keys and values, against arithmetic written out. */
#include "support.h"

#include "base/rng.h"
#include "press/policy.h"
#include "press/select.h"

#include <math.h>
#include <string.h>

enum { max_n = 16 };

static const kvl_kernels *kernels;

/* A layer of heads that hold the same tokens, entry j of the text at position j. */
typedef struct layer {
    kvl_shape shape;
    kvl_cache *cache;
    kvl_tap *tap;
    kvl_head_view heads[2];
    kvl_layer_view view;
    float scores[2][max_n];
} layer;

/* keys and values [n, dim], the same in all heads; queries [n] (of one dimension) or NULL. order [n]: the
 * position in each slot, or NULL. */
static void open_layer(layer *l, uint32_t n_heads, uint32_t dim, size_t n, const float *keys,
                       const float *values, const float *queries, const int32_t *order) {
    *l = (layer){.shape = {.n_layers = 1, .n_heads = n_heads, .n_kv_heads = n_heads, .head_dim = dim}};
    assert_ok(kvl_cache_create(&l->cache, &l->shape, NULL));
    assert_ok(kvl_cache_reserve(l->cache, n, NULL));
    if (queries != NULL) {
        assert_ok(kvl_tap_create(&l->tap, &l->shape, (kvl_needs){.n_queries = KVL_ALL_QUERIES}, NULL));
        assert_ok(kvl_tap_reserve(l->tap, n, NULL));
    }
    l->view = (kvl_layer_view){.shape = &l->shape,
                               .kernels = kernels,
                               .heads = l->heads,
                               .n_seen = n,
                               .cache = l->cache,
                               .tap = l->tap};
    for (uint32_t k = 0; k < n_heads; k++) {
        for (size_t j = 0; j < n; j++) {
            const int32_t p = order != NULL ? order[j] : (int32_t)j;
            kvl_cache_append(l->cache, 0, k, keys + (size_t)p * dim, values + (size_t)p * dim, p);
        }
        for (size_t t = 0; queries != NULL && t < n; t++) {
            kvl_tap_note_rotated(l->tap, 0, k, t, queries + t);
        }
        l->heads[k] = (kvl_head_view){.in = &l->view,
                                      .head = k,
                                      .n = n,
                                      .positions = kvl_cache_entries(l->cache, 0, k).positions,
                                      .target = n};
    }
}

static void close_layer(layer *l) {
    kvl_cache_destroy(l->cache);
    kvl_tap_destroy(l->tap);
}

static void score(layer *l, const char *text) {
    const kvl_policy p = test_policy(text);
    static _Alignas(64) float scratch[1 << 16];
    float *scores[2] = {l->scores[0], l->scores[1]};
    assert_true(kvl_press_scratch_floats(p.tree, &l->shape, max_n) <= sizeof scratch / sizeof *scratch);
    kvl_press_score_layer(p.tree, &l->view, scores, scratch);
}

static void check(const layer *l, const char *text, const double *expected, double tolerance) {
    for (uint32_t k = 0; k < l->shape.n_kv_heads; k++) {
        for (size_t j = 0; j < l->heads[k].n; j++) {
            const double want = expected[l->heads[k].positions[j]];
            if (!(fabs((double)l->scores[k][j] - want) <= tolerance)) {
                fail_msg("%s: head %u, position %d: expected %.9g, found %.9g", text, k,
                         l->heads[k].positions[j], want, (double)l->scores[k][j]);
            }
        }
    }
}

/* One head; queries of one dimension or NULL. */
static void check_press(const char *text, uint32_t dim, size_t n, const float *keys, const float *values,
                        const float *queries, const double *expected) {
    static const int32_t order[max_n] = {2, 0, 1, 3, 6, 5, 4}; /* slots as with order=score */
    for (int is_shuffled = 0; is_shuffled < (n == 3 || n == 7 ? 2 : 1); is_shuffled++) {
        layer l;
        open_layer(&l, 1, dim, n, keys, values, queries, is_shuffled ? order : NULL);
        score(&l, text);
        check(&l, text, expected, 2e-6);
        close_layer(&l);
    }
}

static const float three_keys[] = {2, 0, 0, 3, 3, 4};
static const float three_values[] = {1, 0, 6, 8, 0, 0};

/* Unit keys (1, 0), (0, 1), (0.6, 0.8): their mean is (1.6, 1.8) / 3, of length sqrt(5.8) / 3. */
static void test_keydiff(void **state) {
    (void)state;
    const double root = sqrt(5.8);
    check_press("keydiff", 2, 3, three_keys, three_values, NULL,
                (double[]){-1.6 / root, -1.8 / root, -2.4 / root});
    check_press("keydiff", 2, 3, (float[]){0, 0, 2, 0, 0, 5}, three_values, NULL,
                (double[]){0, -sqrt(0.5), -sqrt(0.5)});
    check_press("keydiff", 2, 2, (float[]){1, 1, -2, -2}, three_values, NULL, (double[]){0, 0});
}

/* Parts of 2 behind a sink: {1, 2} measured by {3, 4}: channels reach from 0 to 2 and from 0 to 1, so that
 * key 1 is (0.5, 3), of deviation 2.5 / sqrt 2, key 2 is (0, 0). {3, 4} measured by {5, 6}, where channel 0
 * is constant: one channel has no deviation. Values are constant: half of each part. */
static void test_lagkv(void **state) {
    (void)state;
    const float keys[] = {9, 9, 1, 3, 0, 0, 0, 0, 2, 1, 1, 5, 1, 7};
    const float values[14] = {0};
    const double e = exp(2.5 / sqrt(2.0));
    check_press("lagkv(sinks=1,lag=2,cross=on)", 2, 7, keys, values, NULL,
                (double[]){2, (e / (e + 1) + 0.5) / 2, (1 / (e + 1) + 0.5) / 2, 0.5, 0.5, 1, 1});
    check_press("lagkv(sinks=1,lag=2)", 2, 7, keys, values, NULL, (double[]){2, 0.5, 0, 0, 0.5, 1, 1});
    check_press("lagkv(sinks=1,lag=2,cross=on)", 2, 4, keys, values, NULL,
                (double[]){1, 0, 1.0 / 3, 2.0 / 3});
    check_press("lagkv", 2, 3, keys, values, NULL, (double[]){1, 1, 1}); /* all are sinks */
    check_press("lagkv(sinks=0,lag=3)", 2, 3, keys, values, NULL, (double[]){0, 1.0 / 3, 2.0 / 3});
    /* more behind the last whole part: it stays */
    check_press("lagkv(sinks=0,lag=2)", 2, 5, keys + 2, values, NULL, (double[]){0.5, 0, 1, 1, 1});
}

static void test_cur(void **state) {
    (void)state;
    const float *k = three_keys, *v = three_values; /* squares 4, 9, 25 and 1, 100, 0 */
    check_press("cur(sinks=0,window=2)", 2, 3, k, v, NULL, (double[]){4.0 / 904, 900.0 / 904, 0});
    check_press("cur(sinks=1,window=2)", 2, 3, k, v, NULL, (double[]){1, 900.0 / 904, 0});
    check_press("cur(sinks=0,local=off)", 2, 3, k, v, NULL, (double[]){4.0 / 904, 900.0 / 904, 0});
    check_press("cur(sinks=0,local=off,type=key)", 2, 3, k, v, NULL,
                (double[]){4.0 / 38, 9.0 / 38, 25.0 / 38});
    check_press("cur(sinks=0,window=2,type=key)", 2, 3, k, v, NULL, (double[]){2.0 / 13, 4.5 / 13, 0.5});
    check_press("cur(sinks=0,local=off,type=value)", 2, 3, k, v, NULL, (double[]){1.0 / 101, 100.0 / 101, 0});
    check_press("cur(sinks=0,local=off,type=kv_avg)", 2, 3, k, v, NULL,
                (double[]){5.0 / 139, 109.0 / 139, 25.0 / 139});
    check_press("cur", 2, 3, k, v, NULL, (double[]){1, 1, 1});
    check_press("cur(sinks=0)", 2, 3, (float[6]){0}, v, NULL, (double[]){0, 0, 0});
}

static void test_cur_projection(void **state) {
    (void)state;
    double expected[3], sum = 0;
    for (size_t j = 0; j < 3; j++) {
        expected[j] = 0;
        for (uint64_t c = 0; c < 20; c++) {
            const double x = (double)three_keys[2 * j] * kvl_rng_normal(0, 0, c) +
                             (double)three_keys[2 * j + 1] * kvl_rng_normal(0, 0, 20 + c);
            expected[j] += x * x;
        }
        sum += expected[j];
    }
    for (size_t j = 0; j < 3; j++) {
        expected[j] /= sum;
    }
    check_press("cur(sinks=0,local=off,type=key,random=on)", 2, 3, three_keys, three_values, NULL, expected);
}

/* The mean of many draws is near 0, of the square 1, of the fourth power 3: within 4 standard errors. */
static void test_normal_draws(void **state) {
    (void)state;
    enum { n = 10000 };
    double sum = 0, squares = 0, fourth = 0;
    for (uint64_t i = 0; i < n; i++) {
        const double x = kvl_rng_normal(3, 5, i);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / n) < 4 * sqrt(1.0 / n));
    assert_true(fabs(squares / n - 1) < 4 * sqrt(2.0 / n));
    assert_true(fabs(fourth / n - 3) < 4 * sqrt(96.0 / n));
}

/* In one dimension the projection is a factor: scores go as the squares of (1, 2, 6) - 3, and a standard
 * score does not see factors. Squares 4, 1, 9: mean 14 / 3, variance 49 / 3. */
static const double standard_squares[] = {-2.0 / 3 / 4.041451884, -11.0 / 3 / 4.041451884,
                                          13.0 / 3 / 4.041451884};

static void test_leverage(void **state) {
    (void)state;
    check_press("leverage(sketch=1)", 1, 3, (float[]){1, 2, 6}, three_values, NULL, standard_squares);
    check_press("leverage", 1, 3, (float[]){5, 5, 5}, three_values, NULL, (double[]){0, 0, 0});
    check_press("leverage", 1, 1, (float[]){5}, three_values, NULL, (double[]){0});
    /* As many dimensions as keys have: the leverages themselves, whatever the projection, jitter being small
     * beside the keys. Two heads; sums of squares 12 and 6, of products 0: leverages 3/4, 3/4, 1/4, 1/4 in
     * both, of standard deviation sqrt(8 / 16 / 7). */
    const float keys[] = {3000, 0, -1000, 2000, -1000, -1000, -1000, -1000};
    const double x = 0.25 / sqrt(0.5 / 7);
    for (int seed = 0; seed < 2; seed++) {
        layer l;
        open_layer(&l, 2, 2, 4, keys, keys, NULL, NULL);
        score(&l, seed == 0 ? "leverage(sketch=2)" : "leverage(sketch=2,seed=1)");
        check(&l, "leverage(sketch=2)", (double[]){x, x, -x, -x}, 1e-4);
        close_layer(&l);
    }
}

/* Tokens 0 and 1 look at each other: softmax (1/4, 3/4) and (1/2, 1/2); token 2, alone, at itself. Times the
 * norms 1, 2, 4: 3/4, 5/2, 4; sums of 3 neighbours: 3.25, 7.25, 6.5. */
static const double standard_sums[] = {-1.136599612, 0.744668712, 0.391930901};

static void test_noncausal(void **state) {
    (void)state;
    const float ln3 = logf(3);
    const float queries[] = {1, 0, 7};
    check_press("noncausal(chunk=2)", 1, 3, (float[]){0, ln3, 5}, (float[]){-1, 2, 4}, queries,
                standard_sums);
    check_press("noncausal", 1, 1, (float[]){2}, (float[]){1}, queries, (double[]){0});
    check_press("noncausal", 1, 3, (float[3]){0}, (float[3]){0}, queries, (double[]){0, 0, 0});
    /* Two query heads, both like that: their mean. */
    layer l;
    open_layer(&l, 1, 1, 3, (float[]){0, ln3, 5}, (float[]){-1, 2, 4}, queries, NULL);
    kvl_shape two = l.shape;
    kvl_tap *tap = NULL;
    two.n_heads = 2;
    assert_ok(kvl_tap_create(&tap, &two, (kvl_needs){.n_queries = KVL_ALL_QUERIES}, NULL));
    assert_ok(kvl_tap_reserve(tap, 3, NULL));
    for (uint32_t t = 0; t < 6; t++) {
        kvl_tap_note_rotated(tap, 0, t % 2, t / 2, queries + t / 2);
    }
    l.view.shape = &two;
    l.view.tap = tap;
    score(&l, "noncausal(chunk=2)");
    check(&l, "noncausal of a group", standard_sums, 2e-6);
    kvl_tap_destroy(tap);
    close_layer(&l);
}

/* Token 1 of 4 is gone: the queries of 0 and 1 look at entry 0 only, those of 2 and 3 at both of theirs:
 * votes 2, 1, 1, sums of neighbours 3, 4, 2. */
static void test_noncausal_after_eviction(void **state) {
    (void)state;
    layer l;
    const float ones[] = {1, 1, 1, 1}, zeros[4] = {0};
    const uint32_t slots[] = {0, 2, 3};
    open_layer(&l, 1, 1, 4, zeros, ones, ones, NULL);
    assert_ok(kvl_cache_keep(l.cache, 0, 0, slots, 3, NULL));
    l.heads[0].n = 3;
    l.heads[0].positions = kvl_cache_entries(l.cache, 0, 0).positions;
    score(&l, "noncausal(chunk=2)");
    check(&l, "noncausal", (double[]){0, (double)NAN, 1, -1}, 2e-6);
    close_layer(&l);
}

/* Between a first and a last token: leverages as above, and uniform attention with values of 3/4, 5/2, 4. */
static void test_compactor(void **state) {
    (void)state;
    const float keys[] = {50, 1, 2, 6, -70}, values[] = {9, 0.75f, 2.5f, 4, 9}, queries[5] = {0};
    static const struct {
        const char *text;
        double blend;
    } cases[] = {{"compactor(start=1,end=1,sketch=1,blend=0.5)", 0.5},
                 {"compactor(start=1,end=1,sketch=1,blend=0)", 0},
                 {"compactor(start=1,end=1,sketch=1)", 0.6}}; /* 2 of 5 stay */
    for (size_t i = 0; i < 3; i++) {
        layer l;
        double expected[5], most = -(double)INFINITY;
        open_layer(&l, 1, 1, 5, keys, values, queries, NULL);
        l.heads[0].target = 2;
        score(&l, cases[i].text);
        for (size_t j = 0; j < 3; j++) {
            expected[1 + j] = cases[i].blend * standard_squares[j] + standard_sums[j];
            most = fmax(most, expected[1 + j]);
        }
        expected[0] = expected[4] = most + 1;
        check(&l, cases[i].text, expected, 2e-6);
        close_layer(&l);
    }
    /* all are protected */
    check_press("compactor", 1, 5, keys, values, queries, (double[]){1, 1, 1, 1, 1});
    kvl_str text = {0};
    const kvl_policy p = test_policy("compactor(blend=0.5,start=8)");
    kvl_policy_press_text(&p, &text);
    assert_string_equal(kvl_str_text(&text), "compactor(blend=0.5)");
    kvl_str_free(&text);
    kvl_policy bad;
    kvl_err err = {0};
    kvl_policy_init(&bad);
    assert_int_equal(kvl_policy_parse(&bad, "compactor(blend=most)", &err), KVL_E_USAGE);
    assert_non_null(strstr(err.msg, "expected auto or a number from 0 to 1000, found 'most'"));
}

/* No press makes a NaN of keys that are all the same, or all zero, in any number. */
static void test_equal_entries(void **state) {
    (void)state;
    static const char *const texts[] = {"keydiff",
                                        "lagkv(sinks=1,lag=2)",
                                        "lagkv(sinks=1,lag=2,cross=on)",
                                        "cur",
                                        "cur(random=on)",
                                        "leverage",
                                        "noncausal",
                                        "compactor",
                                        "compactor(start=1,end=1)",
                                        "h2o_l2",
                                        "snapkv_lite",
                                        "adaptive_l2"};
    float rows[2][max_n], queries[max_n];
    for (size_t j = 0; j < max_n; j++) {
        rows[0][j] = 0;
        rows[1][j] = 0.7f;
        queries[j] = (float)j;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t n = 1; n <= max_n; n++) {
            for (int kind = 0; kind < 2; kind++) {
                layer l;
                open_layer(&l, 2, 1, n, rows[kind], rows[kind], queries, NULL);
                score(&l, texts[i]);
                for (size_t j = 0; j < n; j++) {
                    assert_true(isfinite(l.scores[0][j]) && isfinite(l.scores[1][j]));
                }
                close_layer(&l);
            }
        }
    }
}

/* ---- norms of the published U-curve analysis ---- */

/* What stays of keys of these norms, as digits of positions below 10 and letters from 10 on. */
static void check_kept(const char *text, size_t n, const float *norms, const char *expected) {
    const kvl_policy p = test_policy(text);
    layer l;
    uint32_t slots[max_n];
    char kept[max_n + 1] = {0};
    _Alignas(16) static char scratch[max_n * 32];
    open_layer(&l, 1, 1, n, norms, norms, NULL, NULL);
    l.heads[0].target = kvl_policy_target(&p, &l.shape, &(kvl_moment){.n_seen = n}, 0, 0, n);
    assert_int_equal(l.heads[0].target, strlen(expected));
    score(&l, text);
    assert_ok(kvl_select(slots, l.heads[0].target, &p.protections, l.scores[0], l.heads[0].positions, n,
                         scratch, NULL));
    for (size_t j = 0; j < l.heads[0].target; j++) {
        kept[j] = "0123456789abcdef"[slots[j]];
    }
    if (strcmp(kept, expected) != 0) {
        fail_msg("%s: expected %s, found %s", text, expected, kept);
    }
    close_layer(&l);
}

static void test_l2_kept(void **state) {
    (void)state;
    const float six[] = {3, 1, 2, 5, 4, 6};
    const float runs[] = {1, 9, 3, 3, 9, 5};
    const float more[] = {9, 8, 7, 6, 5, 1, 2, 3, 4, 9, 8, 7, 6};
    check_kept("l2_compress(0.5,prune_after=5)", 6, six, "012");
    check_kept("l2_compress(0.5,prune_after=6)", 6, six, "012345");
    check_kept("fix_size_l2(4)", 6, six, "0124");
    check_kept("fix_size_l2(4,keep_ratio=0.5)", 6, six, "1245");
    check_kept("fix_size_l2(4,keep_ratio=0.5,strategy=keep_high)", 6, six, "0345");
    check_kept("fix_size_l2(4,keep_ratio=1)", 6, six, "2345");
    check_kept("fix_size_l2(4,keep_ratio=1,strategy=random)", 6, six, "2345");
    check_kept("fix_size_l2(6)", 6, six, "012345");
    check_kept("h2o_l2(1,heavy_hitter_size=1,recent_size=2)", 6, six, "0145");
    check_kept("h2o_l2(1,heavy_hitter_size=1,recent_size=2):size=3", 6, six,
               "045"); /* the policy's is smaller */
    check_kept("h2o_l2(1,heavy_hitter_size=1,recent_size=2):size=2", 6, six,
               "05"); /* sinks, then the newest */
    check_kept("h2o_l2(0,heavy_hitter_size=2,recent_size=2)", 6, six, "1245");
    check_kept("h2o_l2(2,heavy_hitter_size=0,recent_size=2)", 6, six, "0145");
    /* before the window of 1: 8 0 6 6 0, averaged over 3: 8 14 12 12 6 */
    check_kept("snapkv_lite(1,keep_size=2,pooling_kernel=3)", 6, runs, "15");
    check_kept("snapkv_lite(1,keep_size=2,pooling_kernel=1)", 6, runs, "05");
    check_kept("snapkv_lite(1,keep_size=2,pooling_kernel=2)", 6, runs, "35");    /* 8 8 6 12 6 */
    check_kept("snapkv_lite(4,keep_size=5,pooling_kernel=3)", 6, runs, "02345"); /* too few to average */
    check_kept("snapkv_lite(4,keep_size=2)", 6, runs, "2345");                   /* the window stays whole */
    check_kept("pyramid_kv(8)", 8, more, "01234567");
    /* the first, the newest 4, of 1-5 the best 3 */
    check_kept("pyramid_kv(8,min_size=1)", 10, (float[]){9, 1, 2, 3, 8, 7, 9, 8, 9, 9}, "01236789");
    /* 12 of 10 to 100: the newest 2, of the others the best 8 */
    check_kept("adaptive_l2(soft_limit=10,hard_limit=100)", 12, (float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9},
               "01234567ab");
    /* more than 12: the first 4, the newest 5, the best of 4-7 */
    check_kept("adaptive_l2(10,soft_limit=4,hard_limit=12)", 13, more, "0123589abc");
}

static void test_l2_sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t layer;
        size_t n, kept;
    } cases[] = {
        {"l2_compress", 0, 2000, 2000},
        {"l2_compress(0.9)", 0, 1000, 1000},
        {"l2_compress(0.9)", 0, 1001, 901},
        {"fix_size_l2", 0, 1024, 1024},
        {"fix_size_l2", 0, 1030, 1024},
        {"fix_size_l2:keep=0.5", 0, 1030, 515},
        {"h2o_l2", 3, 513, 512},
        {"snapkv_lite", 0, 513, 512},
        {"pyramid_kv", 0, 2000, 512},
        {"pyramid_kv", 1, 2000, 460},
        {"pyramid_kv", 2, 2000, 414},
        {"pyramid_kv", 4, 300, 300},
        {"pyramid_kv", 20, 2000, 64},
        {"pyramid_kv(100,min_size=20,profile=linear)", 0, 2000, 100},
        {"pyramid_kv(100,min_size=20,profile=linear)", 5, 2000, 80},
        {"pyramid_kv(100,min_size=20,profile=linear)", 20, 2000, 20},
        {"pyramid_kv(100,profile=constant)", 20, 2000, 100},
        {"adaptive_l2", 0, 256, 256},
        {"adaptive_l2", 0, 257, 256},
        {"adaptive_l2", 0, 640, 384},
        {"adaptive_l2", 0, 1000, 318},
        {"adaptive_l2", 0, 1024, 307},
        {"adaptive_l2", 0, 1025, 512},
        {"adaptive_l2:size=100", 0, 200, 100},
    };
    const kvl_shape shape = {.n_layers = 21, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const kvl_policy p = test_policy(cases[i].text);
        const kvl_moment moment = {.n_seen = cases[i].n};
        const size_t kept = kvl_policy_target(&p, &shape, &moment, cases[i].layer, 0, cases[i].n);
        if (kept != cases[i].kept) {
            fail_msg("%s, layer %u: expected %zu of %zu, found %zu", cases[i].text, cases[i].layer,
                     cases[i].kept, cases[i].n, kept);
        }
    }
}

/* Draws are new at every compression and protect the newest. */
static void test_l2_random(void **state) {
    (void)state;
    const float keys[max_n] = {0};
    float first[max_n];
    layer l;
    open_layer(&l, 1, 1, max_n, keys, keys, NULL, NULL);
    l.heads[0].target = 8;
    score(&l, "fix_size_l2(8,keep_ratio=0.25,strategy=random)");
    memcpy(first, l.scores[0], sizeof first);
    for (size_t j = 0; j < max_n; j++) {
        assert_true(j >= max_n - 2 ? first[j] > 1 : first[j] < 1);
    }
    l.view.event = 1;
    score(&l, "fix_size_l2(8,keep_ratio=0.25,strategy=random)");
    assert_memory_not_equal(first, l.scores[0], sizeof first);
    close_layer(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keydiff),      cmocka_unit_test(test_lagkv),
        cmocka_unit_test(test_cur),          cmocka_unit_test(test_cur_projection),
        cmocka_unit_test(test_normal_draws), cmocka_unit_test(test_leverage),
        cmocka_unit_test(test_noncausal),    cmocka_unit_test(test_noncausal_after_eviction),
        cmocka_unit_test(test_compactor),    cmocka_unit_test(test_equal_entries),
        cmocka_unit_test(test_l2_kept),      cmocka_unit_test(test_l2_sizes),
        cmocka_unit_test(test_l2_random),
    };
    if (kvl_kernels_get(&kernels, NULL, NULL) != KVL_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
