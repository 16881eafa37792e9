/* Running retrieval tests: prefill, fork, compress; question; lockstep decoding. */
#include "protocol/retrieval.h"

#include "base/alloc.h"
#include "engine/plan.h"
#include "protocol/timing.h"

#include <string.h>

/* ---- scores ---- */

static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

static bool contains(const char *text, const char *word) {
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (word[i] != '\0' && lower(text[i]) == lower(word[i])) {
            i++;
        }
        if (word[i] == '\0') {
            return true;
        }
    }
    return false;
}

size_t kvl_retrieval_score(const kvl_retrieval_words *words, const char *text) {
    size_t n = 0;
    for (size_t i = 0; i < words->n_answers; i++) {
        n += contains(text, words->answers[i]);
    }
    return n;
}

bool kvl_retrieval_full_passes(size_t n_right, size_t n) { return n != 0 && 5 * n_right >= 4 * n; }

kvl_retrieval_verdict kvl_retrieval_judge(size_t n_right_full, size_t n, size_t n_events) {
    return !kvl_retrieval_full_passes(n_right_full, n) ? KVL_RETRIEVAL_FULL_FAILS
           : n_events == 0                             ? KVL_RETRIEVAL_NOTHING_EVICTED
                                                       : KVL_RETRIEVAL_RATE;
}

const char *kvl_retrieval_verdict_text(kvl_retrieval_verdict v) {
    return v == KVL_RETRIEVAL_FULL_FAILS        ? "full cache fails"
           : v == KVL_RETRIEVAL_NOTHING_EVICTED ? "nothing evicted"
                                                : "rate";
}

/* ---- a run ---- */

/* A prompt under a policy, from its compression to the end of its answer. */
typedef struct lane {
    kvl_stream *stream;
    const kvl_policy *policy; /* with a schedule of its own; NULL: none acts any more */
    const kvl_retrieval_prompt *prompt;
    kvl_retrieval_result *result;
    int32_t token; /* most likely next one */
} lane;

typedef struct run {
    kvl_engine *engine;
    const kvl_shape *shape;
    const kvl_retrieval_config *config;
    kvl_retrieval_result *out;
    kvl_policy *once; /* [n_policies] act once, unless they have a schedule */
    kvl_needs needs;  /* of those that share the prefill */
    size_t n_schedules;
    int32_t stops[2];
    lane *lanes; /* [n_policies + 1, prompts of a wave] */
    size_t n_lanes;
    kvl_row *rows; /* as many as a pass over questions has at most, or a prefill */
    size_t rows_done, rows_total;
} run;

static size_t n_first_of(const run *r, const kvl_retrieval_prompt *p) {
    return r->config->is_query_aware ? p->ids.n - 1 : p->n_context;
}

static kvl_status report(run *r, size_t n_rows, kvl_err *err) {
    const kvl_retrieval_config *c = r->config;
    r->rows_done += n_rows;
    if (c->progress == NULL || c->progress(c->progress_ud, r->rows_done, r->rows_total)) {
        return KVL_OK;
    }
    return kvl_fail(err, KVL_E_INTERRUPTED, "stopped after %zu of %zu rows", r->rows_done, r->rows_total);
}

/* ---- contexts ---- */

static kvl_status create_stream(const run *r, kvl_stream **out, const kvl_retrieval_prompt *p,
                                kvl_needs needs, kvl_err *err) {
    KVL_TRY(kvl_stream_create(out, r->engine, err));
    (*out)->seed = p->hash;
    (*out)->n_prefill = n_first_of(r, p);
    (*out)->text = p->ids.ids;
    (*out)->n_text = p->ids.n;
    return kvl_stream_watch(*out, r->shape, needs, err);
}

/* Feeds what comes before the compression. */
static kvl_status prefill(run *r, kvl_stream *stream, const kvl_retrieval_prompt *p, kvl_err *err) {
    const size_t n = n_first_of(r, p);
    for (size_t done = 0; done < n;) {
        const size_t n_rows = kvl_min_size(n - done, kvl_engine_pass_rows());
        for (size_t i = 0; i < n_rows; i++) {
            r->rows[i] = (kvl_row){.stream = stream, .token = p->ids.ids[done + i], .target = -1};
        }
        KVL_TRY(kvl_engine_forward(r->engine, r->rows, n_rows, err));
        KVL_TRY(report(r, n_rows, err));
        done += n_rows;
    }
    return KVL_OK;
}

/* What the compression left, and a lane that goes on from there. */
static void add_lane(run *r, kvl_stream *stream, size_t policy, size_t prompt) {
    const kvl_policy *p = policy != 0 ? &r->once[policy - 1] : NULL;
    kvl_retrieval_result *result = &r->out[policy * r->config->n_prompts + prompt];
    lane *l = &r->lanes[r->n_lanes++];
    *l = (lane){.stream = stream, .prompt = &r->config->prompts[prompt], .result = result};
    if (p != NULL && kvl_policy_has_schedule(p)) {
        l->policy = p;
    } else {
        kvl_stream_unwatch(stream);
    }
    size_t n_heads = 0;
    result->n_events = (size_t)stream->n_events;
    result->kept_min = SIZE_MAX;
    for (uint32_t layer = 0; layer < r->shape->n_layers; layer++) {
        for (uint32_t head = 0; head < r->shape->n_kv_heads && (p == NULL || !kvl_policy_skips(p, layer));
             head++) {
            const size_t n = kvl_cache_len(stream->cache, layer, head);
            result->kept_min = kvl_min_size(result->kept_min, n);
            result->kept_max = kvl_max_size(result->kept_max, n);
            result->kept_mean += (double)n;
            n_heads++;
        }
    }
    result->kept_mean = n_heads != 0 ? result->kept_mean / (double)n_heads : 0;
    result->kept_min = n_heads != 0 ? result->kept_min : 0;
    result->kv_bytes = kvl_cache_live_bytes(stream->cache);
}

/* A lane for one policy: on a fork of the full cache, or from the first token on where it has a schedule. */
static kvl_status open_lane(run *r, const kvl_stream *full, size_t policy, size_t prompt, kvl_err *err) {
    const kvl_policy *p = &r->once[policy - 1];
    const kvl_retrieval_prompt *text = &r->config->prompts[prompt];
    kvl_stream *stream = NULL;
    kvl_status status = KVL_OK;
    if (kvl_policy_has_schedule(p)) {
        const size_t n = n_first_of(r, text);
        int32_t ignored;
        KVL_GO(create_stream(r, &stream, text, kvl_policy_needs(p, r->shape), err));
        stream->is_cache_length_position = p->is_cache_length_position;
        KVL_GO(kvl_timing_prefill(r->engine, stream, p, text->ids.ids, n, kvl_engine_pass_rows(), r->rows,
                                  &ignored, err));
        KVL_GO(report(r, n, err));
    } else {
        KVL_GO(kvl_stream_fork(&stream, full, err));
        stream->is_cache_length_position = p->is_cache_length_position;
    }
    KVL_GO(kvl_engine_compress_if_due(r->engine, stream, p, err));
    KVL_GO(report(r, 0, err));
    add_lane(r, stream, policy, prompt);
    stream = NULL;
done:
    kvl_stream_destroy(stream);
    return status;
}

/* Lanes of one prompt, the full cache's first. */
static kvl_status open_prompt(run *r, size_t prompt, kvl_err *err) {
    kvl_stream *full = NULL;
    const kvl_retrieval_prompt *text = &r->config->prompts[prompt];
    const size_t first_lane = r->n_lanes;
    kvl_status status = create_stream(r, &full, text, r->needs, err);
    KVL_GO(status);
    KVL_GO(prefill(r, full, text, err));
    r->n_lanes++; /* kept for the full cache, which notes queries until all have forked */
    for (size_t p = 1; p <= r->config->n_policies; p++) {
        KVL_GO(open_lane(r, full, p, prompt, err));
    }
    const size_t n_lanes = r->n_lanes;
    r->n_lanes = first_lane;
    add_lane(r, full, 0, prompt);
    r->n_lanes = n_lanes;
    full = NULL;
done:
    kvl_stream_destroy(full);
    return status;
}

/* ---- answers ---- */

static size_t n_question_of(const run *r, const kvl_retrieval_prompt *p) {
    return p->ids.n - n_first_of(r, p);
}

/* The rest of a prompt under a policy that may act in it. */
static kvl_status ask_scheduled(run *r, lane *l, kvl_err *err) {
    const kvl_retrieval_prompt *p = l->prompt;
    const size_t n = n_question_of(r, p);
    KVL_TRY(kvl_timing_prefill(r->engine, l->stream, l->policy, p->ids.ids + p->ids.n - n, n, n, r->rows,
                               &l->token, err));
    KVL_TRY(kvl_engine_compress_if_due(r->engine, l->stream, l->policy, err));
    return report(r, n, err);
}

/* Feeds the rests of all prompts: together, but for policies that may act. */
static kvl_status ask(run *r, kvl_err *err) {
    size_t n_rows = 0;
    for (size_t i = 0; i < r->n_lanes; i++) {
        lane *l = &r->lanes[i];
        if (l->policy != NULL) {
            KVL_TRY(ask_scheduled(r, l, err));
        }
    }
    for (size_t i = 0; i < r->n_lanes; i++) {
        const lane *l = &r->lanes[i];
        const kvl_retrieval_prompt *p = l->prompt;
        for (size_t t = n_first_of(r, p); t < p->ids.n && l->policy == NULL; t++) {
            r->rows[n_rows++] = (kvl_row){
                .stream = l->stream, .token = p->ids.ids[t], .target = -1, .wants_top = t + 1 == p->ids.n};
        }
    }
    KVL_TRY(kvl_engine_forward(r->engine, r->rows, n_rows, err));
    size_t end = 0;
    for (size_t i = 0; i < r->n_lanes; i++) {
        lane *l = &r->lanes[i];
        if (l->policy == NULL) {
            end += n_question_of(r, l->prompt);
            l->token = r->rows[end - 1].top;
        }
    }
    return report(r, n_rows, err);
}

/* Takes the token a lane has come to; a lane whose answer has ended gives its cache up. */
static void take_token(run *r, lane *l) {
    kvl_retrieval_result *out = l->result;
    out->has_ended = l->token == r->stops[0] || l->token == r->stops[1];
    if (!out->has_ended) {
        out->ids[out->n_ids++] = l->token;
    }
    if (out->has_ended || out->n_ids == r->config->max_new) {
        kvl_stream_destroy(l->stream);
        l->stream = NULL;
        r->rows_done += r->config->max_new - out->n_ids - (out->n_ids == r->config->max_new ? 0 : 1);
    }
}

/* Greedy decoding, one token of each lane in a pass. */
static kvl_status answer(run *r, kvl_err *err) {
    for (;;) {
        size_t n_rows = 0;
        for (size_t i = 0; i < r->n_lanes; i++) {
            lane *l = &r->lanes[i];
            if (l->stream != NULL) {
                take_token(r, l);
            }
            if (l->stream != NULL) {
                r->rows[n_rows++] =
                    (kvl_row){.stream = l->stream, .token = l->token, .target = -1, .wants_top = true};
            }
        }
        if (n_rows == 0) {
            return KVL_OK;
        }
        KVL_TRY(kvl_engine_forward(r->engine, r->rows, n_rows, err));
        n_rows = 0;
        for (size_t i = 0; i < r->n_lanes; i++) {
            lane *l = &r->lanes[i];
            if (l->stream == NULL) {
                continue;
            }
            l->token = r->rows[n_rows++].top;
            if (l->policy != NULL) {
                KVL_TRY(kvl_engine_compress_if_due(r->engine, l->stream, l->policy, err));
            }
        }
        KVL_TRY(report(r, n_rows, err));
    }
}

static kvl_status read_answers(const run *r, kvl_err *err) {
    for (size_t i = 0; i < r->n_lanes; i++) {
        const lane *l = &r->lanes[i];
        kvl_retrieval_result *out = l->result;
        size_t n_bytes = 0;
        KVL_TRY(kvl_tokenizer_decode(r->config->tokenizer, &out->text, &n_bytes, out->ids, out->n_ids, true,
                                     err));
        out->n_found = kvl_retrieval_score(&l->prompt->words, out->text);
        out->is_right = out->n_found == l->prompt->words.n_answers;
    }
    return KVL_OK;
}

static kvl_status run_wave(run *r, size_t first, size_t end, kvl_err *err) {
    kvl_status status = KVL_OK;
    for (size_t i = first; i < end && status == KVL_OK; i++) {
        status = open_prompt(r, i, err);
    }
    KVL_GO(status);
    KVL_GO(ask(r, err));
    KVL_GO(answer(r, err));
    KVL_GO(read_answers(r, err));
done:
    for (size_t i = 0; i < r->n_lanes; i++) {
        kvl_stream_destroy(r->lanes[i].stream);
        r->lanes[i].stream = NULL;
    }
    r->n_lanes = 0;
    return status;
}

/* ---- memory ---- */

/* Bytes of a lane: while its context is being compressed, what is noted included, and from then on. */
typedef struct lane_bytes {
    uint64_t open, live;
} lane_bytes;

/* A counting stream that has seen n tokens more, compressed by a policy with a schedule where it fires. */
static kvl_status count_tokens(const run *r, kvl_stream *s, const kvl_policy *policy, size_t n,
                               kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        KVL_TRY(kvl_count_forward(r->shape, &(kvl_row){.stream = s}, 1, err));
        if (policy != NULL && kvl_policy_has_schedule(policy) && kvl_policy_fires(policy, s, r->shape)) {
            KVL_TRY(kvl_count_compress(r->shape, &(kvl_compress_job){s, policy}, 1, err));
        }
    }
    return KVL_OK;
}

/* policy NULL: the full cache. */
static kvl_status count_lane(lane_bytes *out, const run *r, const kvl_policy *policy, size_t n_first,
                             size_t n_rest, kvl_err *err) {
    kvl_stream *s = NULL;
    const bool has_schedule = policy != NULL && kvl_policy_has_schedule(policy);
    KVL_TRY(kvl_stream_create_counting(&s, r->shape, err));
    kvl_status status = KVL_OK;
    s->n_prefill = n_first;
    s->n_text = n_first + n_rest;
    KVL_GO(kvl_stream_watch(s, r->shape, has_schedule ? kvl_policy_needs(policy, r->shape) : r->needs, err));
    KVL_GO(count_tokens(r, s, policy, n_first, err));
    out->open = kvl_stream_tap_bytes(s, r->shape);
    if (policy != NULL && kvl_policy_fires(policy, s, r->shape)) {
        out->open += kvl_second_pass_bytes(policy, s, r->shape);
        KVL_GO(kvl_count_compress(r->shape, &(kvl_compress_job){s, policy}, 1, err));
    }
    out->open += kvl_cache_most_bytes(s->cache);
    if (!has_schedule) {
        kvl_stream_unwatch(s);
    }
    KVL_GO(count_tokens(r, s, policy, n_rest, err));
    out->live = kvl_cache_most_bytes(s->cache) + kvl_stream_tap_bytes(s, r->shape);
done:
    kvl_stream_destroy(s);
    return status;
}

/* How many prompts run at once: as many as the memory has room for, when prompts are like the longest, and no
 * more than make reading the weights cheap. */
static kvl_status plan_waves(size_t *n_at_once, const run *r, kvl_err *err) {
    enum { MIB = 1 << 20, enough_lanes = 64 };
    const kvl_retrieval_config *c = r->config;
    const kvl_model *model = kvl_engine_model(r->engine);
    const kvl_retrieval_prompt *longest = &c->prompts[0];
    for (size_t i = 1; i < c->n_prompts; i++) {
        longest = c->prompts[i].ids.n > longest->ids.n ? &c->prompts[i] : longest;
    }
    const size_t n_first = n_first_of(r, longest);
    const size_t n_rest = longest->ids.n - n_first + c->max_new;
    lane_bytes full, other;
    uint64_t open = 0; /* the most that one prompt takes beyond its lanes, while these are made */
    KVL_TRY(count_lane(&full, r, NULL, n_first, n_rest, err));
    uint64_t live = full.live;
    for (size_t p = 0; p < c->n_policies; p++) {
        KVL_TRY(kvl_budget_check(&r->once[p], r->shape, n_first, err));
        KVL_TRY(count_lane(&other, r, &r->once[p], n_first, n_rest, err));
        live += other.live;
        open = other.open > open ? other.open : open;
    }
    open += full.open;
    const uint64_t most = kvl_plan_most_scratch_bytes(model, r->once, c->n_policies,
                                                      kvl_engine_threads(r->engine), n_first + n_rest);
    const uint64_t now = kvl_engine_scratch_bytes(r->engine);
    const uint64_t fixed = model->weight_bytes + (most > now ? most : now) +
                           kvl_plan_copied_bytes(r->shape, kvl_engine_threads(r->engine), n_first + n_rest) +
                           open;
    if (c->memory_bytes != 0 && fixed + live > c->memory_bytes) {
        return kvl_fail(
            err, KVL_E_NOMEM,
            "retrieval: expected at least %.1f MiB of memory for one prompt of %zu tokens with %zu "
            "policies, found a limit of %.1f MiB",
            (double)(fixed + live) / MIB + 0.05, longest->ids.n, c->n_policies,
            (double)c->memory_bytes / MIB);
    }
    *n_at_once = kvl_min_size(c->n_prompts, kvl_max_size(1, enough_lanes / (c->n_policies + 1)));
    if (c->memory_bytes != 0) {
        *n_at_once = kvl_min_size(*n_at_once, (size_t)((c->memory_bytes - fixed) / live));
    }
    return KVL_OK;
}

/* ---- all together ---- */

static kvl_status prepare(run *r, kvl_err *err) {
    const kvl_retrieval_config *c = r->config;
    const kvl_tokenizer *t = c->tokenizer;
    r->stops[0] = kvl_tokenizer_eos(t);
    r->stops[1] = kvl_tokenizer_find(t, "<|im_end|>");
    r->once = kvl_calloc(c->n_policies, sizeof *r->once);
    if (r->once == NULL && c->n_policies != 0) {
        return kvl_fail_nomem(err, "retrieval");
    }
    for (size_t p = 0; p < c->n_policies; p++) {
        r->once[p] = kvl_timing_once(&c->policies[p]);
        if (kvl_policy_has_schedule(&r->once[p])) {
            r->n_schedules++;
        } else {
            r->needs = kvl_needs_join(r->needs, kvl_policy_needs(&r->once[p], r->shape));
        }
    }
    for (size_t i = 0; i < c->n_prompts * (c->n_policies + 1); i++) {
        r->out[i].ids = kvl_calloc(c->max_new, sizeof *r->out[i].ids);
        if (r->out[i].ids == NULL) {
            return kvl_fail_nomem(err, "results");
        }
    }
    for (size_t i = 0; i < c->n_prompts; i++) {
        r->rows_total += n_first_of(r, &c->prompts[i]) * (r->n_schedules + 1) +
                         (c->n_policies + 1) * (n_question_of(r, &c->prompts[i]) + c->max_new - 1);
    }
    return KVL_OK;
}

static kvl_status run_waves(run *r, kvl_err *err) {
    const kvl_retrieval_config *c = r->config;
    size_t n_at_once = 0, n_question = 0;
    KVL_TRY(plan_waves(&n_at_once, r, err));
    for (size_t i = 0; i < c->n_prompts; i++) {
        n_question = kvl_max_size(n_question, n_question_of(r, &c->prompts[i]));
    }
    const size_t n_lanes = n_at_once * (c->n_policies + 1);
    r->lanes = kvl_calloc(n_lanes, sizeof *r->lanes);
    r->rows = kvl_calloc(kvl_max_size(n_lanes * n_question, kvl_engine_pass_rows()), sizeof *r->rows);
    if (r->lanes == NULL || r->rows == NULL) {
        return kvl_fail_nomem(err, "retrieval");
    }
    for (size_t first = 0; first < c->n_prompts; first += n_at_once) {
        KVL_TRY(run_wave(r, first, kvl_min_size(c->n_prompts, first + n_at_once), err));
    }
    return KVL_OK;
}

kvl_status kvl_retrieval_run(kvl_retrieval_result *out, kvl_engine *engine,
                             const kvl_retrieval_config *config, kvl_err *err) {
    run r = {.engine = engine, .shape = &kvl_engine_model(engine)->shape, .config = config, .out = out};
    memset(out, 0, (config->n_policies + 1) * config->n_prompts * sizeof *out);
    kvl_status status = prepare(&r, err);
    if (status == KVL_OK && config->n_prompts != 0) {
        status = run_waves(&r, err);
    }
    kvl_free(r.once);
    kvl_free(r.lanes);
    kvl_free(r.rows);
    return status;
}

void kvl_retrieval_free(kvl_retrieval_result *results, size_t n) {
    for (size_t i = 0; results != NULL && i < n; i++) {
        kvl_free(results[i].ids);
        kvl_free(results[i].text);
        results[i] = (kvl_retrieval_result){0};
    }
}
