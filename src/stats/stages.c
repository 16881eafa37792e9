/* Stages of a keep-ratio curve, by a rule on intervals.
 *
 * Two points are compared by the paired difference of their NLL per token with its clustered 95 % interval;
 * "inside" means that the interval holds 0. best       the point of lowest pooled NLL, and the contiguous
 * points around it whose difference to it is inside plateau    going outward from the best range on either
 * side: points whose difference to their inner neighbour is inside, up to the first that is not explosion
 * every point beyond that on the side of lighter compression (larger keep) decline    every point beyond that
 * on the side of heavier compression With fewer than 2 clusters there are no intervals, and nothing but the
 * best point can be told apart: the rest is plateau. Points at which nothing was evicted are baseline and end
 * no run.
 */
#include "stats/stats.h"

enum { max_clusters = 4096 };

const char *kvl_stage_name(kvl_stage s) {
    static const char *const names[KVL_N_STAGES] = {"baseline", "explosion", "plateau", "best range",
                                                    "decline"};
    return (unsigned)s < KVL_N_STAGES ? names[s] : "unknown";
}

typedef struct curve {
    const double *sums;
    const size_t *counts;
    const bool *is_valid;
    size_t n_points;
    size_t n_clusters;
} curve;

static bool is_inside(const curve *c, size_t a, size_t b) {
    double difference[max_clusters];
    size_t n = c->n_clusters < max_clusters ? c->n_clusters : max_clusters;
    for (size_t i = 0; i < n; i++) {
        difference[i] = c->sums[a * c->n_clusters + i] - c->sums[b * c->n_clusters + i];
    }
    kvl_estimate e = kvl_cluster_mean(difference, c->counts, n);
    return !e.has_interval || (e.low <= 0 && e.high >= 0);
}

static double total(const curve *c, size_t point) {
    double sum = 0;
    for (size_t i = 0; i < c->n_clusters; i++) {
        sum += c->sums[point * c->n_clusters + i];
    }
    return sum;
}

/* Walks outward from the best point in steps of `step` and names what it meets. */
static void walk(kvl_stage *stages, const curve *c, size_t best, int step, kvl_stage beyond) {
    kvl_stage stage = KVL_STAGE_BEST;
    size_t inner = best;
    for (long p = (long)best + step; p >= 0 && p < (long)c->n_points; p += step) {
        size_t point = (size_t)p;
        if (!c->is_valid[point]) {
            continue;
        }
        bool is_in_range = stage == KVL_STAGE_BEST && c->n_clusters >= 2 && is_inside(c, point, best);
        if (!is_in_range && stage == KVL_STAGE_BEST) {
            stage = KVL_STAGE_PLATEAU;
        }
        if (stage == KVL_STAGE_PLATEAU && !is_inside(c, point, inner)) {
            stage = beyond;
        }
        stages[point] = stage;
        inner = point;
    }
}

void kvl_find_stages(kvl_stage *stages, size_t *best, const double *sums, const size_t *counts,
                     const bool *is_valid, size_t n_points, size_t n_clusters) {
    curve c = {sums, counts, is_valid, n_points, n_clusters};
    *best = n_points;
    for (size_t p = 0; p < n_points; p++) {
        stages[p] = KVL_STAGE_BASELINE;
        if (is_valid[p] && (*best == n_points || total(&c, p) < total(&c, *best))) {
            *best = p;
        }
    }
    if (*best == n_points) {
        return;
    }
    stages[*best] = KVL_STAGE_BEST;
    walk(stages, &c, *best, -1, KVL_STAGE_EXPLOSION);
    walk(stages, &c, *best, 1, KVL_STAGE_DECLINE);
}
