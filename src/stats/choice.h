/* Which setting to take: fronts, finalists, limits and the answer. Numbers only, no engine.
 *
 * Settings are searched on some texts and judged on others: what was best of many is best partly by luck, so
 * figures of the search pick the finalists and nothing else.
 */
#ifndef KVL_STATS_CHOICE_H
#define KVL_STATS_CHOICE_H

#include "base/status.h"
#include "stats/stats.h"

/* A limit of time: a ratio to the full cache, or nanoseconds; 0: none. At most one of them. */
typedef struct kvl_time_limit {
    double ratio;
    double ns;
} kvl_time_limit;

/* What is asked of a setting. */
typedef struct kvl_wish {
    double max_loss;    /* nats per token above the full cache, > 0 */
    uint64_t max_bytes; /* of keys and values at the end; 0: none */
    kvl_time_limit ttft, tpot;
} kvl_wish;

/* A median with its interval by ranks, which holds the true one with at least 95 % (n >= 6). */
typedef struct kvl_median {
    double value, low, high;
} kvl_median;

/* What is known of a finalist: quality on held-out texts, bytes and time as measured. */
typedef struct kvl_claim {
    kvl_estimate loss; /* nats per token above the full cache */
    double p;          /* that the loss is not below the limit: one-sided, adjusted for all finalists */
    uint64_t bytes;
    kvl_median ttft_ratio, ttft_ns; /* compression included */
    kvl_median tpot_ratio, tpot_ns;
} kvl_claim;

/* What a claim lacks of a wish: bits. */
enum { KVL_LACKS_QUALITY = 1, KVL_LACKS_BYTES = 2, KVL_LACKS_TTFT = 4, KVL_LACKS_TPOT = 8 };

/* The error that all statements "below the limit" together may make, one-sided. */
#define KVL_CHOICE_ALPHA 0.025

/* Points that no other one beats: is_behind[i] if another is at least as good everywhere and better
 * somewhere, or the same and first. Less is better; in coordinate d differences up to tolerance[d] of the
 * value count as none.
 *   values [n, n_dims], finite */
void kvl_front(bool *is_behind, const double *values, const double *tolerance, size_t n, size_t n_dims);

/* Presses that go on: among the n_best of lowest loss at any budget. Of equal ones the first; a loss that is
 * not finite is worst and never goes on.
 *   loss [n_presses, n_budgets] */
void kvl_survivors(bool *stays, const double *loss, size_t n_presses, size_t n_budgets, size_t n_best);

/* Settings to confirm, picked [n_max], *n_picked of them: from the front of loss and bytes, then from the
 * front of the others, and so on until there are n_max. Only those count that fit max_bytes and whose loss in
 * the search is within the limit; if there is none, all that fit. Of a front the cheapest are picked, and if
 * there are too many some of the rest at equal steps up to its end; with a limit of bytes, or where none is
 * within that of loss, those of most bytes. Behind the first front a group that has a setting among the
 * picked gives no other one.
 *   loss, bytes, group  [n]
 * Errors: E_NOMEM. */
kvl_status kvl_finalists(size_t *picked, size_t *n_picked, const double *loss, const uint64_t *bytes,
                         const size_t *group, size_t n, const kvl_wish *wish, size_t n_max,
                         kvl_err *err) KVL_MUST_USE;

/* Sets p of n claims: from loss.p, which must be that against max_loss, one-sided, adjusted by Holm for all
 * n. Without interval: 1. Errors: E_NOMEM. */
kvl_status kvl_adjust(kvl_claim *claims, size_t n, double max_loss, kvl_err *err) KVL_MUST_USE;

/* A median of n values, which are sorted. Below 6 the interval is their range, which holds less. */
kvl_median kvl_median_of(double *x, size_t n);

/* A claim qualifies if this is 0: the interval's end and the adjusted p are below the limit of loss, bytes
 * and the upper ends of times within theirs. */
unsigned kvl_lacks(const kvl_claim *claim, const kvl_wish *wish);

/* The answer among n claims: of those that lack nothing the fewest bytes, within 1 % of these the lowest end
 * of the loss; with a limit of bytes the lowest end of the loss at once. Of equal ones the first. n if none
 * qualifies. */
size_t kvl_choose(const kvl_claim *claims, size_t n, const kvl_wish *wish);
/* The claim that misses its limits by least: the largest excess, as a share of the limit, is smallest. */
size_t kvl_nearest(const kvl_claim *claims, size_t n, const kvl_wish *wish);

#endif
