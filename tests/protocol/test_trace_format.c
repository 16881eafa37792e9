/* Traces: what is read back is what the sweep had; attention lost against sums in double; figures and kept
 * positions against an independent float32 implementation; files that are cut or damaged are refused. */
#include "bundled.h"

#include "kernel/kernel.h"
#include "protocol/mass_lost.h"
#include "protocol/trace_figures.h"
#include "protocol/trace_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int open_all(void **state) {
    (void)state;
    return open_bundled("W1 W3");
}

/* ---- attention lost ---- */

/* The weight of the key at p for the query of t, in double. */
static double weights_of(const kvl_model *m, const kvl_stream *full, uint32_t layer, uint32_t head, size_t t,
                         const float *keys, double *weights) {
    const kvl_shape *s = &m->shape;
    const float *q = kvl_tap_query(full->tap, layer, head, t);
    const size_t first =
        m->layers[layer].is_local && t + 1 > (size_t)s->window ? t + 1 - (size_t)s->window : 0;
    double sum = 0;
    for (size_t p = 0; p <= t; p++) {
        double x = 0;
        for (size_t d = 0; d < s->head_dim; d++) {
            x += (double)q[d] * (double)keys[p * s->head_dim + d];
        }
        x *= (double)s->attn_scale;
        x = s->attn_softcap > 0 ? (double)s->attn_softcap * tanh(x / (double)s->attn_softcap) : x;
        weights[p] = p >= first ? exp(x) : 0;
        sum += weights[p];
    }
    return sum;
}

static double lost_directly(const kvl_model *m, const kvl_stream *full, const kvl_departures *d,
                            uint32_t layer, uint32_t head, size_t t) {
    static float keys[300 * 256];
    double weights[300];
    double lost = 0;
    const uint32_t group = m->shape.n_heads / m->shape.n_kv_heads;
    kvl_cache_copy_keys(full->cache, layer, head, keys);
    for (uint32_t g = 0; g < group; g++) {
        const double sum = weights_of(m, full, layer, head * group + g, t, keys, weights);
        for (size_t p = 0; p <= t; p++) {
            lost += kvl_departures_visible(d, layer, head, p, t) ? 0 : weights[p] / sum / group;
        }
    }
    return lost;
}

enum { n_family_steps = 40 };

/* One stream with all it needs, and two that are compressed; a family with windows, caps or groups. */
static void check_family(const char *family, const char *isa) {
    static const char *const texts[] = {"knorm:size=6:cap=12", "recency:keep=0.5:cap=9"};
    kvl_model *m = NULL;
    kvl_engine *e = NULL;
    kvl_stream *streams[3] = {NULL};
    char path[128];
    double most = 0;
    snprintf(path, sizeof path, "tests/golden/families/%s", family);
    assert_ok(kvl_model_open(&m, test_path(path), 2, NULL));
    assert_ok(kvl_engine_create(&e, m, &(kvl_engine_options){.n_threads = 2, .isa = isa}, NULL));
    for (size_t i = 0; i < 3; i++) {
        assert_ok(kvl_stream_create(&streams[i], e, NULL));
        assert_ok(kvl_stream_watch(streams[i], &m->shape,
                                   (kvl_needs){.n_queries = i == 0 ? KVL_ALL_QUERIES : 0}, NULL));
        assert_ok(kvl_stream_log(streams[i], &m->shape, n_family_steps, NULL));
        for (size_t t = 0; t < n_family_steps; t++) {
            kvl_row row = {
                .stream = streams[i], .token = (int32_t)((t * 7919 + 13) % m->shape.n_vocab), .target = -1};
            const kvl_policy p = test_policy(i == 0 ? "none" : texts[i - 1]);
            assert_ok(kvl_engine_forward(e, &row, 1, NULL));
            assert_ok(kvl_engine_compress_if_due(e, streams[i], &p, NULL));
        }
    }
    const size_t n_heads = (size_t)m->shape.n_layers * m->shape.n_kv_heads;
    float *lost[2];
    const kvl_departures *logs[2] = {streams[1]->departures, streams[2]->departures};
    for (size_t i = 0; i < 2; i++) {
        lost[i] = kvl_calloc(n_family_steps * n_heads, sizeof **lost);
    }
    assert_ok(kvl_mass_lost(lost, logs, 2, e, streams[0], n_family_steps, NULL));
    for (size_t i = 0; i < 2 * n_family_steps * n_heads; i++) {
        const size_t t = i / 2 / n_heads, h = i / 2 % n_heads;
        const double expected = lost_directly(m, streams[0], logs[i % 2], (uint32_t)(h / m->shape.n_kv_heads),
                                              (uint32_t)(h % m->shape.n_kv_heads), t);
        most = expected > most ? expected : most;
        if (fabs((double)lost[i % 2][t * n_heads + h] - expected) > 2e-6) {
            fail_msg("%s: step %zu, head %zu: expected %.8f, found %.8f", family, t, h, expected,
                     (double)lost[i % 2][t * n_heads + h]);
        }
    }
    assert_true(most > 0.2);
    for (size_t i = 0; i < 3; i++) {
        kvl_stream_destroy(streams[i]);
    }
    kvl_free(lost[0]);
    kvl_free(lost[1]);
    kvl_engine_destroy(e);
    kvl_model_close(m);
}

static void test_mass_lost(void **state) {
    (void)state;
    static const char *const families[] = {"gpt_neox", "llama", "mistral", "gemma2", "gemma3"};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        check_family(families[i], NULL);
        check_family(families[i], "c");
    }
}

/* ---- there and back ---- */

enum { n_policies = 5, n_texts = 2 };

static const char *const texts[n_policies] = {"knorm:keep=0.95:cap=32:skip=0", "recency:keep=0.5:cap=32",
                                              "adakv(knorm):size=20:cap=40",
                                              "snapkv(window=8):keep=0.5:cap=64", "knorm:size=900"};

/* Logs as the sweep hands them over. */
static kvl_departures *logs[n_policies + 1][n_texts];
static float norms[n_texts][6 * 4 * 256];

static kvl_status keep_log(void *ud, const kvl_cell *c, const kvl_stream *s, kvl_err *err) {
    (void)ud;
    for (size_t i = 0; c->policy == 0 && i < 6 * (size_t)4; i++) {
        static float keys[300 * 64];
        kvl_cache_copy_keys(s->cache, (uint32_t)(i / 4), (uint32_t)(i % 4), keys);
        for (size_t p = 0; p + 1 < c->n_tokens; p++) {
            double sum = 0;
            for (size_t d = 0; d < 64; d++) {
                sum += (double)keys[p * 64 + d] * (double)keys[p * 64 + d];
            }
            norms[c->sample][i * 256 + p] = (float)sqrt(sum);
        }
    }
    return kvl_departures_fork(&logs[c->policy][c->sample], s->departures, err);
}

static void run_both(kvl_sweep *out, const kvl_protocol *protocol, const char *path) {
    kvl_policy policies[n_policies];
    kvl_sweep traced;
    kvl_trace_writer *w = NULL;
    for (size_t i = 0; i < n_policies; i++) {
        policies[i] = test_policy(texts[i]);
    }
    const kvl_sweep_config plain = {.protocol = *protocol,
                                    .samples = &samples,
                                    .policies = policies,
                                    .n_policies = n_policies,
                                    .wants_departures = true,
                                    .finish = keep_log};
    kvl_sweep_config config = plain;
    assert_ok(kvl_sweep_run(out, engines[0], &plain, NULL));
    assert_ok(kvl_trace_create(&w, path, engines[1], kvl_tokenizer_hash(tokenizer), &config, NULL));
    kvl_trace_attach(w, &config);
    assert_ok(kvl_sweep_run(&traced, engines[1], &config, NULL));
    assert_false(kvl_file_exists(path));
    assert_ok(kvl_trace_commit(w, NULL));
    kvl_sweep_free(&traced);
}

static void check_cell(const kvl_trace *t, const kvl_cell *c) {
    const kvl_trace_cell *found = kvl_trace_cell_at(t, c->policy, c->sample);
    const kvl_departures *expected = logs[c->policy][c->sample];
    kvl_departures *d = NULL;
    size_t n_events = 0, n_expected = 0;
    assert_true(found->first_scored == c->first_scored && found->n_scored == c->n_scored);
    assert_memory_equal(found->nll, c->nll, c->n_scored * sizeof *c->nll);
    assert_ok(kvl_trace_log(&d, t, c->policy, c->sample, NULL));
    const uint32_t *events = kvl_departures_events(d, &n_events);
    const uint32_t *expected_events = kvl_departures_events(expected, &n_expected);
    assert_int_equal(n_events, n_expected);
    assert_memory_equal(events, expected_events, n_events * sizeof *events);
    for (size_t i = 0; i < 6 * (size_t)4; i++) {
        assert_memory_equal(kvl_departures_head(d, (uint32_t)(i / 4), (uint32_t)(i % 4)),
                            kvl_departures_head(expected, (uint32_t)(i / 4), (uint32_t)(i % 4)),
                            c->n_tokens * sizeof(uint32_t));
    }
    kvl_departures_destroy(d);
}

static void test_round_trip(void **state) {
    (void)state;
    const kvl_protocol protocols[] = {{.max_tokens = 130},
                                      {.max_tokens = 130, .baseline_tokens = 256},
                                      {.max_tokens = 130, .prefill = 60, .count_from = 60}};
    const char *path = test_temp_path("a.trace");
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        kvl_sweep s;
        kvl_trace *t = NULL;
        char *bytes = NULL;
        size_t n = 0;
        run_both(&s, &protocols[i], path);
        assert_ok(kvl_file_load(&bytes, &n, path, 1 << 24, NULL));
        assert_ok(kvl_trace_read(&t, bytes, n, path, NULL));
        assert_string_equal(t->model, model->name);
        assert_true(t->model_hash == model->hash && t->tokenizer_hash == kvl_tokenizer_hash(tokenizer));
        assert_true(t->n_layers == 6 && t->n_heads == 4 && t->n_kv_heads == 4);
        assert_memory_equal(&t->protocol, &protocols[i], sizeof(kvl_protocol));
        assert_true(t->n_texts == n_texts && t->n_policies == n_policies + 1);
        assert_string_equal(t->policies[0].text, "none");
        assert_memory_equal(t->policies[1].skip, s.policies[1].skip, sizeof t->policies[1].skip);
        for (size_t k = 0; k < n_texts; k++) {
            assert_string_equal(t->texts[k].name, samples.items[k].name);
            assert_true(t->texts[k].hash == samples.items[k].hash && t->texts[k].n_tokens == 130);
            for (size_t j = 0; j < 6 * (size_t)4 * 129; j++) {
                assert_true(kvl_trace_norm(t, k, (uint32_t)(j / 129 / 4), (uint32_t)(j / 129 % 4), j % 129) ==
                            norms[k][j / 129 * 256 + j % 129]);
            }
        }
        for (size_t k = 0; k < s.n_policies * n_texts; k++) {
            check_cell(t, &s.cells[k]);
            kvl_departures_destroy(logs[k / n_texts][k % n_texts]);
        }
        assert_true(remove(path) == 0);
        kvl_trace_free(t);
        kvl_free(bytes);
        kvl_sweep_free(&s);
    }
}

/* Without commit there is no file, nor what was written of it. */
static void test_discard(void **state) {
    (void)state;
    kvl_trace_writer *w = NULL;
    const kvl_policy p = test_policy(texts[0]);
    const kvl_sweep_config config = {.samples = &samples, .policies = &p, .n_policies = 1};
    char pattern[512];
    assert_ok(kvl_trace_create(&w, test_temp_path("b.trace"), engines[0], 1, &config, NULL));
    snprintf(pattern, sizeof pattern, "ls %s/b.trace* >/dev/null 2>&1", test_temp_dir());
    assert_int_equal(system(pattern), 0);
    kvl_trace_discard(w);
    assert_int_not_equal(system(pattern), 0);
    assert_int_equal(kvl_trace_create(&w, test_temp_path("no/such/b.trace"), engines[0], 1, &config, NULL),
                     KVL_E_IO);
    for (int64_t k = 0;; k++) {
        kvl_alloc_fail_after(k);
        const kvl_status status =
            kvl_trace_create(&w, test_temp_path("b.trace"), engines[0], 1, &config, NULL);
        kvl_alloc_fail_after(-1);
        if (status == KVL_OK) {
            break;
        }
        assert_int_equal(status, KVL_E_NOMEM);
        assert_null(w);
    }
    kvl_trace_discard(w);
    assert_int_not_equal(system(pattern), 0);
}

/* ---- damage ---- */

static char *small_trace(size_t *n) {
    kvl_sweep s;
    kvl_trace_writer *w = NULL;
    char *bytes = NULL;
    const char *path = test_temp_path("small.trace");
    kvl_samples one = {.items = samples.items, .n = 1};
    const kvl_policy p = test_policy("knorm:size=3:cap=4:skip=0");
    kvl_sweep_config config = {
        .protocol = {.max_tokens = 8}, .samples = &one, .policies = &p, .n_policies = 1};
    assert_ok(kvl_trace_create(&w, path, engines[0], 7, &config, NULL));
    kvl_trace_attach(w, &config);
    assert_ok(kvl_sweep_run(&s, engines[0], &config, NULL));
    assert_ok(kvl_trace_commit(w, NULL));
    assert_ok(kvl_file_load(&bytes, n, path, 1 << 20, NULL));
    kvl_sweep_free(&s);
    return bytes;
}

static void expect_refused(const char *bytes, size_t n, const char *how, size_t where) {
    kvl_trace *t = NULL;
    kvl_err err = {0};
    const kvl_status status = kvl_trace_read(&t, bytes, n, "x", &err);
    if (status == KVL_OK || t != NULL || kvl_status_exit_code(status) != 3 ||
        strncmp(err.msg, "x: ", 3) != 0) {
        fail_msg("%s at byte %zu: expected a refusal, found %s (%s)", how, where, kvl_status_name(status),
                 err.msg);
    }
}

static void test_damaged(void **state) {
    (void)state;
    size_t n = 0;
    kvl_trace *t = NULL;
    char *bytes = small_trace(&n);
    for (size_t i = 0; i < n; i++) {
        char *cut = kvl_calloc(i + 1, 1); /* of its own size: sanitizers see what is read behind */
        memcpy(cut, bytes, i);
        expect_refused(cut, i, "cut", i);
        kvl_free(cut);
        for (unsigned bit = 0; bit < 8; bit += 7) {
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
            expect_refused(bytes, n, "flipped", i);
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
        }
    }
    char *longer = kvl_calloc(n + 1, 1);
    memcpy(longer, bytes, n);
    expect_refused(longer, n + 1, "longer", n);
    assert_ok(kvl_trace_read(&t, bytes, n, "x", NULL));
    kvl_trace_free(t);
    kvl_free(longer);
    kvl_free(bytes);
}

/* Contents that a checksum does not save from: bytes changed and checksums made anew. Nothing crashes, what
 * is read can be decoded or is refused, and many are refused. */
static void test_hostile(void **state) {
    (void)state;
    size_t n = 0;
    size_t n_refused = 0;
    char *bytes = small_trace(&n);
    for (size_t at = KVLI_MAGIC_BYTES + 4; at + KVLI_SECTION_BYTES <= n;) {
        uint32_t kind = 0;
        uint64_t size = 0;
        memcpy(&kind, bytes + at, 4);
        memcpy(&size, bytes + at + 4, 8);
        char *content = bytes + at + KVLI_SECTION_BYTES;
        for (uint64_t i = 0; i < size; i++) {
            static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
            const char was = content[i];
            for (size_t v = 0; v < sizeof values; v++) {
                kvl_trace *t = NULL;
                content[i] = (char)values[v];
                uint64_t hash = kvli_section_hash(kind, content, (size_t)size);
                memcpy(bytes + at + 12, &hash, 8);
                kvl_status status = kvl_trace_read(&t, bytes, n, "x", NULL);
                for (size_t p = 0; t != NULL && p < t->n_policies && status == KVL_OK; p++) {
                    kvl_departures *d = NULL;
                    status = kvl_trace_log(&d, t, p, 0, NULL);
                    kvl_departures_destroy(d);
                }
                n_refused += status != KVL_OK;
                kvl_trace_free(t);
            }
            content[i] = was;
        }
        uint64_t hash = kvli_section_hash(kind, content, (size_t)size);
        memcpy(bytes + at + 12, &hash, 8);
        at += KVLI_SECTION_BYTES + size;
    }
    assert_true(n_refused > 500);
    kvl_free(bytes);
}

/* ---- figures ---- */

static kvl_trace *golden_trace(json_t *golden, kvl_policy *policies, size_t n, char **bytes) {
    kvl_samples text = {0};
    kvl_sample sample = {.name = "golden"};
    const json_t *ids = json_object_get(golden, "ids");
    kvl_sweep s;
    kvl_trace_writer *w = NULL;
    kvl_trace *t = NULL;
    size_t n_bytes = 0;
    const char *path = test_temp_path("golden.trace");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        assert_ok(kvl_ids_push(&sample.ids, (int32_t)json_integer_value(json_array_get(ids, i)), NULL));
    }
    text = (kvl_samples){&sample, 1};
    kvl_sweep_config config = {
        .protocol = {.max_tokens = 256}, .samples = &text, .policies = policies, .n_policies = n};
    assert_ok(kvl_trace_create(&w, path, engines[1], 7, &config, NULL));
    kvl_trace_attach(w, &config);
    assert_ok(kvl_sweep_run(&s, engines[1], &config, NULL));
    assert_ok(kvl_trace_commit(w, NULL));
    assert_ok(kvl_file_load(bytes, &n_bytes, path, 1 << 24, NULL));
    assert_ok(kvl_trace_read(&t, *bytes, n_bytes, path, NULL));
    kvl_sweep_free(&s);
    kvl_ids_free(&sample.ids);
    return t;
}

static void check_kept(const kvl_trace *t, size_t policy, const json_t *cell, const json_t *steps) {
    kvl_departures *d = NULL;
    assert_ok(kvl_trace_log(&d, t, policy, 0, NULL));
    for (size_t i = 0; i < json_array_size(steps) * 24; i++) {
        const uint32_t layer = (uint32_t)(i / 4 % 6), head = (uint32_t)(i % 4);
        const size_t step = (size_t)json_integer_value(json_array_get(steps, i / 24));
        const json_t *of_step = json_array_get(json_object_get(cell, "kept"), i / 24);
        const json_t *kept = json_array_get(json_array_get(of_step, layer), head);
        size_t n = 0;
        for (size_t p = 0; p <= step; p++) {
            if (kvl_departures_visible(d, layer, head, p, step)) {
                const size_t expected = (size_t)json_integer_value(json_array_get(kept, n++));
                if (p != expected) {
                    fail_msg("%s: step %zu, layer %u, head %u: expected key %zu, found %zu",
                             t->policies[policy].text, step, layer, head, expected, p);
                }
            }
        }
        assert_int_equal(n, json_array_size(kept));
        const json_t *lost = json_array_get(json_array_get(json_object_get(cell, "lost"), i / 24), layer);
        assert_true(fabs(kvl_trace_lost(t, policy, 0, step, layer, head) -
                         json_number_value(json_array_get(lost, head))) < 3e-5);
    }
    kvl_departures_destroy(d);
}

/* The published protocol by another program. */
static void test_golden(void **state) {
    (void)state;
    json_t *golden = test_load_json("tests/golden/trace.novels-7m.json");
    const json_t *cells = json_object_get(golden, "cells");
    const size_t n = json_array_size(cells);
    kvl_policy policies[8];
    char *bytes = NULL;
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        char text[64];
        snprintf(text, sizeof text, "knorm:keep=%g:cap=32:skip=0",
                 json_number_value(json_object_get(json_array_get(cells, i), "ratio")));
        policies[i] = test_policy(text);
    }
    kvl_trace *t = golden_trace(golden, policies, n, &bytes);
    for (size_t i = 0; i < n; i++) {
        const json_t *cell = json_array_get(cells, i);
        kvl_trace_figures f;
        check_kept(t, i + 1, cell, json_object_get(golden, "steps"));
        assert_ok(kvl_trace_figures_make(&f, t, i + 1, SIZE_MAX, NULL));
        const kvl_visibility mean = kvl_visibility_mean(&f.seen);
        assert_true(fabs(mean.lags[0] - json_number_value(json_object_get(cell, "lag1"))) < 1e-12);
        assert_true(fabs(mean.run - json_number_value(json_object_get(cell, "run"))) < 1e-12);
        assert_true(fabs(mean.n_newest - json_number_value(json_object_get(cell, "newest"))) < 1e-12);
        const double excess = f.excess.sum / (double)f.excess.n;
        assert_true(fabs(excess - json_number_value(json_object_get(cell, "excess"))) < 1e-5);
        size_t n_steps = 0;
        double in_phases = 0, in_blocks = 0;
        for (size_t k = 0; k < KVL_N_PHASES; k++) {
            in_phases += f.by_phase[k].sum;
            n_steps += f.by_phase[k].n;
        }
        for (size_t k = 0; k < f.n_blocks; k++) {
            in_blocks += f.by_block[k].sum;
        }
        assert_true(f.excess.n == 160 - 32 && (n_steps == 160 - 32 || i == 4)); /* cycles of 22 at 0.3 */
        assert_true(fabs(in_blocks - f.excess.sum) < 1e-9);
        assert_true(i == 4 || fabs(in_phases - f.excess.sum) < 1e-9);
        assert_true(f.lost[0].sum == 0 && f.lost[1].sum > 0);
        kvl_trace_figures_free(&f);
    }
    kvl_trace_free(t);
    kvl_free(bytes);
    json_decref(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mass_lost), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_discard),
        cmocka_unit_test(test_damaged),   cmocka_unit_test(test_hostile),    cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, open_all, close_bundled);
}
