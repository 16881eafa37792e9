/* Lockstep execution of a sweep.
 *
 * A lane is a stream with the cells that still share it. Every sample starts as one lane with all its cells,
 * the baseline among them; a cell whose policy fires leaves on a fork.
 */
#include "protocol/sweep.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>

typedef struct lane {
    kvl_stream *stream;
    size_t sample;
    size_t step;      /* next token to feed */
    size_t *policies; /* [n] cells that share the stream, by policy index */
    size_t n;
} lane;

typedef struct run {
    kvl_engine *engine;
    const kvl_sweep_config *config;
    kvl_sweep *sweep;
    lane *lanes; /* [n_samples * n_policies]: never more than cells */
    size_t n_lanes;
    kvl_row *rows;             /* scratch, one per lane */
    size_t *row_lane;          /* lane of each row */
    kvl_compress_job *jobs;    /* scratch, one per lane */
    size_t *job_cell;          /* cell of each job */
    kvl_policy *cell_policies; /* [cells]: with the sample's own cap in two-phase protocols */
    size_t steps_done;
    size_t steps_total;
} run;

size_t kvl_two_phase_prefill(size_t n_tokens) {
    size_t most = kvl_max_size(n_tokens > 50 ? n_tokens - 50 : 0, n_tokens / 2);
    return kvl_max_size(32, kvl_min_size(256, most));
}

static size_t cell_index(const kvl_sweep *s, size_t policy, size_t sample) {
    return policy * s->n_samples + sample;
}

const kvl_cell *kvl_sweep_cell(const kvl_sweep *s, size_t policy, size_t sample) {
    return &s->cells[cell_index(s, policy, sample)];
}

static const kvl_sample *sample_of(const run *r, size_t sample) { return &r->config->samples->items[sample]; }

/* Whether the one-pass baseline scores every token of the lockstep baseline: the same bits, so it need not
 * run twice. */
static bool is_covered_by_one_pass(const kvl_protocol *p) {
    return p->baseline_tokens >= p->max_tokens && p->prefill == 0 && p->count_from == 0 && !p->is_two_phase;
}

static size_t prefill_of(const run *r, size_t sample) {
    const kvl_protocol *p = &r->config->protocol;
    size_t n_tokens = kvl_min_size(sample_of(r, sample)->ids.n, p->max_tokens);
    return p->is_two_phase ? kvl_two_phase_prefill(n_tokens) : p->prefill;
}

static kvl_status alloc_cell(kvl_cell *c, size_t n_nll, size_t n_layers, kvl_err *err) {
    c->nll = kvl_calloc(n_nll, sizeof *c->nll);
    c->kept_per_layer = kvl_calloc(n_layers, sizeof *c->kept_per_layer);
    return c->nll != NULL && c->kept_per_layer != NULL ? KVL_OK : kvl_fail_nomem(err, "results");
}

static void free_cells(kvl_cell *cells, size_t n) {
    for (size_t i = 0; cells != NULL && i < n; i++) {
        kvl_free(cells[i].nll);
        kvl_free(cells[i].kept_per_layer);
    }
    kvl_free(cells);
}

void kvl_sweep_free(kvl_sweep *s) {
    free_cells(s->cells, s->n_policies * s->n_samples);
    free_cells(s->one_pass, s->n_samples);
    kvl_free(s->policies);
    *s = (kvl_sweep){0};
}

static kvl_status plan_cell(run *r, size_t policy, size_t sample, kvl_err *err) {
    const kvl_protocol *protocol = &r->config->protocol;
    kvl_cell *c = &r->sweep->cells[cell_index(r->sweep, policy, sample)];
    kvl_policy *own = &r->cell_policies[cell_index(r->sweep, policy, sample)];
    size_t prefill = prefill_of(r, sample);
    *own = r->sweep->policies[policy];
    c->policy = policy;
    c->sample = sample;
    c->n_tokens = kvl_min_size(sample_of(r, sample)->ids.n, protocol->max_tokens);
    c->first_scored = protocol->is_two_phase ? prefill : protocol->count_from;
    if (protocol->is_two_phase) {
        own->cap_tok = prefill;
    }
    if (c->n_tokens < c->first_scored + 2) {
        return kvl_fail(err, KVL_E_TEXT,
                        "sample %s: expected more than %zu tokens for this protocol, found %zu",
                        sample_of(r, sample)->name, c->first_scored + 1, c->n_tokens);
    }
    r->steps_total = kvl_max_size(r->steps_total, c->n_tokens - 1 - prefill);
    return alloc_cell(c, c->n_tokens - 1 - c->first_scored, r->sweep->n_layers, err);
}

static kvl_status plan_lane(run *r, size_t sample, kvl_err *err) {
    lane *l = &r->lanes[r->n_lanes];
    *l = (lane){.sample = sample};
    l->policies = kvl_calloc(r->sweep->n_policies, sizeof *l->policies);
    if (l->policies == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    r->n_lanes++;
    for (size_t p = 0; p < r->sweep->n_policies; p++) {
        KVL_TRY(plan_cell(r, p, sample, err));
        if (p != 0 || !is_covered_by_one_pass(&r->config->protocol)) {
            l->policies[l->n++] = p;
        }
    }
    KVL_TRY(kvl_stream_create(&l->stream, r->engine, err));
    l->stream->seed = sample_of(r, sample)->hash;
    return KVL_OK;
}

static kvl_status plan(run *r, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    const kvl_sweep_config *config = r->config;
    s->n_samples = config->samples->n;
    s->n_layers = kvl_engine_model(r->engine)->shape.n_layers;
    size_t n_policies = config->n_policies + 1;
    size_t n_cells = n_policies * s->n_samples;
    s->policies = kvl_calloc(n_policies, sizeof *s->policies);
    s->cells = kvl_calloc(n_cells, sizeof *s->cells);
    s->n_policies = n_policies;
    r->cell_policies = kvl_calloc(n_cells, sizeof *r->cell_policies);
    r->lanes = kvl_calloc(n_cells, sizeof *r->lanes);
    r->rows = kvl_calloc(n_cells, sizeof *r->rows);
    r->row_lane = kvl_calloc(n_cells, sizeof *r->row_lane);
    r->jobs = kvl_calloc(n_cells, sizeof *r->jobs);
    r->job_cell = kvl_calloc(n_cells, sizeof *r->job_cell);
    if (s->policies == NULL || s->cells == NULL || r->cell_policies == NULL || r->lanes == NULL ||
        r->rows == NULL || r->row_lane == NULL || r->jobs == NULL || r->job_cell == NULL) {
        s->n_policies = s->cells != NULL ? n_policies : 0;
        return kvl_fail_nomem(err, "sweep");
    }
    kvl_policy_init(&s->policies[0]);
    KVL_TRY(kvl_policy_parse(&s->policies[0], "none", err));
    for (size_t p = 1; p < n_policies; p++) {
        s->policies[p] = config->policies[p - 1];
    }
    for (size_t i = 0; i < s->n_samples; i++) {
        KVL_TRY(plan_lane(r, i, err));
    }
    return KVL_OK;
}

/* Detaches the index-th cell of a lane onto a fork of its stream; *out is the new lane. */
static kvl_status fork_lane(run *r, size_t from, size_t index, size_t *out, kvl_err *err) {
    lane *l = &r->lanes[from];
    lane *fresh = &r->lanes[r->n_lanes];
    *fresh = (lane){.sample = l->sample, .step = l->step, .n = 1};
    fresh->policies = kvl_calloc(1, sizeof *fresh->policies);
    if (fresh->policies == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    *out = r->n_lanes++;
    fresh->policies[0] = l->policies[index];
    KVL_TRY(kvl_stream_fork(&fresh->stream, l->stream, err));
    memmove(l->policies + index, l->policies + index + 1, (l->n - index - 1) * sizeof *l->policies);
    l->n--;
    return KVL_OK;
}

/* Looks at every policy of a lane that has just advanced, and forks and queues those that fire. */
static kvl_status queue_compressions(run *r, size_t lane_index, size_t *n_jobs, kvl_err *err) {
    const kvl_shape *shape = &kvl_engine_model(r->engine)->shape;
    for (size_t i = 0; i < r->lanes[lane_index].n;) {
        lane *l = &r->lanes[lane_index];
        size_t cell = cell_index(r->sweep, l->policies[i], l->sample);
        const kvl_policy *policy = &r->cell_policies[cell];
        if (!kvl_policy_fires(policy, l->stream, shape)) {
            i++;
            continue;
        }
        size_t target = lane_index;
        if (l->n > 1) {
            KVL_TRY(fork_lane(r, lane_index, i, &target, err));
        } else {
            i++;
        }
        kvl_cell *c = &r->sweep->cells[cell];
        size_t step = r->lanes[target].step - 1;
        c->first_event = c->n_events == 0 ? step : c->first_event;
        c->last_event = step;
        c->n_events++;
        r->lanes[target].stream->is_cache_length_position = policy->is_cache_length_position;
        r->jobs[*n_jobs] = (kvl_compress_job){.stream = r->lanes[target].stream, .policy = policy};
        r->job_cell[(*n_jobs)++] = cell;
    }
    return KVL_OK;
}

/* Compresses the lanes 0 .. n_advanced-1 for which `has_moved`; time goes to the cells concerned. */
static kvl_status compress_moved(run *r, const size_t *moved, size_t n_moved, kvl_err *err) {
    size_t n_jobs = 0;
    uint64_t start = kvl_clock_ns();
    for (size_t i = 0; i < n_moved; i++) {
        KVL_TRY(queue_compressions(r, moved[i], &n_jobs, err));
    }
    KVL_TRY(kvl_engine_compress(r->engine, r->jobs, n_jobs, err));
    uint64_t share = n_jobs != 0 ? (kvl_clock_ns() - start) / n_jobs : 0;
    for (size_t j = 0; j < n_jobs; j++) {
        r->sweep->cells[r->job_cell[j]].wall_ns += share;
    }
    return KVL_OK;
}

static kvl_status prefill_lane(run *r, size_t lane_index, kvl_err *err) {
    lane *l = &r->lanes[lane_index];
    size_t n = prefill_of(r, l->sample);
    if (n == 0) {
        return KVL_OK;
    }
    kvl_row *rows = kvl_calloc(n, sizeof *rows);
    if (rows == NULL) {
        return kvl_fail_nomem(err, "prefill");
    }
    for (size_t t = 0; t < n; t++) {
        rows[t] = (kvl_row){.stream = l->stream, .token = sample_of(r, l->sample)->ids.ids[t], .target = -1};
    }
    uint64_t start = kvl_clock_ns();
    kvl_status status = kvl_engine_forward(r->engine, rows, n, err);
    kvl_free(rows);
    KVL_TRY(status);
    l->step = n;
    for (size_t i = 0; i < l->n; i++) {
        r->sweep->cells[cell_index(r->sweep, l->policies[i], l->sample)].wall_ns +=
            (kvl_clock_ns() - start) / l->n;
    }
    return compress_moved(r, &lane_index, 1, err);
}

/* Measures what the stream of a cell holds at the end. */
static void finish_cell(run *r, const kvl_stream *stream, size_t policy, size_t sample) {
    kvl_cell *c = &r->sweep->cells[cell_index(r->sweep, policy, sample)];
    const kvl_shape *shape = &kvl_engine_model(r->engine)->shape;
    const kvl_policy *p = &r->cell_policies[cell_index(r->sweep, policy, sample)];
    size_t n_counted = 0;
    c->kept_min = SIZE_MAX;
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            size_t n = kvl_cache_len(stream->cache, layer, head);
            c->kept_per_layer[layer] += (double)n / shape->n_kv_heads;
            if (!kvl_policy_skips(p, layer)) {
                c->kept_min = kvl_min_size(c->kept_min, n);
                c->kept_max = kvl_max_size(c->kept_max, n);
                c->kept_mean += (double)n;
                n_counted++;
            }
        }
    }
    c->kept_mean = n_counted != 0 ? c->kept_mean / (double)n_counted : 0;
    c->kept_min = n_counted != 0 ? c->kept_min : 0;
    c->kv_bytes_live = kvl_cache_live_bytes(stream->cache);
}

/* One pass: every lane that has a token left moves by one. *n_rows is 0 when none has. */
static kvl_status step_all(run *r, size_t *n_rows, kvl_err *err) {
    *n_rows = 0;
    for (size_t i = 0; i < r->n_lanes; i++) {
        const lane *l = &r->lanes[i];
        if (l->n == 0) {
            continue; /* every cell has left on a fork */
        }
        const kvl_cell *c = kvl_sweep_cell(r->sweep, l->policies[0], l->sample);
        const int32_t *ids = sample_of(r, l->sample)->ids.ids;
        if (l->step + 1 < c->n_tokens) {
            r->rows[*n_rows] = (kvl_row){.stream = l->stream,
                                         .token = ids[l->step],
                                         .target = l->step >= c->first_scored ? ids[l->step + 1] : -1};
            r->row_lane[(*n_rows)++] = i;
        }
    }
    uint64_t start = kvl_clock_ns();
    KVL_TRY(kvl_engine_forward(r->engine, r->rows, *n_rows, err));
    uint64_t share = *n_rows != 0 ? (kvl_clock_ns() - start) / *n_rows : 0;
    for (size_t i = 0; i < *n_rows; i++) {
        lane *l = &r->lanes[r->row_lane[i]];
        for (size_t k = 0; k < l->n; k++) {
            kvl_cell *c = &r->sweep->cells[cell_index(r->sweep, l->policies[k], l->sample)];
            c->wall_ns += share / l->n;
            if (r->rows[i].target >= 0) {
                c->nll[c->n_scored++] = r->rows[i].nll;
                c->nll_sum += r->rows[i].nll;
            }
        }
        l->step++;
    }
    r->steps_done += *n_rows != 0;
    return compress_moved(r, r->row_lane, *n_rows, err);
}

static kvl_status run_lanes(run *r, kvl_err *err) {
    size_t n_samples = r->n_lanes;
    for (size_t i = 0; i < n_samples; i++) {
        KVL_TRY(prefill_lane(r, i, err));
    }
    for (size_t n_rows = 1; n_rows != 0;) {
        KVL_TRY(step_all(r, &n_rows, err));
        const kvl_sweep_config *config = r->config;
        if (config->progress != NULL &&
            !config->progress(config->progress_ud, r->steps_done, r->steps_total)) {
            return kvl_fail(err, KVL_E_INTERRUPTED, "stopped after %zu of %zu steps", r->steps_done,
                            r->steps_total);
        }
    }
    for (size_t i = 0; i < r->n_lanes; i++) {
        for (size_t k = 0; k < r->lanes[i].n; k++) {
            finish_cell(r, r->lanes[i].stream, r->lanes[i].policies[k], r->lanes[i].sample);
        }
    }
    return KVL_OK;
}

/* Takes the lockstep baseline's NLLs from the first of the one-pass run. */
static void share_one_pass(run *r, const kvl_cell *one_pass, const kvl_stream *stream) {
    kvl_cell *none = &r->sweep->cells[cell_index(r->sweep, 0, one_pass->sample)];
    for (size_t t = 0; t + 1 < none->n_tokens; t++) {
        none->nll[none->n_scored++] = one_pass->nll[t];
        none->nll_sum += one_pass->nll[t];
    }
    none->wall_ns = one_pass->wall_ns;
    finish_cell(r, stream, 0, one_pass->sample);
}

/* Feeds the rows [first, end) of a one-pass run and takes their NLLs. */
static kvl_status feed_one_pass(run *r, kvl_cell *c, kvl_row *rows, size_t first, size_t end, kvl_err *err) {
    uint64_t start = kvl_clock_ns();
    KVL_TRY(kvl_engine_forward(r->engine, rows + first, end - first, err));
    c->wall_ns += kvl_clock_ns() - start;
    for (size_t t = first; t < end; t++) {
        c->nll[c->n_scored++] = rows[t].nll;
        c->nll_sum += rows[t].nll;
    }
    return KVL_OK;
}

/* The published baseline: one pass over at most baseline_tokens tokens, every prediction scored. It is cut
 * where the lockstep baseline ends, if that is taken from it (cuts change no bits). */
static kvl_status run_one_pass(run *r, size_t sample, kvl_err *err) {
    kvl_sweep *s = r->sweep;
    kvl_cell *c = &s->one_pass[sample];
    const kvl_ids *ids = &sample_of(r, sample)->ids;
    c->sample = sample;
    c->n_tokens = kvl_min_size(ids->n, r->config->protocol.baseline_tokens);
    KVL_TRY(alloc_cell(c, c->n_tokens - 1, s->n_layers, err));
    kvl_stream *stream = NULL;
    size_t n_steps = c->n_tokens - 1;
    size_t n_shared =
        is_covered_by_one_pass(&r->config->protocol) ? kvl_sweep_cell(s, 0, sample)->n_tokens - 1 : 0;
    kvl_row *rows = kvl_calloc(n_steps, sizeof *rows);
    kvl_status status =
        rows != NULL ? kvl_stream_create(&stream, r->engine, err) : kvl_fail_nomem(err, "baseline");
    if (status != KVL_OK) {
        goto done;
    }
    for (size_t t = 0; t < n_steps; t++) {
        rows[t] = (kvl_row){.stream = stream, .token = ids->ids[t], .target = ids->ids[t + 1]};
    }
    if (n_shared != 0) {
        KVL_GO(feed_one_pass(r, c, rows, 0, n_shared, err));
        share_one_pass(r, c, stream);
    }
    KVL_GO(feed_one_pass(r, c, rows, n_shared, n_steps, err));
    c->kv_bytes_live = kvl_cache_live_bytes(stream->cache);
done:
    kvl_stream_destroy(stream);
    kvl_free(rows);
    return status;
}

static kvl_status run_all(run *r, kvl_err *err) {
    KVL_TRY(plan(r, err));
    KVL_TRY(run_lanes(r, err));
    if (r->config->protocol.baseline_tokens == 0) {
        return KVL_OK;
    }
    r->sweep->one_pass = kvl_calloc(r->sweep->n_samples, sizeof *r->sweep->one_pass);
    if (r->sweep->one_pass == NULL) {
        return kvl_fail_nomem(err, "baseline");
    }
    for (size_t i = 0; i < r->sweep->n_samples; i++) {
        KVL_TRY(run_one_pass(r, i, err));
    }
    return KVL_OK;
}

kvl_status kvl_sweep_run(kvl_sweep *out, kvl_engine *engine, const kvl_sweep_config *config, kvl_err *err) {
    *out = (kvl_sweep){0};
    run r = {.engine = engine, .config = config, .sweep = out};
    uint64_t start = kvl_clock_ns();
    kvl_status status = run_all(&r, err);
    out->wall_ns = kvl_clock_ns() - start;
    for (size_t i = 0; i < r.n_lanes; i++) {
        kvl_stream_destroy(r.lanes[i].stream);
        kvl_free(r.lanes[i].policies);
    }
    kvl_free(r.lanes);
    kvl_free(r.rows);
    kvl_free(r.row_lane);
    kvl_free(r.jobs);
    kvl_free(r.job_cell);
    kvl_free(r.cell_policies);
    if (status != KVL_OK) {
        kvl_sweep_free(out);
    }
    return status;
}
