/* Cells: their streams, what the rows of a pass make of them, what they hold at the end; and the one-pass
 * baseline, whose cells run alone.
 */
#include "protocol/sweep_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>

kvl_cell *kvli_cell_at(const kvli_run *r, size_t policy, size_t sample) {
    return &r->sweep->cells[kvli_cell_index(r->sweep, policy, sample)];
}

void kvli_reset_cell(kvl_cell *c, size_t n_layers) {
    *c = (kvl_cell){.policy = c->policy,
                    .sample = c->sample,
                    .n_tokens = c->n_tokens,
                    .n_budget = c->n_budget,
                    .first_scored = c->first_scored,
                    .nll = c->nll,
                    .quality = c->quality,
                    .kept_per_layer = c->kept_per_layer};
    memset(c->kept_per_layer, 0, n_layers * sizeof *c->kept_per_layer);
}

void kvli_score_cell(kvl_cell *c, const kvl_row *row) {
    if (c->nll != NULL) {
        c->nll[c->n_scored] = row->nll;
    }
    if (c->quality != NULL) {
        c->quality[c->n_scored] =
            (kvl_token_quality){.entropy = (float)row->entropy,
                                .p_top = (float)row->p_top,
                                .kl = row->reference != NULL ? (float)row->kl : 0,
                                .is_hit = row->top == row->target,
                                .is_same_top = row->reference == NULL || row->is_same_top};
    }
    c->n_scored++;
    c->nll_sum += row->nll;
}

kvl_needs kvli_needs_of(const kvli_run *r, const size_t *policies, size_t n) {
    kvl_needs needs = {0};
    for (size_t i = 0; i < n; i++) {
        needs = kvl_needs_join(needs, policies[i] == 0
                                          ? r->config->baseline_needs
                                          : kvl_policy_needs(&r->sweep->policies[policies[i]], r->shape));
    }
    return needs;
}

kvl_status kvli_create_stream(const kvli_run *r, kvl_stream **out, size_t sample, const size_t *policies,
                              size_t n, kvl_err *err) {
    KVL_TRY(r->is_counting ? kvl_stream_create_counting(out, r->shape, err)
                           : kvl_stream_create(out, r->engine, err));
    (*out)->seed = kvli_sample_of(r, sample)->hash;
    (*out)->n_prefill = kvli_prefill_of(r, sample);
    (*out)->text = kvli_sample_of(r, sample)->ids.ids;
    (*out)->n_text = kvli_cell_at(r, 0, sample)->n_tokens;
    if (r->config->wants_departures) {
        KVL_TRY(kvl_stream_log(*out, r->shape, (size_t)(*out)->n_text, err));
    }
    return kvl_stream_watch(*out, r->shape, kvli_needs_of(r, policies, n), err);
}

uint64_t kvli_noted_bytes(const kvli_run *r, const kvl_stream *stream) {
    return kvl_stream_tap_bytes(stream, r->shape) +
           (r->config->wants_departures ? kvl_departures_bytes(r->shape, (size_t)stream->n_text) : 0);
}

kvl_status kvli_forward(kvli_run *r, kvl_row *rows, size_t n_rows, kvl_err *err) {
    r->seen.n_rows += n_rows;
    if (r->is_counting) {
        return kvl_count_forward(r->shape, rows, n_rows, err);
    }
    r->sweep->rows_computed += n_rows;
    return kvl_engine_forward(r->engine, rows, n_rows, err);
}

void kvli_note_kv_bytes(kvli_run *r, uint64_t bytes) {
    bytes += r->state_bytes;
    r->seen.kv_bytes = bytes > r->seen.kv_bytes ? bytes : r->seen.kv_bytes;
    if (!r->is_counting && bytes > r->sweep->kv_peak_bytes) {
        r->sweep->kv_peak_bytes = bytes;
    }
}

kvl_status kvli_tell(const kvli_run *r, const kvl_cell *finished, bool is_one_pass, kvl_err *err) {
    const kvl_sweep *s = r->sweep;
    kvl_sweep_progress p = {.cells_done = r->cells_done,
                            .cells_total = s->n_policies * s->n_samples,
                            .rows_done = s->rows_computed,
                            .rows_total = s->rows_planned,
                            .wave_rows = r->wave_rows,
                            .wave_cells = r->wave_cells,
                            .finished = finished,
                            .is_one_pass = is_one_pass};
    if (r->is_counting || r->config->progress == NULL || r->config->progress(r->config->progress_ud, &p)) {
        return KVL_OK;
    }
    return kvl_fail(err, KVL_E_INTERRUPTED, "stopped after %zu of %zu rows", p.rows_done, p.rows_total);
}

kvl_status kvli_hand_over(const kvli_run *r, const kvl_cell *c, const kvl_stream *stream, kvl_err *err) {
    return r->config->finish != NULL && !r->is_counting
               ? r->config->finish(r->config->finish_ud, c, stream, err)
               : KVL_OK;
}

kvl_status kvli_finish_cell(kvli_run *r, const kvl_stream *stream, size_t policy, size_t sample,
                            kvl_err *err) {
    kvl_cell *c = kvli_cell_at(r, policy, sample);
    const kvl_policy *p = &r->cell_policies[kvli_cell_index(r->sweep, policy, sample)];
    size_t n_counted = 0;
    c->kept_min = SIZE_MAX;
    for (uint32_t layer = 0; layer < r->shape->n_layers; layer++) {
        for (uint32_t head = 0; head < r->shape->n_kv_heads; head++) {
            size_t n = kvl_cache_len(stream->cache, layer, head);
            c->kept_per_layer[layer] += (double)n / r->shape->n_kv_heads;
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
    r->cells_done++;
    if (policy != 0) {
        KVL_TRY(kvli_hand_over(r, c, stream, err));
    }
    return kvli_tell(r, c, false, err);
}

/* ---- the one-pass baseline ---- */

/* The first rows of the one-pass run are those of the lockstep baseline. */
static kvl_status share_one_pass(kvli_run *r, const kvl_cell *one_pass, const kvl_row *rows, kvl_err *err) {
    kvl_cell *none = kvli_cell_at(r, 0, one_pass->sample);
    kvli_reset_cell(none, r->shape->n_layers);
    for (size_t t = 0; t + 1 < none->n_tokens; t++) {
        kvli_score_cell(none, &rows[t]);
    }
    none->wall_ns = one_pass->wall_ns;
    return kvli_finish_cell(r, rows->stream, 0, one_pass->sample, err);
}

/* Feeds the rows [first, end) of a one-pass run and takes their NLLs. */
static kvl_status feed_one_pass(kvli_run *r, kvl_cell *c, kvl_row *rows, size_t first, size_t end,
                                kvl_err *err) {
    uint64_t start = kvl_clock_ns();
    if (first == end) {
        return KVL_OK;
    }
    KVL_TRY(kvli_forward(r, rows + first, end - first, err));
    c->wall_ns += kvl_clock_ns() - start;
    for (size_t t = first; t < end; t++) {
        kvli_score_cell(c, &rows[t]);
    }
    kvli_note_kv_bytes(r, kvl_cache_reserved_bytes(rows[first].stream->cache) +
                              kvli_noted_bytes(r, rows[first].stream));
    return kvli_tell(r, NULL, false, err);
}

kvl_status kvli_one_pass_run(kvli_run *r, size_t sample, kvl_err *err) {
    kvl_cell *c = &r->sweep->one_pass[sample];
    const kvl_ids *ids = &kvli_sample_of(r, sample)->ids;
    kvl_stream *stream = NULL;
    size_t n_steps = c->n_tokens - 1;
    size_t n_shared = kvli_is_covered_by_one_pass(&r->config->protocol)
                          ? kvl_sweep_cell(r->sweep, 0, sample)->n_tokens - 1
                          : 0;
    kvl_row *rows = kvl_calloc(n_steps, sizeof *rows);
    const size_t baseline = 0; /* the cell that is taken from it */
    kvl_status status = rows != NULL ? kvli_create_stream(r, &stream, sample, &baseline, n_shared != 0, err)
                                     : kvl_fail_nomem(err, "baseline");
    if (status != KVL_OK) {
        goto done;
    }
    kvli_reset_cell(c, r->shape->n_layers);
    for (size_t t = 0; t < n_steps; t++) {
        rows[t] = (kvl_row){.stream = stream,
                            .token = ids->ids[t],
                            .target = ids->ids[t + 1],
                            .wants_top = r->config->wants_quality,
                            .wants_entropy = r->config->wants_quality};
        if (t < n_shared && r->config->wants_quality) {
            kvli_states_give(r, &rows[t], sample, t);
        }
    }
    if (n_shared != 0) {
        KVL_GO(feed_one_pass(r, c, rows, 0, n_shared, err));
        KVL_GO(share_one_pass(r, c, rows, err));
        r->states[sample].n_ready = n_shared;
    }
    KVL_GO(feed_one_pass(r, c, rows, n_shared, n_steps, err));
    c->kv_bytes_live = kvl_cache_live_bytes(stream->cache);
    KVL_GO(kvli_tell(r, c, true, err));
    if (n_shared != 0) {
        const uint64_t n_bytes = kvl_cache_reserved_bytes(stream->cache) + kvli_noted_bytes(r, stream);
        kvli_states_hold(r, sample, &stream, n_bytes);
    }
done:
    kvl_stream_destroy(stream);
    kvl_free(rows);
    return status;
}
