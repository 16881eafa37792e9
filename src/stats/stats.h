/* Arrays -> statements. No models, no files, no printing. All in double. */
#ifndef KVL_STATS_STATS_H
#define KVL_STATS_STATS_H

#include "base/compiler.h"

/* Below this many clusters an interval is not to be trusted: "too few clusters for an interval". */
enum { KVL_FEW_CLUSTERS = 20 };

/* A mean or a ratio with its 95 % interval. */
typedef struct kvl_estimate {
    double mean;
    double low;
    double high;
    size_t n_clusters;
    bool has_interval; /* false with fewer than 2 clusters: low = high = mean then */
    bool is_few;       /* fewer than KVL_FEW_CLUSTERS clusters */
    double p;          /* two-sided, against 0 where nothing else is said; NAN where there is no interval */
} kvl_estimate;

/* Mean of x over all items, pooled (each item weighs the same), with an interval that treats the clusters,
 * not the items, as independent: ratio estimator with the linearised cluster variance and Student's t on
 * n_clusters - 1 degrees of freedom (Cochran, Sampling Techniques, 3rd ed., section 9A). p is that of
 * the same t against 0.
 *   sums   [n_clusters] sum of x in each cluster
 *   counts [n_clusters] items in each cluster, > 0 */
kvl_estimate kvl_cluster_mean(const double *sums, const size_t *counts, size_t n_clusters);

/* Quantile of Student's t with df >= 1 degrees of freedom at probability 0.975. */
double kvl_t975(size_t df);

/* Stages of a keep-ratio curve (rule in stages.c). */
typedef enum kvl_stage {
    KVL_STAGE_BASELINE,  /* nothing evicted */
    KVL_STAGE_EXPLOSION, /* lighter compression than the best range and worse than it */
    KVL_STAGE_PLATEAU,   /* not in the best range, but its step towards it is inside the interval */
    KVL_STAGE_BEST,      /* difference to the best setting is inside the interval */
    KVL_STAGE_DECLINE,   /* heavier compression than the best range and worse than it */
    KVL_N_STAGES
} kvl_stage;
const char *kvl_stage_name(kvl_stage s); /* "baseline", "explosion", ... */

/* Paired per-sample NLL sums of a curve, ratios in decreasing order of keep.
 *   sums    [n_points, n_clusters] NLL sum of each sample at each point, over the same tokens at every point
 *   counts  [n_clusters]
 *   is_valid [n_points] false: nothing was evicted (baseline rows): stage is BASELINE
 *   stages  [n_points] out
 *   best    out: index of the valid point of lowest pooled NLL, or n_points when none is valid */
void kvl_find_stages(kvl_stage *stages, size_t *best, const double *sums, const size_t *counts,
                     const bool *is_valid, size_t n_points, size_t n_clusters);

#endif
