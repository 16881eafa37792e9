/* Cells and their NLLs as JSON lines. */
#include "cli/sweep_run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "cli/calibration_arg.h"
#include "cli/sweep_quality.h"

#include <math.h>
#include <stdio.h>

static json_t *kept_list(const kvl_cell *c, size_t n_layers) {
    json_t *list = json_array();
    for (size_t l = 0; l < n_layers; l++) {
        double kept = c->kept_per_layer[l];
        bool is_whole = kept == floor(kept);
        json_array_append_new(list, is_whole ? json_integer((json_int_t)kept) : json_real(kept));
    }
    return list;
}

typedef struct cell_view {
    const kvl_cell *cell;
    const char *baseline; /* "one-pass" or "same-tokens" for keep 1, NULL otherwise */
} cell_view;

/* Identity of a cell: what both kinds of line begin with. */
static json_t *identity(const kvl_sweep_run_info *info, const cell_view *v, const char *schema) {
    const kvl_policy *policy = &info->sweep.policies[v->cell->policy];
    kvl_str press = {0};
    kvl_str text = {0};
    kvl_policy_press_text(policy, &press);
    kvl_policy_text(policy, &text);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "schema", schema, "preset",
                  info->options->preset->name, "model", kvl_engine_model(info->engine)->name, "press",
                  kvl_str_text(&press), "policy", kvl_str_text(&text), "keep_ratio",
                  policy->size_tok + policy->n_bytes != 0 || kvl_press_is_outcome(policy->tree)
                      ? json_null()
                      : kvl_json_number(kvl_policy_press(policy)->is_identity ? 1 : policy->keep_ratio),
                  "sample", info->samples->items[v->cell->sample].name);
    if (o != NULL && v->baseline != NULL) {
        json_object_set_new(o, "baseline", json_string(v->baseline));
    }
    kvl_str_free(&press);
    kvl_str_free(&text);
    return o;
}

/* What a PPL is without which is not said (docs/protocols.md). */
static void set_protocol(json_t *o, const kvl_sweep_run_info *info, const kvl_cell *c) {
    const kvl_sample *sample = &info->samples->items[c->sample];
    const kvl_sample *text = &info->texts->items[sample->text];
    const bool has_windows = info->protocol.has_windows;
    char hash[32];
    json_object_set_new(o, "protocol", json_string(info->options->protocol->name));
    json_object_set_new(o, "text", json_string(text->name));
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)text->hash);
    json_object_set_new(o, "text_hash", json_string(hash));
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)info->tokenizer_hash);
    json_object_set_new(o, "tokenizer_hash", json_string(hash));
    json_object_set_new(o, "bos_policy", json_string(kvl_bos_name(info->options->bos)));
    json_object_set_new(
        o, "window", json_integer((json_int_t)(has_windows ? info->rule.window : info->protocol.max_tokens)));
    json_object_set_new(o, "stride", has_windows ? json_integer((json_int_t)info->rule.stride) : json_null());
    json_object_set_new(o, "begin", json_integer((json_int_t)sample->begin));
    json_object_set_new(o, "first_scored", json_integer((json_int_t)c->first_scored));
    /* tokens in front of the first scored one and of the last */
    json_object_set_new(o, "context_min", json_integer((json_int_t)c->first_scored + 1));
    json_object_set_new(o, "context_max", json_integer((json_int_t)(c->first_scored + c->n_scored)));
}

static json_t *cell_object(const kvl_sweep_run_info *info, const cell_view *v) {
    const kvl_cell *c = v->cell;
    const kvl_cell *matched = kvl_sweep_cell(&info->sweep, 0, c->sample);
    /* sizes of the baseline row are those of the stream on the same tokens */
    const kvl_cell *sized = v->baseline != NULL ? matched : c;
    json_t *o = identity(info, v, "kvlab.cell/1");
    if (o == NULL) {
        return NULL;
    }
    set_protocol(o, info, c);
    json_object_set_new(o, "bos", json_boolean(info->samples->items[c->sample].has_bos));
    json_object_set_new(o, "n_tokens", json_integer((json_int_t)c->n_tokens));
    json_object_set_new(o, "n_scored", json_integer((json_int_t)c->n_scored));
    json_object_set_new(o, "nll_sum", kvl_json_number(c->nll_sum));
    json_object_set_new(o, "ppl", kvl_json_number(exp(c->nll_sum / (double)c->n_scored)));
    json_object_set_new(o, "kept_per_layer", kept_list(sized, info->sweep.n_layers));
    json_object_set_new(o, "kv_bytes_live", json_integer((json_int_t)sized->kv_bytes_live));
    json_object_set_new(o, "wall_ns", json_integer((json_int_t)c->wall_ns));
    json_object_set_new(o, "n_events", json_integer((json_int_t)c->n_events));
    json_object_set_new(o, "matched_baseline_nll_sum", kvl_json_number(matched->nll_sum));
    json_object_set_new(o, "isa", json_string(kvl_engine_isa(info->engine)));
    const kvl_shape *shape = &kvl_engine_model(info->engine)->shape;
    json_object_set_new(o, "type_k", json_string(kvl_kv_type_name(shape->key_type)));
    json_object_set_new(o, "type_v", json_string(kvl_kv_type_name(shape->value_type)));
    json_object_set_new(o, "kv_residual", json_integer(shape->n_residual));
    json_object_set_new(o, "kv_hadamard", json_boolean(shape->has_hadamard));
    char calibration[KVL_CALIBRATION_TEXT];
    kvl_calibration_text(calibration, &info->sweep.policies[c->policy], shape);
    json_object_set_new(o, "calibration", calibration[0] != '\0' ? json_string(calibration) : json_null());
    json_object_set_new(o, "arith", json_string(kvl_arith_name(kvl_engine_model(info->engine)->arith)));
    json_object_set_new(o, "threads", json_integer((json_int_t)kvl_engine_threads(info->engine)));
    return o;
}

json_t *kvl_sweep_cell_object(const kvl_sweep_run_info *info, const kvl_cell *cell, kvl_record_role role) {
    const cell_view v = {.cell = cell,
                         .baseline = role == KVL_ROLE_ONE_PASS   ? "one-pass"
                                     : role == KVL_ROLE_BASELINE ? "same-tokens"
                                                                 : NULL};
    json_t *o = cell_object(info, &v);
    if (role == KVL_ROLE_ONE_PASS) { /* of the stream on the matched tokens */
        json_object_del(o, "kept_per_layer");
        json_object_del(o, "kv_bytes_live");
        json_object_del(o, "matched_baseline_nll_sum");
    }
    return o;
}

static json_t *nll_object(const kvl_sweep_run_info *info, const cell_view *v) {
    json_t *o = identity(info, v, "kvlab.nll/1");
    json_t *list = json_array();
    for (size_t i = 0; i < v->cell->n_scored; i++) {
        json_array_append_new(list, kvl_json_number(v->cell->nll[i]));
    }
    if (o == NULL) {
        json_decref(list);
        return NULL;
    }
    json_object_set_new(o, "first_scored", json_integer((json_int_t)v->cell->first_scored));
    json_object_set_new(o, "nll_nats", list);
    if (v->cell->quality != NULL) {
        kvl_sweep_set_predictions(o, v->cell);
    }
    return o;
}

kvl_status kvl_sweep_write_cells(kvl_str *out, const kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    for (size_t p = 0; p < s->n_policies; p++) {
        for (size_t i = 0; i < s->n_samples; i++) {
            cell_view v = {.cell = kvl_sweep_cell(s, p, i)};
            if (p == 0) {
                v.baseline = s->one_pass != NULL ? "one-pass" : "same-tokens";
                v.cell = s->one_pass != NULL ? &s->one_pass[i] : v.cell;
            }
            json_t *o = cell_object(info, &v);
            kvl_status status =
                o != NULL && v.cell->quality != NULL ? kvl_sweep_set_quality(o, info, v.cell, err) : KVL_OK;
            if (status != KVL_OK) {
                json_decref(o);
                return status;
            }
            KVL_TRY(kvl_json_write(out, o, false, err));
        }
    }
    return KVL_OK;
}

kvl_status kvl_sweep_write_nll(kvl_str *out, const kvl_sweep_run_info *info, kvl_err *err) {
    const kvl_sweep *s = &info->sweep;
    for (size_t i = 0; s->one_pass != NULL && i < s->n_samples; i++) {
        cell_view v = {.cell = &s->one_pass[i], .baseline = "one-pass"};
        KVL_TRY(kvl_json_write(out, nll_object(info, &v), false, err));
    }
    for (size_t p = 0; p < s->n_policies; p++) {
        for (size_t i = 0; i < s->n_samples; i++) {
            cell_view v = {.cell = kvl_sweep_cell(s, p, i), .baseline = p == 0 ? "same-tokens" : NULL};
            KVL_TRY(kvl_json_write(out, nll_object(info, &v), false, err));
        }
    }
    return KVL_OK;
}
