/* From figures to the answer. */
#include "stats/choice.h"

#include "base/alloc.h"
#include "stats/inference.h"

#include <math.h>
#include <stdlib.h>

/* ---- the search ---- */

static bool beats(const double *a, const double *b, const double *tolerance, size_t n_dims) {
    bool is_better = false;
    for (size_t d = 0; d < n_dims; d++) {
        const double slack = tolerance[d] * fmax(fabs(a[d]), fabs(b[d]));
        if (a[d] > b[d] + slack) {
            return false;
        }
        is_better = is_better || a[d] < b[d] - slack;
    }
    return is_better;
}

static bool is_same(const double *a, const double *b, size_t n_dims) {
    size_t d = 0;
    while (d < n_dims && a[d] == b[d]) {
        d++;
    }
    return d == n_dims;
}

void kvl_front(bool *is_behind, const double *values, const double *tolerance, size_t n, size_t n_dims) {
    for (size_t i = 0; i < n; i++) {
        const double *own = values + i * n_dims;
        is_behind[i] = false;
        for (size_t j = 0; j < n && !is_behind[i]; j++) {
            const double *other = values + j * n_dims;
            is_behind[i] = beats(other, own, tolerance, n_dims) || (j < i && is_same(other, own, n_dims));
        }
    }
}

void kvl_survivors(bool *stays, const double *loss, size_t n_presses, size_t n_budgets, size_t n_best) {
    for (size_t i = 0; i < n_presses; i++) {
        stays[i] = false;
        for (size_t b = 0; b < n_budgets && !stays[i]; b++) {
            const double own = loss[i * n_budgets + b];
            size_t n_before = 0;
            for (size_t j = 0; j < n_presses; j++) {
                const double other = loss[j * n_budgets + b];
                n_before += other < own || (other == own && j < i);
            }
            stays[i] = isfinite(own) && n_before < n_best;
        }
    }
}

/* The front of settings that are still open, by rising bytes, so by falling loss; of equal ones the first. */
static size_t front_by_bytes(size_t *order, const double *loss, const uint64_t *bytes, const bool *is_open,
                             size_t n) {
    size_t n_front = 0;
    double lowest = HUGE_VAL;
    for (;;) {
        size_t next = n; /* the cheapest that is better than all before it; of as many bytes the best */
        for (size_t i = 0; i < n; i++) {
            if (is_open[i] && loss[i] < lowest &&
                (next == n || bytes[i] < bytes[next] || (bytes[i] == bytes[next] && loss[i] < loss[next]))) {
                next = i;
            }
        }
        if (next == n) {
            return n_front;
        }
        order[n_front++] = next;
        lowest = loss[next];
    }
}

/* Picks up to n_max of a front: all; or the cheapest, and some of the others at equal steps up to the last;
 * or the last ones. */
static size_t pick(size_t *picked, const size_t *front, size_t n_front, size_t n_max, bool is_from_end) {
    const size_t n_step = n_front > n_max && !is_from_end ? n_max / 3 : 0;
    const size_t n_next = kvl_min_size(n_front, n_max - n_step);
    const size_t first = is_from_end ? n_front - n_next : 0;
    for (size_t i = 0; i < n_next; i++) {
        picked[i] = front[first + i];
    }
    for (size_t i = 1; i <= n_step; i++) {
        picked[n_next + i - 1] = front[n_next - 1 + (n_front - n_next) * i / n_step];
    }
    return n_next + n_step;
}

static bool fits(const kvl_wish *wish, uint64_t bytes) {
    return wish->max_bytes == 0 || bytes <= wish->max_bytes;
}

kvl_status kvl_finalists(size_t *picked, size_t *n_picked, const double *loss, const uint64_t *bytes,
                         const size_t *group, size_t n, const kvl_wish *wish, size_t n_max, kvl_err *err) {
    size_t *front = kvl_calloc(n, sizeof *front);
    bool *is_open = kvl_calloc(n, sizeof *is_open);
    const bool is_bounded = wish->max_bytes != 0;
    bool is_hopeless = true; /* none that fits is within the limit of loss */
    *n_picked = 0;
    for (size_t i = 0; i < n; i++) {
        is_hopeless = is_hopeless && !(fits(wish, bytes[i]) && loss[i] <= wish->max_loss);
    }
    for (size_t i = 0; i < n && is_open != NULL; i++) {
        is_open[i] = isfinite(loss[i]) && fits(wish, bytes[i]) && (is_hopeless || loss[i] <= wish->max_loss);
    }
    for (size_t n_front = n; front != NULL && is_open != NULL && n_front != 0 && *n_picked < n_max;) {
        n_front = front_by_bytes(front, loss, bytes, is_open, n);
        *n_picked += pick(picked + *n_picked, front, n_front, n_max - *n_picked, is_bounded || is_hopeless);
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < n_front; k++) {
                is_open[i] = is_open[i] && i != front[k];
            }
            for (size_t k = 0; k < *n_picked; k++) {
                is_open[i] = is_open[i] && group[i] != group[picked[k]];
            }
        }
    }
    kvl_free(is_open);
    const bool has_memory = front != NULL && is_open != NULL;
    kvl_free(front);
    return has_memory ? KVL_OK : kvl_fail_nomem(err, "finalists");
}

/* ---- the test ---- */

static double one_sided(const kvl_estimate *loss, double max_loss) {
    if (!loss->has_interval) {
        return 1;
    }
    return loss->mean < max_loss ? loss->p / 2 : 1 - loss->p / 2;
}

kvl_status kvl_adjust(kvl_claim *claims, size_t n, double max_loss, kvl_err *err) {
    double *p = kvl_calloc(2 * n, sizeof *p);
    if (p == NULL) {
        return kvl_fail_nomem(err, "claims");
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = one_sided(&claims[i].loss, max_loss);
    }
    kvl_holm(p + n, p, n);
    for (size_t i = 0; i < n; i++) {
        claims[i].p = p[n + i];
    }
    kvl_free(p);
    return KVL_OK;
}

static int by_value(const void *a_ptr, const void *b_ptr) {
    const double a = *(const double *)a_ptr;
    const double b = *(const double *)b_ptr;
    return (a > b) - (a < b);
}

kvl_median kvl_median_of(double *x, size_t n) {
    qsort(x, n, sizeof *x, by_value);
    /* the true median lies outside x[k] .. x[n - 1 - k] if at most k of n values lie on one side of it */
    double chance = pow(0.5, (double)n); /* that so many do */
    double below = chance;               /* that at most k do */
    size_t k = 0;
    while (k + 1 < n / 2) {
        chance *= (double)(n - k) / (double)(k + 1);
        if (below + chance > 0.025) {
            break;
        }
        below += chance;
        k++;
    }
    const double middle = n % 2 != 0 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
    return (kvl_median){middle, x[k], x[n - 1 - k]};
}

/* By how much a value is above a limit, as a share of it; at most 0: it is within. */
static double excess(double value, double limit) { return limit > 0 ? value / limit - 1 : -1; }

static double time_excess(const kvl_median *ratio, const kvl_median *ns, const kvl_time_limit *limit) {
    return fmax(excess(ratio->high, limit->ratio), excess(ns->high, limit->ns));
}

static bool has_quality(const kvl_claim *c, const kvl_wish *wish) {
    return c->loss.has_interval && !c->loss.is_few && c->loss.high < wish->max_loss &&
           c->p < KVL_CHOICE_ALPHA;
}

unsigned kvl_lacks(const kvl_claim *c, const kvl_wish *wish) {
    const double bytes = excess((double)c->bytes, (double)wish->max_bytes);
    return (has_quality(c, wish) ? 0 : KVL_LACKS_QUALITY) | (bytes <= 0 ? 0 : KVL_LACKS_BYTES) |
           (time_excess(&c->ttft_ratio, &c->ttft_ns, &wish->ttft) <= 0 ? 0 : KVL_LACKS_TTFT) |
           (time_excess(&c->tpot_ratio, &c->tpot_ns, &wish->tpot) <= 0 ? 0 : KVL_LACKS_TPOT);
}

size_t kvl_choose(const kvl_claim *claims, size_t n, const kvl_wish *wish) {
    uint64_t fewest = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        if (kvl_lacks(&claims[i], wish) == 0 && claims[i].bytes < fewest) {
            fewest = claims[i].bytes;
        }
    }
    const double most = wish->max_bytes != 0 ? (double)wish->max_bytes : 1.01 * (double)fewest;
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (kvl_lacks(&claims[i], wish) == 0 && (double)claims[i].bytes <= most &&
            (best == n || claims[i].loss.high < claims[best].loss.high)) {
            best = i;
        }
    }
    return best;
}

static double largest_excess(const kvl_claim *c, const kvl_wish *wish) {
    double most = excess((double)c->bytes, (double)wish->max_bytes);
    most = fmax(most, time_excess(&c->ttft_ratio, &c->ttft_ns, &wish->ttft));
    most = fmax(most, time_excess(&c->tpot_ratio, &c->tpot_ns, &wish->tpot));
    return has_quality(c, wish) ? most : fmax(most, excess(c->loss.high, wish->max_loss));
}

size_t kvl_nearest(const kvl_claim *claims, size_t n, const kvl_wish *wish) {
    size_t nearest = n;
    for (size_t i = 0; i < n; i++) {
        if (nearest == n || largest_excess(&claims[i], wish) < largest_excess(&claims[nearest], wish)) {
            nearest = i;
        }
    }
    return nearest;
}
