/* The plan of a sweep: cells, rows, waves, bytes, time. */
#include "cli/sweep_plan.h"

#include "base/json.h"
#include "cli/args.h"

#include <stdio.h>

size_t kvl_sweep_mean_rows(const kvl_sweep *s) {
    size_t n_rows = 0;
    size_t n_passes = 0;
    for (size_t i = 0; i < s->n_waves; i++) {
        n_rows += s->waves[i].n_rows;
        n_passes += s->waves[i].n_passes;
    }
    /* prefills are rows, but no passes */
    return n_passes != 0 ? kvl_min_size(kvl_engine_pass_rows(), (n_rows + n_passes / 2) / n_passes) : 0;
}

static double rows_per_second(const kvl_sweep_plan_info *plan) {
    return plan->pass_ns > 0 ? (double)plan->n_timed_rows / (plan->pass_ns * 1e-9) : 0;
}

static double seconds(const kvl_sweep_plan_info *plan) {
    return (double)plan->run->sweep.rows_planned * plan->pass_ns * 1e-9 / (double)plan->n_timed_rows;
}

/* The wave in which a cell runs, from 1; 0: it is part of the one-pass baseline. */
static size_t wave_of(const kvl_sweep *s, const kvl_cell *c) {
    for (size_t i = 0; i < s->n_waves; i++) {
        const kvl_wave *w = &s->waves[i];
        if (c->sample >= w->first_sample && c->sample < w->end_sample && c->policy >= w->first_policy &&
            c->policy < w->end_policy) {
            return i + 1;
        }
    }
    return 0;
}

static bool is_kept(const kvl_sweep_plan_info *plan, const kvl_cell *c) {
    return plan->is_kept != NULL && plan->is_kept[c - plan->run->sweep.cells];
}

/* ---- text ---- */

static void write_totals(kvl_str *out, const kvl_sweep_plan_info *plan) {
    const kvl_sweep *s = &plan->run->sweep;
    char weights[KVL_BYTES_TEXT], scratch[KVL_BYTES_TEXT], kv[KVL_BYTES_TEXT], sum[KVL_BYTES_TEXT];
    char limit[KVL_BYTES_TEXT] = "none";
    kvl_print_bytes(weights, s->weight_bytes);
    kvl_print_bytes(scratch, s->scratch_bytes);
    kvl_print_bytes(kv, s->kv_bytes);
    kvl_print_bytes(sum, s->weight_bytes + s->scratch_bytes + s->kv_bytes);
    if (plan->memory_bytes != 0) {
        kvl_print_bytes(limit, plan->memory_bytes);
    }
    kvl_str_printf(out, "%s on %s: %zu policies (the baseline is one) x %zu %s%s = %zu cells\n",
                   plan->run->options->preset->name, kvl_engine_model(plan->run->engine)->name, s->n_policies,
                   s->n_samples, plan->run->protocol.has_windows ? "window" : "sample",
                   s->n_samples == 1 ? "" : "s", s->n_policies * s->n_samples);
    if (plan->store != NULL) {
        kvl_str_printf(out, "store    %zu of %zu cells are in %s: what follows is of the others\n",
                       s->n_known, s->n_policies * s->n_samples, plan->store);
    }
    kvl_str_printf(out, "tokens   %zu through the model instead of %zu: %.0f %% is shared between cells\n",
                   s->rows_planned, s->rows_naive,
                   s->rows_naive != 0 ? 100 - 100 * (double)s->rows_planned / (double)s->rows_naive : 0);
    kvl_str_printf(out, "memory   at most %s: weights %s, scratch %s, keys and values%s %s; limit %s\n", sum,
                   weights, scratch, plan->run->options->wants_quality ? " and final states" : "", kv, limit);
    kvl_str_printf(out,
                   "time     about %.3g s, from 3 passes of %zu rows just measured (%.0f tokens/s); longer "
                   "caches take longer\n",
                   seconds(plan), plan->n_timed_rows, rows_per_second(plan));
}

static void write_waves(kvl_str *out, const kvl_sweep *s) {
    kvl_str_printf(out, "\n%5s %9s %9s %8s %8s %11s %11s\n", "wave", "samples", "policies", "passes",
                   "tokens", "rows/pass", "KV");
    for (size_t i = 0; i < s->n_waves; i++) {
        const kvl_wave *w = &s->waves[i];
        char kv[KVL_BYTES_TEXT];
        char samples[KVL_BYTES_TEXT], policies[KVL_BYTES_TEXT];
        kvl_print_bytes(kv, w->kv_bytes);
        snprintf(samples, sizeof samples, "%zu-%zu", w->first_sample + 1, w->end_sample);
        snprintf(policies, sizeof policies, "%zu-%zu", w->first_policy, w->end_policy - 1);
        kvl_str_printf(out, "%5zu %9s %9s %8zu %8zu   at most %zu %11s\n", i + 1, samples, policies,
                       w->n_passes, w->n_rows, w->max_rows, kv);
    }
}

static void write_cells(kvl_str *out, const kvl_sweep_plan_info *plan) {
    const kvl_sweep *s = &plan->run->sweep;
    kvl_str_printf(out, "\n%-6s %-12s %7s %7s %8s %8s %11s %11s  %s\n", "wave", "sample", "tokens", "scored",
                   "evicts", "first at", "kept", "KV", "policy");
    for (size_t i = 0; i < s->n_policies * s->n_samples; i++) {
        const kvl_cell *c = &s->cells[i];
        char kv[KVL_BYTES_TEXT], kept[KVL_BYTES_TEXT], first[KVL_BYTES_TEXT] = "-";
        char wave[KVL_BYTES_TEXT] = "base";
        kvl_str policy = {0};
        kvl_policy_text(&s->policies[c->policy], &policy);
        kvl_print_bytes(kv, c->kv_bytes_live);
        snprintf(kept, sizeof kept, "%zu-%zu", c->kept_min, c->kept_max);
        if (c->n_events != 0) {
            snprintf(first, sizeof first, "%zu", c->first_event);
        }
        if (is_kept(plan, c)) {
            snprintf(wave, sizeof wave, "store");
        } else if (wave_of(s, c) != 0) {
            snprintf(wave, sizeof wave, "%zu", wave_of(s, c));
        }
        kvl_str_printf(out, "%-6s %-12s %7zu %7zu %8zu %8s %11s %11s  %s\n", wave,
                       plan->run->samples->items[c->sample].name, c->n_tokens, c->n_scored, c->n_events,
                       first, kept, kv, kvl_str_text(&policy));
        kvl_str_free(&policy);
    }
}

/* ---- JSON ---- */

static json_t *wave_object(const kvl_wave *w) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "first_sample", (json_int_t)w->first_sample,
                     "end_sample", (json_int_t)w->end_sample, "first_policy", (json_int_t)w->first_policy,
                     "end_policy", (json_int_t)w->end_policy, "n_passes", (json_int_t)w->n_passes, "n_rows",
                     (json_int_t)w->n_rows, "max_rows_per_pass", (json_int_t)w->max_rows, "kv_bytes",
                     (json_int_t)w->kv_bytes);
}

static json_t *cell_object(const kvl_sweep_plan_info *plan, const kvl_cell *c) {
    const kvl_sweep *s = &plan->run->sweep;
    kvl_str policy = {0};
    kvl_policy_text(&s->policies[c->policy], &policy);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:b, s:I, s:I, s:I, s:o, s:I, s:I, s:I}", "policy", kvl_str_text(&policy),
                  "sample", plan->run->samples->items[c->sample].name, "wave", (json_int_t)wave_of(s, c),
                  "is_stored", (int)is_kept(plan, c), "n_tokens", (json_int_t)c->n_tokens, "n_scored",
                  (json_int_t)c->n_scored, "n_events", (json_int_t)c->n_events, "first_event",
                  c->n_events != 0 ? json_integer((json_int_t)c->first_event) : json_null(), "kept_min",
                  (json_int_t)c->kept_min, "kept_max", (json_int_t)c->kept_max, "kv_bytes_live",
                  (json_int_t)c->kv_bytes_live);
    kvl_str_free(&policy);
    return o;
}

static kvl_status write_json(kvl_str *out, const kvl_sweep_plan_info *plan, kvl_err *err) {
    const kvl_sweep *s = &plan->run->sweep;
    json_t *waves = json_array();
    json_t *cells = json_array();
    json_t *notes = json_array();
    for (size_t i = 0; i < s->n_waves; i++) {
        json_array_append_new(waves, wave_object(&s->waves[i]));
    }
    for (size_t i = 0; i < s->n_policies * s->n_samples; i++) {
        json_array_append_new(cells, cell_object(plan, &s->cells[i]));
    }
    for (size_t i = 0; i < plan->run->n_notes; i++) {
        json_array_append_new(notes, json_string(kvl_str_text(&plan->run->notes[i])));
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:o}",
                          "schema", "kvlab.sweep-plan/1", "preset", plan->run->options->preset->name, "model",
                          kvl_engine_model(plan->run->engine)->name, "n_cells",
                          (json_int_t)(s->n_policies * s->n_samples), "n_stored", (json_int_t)s->n_known,
                          "rows", (json_int_t)s->rows_planned, "rows_naive", (json_int_t)s->rows_naive,
                          "weight_bytes", (json_int_t)s->weight_bytes, "scratch_bytes",
                          (json_int_t)s->scratch_bytes, "kv_bytes", (json_int_t)s->kv_bytes, "memory_bytes",
                          (json_int_t)plan->memory_bytes, "measured_rows_per_s", rows_per_second(plan),
                          "estimated_s", seconds(plan), "waves", waves, "cells", cells, "notes", notes);
    return kvl_json_write(out, o, true, err);
}

kvl_status kvl_sweep_write_plan(kvl_str *out, const kvl_sweep_plan_info *plan, kvl_err *err) {
    if (plan->run->options->format == KVL_SWEEP_JSON) {
        return write_json(out, plan, err);
    }
    write_totals(out, plan);
    write_waves(out, &plan->run->sweep);
    if (plan->run->options->is_verbose) {
        write_cells(out, plan);
    }
    kvl_str_puts(out, plan->run->n_notes != 0 ? "\n" : "");
    for (size_t i = 0; i < plan->run->n_notes; i++) {
        kvl_str_printf(out, "note: %s\n", kvl_str_text(&plan->run->notes[i]));
    }
    return kvl_str_check(out, "plan", err);
}
