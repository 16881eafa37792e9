/* Time to score a whole text in one pass: its perplexity, and what the model's opening is not part of.
 *
 * usage: bench_score MODEL TEXT [THREADS [RUNS [ARITHMETIC [CACHE_TYPE]]]]
 *
 * Prints one JSON object: tokens, perplexity and the seconds of each run after a warm-up. The text starts
 * with the model's own first token where it has one; every other token is scored.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/os.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct session {
    kvl_model *model;
    kvl_tokenizer *tokenizer;
    kvl_engine *engine;
    kvl_ids ids;
    char *text;
    kvl_row *rows;
} session;

static kvl_status open_all(session *s, int argc, char **argv, unsigned n_threads, kvl_err *err) {
    size_t n_bytes = 0;
    const char *path = argv[1];
    const char *text_path = argv[2];
    kvl_arith arith = KVL_ARITH_F32;
    kvl_kv_type type = KVL_KV_F32;
    kvl_engine_options options = {.n_threads = n_threads};
    KVL_TRY(argc > 5 ? kvl_arith_find(&arith, argv[5], err) : KVL_OK);
    KVL_TRY(argc > 6 ? kvl_kv_type_find(&type, argv[6], err) : KVL_OK);
    KVL_TRY(kvl_model_open_as(&s->model, path, arith, 0, err));
    s->model->shape.key_type = s->model->shape.value_type = type;
    KVL_TRY(kvl_tokenizer_open(&s->tokenizer, path, err));
    KVL_TRY(kvl_engine_create(&s->engine, s->model, &options, err));
    KVL_TRY(kvl_file_load(&s->text, &n_bytes, text_path, 1 << 28, err));
    if (kvl_tokenizer_bos(s->tokenizer) >= 0) {
        KVL_TRY(kvl_ids_push(&s->ids, kvl_tokenizer_bos(s->tokenizer), err));
    }
    KVL_TRY(kvl_tokenizer_encode(s->tokenizer, &s->ids, s->text, n_bytes, false, err));
    if (s->ids.n < 2) {
        return kvl_fail(err, KVL_E_TEXT, "%s: expected at least 2 tokens, found %zu", text_path, s->ids.n);
    }
    s->rows = kvl_calloc(s->ids.n, sizeof *s->rows);
    return s->rows != NULL ? KVL_OK : kvl_fail_nomem(err, "rows");
}

static void close_all(session *s) {
    kvl_free(s->rows);
    kvl_free(s->text);
    kvl_ids_free(&s->ids);
    kvl_engine_destroy(s->engine);
    kvl_tokenizer_close(s->tokenizer);
    kvl_model_close(s->model);
}

/* One pass over the text in a stream of its own. */
static kvl_status score(session *s, double *mean_nll, double *seconds, kvl_err *err) {
    kvl_stream *stream = NULL;
    size_t n = s->ids.n - 1;
    KVL_TRY(kvl_stream_create(&stream, s->engine, err));
    for (size_t i = 0; i < n; i++) {
        s->rows[i] = (kvl_row){.stream = stream, .token = s->ids.ids[i], .target = s->ids.ids[i + 1]};
    }
    uint64_t start = kvl_clock_ns();
    kvl_status status = kvl_engine_forward(s->engine, s->rows, n, err);
    *seconds = (double)(kvl_clock_ns() - start) * 1e-9;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += s->rows[i].nll;
    }
    *mean_nll = sum / (double)n;
    kvl_stream_destroy(stream);
    return status;
}

static kvl_status run(session *s, int argc, char **argv, kvl_err *err) {
    unsigned n_threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    long n_runs = argc > 4 ? strtol(argv[4], NULL, 10) : 3;
    double mean_nll = 0;
    double seconds = 0;
    kvl_str out = {0};
    json_t *times = json_array();
    kvl_status status = open_all(s, argc, argv, n_threads, err);
    for (long i = 0; i <= n_runs && status == KVL_OK; i++) { /* run 0 warms up */
        status = score(s, &mean_nll, &seconds, err);
        if (i > 0) {
            json_array_append_new(times, json_real(seconds));
        }
    }
    if (status == KVL_OK) {
        status = kvl_json_write(&out,
                                json_pack("{s:I,s:f,s:i,s:O}", "n_tokens", (json_int_t)s->ids.n, "ppl",
                                          exp(mean_nll), "threads", (int)kvl_engine_threads(s->engine),
                                          "seconds", times),
                                false, err);
        fputs(kvl_str_text(&out), stdout);
    }
    json_decref(times);
    kvl_str_free(&out);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 7) {
        fprintf(stderr, "usage: bench_score MODEL TEXT [THREADS [RUNS [ARITHMETIC [CACHE_TYPE]]]]\n");
        return 2;
    }
    session s = {0};
    kvl_err err = {0};
    kvl_status status = run(&s, argc, argv, &err);
    if (status != KVL_OK) {
        fprintf(stderr, "bench_score: %s\n", err.msg);
    }
    close_all(&s);
    return kvl_status_exit_code(status);
}
