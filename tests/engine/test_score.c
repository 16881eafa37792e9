/* What a row's prediction is worth beside its NLL: entropy, most likely token, and the divergence from a
 * reference; against sums over whole logits and against torch, and the same bits in any company. */
#include "support.h"

#include "engine/engine.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { n_tokens = 80 };

static kvl_model *model;
static size_t width, n_vocab;
static int32_t ids[n_tokens];

static kvl_engine *engine_of(const kvl_model *m, unsigned n_threads, const char *isa) {
    kvl_engine *e = NULL;
    kvl_engine_options options = {.n_threads = n_threads, .isa = isa};
    assert_ok(kvl_engine_create(&e, m, &options, NULL));
    return e;
}

static kvl_stream *stream_of(const kvl_engine *e) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, e, NULL));
    return s;
}

static float *floats(size_t n) {
    float *x = kvl_calloc(n, sizeof *x);
    assert_non_null(x);
    return x;
}

static int open_model(void **state) {
    (void)state;
    if (kvl_model_open(&model, test_path("models/novels-7m"), 2, NULL) != KVL_OK) {
        return -1;
    }
    width = model->shape.width;
    n_vocab = model->shape.n_vocab;
    for (size_t t = 0; t < n_tokens; t++) {
        ids[t] = (int32_t)((t * 7919 + 13) % 4000);
    }
    return 0;
}

static int close_model(void **state) {
    (void)state;
    kvl_model_close(model);
    return 0;
}

/* One row each of a context whole and of one that begins later: `hidden` and predictions of both. */
static void two_contexts(kvl_engine *e, kvl_row whole[n_tokens], kvl_row late[n_tokens], float *hidden) {
    kvl_stream *s = stream_of(e);
    for (size_t t = 0; t < n_tokens; t++) {
        whole[t] = (kvl_row){.stream = s, .token = ids[t], .target = -1, .hidden = hidden + t * width};
    }
    assert_ok(kvl_engine_forward(e, whole, n_tokens, NULL));
    kvl_stream_destroy(s);
    s = stream_of(e);
    for (size_t t = n_tokens / 2; t < n_tokens; t++) {
        late[t] = (kvl_row){.stream = s,
                            .token = ids[t],
                            .target = ids[(t + 1) % n_tokens],
                            .wants_top = true,
                            .wants_entropy = true,
                            .reference = hidden + t * width};
    }
    assert_ok(kvl_engine_forward(e, late + n_tokens / 2, n_tokens / 2, NULL));
    kvl_stream_destroy(s);
}

static double log_sum_exp(const float *x, size_t n) {
    double most = (double)x[0], sum = 0;
    for (size_t i = 1; i < n; i++) {
        most = fmax(most, (double)x[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - most);
    }
    return most + log(sum);
}

static double by_logits(double *entropy, size_t *top, const float *a, const float *b, size_t n) {
    const double lse_a = log_sum_exp(a, n), lse_b = log_sum_exp(b, n);
    double kl = 0;
    *entropy = 0;
    *top = 0;
    for (size_t i = 0; i < n; i++) {
        const double log_p = (double)a[i] - lse_a, log_q = (double)b[i] - lse_b;
        kl += exp(log_p) * (log_p - log_q);
        *entropy -= exp(log_q) * log_q;
        *top = b[i] > b[*top] ? i : *top;
    }
    return kl;
}

static void check_near(double got, double want, double bound, const char *what) {
    if (!(fabs(got - want) <= bound * fmax(1.0, fabs(want)))) {
        fail_msg("%s: expected %.12g, found %.12g", what, want, got);
    }
}

static void check_against_logits(const char *isa) {
    enum { n = 12 };
    kvl_engine *e = engine_of(model, 2, isa);
    kvl_stream *s = stream_of(e);
    float *a = floats(n * n_vocab), *b = floats(n * n_vocab), *hidden = floats(n * width);
    kvl_row rows[n];
    for (size_t t = 0; t < n; t++) {
        rows[t] = (kvl_row){.stream = s,
                            .token = ids[t],
                            .target = -1,
                            .hidden = hidden + t * width,
                            .logits = a + t * n_vocab};
    }
    assert_ok(kvl_engine_forward(e, rows, n, NULL));
    for (size_t t = 0; t < n; t++) { /* the same tokens behind other ones */
        rows[t].hidden = NULL;
        rows[t].reference = hidden + t * width;
        rows[t].wants_top = rows[t].wants_entropy = true;
        rows[t].target = ids[t + 1];
        rows[t].logits = b + t * n_vocab;
    }
    assert_ok(kvl_engine_forward(e, rows, n, NULL));
    for (size_t t = 0; t < n; t++) {
        const float *at = a + t * n_vocab, *bt = b + t * n_vocab;
        double entropy = 0, other = 0;
        size_t top = 0, reference_top = 0;
        const double kl = by_logits(&entropy, &top, at, bt, n_vocab);
        by_logits(&other, &reference_top, bt, at, n_vocab);
        assert_true(kl > 1e-3);
        check_near(rows[t].kl, kl, 1e-6, "KL");
        check_near(rows[t].entropy, entropy, 2e-6, "entropy");
        check_near(rows[t].p_top, exp((double)bt[top] - log_sum_exp(bt, n_vocab)), 1e-6, "p_top");
        check_near(rows[t].nll, log_sum_exp(bt, n_vocab) - (double)bt[ids[t + 1]], 1e-6, "NLL");
        assert_int_equal(rows[t].top, top);
        assert_int_equal(rows[t].is_same_top, top == reference_top);
    }
    kvl_free(a);
    kvl_free(b);
    kvl_free(hidden);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

static void test_against_logits(void **state) {
    (void)state;
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        check_against_logits(*isa);
    }
}

static void check_golden(const json_t *golden, const char *variant) {
    enum { most_ids = 64, most_width = 64, n_references = 2 };
    char path[64];
    kvl_model *m = NULL;
    kvl_row rows[most_ids + n_references] = {0};
    float references[n_references][most_width];
    const json_t *list = json_object_get(golden, "references"), *tokens = json_object_get(golden, "ids");
    const size_t n = json_array_size(tokens);
    snprintf(path, sizeof path, "tests/golden/families/%s", variant);
    assert_ok(kvl_model_open(&m, test_path(path), 1, NULL));
    assert_true(m->shape.width == most_width && n <= most_ids);
    assert_int_equal(json_array_size(list), n_references);
    kvl_engine *e = engine_of(m, 2, NULL);
    for (size_t r = 0; r < n_references; r++) {
        const json_t *reference = json_array_get(list, r);
        kvl_stream *s = stream_of(e);
        for (size_t t = 0; t < n; t++) {
            rows[t] = (kvl_row){
                .stream = s, .token = (int32_t)json_integer_value(json_array_get(tokens, t)), .target = -1};
        }
        for (size_t i = 0; i < most_width; i++) {
            references[r][i] =
                (float)json_number_value(json_array_get(json_object_get(reference, "state"), i));
        }
        kvl_row *last = &rows[n - 1];
        last->reference = references[r];
        last->wants_entropy = last->wants_top = true;
        assert_ok(kvl_engine_forward(e, rows, n, NULL));
        const double bound = 2e-5; /* that of the logits */
        assert_true(fabs(last->kl - json_number_value(json_object_get(reference, "kl"))) < bound);
        assert_true(fabs(last->entropy - json_number_value(json_object_get(golden, "entropy"))) < bound);
        assert_true(fabs(last->p_top - json_number_value(json_object_get(golden, "p_top"))) < bound);
        assert_int_equal(last->top, json_integer_value(json_object_get(golden, "top")));
        assert_int_equal(last->is_same_top, json_is_true(json_object_get(reference, "is_same_top")));
        kvl_stream_destroy(s);
    }
    kvl_engine_destroy(e);
    kvl_model_close(m);
}

/* One of them caps its logits; tops differ in one case. */
static void test_against_torch(void **state) {
    (void)state;
    static const char *const variants[] = {"llama", "gemma2", "gpt_neox"};
    json_t *goldens = test_load_json("tests/golden/score.json");
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        check_golden(json_object_get(goldens, variants[i]), variants[i]);
    }
    json_decref(goldens);
}

static void assert_same_bits(const kvl_row *a, const kvl_row *b) {
    assert_memory_equal(&a->kl, &b->kl, sizeof a->kl);
    assert_memory_equal(&a->entropy, &b->entropy, sizeof a->entropy);
    assert_memory_equal(&a->p_top, &b->p_top, sizeof a->p_top);
    assert_memory_equal(&a->nll, &b->nll, sizeof a->nll);
    assert_int_equal(a->top, b->top);
    assert_int_equal(a->is_same_top, b->is_same_top);
}

/* A row alone, with copies of its reference, and in one pass with the row that is the reference. */
static void check_company(kvl_engine *e, const kvl_row *late, const float *hidden) {
    kvl_stream *full = stream_of(e), *cut = stream_of(e), *twin = stream_of(e);
    float *state = floats(width), *copy = floats(width);
    for (size_t t = 0; t < n_tokens; t++) {
        memcpy(copy, hidden + t * width, width * sizeof *copy);
        kvl_row rows[3] = {{.stream = full, .token = ids[t], .target = -1, .hidden = state}};
        size_t n = 1;
        for (int k = 0; t >= n_tokens / 2 && k < 2; k++) {
            rows[n] = late[t];
            rows[n].stream = k == 0 ? cut : twin;
            rows[n].reference = k == 0 ? state : copy;
            rows[n++].kl = -1;
        }
        rows[0].wants_entropy = t % 3 == 0; /* else it is no row that is scored */
        assert_ok(kvl_engine_forward(e, rows, n, NULL));
        assert_memory_equal(state, hidden + t * width, width * sizeof *state);
        for (size_t i = 1; i < n; i++) {
            assert_same_bits(&rows[i], &late[t]);
        }
    }
    kvl_free(state);
    kvl_free(copy);
    kvl_stream_destroy(full);
    kvl_stream_destroy(cut);
    kvl_stream_destroy(twin);
}

static void test_same_bits_in_any_company(void **state) {
    (void)state;
    for (const char *const *isa = kvl_kernels_names(); *isa != NULL; isa++) {
        kvl_row whole[n_tokens], late[n_tokens], again[n_tokens];
        float *hidden = floats(n_tokens * width), *other = floats(n_tokens * width);
        kvl_engine *e = engine_of(model, 1, *isa);
        two_contexts(e, whole, late, hidden);
        kvl_engine_destroy(e);
        for (unsigned threads = 2; threads <= 3; threads++) {
            e = engine_of(model, threads, *isa);
            two_contexts(e, whole, again, other);
            assert_memory_equal(hidden, other, n_tokens * width * sizeof *hidden);
            for (size_t t = n_tokens / 2; t < n_tokens; t++) {
                assert_same_bits(&again[t], &late[t]);
            }
            if (strcmp(*isa, "c") != 0) { /* the slow one */
                check_company(e, late, hidden);
            }
            kvl_engine_destroy(e);
        }
        kvl_free(hidden);
        kvl_free(other);
    }
}

/* More rows and references than fit one block; the row's own state, aliased or kept from an earlier pass. */
static void test_own_state_gives_zero(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 2, NULL);
    kvl_row rows[n_tokens];
    float *hidden = floats(n_tokens * width);
    for (int pass = 0; pass < 2; pass++) {
        kvl_stream *s = stream_of(e);
        for (size_t t = 0; t < n_tokens; t++) {
            rows[t] = (kvl_row){.stream = s,
                                .token = ids[t],
                                .target = -1,
                                .reference = hidden + t * width,
                                .hidden = pass == 0 ? hidden + t * width : NULL,
                                .kl = -1};
        }
        assert_ok(kvl_engine_forward(e, rows, n_tokens, NULL));
        for (size_t t = 0; t < n_tokens; t++) {
            assert_true(rows[t].kl == 0.0);
            assert_true(rows[t].is_same_top);
        }
        kvl_stream_destroy(s);
    }
    kvl_free(hidden);
    kvl_engine_destroy(e);
}

static void test_bad_reference(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 1, NULL);
    kvl_stream *s = stream_of(e);
    kvl_err err = {0};
    float *reference = floats(width);
    reference[3] = NAN;
    kvl_row row = {.stream = s, .token = 1, .target = 2, .reference = reference};
    assert_int_equal(kvl_engine_forward(e, &row, 1, &err), KVL_E_CHECK);
    assert_non_null(strstr(err.msg, "expected a finite reference, found a KL of"));
    kvl_free(reference);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

/* Its scratch is there from the start. */
static void test_allocates_nothing(void **state) {
    (void)state;
    kvl_engine *e = engine_of(model, 2, NULL);
    kvl_stream *s = stream_of(e);
    float *reference = floats(width);
    assert_ok(kvl_stream_reserve(e, s, n_tokens, NULL));
    const uint64_t before = kvl_alloc_count();
    for (size_t t = 0; t < n_tokens; t++) {
        kvl_row row = {.stream = s,
                       .token = ids[t],
                       .target = -1,
                       .wants_entropy = true,
                       .reference = t > 0 ? reference : NULL,
                       .hidden = t == 0 ? reference : NULL};
        assert_ok(kvl_engine_forward(e, &row, 1, NULL));
        assert_true(row.entropy > 0 && (t == 0 || row.kl > 0));
    }
    assert_int_equal(kvl_alloc_count(), before);
    kvl_free(reference);
    kvl_stream_destroy(s);
    kvl_engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_logits),
        cmocka_unit_test(test_against_torch),
        cmocka_unit_test(test_same_bits_in_any_company),
        cmocka_unit_test(test_own_state_gives_zero),
        cmocka_unit_test(test_bad_reference),
        cmocka_unit_test(test_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
