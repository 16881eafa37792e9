/* Statements about many estimates, about "no loss", and about what could have been seen. */
#ifndef KVL_STATS_INFERENCE_H
#define KVL_STATS_INFERENCE_H

#include "stats/stats.h"

#define KVL_MARGIN_NATS 0.01 /* below this a difference of mean NLL counts as none, unless told otherwise */

/* Holm's adjusted p-values of a family (Holm 1979): adjusted[i] <= 0.05 keeps the chance of any false flag in
 * the family at 5 %, whatever the dependence. NaN (nothing tested) stays NaN and is not of the family.
 *   adjusted, p [n], apart from each other */
void kvl_holm(double *adjusted, const double *p, size_t n);

typedef enum kvl_verdict {
    KVL_UNDECIDED,  /* the interval reaches over 0 and over the margin, or there is none, or too few clusters:
                       "no difference detected; smallest detectable ..." */
    KVL_EQUIVALENT, /* the whole interval lies inside (-margin, margin) */
    KVL_DIFFERENT,  /* the interval leaves out 0 and is not inside the margin */
    KVL_N_VERDICTS
} kvl_verdict;
const char *kvl_verdict_name(kvl_verdict v); /* "undecided", "equivalent", "different" */

/* Is a difference (of which 0 means none) within `margin` > 0? */
kvl_verdict kvl_equivalence(kvl_estimate e, double margin);

/* The smallest true mean that a two-sided 5 % test over these clusters finds with 80 % power: (t(0.975) +
 * t(0.8)) times the clustered standard error of a pilot, with n_clusters - 1 degrees of freedom. NAN with
 * fewer than 2 clusters.
 *   sums, counts [n_clusters] paired differences of the pilot, as for kvl_cluster_mean */
double kvl_smallest_detectable(const double *sums, const size_t *counts, size_t n_clusters);

#endif
