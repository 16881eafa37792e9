/* Student's t and the normal distribution, for the files of this room. */
#ifndef KVL_STATS_DISTRIBUTION_H
#define KVL_STATS_DISTRIBUTION_H

/* P(|T| > t), t >= 0 (infinity too), df > 0 degrees of freedom. */
double kvli_t_two_sided(double t, double df);
/* The t or z >= 0 that is exceeded with probability share in (0, 0.5]; `start` is a guess >= 0. */
double kvli_t_quantile(double share, double df, double start);
double kvli_normal_quantile(double share, double start);

/* Logarithm of the gamma function, x > 0. */
double kvli_log_gamma(double x);

#endif
