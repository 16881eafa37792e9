/* The quality of a sweep's predictions against whole logits of two plain streams and against transformers,
 * and its identities. */
#include "quality_golden.h"

static kvl_model *model;
static kvl_tokenizer *tokenizer;
static kvl_samples samples; /* W1 P1 B1 */

static int open_all(void **state) {
    (void)state;
    bool is_open = kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) == KVL_OK &&
                   kvl_tokenizer_open(&tokenizer, test_path("models/novels-7m"), NULL) == KVL_OK &&
                   kvl_samples_load(&samples, "W1 P1 B1", test_path("data"), tokenizer, NULL) == KVL_OK;
    return is_open ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    kvl_samples_free(&samples);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    return 0;
}

enum { MAX_POLICIES = 8 };

typedef struct setting {
    kvl_protocol protocol;
    kvl_policy policies[MAX_POLICIES];
    size_t n;
    unsigned n_threads;
    size_t max_steps;
} setting;

static kvl_sweep run(const setting *s) {
    kvl_sweep out;
    kvl_engine *engine = NULL;
    kvl_engine_options options = {.n_threads = s->n_threads};
    assert_ok(kvl_engine_create(&engine, model, &options, &assert_ok_err));
    const kvl_sweep_config config = {.protocol = s->protocol,
                                     .samples = &samples,
                                     .policies = s->policies,
                                     .n_policies = s->n,
                                     .max_steps = s->max_steps,
                                     .wants_quality = true};
    assert_ok(kvl_sweep_run(&out, engine, &config, &assert_ok_err));
    kvl_engine_destroy(engine);
    return out;
}

/* ---- against whole logits ---- */

static double log_sum_exp(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)x[0]);
    }
    return log(sum) + (double)x[0];
}

static size_t largest(const float *x, size_t n) {
    size_t top = 0;
    for (size_t i = 1; i < n; i++) {
        top = x[i] > x[top] ? i : top;
    }
    return top;
}

/* By the definitions, in double. */
static void check_token(const kvl_token_quality *q, const float *baseline, const float *own, int32_t target) {
    const size_t n = model->shape.n_vocab;
    const double lse_a = log_sum_exp(baseline, n);
    const double lse_b = log_sum_exp(own, n);
    double entropy = 0, kl = 0;
    for (size_t i = 0; i < n; i++) {
        const double log_a = (double)baseline[i] - lse_a;
        const double log_b = (double)own[i] - lse_b;
        entropy -= exp(log_b) * log_b;
        kl += exp(log_a) * (log_a - log_b);
    }
    const size_t top = largest(own, n);
    assert_true(fabs((double)q->entropy - entropy) < 1e-5);
    assert_true(fabs((double)q->kl - kl) < 1e-5);
    assert_true(fabs((double)q->p_top - exp((double)own[top] - lse_b)) < 1e-6);
    assert_int_equal(q->is_hit, top == (size_t)target);
    assert_int_equal(q->is_same_top, top == largest(baseline, n));
}

/* A policy token by token beside a stream without one. */
static void check_cell(const kvl_sweep *s, size_t policy, size_t sample, size_t prefill) {
    const kvl_cell *c = kvl_sweep_cell(s, policy, sample);
    const int32_t *ids = samples.items[sample].ids.ids;
    kvl_engine *engine = NULL;
    kvl_stream *streams[2] = {0};
    float *logits[2] = {kvl_calloc(model->shape.n_vocab, sizeof(float)),
                        kvl_calloc(model->shape.n_vocab, sizeof(float))};
    kvl_engine_options options = {.n_threads = 2};
    assert_ok(kvl_engine_create(&engine, model, &options, &assert_ok_err));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(kvl_stream_create(&streams[i], engine, &assert_ok_err));
        streams[i]->n_prefill = prefill;
        streams[i]->seed = samples.items[sample].hash;
        assert_ok(kvl_stream_watch(streams[i], &model->shape,
                                   kvl_policy_needs(&s->policies[policy], &model->shape), &assert_ok_err));
    }
    for (size_t t = 0; t + 1 < c->n_tokens; t++) {
        kvl_row rows[2];
        for (size_t i = 0; i < 2; i++) {
            rows[i] =
                (kvl_row){.stream = streams[i], .token = ids[t], .target = ids[t + 1], .logits = logits[i]};
        }
        assert_ok(kvl_engine_forward(engine, rows, 2, &assert_ok_err));
        if (t >= c->first_scored) {
            check_token(&c->quality[t - c->first_scored], logits[0], logits[1], ids[t + 1]);
        }
        if (t + 1 >= prefill) {
            assert_ok(kvl_engine_compress_if_due(engine, streams[1], &s->policies[policy], &assert_ok_err));
        }
    }
    for (size_t i = 0; i < 2; i++) {
        kvl_stream_destroy(streams[i]);
        kvl_free(logits[i]);
    }
    kvl_engine_destroy(engine);
}

static void test_against_whole_logits(void **state) {
    (void)state;
    setting s = {.protocol = {.max_tokens = 90, .baseline_tokens = 100}};
    s.policies[s.n++] = test_policy("knorm:keep=0.9:cap=32");
    s.policies[s.n++] = test_policy("recency:size=8:cap=16:cadence=5");
    s.policies[s.n++] = test_policy("cam(knorm):keep=0.4:cap=24");
    kvl_sweep of_steps = run(&s);
    for (size_t p = 1; p <= s.n; p++) {
        check_cell(&of_steps, p, 1, 0);
    }
    kvl_sweep_free(&of_steps);
    s = (setting){.protocol = {.max_tokens = 90, .prefill = 40, .count_from = 40}};
    s.policies[s.n++] = test_policy("knorm:keep=0.5:cadence=once:order=score");
    s.policies[s.n++] = test_policy("knorm:keep=0.2:cadence=once:order=score");
    kvl_sweep of_prompts = run(&s);
    for (size_t p = 1; p <= s.n; p++) {
        check_cell(&of_prompts, p, 2, 40);
    }
    kvl_sweep_free(&of_prompts);
}

static void test_against_transformers(void **state) {
    (void)state;
    check_quality_golden("tests/golden/quality.novels-7m.json", model);
}

/* ---- identities ---- */

static bool is_untouched(const kvl_token_quality *q) { return q->kl == 0 && q->is_same_top; }

/* A cache that is never compressed, or not yet, gives exactly the baseline's predictions. */
static void test_identity_is_exact(void **state) {
    (void)state;
    setting s = {.protocol = {.max_tokens = 80}};
    s.policies[s.n++] = test_policy("knorm:size=80:cap=16");
    s.policies[s.n++] = test_policy("cam(knorm):size=100:cap=16");
    s.policies[s.n++] = test_policy("knorm:keep=0.5:cap=40");
    kvl_sweep sweep = run(&s);
    for (size_t i = 0; i < sweep.n_samples; i++) {
        const kvl_cell *none = kvl_sweep_cell(&sweep, 0, i);
        for (size_t p = 0; p <= 2; p++) {
            const kvl_cell *c = kvl_sweep_cell(&sweep, p, i);
            assert_int_equal(c->n_scored, 79);
            for (size_t t = 0; t < c->n_scored; t++) {
                assert_true(is_untouched(&c->quality[t]));
                assert_true(c->quality[t].entropy == none->quality[t].entropy);
                assert_true(c->quality[t].p_top == none->quality[t].p_top);
                assert_int_equal(c->quality[t].is_hit, none->quality[t].is_hit);
            }
        }
        const kvl_cell *half = kvl_sweep_cell(&sweep, 3, i);
        size_t n_other = 0;
        for (size_t t = 0; t < half->n_scored; t++) {
            assert_true(t > half->first_event || is_untouched(&half->quality[t]));
            n_other += half->quality[t].kl > 0;
        }
        assert_int_equal(n_other, half->n_scored - 1 - half->first_event);
    }
    kvl_sweep_free(&sweep);
}

static void check_same(const kvl_sweep *a, const kvl_sweep *b) {
    for (size_t i = 0; i < a->n_policies * a->n_samples; i++) {
        const kvl_cell *c = &a->cells[i];
        assert_memory_equal(c->nll, b->cells[i].nll, c->n_scored * sizeof *c->nll);
        for (size_t t = 0; t < c->n_scored; t++) {
            const kvl_token_quality *p = &c->quality[t];
            const kvl_token_quality *q = &b->cells[i].quality[t];
            assert_true(p->entropy == q->entropy && p->p_top == q->p_top && p->kl == q->kl);
            assert_true(p->is_hit == q->is_hit && p->is_same_top == q->is_same_top);
        }
    }
}

/* Threads, blocks and company change no bits. */
static void test_same_bits(void **state) {
    (void)state;
    setting s = {.protocol = {.max_tokens = 100, .baseline_tokens = 100}};
    s.policies[s.n++] = test_policy("knorm:keep=0.9:cap=32");
    s.policies[s.n++] = test_policy("cam(knorm):keep=0.4:cap=24");
    s.policies[s.n++] = test_policy("knorm:keep=0.5:cap=64:cadence=once:order=score");
    s.policies[s.n++] = test_policy("knorm:keep=0.3:cap=64:cadence=once:order=score");
    s.n_threads = 1;
    kvl_sweep one = run(&s);
    s.n_threads = 3;
    s.max_steps = 7;
    kvl_sweep three = run(&s);
    check_same(&one, &three);
    kvl_sweep_free(&three);
    for (size_t p = 0; p < s.n; p++) {
        setting solo = {.protocol = {.max_tokens = 100}, .policies = {s.policies[p]}, .n = 1};
        kvl_sweep alone = run(&solo);
        kvl_sweep part = {.cells = one.cells + (p + 1) * one.n_samples, .n_policies = 1, .n_samples = 3};
        alone.cells += alone.n_samples;
        check_same(&part, &alone);
        alone.cells -= alone.n_samples;
        kvl_sweep_free(&alone);
    }
    kvl_sweep_free(&one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_whole_logits),
        cmocka_unit_test(test_against_transformers),
        cmocka_unit_test(test_identity_is_exact),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
