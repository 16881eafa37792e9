/* What holds for every press of the list: budgets are met, what is protected stays, the same bits for every
 * number of threads and every cut of the text, entries keep their keys and positions, bytes are counted. */
#include "press_texts.h"

#include "cache/calibration.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

enum { n_text = 90, n_more = 12 };

static kvl_model *model;
static kvl_calibration *calibration;
static kvl_engine *engines[2]; /* of 1 and of 2 threads */

/* Lengths that depend on data, not on the policy's budget alone. */
static const char *const outcomes[] = {"chunkkv", "simlayerkv", "dms", NULL};
/* Presses that change what stays. */
static const char *const altering[] = {"key-rerotation", "merging", "cam", "finch", "think", NULL};

static bool is_listed(const char *const *list, const char *name) {
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }
    return false;
}

static int open_model(void **state) {
    (void)state;
    if (kvl_model_open(&model, test_path("tests/golden/press/llama"), 1, NULL) != KVL_OK) {
        return -1;
    }
    for (unsigned i = 0; i < 2; i++) {
        const kvl_engine_options options = {.n_threads = i + 1};
        if (kvl_engine_create(&engines[i], model, &options, NULL) != KVL_OK) {
            return -1;
        }
        kvl_engine_set_prompts(engines[i], &prompts);
    }
    calibration = test_calibrate(engines[0]);
    model->shape.calibration = calibration;
    return 0;
}

static int close_model(void **state) {
    (void)state;
    kvl_engine_destroy(engines[0]);
    kvl_engine_destroy(engines[1]);
    kvl_model_close(model);
    kvl_calibration_destroy(calibration);
    return 0;
}

static int32_t token_at(size_t t) { return (int32_t)((t * 7919 + 13) % 61); }

/* What presses see that look at the text again. */
static const int32_t *all_tokens(void) {
    static int32_t tokens[2 * n_text];
    for (size_t t = 0; t < 2 * n_text; t++) {
        tokens[t] = token_at(t);
    }
    return tokens;
}

/* Feeds tokens first .. end - 1, `cut` at a time. */
static void feed(kvl_engine *e, kvl_stream *s, size_t first, size_t end, size_t cut) {
    kvl_row rows[n_text + n_more];
    for (size_t t = first; t < end; t += cut) {
        const size_t n = kvl_min_size(cut, end - t);
        for (size_t i = 0; i < n; i++) {
            rows[i] = (kvl_row){.stream = s, .token = token_at(t + i), .target = 1};
        }
        assert_ok(kvl_engine_forward(e, rows, n, NULL));
    }
}

static kvl_stream *run(kvl_engine *e, const kvl_policy *p, size_t n, size_t cut) {
    kvl_stream *s = NULL;
    kvl_err err = {0};
    assert_ok(kvl_stream_create(&s, e, NULL));
    s->seed = 7;
    s->n_prefill = n;
    s->text = all_tokens();
    s->n_text = 2 * n_text;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    feed(e, s, 0, n, cut);
    if (kvl_policy_fires(p, s, &model->shape) &&
        kvl_engine_compress(e, &(kvl_compress_job){s, p}, 1, &err) != KVL_OK) {
        fail_msg("%s: %s", kvl_policy_press(p)->name, err.msg);
    }
    return s;
}

static void assert_same_caches(const char *name, const kvl_cache *a, const kvl_cache *b) {
    const size_t dim = model->shape.head_dim;
    static float rows[4][(n_text + n_more) * 64];
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t layer = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const kvl_head_entries x = kvl_cache_entries(a, layer, head), y = kvl_cache_entries(b, layer, head);
        kvl_cache_copy_keys(a, layer, head, rows[0]);
        kvl_cache_copy_keys(b, layer, head, rows[1]);
        kvl_cache_copy_values(a, layer, head, rows[2]);
        kvl_cache_copy_values(b, layer, head, rows[3]);
        if (x.n != y.n || memcmp(x.positions, y.positions, x.n * sizeof *x.positions) != 0 ||
            memcmp(rows[0], rows[1], x.n * dim * sizeof(float)) != 0 ||
            memcmp(rows[2], rows[3], x.n * dim * sizeof(float)) != 0) {
            fail_msg("%s: layer %u, head %u: expected the same entries, found others", name, layer, head);
        }
    }
}

static void check_counts(const kvl_policy *p, const kvl_stream *s, size_t n) {
    const kvl_press *press = kvl_policy_press(p);
    const kvl_moment at = {.n_seen = n, .n_prefill = n};
    size_t n_all = 0, n_target = 0, n_removed = 0;
    for (uint32_t layer = 0; layer < model->shape.n_layers; layer++) {
        for (uint32_t head = 0; head < model->shape.n_kv_heads; head++) {
            const size_t found = kvl_cache_len(s->cache, layer, head);
            const size_t target = kvl_policy_target(p, &model->shape, &at, layer, head, n);
            const kvl_head_thin thin = kvl_cache_thin_keys(s->cache, layer, head);
            assert_true((thin.n != 0) == (strcmp(press->name, "think") == 0 && !kvl_policy_skips(p, layer)));
            n_removed += thin.n * (model->shape.head_dim - thin.n_channels);
            n_all += found;
            n_target += target;
            if (!kvl_press_is_ragged(p->tree) && found != target) {
                fail_msg("%s: layer %u, head %u: expected %zu entries, found %zu", press->name, layer, head,
                         target, found);
            }
        }
    }
    if (!is_listed(outcomes, press->name) && n_all != n_target) {
        fail_msg("%s: expected %zu entries in all, found %zu", press->name, n_target, n_all);
    }
    assert_int_equal(kvl_cache_live_bytes(s->cache),
                     (n_all * 2 * model->shape.head_dim - n_removed) * sizeof(float));
}

/* Entries have the keys and values of the tokens of their positions, in ascending order. */
static void check_entries(const kvl_policy *p, const kvl_stream *s, const kvl_stream *full) {
    const size_t dim = model->shape.head_dim;
    static float rows[4][n_text * 64];
    const bool is_altered = is_listed(altering, kvl_policy_press(p)->name);
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t layer = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const kvl_head_entries entries = kvl_cache_entries(s->cache, layer, head);
        kvl_cache_copy_keys(s->cache, layer, head, rows[0]);
        kvl_cache_copy_keys(full->cache, layer, head, rows[1]);
        kvl_cache_copy_values(s->cache, layer, head, rows[2]);
        kvl_cache_copy_values(full->cache, layer, head, rows[3]);
        for (size_t j = 0; j < entries.n; j++) {
            const size_t position = (size_t)entries.positions[j];
            assert_true(j == 0 || entries.positions[j] > entries.positions[j - 1]);
            assert_true(position < n_text);
            assert_true(is_altered || (memcmp(rows[0] + j * dim, rows[1] + position * dim, dim * 4) == 0 &&
                                       memcmp(rows[2] + j * dim, rows[3] + position * dim, dim * 4) == 0));
        }
    }
}

/* Whether positions 0 .. n_sinks - 1 and the newest are in every head. */
static void check_protected(const kvl_policy *p, const kvl_stream *s, size_t n) {
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const kvl_head_entries e =
            kvl_cache_entries(s->cache, i / model->shape.n_kv_heads, i % model->shape.n_kv_heads);
        for (size_t j = 0; j < p->protections.n_sinks; j++) {
            if ((size_t)e.positions[j] != j) {
                fail_msg("%s: sink %zu is gone", kvl_policy_press(p)->name, j);
            }
        }
        for (size_t j = 1; j <= p->protections.n_recent; j++) {
            if ((size_t)e.positions[e.n - j] != n - j) {
                fail_msg("%s: token %zu of the newest is gone", kvl_policy_press(p)->name, n - j);
            }
        }
    }
}

typedef void press_fn(const kvl_press *press);

static void for_each(press_fn *fn) {
    size_t n = 0;
    const kvl_press *const *presses = kvl_presses(&n);
    for (size_t i = 0; i < n; i++) {
        if (!presses[i]->is_identity) {
            fn(presses[i]);
        }
    }
}

static void check_budgets(const kvl_press *press) {
    static const char *const budgets[] = {":keep=0.5", ":keep=0.1", ":size=7", ":keep=0.9:skip=1"};
    kvl_policy none;
    kvl_policy_init(&none);
    assert_ok(kvl_policy_parse(&none, "none", NULL));
    kvl_stream *full = run(engines[1], &none, n_text, n_text);
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        kvl_policy p = policy_of(press, budgets[i]);
        kvl_stream *s = run(engines[1], &p, n_text, n_text);
        check_counts(&p, s, n_text);
        check_entries(&p, s, full);
        kvl_stream_destroy(s);
    }
    kvl_stream_destroy(full);
}

static void test_budgets(void **state) {
    (void)state;
    for_each(check_budgets);
}

static void check_protections(const kvl_press *press) {
    kvl_policy p = policy_of(press, ":size=24:sinks=3:recent=5");
    kvl_stream *s = run(engines[1], &p, n_text, n_text);
    if (!is_listed(outcomes, press->name)) {
        check_protected(&p, s, n_text);
    }
    kvl_stream_destroy(s);
}

static void test_protections(void **state) {
    (void)state;
    for_each(check_protections);
}

/* Threads, cuts, and what comes after: a second compression of a cache that has gone on. */
static void check_bits(const kvl_press *press) {
    static const size_t cuts[] = {n_text, 17, 1};
    kvl_policy p = policy_of(press, ":keep=0.4");
    kvl_stream *first = NULL;
    for (size_t i = 0; i < 6; i++) {
        kvl_stream *s = run(engines[i % 2], &p, n_text, cuts[i / 2]);
        feed(engines[i % 2], s, n_text, n_text + n_more, 1 + i);
        assert_ok(kvl_engine_compress(engines[i % 2], &(kvl_compress_job){s, &p}, 1, NULL));
        if (first != NULL) {
            assert_same_caches(press->name, first->cache, s->cache);
            kvl_stream_destroy(s);
        } else {
            first = s;
        }
    }
    kvl_stream_destroy(first);
}

static void test_bits(void **state) {
    (void)state;
    for_each(check_bits);
}

/* Presses that cannot have a quantised cache say so before the first token. */
static void sort_positions(int32_t *positions, size_t n) {
    for (size_t i = 1; i < n; i++) {
        for (size_t j = i; j != 0 && positions[j] < positions[j - 1]; j--) {
            const int32_t position = positions[j];
            positions[j] = positions[j - 1];
            positions[j - 1] = position;
        }
    }
}

/* Survivors stored by score are those stored by time, also the second time, when slots are not in the order
 * of time. */
static void check_order(const kvl_press *press) {
    const kvl_policy by_time = policy_of(press, ":keep=0.5");
    kvl_policy by_score = by_time;
    const kvl_policy *policies[] = {&by_time, &by_score};
    kvl_stream *streams[2];
    if (kvl_policy_set(&by_score, "order", "score", NULL) != KVL_OK) {
        return; /* keys are moved to their places in time */
    }
    for (size_t i = 0; i < 2; i++) {
        streams[i] = run(engines[1], policies[i], n_text, n_text);
        feed(engines[1], streams[i], n_text, n_text + n_more, n_more);
        assert_ok(kvl_engine_compress(engines[1], &(kvl_compress_job){streams[i], policies[i]}, 1, NULL));
    }
    for (uint32_t head = 0; head < model->shape.n_layers * model->shape.n_kv_heads; head++) {
        int32_t positions[2][n_text + n_more];
        size_t n[2];
        for (size_t i = 0; i < 2; i++) {
            const kvl_head_entries entries = kvl_cache_entries(
                streams[i]->cache, head / model->shape.n_kv_heads, head % model->shape.n_kv_heads);
            n[i] = entries.n;
            memcpy(positions[i], entries.positions, entries.n * sizeof *entries.positions);
            sort_positions(positions[i], entries.n);
        }
        if (n[0] != n[1] || memcmp(positions[0], positions[1], n[0] * sizeof positions[0][0]) != 0) {
            fail_msg("%s: head %u: expected the same entries with order=score, found others", press->name,
                     head);
        }
    }
    kvl_stream_destroy(streams[0]);
    kvl_stream_destroy(streams[1]);
}

static void test_order(void **state) {
    (void)state;
    for_each(check_order);
}

static void check_bits_if_quantised(const kvl_press *press) {
    const kvl_policy p = policy_of(press, "");
    kvl_stream *s = NULL;
    if (!kvl_policy_needs(&p, &model->shape).is_plain) {
        check_bits(press);
        return;
    }
    assert_ok(kvl_stream_create(&s, engines[0], NULL));
    assert_int_equal(kvl_stream_watch(s, &model->shape, kvl_policy_needs(&p, &model->shape), NULL),
                     KVL_E_USAGE);
    kvl_stream_destroy(s);
}

/* The same of quantised caches, with a window of newest tokens and rotated keys and values. */
static void test_bits_of_quantised_caches(void **state) {
    (void)state;
    const kvl_shape plain = model->shape;
    model->shape.key_type = KVL_KV_Q4_0;
    model->shape.value_type = KVL_KV_Q8_0;
    for_each(check_bits_if_quantised);
    model->shape.n_residual = 19;
    model->shape.has_hadamard = true;
    for_each(check_bits_if_quantised);
    model->shape = plain;
}

/* Texts shorter than windows, sinks and chunks. */
static void check_short_texts(const kvl_press *press) {
    for (size_t n = 1; n <= 9; n += n < 3 ? 1 : 3) {
        for (size_t size = 1; size < 4; size += 2) {
            char budget[32];
            snprintf(budget, sizeof budget, ":size=%zu", size);
            kvl_policy p = policy_of(press, budget);
            kvl_stream *s = run(engines[0], &p, n, n);
            feed(engines[0], s, n, n + 2, 1);
            kvl_stream_destroy(s);
        }
    }
}

static void test_short_texts(void **state) {
    (void)state;
    for_each(check_short_texts);
}

/* ---- budgets of bytes ---- */

/* Step by step from the first token: what a compression leaves is never above the budget. */
static void check_steps_within(const kvl_policy *p) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, engines[0], NULL));
    s->text = all_tokens();
    s->n_text = 2 * n_text;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    for (size_t t = 0; t < n_text; t++) {
        feed(engines[0], s, t, t + 1, 1);
        const bool fires = kvl_policy_fires(p, s, &model->shape);
        if (fires) {
            assert_ok(kvl_engine_compress(engines[0], &(kvl_compress_job){s, p}, 1, NULL));
        }
        const uint64_t found = kvl_cache_live_bytes(s->cache);
        if (found > p->n_bytes && (fires || !kvl_policy_has_schedule(p))) {
            fail_msg("%s: after %zu tokens: expected at most %llu bytes, found %llu",
                     kvl_policy_press(p)->name, t + 1, (unsigned long long)p->n_bytes,
                     (unsigned long long)found);
        }
    }
    kvl_stream_destroy(s);
}

/* A prompt compressed once: within the budget and, where all heads keep the same, so full that one entry more
 * in each would not fit. */
static void check_prompt_within(const kvl_policy *p) {
    const kvl_shape *shape = &model->shape;
    kvl_stream *s = run(engines[1], p, n_text, n_text);
    const uint64_t found = kvl_cache_live_bytes(s->cache);
    const size_t n = kvl_cache_len(s->cache, 0, 0);
    const uint64_t more = kvl_cache_head_live_bytes(shape, n + 1) - kvl_cache_head_live_bytes(shape, n);
    const bool is_even = !kvl_press_is_ragged(p->tree) && !kvl_press_has_budget(p->tree);
    const size_t n_acting = shape->n_layers - kvl_policy_skips(p, 1);
    const bool acts = !kvl_policy_has_schedule(p) && shape->n_residual == 0;
    if (acts &&
        (found > p->n_bytes || (is_even && found + n_acting * shape->n_kv_heads * more <= p->n_bytes))) {
        fail_msg("%s: expected as much as fits in %llu bytes, found %llu", kvl_policy_press(p)->name,
                 (unsigned long long)p->n_bytes, (unsigned long long)found);
    }
    kvl_stream_destroy(s);
}

static void check_bytes(const kvl_press *press) {
    static const char *const rests[] = {"", ":skip=1"};
    const kvl_shape *shape = &model->shape;
    const uint64_t full = shape->n_layers * shape->n_kv_heads * kvl_cache_head_live_bytes(shape, n_text);
    if (is_listed(outcomes, press->name)) {
        return;
    }
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        char rest[64];
        snprintf(rest, sizeof rest, ":bytes=%llu%s", (unsigned long long)(full / 2 + 77), rests[i]);
        const kvl_policy p = policy_of(press, rest);
        if (!kvl_press_is_outcome(p.tree)) {
            assert_ok(kvl_budget_check(&p, shape, n_text, NULL));
            check_prompt_within(&p);
            check_steps_within(&p);
        }
    }
}

static void test_bytes(void **state) {
    (void)state;
    static const kvl_kv_type types[][2] = {
        {KVL_KV_F32, KVL_KV_F32}, {KVL_KV_F16, KVL_KV_BF16}, {KVL_KV_Q8_0, KVL_KV_Q4_0}};
    const kvl_shape plain = model->shape;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        model->shape.key_type = types[i][0];
        model->shape.value_type = types[i][1];
        for_each(check_bytes);
    }
    model->shape.n_residual = 19;
    for_each(check_bytes);
    model->shape = plain;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budgets),     cmocka_unit_test(test_protections),
        cmocka_unit_test(test_bits),        cmocka_unit_test(test_bits_of_quantised_caches),
        cmocka_unit_test(test_short_texts), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
