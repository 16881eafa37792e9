/* Sums over the steps and heads of a log of departures. */
#include "protocol/visibility.h"

#include <math.h>

static bool is_skipped(const uint64_t *skip, uint32_t layer) {
    return skip != NULL && (skip[layer / 64] >> layer % 64 & 1) != 0;
}

/* left_at of head number *i, counting from 0 through the layers that are not skipped; moves *i to the next
 * one, or returns NULL behind the last. */
static const uint32_t *next_head(const kvl_departures *d, const uint64_t *skip, size_t *i) {
    const uint32_t n_heads = kvl_departures_heads(d);
    for (; *i < (size_t)kvl_departures_layers(d) * n_heads; ++*i) {
        const uint32_t layer = (uint32_t)(*i / n_heads);
        if (!is_skipped(skip, layer)) {
            return kvl_departures_head(d, layer, (uint32_t)((*i)++ % n_heads));
        }
    }
    return NULL;
}

void kvl_visible_lags(float *share, size_t n_lags, const kvl_departures *d, const uint64_t *skip,
                      size_t token) {
    size_t n_heads = 0;
    const uint32_t *left_at = NULL;
    for (size_t j = 0; j < n_lags; j++) {
        share[j] = 0;
    }
    for (size_t i = 0; (left_at = next_head(d, skip, &i)) != NULL; n_heads++) {
        for (size_t j = 1; j <= n_lags && j <= token; j++) {
            share[j - 1] += token < left_at[token - j] ? 1.0F : 0.0F;
        }
    }
    for (size_t j = 0; j < n_lags && n_heads != 0; j++) {
        share[j] /= (float)n_heads;
    }
}

double kvl_visible_keys(const kvl_departures *d, const uint64_t *skip, size_t token) {
    size_t n_heads = 0;
    size_t n_keys = 0;
    const uint32_t *left_at = NULL;
    for (size_t i = 0; (left_at = next_head(d, skip, &i)) != NULL; n_heads++) {
        for (size_t p = 0; p <= token; p++) {
            n_keys += token < left_at[p];
        }
    }
    return n_heads != 0 ? (double)n_keys / (double)n_heads : (double)NAN;
}

size_t kvl_step_phase(const kvl_departures *d, size_t token) {
    size_t n = 0;
    const uint32_t *events = kvl_departures_events(d, &n);
    while (n != 0 && events[n - 1] > token) {
        n--;
    }
    return n != 0 ? token - events[n - 1] : SIZE_MAX;
}

/* One step of one head. */
static void add_step(kvl_visibility *v, const uint32_t *left_at, size_t token) {
    size_t n = 0;
    size_t n_old = 0;
    double age = 0;
    size_t run = 0;
    for (size_t p = 0; p <= token; p++) {
        const size_t is_visible = token < left_at[p];
        n += is_visible;
        age += (double)(is_visible * (token - p));
        n_old += is_visible && token - p > KVL_OLD_STEPS;
    }
    while (run < token && token < left_at[token - run - 1]) {
        run++;
    }
    for (size_t j = 1; j <= KVL_N_LAGS && j <= token; j++) {
        v->n_lags[j - 1] += 1;
        v->lags[j - 1] += token < left_at[token - j] ? 1.0 : 0.0;
    }
    v->n += 1;
    v->run += (double)run;
    v->n_keys += (double)n;
    v->age += age / (double)n; /* the token's own key is there */
    v->old += (double)n_old / (double)n;
}

void kvl_visibility_add(kvl_visibility *v, const kvl_departures *d, const uint64_t *skip, size_t first,
                        size_t end) {
    const uint32_t *left_at = NULL;
    for (size_t i = 0; (left_at = next_head(d, skip, &i)) != NULL;) {
        for (size_t token = first; token < end; token++) {
            add_step(v, left_at, token);
        }
    }
}

void kvl_visibility_add_compressions(kvl_visibility *v, const kvl_departures *d, const uint64_t *skip) {
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(d, &n_events);
    const uint32_t *left_at = NULL;
    for (size_t i = 0; (left_at = next_head(d, skip, &i)) != NULL;) {
        for (size_t k = 0; k < n_events; k++) {
            v->n_compressions += 1;
            v->n_newest += left_at[events[k] - 1] == events[k] ? 1.0 : 0.0;
        }
    }
}

kvl_visibility kvl_visibility_mean(const kvl_visibility *v) {
    kvl_visibility mean = *v;
    for (size_t j = 0; j < KVL_N_LAGS; j++) {
        mean.lags[j] = v->lags[j] / v->n_lags[j];
    }
    mean.run = v->run / v->n;
    mean.n_keys = v->n_keys / v->n;
    mean.age = v->age / v->n;
    mean.old = v->old / v->n;
    mean.n_newest = v->n_newest / v->n_compressions;
    return mean;
}
