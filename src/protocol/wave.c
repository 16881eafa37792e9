/* Lockstep execution of a wave: computed, or only counted.
 *
 * A lane is a stream with the cells that still share it. Every sample starts as one lane with all its cells
 * of the wave, the baseline among them. A pass takes every lane on by a block of tokens. A shadow, which only
 * counts, goes ahead through the block and tells after which rows the policies fire. Where all cells of the
 * lane then do the same, the row carries the compression; where they part, the block ends, and each group
 * that acts alike leaves on a fork. Cells whose caches are beginnings of one ranking (the budgets of a press
 * that acts once and sorts) leave together: the fork holds the ranking, and their lanes stand on it. A lane
 * whose text has ended is measured and given up at once.
 */
#include "protocol/sweep_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>

/* ---- lanes ---- */

/* The shadow of a lane goes on by one token. */
static kvl_status advance_shadow(const kvli_run *r, kvli_lane *l, kvl_err *err) {
    l->step++;
    return kvl_count_forward(r->shape, &(kvl_row){.stream = l->shadow}, 1, err);
}

/* A lane for the policies of the wave that want attention noted from behind the prompt only, or for all
 * others; none if there are none. */
static kvl_status open_lane(kvli_run *r, const kvl_wave *wave, size_t sample, bool is_late, kvl_err *err) {
    kvli_lane *l = &r->lanes[r->n_lanes];
    *l = (kvli_lane){.sample = sample};
    l->policies = kvl_calloc(2 * (wave->end_policy - wave->first_policy), sizeof *l->policies);
    if (l->policies == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    r->n_lanes++;
    for (size_t p = wave->first_policy; p < wave->end_policy; p++) {
        if (!r->is_left_out[kvli_cell_index(r->sweep, p, sample)] &&
            kvl_policy_needs(&r->sweep->policies[p], r->shape).is_mass_late == is_late) {
            l->policies[l->n++] = p;
            kvli_reset_cell(kvli_cell_at(r, p, sample), r->shape->n_layers);
        }
    }
    if (l->n == 0) {
        kvl_free(l->policies);
        r->n_lanes--;
        return KVL_OK;
    }
    KVL_TRY(kvl_stream_create_counting(&l->shadow, r->shape, err));
    l->shadow->n_prefill = kvli_prefill_of(r, sample);
    KVL_TRY(kvli_create_stream(r, &l->stream, sample, l->policies, l->n, err));
    l->shadow->needs = l->stream->needs; /* by which policies nest or not */
    return KVL_OK;
}

static void close_lane(kvli_lane *l) {
    kvl_stream_destroy(l->stream);
    kvl_stream_destroy(l->shadow);
    l->stream = NULL;
    l->shadow = NULL;
    l->n = 0;
}

static void close_lanes(kvli_run *r) {
    for (size_t i = 0; i < r->n_lanes; i++) {
        close_lane(&r->lanes[i]);
        kvl_free(r->lanes[i].policies);
    }
    r->n_lanes = 0;
}

static const kvl_policy *policy_of(const kvli_run *r, const kvli_lane *l, size_t index) {
    return &r->cell_policies[kvli_cell_index(r->sweep, l->policies[index], l->sample)];
}

/* Index of a cell of the lane whose policy fires now; l->n if there is none. */
static size_t find_firing(const kvli_run *r, const kvli_lane *l) {
    size_t i = 0;
    while (i < l->n && !kvl_policy_fires(policy_of(r, l, i), l->shadow, r->shape)) {
        i++;
    }
    return i;
}

typedef bool same_fn(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                     const kvl_shape *shape);

/* Moves the cells of a lane that fire now and are the same as its index-th cell, which fires, behind the
 * others; returns how many. */
static size_t gather(const kvli_run *r, kvli_lane *l, size_t index, same_fn *same) {
    const kvl_policy *like = policy_of(r, l, index);
    size_t n_others = 0;
    size_t n_alike = 0;
    size_t *alike = l->policies + l->n; /* the list has room for twice its cells */
    for (size_t i = 0; i < l->n; i++) {
        const kvl_policy *policy = policy_of(r, l, i);
        if (i == index ||
            (kvl_policy_fires(policy, l->shadow, r->shape) && same(policy, like, l->shadow, r->shape))) {
            alike[n_alike++] = l->policies[i];
        } else {
            l->policies[n_others++] = l->policies[i];
        }
    }
    memmove(l->policies + n_others, alike, n_alike * sizeof *alike);
    return n_alike;
}

/* Whether cells of a lane that fire now nest with its index-th, which fires, and keep another number. */
static bool has_nested(const kvli_run *r, const kvli_lane *l, size_t index) {
    const kvl_policy *like = policy_of(r, l, index);
    for (size_t i = 0; i < l->n; i++) {
        const kvl_policy *policy = policy_of(r, l, i);
        if (kvl_policy_fires(policy, l->shadow, r->shape) &&
            kvl_policies_nest(policy, like, l->shadow, r->shape) &&
            !kvl_policies_act_alike(policy, like, l->shadow, r->shape)) {
            return true;
        }
    }
    return false;
}

/* Detaches the last n cells of a lane into a new one, *out, which has no stream yet. */
static kvl_status detach_cells(kvli_run *r, kvli_lane *l, size_t n, size_t *out, kvl_err *err) {
    kvli_lane *fresh = &r->lanes[r->n_lanes];
    *fresh = (kvli_lane){.sample = l->sample, .step = l->step, .n = n};
    fresh->policies = kvl_calloc(2 * n, sizeof *fresh->policies);
    if (fresh->policies == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    *out = r->n_lanes++;
    l->n -= n;
    memcpy(fresh->policies, l->policies + l->n, n * sizeof *l->policies);
    return kvl_stream_fork(&fresh->shadow, l->shadow, err);
}

/* The compression of a lane after its last step, which all its cells do alike; the shadow goes ahead. */
static kvl_status compress_shadow(kvli_run *r, kvli_lane *l, const kvl_policy **out, kvl_err *err) {
    const kvl_policy *policy = policy_of(r, l, 0);
    for (size_t i = 0; i < l->n; i++) {
        kvl_cell *c = kvli_cell_at(r, l->policies[i], l->sample);
        c->first_event = c->n_events == 0 ? l->step - 1 : c->first_event;
        c->last_event = l->step - 1;
        c->n_events++;
    }
    /* before the first compression both modes give the same positions */
    l->stream->is_cache_length_position = policy->is_cache_length_position;
    *out = policy;
    return kvl_count_compress(r->shape, &(kvl_compress_job){l->shadow, policy}, 1, err);
}

static kvl_status queue_job(kvli_run *r, size_t lane_index, kvl_err *err) {
    kvli_lane *l = &r->lanes[lane_index];
    kvl_compress_job *job = &r->jobs[r->n_jobs++];
    job->stream = l->stream;
    r->acting[r->n_acting++] = lane_index;
    return compress_shadow(r, l, &job->policy, err);
}

/* What a cell's policy keeps of n entries in the first layer on which it acts. */
static size_t first_target(const kvli_run *r, const kvli_lane *l, size_t index, size_t n) {
    const kvl_policy *policy = policy_of(r, l, index);
    const kvl_stream *s = l->shadow;
    const kvl_moment now = {s->n_seen, s->n_prefill, s->n_events};
    uint32_t layer = 0;
    while (layer + 1 < r->shape->n_layers && kvl_policy_skips(policy, layer)) {
        layer++;
    }
    return kvl_policy_target(policy, r->shape, &now, layer, 0, n);
}

/* The cell of a lane whose policy keeps most of heads that all hold n entries. */
static size_t widest_cell(const kvli_run *r, const kvli_lane *l, size_t n) {
    size_t widest = 0;
    for (size_t i = 1; i < l->n; i++) {
        if (first_target(r, l, i, n) > first_target(r, l, widest, n)) {
            widest = i;
        }
    }
    return widest;
}

/* Queues the compression of a lane whose cells nest, by the one that keeps most, and parts them into lanes
 * that stand on it; the most entries first, so that neighbours in a pass share most. */
static kvl_status queue_nested(kvli_run *r, size_t lane_index, kvl_err *err) {
    kvli_lane *base = &r->lanes[lane_index];
    const size_t n_entries = kvl_cache_len(base->shadow->cache, 0, 0);
    const kvl_policy *policy = policy_of(r, base, widest_cell(r, base, n_entries));
    r->jobs[r->n_jobs++] = (kvl_compress_job){base->stream, policy};
    while (base->n != 0) {
        const size_t n = gather(r, base, widest_cell(r, base, n_entries), kvl_policies_act_alike);
        size_t fresh = 0;
        KVL_TRY(detach_cells(r, base, n, &fresh, err));
        kvli_lane *l = &r->lanes[fresh];
        KVL_TRY(kvl_stream_nest(&l->stream, base->stream, policy_of(r, l, 0), r->shape, err));
        KVL_TRY(compress_shadow(r, l, &policy, err));
        r->acting[r->n_acting++] = fresh;
    }
    return KVL_OK;
}

/* Forks a lane for each group of cells that fire and act alike or nest, and queues their compressions. */
static kvl_status part_lane(kvli_run *r, size_t lane_index, kvl_err *err) {
    kvli_lane *l = &r->lanes[lane_index];
    l->is_parting = false;
    for (size_t i = find_firing(r, l); i < l->n; i = find_firing(r, l)) {
        const bool is_nested = has_nested(r, l, i);
        const size_t n = gather(r, l, i, is_nested ? kvl_policies_nest : kvl_policies_act_alike);
        const bool is_all = n == l->n;
        size_t target = lane_index;
        if (!is_all) {
            KVL_TRY(detach_cells(r, l, n, &target, err));
            const kvl_needs needs = kvli_needs_of(r, r->lanes[target].policies, n);
            KVL_TRY(kvl_stream_fork_for(&r->lanes[target].stream, l->stream, needs, err));
        }
        KVL_TRY(is_nested ? queue_nested(r, target, err) : queue_job(r, target, err));
        if (is_all) {
            return KVL_OK;
        }
    }
    return KVL_OK;
}

/* Adds each lane's share of a time to its cells. */
static void share_time(kvli_run *r, uint64_t ns, const size_t *lanes, size_t n_lanes) {
    for (size_t i = 0; i < n_lanes; i++) {
        const kvli_lane *l = &r->lanes[lanes[i]];
        for (size_t k = 0; k < l->n; k++) {
            kvli_cell_at(r, l->policies[k], l->sample)->wall_ns += ns / n_lanes / l->n;
        }
    }
}

/* Forks the lanes whose cells part and compresses the forks. */
static kvl_status part_lanes(kvli_run *r, kvl_err *err) {
    const size_t n_lanes = r->n_lanes;
    uint64_t kv_bytes = 0;
    uint64_t start = kvl_clock_ns();
    r->n_jobs = 0;
    r->n_acting = 0;
    for (size_t i = 0; i < n_lanes; i++) {
        if (r->lanes[i].is_parting) {
            KVL_TRY(part_lane(r, i, err));
        }
    }
    for (size_t i = 0; i < r->n_lanes; i++) { /* forks are there, what parts has not shrunk: the most of this
                                               * pass */
        kvl_stream *stream = r->lanes[i].stream;
        kv_bytes += stream != NULL ? kvl_cache_most_bytes(stream->cache) + kvli_noted_bytes(r, stream) : 0;
    }
    uint64_t second_bytes = 0; /* of one job at a time */
    for (size_t i = 0; i < r->n_jobs; i++) {
        const uint64_t n = kvl_second_pass_bytes(r->jobs[i].policy, r->jobs[i].stream, r->shape);
        second_bytes = n > second_bytes ? n : second_bytes;
    }
    kvli_note_kv_bytes(r, kv_bytes + second_bytes);
    KVL_TRY(r->is_counting ? kvl_count_compress(r->shape, r->jobs, r->n_jobs, err)
                           : kvl_engine_compress(r->engine, r->jobs, r->n_jobs, err));
    share_time(r, kvl_clock_ns() - start, r->acting, r->n_acting);
    for (size_t i = 0; i < r->n_acting; i++) { /* what heads that compete were left */
        kvli_lane *l = &r->lanes[r->acting[i]];
        KVL_TRY(kvl_count_follow(l->shadow, l->stream, r->shape, err));
        kvl_stream_note_departures(l->stream);
    }
    return KVL_OK;
}

/* Whether a policy of the lane acts while its prompt of n tokens is fed. */
static bool acts_in_prompt(const kvli_run *r, const kvli_lane *l, size_t n) {
    for (size_t i = 0; i < l->n; i++) {
        for (kvl_moment at = {.n_seen = 1, .n_prefill = n}; at.n_seen < n; at.n_seen++) {
            if (kvl_policy_has_schedule(policy_of(r, l, i)) &&
                kvl_policy_turn(policy_of(r, l, i), &at).node != NULL) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the baseline is among the lane's cells: it never leaves the lane that it begins in. */
static bool is_baseline(const kvli_lane *l) { return l->policies[0] == 0; }

/* The steps of a baseline are what other lanes of its sample may be compared with. */
static void note_ready(const kvli_run *r, const kvli_lane *l) {
    if (is_baseline(l)) {
        r->states[l->sample].n_ready = l->step;
    }
}

/* The prompt in one pass; where policies act inside it, its tokens are steps as those behind it are. */
static kvl_status prefill_lane(kvli_run *r, size_t lane_index, kvl_err *err) {
    kvli_lane *l = &r->lanes[lane_index];
    size_t n = kvli_prefill_of(r, l->sample);
    if (n == 0 || acts_in_prompt(r, l, n)) {
        return KVL_OK;
    }
    kvl_row *rows = kvl_calloc(n, sizeof *rows);
    if (rows == NULL) {
        return kvl_fail_nomem(err, "prefill");
    }
    for (size_t t = 0; t < n; t++) {
        rows[t] =
            (kvl_row){.stream = l->stream, .token = kvli_sample_of(r, l->sample)->ids.ids[t], .target = -1};
    }
    uint64_t start = kvl_clock_ns();
    kvl_status status = kvli_forward(r, rows, n, err);
    kvl_free(rows);
    KVL_TRY(status);
    share_time(r, kvl_clock_ns() - start, &lane_index, 1);
    while (l->step < n) {
        KVL_TRY(advance_shadow(r, l, err));
    }
    note_ready(r, l);
    l->is_parting = true;
    return part_lanes(r, err);
}

/* Steps that a lane has yet to take. */
static size_t n_left(const kvli_run *r, const kvli_lane *l) {
    const size_t end = kvli_cell_at(r, l->policies[0], l->sample)->n_tokens - 1;
    return end > l->step ? end - l->step : 0;
}

static bool has_lanes(const kvli_run *r, size_t sample) {
    for (size_t i = 0; i < r->n_lanes; i++) {
        if (r->lanes[i].sample == sample && r->lanes[i].n != 0) {
            return true;
        }
    }
    return false;
}

/* After the last cell of a sample in a wave. */
static kvl_status end_sample(kvli_run *r, const kvl_wave *wave, size_t sample, kvl_err *err) {
    const kvl_stream *baseline = r->states[sample].baseline;
    if (wave->end_policy == r->sweep->n_policies) {
        KVL_TRY(baseline != NULL ? kvli_hand_over(r, kvli_cell_at(r, 0, sample), baseline, err) : KVL_OK);
        kvli_states_close(r, sample);
    }
    return KVL_OK;
}

/* Measures and gives up the lanes whose texts have ended. */
static kvl_status finish_lanes(kvli_run *r, const kvl_wave *wave, kvl_err *err) {
    for (size_t i = 0; i < r->n_lanes; i++) {
        kvli_lane *l = &r->lanes[i];
        if (l->n != 0 && n_left(r, l) == 0) {
            for (size_t k = 0; k < l->n; k++) {
                KVL_TRY(kvli_finish_cell(r, l->stream, l->policies[k], l->sample, err));
            }
            if (is_baseline(l)) {
                const uint64_t n_bytes =
                    kvl_cache_most_bytes(l->stream->cache) + kvli_noted_bytes(r, l->stream);
                kvli_states_hold(r, l->sample, &l->stream, n_bytes);
            }
            close_lane(l);
            if (!has_lanes(r, l->sample)) {
                KVL_TRY(end_sample(r, wave, l->sample, err));
            }
        }
    }
    for (size_t i = 0; i < r->n_lanes; i++) { /* bases that nothing stands on any more */
        const kvli_lane *l = &r->lanes[i];
        if (l->n == 0 && l->stream != NULL && !kvl_cache_is_base(l->stream->cache)) {
            close_lane(&r->lanes[i]);
        }
    }
    return KVL_OK;
}

/* Steps that a lane may take now: no further than the baseline, whose states it will be compared with. */
static size_t n_ready(const kvli_run *r, const kvli_lane *l) {
    if (!r->config->wants_quality || is_baseline(l)) {
        return n_left(r, l);
    }
    const size_t ready = r->states[l->sample].n_ready;
    return kvl_min_size(n_left(r, l), ready > l->step ? ready - l->step : 0);
}

/* The next row of a lane. Before its first compression it has the baseline's bits: nothing to compare. */
static kvl_row row_of(const kvli_run *r, const kvli_lane *l) {
    const int32_t *ids = kvli_sample_of(r, l->sample)->ids.ids;
    kvl_row row = {.stream = l->stream, .token = ids[l->step], .target = -1};
    if (l->step < kvli_first_step_of(r, l->sample)) {
        return row;
    }
    row.target = ids[l->step + 1];
    row.wants_top = r->config->wants_quality;
    row.wants_entropy = r->config->wants_quality;
    if (r->config->wants_quality && is_baseline(l)) {
        kvli_states_give(r, &row, l->sample, l->step);
    } else if (r->config->wants_quality && l->shadow->n_events != 0) {
        kvli_states_take(r, &row, l->sample, l->step);
    }
    return row;
}

/* Queues the next rows of a lane, at most `most`, with the compressions behind them. */
static kvl_status queue_rows(kvli_run *r, size_t lane_index, size_t most, size_t *n_rows, kvl_err *err) {
    kvli_lane *l = &r->lanes[lane_index];
    for (size_t n = kvl_min_size(most, n_ready(r, l)); n != 0 && !l->is_parting; n--) {
        kvl_row *row = &r->rows[*n_rows];
        *row = row_of(r, l);
        r->row_lane[(*n_rows)++] = lane_index;
        KVL_TRY(advance_shadow(r, l, err));
        size_t firing = find_firing(r, l);
        l->is_parting = firing < l->n && (!kvl_policy_is_by_head(policy_of(r, l, firing)) ||
                                          gather(r, l, firing, kvl_policies_act_alike) < l->n);
        if (firing < l->n && !l->is_parting) {
            KVL_TRY(compress_shadow(r, l, &row->evict, err));
        }
    }
    note_ready(r, l);
    return KVL_OK;
}

/* Shares the rows of a pass among the lanes: what one cannot use goes to those behind it. */
static kvl_status queue_pass(kvli_run *r, size_t *n_rows, kvl_err *err) {
    const size_t max_steps = r->config->max_steps != 0 ? r->config->max_steps : SIZE_MAX;
    size_t n_open = 0;
    *n_rows = 0;
    for (size_t i = 0; i < r->n_lanes; i++) {
        n_open += r->lanes[i].n != 0;
    }
    const size_t room = kvl_max_size(n_open, kvl_engine_pass_rows());
    for (size_t i = 0; i < r->n_lanes; i++) {
        if (r->lanes[i].n != 0) {
            KVL_TRY(queue_rows(r, i, kvl_min_size(max_steps, (room - *n_rows) / n_open), n_rows, err));
            n_open--;
        }
    }
    return KVL_OK;
}

/* One pass: every lane moves by a block of tokens. *n_rows is 0 when none is left. */
static kvl_status step_all(kvli_run *r, const kvl_wave *wave, size_t *n_rows, kvl_err *err) {
    uint64_t start = kvl_clock_ns();
    KVL_TRY(queue_pass(r, n_rows, err));
    if (*n_rows == 0) {
        return KVL_OK;
    }
    KVL_TRY(kvli_forward(r, r->rows, *n_rows, err));
    share_time(r, kvl_clock_ns() - start, r->row_lane, *n_rows);
    for (size_t i = 0; i < *n_rows; i++) {
        const kvli_lane *l = &r->lanes[r->row_lane[i]];
        for (size_t k = 0; k < l->n && r->rows[i].target >= 0; k++) {
            kvli_score_cell(kvli_cell_at(r, l->policies[k], l->sample), &r->rows[i]);
        }
    }
    r->seen.n_passes++;
    r->seen.max_rows = kvl_max_size(r->seen.max_rows, *n_rows);
    KVL_TRY(part_lanes(r, err));
    KVL_TRY(finish_lanes(r, wave, err));
    return kvli_tell(r, NULL, false, err);
}

static kvl_status run_lanes(kvli_run *r, const kvl_wave *wave, kvl_err *err) {
    for (size_t i = wave->first_sample; i < wave->end_sample; i++) {
        KVL_TRY(open_lane(r, wave, i, false, err));
        KVL_TRY(open_lane(r, wave, i, true, err));
    }
    const size_t n_lanes = r->n_lanes;
    for (size_t i = 0; i < n_lanes; i++) {
        KVL_TRY(prefill_lane(r, i, err));
    }
    for (size_t n_rows = 1; n_rows != 0;) {
        KVL_TRY(step_all(r, wave, &n_rows, err));
    }
    return KVL_OK;
}

/* Whether anything of a sample is to be run. */
static bool has_cells(const kvli_run *r, size_t sample) {
    bool has = r->sweep->one_pass != NULL && !r->is_one_pass_left_out[sample];
    for (size_t p = 0; p < r->sweep->n_policies && !has; p++) {
        has = !r->is_left_out[kvli_cell_index(r->sweep, p, sample)];
    }
    return has;
}

kvl_status kvli_wave_run(kvli_run *r, const kvl_wave *wave, kvl_err *err) {
    const bool is_first = wave->first_policy == (kvli_is_covered_by_one_pass(&r->config->protocol) ? 1 : 0);
    kvl_status status = KVL_OK;
    r->seen = (kvl_wave){0};
    for (size_t i = wave->first_sample; i < wave->end_sample; i++) {
        KVL_GO(has_cells(r, i) ? kvli_states_open(r, i, !is_first, err) : KVL_OK);
    }
    for (size_t i = wave->first_sample; is_first && r->sweep->one_pass != NULL && i < wave->end_sample; i++) {
        KVL_GO(r->is_one_pass_left_out[i] ? KVL_OK : kvli_one_pass_run(r, i, err));
    }
    KVL_GO(run_lanes(r, wave, err));
    for (size_t i = wave->first_sample; i < wave->end_sample; i++) { /* without lanes */
        KVL_GO(end_sample(r, wave, i, err));
    }
done:
    close_lanes(r);
    return status;
}
