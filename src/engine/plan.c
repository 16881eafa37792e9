/* Following a prefill and a compression through the engine's rules of allocation.
 *
 * All heads that a policy treats alike have the same length, so that two kinds of heads are followed: those
 * of layers it acts on, and those of layers it skips. Where n equal blocks grow one after another, the worst
 * moment is the last: all new ones and one old one. */
#include "engine/plan.h"

#include "engine/engine_int.h"

enum { ACTING, SKIPPED, N_KINDS };

typedef struct run {
    const kvl_model *model;
    const kvl_policy *policy;
    unsigned n_threads;
    size_t n_heads[N_KINDS];
    size_t n[N_KINDS];   /* entries of a head */
    size_t cap[N_KINDS]; /* entries there is room for */
    size_t n_seen;
    size_t n_positions; /* of the rotation table */
    size_t n_floats;    /* of a thread's scratch */
    size_t n_bytes;
    uint64_t kv_bytes, kv_peak_bytes;
    uint64_t scratch_bytes;
    uint64_t peak_bytes; /* of cache and scratch */
} run;

/* Takes note of the moment: what is there now, and copies that will be gone. */
static void note_peak(run *r, uint64_t kv_copy_bytes, uint64_t scratch_copy_bytes) {
    uint64_t kv = r->kv_bytes + kv_copy_bytes;
    uint64_t all = kv + r->scratch_bytes + scratch_copy_bytes;
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

static uint64_t head_bytes(const run *r, size_t cap) { return kvl_cache_head_bytes(&r->model->shape, cap); }

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
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        r->n_heads[kvl_policy_skips(r->policy, layer) ? SKIPPED : ACTING] += s->n_kv_heads;
    }
}

/* One batch of rows, at most KVL_BATCH_ROWS. */
static void pass(run *r, size_t n_rows) {
    size_t longest = 0;
    for (int kind = 0; kind < N_KINDS; kind++) {
        size_t cap = kvl_cache_grown_cap(r->cap[kind], r->n[kind] + n_rows);
        if (cap > r->cap[kind] && r->n_heads[kind] != 0) {
            r->kv_bytes += r->n_heads[kind] * (head_bytes(r, cap) - head_bytes(r, r->cap[kind]));
            note_peak(r, head_bytes(r, r->cap[kind]), 0);
            r->cap[kind] = cap;
        }
        r->n[kind] += n_rows;
        longest = r->n_heads[kind] != 0 ? kvl_max_size(longest, r->n[kind]) : longest;
    }
    r->n_seen += n_rows;
    grow_rotary(r, r->n_seen);
    const bool has_mass = kvl_policy_needs(r->policy, &r->model->shape).has_mass;
    grow_scratch(r, &r->n_floats, kvli_attend_floats(longest, has_mass), r->n_threads, sizeof(float));
}

/* The first layer on which the policy acts; 0 if there is none. */
static uint32_t first_acting(const run *r) {
    uint32_t layer = 0;
    while (layer + 1 < r->model->shape.n_layers && kvl_policy_skips(r->policy, layer)) {
        layer++;
    }
    return layer;
}

/* The heads of a layer go one after another, as many layers at once as there are threads. */
static void compress(run *r) {
    const kvl_shape *s = &r->model->shape;
    size_t n = r->n[ACTING];
    size_t target = kvl_policy_target(r->policy, s, first_acting(r), n);
    if (target >= n || r->n_heads[ACTING] == 0) {
        return;
    }
    size_t cap = kvl_cache_kept_cap(r->cap[ACTING], target);
    grow_scratch(r, &r->n_floats, kvli_compress_floats(r->policy, s, n), r->n_threads, sizeof(float));
    grow_scratch(r, &r->n_bytes, kvli_compress_bytes(r->policy, s, n), r->n_threads, 1);
    if (cap < r->cap[ACTING] || r->policy->protections.is_score_order) {
        size_t n_at_once = kvl_min_size(r->n_threads, r->n_heads[ACTING] / s->n_kv_heads);
        note_peak(r, n_at_once * head_bytes(r, cap), 0);
        r->kv_bytes -= r->n_heads[ACTING] * (head_bytes(r, r->cap[ACTING]) - head_bytes(r, cap));
    }
    r->n[ACTING] = target;
    r->cap[ACTING] = cap;
}

void kvl_plan_make(kvl_plan *out, const kvl_model *model, const kvl_policy *policy, unsigned n_threads,
                   size_t n_tokens) {
    run r = {.model = model, .policy = policy, .n_threads = n_threads};
    const kvl_shape *shape = &model->shape;
    uint64_t entry_bytes = kvl_shape_kv_bytes(shape) / ((uint64_t)shape->n_layers * shape->n_kv_heads);
    create(&r);
    for (size_t done = 0; done < n_tokens; done += KVL_BATCH_ROWS) {
        pass(&r, kvl_min_size(KVL_BATCH_ROWS, n_tokens - done));
    }
    *out = (kvl_plan){.weight_bytes = model->weight_bytes};
    out->kv_prefill_bytes = n_tokens * kvl_shape_kv_bytes(shape);
    compress(&r);
    out->n_kept = r.n[ACTING];
    out->kv_live_bytes = (r.n_heads[ACTING] * r.n[ACTING] + r.n_heads[SKIPPED] * r.n[SKIPPED]) * entry_bytes;
    out->kv_reserved_bytes = r.kv_bytes;
    out->n_room = SIZE_MAX;
    for (int kind = 0; kind < N_KINDS; kind++) {
        if (r.n_heads[kind] != 0) {
            out->n_room = kvl_min_size(out->n_room, r.cap[kind] - r.n[kind]);
        }
    }
    out->kv_peak_bytes = r.kv_peak_bytes;
    out->scratch_bytes = r.scratch_bytes;
    out->peak_bytes = model->weight_bytes + r.peak_bytes;
}

uint64_t kvl_plan_most_scratch_bytes(const kvl_model *model, const kvl_policy *policies, size_t n_policies,
                                     unsigned n_threads, size_t n_tokens) {
    run r = {.model = model, .policy = policies, .n_threads = n_threads};
    bool has_mass = false;
    size_t n_floats = 0;
    size_t n_bytes = 0;
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
