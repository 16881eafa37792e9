/* Streams that share one sorted cache: the bits of streams that were forked and compressed alone. */
#include "support.h"

#include "engine/engine.h"
#include "kernel/kernel.h"

#include <stdio.h>
#include <string.h>

enum { n_prompt = 37, n_steps = 8, n_chunk = 11, n_policies = 8, n_lanes = n_policies + 1 };

/* One group of queries per head, windows, caps, norms of queries, learned positions. */
static const char *const families[] = {"gpt_neox", "llama", "mistral", "gemma2", "gemma3", "qwen3", "gpt2"};
enum { n_families = sizeof families / sizeof families[0] };

/* Budgets from all but one entry to one, more than a tile of them; two that keep the same. */
static const char *const budgets[n_policies] = {"size=36", "keep=0.9", "keep=0.7", "keep=0.5",
                                                "size=19", "keep=0.3", "size=3",   "size=1"};

static void make_policies(kvl_policy *out, const char *rule) {
    for (size_t i = 0; i < n_policies; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s:cadence=once:order=score:%s", rule, budgets[i]);
        kvl_policy_init(&out[i]);
        assert_ok(kvl_policy_parse(&out[i], text, NULL));
    }
}

static int32_t token_at(const kvl_engine *e, size_t t) {
    return (int32_t)((t * 7919 + 13) % kvl_engine_model(e)->shape.n_vocab);
}

/* n tokens from t on, of every stream; nll [n_streams, n] or NULL. `evict` compresses one of the streams on
 * the way, or is NULL. */
static void feed(kvl_engine *e, kvl_stream *const *streams, size_t n_streams, size_t t, size_t n, double *nll,
                 const kvl_policy *evict) {
    kvl_row rows[n_lanes * n_prompt];
    for (size_t i = 0; i < n_streams * n; i++) { /* rows of the streams in turn, not one after the other */
        rows[i] = (kvl_row){.stream = streams[i % n_streams],
                            .token = token_at(e, t + i / n_streams),
                            .target = token_at(e, t + i / n_streams + 1)};
        rows[i].evict = i % n_streams == 3 && i / n_streams == n / 2 ? evict : NULL;
    }
    assert_ok(kvl_engine_forward(e, rows, n_streams * n, NULL));
    for (size_t i = 0; nll != NULL && i < n_streams * n; i++) {
        nll[i % n_streams * n + i / n_streams] = rows[i].nll;
    }
}

/* A prompt's stream, compressed by each policy on a fork, or nested; [n_policies] is left as it was. */
static void part(kvl_engine *e, const kvl_policy *policies, bool is_nested, kvl_stream **out) {
    const kvl_shape *shape = &kvl_engine_model(e)->shape;
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, e, NULL));
    feed(e, &s, 1, 0, n_prompt, NULL, NULL);
    assert_ok(kvl_stream_fork(&out[n_policies], s, NULL));
    for (size_t i = 0; i < n_policies; i++) {
        assert_true(kvl_policy_fires(&policies[i], s, shape));
        assert_true(kvl_policies_nest(&policies[i], &policies[0], s, shape));
        if (is_nested) {
            assert_ok(kvl_stream_nest(&out[i], s, &policies[i], shape, NULL));
        } else {
            assert_ok(kvl_stream_fork(&out[i], s, NULL));
            assert_ok(kvl_engine_compress(e, &(kvl_compress_job){out[i], &policies[i]}, 1, NULL));
        }
    }
    if (is_nested) {
        assert_ok(kvl_engine_compress(e, &(kvl_compress_job){s, &policies[0]}, 1, NULL));
    }
    kvl_stream_destroy(s);
}

typedef struct outcome {
    double steps[n_steps][n_lanes];
    double chunk[n_lanes * n_chunk];
    double last[n_lanes];
    size_t n_kept[n_lanes];
    uint64_t n_events[n_lanes];
    uint64_t live_bytes[n_lanes];
} outcome;

/* Steps of one token, a chunk in which one stream is compressed again, and one more token after a second
 * compression of two others. */
static void go_on(kvl_engine *e, kvl_stream *const *streams, outcome *out) {
    kvl_policy again;
    memset(out, 0, sizeof *out);
    for (size_t t = 0; t < n_steps; t++) {
        feed(e, streams, n_lanes, n_prompt + t, 1, out->steps[t], NULL);
    }
    kvl_policy_init(&again);
    assert_ok(kvl_policy_parse(&again, "recency:keep=0.6:skip=0", NULL));
    feed(e, streams, n_lanes, n_prompt + n_steps, n_chunk, out->chunk, &again);
    const kvl_compress_job jobs[2] = {{streams[2], &again}, {streams[6], &again}};
    assert_ok(kvl_engine_compress(e, jobs, 2, NULL));
    feed(e, streams, n_lanes, n_prompt + n_steps + n_chunk, 1, out->last, NULL);
    for (size_t i = 0; i < n_lanes; i++) {
        out->n_kept[i] = kvl_cache_len(streams[i]->cache, 1, 0);
        out->n_events[i] = streams[i]->n_events;
        out->live_bytes[i] = kvl_cache_live_bytes(streams[i]->cache);
    }
}

static void run(const kvl_model *m, unsigned n_threads, const char *isa, const char *rule, bool is_nested,
                outcome *out) {
    kvl_engine *e = NULL;
    kvl_policy policies[n_policies];
    kvl_stream *streams[n_lanes];
    assert_ok(kvl_engine_create(&e, m, &(kvl_engine_options){.n_threads = n_threads, .isa = isa}, NULL));
    make_policies(policies, rule);
    part(e, policies, is_nested, streams);
    if (is_nested) { /* the order of budgets in a batch does not matter */
        kvl_stream *swap = streams[1];
        streams[1] = streams[5];
        streams[5] = swap;
    }
    go_on(e, streams, out);
    for (size_t i = 0; i < n_lanes; i++) {
        kvl_stream_destroy(streams[i]);
    }
    kvl_engine_destroy(e);
}

/* Moves what was swapped back. */
static void swap_back(outcome *o) {
    const double *from[2] = {o->chunk + 1 * n_chunk, o->chunk + 5 * n_chunk};
    for (size_t t = 0; t < n_steps; t++) {
        double x = o->steps[t][1];
        o->steps[t][1] = o->steps[t][5];
        o->steps[t][5] = x;
    }
    for (size_t t = 0; t < n_chunk; t++) {
        double x = from[0][t];
        o->chunk[1 * n_chunk + t] = from[1][t];
        o->chunk[5 * n_chunk + t] = x;
    }
    double last = o->last[1];
    size_t n_kept = o->n_kept[1];
    uint64_t bytes = o->live_bytes[1];
    o->last[1] = o->last[5];
    o->last[5] = last;
    o->n_kept[1] = o->n_kept[5];
    o->n_kept[5] = n_kept;
    o->live_bytes[1] = o->live_bytes[5];
    o->live_bytes[5] = bytes;
}

static void test_nested_is_exact(void **state) {
    (void)state;
    static const char *const rules[] = {"knorm", "random:skip=0", "knorm(high):sinks=2:recent=5"};
    for (size_t f = 0; f < n_families; f++) {
        char path[256];
        kvl_model *m = NULL;
        snprintf(path, sizeof path, "tests/golden/families/%s", families[f]);
        assert_ok(kvl_model_open(&m, test_path(path), 2, NULL));
        for (size_t i = 0; i < 3; i++) {
            outcome alone, nested;
            const size_t n_types = m->shape.head_dim % 32 == 0 ? KVL_N_KV_TYPES : KVL_KV_Q8_0;
            m->shape.key_type = (kvl_kv_type)((f + i) % n_types);
            m->shape.value_type = (kvl_kv_type)((f + 2 * i) % n_types);
            for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
                run(m, 1, *isa, rules[i], false, &alone);
                assert_int_equal(alone.n_kept[0], 36 + n_steps + n_chunk + 1);
                assert_memory_not_equal(alone.steps[0], alone.steps[0] + 7, sizeof(double));
                for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
                    run(m, n_threads, *isa, rules[i], true, &nested);
                    swap_back(&nested);
                    assert_memory_equal(&nested, &alone, sizeof alone);
                }
            }
        }
        kvl_model_close(m);
    }
}

/* What must not be shared. */
static void test_what_does_not_nest(void **state) {
    (void)state;
    static const char like[] = "knorm:keep=0.5:cadence=once:order=score";
    static const char *const others[] = {"knorm:keep=0.3:cadence=step:order=score",
                                         "knorm:keep=0.3:cadence=once",
                                         "knorm(high):keep=0.3:cadence=once:order=score",
                                         "recency:keep=0.3:cadence=once:order=score",
                                         "knorm:keep=0.3:cadence=once:order=score:sinks=1",
                                         "knorm:keep=0.3:cadence=once:order=score:recent=1",
                                         "knorm:keep=0.3:cadence=once:order=score:skip=0",
                                         "knorm:keep=0.3:cadence=once:order=score:positions=cache-length"};
    kvl_model *m = NULL;
    kvl_engine *e = NULL;
    kvl_stream *s = NULL;
    kvl_stream *above = NULL;
    kvl_err err = {0};
    kvl_policy a, b;
    assert_ok(kvl_model_open(&m, test_path("tests/golden/families/llama"), 2, NULL));
    assert_ok(kvl_engine_create(&e, m, &(kvl_engine_options){.n_threads = 1}, NULL));
    assert_ok(kvl_stream_create(&s, e, NULL));
    feed(e, &s, 1, 0, n_prompt, NULL, NULL);
    kvl_policy_init(&a);
    assert_ok(kvl_policy_parse(&a, like, NULL));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        kvl_policy_init(&b);
        assert_ok(kvl_policy_parse(&b, others[i], NULL));
        assert_false(kvl_policies_nest(&a, &b, s, &m->shape));
        assert_false(kvl_policies_nest(&b, &a, s, &m->shape));
    }
    kvl_policy_init(&b);
    assert_ok(kvl_policy_parse(&b, "knorm:size=9:cap=20:trigger=gt:cadence=once:order=score", NULL));
    assert_true(kvl_policies_nest(&a, &b, s, &m->shape));
    /* a base must not be reduced to less than others share; nothing stands on what stands on another */
    assert_ok(kvl_stream_nest(&above, s, &a, &m->shape, NULL));
    assert_int_equal(kvl_engine_compress(e, &(kvl_compress_job){s, &b}, 1, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "expected 19 entries, which are shared, found 9"));
    assert_false(kvl_policies_nest(&a, &b, above, &m->shape));
    kvl_stream_destroy(above);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
    kvl_model_close(m);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_model *m = NULL;
    kvl_engine *e = NULL;
    kvl_policy policies[n_policies];
    kvl_status status = KVL_E_NOMEM;
    assert_ok(kvl_model_open(&m, test_path("tests/golden/families/llama"), 2, NULL));
    assert_ok(kvl_engine_create(&e, m, &(kvl_engine_options){.n_threads = 2}, NULL));
    make_policies(policies, "knorm");
    for (int64_t k = 0; status != KVL_OK && k < 1000; k++) {
        kvl_stream *s = NULL;
        kvl_stream *above = NULL;
        assert_ok(kvl_stream_create(&s, e, NULL));
        feed(e, &s, 1, 0, n_prompt, NULL, NULL);
        kvl_row row = {.token = 1, .target = 2};
        kvl_alloc_fail_after(k);
        status = kvl_stream_nest(&above, s, &policies[3], &m->shape, NULL);
        status =
            status == KVL_OK ? kvl_engine_compress(e, &(kvl_compress_job){s, policies}, 1, NULL) : status;
        row.stream = above;
        status = status == KVL_OK ? kvl_engine_forward(e, &row, 1, NULL) : status;
        kvl_alloc_fail_after(-1);
        assert_true(status == KVL_OK || status == KVL_E_NOMEM);
        kvl_stream_destroy(s);
        kvl_stream_destroy(above);
    }
    assert_int_equal(status, KVL_OK);
    kvl_engine_destroy(e);
    kvl_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nested_is_exact),
        cmocka_unit_test(test_what_does_not_nest),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
