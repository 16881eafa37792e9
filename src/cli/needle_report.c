/* Writing what `kvlab needle` found. */
#include "cli/needle_report.h"

#include "base/alloc.h"
#include "base/json.h"
#include "stats/inference.h"
#include "stats/rates.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static kvl_needle_cell *cell_at(const kvl_needle_run *run, size_t task, size_t policy, size_t length,
                                size_t depth) {
    const kvl_needle_options *o = run->options;
    return &run->cells[((task * run->n_policies + policy) * o->n_lengths + length) * o->n_depths + depth];
}

void kvl_needle_count(const kvl_needle_run *run, size_t task, size_t length,
                      const kvl_retrieval_result *results) {
    const kvl_needle_options *o = run->options;
    const size_t n_prompts = o->n_depths * o->n_trials;
    for (size_t i = 0; i < run->n_policies * n_prompts; i++) {
        const kvl_retrieval_result *r = &results[i];
        const kvl_retrieval_result *full = &results[i % n_prompts];
        kvl_needle_cell *c = cell_at(run, task, i / n_prompts, length, i % n_prompts / o->n_trials);
        c->kept_min = c->n == 0 ? r->kept_min : kvl_min_size(c->kept_min, r->kept_min);
        c->kept_max = kvl_max_size(c->kept_max, r->kept_max);
        c->n++;
        c->n_right += r->is_right;
        c->n_right_full += full->is_right;
        c->n_lost += full->is_right && !r->is_right;
        c->n_gained += !full->is_right && r->is_right;
        c->n_events += r->n_events;
        c->kept_sum += r->kept_mean;
        c->kv_bytes_sum += (double)r->kv_bytes;
    }
}

static kvl_retrieval_verdict judge(const kvl_needle_cell *c, size_t policy) {
    return policy == 0 ? KVL_RETRIEVAL_RATE : kvl_retrieval_judge(c->n_right_full, c->n, c->n_events);
}

/* The cells of a task that can be compared, together. */
static kvl_needle_cell add_up(const kvl_needle_run *run, size_t task, size_t policy, size_t *n_cells,
                              size_t n_of[2]) {
    kvl_needle_cell sum = {0};
    *n_cells = n_of[0] = n_of[1] = 0;
    for (size_t i = 0; i < run->options->n_lengths * run->options->n_depths; i++) {
        const kvl_needle_cell *c = cell_at(run, task, policy, 0, i);
        const kvl_retrieval_verdict verdict = judge(c, policy);
        if (verdict != KVL_RETRIEVAL_RATE) {
            n_of[verdict == KVL_RETRIEVAL_NOTHING_EVICTED]++;
            continue;
        }
        (*n_cells)++;
        sum.n += c->n;
        sum.n_right += c->n_right;
        sum.n_right_full += c->n_right_full;
        sum.n_lost += c->n_lost;
        sum.n_gained += c->n_gained;
    }
    return sum;
}

/* McNemar's p of each policy of a task, then the same adjusted by Holm for all of them: [2 n_policies], to be
 * freed; NAN where nothing can be compared. NULL without memory. */
static double *mcnemar_of(const kvl_needle_run *run, size_t task) {
    double *p = kvl_calloc(2 * run->n_policies, sizeof *p);
    for (size_t i = 0; p != NULL && i < run->n_policies; i++) {
        size_t n_cells, n_of[2];
        const kvl_needle_cell sum = add_up(run, task, i, &n_cells, n_of);
        p[i] = i != 0 && n_cells != 0 ? kvl_mcnemar(sum.n_lost, sum.n_gained) : (double)NAN;
    }
    if (p != NULL) {
        kvl_holm(p + run->n_policies, p, run->n_policies);
    }
    return p;
}

static const char *moment_text(const kvl_needle_run *run) {
    return run->options->is_query_aware ? "before" : "after";
}

static kvl_filler filler_of(const kvl_needle_run *run, size_t task) {
    return run->options->is_filler_auto ? run->options->tasks[task]->filler : run->options->filler;
}

/* ---- JSON lines ---- */

/* The text, or where a token ends inside a character, with a mark for each byte that is not ASCII. */
static json_t *text_value(const char *text) {
    if (kvl_is_utf8(text, strlen(text))) {
        return json_string(text);
    }
    kvl_str plain = {0};
    for (const char *c = text; *c != '\0'; c++) {
        kvl_str_append(&plain, (unsigned char)*c < 0x80 ? c : "\xef\xbf\xbd",
                       (unsigned char)*c < 0x80 ? 1 : 3);
    }
    json_t *value = plain.failed ? NULL : json_string(kvl_str_text(&plain));
    kvl_str_free(&plain);
    return value;
}

/* What all lines begin with. */
static json_t *identity(const kvl_needle_run *run, const char *schema, size_t task, size_t policy) {
    const kvl_model *model = kvl_engine_model(run->setup->engine);
    kvl_str press = {0};
    kvl_str text = {0};
    char calibration[KVL_CALIBRATION_TEXT];
    kvl_policy_press_text(&run->policies[policy], &press);
    kvl_policy_text(&run->policies[policy], &text);
    kvl_calibration_text(calibration, &run->policies[policy], &model->shape);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:i, s:b, s:o}", "schema",
        schema, "model", model->name, "task", run->options->tasks[task]->name, "press", kvl_str_text(&press),
        "policy", kvl_str_text(&text), "question", moment_text(run), "chat", kvl_chat_name(run->chat),
        "filler", kvl_filler_name(filler_of(run, task)), "seed", (json_int_t)run->options->seed, "max_new",
        (json_int_t)run->options->max_new, "isa", kvl_engine_isa(run->setup->engine), "arith",
        kvl_arith_name(model->arith), "type_k", kvl_kv_type_name(model->shape.key_type), "type_v",
        kvl_kv_type_name(model->shape.value_type), "kv_residual", (int)model->shape.n_residual, "kv_hadamard",
        model->shape.has_hadamard, "calibration",
        calibration[0] != '\0' ? json_string(calibration) : json_null());
    kvl_str_free(&press);
    kvl_str_free(&text);
    return o;
}

static json_t *trial_object(const kvl_needle_run *run, size_t task, size_t policy,
                            const kvl_retrieval_prompt *p, const kvl_retrieval_result *r) {
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)p->hash);
    json_t *o = identity(run, "kvlab.needle-trial/1", task, policy);
    json_t *expected = json_array();
    json_t *ids = json_array();
    for (size_t i = 0; i < p->words.n_answers; i++) {
        json_array_append_new(expected, json_string(p->words.answers[i]));
    }
    for (size_t i = 0; i < r->n_ids; i++) {
        json_array_append_new(ids, json_integer(r->ids[i]));
    }
    json_t *rest = json_pack(
        "{s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:b, s:I, s:b, s:I, s:I, s:f, s:I, s:I}",
        "n_tokens", (json_int_t)p->ids.n, "depth", (json_int_t)p->point.depth, "trial",
        (json_int_t)p->point.trial, "prompt_hash", hash, "n_context", (json_int_t)p->n_context, "needle_at",
        (json_int_t)p->needle_at, "needle_end", (json_int_t)p->needle_end, "expected", expected, "generated",
        text_value(r->text), "ids", ids, "has_ended", (int)r->has_ended, "n_found", (json_int_t)r->n_found,
        "is_right", (int)r->is_right, "n_events", (json_int_t)r->n_events, "kept_min",
        (json_int_t)r->kept_min, "kept_mean", r->kept_mean, "kept_max", (json_int_t)r->kept_max,
        "kv_bytes_live", (json_int_t)r->kv_bytes);
    return kvl_json_join(o, rest);
}

static json_t *cell_object(const kvl_needle_run *run, size_t task, size_t policy, size_t length,
                           size_t depth) {
    const kvl_needle_cell *c = cell_at(run, task, policy, length, depth);
    const kvl_retrieval_verdict verdict = judge(c, policy);
    const kvl_estimate rate = kvl_wilson(c->n_right, c->n);
    const bool is_rate = verdict == KVL_RETRIEVAL_RATE;
    json_t *o = identity(run, "kvlab.needle-cell/1", task, policy);
    json_t *rest = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:f}", "n_tokens",
        (json_int_t)run->options->lengths[length], "depth", (json_int_t)run->options->depths[depth], "n",
        (json_int_t)c->n, "n_right", (json_int_t)c->n_right, "n_right_full", (json_int_t)c->n_right_full,
        "full_passes", (int)kvl_retrieval_full_passes(c->n_right_full, c->n), "verdict",
        kvl_retrieval_verdict_text(verdict), "rate", is_rate ? kvl_json_number(rate.mean) : json_null(),
        "low", is_rate ? kvl_json_number(rate.low) : json_null(), "high",
        is_rate ? kvl_json_number(rate.high) : json_null(), "n_events", (json_int_t)c->n_events, "kept_min",
        (json_int_t)c->kept_min, "kept_mean", c->kept_sum / (double)c->n, "kept_max", (json_int_t)c->kept_max,
        "kv_bytes_live", c->kv_bytes_sum / (double)c->n);
    return kvl_json_join(o, rest);
}

kvl_status kvl_needle_write_trials(kvl_str *out, const kvl_needle_run *run, size_t task, size_t length,
                                   const kvl_retrieval_prompt *prompts, const kvl_retrieval_result *results,
                                   kvl_err *err) {
    const kvl_needle_options *o = run->options;
    const size_t n_prompts = o->n_depths * o->n_trials;
    for (size_t i = 0; i < run->n_policies * n_prompts; i++) {
        KVL_TRY(kvl_json_write(
            out, trial_object(run, task, i / n_prompts, &prompts[i % n_prompts], &results[i]), false, err));
    }
    for (size_t i = 0; i < run->n_policies * o->n_depths; i++) {
        KVL_TRY(kvl_json_write(out, cell_object(run, task, i / o->n_depths, length, i % o->n_depths), false,
                               err));
    }
    return KVL_OK;
}

kvl_status kvl_needle_write_pairs(kvl_str *out, const kvl_needle_run *run, size_t task, kvl_err *err) {
    double *p_values = mcnemar_of(run, task);
    kvl_status status = p_values != NULL ? KVL_OK : kvl_fail_nomem(err, "needle");
    for (size_t p = 1; p < run->n_policies && status == KVL_OK; p++) {
        size_t n_cells, n_of[2];
        const kvl_needle_cell sum = add_up(run, task, p, &n_cells, n_of);
        json_t *o = identity(run, "kvlab.needle-pair/1", task, p);
        json_t *rest =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "n_cells", (json_int_t)n_cells,
                      "n_cells_full_fails", (json_int_t)n_of[0], "n_cells_nothing_evicted",
                      (json_int_t)n_of[1], "n", (json_int_t)sum.n, "n_right", (json_int_t)sum.n_right,
                      "n_right_full", (json_int_t)sum.n_right_full, "n_lost", (json_int_t)sum.n_lost,
                      "n_gained", (json_int_t)sum.n_gained, "p_mcnemar", kvl_json_number(p_values[p]),
                      "p_holm", kvl_json_number(p_values[run->n_policies + p]));
        status = kvl_json_write(out, kvl_json_join(o, rest), false, err);
    }
    kvl_free(p_values);
    return status;
}

/* ---- CSV ---- */

void kvl_needle_write_csv_head(kvl_str *out) {
    kvl_str_puts(out,
                 "task,policy,question,chat,filler,n_tokens,depth,n,n_right,n_right_full,verdict,rate,low,"
                 "high,kept_mean,kv_bytes_live\n");
}

void kvl_needle_write_csv(kvl_str *out, const kvl_needle_run *run, size_t task, size_t length) {
    const kvl_needle_options *o = run->options;
    for (size_t i = 0; i < run->n_policies * o->n_depths; i++) {
        const size_t policy = i / o->n_depths;
        const size_t depth = i % o->n_depths;
        const kvl_needle_cell *c = cell_at(run, task, policy, length, depth);
        const kvl_retrieval_verdict verdict = judge(c, policy);
        const kvl_estimate rate = kvl_wilson(c->n_right, c->n);
        kvl_str text = {0};
        kvl_policy_text(&run->policies[policy], &text);
        kvl_str_printf(out, "%s,\"%s\",%s,%s,%s,%zu,%zu,%zu,%zu,%zu,%s,", o->tasks[task]->name,
                       kvl_str_text(&text), moment_text(run), kvl_chat_name(run->chat),
                       kvl_filler_name(filler_of(run, task)), o->lengths[length], o->depths[depth], c->n,
                       c->n_right, c->n_right_full, kvl_retrieval_verdict_text(verdict));
        if (verdict == KVL_RETRIEVAL_RATE) {
            kvl_str_printf(out, "%.17g,%.17g,%.17g,", rate.mean, rate.low, rate.high);
        } else {
            kvl_str_puts(out, ",,,");
        }
        kvl_str_printf(out, "%.17g,%.17g\n", c->kept_sum / (double)c->n, c->kv_bytes_sum / (double)c->n);
        kvl_str_free(&text);
    }
}

/* ---- grids ---- */

enum { CELL_WIDTH = 21 };

static void put_rate(kvl_str *out, const char *before, size_t n_right, size_t n) {
    const kvl_estimate rate = kvl_wilson(n_right, n);
    kvl_str_printf(out, "%s%zu/%zu %3.0f %% [%.0f, %.0f]", before, n_right, n, 100 * rate.mean,
                   100 * rate.low, 100 * rate.high);
}

static void put_grid(kvl_str *out, const kvl_needle_run *run, size_t task, size_t policy) {
    const kvl_needle_options *o = run->options;
    kvl_str cell = {0};
    kvl_str_puts(out, "| depth |");
    for (size_t i = 0; i < o->n_lengths; i++) {
        kvl_str_printf(out, " %*zu |", CELL_WIDTH, o->lengths[i]);
    }
    kvl_str_puts(out, "\n| ----: |");
    for (size_t i = 0; i < o->n_lengths; i++) {
        kvl_str_puts(out, " --------------------: |");
    }
    for (size_t d = 0; d < o->n_depths; d++) {
        kvl_str_printf(out, "\n| %3zu %% |", o->depths[d]);
        for (size_t i = 0; i < o->n_lengths; i++) {
            const kvl_needle_cell *c = cell_at(run, task, policy, i, d);
            const kvl_retrieval_verdict verdict = judge(c, policy);
            kvl_str_clear(&cell);
            if (verdict == KVL_RETRIEVAL_RATE) {
                put_rate(&cell, "", c->n_right, c->n);
            } else {
                kvl_str_puts(&cell, kvl_retrieval_verdict_text(verdict));
            }
            kvl_str_printf(out, " %*s |", CELL_WIDTH, kvl_str_text(&cell));
        }
    }
    kvl_str_puts(out, "\n\n");
    kvl_str_free(&cell);
}

/* What a policy keeps at each length, over all depths. */
static void put_kept(kvl_str *out, const kvl_needle_run *run, size_t task, size_t policy) {
    const kvl_needle_options *o = run->options;
    kvl_str_puts(out, "kept per head (min/mean/max) and KiB of keys and values:");
    for (size_t i = 0; i < o->n_lengths; i++) {
        size_t low = SIZE_MAX, high = 0;
        double kept = 0, bytes = 0, n = 0;
        for (size_t d = 0; d < o->n_depths; d++) {
            const kvl_needle_cell *c = cell_at(run, task, policy, i, d);
            low = kvl_min_size(low, c->kept_min);
            high = kvl_max_size(high, c->kept_max);
            kept += c->kept_sum;
            bytes += c->kv_bytes_sum;
            n += (double)c->n;
        }
        kvl_str_printf(out, "%s %zu/%.1f/%zu, %.0f at %zu", i == 0 ? "" : ";", low, kept / n, high,
                       bytes / n / 1024, o->lengths[i]);
    }
    kvl_str_puts(out, "\n\n");
}

static void put_pair(kvl_str *out, const kvl_needle_run *run, size_t task, size_t policy, double p,
                     double p_holm) {
    size_t n_cells, n_of[2];
    const kvl_needle_cell sum = add_up(run, task, policy, &n_cells, n_of);
    if (n_cells != 0) {
        kvl_str_printf(out, "%zu cells where the full cache passes:", n_cells);
        put_rate(out, " ", sum.n_right, sum.n);
        put_rate(out, ", full cache ", sum.n_right_full, sum.n);
        kvl_str_printf(out, "; %+.1f points, %zu lost, %zu gained, McNemar p = %.3g (%.3g by Holm)",
                       100 * ((double)sum.n_right - (double)sum.n_right_full) / (double)sum.n, sum.n_lost,
                       sum.n_gained, p, p_holm);
    } else {
        kvl_str_puts(out, "no cell to compare");
    }
    kvl_str_printf(out, "; left out: %zu cells where it fails, %zu where nothing was evicted\n", n_of[0],
                   n_of[1]);
}

void kvl_needle_write_grids(kvl_str *out, const kvl_needle_run *run, size_t task) {
    const kvl_needle_options *o = run->options;
    kvl_str_printf(
        out,
        "## %s\n\n%s; question fed %s the compression, chat format %s, filler %s, %zu trials in each "
        "cell, answers of up to %zu tokens, seed %llu\n\n",
        o->tasks[task]->name, kvl_engine_model(run->setup->engine)->name, moment_text(run),
        kvl_chat_name(run->chat), kvl_filler_name(filler_of(run, task)), o->n_trials, o->max_new,
        (unsigned long long)o->seed);
    double *p_values = mcnemar_of(run, task);
    out->failed = out->failed || p_values == NULL;
    for (size_t p = 0; p < run->n_policies && p_values != NULL; p++) {
        kvl_str text = {0};
        kvl_policy_text(&run->policies[p], &text);
        kvl_str_printf(out, "### %s\n\n", p == 0 ? "full cache" : kvl_str_text(&text));
        kvl_str_free(&text);
        put_grid(out, run, task, p);
        put_kept(out, run, task, p);
        if (p != 0) {
            put_pair(out, run, task, p, p_values[p], p_values[run->n_policies + p]);
            kvl_str_puts(out, "\n");
        }
    }
    kvl_free(p_values);
}

void kvl_needle_write_foot(kvl_str *out, const kvl_needle_run *run) {
    const kvl_setup *s = run->setup;
    char cache[KVL_CACHE_TEXT];
    kvl_cache_text(cache, &s->model->shape);
    kvl_str_printf(
        out,
        "A cell: right answers / trials, their share with Wilson's 95 %% interval. A trial is right when "
        "the answer contains all that was asked for.\nThe full cache passes a cell with at least 80 %% "
        "right; where it does not, nothing is said of other policies.\nHolm: p adjusted for all policies of "
        "the task.\n");
    if (run->left_out[0] != '\0') {
        kvl_str_printf(out, "not run again: %s\n", run->left_out);
    }
    kvl_str_printf(out,
                   "kvlab %s, %s, %u threads, %s (stored %s), cache %s; identity check passed\nagain: %s\n",
                   KVL_VERSION, kvl_engine_isa(s->engine), kvl_engine_threads(s->engine),
                   kvl_arith_name(s->model->arith), s->model->stored_dtype, cache, run->command);
}
