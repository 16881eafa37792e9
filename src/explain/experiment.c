/* Running the studies: which arms, which texts, one sweep each. */
#include "explain/experiment_int.h"

#include "base/alloc.h"
#include "protocol/timing.h"

#include <string.h>

enum { MAX_ARMS = 256, RESAMPLES_QUICK = 10000, RESAMPLES_FULL = 20000 };

/* ---- what a study runs ---- */

typedef struct study_plan {
    const char *arms[MAX_ARMS];
    bool is_ranked[MAX_ARMS];
    size_t n_arms;
    kvl_protocol protocol;
    size_t first_affected;
    size_t max_texts;
    size_t min_tokens; /* of a text */
} study_plan;

static void add_arm(study_plan *plan, const kvl_arm_spec *spec) {
    size_t i = 0;
    while (i < plan->n_arms && strcmp(plan->arms[i], spec->policy) != 0) {
        i++;
    }
    if (i == MAX_ARMS) {
        return; /* its findings will say that it was not run */
    }
    if (i == plan->n_arms) {
        plan->arms[plan->n_arms++] = spec->policy;
    }
    plan->is_ranked[i] |= spec->is_ranked;
}

/* Tokens of a text, and how many texts: quick runs read less. */
static void plan_lengths(study_plan *plan, kvl_study_id study, const kvl_explain_config *config,
                         size_t n_context) {
    enum { n_prefill = 256, text_quick = 176, text_full = 768, score_quick = 32, score_full = 64 };
    const size_t cap = kvl_study_cap(study);
    plan->max_texts = config->is_full ? KVL_MAX_TEXTS : 64;
    if (study == KVL_STUDY_ONCE) {
        plan->protocol = (kvl_protocol){.prefill = n_prefill, .count_from = n_prefill};
        plan->protocol.max_tokens = n_prefill + (config->is_full ? score_full : score_quick) + 1;
        plan->first_affected = n_prefill;
    } else if (study == KVL_STUDY_STEP) {
        plan->protocol = (kvl_protocol){.max_tokens = config->is_full ? text_full : text_quick};
        plan->first_affected = cap;
    } else {
        plan->protocol = (kvl_protocol){.max_tokens = (config->is_full ? 4 : 3) * cap};
        plan->first_affected = cap;
        plan->max_texts = config->is_full ? KVL_MAX_TEXTS : cap <= 64 ? 40 : 24;
    }
    plan->protocol.max_tokens = kvl_min_size(plan->protocol.max_tokens, n_context);
    plan->min_tokens =
        study == KVL_STUDY_ONCE ? plan->protocol.max_tokens : plan->protocol.max_tokens / 4 * 3;
}

/* A study without arms, or whose texts would hardly outlast its cap, has nothing to run. */
static void plan_study(study_plan *plan, kvl_study_id study, const kvl_explain_config *config,
                       size_t n_context) {
    *plan = (study_plan){0};
    plan_lengths(plan, study, config, n_context);
    const size_t cap = kvl_study_cap(study);
    const bool is_possible = plan->protocol.max_tokens >= 2 * kvl_max_size(cap, 16) &&
                             plan->protocol.max_tokens > plan->protocol.count_from + 1 &&
                             (config->is_full || cap <= 256);
    for (size_t h = 0; h < config->n_hypotheses && is_possible; h++) {
        const kvl_arm_spec *spec = config->hypotheses[h]->arms;
        for (; spec != NULL && spec->policy != NULL; spec++) {
            if (spec->study == study) {
                add_arm(plan, spec);
            }
        }
    }
}

/* Norms and attention are looked at in the full caches of the first study. */
static bool wants_norms(const kvl_explain_config *config, kvl_study_id study) {
    bool wants = false;
    for (size_t h = 0; h < config->n_hypotheses && study == KVL_STUDY_STEP; h++) {
        wants |= config->hypotheses[h]->wants_norms;
    }
    return wants;
}

/* Shallow copies of texts that are long enough, spread over all when there are more than the study takes. */
static kvl_status choose_texts(kvl_samples *out, const study_plan *plan, const kvl_samples *texts,
                               kvl_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < texts->n; i++) {
        n += texts->items[i].ids.n >= plan->min_tokens;
    }
    const size_t n_taken = kvl_min_size(n, plan->max_texts);
    *out = (kvl_samples){.items = kvl_calloc(n_taken, sizeof *out->items)};
    if (out->items == NULL) {
        return kvl_fail_nomem(err, "texts");
    }
    size_t seen = 0;
    for (size_t i = 0; i < texts->n; i++) {
        if (texts->items[i].ids.n >= plan->min_tokens) {
            if (seen * n_taken / n != (seen + 1) * n_taken / n) {
                out->items[out->n++] = texts->items[i];
            }
            seen++;
        }
    }
    return KVL_OK;
}

/* ---- running one ---- */

static kvl_status finish_cell(void *ud, const kvl_cell *cell, const kvl_stream *stream, kvl_err *err) {
    kvli_study_run *r = ud;
    KVL_TRY(kvli_account_fill(r, cell, stream, err));
    if (r->study != KVL_STUDY_STEP) {
        return KVL_OK;
    }
    const size_t n_tokens = kvl_departures_tokens(stream->departures);
    if (cell->policy != 0) {
        return r->is_ranked[cell->policy - 1]
                   ? kvl_departures_fork(&r->ranked_logs[(cell->policy - 1) * r->texts.n + cell->sample],
                                         stream->departures, err)
                   : KVL_OK;
    }
    KVL_TRY(kvli_key_norms(&r->norms[cell->sample], stream, r->shape, n_tokens, err));
    return r->ev->norms.n_texts != 0 ? kvli_norm_facts(&r->ev->norms, cell->sample, stream, r->shape,
                                                       r->norms[cell->sample], n_tokens, err)
                                     : KVL_OK;
}

static bool show_progress(void *ud, const kvl_sweep_progress *p) {
    const kvli_study_run *r = ud;
    const kvl_explain_progress now = {r->study, r->rows_before + p->rows_done,
                                      kvl_max_size(r->rows_total, r->rows_before + p->rows_done)};
    return r->config->progress == NULL || r->config->progress(r->config->progress_ud, &now);
}

/* Ranks of the arms for which they are wanted: the norms are there when all texts have ended. */
static void rank_accounts(kvli_study_run *r) {
    for (size_t p = 0; p < r->n_policies; p++) {
        for (size_t t = 0; t < r->texts.n && r->is_ranked[p]; t++) {
            const kvl_departures *log = r->ranked_logs[p * r->texts.n + t];
            if (log != NULL && r->norms[t] != NULL) {
                kvli_account_rank(&r->ev->arms[r->first_arm + 1 + p].texts[t], log, &r->policies[p],
                                  r->norms[t]);
            }
        }
    }
}

static kvl_status begin_norms(kvl_norm_facts *f, size_t n_texts, size_t n_layers, kvl_err *err) {
    *f = (kvl_norm_facts){.n_texts = n_texts, .n_layers = n_layers, .n_skipped = 1};
    f->correlation = kvl_calloc(n_texts * n_layers, sizeof *f->correlation);
    f->lost_norm = kvl_calloc(n_texts * n_layers, sizeof *f->lost_norm);
    f->lost_best = kvl_calloc(n_texts * n_layers, sizeof *f->lost_best);
    f->lost_random = kvl_calloc(n_texts * n_layers, sizeof *f->lost_random);
    return f->correlation != NULL && f->lost_norm != NULL && f->lost_best != NULL && f->lost_random != NULL
               ? KVL_OK
               : kvl_fail_nomem(err, "norms");
}

/* Enters the arms of a study, the full cache first, and parses their policies. */
static kvl_status begin_study(kvli_study_run *r, const study_plan *plan, kvl_policy *policies, kvl_err *err) {
    kvl_arm *arm = NULL;
    const size_t n_resamples = r->config->is_full ? RESAMPLES_FULL : RESAMPLES_QUICK;
    KVL_TRY(kvl_evidence_begin(r->ev, r->study, r->texts.n, plan->first_affected, n_resamples,
                               r->config->seed, err));
    r->ev->studies[r->study].n_tokens = plan->protocol.max_tokens;
    r->first_arm = r->ev->n_arms;
    KVL_TRY(kvl_evidence_add(&arm, r->ev, r->study, "none", err));
    for (size_t i = 0; i < plan->n_arms; i++) {
        kvl_policy_init(&policies[i]);
        KVL_TRY(kvl_policy_parse(&policies[i], plan->arms[i], err));
        KVL_TRY(kvl_evidence_add(&arm, r->ev, r->study, plan->arms[i], err));
    }
    r->policies = policies;
    r->n_policies = plan->n_arms;
    r->is_ranked = plan->is_ranked;
    return wants_norms(r->config, r->study) ? begin_norms(&r->ev->norms, r->texts.n, r->shape->n_layers, err)
                                            : KVL_OK;
}

static kvl_sweep_config sweep_config(kvli_study_run *r, const study_plan *plan) {
    return (kvl_sweep_config){
        .protocol = plan->protocol,
        .samples = &r->texts,
        .policies = r->policies,
        .n_policies = plan->n_arms,
        .memory_bytes = r->config->memory_bytes,
        .wants_quality = r->study == KVL_STUDY_STEP, /* elsewhere only NLLs are read */
        .wants_departures = r->study == KVL_STUDY_STEP,
        .baseline_needs = {.has_mass = wants_norms(r->config, r->study)},
        .finish = finish_cell,
        .finish_ud = r,
        .progress = show_progress,
        .progress_ud = r,
    };
}

static void end_study(kvli_study_run *r) {
    for (size_t t = 0; t < r->texts.n; t++) {
        if (r->norms != NULL) {
            kvl_free(r->norms[t]);
        }
    }
    for (size_t i = 0; r->ranked_logs != NULL && i < r->n_policies * r->texts.n; i++) {
        kvl_departures_destroy(r->ranked_logs[i]);
    }
    kvl_free(r->norms);
    kvl_free(r->ranked_logs);
    kvl_free(r->texts.items);
}

/* Memory for some texts at a time: all arms of a text share its prefix, but with every text at once each step
 * would find none of its keys in the processor's caches (a sixth of the time). At most what there is. */
static uint64_t memory_of(const kvl_sweep *plan, size_t n_texts, uint64_t most) {
    const size_t texts_at_once = kvl_min_size(4, n_texts);
    const uint64_t wanted =
        plan->weight_bytes + plan->scratch_bytes + plan->kv_bytes / n_texts * texts_at_once;
    return most != 0 && most < wanted ? most : wanted;
}

/* Runs or only plans one study; *n_rows gets its tokens through the model. */
static kvl_status do_study(kvli_study_run *r, const study_plan *plan, kvl_engine *engine, bool is_planning,
                           size_t *n_rows, kvl_err *err) {
    kvl_sweep sweep = {0};
    kvl_policy *policies = kvl_calloc(plan->n_arms, sizeof *policies);
    kvl_status status = policies != NULL ? KVL_OK : kvl_fail_nomem(err, "policies");
    KVL_GO(status);
    KVL_GO(choose_texts(&r->texts, plan, r->config->texts, err));
    if (r->texts.n < 2) {
        goto done;
    }
    r->norms = kvl_calloc(r->texts.n, sizeof *r->norms);
    r->ranked_logs = kvl_calloc(plan->n_arms * r->texts.n, sizeof(kvl_departures *));
    if (r->norms == NULL || r->ranked_logs == NULL) {
        KVL_GO(kvl_fail_nomem(err, "evidence"));
    }
    KVL_GO(begin_study(r, plan, policies, err));
    kvl_sweep_config config = sweep_config(r, plan);
    KVL_GO(kvl_sweep_plan(&sweep, engine, &config, err));
    *n_rows = sweep.rows_planned;
    if (is_planning) {
        goto done;
    }
    config.memory_bytes = memory_of(&sweep, r->texts.n, r->config->memory_bytes);
    kvl_sweep_free(&sweep);
    KVL_GO(kvl_sweep_run(&sweep, engine, &config, err));
    rank_accounts(r);
done:
    kvl_sweep_free(&sweep);
    end_study(r);
    kvl_free(policies);
    return status;
}

static kvl_status do_studies(kvl_evidence *ev, kvl_engine *engine, const kvl_explain_config *config,
                             bool is_planning, size_t n_total, size_t *n_rows, kvl_err *err) {
    const kvl_shape *shape = &kvl_engine_model(engine)->shape;
    *n_rows = 0;
    for (kvl_study_id study = 0; study < KVL_N_STUDIES; study++) {
        study_plan plan;
        size_t n = 0;
        kvli_study_run r = {.ev = ev,
                            .shape = shape,
                            .study = study,
                            .config = config,
                            .rows_before = *n_rows,
                            .rows_total = n_total};
        plan_study(&plan, study, config, shape->n_context);
        if (plan.n_arms != 0 || wants_norms(config, study)) {
            KVL_TRY(do_study(&r, &plan, engine, is_planning, &n, err));
        }
        *n_rows += n;
    }
    return KVL_OK;
}

/* ---- time ---- */

static const kvl_sample *longest_text(const kvl_samples *texts) {
    const kvl_sample *longest = &texts->items[0];
    for (size_t i = 1; i < texts->n; i++) {
        longest = texts->items[i].ids.n > longest->ids.n ? &texts->items[i] : longest;
    }
    return longest;
}

static kvl_status measure_times(kvl_time_facts *out, kvl_engine *engine, const kvl_explain_config *config,
                                kvl_err *err) {
    enum { n_prompt = 256, n_new = 16, n_rounds = 20 };
    kvl_policy policies[2];
    kvl_timing times[2];
    kvl_timing_sample samples[2 * n_rounds];
    kvl_policy_init(&policies[0]);
    kvl_policy_init(&policies[1]);
    KVL_TRY(kvl_policy_parse(&policies[0], "none", err));
    KVL_TRY(kvl_policy_parse(&policies[1], "knorm:keep=0.75:skip=0", err));
    const kvl_timing_config timing = {.sample = longest_text(config->texts),
                                      .policies = policies,
                                      .n_policies = 2,
                                      .n_prompt = n_prompt,
                                      .n_new = n_new,
                                      .n_repetitions = n_rounds,
                                      .samples = samples};
    KVL_TRY(kvl_timing_run(times, engine, &timing, err));
    out->full_ns = kvl_calloc(n_rounds, sizeof *out->full_ns);
    out->compressed_ns = kvl_calloc(n_rounds, sizeof *out->compressed_ns);
    if (out->full_ns == NULL || out->compressed_ns == NULL) {
        return kvl_fail_nomem(err, "times");
    }
    for (size_t i = 0; i < n_rounds; i++) {
        out->full_ns[i] = samples[i].ttft_ns;
        out->compressed_ns[i] = samples[n_rounds + i].ttft_ns + samples[n_rounds + i].compress_ns;
    }
    out->n_rounds = n_rounds;
    out->n_prompt = times[0].n_prompt;
    out->decode_full_ns = times[0].tpot_ns;
    out->decode_compressed_ns = times[1].tpot_ns;
    return kvl_resamples_create(&out->resamples, n_rounds, RESAMPLES_QUICK, config->seed, err);
}

/* ---- */

static kvl_model_facts facts_of(const kvl_model *model) {
    const kvl_shape *s = &model->shape;
    return (kvl_model_facts){.name = model->name,
                             .n_params = model->n_params,
                             .n_layers = s->n_layers,
                             .n_heads = s->n_kv_heads,
                             .is_rotary = s->n_rotary != 0,
                             .has_learned_positions = s->has_positions};
}

kvl_status kvl_explain_plan(size_t *n_rows, kvl_engine *engine, const kvl_explain_config *config,
                            kvl_err *err) {
    kvl_evidence ev = {0};
    const kvl_status status = do_studies(&ev, engine, config, true, 0, n_rows, err);
    kvl_evidence_free(&ev);
    return status;
}

/* Texts that are all too short would leave nothing but verdicts without evidence. */
static kvl_status check_texts(size_t n_rows, kvl_engine *engine, const kvl_explain_config *config,
                              kvl_err *err) {
    for (kvl_study_id study = KVL_STUDY_STEP; study <= KVL_STUDY_ONCE && n_rows == 0; study++) {
        study_plan plan;
        plan_study(&plan, study, config, kvl_engine_model(engine)->shape.n_context);
        if (plan.n_arms != 0 || wants_norms(config, study)) {
            return kvl_fail(err, KVL_E_TEXT,
                            "texts: expected at least 2 of %zu tokens or more, the longest has %zu",
                            plan.min_tokens, longest_text(config->texts)->ids.n);
        }
    }
    return KVL_OK;
}

kvl_status kvl_explain_run(kvl_evidence *out, kvl_engine *engine, const kvl_explain_config *config,
                           kvl_err *err) {
    size_t n_total = 0;
    size_t n_rows = 0;
    *out = (kvl_evidence){.model = facts_of(kvl_engine_model(engine))};
    KVL_TRY(kvl_explain_plan(&n_total, engine, config, err));
    KVL_TRY(check_texts(n_total, engine, config, err));
    KVL_TRY(do_studies(out, engine, config, false, n_total, &n_rows, err));
    for (size_t h = 0; h < config->n_hypotheses; h++) {
        if (config->hypotheses[h]->wants_times) {
            return measure_times(&out->times, engine, config, err);
        }
    }
    return KVL_OK;
}
