/* Wilson's interval and McNemar's test. */
#include "stats/rates.h"

#include "stats/distribution.h"

#include <math.h>

kvl_estimate kvl_wilson(size_t hits, size_t n) {
    kvl_estimate e = {.mean = (double)NAN,
                      .low = (double)NAN,
                      .high = (double)NAN,
                      .p = (double)NAN,
                      .n_clusters = n,
                      .has_interval = n > 0};
    if (n == 0) {
        return e;
    }
    const double z2 = 1.959963984540054 * 1.959963984540054;
    const double items = (double)n;
    e.mean = (double)hits / items;
    double centre = (e.mean + z2 / (2 * items)) / (1 + z2 / items);
    double half = sqrt(z2 * (e.mean * (1 - e.mean) / items + z2 / (4 * items * items))) / (1 + z2 / items);
    e.low = hits == 0 ? 0 : centre - half;
    e.high = hits == n ? 1 : centre + half;
    return e;
}

double kvl_mcnemar(size_t only_a, size_t only_b) {
    const size_t fewer = kvl_min_size(only_a, only_b);
    const double n = (double)(only_a + only_b);
    const double k = (double)fewer;
    /* P(k) of n tosses, then downwards by P(j - 1) / P(j) = j / (n - j + 1) */
    double term = exp(kvli_log_gamma(n + 1) - kvli_log_gamma(k + 1) - kvli_log_gamma(n - k + 1) -
                      n * 0.69314718055994530942);
    double tail = 0;
    for (size_t j = fewer;; j--) {
        tail += term;
        if (j == 0) {
            break;
        }
        term *= (double)j / (n - (double)j + 1);
    }
    return fmin(2 * tail, 1);
}
