/* Presses that look again: second passes on copies of a stream, and choices among all layers.
 *
 * A second pass runs behind the stream's tokens on a fork, whose tap notes the queries of that pass only;
 * then each layer of the fork tells the press what its entries were worth. The stream itself stays as it is.
 */
#include "engine/engine_int.h"

#include "base/alloc.h"
#include "press/select.h"

void kvl_engine_set_prompts(kvl_engine *e, const kvl_prompts *prompts) { e->prompts = prompts; }

static size_t n_all_heads(const kvl_shape *s) { return (size_t)s->n_layers * s->n_kv_heads; }

static size_t length_of(const kvl_cache *cache, const kvl_shape *s, size_t i) {
    return kvl_cache_len(cache, (uint32_t)(i / s->n_kv_heads), (uint32_t)(i % s->n_kv_heads));
}

static kvl_status create_lists(kvli_lists *out, const kvl_cache *cache, const kvl_shape *s, kvl_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < n_all_heads(s); i++) {
        n += length_of(cache, s, i);
    }
    out->data = kvl_calloc(n, sizeof *out->data);
    out->heads = kvl_calloc(n_all_heads(s), sizeof *out->heads);
    if (out->data == NULL || out->heads == NULL) {
        return kvl_fail_nomem(err, "scores of all layers");
    }
    float *at = out->data;
    for (size_t i = 0; i < n_all_heads(s); i++) {
        out->heads[i] = at;
        at += length_of(cache, s, i);
    }
    return KVL_OK;
}

void kvli_lists_free(kvli_lists *lists) {
    kvl_free(lists->data);
    kvl_free(lists->heads);
    *lists = (kvli_lists){0};
}

/* ---- second passes ---- */

typedef struct second_pass {
    kvl_engine *e;
    const kvl_press_node *node;
    const kvl_policy *policy;
    kvl_replay replay;
    kvl_stream *copy;
    kvl_row *rows;        /* [room of replay.ids] */
    kvl_head_view *heads; /* [L K] */
    kvli_lists *learned;
} second_pass;

static kvl_status open_copy(second_pass *p, const kvl_stream *stream, kvl_err *err) {
    kvl_stream bare = *stream; /* queries of its own pass are not looked at */
    bare.tap = NULL;
    bare.departures = NULL;
    bare.needs = (kvl_needs){.n_queries = (uint32_t)p->replay.n,
                             .has_mass = stream->needs.has_mass,
                             .is_mass_late = stream->needs.is_mass_late,
                             .has_inputs = true};
    KVL_TRY(kvl_stream_fork(&p->copy, &bare, err));
    return kvl_tap_create(&p->copy->tap, &p->e->model->shape, p->copy->needs, err);
}

static kvl_status learn_layer(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const second_pass *p = ud;
    const uint32_t n_heads = p->e->model->shape.n_kv_heads;
    const uint32_t layer = (uint32_t)item;
    kvl_head_view *heads = p->heads + item * n_heads;
    const kvli_event event = {.stream = p->copy, .policy = p->policy, .moment = kvli_moment_of(p->copy)};
    kvl_layer_view view = kvli_layer_view(p->e, &event, layer);
    for (uint32_t head = 0; head < n_heads; head++) {
        KVL_TRY(kvl_cache_own(p->copy->cache, layer, head, err));
        heads[head] = kvli_head_view(&view, head, 0);
    }
    view.heads = heads;
    p->node->press->learn(p->node, &view, &p->replay, p->learned->heads + item * n_heads,
                          p->e->scratch[thread].floats);
    return KVL_OK;
}

static kvl_status run_pass(second_pass *p, const kvl_stream *stream, kvl_err *err) {
    kvl_engine *e = p->e;
    const kvl_shape *s = &e->model->shape;
    KVL_TRY(open_copy(p, stream, err));
    for (size_t i = 0; i < p->replay.n; i++) {
        p->rows[i] = (kvl_row){.stream = p->copy, .token = p->replay.ids[i], .target = -1};
    }
    KVL_TRY(kvl_engine_forward(e, p->rows, p->replay.n, err));
    size_t longest = 0;
    for (size_t i = 0; i < n_all_heads(s); i++) {
        longest = kvl_max_size(longest, length_of(p->copy->cache, s, i));
    }
    KVL_TRY(kvli_engine_scratch(e, kvl_press_scratch_floats(p->node, s, longest), 0, err));
    return kvli_engine_run(e, s->n_layers, learn_layer, p, err);
}

static kvl_status run_passes(second_pass *p, const kvl_stream *stream, kvl_err *err) {
    const kvl_context context = {
        .text = stream->text, .n_text = stream->n_text, .n_seen = stream->n_seen, .prompts = p->e->prompts};
    for (size_t round = 0;; round++) {
        p->replay.n = 0;
        KVL_TRY(p->node->press->replay(p->node, &context, round, &p->replay, err));
        if (p->replay.n == 0) {
            return KVL_OK;
        }
        kvl_status status = run_pass(p, stream, err);
        kvl_stream_destroy(p->copy);
        p->copy = NULL;
        KVL_TRY(status);
    }
}

kvl_status kvli_look_again(kvl_engine *e, const kvli_event *event, kvli_lists *out, kvl_err *err) {
    const kvl_press_node *turn = kvl_policy_turn(event->policy, &event->moment).node;
    const kvl_shape *s = &e->model->shape;
    const kvl_prompts none = {0};
    const kvl_prompts *prompts = e->prompts != NULL ? e->prompts : &none;
    const size_t room = (size_t)event->stream->n_text + prompts->n_first + prompts->n_next +
                        prompts->n_suffix + KVL_REPLAY_MORE;
    kvl_status status = KVL_OK;
    second_pass p = {.e = e,
                     .node = kvl_press_replayer(turn != NULL ? turn : event->policy->tree),
                     .policy = event->policy,
                     .learned = out};
    if (p.node == NULL) {
        return KVL_OK;
    }
    p.replay.ids = kvl_calloc(room, sizeof *p.replay.ids);
    p.rows = kvl_calloc(room, sizeof *p.rows);
    p.heads = kvl_calloc(n_all_heads(s), sizeof *p.heads);
    if (p.replay.ids == NULL || p.rows == NULL || p.heads == NULL) {
        KVL_GO(kvl_fail_nomem(err, "second pass"));
    }
    KVL_GO(create_lists(out, event->stream->cache, s, err));
    KVL_GO(run_passes(&p, event->stream, err));
done:
    kvl_free(p.replay.ids);
    kvl_free(p.rows);
    kvl_free(p.heads);
    return status;
}

uint64_t kvl_second_pass_bytes(const kvl_policy *policy, const kvl_stream *stream, const kvl_shape *s) {
    if (!kvl_press_looks_again(policy->tree)) {
        return 0;
    }
    uint64_t bytes = 0;
    const size_t n_tokens = (size_t)stream->n_text + KVL_REPLAY_MORE;
    for (size_t i = 0; i < n_all_heads(s); i++) { /* room may be half as much again */
        const size_t n = length_of(stream->cache, s, i) + n_tokens;
        bytes += kvl_cache_head_bytes(s, stream->needs.has_mass, kvl_cache_grown_cap(0, n + n / 2));
    }
    const kvl_needs needs = {.n_queries = (uint32_t)n_tokens, .has_inputs = true};
    return bytes + kvl_tap_bytes_of(s, needs, n_tokens);
}

/* ---- choices among all layers ---- */

typedef struct global_choice {
    kvl_engine *e;
    const kvli_event *event;
    const kvl_press_node *node;
    uint32_t *layers; /* [n_layers] that the policy acts on */
    size_t n_layers;
    kvl_layer_view *views; /* [n_layers] */
    kvl_head_view *heads;  /* [n_layers K] */
    float **scores;
    kvl_choice *choices;
    uint32_t *slots; /* of all choices */
    kvli_lists lists;
    void *select;
} global_choice;

static void find_layers(global_choice *g) {
    const kvl_shape *s = &g->e->model->shape;
    const kvl_cache *cache = g->event->stream->cache;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        bool acts = false;
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            acts = acts || kvli_target_of(g->event->policy, cache, &g->event->moment, s, layer, head) <
                               kvl_cache_len(cache, layer, head);
        }
        g->layers[g->n_layers] = layer;
        g->n_layers += acts || !kvl_policy_skips(g->event->policy, layer);
    }
}

static kvl_status score_item(void *ud, size_t item, unsigned thread, kvl_err *err) {
    global_choice *g = ud;
    const kvl_shape *s = &g->e->model->shape;
    const uint32_t layer = g->layers[item];
    kvl_cache *cache = g->event->stream->cache;
    kvl_layer_view *view = &g->views[item];
    kvl_head_view *heads = g->heads + item * s->n_kv_heads;
    *view = kvli_layer_view(g->e, g->event, layer);
    view->heads = heads;
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        KVL_TRY(kvl_cache_own(cache, layer, head, err));
        heads[head] = kvli_head_view(
            view, head, kvli_target_of(g->event->policy, cache, &g->event->moment, s, layer, head));
        g->scores[item * s->n_kv_heads + head] = g->lists.heads[(size_t)layer * s->n_kv_heads + head];
    }
    kvl_press_score_layer(g->node, view, g->scores + item * s->n_kv_heads, g->e->scratch[thread].floats);
    return KVL_OK;
}

static kvl_status apply_item(void *ud, size_t item, unsigned thread, kvl_err *err) {
    const global_choice *g = ud;
    const uint32_t n_heads = g->e->model->shape.n_kv_heads;
    kvl_cache *cache = g->event->stream->cache;
    for (uint32_t head = 0; head < n_heads; head++) {
        const kvl_choice *choice = &g->choices[item * n_heads + head];
        const kvl_head_view *view = &g->heads[item * n_heads + head];
        kvl_press_alter(g->node, view, cache, choice, g->e->scratch[thread].floats);
        if (choice->n < view->n) {
            KVL_TRY(kvl_cache_keep(cache, g->layers[item], head, choice->slots, choice->n, err));
        }
    }
    return KVL_OK;
}

static kvl_status alloc_choice(global_choice *g, kvl_err *err) {
    const kvl_shape *s = &g->e->model->shape;
    size_t n = 0;
    for (size_t i = 0; i < n_all_heads(s); i++) {
        n += length_of(g->event->stream->cache, s, i);
    }
    g->layers = kvl_calloc(s->n_layers, sizeof *g->layers);
    g->views = kvl_calloc(s->n_layers, sizeof *g->views);
    g->heads = kvl_calloc(n_all_heads(s), sizeof *g->heads);
    g->scores = kvl_calloc(n_all_heads(s), sizeof *g->scores);
    g->choices = kvl_calloc(n_all_heads(s), sizeof *g->choices);
    g->slots = kvl_calloc(n, sizeof *g->slots);
    g->select = kvl_calloc(1, kvl_select_scratch_bytes(n));
    if (g->layers == NULL || g->views == NULL || g->heads == NULL || g->scores == NULL ||
        g->choices == NULL || g->slots == NULL || g->select == NULL) {
        return kvl_fail_nomem(err, "choice among all layers");
    }
    return create_lists(&g->lists, g->event->stream->cache, s, err);
}

static kvl_status choose(global_choice *g, kvl_err *err) {
    uint32_t *slots = g->slots;
    const size_t n_heads = g->n_layers * g->e->model->shape.n_kv_heads;
    for (size_t i = 0; i < n_heads; i++) {
        g->choices[i].slots = slots;
        slots += g->heads[i].n;
    }
    return kvli_name_press(g->event->policy,
                           kvl_select_among(g->heads, n_heads, g->scores, 0, g->choices,
                                            &g->event->policy->protections, g->select, err),
                           err);
}

kvl_status kvli_compress_global(kvl_engine *e, const kvli_event *event, kvl_err *err) {
    global_choice g = {.e = e, .event = event, .node = kvl_policy_turn(event->policy, &event->moment).node};
    kvl_status status = KVL_OK;
    KVL_GO(alloc_choice(&g, err));
    find_layers(&g);
    KVL_GO(kvli_engine_run(e, g.n_layers, score_item, &g, err));
    KVL_GO(choose(&g, err));
    KVL_GO(kvli_engine_run(e, g.n_layers, apply_item, &g, err));
done:
    kvl_free(g.layers);
    kvl_free(g.views);
    kvl_free(g.heads);
    kvl_free(g.scores);
    kvl_free(g.choices);
    kvl_free(g.slots);
    kvl_free(g.select);
    kvli_lists_free(&g.lists);
    return status;
}
