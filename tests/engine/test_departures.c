/* The log of departures says at every step what the cache held: for every press of the list, whatever the
 * passes, on forks and on nested streams. */
#include "press_texts.h"

#include "cache/calibration.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

enum { n_text = 72, max_heads = 32 };

static kvl_model *model;
static kvl_calibration *calibration;
static kvl_engine *engine;

static int open_model(void **state) {
    (void)state;
    if (kvl_model_open(&model, test_path("tests/golden/press/llama"), 1, NULL) != KVL_OK ||
        kvl_engine_create(&engine, model, &(kvl_engine_options){.n_threads = 2}, NULL) != KVL_OK) {
        return -1;
    }
    kvl_engine_set_prompts(engine, &prompts);
    calibration = test_calibrate(engine);
    model->shape.calibration = calibration;
    return 0;
}

static int close_model(void **state) {
    (void)state;
    kvl_engine_destroy(engine);
    kvl_model_close(model);
    kvl_calibration_destroy(calibration);
    return 0;
}

/* More than are run: for presses that look ahead. */
static const int32_t *all_tokens(void) {
    static int32_t tokens[2 * n_text];
    for (size_t t = 0; t < 2 * n_text; t++) {
        tokens[t] = (int32_t)((t * 7919 + 13) % 61);
    }
    return tokens;
}

static size_t n_heads(void) { return (size_t)model->shape.n_layers * model->shape.n_kv_heads; }

static kvl_stream *open_stream(const kvl_policy *p, size_t n_prefill) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, engine, NULL));
    s->seed = 7;
    s->n_prefill = n_prefill;
    s->text = all_tokens();
    s->n_text = 2 * n_text;
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    assert_ok(kvl_stream_log(s, &model->shape, n_text, NULL));
    return s;
}

/* What heads held for the query of each token: [heads][t][p]. */
typedef struct history {
    bool held[max_heads][n_text][n_text];
    uint32_t events[n_text];
    size_t n_events;
} history;

static void look(history *h, const kvl_stream *s, size_t t) {
    for (size_t i = 0; i < n_heads(); i++) {
        const uint32_t layer = (uint32_t)(i / model->shape.n_kv_heads);
        const uint32_t head = (uint32_t)(i % model->shape.n_kv_heads);
        const kvl_head_entries shared = kvl_cache_shared_entries(s->cache, layer, head);
        const kvl_head_entries own = kvl_cache_entries(s->cache, layer, head);
        memset(h->held[i][t], 0, sizeof h->held[i][t]);
        for (size_t j = 0; j < shared.n; j++) {
            h->held[i][t][shared.positions[j]] = true;
        }
        for (size_t j = 0; j < own.n; j++) {
            h->held[i][t][own.positions[j]] = true;
        }
    }
}

static void check(const char *name, const history *h, const kvl_stream *s) {
    const kvl_departures *d = s->departures;
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(d, &n_events);
    if (n_events != h->n_events || memcmp(events, h->events, n_events * sizeof *events) != 0) {
        fail_msg("%s: expected %zu compressions, found %zu or others", name, h->n_events, n_events);
    }
    for (size_t i = 0; i < n_heads() * n_text * n_text; i++) {
        const size_t head = i / n_text / n_text;
        const size_t t = i / n_text % n_text;
        const size_t p = i % n_text;
        if (kvl_departures_visible(d, (uint32_t)(head / model->shape.n_kv_heads),
                                   (uint32_t)(head % model->shape.n_kv_heads), p, t) != h->held[head][t][p]) {
            fail_msg("%s: head %zu, query %zu, key %zu: expected it %s", name, head, t, p,
                     h->held[head][t][p] ? "visible" : "gone");
        }
    }
}

/* One token, and what the policy then does. */
static void step(kvl_stream *s, const kvl_policy *p, size_t t, history *h) {
    kvl_row row = {.stream = s, .token = all_tokens()[t], .target = -1};
    assert_ok(kvl_engine_forward(engine, &row, 1, NULL));
    look(h, s, t);
    if (kvl_policy_fires(p, s, &model->shape)) {
        kvl_err err = {0};
        h->events[h->n_events++] = (uint32_t)t + 1;
        if (kvl_engine_compress(engine, &(kvl_compress_job){s, p}, 1, &err) != KVL_OK) {
            fail_msg("%s: after %zu tokens: %s", kvl_policy_press(p)->name, t + 1, err.msg);
        }
    }
}

static void check_press(const kvl_press *press, const char *rest, size_t n_prefill) {
    static history h;
    const kvl_policy p = policy_of(press, rest);
    kvl_stream *s = open_stream(&p, n_prefill);
    h.n_events = 0;
    for (size_t t = 0; t < n_text; t++) {
        step(s, &p, t, &h);
        if (t == n_text / 2) { /* the copy takes the log over */
            kvl_stream *copy = NULL;
            assert_ok(kvl_stream_fork(&copy, s, NULL));
            kvl_stream_destroy(s);
            s = copy;
        }
    }
    check(press->name, &h, s);
    kvl_stream_destroy(s);
}

static void test_every_press(void **state) {
    (void)state;
    size_t n = 0;
    size_t n_acting = 0;
    const kvl_press *const *presses = kvl_presses(&n);
    assert_true(n_heads() <= max_heads);
    for (size_t i = 0; i < n; i++) {
        check_press(presses[i], presses[i]->is_identity ? "" : ":keep=0.6:cap=30", 0);
        check_press(presses[i], presses[i]->is_identity ? "" : ":keep=0.4:skip=1", 50);
        n_acting++;
    }
    assert_true(n_acting > 30);
}

/* Compressions between the rows of passes, of any cut. */
static void test_between_rows(void **state) {
    (void)state;
    static history h;
    static const size_t cuts[] = {n_text, 17, 5};
    const kvl_policy p = test_policy("knorm:keep=0.5:cap=24:skip=0");
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        kvl_stream *s = open_stream(&p, 0);
        kvl_stream *steps = open_stream(&p, 0);
        kvl_row rows[n_text];
        h.n_events = 0;
        for (size_t t = 0; t < n_text; t++) {
            const size_t n_before = h.n_events;
            step(steps, &p, t, &h);
            rows[t] = (kvl_row){.stream = s,
                                .token = all_tokens()[t],
                                .target = -1,
                                .evict = h.n_events > n_before ? &p : NULL};
        }
        assert_true(h.n_events > 2);
        for (size_t t = 0; t < n_text; t += cuts[c]) {
            assert_ok(kvl_engine_forward(engine, rows + t, kvl_min_size(cuts[c], n_text - t), NULL));
        }
        check("between rows", &h, s);
        kvl_stream_destroy(s);
        kvl_stream_destroy(steps);
    }
}

/* Two budgets of one ranking: the log of a nested stream is that of a stream compressed alone. */
static void test_nested(void **state) {
    (void)state;
    enum { n_first = 40 };
    static history h[2];
    const kvl_policy policies[2] = {test_policy("knorm:keep=0.7:cadence=once:order=score:cap=40"),
                                    test_policy("knorm:keep=0.3:cadence=once:order=score:cap=40")};
    kvl_stream *base = open_stream(&policies[0], 0);
    kvl_stream *nested[2];
    for (size_t t = 0; t < n_first; t++) {
        kvl_row row = {.stream = base, .token = all_tokens()[t], .target = -1};
        assert_ok(kvl_engine_forward(engine, &row, 1, NULL));
        look(&h[0], base, t);
        look(&h[1], base, t);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_ok(kvl_stream_nest(&nested[i], base, &policies[i], &model->shape, NULL));
        h[i].events[0] = n_first;
        h[i].n_events = 1;
    }
    assert_ok(kvl_engine_compress(engine, &(kvl_compress_job){base, &policies[0]}, 1, NULL));
    for (size_t i = 0; i < 2; i++) {
        kvl_stream_note_departures(nested[i]);
        for (size_t t = n_first; t < n_text; t++) {
            kvl_row row = {.stream = nested[i], .token = all_tokens()[t], .target = -1};
            assert_ok(kvl_engine_forward(engine, &row, 1, NULL));
            look(&h[i], nested[i], t);
        }
        check("nested", &h[i], nested[i]);
        kvl_stream_destroy(nested[i]);
    }
    kvl_stream_destroy(base);
}

/* Tokens behind the log's end are left out; a counting stream has no log; memory that ends is no crash. */
static void test_bounds(void **state) {
    (void)state;
    kvl_stream *s = NULL;
    const kvl_policy p = test_policy("recency:size=4");
    assert_ok(kvl_stream_create_counting(&s, &model->shape, NULL));
    assert_ok(kvl_stream_log(s, &model->shape, n_text, NULL));
    assert_null(s->departures);
    kvl_stream_destroy(s);
    for (int64_t k = 0; k < 3; k++) {
        assert_ok(kvl_stream_create(&s, engine, NULL));
        kvl_alloc_fail_after(k);
        assert_int_equal(kvl_stream_log(s, &model->shape, n_text, NULL), KVL_E_NOMEM);
        kvl_alloc_fail_after(-1);
        assert_null(s->departures);
        kvl_stream_destroy(s);
    }
    assert_ok(kvl_stream_create(&s, engine, NULL));
    assert_ok(kvl_stream_log(s, &model->shape, 10, NULL));
    for (size_t t = 0; t < 20; t++) {
        kvl_row row = {.stream = s, .token = all_tokens()[t], .target = -1};
        assert_ok(kvl_engine_forward(engine, &row, 1, NULL));
        assert_ok(kvl_engine_compress_if_due(engine, s, &p, NULL));
    }
    size_t n_events = 0;
    const uint32_t *events = kvl_departures_events(s->departures, &n_events);
    assert_int_equal(n_events, 6); /* after tokens 5 .. 10 */
    assert_int_equal(events[0], 5);
    assert_int_equal(events[5], 10);
    for (size_t t = 0; t < 10; t++) {
        assert_int_equal(kvl_departures_head(s->departures, 1, 0)[t], t + 5);
    }
    kvl_stream_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_press),
        cmocka_unit_test(test_between_rows),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
