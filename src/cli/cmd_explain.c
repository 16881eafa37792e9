/* kvlab explain: designed experiments on any model, a verdict on each hypothesis, the cause in plain words.
 */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/explain_report.h"
#include "cli/keep.h"
#include "cli/setup.h"

#include "base/alloc.h"
#include "base/os.h"
#include "explain/experiment.h"

#include <stdio.h>
#include <string.h>

enum { MAX_HYPOTHESES = 32, FEWEST_TEXTS = 20 };
enum { OPT_BUDGET, OPT_ONLY, OPT_FILE, OPT_SAMPLES, OPT_OUT, OPT_SEED };

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    KVL_CONFIG_ARGS,
    {OPT_BUDGET, 0, "budget", "quick|full", "about 1 or 5 minutes for the bundled model on 2 cores (quick)"},
    {OPT_ONLY, 0, "only", "H8,H9,...", "these hypotheses only (default: all)"},
    {OPT_FILE, 'f', "file", "TEXT", "a text of your own instead (repeatable; at least 20 for intervals)"},
    {OPT_SAMPLES, 0, "samples", "NAMES", "samples of data/ (default " KVL_EXPLAIN_SAMPLES ")"},
    {OPT_OUT, 'o', "output", "FORMAT", "md or jsonl (default md)"},
    {OPT_SEED, 0, "seed", "N", "of the bootstrap (default 1)"},
    KVL_STORE_ARGS,
    KVL_REPORT_ARGS,
    KVL_RUN_ENGINE_ARGS,
};
enum { n_table = sizeof table / sizeof table[0] };

static const int groups[][4] = {{KVL_ARG_MODEL, KVL_ARG_HF_REPO, KVL_ARG_HF_FILE},
                                {OPT_FILE, OPT_SAMPLES},
                                {KVL_ARG_STORE, KVL_ARG_NO_STORE}};

typedef struct session {
    kvl_sweep_options run; /* model, engine, texts */
    const kvl_hypothesis *hypotheses[MAX_HYPOTHESES];
    size_t n_hypotheses;
    size_t seed;
    bool is_full, is_jsonl;
    kvl_str command, lines; /* what was found, as JSON lines */
    kvl_store_arg store;
    kvl_report_arg report;

    kvl_setup setup;
    kvl_samples texts;
    kvl_evidence evidence;
    uint64_t start_ns;
    kvl_progress progress;
    int last_study; /* that a line was printed of; -1: none */
} session;

/* ---- options ---- */

/* Each once, however often it is named. */
static kvl_status add_hypothesis(void *ud, const char *item, kvl_err *err) {
    session *s = ud;
    const kvl_hypothesis *h = kvl_hypothesis_find(item);
    if (h == NULL) {
        size_t n = 0;
        kvl_hypotheses(&n);
        return kvl_fail(err, KVL_E_USAGE, "--only: expected H1 to H%zu, found '%.40s'", n, item);
    }
    for (size_t i = 0; i < s->n_hypotheses; i++) {
        if (s->hypotheses[i] == h) {
            return KVL_OK;
        }
    }
    s->hypotheses[s->n_hypotheses++] = h;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    static const char *const budgets[] = {"quick", "full"};
    static const char *const formats[] = {"md", "jsonl"};
    session *s = ud;
    size_t n = 0;
    bool is_taken = false;
    KVL_TRY(kvl_run_arg_take(&s->run, id, value, &is_taken, err));
    if (!is_taken) {
        KVL_TRY(kvl_report_arg_take(&s->report, id, value, &is_taken, err));
    }
    if (is_taken || kvl_store_arg_take(&s->store, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_BUDGET:
        KVL_TRY(kvl_args_choice(&n, "--budget", value, budgets, 2, err));
        s->is_full = n == 1;
        return KVL_OK;
    case OPT_ONLY: /* of several the last one counts: a command is run again for one by adding it */
        return kvl_args_items(value, add_hypothesis, s, err);
    case OPT_FILE:
        if (s->run.n_files == KVL_MAX_LIST) {
            return kvl_fail(err, KVL_E_USAGE, "--file: expected at most %d files", KVL_MAX_LIST);
        }
        s->run.files[s->run.n_files++] = value;
        return KVL_OK;
    case OPT_SAMPLES: s->run.samples = value; return KVL_OK;
    case OPT_OUT:
        KVL_TRY(kvl_args_choice(&n, "--output", value, formats, 2, err));
        s->is_jsonl = n == 1;
        return KVL_OK;
    case OPT_SEED: return kvl_args_count(&s->seed, "--seed", value, SIZE_MAX / 2, err);
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* ---- running ---- */

static bool show_progress(void *ud, const kvl_explain_progress *p) {
    session *s = ud;
    const char *study = kvl_study_name(p->study);
    if (s->last_study == -1) { /* what was prepared until now is no rate */
        kvl_progress_begin(&s->progress, s->run.is_quiet);
        s->progress.first_done = p->rows_done;
    }
    if (!s->progress.is_terminal && (int)p->study != s->last_study) {
        kvl_progress_line(&s->progress, "%s: %zu of %zu tokens through the model are done", study,
                          p->rows_done, p->rows_total);
    }
    s->last_study = (int)p->study;
    kvl_progress_show(
        &s->progress,
        &(kvl_progress_state){.what = study, .done = p->rows_done, .total = p->rows_total, .unit = "tokens"});
    return !kvl_is_stopping();
}

static kvl_status load_texts(session *s, kvl_err *err) {
    char data_dir[4096];
    snprintf(data_dir, sizeof data_dir, "%s/data", kvl_data_root());
    if (s->run.n_files == 0) {
        KVL_TRY(kvl_samples_load(&s->texts, s->run.samples, data_dir, s->setup.tokenizer, err));
    }
    for (size_t i = 0; i < s->run.n_files; i++) {
        KVL_TRY(kvl_samples_add_file(&s->texts, s->run.files[i], s->setup.tokenizer, err));
    }
    if (s->texts.n < 2) {
        return kvl_fail(err, KVL_E_USAGE, "texts: expected at least 2, at least %d for intervals, found %zu",
                        FEWEST_TEXTS, s->texts.n);
    }
    return KVL_OK;
}

static void name_texts(kvl_str *texts, const session *s) {
    for (size_t i = 0; i < s->run.n_files; i++) {
        kvl_str_printf(texts, "%s%s", i == 0 ? "" : ", ", s->texts.items[i].name);
    }
    if (s->run.n_files == 0) {
        kvl_str_printf(texts, "%zu samples, %s", s->texts.n, s->run.samples);
    }
}

static kvl_status write_report(kvl_str *out, session *s, const kvl_judgement *judgements, kvl_err *err) {
    kvl_cause cause;
    kvl_str texts = {0};
    kvl_additive *additive = kvl_calloc(1, sizeof *additive);
    kvl_status status = additive != NULL ? KVL_OK : kvl_fail_nomem(err, "explanation");
    KVL_GO(status);
    KVL_GO(kvl_additive_fit(additive, &s->evidence, err));
    kvl_find_cause(&cause, &s->evidence);
    name_texts(&texts, s);
    const kvl_explain_report report = {
        .evidence = &s->evidence,
        .hypotheses = s->hypotheses,
        .judgements = judgements,
        .n = s->n_hypotheses,
        .cause = &cause,
        .additive = additive,
        .engine = s->setup.engine,
        .texts = kvl_str_text(&texts),
        .command = kvl_str_text(&s->command),
        .wall_ns = kvl_clock_ns() - s->start_ns,
    };
    KVL_GO(kvl_explain_write_jsonl(&s->lines, &report, err));
    if (s->is_jsonl) {
        kvl_str_append(out, kvl_str_text(&s->lines), s->lines.len);
    } else {
        kvl_explain_write_text(out, &report);
    }
    KVL_GO(kvl_str_check(out, "explanation", err));
done:
    kvl_free(additive);
    kvl_str_free(&texts);
    return status;
}

static kvl_status explain(session *s, kvl_str *out, kvl_err *err) {
    KVL_TRY(kvl_report_arg_check(&s->report, &s->store, NULL, err));
    s->start_ns = kvl_clock_ns();
    KVL_TRY(kvl_setup_open(&s->setup, &s->run, NULL, 0, err));
    KVL_TRY(load_texts(s, err));
    KVL_TRY(kvl_identity_check(s->setup.engine, &s->texts.items[0], err));
    const kvl_explain_config config = {
        .hypotheses = s->hypotheses,
        .n_hypotheses = s->n_hypotheses,
        .texts = &s->texts,
        .is_full = s->is_full,
        .memory_bytes = s->run.memory_bytes != 0 ? s->run.memory_bytes : kvl_most_memory(),
        .seed = s->seed,
        .progress = show_progress,
        .progress_ud = s,
    };
    kvl_progress_begin(&s->progress, s->run.is_quiet);
    const kvl_status run_status = kvl_explain_run(&s->evidence, s->setup.engine, &config, err);
    kvl_progress_end(&s->progress);
    KVL_TRY(run_status);
    kvl_judgement *judgements = kvl_calloc(s->n_hypotheses, sizeof *judgements);
    if (judgements == NULL) {
        return kvl_fail_nomem(err, "explanation");
    }
    kvl_judge(judgements, &s->evidence, s->hypotheses, s->n_hypotheses);
    const kvl_status status = write_report(out, s, judgements, err);
    kvl_free(judgements);
    return status;
}

/* After everything was printed. */
static kvl_status keep(session *s, kvl_err *err) {
    size_t n_all = 0;
    json_t *hypotheses = json_array();
    kvl_hypotheses(&n_all);
    for (size_t i = 0; i < s->n_hypotheses; i++) {
        json_array_append_new(hypotheses, json_string(s->hypotheses[i]->id));
    }
    const kvl_keep what = {
        .kind = s->n_hypotheses == n_all ? "explain" : "explain-only",
        .model = s->setup.model,
        .isa = kvl_engine_isa(s->setup.engine),
        .command = kvl_str_text(&s->command),
        .options = json_pack("{s:o, s:b, s:I, s:o, s:o}", "hypotheses", hypotheses, "is_full",
                             (int)s->is_full, "seed", (json_int_t)s->seed, "tokenizer",
                             kvl_keep_hash(kvl_tokenizer_hash(s->setup.tokenizer)), "texts",
                             kvl_keep_samples(&s->texts)),
    };
    KVL_TRY(kvl_keep_document(&s->store, NULL, &what, &s->lines, err));
    return kvl_report_arg_write(&s->report, &s->store, NULL, s->setup.model->name, NULL, err);
}

static void write_help(kvl_str *out) {
    size_t n = 0;
    const kvl_hypothesis *const *list = kvl_hypotheses(&n);
    kvl_str_puts(out, "usage: kvlab explain [OPTIONS]\n\nWhat causes the curve of quality against keep ratio "
                      "on a model: experiments that can fail, and a verdict on\neach hypothesis with effects "
                      "and intervals. See docs/explain.md.\n\n");
    kvl_args_help(table, n_table, out);
    kvl_str_puts(out, "\nhypotheses:\n");
    for (size_t i = 0; i < n; i++) {
        kvl_str_printf(out, "  %-4s %s\n", list[i]->id, list[i]->name);
    }
}

static void close_session(session *s) {
    kvl_evidence_free(&s->evidence);
    kvl_samples_free(&s->texts);
    kvl_setup_close(&s->setup);
    kvl_str_free(&s->command);
    kvl_str_free(&s->lines);
    kvl_sweep_options_free(&s->run);
    kvl_free(s);
}

kvl_status kvl_cmd_explain(int argc, char **argv, kvl_err *err) {
    kvl_str out = {0};
    session *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "explain");
    }
    s->run.samples = KVL_EXPLAIN_SAMPLES;
    s->run.settings = (kvl_settings)KVL_SETTINGS(table, groups);
    s->seed = 1;
    s->last_study = -1;
    kvl_args_command(&s->command, argc, argv);
    kvl_status status = kvl_settings_take(&s->run.settings, argc, argv, set_option, s, err);
    if (status == KVL_OK && s->n_hypotheses == 0) {
        size_t n = 0;
        const kvl_hypothesis *const *list = kvl_hypotheses(&n);
        memcpy(s->hypotheses, list, n * sizeof(const kvl_hypothesis *));
        s->n_hypotheses = n;
    }
    const bool is_run = !s->run.is_help && !kvl_settings_are_shown(&s->run.settings);
    if (status == KVL_OK && s->run.is_help) {
        write_help(&out);
    } else if (status == KVL_OK && is_run) {
        status = explain(s, &out, err);
    } else if (status == KVL_OK) {
        kvl_settings_show(&s->run.settings, &out);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    if (status == KVL_OK && is_run) {
        status = keep(s, err);
    }
    kvl_str_free(&out);
    close_session(s);
    return status;
}
