/* The list of presses, look-up by name, and the steps of a tree: a step that a press does not have is that of
 * the press it wraps. */
#include "press/press.h"

#include "press/plugin.h"
#include "press/policy.h"
#include "press/select.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define X(id) extern const kvl_press id;
#include "press/press_list.def"
#undef X

#define X(id) +1
enum {
    n_own = 0
#include "press/press_list.def"
};
#undef X

static const kvl_press *all[n_own + KVL_MAX_PLUGINS] = {
#define X(id) &id,
#include "press/press_list.def"
#undef X
};
static size_t n_all = n_own;

const kvl_press *const *kvl_presses(size_t *n) {
    *n = n_all;
    return all;
}

void kvli_press_add(const kvl_press *press) { all[n_all++] = press; }

/* Fails with the nearest name, or with one that holds the word or is held by it. */
static kvl_status fail_unknown(const char *name, size_t n_name, kvl_err *err) {
    const char *names[n_own + KVL_MAX_PLUGINS];
    char word[41];
    snprintf(word, sizeof word, "%.*s", (int)kvl_min_size(n_name, sizeof word - 1), name);
    for (size_t i = 0; i < n_all; i++) {
        names[i] = all[i]->name;
    }
    const char *nearest = kvl_nearest_name(name, n_name, names, n_all);
    for (size_t i = 0; i < n_all && nearest == NULL && n_name > 2; i++) {
        nearest = strstr(names[i], word) != NULL || strstr(word, names[i]) != NULL ? names[i] : NULL;
    }
    return kvl_fail(err, KVL_E_USAGE, "unknown press '%s'%s%s; kvlab press list shows all", word,
                    nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
}

kvl_status kvl_press_find(const kvl_press **out, const char *name, size_t n_name, kvl_err *err) {
    const char *at = memchr(name, '@', n_name);
    const size_t n_plain = at != NULL ? (size_t)(at - name) : n_name;
    *out = NULL;
    for (size_t i = 0; i < n_all; i++) {
        if (strlen(all[i]->name) != n_plain || memcmp(all[i]->name, name, n_plain) != 0) {
            continue;
        }
        const char *hash = kvl_press_hash(all[i]);
        if (at != NULL && (strlen(hash) != n_name - n_plain - 1 || memcmp(hash, at + 1, strlen(hash)) != 0)) {
            return kvl_fail(err, KVL_E_USAGE, "press %s: expected %s%s, found '%.*s'", all[i]->name,
                            hash[0] != '\0' ? "the loaded plug-in @" : "no hash (it comes with kvlab)", hash,
                            (int)kvl_min_size(n_name - n_plain, 40), at);
        }
        *out = all[i];
        return KVL_OK;
    }
    return fail_unknown(name, n_plain, err);
}

/* ---- steps ---- */

/* The first press from the outside, along the first wrapped one, for which `field` is there; or the last. */
#define FIRST_WITH(node, field)                                                                              \
    while ((node)->press->field == NULL && (node)->press->n_inner != 0) {                                    \
        (node) = kvl_press_inner((node), 0);                                                                 \
    }

kvl_needs kvl_press_needs(const kvl_press_node *node, const kvl_shape *shape) {
    kvl_needs needs = {0};
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        const kvl_press *press = node[i].press;
        needs = press->needs != NULL ? kvl_needs_join(needs, press->needs(node + i, shape)) : needs;
    }
    return needs;
}

size_t kvl_press_scratch_floats(const kvl_press_node *node, const kvl_shape *shape, size_t n) {
    const kvl_press_node *thinner = kvl_press_thinner(node);
    const size_t n_thin = thinner != NULL ? thinner->press->scratch_floats(thinner, shape, n) : 0;
    FIRST_WITH(node, scratch_floats)
    return kvl_max_size(
        n_thin, node->press->scratch_floats != NULL ? node->press->scratch_floats(node, shape, n) : 0);
}

const kvl_press_node *kvl_press_thinner(const kvl_press_node *node) {
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        if (node[i].press->thin != NULL) {
            return node + i;
        }
    }
    return NULL;
}

void kvl_press_channels(const kvl_press_node *thinner, const kvl_head_view *view, uint16_t *channels,
                        size_t n_channels, float *scratch) {
    const size_t dim = view->in->shape->head_dim;
    uint32_t order[KVL_MAX_HEAD_DIM];
    bool goes[KVL_MAX_HEAD_DIM] = {false};
    thinner->press->score_channels(thinner, view, scratch, scratch + kvl_round_up(dim, 16));
    kvl_order_by_score(scratch, dim, order);
    for (size_t i = 0; i + n_channels < dim; i++) {
        goes[order[i]] = true;
    }
    for (size_t d = 0, n = 0; d < dim; d++) {
        if (!goes[d]) {
            channels[n++] = (uint16_t)d;
        }
    }
}

const kvl_press_node *kvl_press_scheduler(const kvl_press_node *node) {
    FIRST_WITH(node, turn)
    return node->press->turn != NULL ? node : NULL;
}

const kvl_press_node *kvl_press_replayer(const kvl_press_node *node) {
    FIRST_WITH(node, replay)
    return node->press->replay != NULL ? node : NULL;
}

bool kvl_press_looks_again(const kvl_press_node *node) {
    bool looks_again = false;
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        looks_again = looks_again || node[i].press->replay != NULL;
    }
    return looks_again;
}

bool kvl_press_is_global(const kvl_press_node *node) {
    FIRST_WITH(node, select)
    return node->press->is_global != NULL && node->press->is_global(node);
}

const kvl_press_node *kvl_press_scorer(const kvl_press_node *node) {
    while (node->press->score == NULL && node->press->score_layer == NULL && node->press->n_inner != 0) {
        node = kvl_press_inner(node, 0);
    }
    return node;
}

void kvl_press_score_layer(const kvl_press_node *node, const kvl_layer_view *view, float *const *scores,
                           float *scratch) {
    node = kvl_press_scorer(node);
    if (node->press->score_layer != NULL) {
        node->press->score_layer(node, view, scores, scratch);
        return;
    }
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        node->press->score(node->conf, &view->heads[k], scores[k], scratch);
    }
}

size_t kvl_press_budget(const kvl_press_node *node, const kvl_shape *shape, uint32_t layer, size_t n,
                        size_t target) {
    FIRST_WITH(node, budget)
    return node->press->budget != NULL ? node->press->budget(node, shape, layer, n, target) : target;
}

bool kvl_press_evicts(const kvl_press_node *node) {
    if (node->press->is_sequence) {
        return kvl_press_evicts(kvl_press_inner(node, 0)) || kvl_press_evicts(kvl_press_inner(node, 1));
    }
    const kvl_press *scorer = kvl_press_scorer(node)->press;
    return scorer->score != NULL || scorer->score_layer != NULL;
}

bool kvl_press_alters(const kvl_press_node *node) {
    bool alters = false;
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        alters = alters || node[i].press->alter != NULL || node[i].press->thin != NULL;
    }
    return alters;
}

const kvl_press_node *kvl_press_sequence(const kvl_press_node *node) {
    while (!node->press->is_sequence && node->press->n_inner != 0) {
        node = kvl_press_inner(node, 0);
    }
    return node->press->is_sequence ? node : NULL;
}

static bool has_own_budget(const kvl_press_node *node) {
    return node->keep_ratio != 0 || node->size_tok != 0;
}

size_t kvl_press_part_target(const kvl_press_node *node, unsigned index, const kvl_shape *shape,
                             uint32_t layer, size_t n, size_t target) {
    const kvl_press_node *part = kvl_press_inner(node, index);
    unsigned n_sharing = 0; /* parts from here on that have to come to the target */
    for (unsigned i = index; i < node->press->n_inner; i++) {
        const kvl_press_node *other = kvl_press_inner(node, i);
        n_sharing += !has_own_budget(other) && kvl_press_evicts(other);
    }
    size_t share = kvl_min_size(n, target);
    if (!kvl_press_evicts(part) || n == 0) {
        return n;
    }
    if (has_own_budget(part)) {
        share = kvl_budget_target(part->keep_ratio, part->size_tok, n);
    } else if (n_sharing > 1) { /* a hair less, so that exact roots are not rounded up */
        share = (size_t)ceil((double)n * pow((double)share / (double)n, 1.0 / n_sharing) * (1 - 1e-12));
    }
    return kvl_min_size(n, kvl_max_size(1, kvl_press_budget(part, shape, layer, n, share)));
}

bool kvl_press_spares(const kvl_press_node *node, const kvl_shape *shape, uint32_t layer, uint32_t head) {
    FIRST_WITH(node, spares)
    return node->press->spares != NULL && node->press->spares(node, shape, layer, head);
}

kvl_status kvl_press_select(const kvl_press_node *node, const kvl_layer_view *view, float *const *scores,
                            kvl_choice *choices, const kvl_protections *protections, float *floats,
                            void *scratch, kvl_err *err) {
    FIRST_WITH(node, select)
    if (node->press->select != NULL) {
        return node->press->select(node, view, scores, choices, protections, floats, scratch, err);
    }
    return kvl_select_heads(view, scores, choices, protections, scratch, err);
}

void kvl_press_alter(const kvl_press_node *node, const kvl_head_view *view, kvl_cache *cache,
                     const kvl_choice *choice, float *scratch) {
    if (node->press->n_inner != 0) {
        kvl_press_alter(kvl_press_inner(node, 0), view, cache, choice, scratch);
    }
    if (node->press->alter != NULL) {
        node->press->alter(node, view, cache, choice, scratch);
    }
}

bool kvl_press_moves_keys(const kvl_press_node *node) {
    bool moves = false;
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        moves = moves || (node[i].press->moves_keys != NULL && node[i].press->moves_keys(node + i));
    }
    return moves;
}

bool kvl_press_is_by_head(const kvl_press_node *node) {
    bool is_by_head = true;
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        const kvl_press *press = node[i].press;
        is_by_head = is_by_head && !press->is_sequence && press->score_layer == NULL &&
                     press->select == NULL && press->alter == NULL && press->thin == NULL;
    }
    return is_by_head;
}

bool kvl_press_is_ragged(const kvl_press_node *node) {
    bool is_ragged = false;
    for (uint64_t i = 0; i < node->n_nodes; i++) {
        is_ragged = is_ragged || node[i].press->is_ragged;
    }
    return is_ragged;
}

bool kvl_press_is_outcome(const kvl_press_node *node) {
    bool have_all = node->press->n_inner != 0;
    for (unsigned i = 0; i < node->press->n_inner; i++) {
        const kvl_press_node *inner = kvl_press_inner(node, i);
        have_all =
            have_all && (inner->keep_ratio != 0 || inner->size_tok != 0 || kvl_press_is_outcome(inner));
    }
    return node->press->is_outcome || have_all;
}

bool kvl_press_has_budget(const kvl_press_node *node) {
    FIRST_WITH(node, budget)
    return node->press->budget != NULL;
}

/* Heads that hold the same positions, as they do until something acts on them by themselves, go slot by slot;
 * otherwise positions are looked up. */
static const float *score_at(const kvl_head_view *head, const float *scores, size_t slot, int32_t position) {
    if (slot < head->n && head->positions[slot] == position) {
        return &scores[slot];
    }
    for (size_t j = 0; j < head->n; j++) {
        if (head->positions[j] == position) {
            return &scores[j];
        }
    }
    return NULL;
}

/* Head by head from the first: those before already hold means, which a head that shares a position takes. */
void kvl_scores_mean_over_heads(const kvl_layer_view *view, float *const *scores) {
    const uint32_t n_heads = view->shape->n_kv_heads;
    for (uint32_t k = 0; k < n_heads; k++) {
        for (size_t j = 0; j < view->heads[k].n; j++) {
            const int32_t position = view->heads[k].positions[j];
            double sum = 0;
            uint32_t n = 0;
            const float *done = NULL;
            for (uint32_t i = 0; i < n_heads && done == NULL; i++) {
                const float *score = score_at(&view->heads[i], scores[i], j, position);
                done = i < k ? score : NULL;
                sum += score != NULL ? (double)*score : 0;
                n += score != NULL;
            }
            scores[k][j] = done != NULL ? *done : (float)(sum / n);
        }
    }
}

/* Shell's sort. */
void kvl_order_by_score(const float *scores, size_t n, uint32_t *order) {
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t gap = n / 2; gap != 0; gap /= 2) {
        for (size_t i = gap; i < n; i++) {
            const uint32_t index = order[i];
            const float score = scores[index];
            size_t to = i;
            for (; to >= gap; to -= gap) {
                const float before = scores[order[to - gap]];
                if (!(before > score || (before == score && order[to - gap] > index))) {
                    break;
                }
                order[to] = order[to - gap];
            }
            order[to] = index;
        }
    }
}

static bool is_protected(const kvl_layer_view *view, const kvl_head_view *head, size_t j, size_t n_first,
                         size_t n_last) {
    const uint64_t position = (uint64_t)head->positions[j];
    return position < view->first_token + n_first || position + n_last >= view->n_seen;
}

void kvl_scores_protect(const kvl_layer_view *view, float *const *scores, size_t n_first, size_t n_last) {
    float most = -INFINITY;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        for (size_t j = 0; j < view->heads[k].n; j++) {
            const bool is_free = !is_protected(view, &view->heads[k], j, n_first, n_last);
            most = is_free && scores[k][j] > most ? scores[k][j] : most;
        }
    }
    most = most == -INFINITY ? 1 : most + 1;
    for (uint32_t k = 0; k < view->shape->n_kv_heads; k++) {
        for (size_t j = 0; j < view->heads[k].n; j++) {
            scores[k][j] = is_protected(view, &view->heads[k], j, n_first, n_last) ? most : scores[k][j];
        }
    }
}
