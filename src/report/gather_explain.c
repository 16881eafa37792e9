/* What `kvlab explain` found: verdicts, arms of the step-by-step study, the cause. */
#include "report/gather_int.h"

#include <math.h>
#include <string.h>

#define STEP_STUDY "step by step, cap 32"

static kvl_cause_content *cause_of(kvli_gather *g) { return g->content->cause; }

/* ---- the run ---- */

static void read_run(kvli_gather *g, const json_t *line) {
    kvl_cause_content *c = cause_of(g);
    const json_t *studies = kvli_get_list(g, line, "studies");
    c->texts = kvli_get_text(g, line, "texts");
    c->isa = kvli_get_text(g, line, "isa");
    c->arith = kvli_get_text(g, line, "arith");
    for (size_t i = 0; i < json_array_size(studies); i++) {
        const json_t *study = json_array_get(studies, i);
        const char *name = json_string_value(json_object_get(study, "study"));
        if (name != NULL && strcmp(name, STEP_STUDY) == 0) {
            c->n_texts = kvli_get_count(g, study, "n_texts");
        }
    }
}

/* ---- verdicts ---- */

static void read_finding(kvli_gather *g, kvl_finding_line *f, const json_t *o) {
    f->what = kvli_get_text(g, o, "what");
    f->unit = kvli_get_text(g, o, "unit");
    f->outcome = kvli_get_text(g, o, "outcome");
    f->effect = kvli_read_estimate(g, o);
    f->p_adjusted = kvli_get_number(g, o, "p_adjusted");
    f->is_deciding = kvli_get_bool(g, o, "is_deciding");
    const char *side = json_string_value(json_object_get(o, "predicted"));
    if (side != NULL && strcmp(side, "none") == 0) { /* its p is of no family */
        f->outcome = kvli_own_text(g, "no prediction");
        f->p_adjusted = (double)NAN;
    }
}

static void read_verdict(kvli_gather *g, const json_t *line) {
    kvl_cause_content *c = cause_of(g);
    kvl_verdict_line *v = &c->verdicts[c->n_verdicts];
    const json_t *findings = kvli_get_list(g, line, "findings");
    v->id = kvli_get_text(g, line, "id");
    v->name = kvli_get_text(g, line, "name");
    v->claim = kvli_get_text(g, line, "claim");
    v->prediction = kvli_get_text(g, line, "prediction");
    v->experiment = kvli_get_text(g, line, "experiment");
    v->verdict = kvli_get_text(g, line, "verdict");
    v->why = kvli_get_text(g, line, "why");
    v->command = kvli_get_text(g, line, "command");
    v->findings = kvli_own(g, json_array_size(findings), sizeof *v->findings);
    for (size_t i = 0; i < json_array_size(findings) && g->status == KVL_OK; i++) {
        read_finding(g, &v->findings[i], json_array_get(findings, i));
        v->n_findings++;
    }
    c->n_verdicts++;
}

/* ---- arms ---- */

static void read_arm(kvli_gather *g, const json_t *line) {
    kvl_cause_content *c = cause_of(g);
    kvl_arm_line *a = &c->arms[c->n_arms];
    const json_t *lags = kvli_get_list(g, line, "lag_visible");
    const char *study = json_string_value(json_object_get(line, "study"));
    if (study == NULL || strcmp(study, STEP_STUDY) != 0) {
        return;
    }
    if (json_array_size(lags) > KVL_CONTENT_LAGS) {
        kvli_gather_fail(g, "lag_visible", "at most 64 numbers", lags);
        return;
    }
    a->policy = kvli_get_text(g, line, "policy");
    a->keep_ratio = a->policy != NULL ? kvli_policy_keep(a->policy) : (double)NAN;
    a->nll = kvli_get_estimate(g, line, "nll").mean;
    for (size_t i = 0; i < json_array_size(lags); i++) {
        a->lag_visible[i] = kvli_list_number(g, lags, i, "lag_visible");
        a->n_lags += a->n_lags == i && !isnan(a->lag_visible[i]);
    }
    c->n_arms++;
}

/* ---- the cause ---- */

static void read_removed(kvli_gather *g, const json_t *line) {
    enum { most = sizeof((kvl_cause_content *)NULL)->removed / sizeof(kvl_estimate) };
    kvl_cause_content *c = cause_of(g);
    const json_t *removed = kvli_get_list(g, line, "removed_by_protection");
    if (json_array_size(removed) > most) {
        kvli_gather_fail(g, "removed_by_protection", "at most 8 shares", removed);
        return;
    }
    for (size_t i = 0; i < json_array_size(removed); i++) {
        const json_t *share = json_array_get(removed, i);
        c->protections[i] = kvli_get_count(g, share, "n_newest");
        c->removed[i] = kvli_read_estimate(g, share);
    }
    c->n_protections = json_array_size(removed);
}

static void read_cause(kvli_gather *g, const json_t *line) {
    kvl_cause_content *c = cause_of(g);
    c->spike = kvli_get_estimate(g, line, "spike");
    c->excess_light = kvli_get_estimate(g, line, "excess_light");
    c->excess_best = kvli_get_estimate(g, line, "excess_best");
    c->by_chance = kvli_get_estimate(g, line, "by_chance");
    c->lag_one = kvli_get_estimate(g, line, "lag_one");
    c->best = json_is_null(json_object_get(line, "best")) ? NULL : kvli_get_text(g, line, "best");
    read_removed(g, line);
}

static void read_line(kvli_gather *g, const json_t *line, void *ud) {
    (void)ud;
    if (kvli_is_schema(line, "kvlab.explain/1")) {
        read_run(g, line);
    } else if (kvli_is_schema(line, "kvlab.hypothesis/1")) {
        read_verdict(g, line);
    } else if (kvli_is_schema(line, "kvlab.arm/1")) {
        read_arm(g, line);
    } else if (kvli_is_schema(line, "kvlab.cause/1")) {
        read_cause(g, line);
    }
}

void kvli_gather_explain(kvli_gather *g) {
    const kvl_estimate unknown = {
        .mean = (double)NAN, .low = (double)NAN, .high = (double)NAN, .p = (double)NAN};
    const size_t n = kvli_most_lines(g);
    kvl_cause_content *c = g->content->cause = kvli_own(g, 1, sizeof *c);
    if (c == NULL) {
        return;
    }
    c->spike = c->excess_light = c->excess_best = c->by_chance = c->lag_one = unknown;
    c->command = kvli_own_text(g, g->document->command);
    c->verdicts = kvli_own(g, n, sizeof *c->verdicts);
    c->arms = kvli_own(g, n, sizeof *c->arms);
    c->texts = c->isa = c->arith = kvli_own_text(g, "");
    kvli_each_line(g, read_line, NULL);
}
