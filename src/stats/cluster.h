/* What clustered statements share inside this room. */
#ifndef KVL_STATS_CLUSTER_H
#define KVL_STATS_CLUSTER_H

#include "stats/stats.h"

/* Standard error of the pooled mean `mean` (see kvl_cluster_mean) of n_clusters >= 2 clusters. */
double kvli_cluster_error(const double *sums, const size_t *counts, size_t n_clusters, double mean);

#endif
