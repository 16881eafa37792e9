/* Gram matrices against sums in double, and factors of their inverses. */
#include "support.h"

#include "base/rng.h"
#include "kernel/gram.h"

#include <math.h>

enum { most_dim = 100, most_rows = 200 };

static float rows[most_rows * most_dim];
static double gram[most_dim * most_dim];

static void fill(size_t n, size_t dim) {
    for (size_t i = 0; i < n * dim; i++) {
        rows[i] = kvl_rng_unit(3, dim, i) - 0.5f;
    }
}

static void check_add(const kvl_kernels *k, size_t n, size_t dim) {
    fill(n, dim);
    for (size_t i = 0; i < dim * dim; i++) {
        gram[i] = 7;
    }
    kvl_gram_add(k, gram, rows, n, dim);
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < dim; j++) {
            double sum = 7;
            for (size_t r = 0; j >= i && r < n; r++) {
                sum += (double)rows[r * dim + i] * (double)rows[r * dim + j];
            }
            if (fabs(gram[i * dim + j] - sum) > 1e-6 * sqrt((double)n)) {
                fail_msg("%s: n %zu, dim %zu: expected %.9g at %zu, %zu, found %.9g", k->name, n, dim, sum, i,
                         j, gram[i * dim + j]);
            }
        }
    }
}

static void test_add(void **state) {
    (void)state;
    static const size_t dims[] = {1, 2, 31, 32, 33, 64, 100};
    static const size_t counts[] = {0, 1, 63, 64, 65, 200};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = NULL;
        assert_ok(kvl_kernels_get(&k, *name, NULL));
        for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                check_add(k, counts[c], dims[i]);
            }
        }
    }
}

/* [4 2; 2 3] = L L' with L = [2 0; 1 sqrt 2]: W = [1/2 0; -1 / (2 sqrt 2), 1 / sqrt 2]. */
static void test_whiten(void **state) {
    (void)state;
    double g[4] = {4, 2, 99, 3}; /* below the diagonal: not read */
    float w[4];
    kvl_gram_whiten(w, g, 2);
    assert_true(fabs((double)w[0] - 0.5) < 1e-7);
    assert_true(w[1] == 0);
    assert_true(fabs((double)w[2] + 0.35355339059327373) < 1e-7);
    assert_true(fabs((double)w[3] - 0.70710678118654757) < 1e-7);
}

/* W G W' = 1 for a larger one. */
static void test_whiten_is_inverse(void **state) {
    (void)state;
    enum { dim = 40 };
    static double full[dim * dim];
    static float w[dim * dim];
    const kvl_kernels *k = NULL;
    assert_ok(kvl_kernels_get(&k, NULL, NULL));
    fill(150, dim);
    for (size_t i = 0; i < dim * dim; i++) {
        gram[i] = i % (dim + 1) == 0;
    }
    kvl_gram_add(k, gram, rows, 150, dim);
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < dim; j++) {
            full[i * dim + j] = i <= j ? gram[i * dim + j] : gram[j * dim + i];
        }
    }
    kvl_gram_whiten(w, gram, dim);
    for (size_t a = 0; a < dim; a++) {
        for (size_t b = 0; b < dim; b++) {
            double sum = 0;
            for (size_t i = 0; i < dim * dim; i++) {
                sum += (double)w[a * dim + i / dim] * full[i] * (double)w[b * dim + i % dim];
            }
            assert_true(fabs(sum - (a == b)) < 1e-5);
        }
    }
}

/* 3, 4, 12 -> 13; ones behind 4096, whose square leaves no room for them in a sum of floats. */
static void test_row_norm(void **state) {
    (void)state;
    enum { n = 4097 };
    const float whole[] = {3, 4, 12};
    static float apart[n];
    for (size_t i = 0; i < n; i++) {
        apart[i] = i == 0 ? 4096 : 1;
    }
    assert_true(kvl_row_norm(whole, 3) == 13);
    assert_true(kvl_row_norm(apart, n) == (float)sqrt(4096.0 * 4096 + 4096));
    assert_true(kvl_row_norm(apart, n) > 4096.4F);
    assert_true(kvl_row_norm(whole, 0) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_whiten),
        cmocka_unit_test(test_whiten_is_inverse),
        cmocka_unit_test(test_row_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
