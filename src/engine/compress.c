/* Compression: score, select, apply. Heads that are compressed by themselves one after another, inside a pass
 * too, where attention.c calls it head by head; otherwise the heads of a layer together. Between passes one
 * item per (job, layer). */
#include "engine/engine_int.h"

#include "base/alloc.h"
#include "press/select.h"

#include <string.h>

/* A job while it is done. */
typedef struct work {
    kvli_event event;
    kvli_lists learned;
} work;

typedef struct batch {
    kvl_engine *e;
    work *works; /* of the jobs */
} batch;

size_t kvli_target_of(const kvl_policy *policy, const kvl_cache *cache, const kvl_moment *moment,
                      const kvl_shape *shape, uint32_t layer, uint32_t head) {
    const size_t n = kvl_cache_len(cache, layer, head);
    const kvl_press_node *node = kvl_policy_turn(policy, moment).node;
    if (node == NULL || !kvl_press_is_ragged(node)) {
        return kvl_policy_target(policy, shape, moment, layer, head, n);
    }
    /* heads that compete may hold different numbers: what counts is their mean */
    const bool is_global = kvl_press_is_global(node);
    size_t total = 0;
    size_t n_heads = 0;
    for (uint32_t l = is_global ? 0 : layer; l < (is_global ? shape->n_layers : layer + 1); l++) {
        for (uint32_t k = 0; k < shape->n_kv_heads && !kvl_policy_skips(policy, l); k++) {
            total += kvl_cache_len(cache, l, k);
            n_heads++;
        }
    }
    const size_t mean = n_heads != 0 ? (total + n_heads - 1) / n_heads : 0;
    const size_t target = kvl_policy_target(policy, shape, moment, layer, head, mean);
    return target < mean && n_heads * target < total ? target : n;
}

kvl_thinning kvli_thinning_left(const kvl_press_node *node, const kvl_cache *cache, const kvl_shape *shape,
                                uint32_t layer, uint32_t head) {
    const kvl_press_node *thinner = kvl_press_thinner(node);
    const bool is_thin = kvl_cache_thin_keys(cache, layer, head).n_channels != 0;
    if (thinner == NULL || is_thin) {
        return (kvl_thinning){0};
    }
    const kvl_thinning thinning = thinner->press->thin(thinner, shape);
    const bool acts =
        thinning.n_channels < shape->head_dim && kvl_cache_len(cache, layer, head) > thinning.n_recent;
    return acts ? thinning : (kvl_thinning){0};
}

bool kvli_acts_on_head(const kvl_policy *policy, const kvl_cache *cache, const kvl_moment *moment,
                       const kvl_shape *shape, uint32_t layer, uint32_t head) {
    const size_t n = kvl_cache_len(cache, layer, head);
    return kvli_target_of(policy, cache, moment, shape, layer, head) < n ||
           (kvl_policy_thinning(policy, shape, moment, layer, n).n_channels != 0 &&
            kvli_thinning_left(kvl_policy_turn(policy, moment).node, cache, shape, layer, head).n_channels !=
                0);
}

bool kvl_policy_is_by_head(const kvl_policy *policy) {
    return kvl_press_is_by_head(policy->tree) && !kvl_press_is_ragged(policy->tree);
}

bool kvl_policy_fires(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape) {
    const kvl_moment now = kvli_moment_of(stream);
    if (kvl_policy_turn(policy, &now).node == NULL) {
        return false;
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            if (kvli_acts_on_head(policy, stream->cache, &now, shape, layer, head)) {
                return true;
            }
        }
    }
    return false;
}

bool kvl_policies_act_alike(const kvl_policy *a, const kvl_policy *b, const kvl_stream *stream,
                            const kvl_shape *shape) {
    const kvl_moment now = kvli_moment_of(stream);
    if (memcmp(a->tree, b->tree, sizeof a->tree) != 0 || a->protections.n_sinks != b->protections.n_sinks ||
        a->protections.n_recent != b->protections.n_recent || memcmp(a->skip, b->skip, sizeof a->skip) != 0 ||
        a->protections.is_score_order != b->protections.is_score_order ||
        a->is_cache_length_position != b->is_cache_length_position) {
        return false;
    }
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
            if (kvli_target_of(a, stream->cache, &now, shape, layer, head) !=
                kvli_target_of(b, stream->cache, &now, shape, layer, head)) {
                return false;
            }
        }
    }
    return true;
}

kvl_status kvli_check_needs(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *shape,
                            kvl_err *err) {
    const kvl_needs needs = kvl_policy_needs(policy, shape);
    if (needs.has_calibration && shape->calibration == NULL) {
        return kvl_fail(err, KVL_E_CHECK,
                        "press %s: expected statistics of the model (kvlab calibrate), found none",
                        kvl_policy_press(policy)->name);
    }
    if (kvl_needs_are_met(needs, stream->needs)) {
        return KVL_OK;
    }
    return kvl_fail(err, KVL_E_CHECK, "press %s: expected a stream that notes what it needs, found none",
                    kvl_policy_press(policy)->name);
}

/* ---- the moment as presses see it ---- */

kvl_layer_view kvli_layer_view(const kvl_engine *e, const kvli_event *event, uint32_t layer) {
    const kvl_layer *weights = &e->model->layers[layer];
    const kvl_rope *rope = &e->model->ropes[weights->rope];
    return (kvl_layer_view){
        .shape = &e->model->shape,
        .kernels = e->kernels,
        .layer = layer,
        .n_seen = event->moment.n_seen,
        .n_prefill = event->moment.n_prefill,
        .event = event->moment.n_events,
        .seed = event->stream->seed,
        .is_local = weights->is_local,
        .cache = event->stream->cache,
        .tap = event->stream->tap,
        .weights = weights,
        .rope = rope->frequencies != NULL && e->model->shape.n_rotary != 0 ? rope : NULL,
        .is_cache_length_position = event->stream->is_cache_length_position,
        .n_moved = event->stream->n_moved,
        .len_moved = event->stream->len_moved,
        .learned =
            event->learned != NULL ? event->learned + (size_t)layer * e->model->shape.n_kv_heads : NULL,
    };
}

kvl_head_view kvli_head_view(const kvl_layer_view *in, uint32_t head, size_t target) {
    const kvl_head_entries entries = kvl_cache_entries(in->cache, in->layer, head);
    return (kvl_head_view){
        .in = in, .head = head, .n = entries.n, .positions = entries.positions, .target = target};
}

/* Blocks of a thread's scratch, handed out in order. */
static void *take(char **at, size_t n_bytes) {
    void *block = *at;
    *at += kvl_round_up(n_bytes, KVL_ALIGN_BYTES);
    return block;
}

static float *take_floats(float **at, size_t n) {
    float *block = *at;
    *at += kvl_round_up(n, 16);
    return block;
}

/* What a selection failed with, by the name of the press. */
kvl_status kvli_name_press(const kvl_policy *policy, kvl_status status, kvl_err *err) {
    if (status != KVL_OK && err != NULL) {
        const kvl_err found = *err;
        status = kvl_fail(err, status, "press %s: %s", kvl_policy_press(policy)->name, found.msg);
    }
    return status;
}

/* ---- heads by themselves ---- */

kvl_status kvli_compress_head(kvl_engine *e, const kvli_event *event, uint32_t layer, uint32_t head,
                              unsigned thread, kvl_err *err) {
    const kvl_policy *policy = event->policy;
    kvl_cache *cache = event->stream->cache;
    const size_t target = kvli_target_of(policy, cache, &event->moment, &e->model->shape, layer, head);
    if (target >= kvl_cache_len(cache, layer, head)) {
        return KVL_OK;
    }
    KVL_TRY(kvl_cache_own(cache, layer, head, err)); /* presses see one list */
    const kvl_layer_view in = kvli_layer_view(e, event, layer);
    const kvl_head_view view = kvli_head_view(&in, head, target);
    const kvl_press_node *node = kvl_press_scorer(kvl_policy_turn(policy, &event->moment).node);
    float *floats = e->scratch[thread].floats;
    char *bytes = e->scratch[thread].bytes;
    float *scores = take_floats(&floats, view.n);
    uint32_t *slots = take(&bytes, view.n * sizeof *slots);
    node->press->score(node->conf, &view, scores, floats);
    KVL_TRY(kvli_name_press(
        policy, kvl_select(slots, target, &policy->protections, scores, view.positions, view.n, bytes, err),
        err));
    KVL_TRY(kvl_cache_keep(cache, layer, head, slots, target, err));
    if (event->stream->departures != NULL) {
        kvl_departures_note_head(event->stream->departures, cache, layer, head, (size_t)event->moment.n_seen);
    }
    return KVL_OK;
}

/* ---- heads of a layer together ---- */

static bool moves_keys(const kvli_event *event) {
    const kvl_press_node *node = kvl_policy_turn(event->policy, &event->moment).node;
    return node != NULL && kvl_press_moves_keys(node);
}

/* Whether the policy acts on the layer; makes the lists of its heads their own, since presses see one list.
 */
static kvl_status begin_layer(const kvli_event *event, const kvl_shape *s, uint32_t layer, bool *acts,
                              kvl_err *err) {
    *acts = moves_keys(event) && !kvl_policy_skips(event->policy, layer);
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        *acts =
            *acts || kvli_acts_on_head(event->policy, event->stream->cache, &event->moment, s, layer, head);
    }
    for (uint32_t head = 0; *acts && head < s->n_kv_heads; head++) {
        KVL_TRY(kvl_cache_own(event->stream->cache, layer, head, err));
    }
    return KVL_OK;
}

/* A layer of a compression: its view, and the lists of its heads in a thread's scratch. */
typedef struct layer_lists {
    kvl_layer_view view;
    kvl_head_view *heads;
    kvl_choice *choices;
    float **scores;
    float *floats; /* what is left of the scratch */
    char *bytes;
} layer_lists;

/* Who acts where. */
typedef struct act {
    kvl_engine *e;
    const kvli_event *event;
    uint32_t layer;
    unsigned thread;
} act;

/* Targets of the heads, one list for each sequence within each other and one for their parts. */
static size_t targets_bytes(const kvl_shape *s) {
    return kvl_round_up((KVL_POLICY_MAX_PRESSES + 1) * s->n_kv_heads * sizeof(size_t), KVL_ALIGN_BYTES);
}

/* view.heads points into scratch; view itself must stay where it is. targets [K] */
static void open_lists(layer_lists *l, const act *a, const size_t *targets) {
    const kvl_shape *s = &a->e->model->shape;
    l->view = kvli_layer_view(a->e, a->event, a->layer);
    l->floats = a->e->scratch[a->thread].floats;
    l->bytes = (char *)a->e->scratch[a->thread].bytes + targets_bytes(s);
    l->heads = take(&l->bytes, s->n_kv_heads * sizeof *l->heads);
    l->choices = take(&l->bytes, s->n_kv_heads * sizeof *l->choices);
    l->scores = take(&l->bytes, s->n_kv_heads * sizeof *l->scores);
    l->view.heads = l->heads;
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        l->heads[head] = kvli_head_view(&l->view, head, targets[head]);
        l->scores[head] = take_floats(&l->floats, l->heads[head].n);
        l->choices[head].slots = take(&l->bytes, l->heads[head].n * sizeof *l->choices[head].slots);
    }
}

/* Entries of all heads of the layer. */
static size_t count_entries(const act *a) {
    size_t n = 0;
    for (uint32_t head = 0; head < a->e->model->shape.n_kv_heads; head++) {
        n += kvl_cache_len(a->event->stream->cache, a->layer, head);
    }
    return n;
}

/* What a press that only changes entries leaves: all of them. */
static void choose_all(const layer_lists *l) {
    for (uint32_t head = 0; head < l->view.shape->n_kv_heads; head++) {
        l->choices[head].n = l->heads[head].n;
        for (size_t j = 0; j < l->heads[head].n; j++) {
            l->choices[head].slots[j] = (uint32_t)j;
        }
    }
}

/* What stays of a head may lose channels of its keys. */
static kvl_status thin_head(const act *a, const kvl_press_node *node, const kvl_layer_view *in, uint32_t head,
                            float *scratch, kvl_err *err) {
    uint16_t channels[KVL_MAX_HEAD_DIM];
    kvl_cache *cache = a->event->stream->cache;
    const kvl_thinning thinning = kvli_thinning_left(node, cache, in->shape, a->layer, head);
    if (thinning.n_channels == 0) {
        return KVL_OK;
    }
    const kvl_head_view view = kvli_head_view(in, head, kvl_cache_len(cache, a->layer, head));
    kvl_press_channels(kvl_press_thinner(node), &view, channels, thinning.n_channels, scratch);
    return kvl_cache_thin(cache, a->layer, head, channels, thinning.n_channels, thinning.n_recent, err);
}

static kvl_status compress_heads(const act *a, const kvl_press_node *node, const size_t *targets,
                                 kvl_err *err) {
    const kvl_policy *policy = a->event->policy;
    kvl_cache *cache = a->event->stream->cache;
    layer_lists l;
    open_lists(&l, a, targets);
    if (kvl_press_evicts(node)) {
        kvl_press_score_layer(node, &l.view, l.scores, l.floats);
        KVL_TRY(kvli_name_press(policy,
                                kvl_press_select(node, &l.view, l.scores, l.choices, &policy->protections,
                                                 l.floats, l.bytes, err),
                                err));
    } else {
        choose_all(&l);
    }
    for (uint32_t head = 0; head < a->e->model->shape.n_kv_heads; head++) {
        kvl_press_alter(node, &l.heads[head], cache, &l.choices[head], l.floats);
        if (l.choices[head].n < l.heads[head].n) {
            KVL_TRY(kvl_cache_keep(cache, a->layer, head, l.choices[head].slots, l.choices[head].n, err));
        }
        KVL_TRY(thin_head(a, node, &l.view, head, l.floats, err));
    }
    return KVL_OK;
}

/* Entries of a head by which its target is found: where heads compete, the mean. */
static size_t entries_of(const act *a, const kvl_press_node *node, uint32_t head) {
    const size_t n_heads = a->e->model->shape.n_kv_heads;
    return kvl_press_is_ragged(node) ? (count_entries(a) + n_heads - 1) / n_heads
                                     : kvl_cache_len(a->event->stream->cache, a->layer, head);
}

/* The targets of a part of a sequence, whose heads have targets of their own: whether it evicts anything. */
static bool find_targets(const act *a, const kvl_press_node *sequence, unsigned index, const size_t *all,
                         size_t *targets) {
    const kvl_shape *s = &a->e->model->shape;
    const kvl_press_node *part = kvl_press_inner(sequence, index);
    const size_t total = count_entries(a);
    size_t left = 0;
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        const size_t n = entries_of(a, part, head);
        targets[head] = kvl_press_part_target(sequence, index, s, a->layer, n, all[head]);
        left += targets[head];
    }
    for (uint32_t head = 0; head < s->n_kv_heads && left >= total; head++) {
        targets[head] = kvl_cache_len(a->event->stream->cache, a->layer, head);
    }
    return left < total;
}

/* A press, or the parts of a sequence in order; targets [K], and behind them room for those of its parts. */
static kvl_status run_press(const act *a, const kvl_press_node *node, size_t *targets, kvl_err *err) {
    const kvl_press_node *sequence = kvl_press_sequence(node);
    size_t *next = targets + a->e->model->shape.n_kv_heads;
    if (sequence == NULL) {
        return compress_heads(a, node, targets, err);
    }
    for (unsigned i = 0; i < sequence->press->n_inner; i++) {
        const kvl_press_node *part = kvl_press_inner(sequence, i);
        if (find_targets(a, sequence, i, targets, next) || kvl_press_alters(part)) {
            KVL_TRY(run_press(a, part, next, err));
        }
    }
    return KVL_OK;
}

/* What the policy leaves of each head of the layer; for a sequence what its budget says, of which the parts
 * make something. */
static size_t *layer_targets(const act *a, const kvl_press_node *node) {
    const kvl_shape *s = &a->e->model->shape;
    const kvli_event *event = a->event;
    size_t *targets = a->e->scratch[a->thread].bytes;
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        targets[head] =
            kvl_press_sequence(node) != NULL
                ? kvl_policy_share(event->policy, s, &event->moment, a->layer, entries_of(a, node, head))
                : kvli_target_of(event->policy, event->stream->cache, &event->moment, s, a->layer, head);
    }
    return targets;
}

static bool is_global(const kvli_event *event) {
    const kvl_press_node *node = kvl_policy_turn(event->policy, &event->moment).node;
    return node != NULL && kvl_press_is_global(node);
}

static kvl_status compress_layer(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const batch *b = ud;
    const kvl_shape *shape = &b->e->model->shape;
    const kvli_event *event = &b->works[item / shape->n_layers].event;
    const uint32_t layer = (uint32_t)(item % shape->n_layers);
    if (is_global(event)) {
        return KVL_OK;
    }
    if (!kvl_policy_is_by_head(event->policy)) {
        bool acts = false;
        KVL_TRY(begin_layer(event, shape, layer, &acts, err));
        const act a = {b->e, event, layer, thread};
        const kvl_press_node *node = kvl_policy_turn(event->policy, &event->moment).node;
        return acts ? run_press(&a, node, layer_targets(&a, node), err) : KVL_OK;
    }
    for (uint32_t head = 0; head < shape->n_kv_heads; head++) {
        KVL_TRY(kvli_compress_head(b->e, event, layer, head, thread, err));
    }
    return KVL_OK;
}

/* ---- scratch ---- */

/* Scores, and lists, of all heads of a layer. */
static size_t layer_floats(const kvl_policy *policy, const kvl_shape *s, size_t n) {
    return s->n_kv_heads * kvl_round_up(n, 16) + kvl_press_scratch_floats(policy->tree, s, n);
}

static size_t layer_bytes(const kvl_shape *s, size_t n) {
    const size_t list_bytes = sizeof(kvl_head_view) + sizeof(kvl_choice) + sizeof(float *);
    return s->n_kv_heads * (kvl_round_up(n * sizeof(uint32_t), KVL_ALIGN_BYTES) + list_bytes) +
           3 * (size_t)KVL_ALIGN_BYTES + targets_bytes(s);
}

size_t kvli_compress_floats(const kvl_policy *policy, const kvl_shape *shape, size_t n) {
    return kvl_policy_is_by_head(policy)
               ? kvl_round_up(n, 16) + kvl_press_scratch_floats(policy->tree, shape, n)
               : layer_floats(policy, shape, n);
}

size_t kvli_compress_bytes(const kvl_policy *policy, const kvl_shape *shape, size_t n) {
    return kvl_policy_is_by_head(policy)
               ? kvl_round_up(n * sizeof(uint32_t), KVL_ALIGN_BYTES) + kvl_select_scratch_bytes(n)
               : layer_bytes(shape, n) + kvl_select_scratch_bytes(shape->n_kv_heads * n);
}

static size_t longest_head(const kvl_cache *cache, const kvl_shape *s) {
    size_t longest = 0;
    for (size_t i = 0; i < (size_t)s->n_layers * s->n_kv_heads; i++) {
        const size_t n = kvl_cache_len(cache, (uint32_t)(i / s->n_kv_heads), (uint32_t)(i % s->n_kv_heads));
        longest = kvl_max_size(longest, n);
    }
    return longest;
}

/* Scratch for the largest head of all jobs. */
static kvl_status prepare(kvl_engine *e, const kvl_compress_job *jobs, size_t n_jobs, kvl_err *err) {
    const kvl_shape *shape = &e->model->shape;
    size_t n_floats = 0;
    size_t n_bytes = 0;
    for (size_t j = 0; j < n_jobs; j++) {
        const kvl_policy *policy = jobs[j].policy;
        const size_t longest = longest_head(jobs[j].stream->cache, shape);
        KVL_TRY(kvli_check_needs(policy, jobs[j].stream, shape, err));
        n_floats = kvl_max_size(n_floats, kvli_compress_floats(policy, shape, longest));
        n_bytes = kvl_max_size(n_bytes, kvli_compress_bytes(policy, shape, longest));
    }
    return kvli_engine_scratch(e, n_floats, n_bytes, err);
}

static void end_event(const kvli_event *event) {
    kvl_stream *stream = event->stream;
    stream->n_events++;
    kvl_stream_note_departures(stream);
    if (moves_keys(event)) {
        stream->is_cache_length_position = true;
        stream->n_moved = event->moment.n_seen;
        stream->len_moved = kvl_cache_len(stream->cache, 0, 0);
    }
}

static kvl_status run_works(batch *b, const kvl_compress_job *jobs, size_t n_jobs, kvl_err *err) {
    for (size_t j = 0; j < n_jobs; j++) {
        work *w = &b->works[j];
        w->event = (kvli_event){jobs[j].stream, jobs[j].policy, kvli_moment_of(jobs[j].stream), NULL};
        KVL_TRY(kvli_look_again(b->e, &w->event, &w->learned, err));
        w->event.learned = w->learned.heads;
    }
    KVL_TRY(prepare(b->e, jobs, n_jobs, err));
    KVL_TRY(kvli_engine_run(b->e, n_jobs * b->e->model->shape.n_layers, compress_layer, b, err));
    for (size_t j = 0; j < n_jobs; j++) {
        if (is_global(&b->works[j].event)) {
            KVL_TRY(kvli_compress_global(b->e, &b->works[j].event, err));
        }
        end_event(&b->works[j].event);
    }
    return KVL_OK;
}

kvl_status kvl_engine_compress(kvl_engine *e, const kvl_compress_job *jobs, size_t n_jobs, kvl_err *err) {
    batch b = {e, kvl_calloc(kvl_max_size(1, n_jobs), sizeof *b.works)};
    kvl_status status =
        b.works != NULL ? run_works(&b, jobs, n_jobs, err) : kvl_fail_nomem(err, "compression");
    for (size_t j = 0; b.works != NULL && j < n_jobs; j++) {
        kvli_lists_free(&b.works[j].learned);
    }
    kvl_free(b.works);
    return status;
}

kvl_status kvl_engine_compress_if_due(kvl_engine *e, kvl_stream *stream, const kvl_policy *policy,
                                      kvl_err *err) {
    return kvl_policy_fires(policy, stream, &e->model->shape)
               ? kvl_engine_compress(e, &(kvl_compress_job){stream, policy}, 1, err)
               : KVL_OK;
}

/* Scores of all layers, one after another. */
static kvl_status rank_layers(kvl_engine *e, const kvli_event *event, float *scores, kvl_err *err) {
    const kvl_shape *s = &e->model->shape;
    const size_t longest = longest_head(event->stream->cache, s);
    KVL_TRY(kvli_engine_scratch(e, layer_floats(event->policy, s, longest), layer_bytes(s, longest), err));
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        layer_lists l;
        const act a = {e, event, layer, 0};
        open_lists(&l, &a, layer_targets(&a, event->policy->tree));
        kvl_press_score_layer(event->policy->tree, &l.view, l.scores, l.floats);
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            memcpy(scores, l.scores[head], l.heads[head].n * sizeof *scores);
            scores += l.heads[head].n;
        }
    }
    return KVL_OK;
}

kvl_status kvl_engine_rank(kvl_engine *e, kvl_stream *stream, const kvl_policy *policy, float *scores,
                           kvl_err *err) {
    kvli_event event = {stream, policy, kvli_moment_of(stream), NULL};
    kvli_lists learned = {0};
    KVL_TRY(kvli_check_needs(policy, stream, &e->model->shape, err));
    if (!kvl_press_evicts(policy->tree)) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press %s: expected one that ranks entries, found one that does not",
                        kvl_policy_press(policy)->name);
    }
    kvl_status status = kvli_look_again(e, &event, &learned, err);
    if (status == KVL_OK) {
        event.learned = learned.heads;
        status = rank_layers(e, &event, scores, err);
    }
    kvli_lists_free(&learned);
    return status;
}
