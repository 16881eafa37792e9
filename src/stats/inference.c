/* Holm's family, equivalence within a margin, power. */
#include "stats/inference.h"

#include "stats/cluster.h"
#include "stats/distribution.h"

#include <math.h>

void kvl_holm(double *adjusted, const double *p, size_t n) {
    size_t family = 0;
    for (size_t i = 0; i < n; i++) {
        family += isnan(p[i]) ? 0 : 1;
    }
    for (size_t i = 0; i < n; i++) {
        size_t n_smaller = 0;
        for (size_t j = 0; j < n; j++) {
            n_smaller += p[j] < p[i];
        }
        adjusted[i] = isnan(p[i]) ? p[i] : fmin((double)(family - n_smaller) * p[i], 1);
    }
    /* no cell may come out more significant than one with a smaller p */
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            if (p[j] < p[i]) {
                adjusted[i] = fmax(adjusted[i], adjusted[j]);
            }
        }
    }
}

const char *kvl_verdict_name(kvl_verdict v) {
    static const char *const names[KVL_N_VERDICTS] = {"undecided", "equivalent", "different"};
    return (unsigned)v < KVL_N_VERDICTS ? names[v] : "unknown";
}

kvl_verdict kvl_equivalence(kvl_estimate e, double margin) {
    if (!e.has_interval || e.is_few) {
        return KVL_UNDECIDED;
    }
    if (e.low > -margin && e.high < margin) {
        return KVL_EQUIVALENT;
    }
    return e.low > 0 || e.high < 0 ? KVL_DIFFERENT : KVL_UNDECIDED;
}

double kvl_smallest_detectable(const double *sums, const size_t *counts, size_t n_clusters) {
    if (n_clusters < 2) {
        return (double)NAN;
    }
    const double df = (double)n_clusters - 1;
    const double error =
        kvli_cluster_error(sums, counts, n_clusters, kvl_cluster_mean(sums, counts, n_clusters).mean);
    return (kvli_t_quantile(0.025, df, 2) + kvli_t_quantile(0.2, df, 0.8)) * error;
}
