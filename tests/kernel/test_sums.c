/* Sums over a vocabulary: of exponentials, their terms, and products, on every table. */
#include "guarded.h"

#include <math.h>

static void test_log_sum_exp(void **state) {
    (void)state;
    static const float by_hand[] = {1000, 0, -1000};
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        assert_true(k->log_sum_exp(by_hand, 3) == 1000.0);
        for (size_t n = 1; n < 2000; n += n < 70 ? 1 : 331) {
            float *x = block(n);
            fill(x, n, n, 20.0f);
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                sum += exp((double)x[i]);
            }
            assert_true(fabs(k->log_sum_exp(x, n) - log(sum)) < 1e-6);
            x[n / 2] = NAN;
            assert_true(fabs(k->log_sum_exp(x, n)) < (double)INFINITY ? 0 : 1);
            x[n / 2] = INFINITY;
            assert_true(fabs(k->log_sum_exp(x, n)) < (double)INFINITY ? 0 : 1);
            kvl_free(x);
        }
    }
}

/* Terms of the sum beside it, and their products with other numbers. */
static void test_weights_and_dot(void **state) {
    (void)state;
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        const kvl_kernels *k = table_of(*name);
        for (size_t n = 1; n < 700; n += n < 70 ? 1 : 89) {
            float *x = block(n), *y = block(n), *weights = block(n);
            float most = 0, most_again = 0;
            fill(x, n, n, 20.0f);
            fill(y, n, 2, 3.0f);
            const double sum = k->sum_exp(&most, weights, x, n);
            double want_most = (double)x[0], of_weights = 0, want = 0;
            for (size_t i = 0; i < n; i++) {
                want_most = fmax(want_most, (double)x[i]);
            }
            assert_true((double)most == want_most);
            for (size_t i = 0; i < n; i++) {
                const double e = exp((double)x[i] - want_most);
                assert_true(fabs((double)weights[i] - e) <= 5e-6 * e); /* x - most is rounded */
                of_weights += (double)weights[i];
                want += (double)weights[i] * (double)y[i];
            }
            assert_true(fabs(sum - of_weights) <= 1e-6 * sum);
            assert_true(k->sum_exp(&most_again, NULL, x, n) == sum && most_again == most);
            assert_true(fabs(k->dot(weights, y, n) - want) <= 1e-13 * 3 * of_weights);
            check_guard(weights, n);
            kvl_free(x);
            kvl_free(y);
            kvl_free(weights);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_sum_exp),
        cmocka_unit_test(test_weights_and_dot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
