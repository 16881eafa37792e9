/* A sweep from its configuration to its results: cells, the plan with its waves, the run. */
#include "protocol/sweep_int.h"

#include "base/alloc.h"
#include "base/os.h"
#include "engine/plan.h"

#include <string.h>

size_t kvl_two_phase_prefill(size_t n_tokens) {
    size_t most = kvl_max_size(n_tokens > 50 ? n_tokens - 50 : 0, n_tokens / 2);
    return kvl_max_size(32, kvl_min_size(256, most));
}

size_t kvli_cell_index(const kvl_sweep *s, size_t policy, size_t sample) {
    return policy * s->n_samples + sample;
}

const kvl_cell *kvl_sweep_cell(const kvl_sweep *s, size_t policy, size_t sample) {
    return &s->cells[kvli_cell_index(s, policy, sample)];
}

const kvl_sample *kvli_sample_of(const kvli_run *r, size_t sample) {
    return &r->config->samples->items[sample];
}

bool kvli_is_covered_by_one_pass(const kvl_protocol *p) {
    return p->baseline_tokens >= p->max_tokens && p->prefill == 0 && p->count_from == 0 && !p->is_two_phase &&
           !p->has_windows;
}

size_t kvli_prefill_of(const kvli_run *r, size_t sample) {
    const kvl_protocol *p = &r->config->protocol;
    size_t n_tokens = kvl_min_size(kvli_sample_of(r, sample)->ids.n, p->max_tokens);
    if (p->has_windows) {
        return kvli_sample_of(r, sample)->prefill;
    }
    return p->is_two_phase ? kvl_two_phase_prefill(n_tokens) : p->prefill;
}

size_t kvli_first_step_of(const kvli_run *r, size_t sample) {
    return kvl_max_size(kvl_sweep_cell(r->sweep, 0, sample)->first_scored, kvli_prefill_of(r, sample));
}

static void free_cells(kvl_cell *cells, size_t n) {
    for (size_t i = 0; cells != NULL && i < n; i++) {
        kvl_free(cells[i].nll);
        kvl_free(cells[i].quality);
        kvl_free(cells[i].kept_per_layer);
    }
    kvl_free(cells);
}

void kvl_sweep_free(kvl_sweep *s) {
    free_cells(s->cells, s->n_policies * s->n_samples);
    free_cells(s->one_pass, s->n_samples);
    kvl_free(s->policies);
    kvl_free(s->waves);
    *s = (kvl_sweep){0};
}

/* ---- cells ---- */

static kvl_status set_cell(kvli_run *r, size_t policy, size_t sample, kvl_err *err) {
    const kvl_protocol *protocol = &r->config->protocol;
    size_t index = kvli_cell_index(r->sweep, policy, sample);
    kvl_cell *c = &r->sweep->cells[index];
    kvl_policy *own = &r->cell_policies[index];
    size_t prefill = kvli_prefill_of(r, sample);
    *own = r->sweep->policies[policy];
    c->policy = policy;
    c->sample = sample;
    c->n_tokens = kvl_min_size(kvli_sample_of(r, sample)->ids.n, protocol->max_tokens);
    c->first_scored = protocol->is_two_phase ? prefill : protocol->count_from;
    if (protocol->is_two_phase) {
        own->cap_tok = prefill;
    }
    if (protocol->has_windows) {
        c->first_scored = kvli_sample_of(r, sample)->first_scored;
        const bool has_nothing_to_do = own->cadence_tok == 0 && prefill == 0;
        own->cap_tok = has_nothing_to_do ? SIZE_MAX : own->cap_tok;
    }
    if (c->n_tokens < c->first_scored + 2) {
        return kvl_fail(err, KVL_E_TEXT,
                        "sample %s: expected more than %zu tokens for this protocol, found %zu",
                        kvli_sample_of(r, sample)->name, c->first_scored + 1, c->n_tokens);
    }
    c->n_budget = own->cadence_tok == 0 && prefill != 0 ? prefill : c->n_tokens;
    /* the last token is only predicted */
    KVL_TRY(kvl_budget_check(own, r->shape, kvl_min_size(c->n_budget, c->n_tokens - 1), err));
    c->kept_per_layer = kvl_calloc(r->shape->n_layers, sizeof *c->kept_per_layer);
    return c->kept_per_layer != NULL ? KVL_OK : kvl_fail_nomem(err, "results");
}

static kvl_status set_one_pass(kvli_run *r, size_t sample, kvl_err *err) {
    kvl_cell *c = &r->sweep->one_pass[sample];
    c->sample = sample;
    c->n_tokens = kvl_min_size(kvli_sample_of(r, sample)->ids.n, r->config->protocol.baseline_tokens);
    c->kept_per_layer = kvl_calloc(r->shape->n_layers, sizeof *c->kept_per_layer);
    return c->kept_per_layer != NULL ? KVL_OK : kvl_fail_nomem(err, "results");
}

static kvl_status alloc_run(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    size_t n_policies = r->config->n_policies + 1;
    s->n_samples = r->config->samples->n;
    s->n_layers = r->shape->n_layers;
    size_t n_cells = n_policies * s->n_samples;
    s->policies = kvl_calloc(n_policies, sizeof *s->policies);
    s->cells = kvl_calloc(n_cells, sizeof *s->cells);
    s->n_policies = s->cells != NULL ? n_policies : 0;
    if (r->config->protocol.baseline_tokens != 0) {
        s->one_pass = kvl_calloc(s->n_samples, sizeof *s->one_pass);
    }
    r->cell_policies = kvl_calloc(n_cells, sizeof *r->cell_policies);
    r->is_left_out = kvl_calloc(n_cells, sizeof *r->is_left_out);
    r->is_one_pass_left_out = kvl_calloc(s->n_samples, sizeof *r->is_one_pass_left_out);
    r->lanes = kvl_calloc(2 * n_cells, sizeof *r->lanes);
    r->rows = kvl_calloc(kvl_max_size(n_cells, kvl_engine_pass_rows()), sizeof *r->rows);
    r->row_lane = kvl_calloc(kvl_max_size(n_cells, kvl_engine_pass_rows()), sizeof *r->row_lane);
    r->jobs = kvl_calloc(n_cells, sizeof *r->jobs);
    r->acting = kvl_calloc(n_cells, sizeof *r->acting);
    r->states = kvl_calloc(s->n_samples, sizeof *r->states);
    bool has_all = s->policies != NULL && s->cells != NULL && r->cell_policies != NULL &&
                   r->is_left_out != NULL && r->is_one_pass_left_out != NULL && r->lanes != NULL &&
                   r->rows != NULL && r->row_lane != NULL && r->jobs != NULL && r->acting != NULL &&
                   r->states != NULL && (s->one_pass != NULL || r->config->protocol.baseline_tokens == 0);
    return has_all ? KVL_OK : kvl_fail_nomem(err, "sweep");
}

/* Which cells of a sample are known; but those that others need, or that come with others, are run again. */
static kvl_status leave_out_of(kvli_run *r, size_t sample, kvl_err *err) {
    const kvl_sweep_config *config = r->config;
    kvl_sweep *s = r->sweep;
    bool *is_first = &r->is_left_out[kvli_cell_index(s, 0, sample)];
    bool has_others = false;
    for (size_t p = 0; p < s->n_policies; p++) {
        const size_t index = kvli_cell_index(s, p, sample);
        KVL_TRY(config->recall(config->recall_ud, &s->cells[index], false, &r->is_left_out[index], err));
        has_others = has_others || (p != 0 && !r->is_left_out[index]);
    }
    if (has_others && (config->wants_quality || config->finish != NULL)) {
        *is_first = false;
    }
    if (s->one_pass != NULL) {
        bool *is_one_pass = &r->is_one_pass_left_out[sample];
        KVL_TRY(config->recall(config->recall_ud, &s->one_pass[sample], true, is_one_pass, err));
        if (kvli_is_covered_by_one_pass(&config->protocol)) {
            *is_first = *is_one_pass = *is_first && *is_one_pass;
        }
    }
    return KVL_OK;
}

static kvl_status leave_out(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    for (size_t i = 0; i < s->n_samples; i++) {
        KVL_TRY(r->config->recall != NULL ? leave_out_of(r, i, err) : KVL_OK);
        for (size_t p = 0; p < s->n_policies; p++) {
            const bool is_left_out = r->is_left_out[kvli_cell_index(s, p, i)];
            s->n_known += is_left_out;
            s->rows_naive += is_left_out ? 0 : kvl_sweep_cell(s, p, i)->n_tokens - 1;
        }
        s->rows_naive += s->one_pass != NULL && !r->is_one_pass_left_out[i] ? s->one_pass[i].n_tokens - 1 : 0;
    }
    return KVL_OK;
}

static kvl_status set_cells(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    KVL_TRY(alloc_run(r, err));
    kvl_policy_init(&s->policies[0]);
    KVL_TRY(kvl_policy_parse(&s->policies[0], "none", err));
    for (size_t p = 1; p < s->n_policies; p++) {
        s->policies[p] = r->config->policies[p - 1];
    }
    for (size_t i = 0; i < s->n_samples; i++) {
        for (size_t p = 0; p < s->n_policies; p++) {
            KVL_TRY(set_cell(r, p, i, err));
        }
        if (s->one_pass != NULL) {
            KVL_TRY(set_one_pass(r, i, err));
        }
    }
    return leave_out(r, err);
}

/* ---- planning ---- */

/* Takes note of what the wave or baseline just counted needs; E_NOMEM if that is beyond the limit. */
static kvl_status count_in(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    uint64_t need = s->weight_bytes + s->scratch_bytes + r->seen.kv_bytes;
    if (r->config->memory_bytes != 0 && need > r->config->memory_bytes) {
        enum { MIB = 1 << 20 };
        return kvl_fail(
            err, KVL_E_NOMEM,
            "sweep: expected at least %.1f MiB of memory for one cell (weights %.1f, scratch %.1f, "
            "keys and values %.1f), found a limit of %.1f MiB",
            (double)need / MIB + 0.05, (double)s->weight_bytes / MIB, (double)s->scratch_bytes / MIB,
            (double)r->seen.kv_bytes / MIB, (double)r->config->memory_bytes / MIB);
    }
    s->rows_planned += r->seen.n_rows;
    s->kv_bytes = r->seen.kv_bytes > s->kv_bytes ? r->seen.kv_bytes : s->kv_bytes;
    return KVL_OK;
}

static kvl_status push_wave(kvli_run *r, const kvl_wave *wave, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    kvl_wave *waves = kvl_resize(s->waves, s->n_waves, s->n_waves + 1, sizeof *waves);
    if (waves == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    s->waves = waves;
    r->seen.first_sample = wave->first_sample;
    r->seen.end_sample = wave->end_sample;
    r->seen.first_policy = wave->first_policy;
    r->seen.end_policy = wave->end_policy;
    waves[s->n_waves++] = r->seen;
    return KVL_OK;
}

/* Multiplications of one row with weights. */
static uint64_t row_products(const kvl_shape *s) {
    const uint64_t heads = (uint64_t)s->head_dim * (2 * s->n_heads + 2 * s->n_kv_heads);
    const uint64_t inner = (uint64_t)s->ff_width * (s->is_gated ? 3 : 2);
    return s->width * (s->n_layers * (heads + inner) + s->n_vocab);
}

/* As many parts as the wave that was counted is too long for one. */
static size_t parts_of_rows(const kvli_run *r) {
    const uint64_t most = r->config->wave_products != 0 ? r->config->wave_products : KVL_WAVE_PRODUCTS;
    const uint64_t n_rows = most / row_products(r->shape);
    return r->seen.n_rows / kvl_max_size(1, (size_t)n_rows) + 1;
}

/* Takes the cells as one wave if the memory suffices, and it is not too long; otherwise cuts them by samples,
 * then by policies, into as many parts as are asked for at least. */
static kvl_status add_waves(kvli_run *r, const kvl_wave *wave, kvl_err *err) {
    uint64_t fixed = r->sweep->weight_bytes + r->sweep->scratch_bytes;
    uint64_t limit = r->config->memory_bytes != 0 ? r->config->memory_bytes : UINT64_MAX;
    uint64_t left = limit > fixed ? limit - fixed : 1;
    size_t n_samples = wave->end_sample - wave->first_sample;
    size_t n_policies = wave->end_policy - wave->first_policy;
    KVL_TRY(kvli_wave_run(r, wave, err));
    const bool is_short = n_samples == 1 || parts_of_rows(r) == 1;
    if ((r->seen.kv_bytes <= left && is_short) || (n_samples == 1 && n_policies <= 1)) {
        KVL_TRY(count_in(r, err));
        return push_wave(r, wave, err);
    }
    size_t n = n_samples > 1 ? n_samples : n_policies;
    size_t n_parts = r->seen.kv_bytes <= left ? 1 : (size_t)((r->seen.kv_bytes - 1) / left) + 1;
    n_parts = kvl_min_size(n, n_samples > 1 ? kvl_max_size(n_parts, parts_of_rows(r)) : n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        kvl_wave part = *wave;
        *(n_samples > 1 ? &part.first_sample : &part.first_policy) += n * i / n_parts;
        *(n_samples > 1 ? &part.end_sample : &part.end_policy) -= n - n * (i + 1) / n_parts;
        KVL_TRY(add_waves(r, &part, err));
    }
    return KVL_OK;
}

static kvl_status plan(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    const kvl_protocol *p = &r->config->protocol;
    const kvl_model *model = kvl_engine_model(r->engine);
    size_t n_tokens = kvl_max_size(2, kvl_max_size(p->max_tokens, p->baseline_tokens));
    KVL_TRY(set_cells(r, err));
    s->weight_bytes = model->weight_bytes;
    uint64_t most = kvl_plan_most_scratch_bytes(model, s->policies, s->n_policies,
                                                kvl_engine_threads(r->engine), n_tokens);
    uint64_t now = kvl_engine_scratch_bytes(r->engine); /* of an engine that has seen longer texts */
    s->scratch_bytes =
        (most > now ? most : now) + kvl_plan_copied_bytes(r->shape, kvl_engine_threads(r->engine), n_tokens);
    r->is_counting = true;
    kvl_wave all = {.first_policy = kvli_is_covered_by_one_pass(p) ? 1 : 0,
                    .end_sample = s->n_samples,
                    .end_policy = s->n_policies};
    KVL_TRY(add_waves(r, &all, err));
    r->is_counting = false;
    r->cells_done = s->n_known;
    return KVL_OK;
}

/* ---- running ---- */

/* As many as were counted; what is known has its own. */
static kvl_status alloc_tokens(kvl_cell *cells, const bool *is_left_out, size_t n, bool wants_quality,
                               kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        kvl_cell *c = &cells[i];
        if (is_left_out[i]) {
            continue;
        }
        kvl_free(c->nll);
        c->nll = kvl_calloc(c->n_scored, sizeof *c->nll);
        c->quality = wants_quality ? kvl_calloc(c->n_scored, sizeof *c->quality) : NULL;
        if (c->nll == NULL || (wants_quality && c->quality == NULL)) {
            return kvl_fail_nomem(err, "results");
        }
    }
    return KVL_OK;
}

/* Cells that a wave runs; the first of a protocol whose one-pass baselines cover them bring the baseline. */
static size_t count_cells(const kvli_run *r, const kvl_wave *w) {
    const size_t first =
        w->first_policy == 1 && kvli_is_covered_by_one_pass(&r->config->protocol) ? 0 : w->first_policy;
    size_t n = 0;
    for (size_t i = w->first_sample; i < w->end_sample; i++) {
        for (size_t p = first; p < w->end_policy; p++) {
            n += !r->is_left_out[kvli_cell_index(r->sweep, p, i)];
        }
    }
    return n;
}

static kvl_status run_planned(kvli_run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    const bool wants_quality = r->config->wants_quality;
    KVL_TRY(alloc_tokens(s->cells, r->is_left_out, s->n_policies * s->n_samples, wants_quality, err));
    KVL_TRY(alloc_tokens(s->one_pass, r->is_one_pass_left_out, s->one_pass != NULL ? s->n_samples : 0,
                         wants_quality, err));
    r->wave_cells = s->n_known;
    for (size_t i = 0; i < s->n_waves; i++) {
        r->wave_rows += s->waves[i].n_rows;
        r->wave_cells += count_cells(r, &s->waves[i]);
        KVL_TRY(kvli_wave_run(r, &s->waves[i], err));
    }
    return KVL_OK;
}

static kvl_status start(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config, bool is_plan,
                        kvl_err *err) {
    *out = (kvl_sweep){0};
    kvli_run r = {
        .engine = engine, .shape = &kvl_engine_model(engine)->shape, .config = config, .sweep = out};
    uint64_t started = kvl_clock_ns();
    kvl_status status = plan(&r, err);
    if (status == KVL_OK && !is_plan) {
        status = run_planned(&r, err);
    }
    out->wall_ns = kvl_clock_ns() - started;
    for (size_t i = 0; r.states != NULL && i < out->n_samples; i++) {
        kvli_states_close(&r, i);
    }
    kvl_free(r.states);
    kvl_free(r.lanes);
    kvl_free(r.rows);
    kvl_free(r.row_lane);
    kvl_free(r.jobs);
    kvl_free(r.acting);
    kvl_free(r.cell_policies);
    kvl_free(r.is_left_out);
    kvl_free(r.is_one_pass_left_out);
    if (status != KVL_OK) {
        kvl_sweep_free(out);
    }
    return status;
}

kvl_status kvl_sweep_run(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config, kvl_err *err) {
    return start(out, engine, config, false, err);
}

kvl_status kvl_sweep_plan(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config, kvl_err *err) {
    return start(out, engine, config, true, err);
}
