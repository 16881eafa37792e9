/* Noted queries: moments against sums in double, and the ring of rotated ones. */
#include "support.h"

#include "base/rng.h"
#include "cache/tap.h"

#include <math.h>
#include <string.h>

enum { dim = 34, n_heads = 2, most_tokens = 200 };

static const kvl_shape shape = {.n_layers = 1, .n_heads = n_heads, .n_kv_heads = 1, .head_dim = dim};
static const kvl_kernels *kernels;
static float queries[most_tokens][dim];

/* Means of up to 1000, of which queries stray by 1 at most. */
static void fill(uint64_t seed) {
    for (size_t t = 0; t < most_tokens; t++) {
        for (size_t d = 0; d < dim; d++) {
            queries[t][d] = 30.0f * (float)d + 2 * kvl_rng_unit(seed, t, d) - 1;
        }
    }
}

static kvl_tap *tap_of(size_t n) {
    kvl_tap *t = NULL;
    assert_ok(kvl_tap_create(&t, &shape, (kvl_needs){.has_moments = true}, NULL));
    for (uint64_t i = 0; i < n; i++) {
        kvl_tap_note_plain(t, kernels, 0, 1, i, queries[i]);
    }
    return t;
}

static void check_moments(const kvl_tap *t, size_t n, size_t n_skip) {
    static double sums[dim], scratch[10000];
    static float mean[dim], covariance[dim * dim];
    assert_true(kvl_tap_moments_doubles(dim) <= sizeof scratch / sizeof scratch[0]);
    kvl_tap_moments(t, kernels, 0, 1, n, n_skip, mean, covariance, scratch);
    memset(sums, 0, sizeof sums);
    for (size_t i = n_skip; i < n; i++) {
        for (size_t d = 0; d < dim; d++) {
            sums[d] += (double)queries[i][d] / (double)(n - n_skip);
        }
    }
    for (size_t a = 0; a < dim; a++) {
        assert_true(fabs((double)mean[a] - sums[a]) < 1e-4);
        for (size_t b = 0; b < dim; b++) {
            double sum = 0;
            for (size_t i = n_skip; i < n; i++) {
                sum += ((double)queries[i][a] - sums[a]) * ((double)queries[i][b] - sums[b]);
            }
            sum /= (double)(n - n_skip);
            if (fabs((double)covariance[a * dim + b] - sum) > 1e-5) {
                fail_msg("%zu tokens less %zu: expected covariance %.9g, found %.9g", n, n_skip, sum,
                         (double)covariance[a * dim + b]);
            }
        }
    }
    const float first = mean[0];
    kvl_tap_moments(t, kernels, 0, 1, n, n_skip, mean, NULL, scratch);
    assert_true(mean[0] == first);
}

static void test_moments(void **state) {
    (void)state;
    static const size_t counts[] = {1, 2, 5, 63, 64, 65, 127, 128, 129, 200};
    static const size_t skips[] = {0, 1, 4, 63, 64};
    fill(5);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        kvl_tap *t = tap_of(counts[c]);
        kvl_tap *copy = NULL;
        assert_ok(kvl_tap_fork(&copy, t, kvl_tap_needs(t), counts[c], NULL));
        for (size_t s = 0; s < sizeof skips / sizeof skips[0]; s++) {
            if (skips[s] < counts[c]) {
                check_moments(t, counts[c], skips[s]);
                check_moments(copy, counts[c], skips[s]);
            }
        }
        kvl_tap_destroy(copy);
        kvl_tap_destroy(t);
    }
}

/* Tokens 1 and 2 of 3: mean (2, 2), variances 1 and 0, as written out. */
static void test_by_hand(void **state) {
    (void)state;
    const kvl_shape two = {.n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
    const float texts[3][2] = {{50, 60}, {1, 2}, {3, 2}};
    double scratch[200];
    float mean[2], covariance[4];
    kvl_tap *t = NULL;
    assert_ok(kvl_tap_create(&t, &two, (kvl_needs){.has_moments = true}, NULL));
    for (uint64_t i = 0; i < 3; i++) {
        kvl_tap_note_plain(t, kernels, 0, 0, i, texts[i]);
    }
    kvl_tap_moments(t, kernels, 0, 0, 3, 1, mean, covariance, scratch);
    assert_true(mean[0] == 2 && mean[1] == 2);
    assert_true(covariance[0] == 1 && covariance[1] == 0 && covariance[2] == 0 && covariance[3] == 0);
    kvl_tap_destroy(t);
}

static void test_ring(void **state) {
    (void)state;
    kvl_tap *t = NULL;
    assert_ok(kvl_tap_create(&t, &shape, (kvl_needs){.n_queries = 3}, NULL));
    assert_int_equal(kvl_tap_bytes(t), n_heads * 3 * dim * sizeof(float));
    for (uint64_t i = 0; i < 8; i++) {
        kvl_tap_note_rotated(t, 0, 1, i, queries[i]);
    }
    assert_int_equal(kvl_tap_oldest(t, 8), 5);
    for (uint64_t i = 5; i < 8; i++) {
        assert_memory_equal(kvl_tap_query(t, 0, 1, i), queries[i], sizeof queries[i]);
    }
    kvl_tap_destroy(t);
}

/* Copies that note less keep the newest queries, and go on as if they had always noted just that. */
static void test_fork_for_less(void **state) {
    (void)state;
    kvl_tap *t = NULL;
    kvl_tap *copy = NULL;
    const kvl_needs all = {.n_queries = KVL_ALL_QUERIES, .has_moments = true};
    assert_ok(kvl_tap_create(&t, &shape, all, NULL));
    for (uint64_t i = 0; i < 8; i++) {
        assert_ok(kvl_tap_reserve(t, i + 1, NULL));
        kvl_tap_note_rotated(t, 0, 1, i, queries[i]);
    }
    assert_ok(kvl_tap_fork(&copy, t, (kvl_needs){.n_queries = 3}, 8, NULL));
    assert_int_equal(kvl_tap_bytes(copy), n_heads * 3 * dim * sizeof(float));
    kvl_tap_note_rotated(copy, 0, 1, 8, queries[8]);
    for (uint64_t i = 6; i < 9; i++) {
        assert_memory_equal(kvl_tap_query(copy, 0, 1, i), queries[i], sizeof queries[i]);
    }
    kvl_tap_destroy(copy);
    assert_ok(kvl_tap_fork(&copy, t, all, 8, NULL));
    for (uint64_t i = 0; i < 8; i++) {
        assert_memory_equal(kvl_tap_query(copy, 0, 1, i), queries[i], sizeof queries[i]);
    }
    kvl_tap_destroy(copy);
    kvl_tap_destroy(t);
}

static int find_kernels(void **state) {
    (void)state;
    return kvl_kernels_get(&kernels, NULL, NULL) == KVL_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_fork_for_less),
    };
    return cmocka_run_group_tests(tests, find_kernels, NULL);
}
