/* Finalists on other texts, their time and memory, and the answer: stages 5 and 6. */
#include "protocol/recommend_int.h"

#include "base/alloc.h"
#include "stats/inference.h"
#include "stats/resample.h"

#include <math.h>
#include <string.h>

/* ---- quality ---- */

/* The full cache in smaller forms is always among the finalists, where it fits: what types alone cost. */
static void add_full_caches(const kvli_search *s, size_t *trials, size_t *n) {
    const kvl_recommend *r = s->out;
    const uint64_t max_bytes = s->config->wish.max_bytes;
    for (size_t i = 0; i < r->n_trials && *n < KVL_MAX_FINALISTS; i++) {
        const kvl_trial *t = &r->trials[i];
        bool is_new = kvl_policy_press(&t->policy)->is_identity && (max_bytes == 0 || t->bytes <= max_bytes);
        for (size_t k = 0; k < *n; k++) {
            is_new = is_new && trials[k] != i;
        }
        if (is_new) {
            trials[(*n)++] = i;
        }
    }
}

/* Whether trial a stands before b: by bytes; of equal ones a full cache first, since it does the least. */
static bool is_before(const kvl_trial *a, const kvl_trial *b) {
    return a->bytes < b->bytes || (a->bytes == b->bytes && kvl_policy_press(&a->policy)->is_identity &&
                                   !kvl_policy_press(&b->policy)->is_identity);
}

static void sort_finalists(kvl_recommend *r, const size_t *trials, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        while (at > 0 && is_before(&r->trials[trials[i]], &r->trials[r->finalists[at - 1].trial])) {
            r->finalists[at] = r->finalists[at - 1];
            at--;
        }
        r->finalists[at].trial = trials[i];
    }
    r->n_finalists = n;
}

static kvl_status pick_finalists(kvli_search *s, kvl_err *err) {
    kvl_recommend *r = s->out;
    size_t picked[KVL_MAX_FINALISTS];
    size_t n_picked = 0;
    size_t n = 0; /* trials that may be picked */
    double *loss = kvl_calloc(r->n_trials, sizeof *loss);
    uint64_t *bytes = kvl_calloc(r->n_trials, sizeof *bytes);
    size_t *trial = kvl_calloc(r->n_trials, sizeof *trial);
    size_t *group = kvl_calloc(r->n_trials, sizeof *group);
    kvl_status status = KVL_OK;
    if (loss == NULL || bytes == NULL || trial == NULL || group == NULL) {
        KVL_GO(kvl_fail_nomem(err, "finalists"));
    }
    for (size_t i = 0; i < r->n_trials; i++) {
        if (r->trials[i].is_whole) {
            loss[n] = r->trials[i].loss;
            bytes[n] = r->trials[i].bytes;
            group[n] = r->trials[i].policy_id;
            trial[n++] = i;
        }
    }
    KVL_GO(kvl_finalists(picked, &n_picked, loss, bytes, group, n, &s->config->wish, s->config->n_finalists,
                         err));
    for (size_t i = 0; i < n_picked; i++) {
        picked[i] = trial[picked[i]];
    }
    add_full_caches(s, picked, &n_picked);
    sort_finalists(r, picked, n_picked);
done:
    kvl_free(loss);
    kvl_free(bytes);
    kvl_free(trial);
    kvl_free(group);
    return status;
}

/* NLL sums of the finalists of a form: nll [finalists, windows]; of form 0 those of the full cache too. */
static kvl_status run_finalists(kvli_search *s, size_t form, double *nll, double *full, kvl_err *err) {
    kvl_recommend *r = s->out;
    const kvl_samples *windows = &s->config->test->windows;
    kvl_policy policies[KVL_MAX_FINALISTS];
    size_t which[KVL_MAX_FINALISTS];
    uint64_t bytes[KVL_MAX_FINALISTS + 1];
    size_t n = 0;
    for (size_t i = 0; i < r->n_finalists; i++) {
        if (r->trials[r->finalists[i].trial].form == form) {
            policies[n] = r->trials[r->finalists[i].trial].policy;
            which[n++] = i;
        }
    }
    if (n == 0 && form != 0) {
        return KVL_OK;
    }
    double *sums = kvl_calloc((n + 1) * windows->n, sizeof *sums);
    if (sums == NULL) {
        return kvl_fail_nomem(err, "finalists");
    }
    kvl_status status = kvli_run_trials(s, form, policies, n, windows, sums, bytes, err);
    for (size_t i = 0; i < n && status == KVL_OK; i++) {
        r->finalists[which[i]].claim.bytes = bytes[i + 1];
        memcpy(nll + which[i] * windows->n, sums + (i + 1) * windows->n, windows->n * sizeof *nll);
    }
    if (status == KVL_OK && form == 0) {
        r->full.claim.bytes = bytes[0];
        memcpy(full, sums, windows->n * sizeof *full);
    }
    kvl_free(sums);
    return status;
}

/* Intervals from differences to the full cache, summed by cluster. */
static kvl_status estimate(kvli_search *s, const double *nll, const double *full, kvl_err *err) {
    kvl_recommend *r = s->out;
    const kvl_cuts *test = s->config->test;
    kvl_resamples *resamples = NULL;
    r->is_by_window = test->n_texts < KVL_FEW_CLUSTERS;
    r->n_clusters = r->is_by_window ? test->windows.n : test->n_texts;
    double *num = kvl_calloc(r->n_clusters, sizeof *num);
    double *den = kvl_calloc(r->n_clusters, sizeof *den);
    size_t *counts = kvl_calloc(r->n_clusters, sizeof *counts);
    kvl_status status = KVL_OK;
    if (num == NULL || den == NULL || counts == NULL) {
        KVL_GO(kvl_fail_nomem(err, "finalists"));
    }
    KVL_GO(kvl_resamples_create(&resamples, r->n_clusters, KVL_BOOTSTRAP_RESAMPLES, KVL_RECOMMEND_SEED, err));
    for (size_t w = 0; w < test->windows.n; w++) {
        counts[r->is_by_window ? w : test->windows.items[w].text] += s->config->n_new;
        r->full_nll += full[w] / (double)(test->windows.n * s->config->n_new);
    }
    for (size_t i = 0; i < r->n_clusters; i++) {
        den[i] = (double)counts[i];
    }
    for (size_t i = 0; i < r->n_finalists; i++) {
        memset(num, 0, r->n_clusters * sizeof *num);
        for (size_t w = 0; w < test->windows.n; w++) {
            num[r->is_by_window ? w : test->windows.items[w].text] += nll[i * test->windows.n + w] - full[w];
        }
        r->finalists[i].claim.loss = kvl_bootstrap_ratio(resamples, num, den, s->config->wish.max_loss);
        r->finalists[i].smallest = kvl_smallest_detectable(num, counts, r->n_clusters);
    }
done:
    kvl_resamples_destroy(resamples);
    kvl_free(num);
    kvl_free(den);
    kvl_free(counts);
    return status;
}

static kvl_status adjust(kvl_recommend *r, double max_loss, kvl_err *err) {
    kvl_claim claims[KVL_MAX_FINALISTS];
    for (size_t i = 0; i < r->n_finalists; i++) {
        claims[i] = r->finalists[i].claim;
    }
    KVL_TRY(kvl_adjust(claims, r->n_finalists, max_loss, err));
    for (size_t i = 0; i < r->n_finalists; i++) {
        r->finalists[i].claim.p = claims[i].p;
    }
    return KVL_OK;
}

kvl_status kvli_confirm(kvli_search *s, kvl_err *err) {
    kvl_recommend *r = s->out;
    const size_t n_windows = s->config->test->windows.n;
    KVL_TRY(pick_finalists(s, err));
    double *nll = kvl_calloc(r->n_finalists * n_windows, sizeof *nll);
    double *full = kvl_calloc(n_windows, sizeof *full);
    kvl_status status = nll != NULL && full != NULL ? KVL_OK : kvl_fail_nomem(err, "finalists");
    for (size_t form = 0; form < s->config->n_forms && status == KVL_OK; form++) {
        status = run_finalists(s, form, nll, full, err);
    }
    if (status == KVL_OK) {
        status = estimate(s, nll, full, err);
    }
    kvl_free(nll);
    kvl_free(full);
    return status == KVL_OK ? adjust(r, s->config->wish.max_loss, err) : status;
}

/* ---- time ---- */

enum { SAME = 1, N_TIMED = KVL_MAX_FINALISTS + 2 }; /* the full cache twice, then the finalists */

/* Medians of one policy, and of its ratios to the full cache in the same repetition. x [n] is scratch. */
static void take_times(kvl_claim *claim, const kvl_timing_sample *own, const kvl_timing_sample *full,
                       size_t n, double *x) {
    for (size_t i = 0; i < n; i++) {
        x[i] = own[i].ttft_ns + own[i].compress_ns;
    }
    claim->ttft_ns = kvl_median_of(x, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = (own[i].ttft_ns + own[i].compress_ns) / (full[i].ttft_ns + full[i].compress_ns);
    }
    claim->ttft_ratio = kvl_median_of(x, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = own[i].tpot_ns;
    }
    claim->tpot_ns = kvl_median_of(x, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = own[i].tpot_ns / full[i].tpot_ns;
    }
    claim->tpot_ratio = kvl_median_of(x, n);
}

static void take_memory(kvl_finalist *f, const kvl_timing *t) {
    f->compress_ns = t->compress_ns;
    f->kv_bytes_live = t->kv_bytes_live;
    f->kv_bytes_peak = t->kv_bytes_peak;
    f->peak_rss_bytes = t->peak_rss_bytes;
}

kvl_status kvli_measure_time(kvli_search *s, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    kvl_recommend *r = s->out;
    const size_t n = r->n_finalists + 2;
    const size_t n_reps = c->n_repetitions;
    kvl_policy policies[N_TIMED];
    kvl_engine *engines[N_TIMED];
    kvl_timing timings[N_TIMED];
    kvl_claim same = {0};
    kvl_timing_sample *samples = r->times = kvl_calloc(n * n_reps, sizeof *samples);
    double *x = kvl_calloc(n_reps, sizeof *x);
    kvl_status status = KVL_OK;
    if (samples == NULL || x == NULL) {
        KVL_GO(kvl_fail_nomem(err, "timing"));
    }
    kvl_policy_init(&policies[0]);
    KVL_GO(kvl_policy_parse(&policies[0], "none", err));
    KVL_GO(kvli_form_engine(&engines[0], s, 0, err));
    policies[SAME] = policies[0];
    engines[SAME] = engines[0];
    for (size_t i = 2; i < n; i++) {
        const kvl_trial *trial = &r->trials[r->finalists[i - 2].trial];
        policies[i] = trial->policy;
        KVL_GO(kvli_form_engine(&engines[i], s, trial->form, err));
    }
    const kvl_timing_config config = {.sample = &c->tune->windows.items[0],
                                      .policies = policies,
                                      .n_policies = n,
                                      .n_prompt = c->n_prompt,
                                      .n_new = c->n_timed,
                                      .n_repetitions = n_reps,
                                      .engines = engines,
                                      .samples = samples};
    KVL_GO(kvl_timing_run(timings, engines[0], &config, err));
    for (size_t i = 0; i < n; i++) {
        kvl_claim *claim = i == 0 ? &r->full.claim : i == SAME ? &same : &r->finalists[i - 2].claim;
        take_times(claim, samples + i * n_reps, samples, n_reps, x);
        if (i != SAME) {
            take_memory(i == 0 ? &r->full : &r->finalists[i - 2], &timings[i]);
        }
    }
    r->same_ttft = same.ttft_ratio;
    r->same_tpot = same.tpot_ratio;
done:
    kvl_free(x);
    return status;
}

/* ---- the answer ---- */

static double noise_of(const kvl_median *same) { return fmax(fabs(same->low - 1), fabs(same->high - 1)); }

/* Finalists that another one beats, the full cache among them. Times that differ by no more than the full
 * cache does from itself count as equal. */
static void mark_front(kvl_recommend *r) {
    enum { N_DIMS = 4 };
    double values[(KVL_MAX_FINALISTS + 1) * N_DIMS];
    bool is_behind[KVL_MAX_FINALISTS + 1];
    const double tolerance[N_DIMS] = {0, 0, noise_of(&r->same_ttft), noise_of(&r->same_tpot)};
    for (size_t i = 0; i <= r->n_finalists; i++) {
        const kvl_claim *c = i < r->n_finalists ? &r->finalists[i].claim : &r->full.claim;
        double *point = values + i * N_DIMS;
        point[0] = c->loss.mean;
        point[1] = (double)c->bytes;
        point[2] = c->ttft_ratio.value;
        point[3] = c->tpot_ratio.value;
    }
    kvl_front(is_behind, values, tolerance, r->n_finalists + 1, N_DIMS);
    for (size_t i = 0; i < r->n_finalists; i++) {
        r->finalists[i].is_behind = is_behind[i];
    }
    r->full.is_behind = is_behind[r->n_finalists];
}

/* By how much a trial missed the limits on the texts to choose on: the larger share of one. */
static double miss_of(const kvl_trial *t, const kvl_wish *wish) {
    const double of_bytes = wish->max_bytes != 0 ? (double)t->bytes / (double)wish->max_bytes : 0;
    return fmax(t->loss / wish->max_loss, of_bytes);
}

static size_t find_missed(const kvl_recommend *r, const kvl_wish *wish) {
    size_t nearest = r->n_trials;
    for (size_t i = 0; i < r->n_finalists; i++) {
        if (!kvl_policy_press(&r->trials[r->finalists[i].trial].policy)->is_identity) {
            return r->n_trials;
        }
    }
    for (size_t i = 0; i < r->n_trials; i++) {
        const kvl_trial *t = &r->trials[i];
        if (t->is_whole && !kvl_policy_press(&t->policy)->is_identity &&
            (nearest == r->n_trials || miss_of(t, wish) < miss_of(&r->trials[nearest], wish))) {
            nearest = i;
        }
    }
    return nearest;
}

void kvli_conclude(kvli_search *s) {
    kvl_recommend *r = s->out;
    const kvl_wish *wish = &s->config->wish;
    kvl_claim claims[KVL_MAX_FINALISTS];
    for (size_t i = 0; i < r->n_finalists; i++) {
        claims[i] = r->finalists[i].claim;
        r->finalists[i].lacks = kvl_lacks(&claims[i], wish);
    }
    r->answer = kvl_choose(claims, r->n_finalists, wish);
    r->nearest = kvl_nearest(claims, r->n_finalists, wish);
    r->missed = find_missed(r, wish);
    mark_front(r);
}
