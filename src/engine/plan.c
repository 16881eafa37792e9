/* Following a prefill and a compression through the engine's rules of allocation.
 *
 * The heads of a layer have the same length, but for those that a press spares, those of all layers until the
 * first compression. Where equal blocks grow one after another, the worst moment is the last: all new ones
 * and one old one. Of heads that compete the mean is followed: their sum is known, their shares are not.
 * Passes end where a press with a schedule acts: an engine that compresses between the rows of a pass holds
 * no more. */
#include "engine/plan.h"

#include "engine/engine_int.h"

/* Heads of a layer that have the same length: those that are compressed, and those that the press spares. */
typedef struct alike {
    size_t n_heads;
    uint32_t head;             /* one of them */
    size_t n;                  /* entries of each */
    size_t cap;                /* entries there is room for */
    size_t n_thin, n_channels; /* of these entries, keys with some channels only */
} alike;

typedef struct run {
    const kvl_model *model;
    const kvl_policy *policy;
    kvl_needs needs;
    unsigned n_threads;
    size_t n_prefill;
    size_t n_seen;
    alike heads[KVL_POLICY_MAX_LAYERS][2];
    size_t n_window, window_cap;
    size_t n_positions; /* of the rotation table */
    size_t n_floats;    /* of a thread's scratch */
    size_t n_bytes;
    uint64_t kv_bytes, kv_peak_bytes;
    uint64_t noted_bytes;
    uint64_t scratch_bytes;
    uint64_t peak_bytes; /* of cache, noted queries and scratch */
} run;

/* Takes note of the moment: what is there now, and copies that will be gone. */
static void note_peak(run *r, uint64_t kv_copy_bytes, uint64_t scratch_copy_bytes) {
    uint64_t kv = r->kv_bytes + kv_copy_bytes;
    uint64_t all = kv + r->noted_bytes + r->scratch_bytes + scratch_copy_bytes;
    r->kv_peak_bytes = kv > r->kv_peak_bytes ? kv : r->kv_peak_bytes;
    r->peak_bytes = all > r->peak_bytes ? all : r->peak_bytes;
}

/* n blocks of *have items grow to what `need` makes of them. */
static void grow_scratch(run *r, size_t *have, size_t need, size_t n, size_t item_bytes) {
    size_t grown = kvli_grown(*have, need);
    if (grown > *have && n != 0) {
        r->scratch_bytes += (uint64_t)(grown - *have) * n * item_bytes;
        note_peak(r, 0, (uint64_t)*have * item_bytes);
        *have = grown;
    }
}

static uint64_t head_bytes(const run *r, const alike *a, size_t cap) {
    return kvl_cache_thin_head_bytes(&r->model->shape, r->needs.has_mass, cap, a->n_thin, a->n_channels);
}

static size_t n_heads(const run *r) { return (size_t)r->model->shape.n_layers * r->model->shape.n_kv_heads; }

static size_t n_rotary_tables(const kvl_model *model) {
    size_t n = 0;
    for (int kind = 0; kind < KVL_N_ROPES; kind++) {
        n += model->ropes[kind].frequencies != NULL;
    }
    return n;
}

static void grow_rotary(run *r, size_t n_positions) {
    grow_scratch(r, &r->n_positions, n_positions, n_rotary_tables(r->model),
                 r->model->shape.n_rotary * sizeof(float));
}

/* What kvl_engine_create allocates. */
static void create(run *r) {
    const kvl_shape *s = &r->model->shape;
    kvli_block blocks[KVLI_N_ACTIVATIONS];
    kvli_activation_blocks(blocks, r->model, r->n_threads);
    for (size_t i = 0; i < KVLI_N_ACTIVATIONS; i++) {
        r->scratch_bytes += (uint64_t)blocks[i].n_rows * blocks[i].width * sizeof(float);
    }
    r->scratch_bytes += KVL_SCORE_ROWS * kvli_vocab_pieces(s) * sizeof(kvl_score_part);
    grow_rotary(r, kvli_first_positions(s));
    r->noted_bytes = kvl_tap_bytes_of(s, r->needs, 0);
    note_peak(r, 0, 0);
}

static void grow_window(run *r, size_t n_rows) {
    const kvl_shape *s = &r->model->shape;
    const uint64_t old_bytes = kvl_cache_window_bytes(s, r->window_cap);
    const size_t cap = kvl_cache_window_cap(s, r->window_cap, n_rows);
    if (s->n_residual != 0) {
        r->n_window = kvl_cache_window_len(s, r->n_window, n_rows);
    }
    if (cap != r->window_cap) {
        r->kv_bytes += n_heads(r) * kvl_cache_window_bytes(s, cap);
        note_peak(r, 0, 0);
        r->kv_bytes -= n_heads(r) * old_bytes;
        r->window_cap = cap;
    }
}

/* Of entries in all heads. */
static uint64_t live_bytes(const run *r, uint64_t n_entries, size_t n_in_windows) {
    const kvl_shape *s = &r->model->shape;
    return (n_entries - n_in_windows) * (kvl_shape_kv_bytes(s) / n_heads(r)) +
           kvl_cache_window_bytes(s, n_in_windows);
}

/* One batch of rows, at most KVL_BATCH_ROWS. */
static void pass(run *r, size_t n_rows) {
    const kvl_shape *s = &r->model->shape;
    const uint64_t noted_before = r->noted_bytes;
    size_t longest = 0;
    uint64_t largest_bytes = 0; /* of the blocks that grow, before they do */
    r->n_seen += n_rows;
    r->noted_bytes = kvl_tap_bytes_of(s, r->needs, r->n_seen);
    note_peak(r, 0, r->noted_bytes > noted_before ? noted_before : 0);
    grow_window(r, n_rows);
    for (size_t i = 0; i < 2 * (size_t)s->n_layers; i++) {
        alike *a = &r->heads[i / 2][i % 2];
        const size_t cap = kvl_cache_grown_cap(a->cap, a->n + n_rows);
        a->n += n_rows;
        if (a->n_heads != 0 && cap > a->cap) {
            const uint64_t bytes = head_bytes(r, a, a->cap);
            r->kv_bytes += a->n_heads * (head_bytes(r, a, cap) - bytes);
            largest_bytes = a->cap != 0 && bytes > largest_bytes ? bytes : largest_bytes;
            a->cap = cap;
        }
        longest = a->n_heads != 0 ? kvl_max_size(longest, a->n) : longest;
    }
    note_peak(r, largest_bytes, 0);
    grow_rotary(r, r->n_seen);
    grow_scratch(r, &r->n_floats, kvli_attend_floats(longest, r->needs.has_mass), r->n_threads,
                 sizeof(float));
}

/* What a compression leaves. */
typedef struct left {
    uint64_t n_entries;   /* of all heads */
    uint64_t thin_bytes;  /* that their keys have lost with channels */
    size_t n_in_windows;  /* of these, at most */
    size_t n_acting;      /* layers it acts on */
    size_t longest;       /* head that is cut there, before it */
    uint64_t n_in_acting; /* entries of such a head, summed over these layers */
    size_t n_room;
    uint64_t reserved_bytes;
    uint64_t largest_copy_bytes; /* of a head whose survivors are moved to a block of their own */
} left;

/* Whether the keys of heads that keep n entries lose channels now. Of those that lost some before, as few as
 * can be stay. */
static bool thin_heads(const run *r, alike *a, uint32_t layer, const kvl_moment *now, size_t n) {
    const kvl_thinning thin = kvl_policy_thinning(r->policy, &r->model->shape, now, layer, a->n);
    const bool is_thin = a->n_channels == 0 && thin.n_channels != 0 && n > thin.n_recent;
    if (is_thin) {
        a->n_channels = thin.n_channels;
        a->n_thin = n - thin.n_recent;
    } else {
        a->n_thin -= kvl_min_size(a->n_thin, a->n - n);
    }
    return is_thin;
}

/* And goes on with that. */
static left count_left(run *r) {
    const kvl_shape *s = &r->model->shape;
    const kvl_moment now = {.n_seen = r->n_seen, .n_prefill = r->n_prefill};
    left l = {.n_room = SIZE_MAX};
    for (size_t i = 0; i < 2 * (size_t)s->n_layers; i++) {
        alike *a = &r->heads[i / 2][i % 2];
        if (a->n_heads == 0) {
            continue;
        }
        const size_t n = kvl_policy_target(r->policy, s, &now, (uint32_t)(i / 2), a->head, a->n);
        const bool acts = thin_heads(r, a, (uint32_t)(i / 2), &now, n) || n < a->n;
        const size_t cap = acts ? kvl_cache_kept_cap(a->cap, n) : a->cap;
        const bool is_moved =
            acts && (cap < a->cap || r->policy->protections.is_score_order || a->n_channels != 0);
        l.longest = acts ? kvl_max_size(l.longest, a->n) : l.longest;
        l.n_entries += (uint64_t)n * a->n_heads;
        l.n_in_windows += kvl_min_size(n, r->n_window) * a->n_heads;
        l.n_acting += acts;
        l.n_in_acting += acts ? n : 0;
        l.n_room = kvl_min_size(l.n_room, cap - n);
        const uint64_t bytes = head_bytes(r, a, cap) + kvl_cache_window_bytes(s, r->window_cap);
        l.thin_bytes +=
            a->n_heads * a->n_thin *
            (kvl_kv_row_bytes(s->key_type, s->head_dim) - kvl_kv_row_bytes(s->key_type, a->n_channels));
        l.reserved_bytes += a->n_heads * bytes;
        l.largest_copy_bytes = is_moved && bytes > l.largest_copy_bytes ? bytes : l.largest_copy_bytes;
        a->n = n;
        a->cap = cap;
    }
    return l;
}

/* The heads of a layer go one after another, as many layers at once as there are threads. */
static void compress(run *r, const left *l) {
    const kvl_shape *s = &r->model->shape;
    if (l->n_acting != 0) {
        grow_scratch(r, &r->n_floats, kvli_compress_floats(r->policy, s, l->longest), r->n_threads,
                     sizeof(float));
        grow_scratch(r, &r->n_bytes, kvli_compress_bytes(r->policy, s, l->longest), r->n_threads, 1);
        note_peak(r, kvl_min_size(r->n_threads, l->n_acting) * l->largest_copy_bytes, 0);
        r->kv_bytes = l->reserved_bytes;
    }
}

/* Rows of the next pass: up to the next moment at which the policy may act. */
static size_t next_rows(const run *r) {
    const size_t most = kvl_min_size(KVL_BATCH_ROWS, r->n_prefill - r->n_seen);
    for (size_t n = 1; n < most; n++) {
        const kvl_moment at = {.n_seen = r->n_seen + n, .n_prefill = r->n_prefill};
        if (kvl_policy_turn(r->policy, &at).node != NULL) {
            return n;
        }
    }
    return most;
}

void kvl_plan_make(kvl_plan *out, const kvl_model *model, const kvl_policy *policy, unsigned n_threads,
                   size_t n_tokens) {
    const kvl_shape *shape = &model->shape;
    kvl_policy once = *policy;
    once.cadence_tok = 0;
    run r = {.model = model,
             .policy = &once,
             .needs = kvl_policy_needs(policy, shape),
             .n_threads = n_threads,
             .n_prefill = n_tokens};
    left l = {0};
    for (size_t i = 0; i < n_heads(&r); i++) {
        const uint32_t layer = (uint32_t)(i / shape->n_kv_heads), head = (uint32_t)(i % shape->n_kv_heads);
        alike *a = &r.heads[layer][kvl_press_spares(policy->tree, shape, layer, head)];
        a->head = head;
        a->n_heads++;
    }
    create(&r);
    while (r.n_seen < n_tokens) {
        pass(&r, next_rows(&r));
        l = count_left(&r);
        compress(&r, &l);
    }
    *out = (kvl_plan){
        .n_kept = l.n_acting != 0 ? (size_t)(l.n_in_acting / l.n_acting) : n_tokens,
        .n_room = l.n_room,
        .weight_bytes = model->weight_bytes,
        .kv_prefill_bytes = live_bytes(&r, n_tokens * n_heads(&r), r.n_window * n_heads(&r)),
        .kv_live_bytes = live_bytes(&r, l.n_entries, l.n_in_windows) - l.thin_bytes,
        .kv_reserved_bytes = r.kv_bytes,
        .kv_peak_bytes = r.kv_peak_bytes,
        .noted_bytes = r.noted_bytes,
        .scratch_bytes = r.scratch_bytes,
        .peak_bytes = model->weight_bytes + r.peak_bytes,
    };
}

uint64_t kvl_plan_most_scratch_bytes(const kvl_model *model, const kvl_policy *policies, size_t n_policies,
                                     unsigned n_threads, size_t n_tokens) {
    run r = {.model = model, .n_threads = n_threads};
    bool has_mass = false;
    size_t n_floats = 0;
    size_t n_bytes = 0;
    for (size_t p = 0; p < n_policies; p++) { /* second passes are as long as the text, and some words */
        if (kvl_press_looks_again(policies[p].tree)) {
            n_tokens = 2 * n_tokens + KVL_REPLAY_MORE;
            break;
        }
    }
    for (size_t p = 0; p < n_policies; p++) {
        n_floats = kvl_max_size(n_floats, kvli_compress_floats(&policies[p], &model->shape, n_tokens));
        n_bytes = kvl_max_size(n_bytes, kvli_compress_bytes(&policies[p], &model->shape, n_tokens));
        has_mass = has_mass || kvl_policy_needs(&policies[p], &model->shape).has_mass;
    }
    n_floats = kvl_max_size(n_floats, kvli_attend_floats(n_tokens, has_mass));
    create(&r);
    uint64_t rotary_bytes = (uint64_t)n_tokens * model->shape.n_rotary * sizeof(float);
    uint64_t thread_bytes = (uint64_t)n_floats * sizeof(float) + n_bytes;
    if (n_tokens > r.n_positions) {
        r.scratch_bytes += (2 * n_rotary_tables(model) + 1) * rotary_bytes;
    }
    return r.scratch_bytes + (2 * (uint64_t)n_threads + 1) * thread_bytes;
}

uint64_t kvl_plan_copied_bytes(const kvl_shape *shape, unsigned n_threads, size_t n_tokens) {
    return n_threads * (kvl_cache_head_bytes(shape, true, 2 * (n_tokens + KVL_KEY_PANEL)) +
                        kvl_cache_window_bytes(shape, shape->n_residual + 2 * (size_t)KVL_CACHE_PASS));
}

size_t kvl_plan_longest(const kvl_model *model, const kvl_policy *policy, unsigned n_threads,
                        size_t max_tokens, uint64_t memory_bytes) {
    size_t fits = 0;
    size_t above = max_tokens + 1;
    while (above - fits > 1) {
        size_t middle = fits + (above - fits) / 2;
        kvl_plan plan;
        kvl_plan_make(&plan, model, policy, n_threads, middle);
        *(plan.peak_bytes <= memory_bytes ? &fits : &above) = middle;
    }
    return fits;
}
