/* The search for settings: stages 1 to 4. */
#include "protocol/recommend_int.h"

#include "base/alloc.h"
#include "base/os.h"
#include "protocol/timing.h"

#include <math.h>
#include <string.h>

static const uint64_t sink_choices[] = {0, 4};
static const uint64_t recent_choices[] = {0, 16, 64};

size_t kvl_coarse_budgets(size_t indices[3], size_t n) {
    const size_t wanted[] = {n > 3 ? 1 : 0, n / 2, n > 3 ? n - 2 : n - 1};
    size_t n_chosen = 0;
    for (size_t i = 0; i < 3 && n != 0; i++) {
        if (n_chosen == 0 || wanted[i] > indices[n_chosen - 1]) {
            indices[n_chosen++] = wanted[i];
        }
    }
    return n_chosen;
}

/* ---- running ---- */

kvl_status kvli_form_engine(kvl_engine **out, kvli_search *s, size_t form, kvl_err *err) {
    kvl_model *view = &s->views[form];
    if (s->engines[form] == NULL) {
        view->shape.key_type = s->config->forms[form].key_type;
        view->shape.value_type = s->config->forms[form].value_type;
        KVL_TRY(kvl_cache_check_shape(&view->shape, err));
        KVL_TRY(kvl_engine_create(&s->engines[form], view, &s->config->options, err));
        kvl_engine_set_prompts(s->engines[form], s->config->prompts);
    }
    *out = s->engines[form];
    return KVL_OK;
}

static bool pass_progress(void *ud, const kvl_sweep_progress *p) {
    const kvli_search *s = ud;
    const kvl_recommend_progress all = {s->stage, p->rows_done, p->rows_total};
    return s->config->progress == NULL || s->config->progress(s->config->progress_ud, &all);
}

kvl_status kvli_run_trials(kvli_search *s, size_t form, const kvl_policy *policies, size_t n,
                           const kvl_samples *windows, double *nll, uint64_t *bytes, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    kvl_engine *engine = NULL;
    kvl_sweep sweep;
    const kvl_sweep_config config = {.protocol = {.max_tokens = c->n_prompt + c->n_new + 1,
                                                  .prefill = c->n_prompt,
                                                  .count_from = c->n_prompt},
                                     .samples = windows,
                                     .policies = policies,
                                     .n_policies = n,
                                     .memory_bytes = c->memory_bytes,
                                     .progress = pass_progress,
                                     .progress_ud = s};
    KVL_TRY(kvli_form_engine(&engine, s, form, err));
    KVL_TRY(kvl_sweep_run(&sweep, engine, &config, err));
    for (size_t p = 0; p <= n; p++) {
        bytes[p] = 0;
        for (size_t w = 0; w < windows->n; w++) {
            const kvl_cell *cell = kvl_sweep_cell(&sweep, p, w);
            nll[p * windows->n + w] = cell->nll_sum;
            bytes[p] = cell->kv_bytes_live > bytes[p] ? cell->kv_bytes_live : bytes[p];
        }
    }
    s->out->rows += sweep.rows_computed;
    kvl_sweep_free(&sweep);
    return KVL_OK;
}

/* ---- settings ---- */

static bool is_fixed(const kvl_policy *p) {
    return p->size_tok != 0 || p->n_bytes != 0 || p->keep_ratio < 1 || kvl_press_is_outcome(p->tree) ||
           kvl_policy_press(p)->is_identity;
}

typedef void policy_words(const kvl_policy *p, kvl_str *out);

/* Whether two policies are the same in words: kvl_policy_text, or kvl_policy_press_text. */
static bool is_same(policy_words *words, const kvl_policy *a, const kvl_policy *b) {
    kvl_str texts[2] = {{0}, {0}};
    words(a, &texts[0]);
    words(b, &texts[1]);
    const bool same = strcmp(kvl_str_text(&texts[0]), kvl_str_text(&texts[1])) == 0;
    kvl_str_free(&texts[0]);
    kvl_str_free(&texts[1]);
    return same;
}

/* The trial of a setting, a new one if it was not tried yet: *index. */
static kvl_status add_trial(kvli_search *s, const kvl_policy *policy, size_t form, bool is_fixed_there,
                            size_t *index, kvl_err *err) {
    kvl_recommend *r = s->out;
    size_t policy_id = r->n_trials;
    for (*index = 0; *index < r->n_trials; ++*index) {
        const kvl_trial *t = &r->trials[*index];
        if (is_same(kvl_policy_text, &t->policy, policy)) {
            policy_id = kvl_min_size(policy_id, *index);
            if (t->form == form) {
                return KVL_OK;
            }
        }
    }
    kvl_trial *trials = kvl_resize(r->trials, r->n_trials, r->n_trials + 1, sizeof *trials);
    if (trials == NULL) {
        return kvl_fail_nomem(err, "settings");
    }
    r->trials = trials;
    trials[r->n_trials++] = (kvl_trial){.policy = *policy,
                                        .policy_id = policy_id,
                                        .form = form,
                                        .is_fixed = is_fixed_there,
                                        .loss = (double)NAN};
    return KVL_OK;
}

/* Settings of one form that are to be run together. */
typedef struct batch {
    size_t *trials; /* indices; room for all that a stage can ask for */
    size_t n;
} batch;

static kvl_status push(kvli_search *s, batch *b, const kvl_policy *policy, size_t form, bool is_fixed_there,
                       kvl_err *err) {
    size_t index = 0;
    KVL_TRY(add_trial(s, policy, form, is_fixed_there, &index, err));
    for (size_t i = 0; i < b->n; i++) {
        if (b->trials[i] == index) {
            return KVL_OK;
        }
    }
    b->trials[b->n++] = index;
    return KVL_OK;
}

/* What a run of a batch gave, by trial. */
static void take_losses(kvli_search *s, const batch *b, const double *nll, const uint64_t *bytes,
                        const double *full, size_t n_windows, bool is_whole) {
    const double n_scored = (double)(n_windows * s->config->n_new);
    for (size_t i = 0; i < b->n; i++) {
        kvl_trial *t = &s->out->trials[b->trials[i]];
        double sum = 0;
        for (size_t w = 0; w < n_windows; w++) {
            sum += nll[(i + 1) * n_windows + w] - full[w];
        }
        t->loss = sum / n_scored;
        t->bytes = bytes[i + 1];
        t->is_whole = is_whole;
    }
}

/* Runs a batch. Survivors are stored by score, so that budgets of one ranking share a cache: results are the
 * same beyond rounding, and the finals do without. Losses are against s->full where that is known. */
static kvl_status run_batch(kvli_search *s, const batch *b, size_t form, const kvl_samples *windows,
                            bool is_whole, kvl_err *err) {
    double *nll = kvl_calloc((b->n + 1) * windows->n, sizeof *nll);
    uint64_t *bytes = kvl_calloc(b->n + 1, sizeof *bytes);
    kvl_policy *policies = kvl_calloc(b->n, sizeof *policies);
    kvl_status status = KVL_OK;
    if (nll == NULL || bytes == NULL || policies == NULL) {
        KVL_GO(kvl_fail_nomem(err, "settings"));
    }
    for (size_t i = 0; i < b->n; i++) {
        policies[i] = s->out->trials[b->trials[i]].policy;
        policies[i].protections.is_score_order = true;
    }
    KVL_GO(kvli_run_trials(s, form, policies, b->n, windows, nll, bytes, err));
    if (is_whole && form == 0) {
        memcpy(s->full, nll, windows->n * sizeof *nll);
    }
    take_losses(s, b, nll, bytes, is_whole ? s->full : nll, windows->n, is_whole);
done:
    kvl_free(nll);
    kvl_free(bytes);
    kvl_free(policies);
    return status;
}

static kvl_policy at_ratio(const kvl_policy *policy, double ratio) {
    kvl_policy p = kvl_timing_once(policy);
    p.keep_ratio = ratio;
    return p;
}

/* ---- stages ---- */

/* Every press at a few budgets, on every second window; which go on: stays [n_policies]. */
static kvl_status search_coarse(kvli_search *s, batch *b, bool *stays, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    const kvl_samples *all = &c->tune->windows;
    size_t budgets[3];
    const size_t n_budgets = kvl_coarse_budgets(budgets, c->n_ratios);
    kvl_samples half = {.items = kvl_calloc(all->n, sizeof *half.items)};
    double *loss = kvl_calloc(c->n_policies * n_budgets, sizeof *loss);
    size_t *trial_of = kvl_calloc(c->n_policies * n_budgets, sizeof *trial_of);
    kvl_status status = KVL_OK;
    if (half.items == NULL || loss == NULL || trial_of == NULL) {
        KVL_GO(kvl_fail_nomem(err, "settings"));
    }
    for (size_t w = 0; w < all->n; w += 2) {
        half.items[half.n++] = all->items[w]; /* ids stay those of the config */
    }
    for (size_t p = 0; p < c->n_policies; p++) {
        for (size_t k = 0; k < n_budgets && !is_fixed(&c->policies[p]); k++) {
            const kvl_policy policy = at_ratio(&c->policies[p], c->ratios[budgets[k]]);
            KVL_GO(push(s, b, &policy, 0, false, err));
            KVL_GO(add_trial(s, &policy, 0, false, &trial_of[p * n_budgets + k], err));
        }
    }
    KVL_GO(b->n != 0 ? run_batch(s, b, 0, &half, false, err) : KVL_OK);
    for (size_t p = 0; p < c->n_policies; p++) {
        for (size_t k = 0; k < n_budgets; k++) {
            loss[p * n_budgets + k] =
                is_fixed(&c->policies[p]) ? (double)NAN : s->out->trials[trial_of[p * n_budgets + k]].loss;
        }
    }
    kvl_survivors(stays, loss, c->n_policies, n_budgets, 2);
done:
    kvl_free(half.items);
    kvl_free(loss);
    kvl_free(trial_of);
    return status;
}

/* Survivors at every budget, and settings with a budget of their own. */
static kvl_status search_budgets(kvli_search *s, batch *b, const bool *stays, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    b->n = 0;
    for (size_t p = 0; p < c->n_policies; p++) {
        const kvl_policy once = kvl_timing_once(&c->policies[p]);
        if (is_fixed(&once) && !kvl_policy_press(&once)->is_identity) {
            KVL_TRY(push(s, b, &once, 0, true, err));
        }
        for (size_t k = 0; k < c->n_ratios && stays[p]; k++) {
            const kvl_policy policy = at_ratio(&once, c->ratios[k]);
            KVL_TRY(push(s, b, &policy, 0, false, err));
        }
    }
    return run_batch(s, b, 0, &c->tune->windows, true, err);
}

/* The best setting of form 0 at a ratio so far, of another press than that trial's (SIZE_MAX: of any);
 * n_trials if there is none. */
static size_t best_at(const kvli_search *s, double ratio, size_t but) {
    const kvl_recommend *r = s->out;
    size_t best = r->n_trials;
    for (size_t i = 0; i < r->n_trials; i++) {
        const kvl_trial *t = &r->trials[i];
        if (t->is_whole && !t->is_fixed && t->form == 0 && t->policy.keep_ratio == ratio &&
            (but == SIZE_MAX || !is_same(kvl_policy_press_text, &t->policy, &r->trials[but].policy)) &&
            (best == r->n_trials || t->loss < r->trials[best].loss)) {
            best = i;
        }
    }
    return best;
}

static kvl_status search_protections(kvli_search *s, batch *b, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    b->n = 0;
    for (size_t k = 0; k < c->n_ratios; k++) {
        const size_t best = best_at(s, c->ratios[k], SIZE_MAX);
        if (best == s->out->n_trials) {
            continue;
        }
        const kvl_policy policy = s->out->trials[best].policy;
        const size_t n_kept = kvl_budget_target(policy.keep_ratio, 0, c->n_prompt);
        const bool is_asked = policy.protections.n_sinks + policy.protections.n_recent != 0;
        for (size_t i = 0; i < 6 && !is_asked; i++) {
            kvl_policy variant = policy;
            variant.protections.n_sinks = sink_choices[i / 3];
            variant.protections.n_recent = recent_choices[i % 3];
            if (variant.protections.n_sinks + variant.protections.n_recent < n_kept) {
                KVL_TRY(push(s, b, &variant, 0, false, err));
            }
        }
    }
    return b->n != 0 ? run_batch(s, b, 0, &c->tune->windows, true, err) : KVL_OK;
}

static kvl_status search_form(kvli_search *s, batch *b, size_t form, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    kvl_policy none;
    kvl_policy_init(&none);
    KVL_TRY(kvl_policy_parse(&none, "none", err));
    b->n = 0;
    for (size_t k = 0; k < c->n_ratios; k++) {
        size_t but = SIZE_MAX;
        for (size_t i = 0; i < 2; i++) {
            const size_t best = best_at(s, c->ratios[k], but);
            if (best < s->out->n_trials) {
                const kvl_policy policy = s->out->trials[best].policy;
                KVL_TRY(push(s, b, &policy, form, false, err));
                but = best;
            }
        }
    }
    for (size_t p = 0; p < c->n_policies; p++) {
        const kvl_policy once = kvl_timing_once(&c->policies[p]);
        if (is_fixed(&once) && !kvl_policy_press(&once)->is_identity) {
            KVL_TRY(push(s, b, &once, form, true, err));
        }
    }
    KVL_TRY(push(s, b, &none, form, true, err));
    return run_batch(s, b, form, &c->tune->windows, true, err);
}

static kvl_status search(kvli_search *s, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    batch b = {.trials =
                   kvl_calloc(c->n_policies * (c->n_ratios + 1) + 6 * c->n_ratios + 1, sizeof *b.trials)};
    bool *stays = kvl_calloc(c->n_policies, sizeof *stays);
    kvl_status status = KVL_OK;
    uint64_t start = kvl_clock_ns();
    if (b.trials == NULL || stays == NULL) {
        KVL_GO(kvl_fail_nomem(err, "settings"));
    }
    for (s->stage = 0; s->stage < 4; s->stage++) {
        switch (s->stage) {
        case 0: KVL_GO(search_coarse(s, &b, stays, err)); break;
        case 1: KVL_GO(search_budgets(s, &b, stays, err)); break;
        case 2: KVL_GO(search_protections(s, &b, err)); break;
        default:
            for (size_t form = 1; form < c->n_forms; form++) {
                KVL_GO(search_form(s, &b, form, err));
            }
        }
        const uint64_t now = kvl_clock_ns();
        s->out->wall_ns[s->stage] = now - start;
        start = now;
    }
done:
    kvl_free(b.trials);
    kvl_free(stays);
    return status;
}

/* ---- all of it ---- */

static kvl_status run_all(kvli_search *s, kvl_err *err) {
    const kvl_recommend_config *c = s->config;
    kvl_engine *engine = NULL;
    if (c->tune->windows.n == 0 || c->test->windows.n == 0) {
        return kvl_fail(
            err, KVL_E_TEXT,
            "texts: expected one of at least %zu tokens to choose on and one to test on, found %s",
            c->n_prompt + c->n_new + 1, c->tune->windows.n == 0 ? "none to choose on" : "none to test on");
    }
    KVL_TRY(kvli_form_engine(&engine, s, 0, err));
    s->out->isa = kvl_engine_isa(engine);
    s->out->n_threads = kvl_engine_threads(engine);
    KVL_TRY(kvl_identity_check(engine, &c->tune->windows.items[0], err));
    KVL_TRY(search(s, err));
    if (s->out->n_trials == 0) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "settings: expected a press that evicts, or smaller types for the cache, found neither");
    }
    const uint64_t start = kvl_clock_ns();
    KVL_TRY(kvli_confirm(s, err));
    const uint64_t confirmed = kvl_clock_ns();
    s->out->wall_ns[4] = confirmed - start;
    s->stage = 5;
    KVL_TRY(kvli_measure_time(s, err));
    s->out->wall_ns[5] = kvl_clock_ns() - confirmed;
    return KVL_OK;
}

kvl_status kvl_recommend_run(kvl_recommend *out, const kvl_model *model, const kvl_recommend_config *config,
                             kvl_err *err) {
    kvli_search s = {.config = config, .out = out};
    *out = (kvl_recommend){0};
    for (size_t f = 0; f < config->n_forms; f++) {
        s.views[f] = *model;
    }
    s.full = kvl_calloc(config->tune->windows.n, sizeof *s.full);
    kvl_status status = s.full != NULL ? run_all(&s, err) : kvl_fail_nomem(err, "recommend");
    for (size_t f = 0; f < config->n_forms; f++) {
        kvl_engine_destroy(s.engines[f]);
    }
    kvl_free(s.full);
    if (status == KVL_OK) {
        kvli_conclude(&s);
    } else {
        kvl_recommend_free(out);
    }
    return status;
}

void kvl_recommend_free(kvl_recommend *r) {
    kvl_free(r->trials);
    kvl_free(r->times);
    *r = (kvl_recommend){0};
}
