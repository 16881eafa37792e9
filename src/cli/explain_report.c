/* Writing an explanation. */
#include "cli/explain_report.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

/* ---- text ---- */

static void write_estimate(kvl_str *out, const kvl_estimate *e) {
    if (isnan(e->mean)) {
        kvl_str_puts(out, "not run here");
        return;
    }
    kvl_str_printf(out, "%+.4f", e->mean);
    if (e->has_interval) {
        kvl_str_printf(out, " [%+.4f, %+.4f]", e->low, e->high);
    }
    if (e->is_few) {
        kvl_str_puts(out, " (too few clusters)");
    }
}

static void write_side(kvl_str *out, const kvl_finding *f) {
    static const char *const sides[] = {[KVL_ABOVE] = "above", [KVL_BELOW] = "below"};
    if (f->side == KVL_NO_SIDE) {
        kvl_str_puts(out, "-");
    } else {
        kvl_str_printf(out, "%s %g", sides[f->side], f->threshold);
    }
}

/* The distance from the threshold that such an interval would leave out with 80 % power. */
static double smallest_detectable(const kvl_estimate *e) {
    const double halves = (1.96 + 0.84) / 1.96; /* of the interval; normal quantiles at 0.975 and 0.8 */
    return 0.5 * (e->high - e->low) * halves;
}

static void write_finding(kvl_str *out, const kvl_finding *f) {
    kvl_str_printf(out, "| %s%s | ", f->is_deciding ? "**decides** " : "", f->what);
    write_estimate(out, &f->effect);
    kvl_str_printf(out, " | %s | ", f->unit);
    write_side(out, f);
    if (f->side == KVL_NO_SIDE || f->is_missing || !f->effect.has_interval) {
        kvl_str_puts(out, " | - | ");
    } else {
        kvl_str_printf(out, " | %.2g | ", f->p_adjusted);
    }
    kvl_str_puts(out, f->side == KVL_NO_SIDE ? "-" : kvl_outcome_name(f->outcome));
    if (f->side != KVL_NO_SIDE && f->outcome == KVL_OUTCOME_UNDECIDED && f->effect.has_interval) {
        kvl_str_printf(out, "; smallest detectable about %.2g", smallest_detectable(&f->effect));
    }
    kvl_str_puts(out, " |\n");
}

static void write_hypothesis(kvl_str *out, const kvl_explain_report *r, size_t i) {
    const kvl_hypothesis *h = r->hypotheses[i];
    const kvl_judgement *j = &r->judgements[i];
    kvl_str_printf(out, "\n## %s %s: %s\n\n", h->id, h->name, kvl_conclusion_name(j->verdict));
    kvl_str_printf(out, "- Claim: %s.\n- Prediction: %s.\n- Experiment: %s.\n", h->claim, h->prediction,
                   h->experiment);
    if (j->why[0] != '\0') {
        kvl_str_printf(out, "- Verdict: %s (%s).\n", kvl_conclusion_name(j->verdict), j->why);
    }
    kvl_str_puts(out, "- Again: `");
    kvl_str_printf(out, "%s --only %s", r->command, h->id);
    kvl_str_puts(out, "`\n\n| finding | effect [95 %] | unit | predicted | p (Holm) | outcome |\n"
                      "|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < j->n; k++) {
        write_finding(out, &j->findings[k]);
    }
}

static void write_verdicts(kvl_str *out, const kvl_explain_report *r) {
    kvl_str_puts(out, "\n| | hypothesis | verdict | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < r->n; i++) {
        kvl_str_printf(out, "| %s | %s | **%s** | %s |\n", r->hypotheses[i]->id, r->hypotheses[i]->name,
                       kvl_conclusion_name(r->judgements[i].verdict), r->judgements[i].why);
    }
}

static void write_additive(kvl_str *out, const kvl_additive *a) {
    if (a->n_fitted == 0) {
        return;
    }
    kvl_str_printf(out,
                   "\n## The curve from lost lags and cache size alone\n\n"
                   "log PPL = %.3f %+.3f R %+.4f (32 - S): R, how often the last tokens are not seen (lag j "
                   "counts 2^(1-j)); S, entries seen on average. Fitted to %zu points of the curve: R² %.3f, "
                   "each left out and predicted %.3f.",
                   a->constant, a->per_missing, a->per_entry, a->n_fitted, a->r_squared,
                   a->r_squared_left_out);
    if (a->n > a->n_fitted) {
        kvl_str_printf(out, " On %zu policies it was not fitted to: mean error %.3f nats, R² %.3f.",
                       a->n - a->n_fitted, a->mean_error_others, a->r_squared_others);
    }
    kvl_str_puts(out, "\n\n| policy | R | S | log PPL | model | |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < a->n; i++) {
        const kvl_additive_point *p = &a->points[i];
        kvl_str_printf(out, "| %s | %.3f | %.1f | %.3f | %.3f | %s |\n", p->policy, p->missing, p->visible,
                       p->log_ppl, p->left_out, p->is_of_fit ? "left out" : "not fitted");
    }
}

static void write_head(kvl_str *out, const kvl_explain_report *r) {
    const kvl_model_facts *m = &r->evidence->model;
    kvl_str_printf(out,
                   "# What causes the curve on %s\n\n%.4g million parameters, %s positions; %s, %s "
                   "arithmetic, %u threads; %.0f s.\n",
                   m->name, (double)m->n_params * 1e-6,
                   m->is_rotary               ? "rotary"
                   : m->has_learned_positions ? "learned"
                                              : "no",
                   kvl_engine_isa(r->engine), kvl_arith_name(kvl_engine_model(r->engine)->arith),
                   kvl_engine_threads(r->engine), (double)r->wall_ns * 1e-9);
    kvl_str_printf(out, "Texts: %s.\n", r->texts);
    for (kvl_study_id s = 0; s < KVL_N_STUDIES; s++) {
        const kvl_study_facts *f = &r->evidence->studies[s];
        if (f->n_texts != 0) {
            kvl_str_printf(out, "- %s: %zu texts of up to %zu tokens\n", kvl_study_name(s), f->n_texts,
                           f->n_tokens);
        }
    }
    kvl_str_puts(out, "\nEffects are differences on the same tokens, of steps that read a compressed cache, "
                      "with 95 % intervals from a bootstrap over texts; p values are adjusted for all "
                      "findings of this run (Holm).\n");
}

void kvl_explain_write_text(kvl_str *out, const kvl_explain_report *r) {
    kvl_conclusion recency = KVL_CANNOT_TELL;
    write_head(out, r);
    write_verdicts(out, r);
    for (size_t i = 0; i < r->n; i++) {
        write_hypothesis(out, r, i);
        recency = strcmp(r->hypotheses[i]->id, "H8") == 0 ? r->judgements[i].verdict : recency;
    }
    write_additive(out, r->additive);
    kvl_str_puts(out, "\n## The cause\n\n");
    kvl_write_cause(out, r->cause, &r->evidence->model, recency);
}

/* ---- JSON lines ---- */

static void set_estimate(json_t *o, const kvl_estimate *e) {
    json_object_set_new(o, "mean", kvl_json_number(e->mean));
    json_object_set_new(o, "low", e->has_interval ? kvl_json_number(e->low) : json_null());
    json_object_set_new(o, "high", e->has_interval ? kvl_json_number(e->high) : json_null());
    json_object_set_new(o, "p", kvl_json_number(e->p));
    json_object_set_new(o, "n_clusters", json_integer((json_int_t)e->n_clusters));
    json_object_set_new(o, "is_few", json_boolean(e->is_few));
}

static json_t *estimate_object(const kvl_estimate *e) {
    json_t *o = json_object();
    set_estimate(o, e);
    return o;
}

static json_t *finding_object(const kvl_finding *f) {
    static const char *const sides[] = {[KVL_ABOVE] = "above", [KVL_BELOW] = "below", [KVL_NO_SIDE] = "none"};
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:f, s:b, s:b, s:s}", "what", f->what, "unit", f->unit, "predicted",
                  sides[f->side], "threshold", f->threshold, "is_deciding", f->is_deciding, "is_missing",
                  f->is_missing, "outcome", kvl_outcome_name(f->outcome));
    set_estimate(o, &f->effect);
    json_object_set_new(o, "p_adjusted", kvl_json_number(f->p_adjusted));
    return o;
}

static json_t *hypothesis_object(const kvl_explain_report *r, size_t i) {
    const kvl_hypothesis *h = r->hypotheses[i];
    const kvl_judgement *j = &r->judgements[i];
    kvl_str command = {0};
    json_t *findings = json_array();
    kvl_str_printf(&command, "%s --only %s", r->command, h->id);
    for (size_t k = 0; k < j->n; k++) {
        json_array_append_new(findings, finding_object(&j->findings[k]));
    }
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "schema", "kvlab.hypothesis/1", "id",
                  h->id, "name", h->name, "claim", h->claim, "prediction", h->prediction, "experiment",
                  h->experiment, "verdict", kvl_conclusion_name(j->verdict), "why", j->why, "command",
                  kvl_str_text(&command), "findings", findings);
    kvl_str_free(&command);
    return o;
}

static json_t *run_object(const kvl_explain_report *r) {
    const kvl_model_facts *m = &r->evidence->model;
    json_t *studies = json_array();
    for (kvl_study_id s = 0; s < KVL_N_STUDIES; s++) {
        const kvl_study_facts *f = &r->evidence->studies[s];
        if (f->n_texts != 0) {
            json_array_append_new(studies,
                                  json_pack("{s:s, s:I, s:I}", "study", kvl_study_name(s), "n_texts",
                                            (json_int_t)f->n_texts, "n_tokens", (json_int_t)f->n_tokens));
        }
    }
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:b, s:s, s:s, s:i, s:s, s:f, s:s, s:o}", "schema", "kvlab.explain/1",
                  "model", m->name, "n_params", (json_int_t)m->n_params, "is_rotary", m->is_rotary, "isa",
                  kvl_engine_isa(r->engine), "arith", kvl_arith_name(kvl_engine_model(r->engine)->arith),
                  "n_threads", (int)kvl_engine_threads(r->engine), "texts", r->texts, "wall_s",
                  (double)r->wall_ns * 1e-9, "command", r->command, "studies", studies);
    return o;
}

/* Of lags 1, 2 ... the share of steps and heads that see them, mean over texts. */
static json_t *lag_list(const kvl_evidence *ev, const kvl_arm *arm) {
    const size_t n_texts = ev->studies[arm->study].n_texts;
    json_t *list = json_array();
    for (size_t j = 1; j <= KVL_EVIDENCE_LAGS; j++) {
        double sum = 0;
        for (size_t t = 0; t < n_texts; t++) {
            sum += arm->texts[t].lag_visible[j];
        }
        json_array_append_new(list, kvl_json_number(sum / (double)n_texts));
    }
    return list;
}

static json_t *arm_object(const kvl_evidence *ev, const kvl_arm *arm) {
    const kvl_sums excess = kvl_contrast(ev, arm->study, arm->policy, "none", kvl_step_nll, KVL_ALL_STEPS);
    const kvl_sums nll = kvl_contrast(ev, arm->study, arm->policy, NULL, kvl_step_nll, KVL_ALL_STEPS);
    const kvl_estimate e = kvl_sums_mean(ev, &excess, 0);
    const kvl_estimate level = kvl_sums_mean(ev, &nll, 0);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "schema", "kvlab.arm/1", "study",
                     kvl_study_name(arm->study), "policy", arm->policy, "nll", estimate_object(&level),
                     "excess", estimate_object(&e), "lag_visible", lag_list(ev, arm));
}

static double mean_over_texts(const kvl_norm_facts *f, const double *figure, size_t layer) {
    double sum = 0;
    for (size_t t = 0; t < f->n_texts; t++) {
        sum += figure[t * f->n_layers + layer];
    }
    return sum / (double)f->n_texts;
}

static json_t *norms_object(const kvl_norm_facts *f, size_t layer) {
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "schema", "kvlab.norms/1", "layer", (json_int_t)layer,
                     "correlation", kvl_json_number(mean_over_texts(f, f->correlation, layer)),
                     "lost_by_highest_norms", kvl_json_number(mean_over_texts(f, f->lost_norm, layer)),
                     "lost_by_least_attended", kvl_json_number(mean_over_texts(f, f->lost_best, layer)),
                     "lost_at_random", kvl_json_number(mean_over_texts(f, f->lost_random, layer)));
}

static json_t *cause_object(const kvl_explain_report *r) {
    const kvl_cause *c = r->cause;
    const kvl_additive *a = r->additive;
    json_t *removed = json_array();
    for (size_t i = 0; i < KVL_N_PROTECTIONS; i++) {
        json_t *o = estimate_object(&c->removed[i]);
        json_object_set_new(o, "n_newest", json_integer((json_int_t)kvl_protections_tried[i].n_newest));
        json_array_append_new(removed, o);
    }
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "schema", "kvlab.cause/1", "spike",
                          estimate_object(&c->spike), "excess_light", estimate_object(&c->excess_light),
                          "excess_best", estimate_object(&c->excess_best), "by_chance",
                          estimate_object(&c->by_chance), "lag_one", estimate_object(&c->lag_one),
                          "removed_by_protection", removed);
    json_object_set_new(o, "best", c->best != NULL ? json_string(c->best) : json_null());
    json_object_set_new(o, "additive_r_squared",
                        a->n_fitted != 0 ? kvl_json_number(a->r_squared) : json_null());
    json_object_set_new(o, "additive_r_squared_left_out",
                        a->n_fitted != 0 ? kvl_json_number(a->r_squared_left_out) : json_null());
    json_object_set_new(o, "additive_mean_error_others",
                        a->n_fitted != 0 ? kvl_json_number(a->mean_error_others) : json_null());
    return o;
}

kvl_status kvl_explain_write_jsonl(kvl_str *out, const kvl_explain_report *r, kvl_err *err) {
    KVL_TRY(kvl_json_write(out, run_object(r), false, err));
    for (size_t i = 0; i < r->n; i++) {
        KVL_TRY(kvl_json_write(out, hypothesis_object(r, i), false, err));
    }
    for (size_t i = 0; i < r->evidence->n_arms; i++) {
        KVL_TRY(kvl_json_write(out, arm_object(r->evidence, &r->evidence->arms[i]), false, err));
    }
    for (size_t l = 0; r->evidence->norms.n_texts != 0 && l < r->evidence->norms.n_layers; l++) {
        KVL_TRY(kvl_json_write(out, norms_object(&r->evidence->norms, l), false, err));
    }
    KVL_TRY(kvl_json_write(out, cause_object(r), false, err));
    return kvl_str_check(out, "explanation", err);
}
