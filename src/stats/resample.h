/* Paired bootstrap over clusters (texts, or blocks of one text): intervals and p-values of means and ratios.
 *
 * Lists of clusters are drawn once and shared by all contrasts of one set of texts, so that all of them are
 * seen through the same resamples.
 *
 * Method: widened percentile interval. d(1) <= ... <= d(B) are the deviations of the resampled statistic from
 * the observed one. Resampling n clusters gives a variance that is (n-1)/n too small and tails that are
 * normal, as if the spread of the clusters were known; so the deviation at rank k from either end is widened
 * by
 *     w(k) = sqrt(n / (n-1)) t(k) / z(k)
 * with t and z the quantiles of Student's t (n-1 degrees of freedom) and of the normal distribution at
 * k / (B+1). Normal clusters get Student's interval, skewed ones keep their skew. (The remedy of Hesterberg,
 * What Teachers Should Know About the Bootstrap, The American Statistician 69(4), 2015, section 3.3, there
 * applied to ranks; applied to deviations it also reaches levels beyond the most extreme resample.)
 *     interval   observed + w(k) d(k), k = floor(0.025 (B+1)), and the same from the other end
 *     p          2 (1 + c) / (B+1), at most 1: c is the number of widened deviations from the end that the
 *                null is nearer to which lie beyond the null
 * so p <= 0.05 exactly where the interval leaves out the null, and p is never 0: a family of m contrasts
 * needs B >= 40 m resamples for Holm to flag anything. */
#ifndef KVL_STATS_RESAMPLE_H
#define KVL_STATS_RESAMPLE_H

#include "base/status.h"
#include "stats/stats.h"

enum { KVL_BOOTSTRAP_RESAMPLES = 10000 };

typedef struct kvl_resamples kvl_resamples;

/* Draws n_resamples lists of n_clusters clusters with replacement: the j-th of list b is number
 * kvl_rng_draw(seed ^ 0x626f6f7473747261, b, j) mod n_clusters.
 *   n_clusters  1 .. 65535
 *   n_resamples 40 .. 10^7, usually KVL_BOOTSTRAP_RESAMPLES
 * Takes 2 n_clusters n_resamples bytes. Errors: E_USAGE, E_NOMEM. The caller owns *out. */
kvl_status kvl_resamples_create(kvl_resamples **out, size_t n_clusters, size_t n_resamples, uint64_t seed,
                                kvl_err *err) KVL_MUST_USE;
void kvl_resamples_destroy(kvl_resamples *r);

/* Sum of num over sum of den, over clusters, with its interval and its p against `null`. Calls on one r share
 * its scratch: one thread at a time.
 *   num, den [n_clusters] paired: both of cluster i
 * Clusters with all the same ratio (up to 1e-13 of their numbers) give an interval of no width. Where the sum
 * of den is 0, or is 0 or of the other sign in any resample, the ratio has no interval: has_interval is
 * false, low = high = mean and p NAN (mean too where the sum is 0). So with fewer than 2 clusters or numbers
 * that are not finite. */
kvl_estimate kvl_bootstrap_ratio(const kvl_resamples *r, const double *num, const double *den, double null);

/* sum num_a / sum den_a - sum num_b / sum den_b, clusters of both resampled together: a change between things
 * that are counted differently. No interval where one of the two has none. */
kvl_estimate kvl_bootstrap_difference(const kvl_resamples *r, const double *num_a, const double *den_a,
                                      const double *num_b, const double *den_b, double null);

/* Mean over all items, pooled, as in kvl_cluster_mean: the ratio of sums to counts, against 0.
 *   sums, counts [n_clusters] */
kvl_estimate kvl_bootstrap_mean(const kvl_resamples *r, const double *sums, const size_t *counts);

#endif
