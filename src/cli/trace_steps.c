/* A trace as lines: one for each step of a cell, or for each step and head. */
#include "cli/trace_out.h"

#include "base/alloc.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>

/* What both kinds of line begin with, and what they add: a mean over heads, or one head. */
static const char step_columns[] = "policy,text,step,phase,nll,nll_full";
static const char mean_columns[] = ",keys,run,age,old,lost,lag1,lag2,lag3,lag4,lag8,lag16,lag32,lag64\n";
static const char head_columns[] = ",layer,head,keys,lost,lags,norm_kept,norm_gone,kept\n";

static const size_t lags[] = {1, 2, 3, 4, 8, 16, 32, 64};
enum { n_lags = sizeof lags / sizeof lags[0] };

void kvl_trace_write_columns(kvl_str *out, bool has_heads) {
    kvl_str_puts(out, step_columns);
    kvl_str_puts(out, has_heads ? head_columns : mean_columns);
}

/* The cell and the step of a line. */
typedef struct line {
    kvl_str *out;
    const kvl_trace *t;
    const kvl_departures *d;
    size_t policy, text, step;
} line;

static size_t n_lost_heads(const line *l, double *lost) {
    const uint64_t *skip = l->t->policies[l->policy].skip;
    size_t n = 0;
    *lost = 0;
    for (uint32_t layer = 0; layer < l->t->n_layers; layer++) {
        for (uint32_t head = 0; head < l->t->n_kv_heads && (skip[layer / 64] >> layer % 64 & 1) == 0;
             head++) {
            *lost += kvl_trace_lost(l->t, l->policy, l->text, l->step, layer, head);
            n++;
        }
    }
    return n;
}

static json_t *step_object(const line *l) {
    json_t *o = json_object();
    const size_t phase = kvl_step_phase(l->d, l->step);
    json_object_set_new(o, "schema", json_string("kvlab.step/1"));
    json_object_set_new(o, "policy", json_string(l->t->policies[l->policy].text));
    json_object_set_new(o, "text", json_string(l->t->texts[l->text].name));
    json_object_set_new(o, "step", json_integer((json_int_t)l->step));
    json_object_set_new(o, "phase", phase != SIZE_MAX ? json_integer((json_int_t)phase) : json_null());
    json_object_set_new(o, "nll", kvl_json_number(kvl_trace_nll(l->t, l->policy, l->text, l->step)));
    json_object_set_new(o, "nll_full", kvl_json_number(kvl_trace_nll(l->t, 0, l->text, l->step)));
    return o;
}

static void put_number(kvl_str *out, double x) {
    if (isnan(x)) {
        kvl_str_puts(out, ",");
    } else {
        kvl_str_printf(out, ",%.17g", x);
    }
}

static void put_quoted(kvl_str *out, const char *text) {
    kvl_str_puts(out, "\"");
    for (; *text != '\0'; text++) {
        kvl_str_printf(out, *text == '"' ? "\"%c" : "%c", *text);
    }
    kvl_str_puts(out, "\"");
}

static void put_step(const line *l) {
    const size_t phase = kvl_step_phase(l->d, l->step);
    put_quoted(l->out, l->t->policies[l->policy].text);
    kvl_str_puts(l->out, ",");
    put_quoted(l->out, l->t->texts[l->text].name);
    kvl_str_printf(l->out, ",%zu,", l->step);
    if (phase != SIZE_MAX) {
        kvl_str_printf(l->out, "%zu", phase);
    }
    put_number(l->out, kvl_trace_nll(l->t, l->policy, l->text, l->step));
    put_number(l->out, kvl_trace_nll(l->t, 0, l->text, l->step));
}

/* ---- means over heads ---- */

static kvl_status put_means(const line *l, bool is_jsonl, kvl_err *err) {
    static const char *const names[] = {"keys", "run", "age", "old", "lost"};
    kvl_visibility seen = {0};
    double lost = 0;
    kvl_visibility_add(&seen, l->d, l->t->policies[l->policy].skip, l->step, l->step + 1);
    const kvl_visibility mean = kvl_visibility_mean(&seen);
    const size_t n = n_lost_heads(l, &lost);
    const double values[] = {mean.n_keys, mean.run, mean.age, mean.old,
                             n != 0 ? lost / (double)n : (double)NAN};
    if (is_jsonl) {
        json_t *o = step_object(l);
        json_t *list = json_object();
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            json_object_set_new(o, names[i], kvl_json_number(values[i]));
        }
        for (size_t i = 0; i < n_lags; i++) {
            char name[24];
            snprintf(name, sizeof name, "%zu", lags[i]);
            json_object_set_new(list, name, kvl_json_number(mean.lags[lags[i] - 1]));
        }
        json_object_set_new(o, "lags", list);
        return kvl_json_write(l->out, o, false, err);
    }
    put_step(l);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        put_number(l->out, values[i]);
    }
    for (size_t i = 0; i < n_lags; i++) {
        put_number(l->out, mean.lags[lags[i] - 1]);
    }
    kvl_str_puts(l->out, "\n");
    return KVL_OK;
}

/* ---- heads ---- */

typedef struct head_figures {
    uint32_t layer, head;
    size_t n_keys;
    uint64_t lags; /* bit j - 1: lag j is visible */
    double norm_kept, norm_gone, lost;
} head_figures;

static head_figures figures_of(const line *l, uint32_t layer, uint32_t head) {
    head_figures f = {.layer = layer, .head = head};
    double gone = 0;
    double kept = 0;
    for (size_t p = 0; p <= l->step; p++) {
        const double norm = (double)kvl_trace_norm(l->t, l->text, layer, head, p);
        const bool is_visible = kvl_departures_visible(l->d, layer, head, p, l->step);
        const size_t lag = l->step - p;
        f.n_keys += is_visible;
        *(is_visible ? &kept : &gone) += norm;
        f.lags |= is_visible && lag >= 1 && lag <= KVL_N_LAGS ? (uint64_t)1 << (lag - 1) : 0;
    }
    const size_t n_gone = l->step + 1 - f.n_keys;
    f.norm_kept = kept / (double)f.n_keys;
    f.norm_gone = n_gone != 0 ? gone / (double)n_gone : (double)NAN;
    f.lost = kvl_trace_lost(l->t, l->policy, l->text, l->step, layer, head);
    return f;
}

static kvl_status put_head_object(const line *l, const head_figures *f, kvl_err *err) {
    json_t *o = step_object(l);
    json_t *kept = json_array();
    json_t *norms = json_array();
    char bits[20];
    snprintf(bits, sizeof bits, "%016" PRIx64, f->lags);
    json_object_set_new(o, "layer", json_integer(f->layer));
    json_object_set_new(o, "head", json_integer(f->head));
    json_object_set_new(o, "lost", kvl_json_number(f->lost));
    json_object_set_new(o, "lags", json_string(bits));
    json_object_set_new(o, "norm_kept", kvl_json_number(f->norm_kept));
    json_object_set_new(o, "norm_gone", kvl_json_number(f->norm_gone));
    for (size_t p = 0; p <= l->step; p++) {
        if (kvl_departures_visible(l->d, f->layer, f->head, p, l->step)) {
            json_array_append_new(kept, json_integer((json_int_t)p));
            json_array_append_new(
                norms, kvl_json_number((double)kvl_trace_norm(l->t, l->text, f->layer, f->head, p)));
        }
    }
    json_object_set_new(o, "kept", kept);
    json_object_set_new(o, "norms", norms);
    return kvl_json_write(l->out, o, false, err);
}

static void put_head(const line *l, const head_figures *f) {
    put_step(l);
    kvl_str_printf(l->out, ",%u,%u,%zu", f->layer, f->head, f->n_keys);
    put_number(l->out, f->lost);
    kvl_str_printf(l->out, ",%016" PRIx64, f->lags);
    put_number(l->out, f->norm_kept);
    put_number(l->out, f->norm_gone);
    const char *mark = ",";
    for (size_t p = 0; p <= l->step; p++) {
        if (kvl_departures_visible(l->d, f->layer, f->head, p, l->step)) {
            kvl_str_printf(l->out, "%s%zu", mark, p);
            mark = " ";
        }
    }
    kvl_str_puts(l->out, "\n");
}

static kvl_status put_heads(const line *l, const kvl_trace_pick *pick, bool is_jsonl, kvl_err *err) {
    for (size_t layer = kvl_pick_first(pick->layer); layer < kvl_pick_end(pick->layer, l->t->n_layers);
         layer++) {
        for (size_t head = kvl_pick_first(pick->head); head < kvl_pick_end(pick->head, l->t->n_kv_heads);
             head++) {
            const head_figures f = figures_of(l, (uint32_t)layer, (uint32_t)head);
            if (is_jsonl) {
                KVL_TRY(put_head_object(l, &f, err));
            } else {
                put_head(l, &f);
            }
        }
    }
    return KVL_OK;
}

kvl_status kvl_trace_write_steps(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick, bool is_jsonl,
                                 bool has_heads, kvl_err *err) {
    kvl_departures *d = NULL;
    KVL_TRY(kvl_trace_log(&d, t, pick->policy, pick->text, err));
    const size_t end = kvl_pick_end(pick->step, t->texts[pick->text].n_tokens - 1);
    kvl_status status = KVL_OK;
    for (size_t step = kvl_pick_first(pick->step); step < end && status == KVL_OK; step++) {
        const line l = {out, t, d, pick->policy, pick->text, step};
        status = has_heads ? put_heads(&l, pick, is_jsonl, err) : put_means(&l, is_jsonl, err);
    }
    kvl_departures_destroy(d);
    return status == KVL_OK ? kvl_str_check(out, "trace", err) : status;
}
