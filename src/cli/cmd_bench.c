/* kvlab bench: speed in llama-bench's tests, beside the limits of the machine. */
#include "cli/bench_options.h"
#include "cli/bench_report.h"
#include "cli/calibration_arg.h"
#include "cli/cmd.h"
#include "cli/keep.h"

#include "base/alloc.h"
#include "base/os.h"

#include <stdio.h>
#include <string.h>

/* Limits older than this are measured again. */
#define LIMITS_AGE_NS 60000000000u

/* All that a run owns. */
typedef struct session {
    kvl_bench_options options;
    kvl_machine machine;
    kvl_model *model;
    kvl_engine *engine;
    kvl_limits limits;
    uint64_t limits_ns; /* clock of their measurement; 0: not yet for this engine */
    size_t n_rows;
    double *samples; /* [n_policies, n_repetitions] */
    kvl_bench_result results[KVL_BENCH_MAX_LIST];
    kvl_policy policies[KVL_BENCH_MAX_LIST]; /* of the test */
    kvl_str command, lines;                  /* rows of the model as JSON lines */
    const char *isa;                         /* of its engines */
    kvl_document documents[KVL_BENCH_MAX_LIST];
    size_t n_documents; /* one for each model that is done */
} session;

/* ---- output ---- */

/* Sends what `write` makes of both formats where it belongs. */
typedef kvl_status write_fn(kvl_str *out, kvl_bench_format format, const session *s, const void *what,
                            kvl_err *err);

static kvl_status emit(const session *s, write_fn *write, const void *what, kvl_err *err) {
    kvl_str out = {0};
    kvl_status status = write(&out, s->options.format, s, what, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_clear(&out);
    if (status == KVL_OK && s->options.error_format != KVL_BENCH_NONE) {
        status = write(&out, s->options.error_format, s, what, err);
        fputs(kvl_str_text(&out), stderr);
    }
    kvl_str_free(&out);
    return status;
}

static kvl_status write_head(kvl_str *out, kvl_bench_format format, const session *s, const void *what,
                             kvl_err *err) {
    (void)s;
    (void)what;
    kvl_bench_write_head(out, format);
    return kvl_str_check(out, "bench", err);
}

static kvl_status write_foot(kvl_str *out, kvl_bench_format format, const session *s, const void *what,
                             kvl_err *err) {
    (void)what;
    kvl_bench_write_foot(out, format, &s->machine, s->n_rows);
    return kvl_str_check(out, "bench", err);
}

static kvl_status write_row(kvl_str *out, kvl_bench_format format, const session *s, const void *what,
                            kvl_err *err) {
    return kvl_bench_write_row(out, format, what, s->n_rows, err);
}

/* ---- running ---- */

/* Calibrates on a pool of its own, as large as the engine's. The line says what percentages refer to; a
 * second output has standard error for itself. */
static kvl_status measure_limits(session *s, kvl_err *err) {
    kvl_pool *pool = NULL;
    if (s->limits_ns != 0 && kvl_clock_ns() - s->limits_ns < LIMITS_AGE_NS) {
        return KVL_OK;
    }
    KVL_TRY(kvl_pool_create(&pool, kvl_engine_threads(s->engine), err));
    kvl_status status = kvl_limits_measure(&s->limits, kvl_engine_isa(s->engine), s->model->arith, pool, err);
    kvl_pool_destroy(pool);
    s->limits_ns = kvl_clock_ns();
    if (status == KVL_OK && s->options.error_format == KVL_BENCH_NONE) {
        fprintf(stderr, "limits: %s, %s, %u threads: %.1f GFLOP/s, %.1f GB/s read\n",
                kvl_engine_isa(s->engine), kvl_arith_name(s->model->arith), kvl_engine_threads(s->engine),
                s->limits.flop_per_ns, s->limits.bytes_per_ns);
    }
    return status;
}

/* The policies of a test: all, or where there is no depth to compress the full cache and those that act while
 * the prompt is fed or behind it. */
static size_t fit_policies(session *s, const kvl_bench_config *config) {
    const kvl_bench_options *o = &s->options;
    size_t n = 0;
    for (size_t p = 0; p < o->n_policies; p++) {
        if (config->n_depth != 0 || p == 0 || kvl_policy_has_schedule(&o->policies[p])) {
            s->policies[n++] = o->policies[p];
        }
    }
    return n;
}

/* One test of all policies that fit it. */
static kvl_status run_test(session *s, kvl_bench_config *config, kvl_err *err) {
    char test_time[21];
    if (config->n_prompt + config->n_gen == 0) {
        return KVL_OK;
    }
    if (kvl_is_stopping()) {
        return kvl_fail(err, KVL_E_INTERRUPTED, "stopped on request");
    }
    config->policies = s->policies;
    config->n_policies = fit_policies(s, config);
    KVL_TRY(measure_limits(s, err));
    kvl_utc_text(test_time);
    KVL_TRY(kvl_bench_run(s->results, s->engine, config, err));
    for (size_t p = 0; p < config->n_policies; p++) {
        kvl_bench_row row = {
            .options = &s->options,
            .machine = &s->machine,
            .engine = s->engine,
            .config = config,
            .policy = &config->policies[p],
            .result = &s->results[p],
            .limits = s->limits,
            .test_time = test_time,
        };
        KVL_TRY(emit(s, write_row, &row, err));
        KVL_TRY(kvl_bench_write_row(&s->lines, KVL_BENCH_JSONL, &row, s->n_rows, err));
        s->n_rows++;
    }
    return KVL_OK;
}

/* All tests with one engine, in the order of llama-bench. */
static kvl_status run_tests(session *s, size_t n_batch, kvl_err *err) {
    const kvl_bench_options *o = &s->options;
    for (size_t d = 0; d < o->depths.n; d++) {
        kvl_bench_config config = {.n_depth = o->depths.items[d],
                                   .n_batch = n_batch,
                                   .n_repetitions = o->n_repetitions,
                                   .has_warmup = o->has_warmup};
        for (size_t i = 0; i < o->prompts.n; i++) {
            config.n_prompt = o->prompts.items[i];
            KVL_TRY(run_test(s, &config, err));
        }
        config.n_prompt = 0;
        for (size_t i = 0; i < o->gens.n; i++) {
            config.n_gen = o->gens.items[i];
            KVL_TRY(run_test(s, &config, err));
        }
        for (size_t i = 0; i < o->pair_gens.n; i++) {
            config.n_prompt = o->pair_prompts.items[i];
            config.n_gen = o->pair_gens.items[i];
            KVL_TRY(run_test(s, &config, err));
        }
    }
    return KVL_OK;
}

static json_t *options_json(const session *s) {
    const kvl_bench_options *o = &s->options;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:o}", "cpu", s->machine.cpu,
                     "prompts", kvl_keep_counts(o->prompts.items, o->prompts.n), "gens",
                     kvl_keep_counts(o->gens.items, o->gens.n), "pair_prompts",
                     kvl_keep_counts(o->pair_prompts.items, o->pair_prompts.n), "pair_gens",
                     kvl_keep_counts(o->pair_gens.items, o->pair_gens.n), "depths",
                     kvl_keep_counts(o->depths.items, o->depths.n), "batches",
                     kvl_keep_counts(o->batches.items, o->batches.n), "threads",
                     kvl_keep_counts(o->threads.items, o->threads.n), "n_repetitions",
                     (json_int_t)o->n_repetitions, "has_warmup", (int)o->has_warmup, "policies",
                     kvl_keep_policies(o->policies, o->n_policies, &s->model->shape));
}

/* The document of a model's rows; it is stored when all models are done. */
static kvl_status add_document(session *s, kvl_err *err) {
    const kvl_keep what = {.kind = "bench",
                           .model = s->model,
                           .isa = s->isa,
                           .command = kvl_str_text(&s->command),
                           .options = options_json(s)};
    return kvl_keep_make(&s->documents[s->n_documents++], &what, &s->lines, err);
}

static kvl_status run_model(session *s, const char *path, kvl_err *err) {
    const kvl_bench_options *o = &s->options;
    const kvl_engine_options alone = {.n_threads = (unsigned)o->threads.items[0], .isa = o->isa};
    kvl_calibration *calibration = NULL;
    kvl_status status = kvl_model_open_as(&s->model, path, o->arith, 0, err);
    if (status == KVL_OK) {
        status = kvl_calibration_arg_apply(&calibration, o->calibration, s->model, o->policies, o->n_policies,
                                           &alone, err);
    }
    if (status == KVL_OK) {
        status = kvl_cache_arg_apply(&o->cache, &s->model->shape, err);
    }
    for (size_t i = 0; i < o->batches.n * o->threads.n && status == KVL_OK; i++) {
        kvl_engine_options options = {.n_threads = (unsigned)o->threads.items[i % o->threads.n],
                                      .isa = o->isa};
        status = kvl_engine_create(&s->engine, s->model, &options, err);
        s->limits_ns = 0;
        if (status == KVL_OK) {
            s->isa = kvl_engine_isa(s->engine);
            status = run_tests(s, o->batches.items[i / o->threads.n], err);
        }
        kvl_engine_destroy(s->engine);
        s->engine = NULL;
    }
    if (status == KVL_OK && s->lines.len != 0) {
        status = add_document(s, err);
    }
    kvl_model_close(s->model);
    kvl_calibration_destroy(calibration);
    s->model = NULL;
    return status;
}

static kvl_status run_session(session *s, kvl_err *err) {
    const kvl_bench_options *o = &s->options;
    kvl_str path = {0};
    KVL_TRY(kvl_report_arg_check(&o->report, &o->store, NULL, err));
    kvl_machine_read(&s->machine, "");
    s->samples = kvl_calloc(o->n_policies * o->n_repetitions, sizeof *s->samples);
    if (s->samples == NULL) {
        return kvl_fail_nomem(err, "bench");
    }
    for (size_t p = 0; p < o->n_policies; p++) {
        s->results[p].samples_ns = s->samples + p * o->n_repetitions;
    }
    kvl_status status = emit(s, write_head, NULL, err);
    for (size_t i = 0; i < o->n_models && status == KVL_OK; i++) {
        kvl_str_clear(&path);
        status = kvl_model_arg_resolve(&path, &o->models[i], err);
        if (status == KVL_OK) {
            status = run_model(s, kvl_str_text(&path), err);
        }
    }
    kvl_err ignored; /* what was measured before an error stays readable: JSON is closed in any case */
    kvl_status closed = emit(s, write_foot, NULL, status == KVL_OK ? err : &ignored);
    kvl_str_free(&path);
    status = status != KVL_OK ? status : closed;
    KVL_TRY(status);
    KVL_TRY(kvl_keep_put(&o->store, NULL, s->documents, s->n_documents, err));
    return s->n_documents != 0 ? kvl_report_arg_write(&o->report, &o->store, NULL,
                                                      s->documents[s->n_documents - 1].model, NULL, err)
                               : KVL_OK;
}

kvl_status kvl_cmd_bench(int argc, char **argv, kvl_err *err) {
    session *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "bench");
    }
    kvl_status status = kvl_bench_options_parse(&s->options, argc, argv, err);
    if (status == KVL_OK && s->options.is_help) {
        kvl_str help = {0};
        kvl_bench_options_help(&help);
        status = kvl_print(kvl_str_text(&help), help.len, err);
        kvl_str_free(&help);
    } else if (status == KVL_OK) {
        kvl_args_command(&s->command, argc, argv);
        status = run_session(s, err);
    }
    for (size_t i = 0; i < s->n_documents; i++) {
        kvl_document_free(&s->documents[i]);
    }
    kvl_str_free(&s->command);
    kvl_str_free(&s->lines);
    kvl_bench_options_free(&s->options);
    kvl_free(s->samples);
    kvl_free(s);
    return status;
}
