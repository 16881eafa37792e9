/* Shares of hits: one rate, and two on the same items. */
#ifndef KVL_STATS_RATES_H
#define KVL_STATS_RATES_H

#include "stats/stats.h"

/* hits / n with Wilson's 95 % score interval (Wilson 1927), which stays inside [0, 1] and has a width at 0
 * and n hits too. Items count as independent: for items of the same texts use kvl_bootstrap_mean. mean NAN
 * and no interval for n = 0; n_clusters is n; no p. */
kvl_estimate kvl_wilson(size_t hits, size_t n);

/* Exact two-sided p of McNemar's test: of the items that exactly one of two methods got right, do both have
 * the same share? Binomial with 1/2, twice the smaller tail, at most 1.
 *   only_a, only_b  items that only a, only b got right */
double kvl_mcnemar(size_t only_a, size_t only_b);

#endif
