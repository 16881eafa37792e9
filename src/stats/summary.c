/* Clustered means: pooled, with intervals and p-values by Student's t over clusters. */
#include "stats/cluster.h"
#include "stats/distribution.h"

#include <math.h>

double kvli_cluster_error(const double *sums, const size_t *counts, size_t n_clusters, double mean) {
    double squares = 0;
    double n = 0;
    for (size_t i = 0; i < n_clusters; i++) {
        double residual = sums[i] - mean * (double)counts[i];
        squares += residual * residual;
        n += (double)counts[i];
    }
    double g = (double)n_clusters;
    return sqrt(squares * g / (g - 1.0)) / n;
}

kvl_estimate kvl_cluster_mean(const double *sums, const size_t *counts, size_t n_clusters) {
    double total = 0;
    double n = 0;
    for (size_t i = 0; i < n_clusters; i++) {
        total += sums[i];
        n += (double)counts[i];
    }
    kvl_estimate e = {.mean = total / n,
                      .p = (double)NAN,
                      .n_clusters = n_clusters,
                      .has_interval = n_clusters >= 2,
                      .is_few = n_clusters < KVL_FEW_CLUSTERS};
    e.low = e.high = e.mean;
    if (!e.has_interval) {
        return e;
    }
    double error = kvli_cluster_error(sums, counts, n_clusters, e.mean);
    double half = kvl_t975(n_clusters - 1) * error;
    e.low = e.mean - half;
    e.high = e.mean + half;
    e.p = e.mean == 0 ? 1 : kvli_t_two_sided(fabs(e.mean) / error, (double)(n_clusters - 1));
    return e;
}
