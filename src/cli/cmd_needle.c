/* kvlab needle: retrieval from compressed caches. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/keep.h"
#include "cli/needle_report.h"
#include "cli/progress.h"

#include "base/alloc.h"
#include "base/os.h"
#include "protocol/sweep.h"
#include "protocol/timing.h"

#include <stdio.h>
#include <string.h>

/* All that a run owns. */
typedef struct session {
    kvl_needle_options options;
    kvl_setup setup;
    kvl_policy *policies; /* the full cache first */
    kvl_str left_out, command, out;
    kvl_str lines; /* all that was found, as JSON lines */
    kvl_needle_run run;
    kvl_prompt_maker *maker;       /* of the task */
    kvl_retrieval_prompt *prompts; /* [n_depths, n_trials] of the length */
    kvl_retrieval_result *results; /* [n_policies, prompts] */
    size_t n_prompts;
    size_t task, length; /* at work */
    kvl_progress progress;
} session;

static bool show_progress(void *ud, size_t rows_done, size_t rows_total) {
    session *s = ud;
    char what[64];
    snprintf(what, sizeof what, "%s, %zu tokens", s->options.tasks[s->task]->name,
             s->options.lengths[s->length]);
    kvl_progress_show(
        &s->progress,
        &(kvl_progress_state){.what = what, .done = rows_done, .total = rows_total, .unit = "tokens"});
    return !kvl_is_stopping();
}

static kvl_status flush(session *s, kvl_err *err) {
    KVL_TRY(kvl_str_check(&s->out, "needle", err));
    KVL_TRY(kvl_print(kvl_str_text(&s->out), s->out.len, err));
    kvl_str_clear(&s->out);
    return KVL_OK;
}

static kvl_status make_policies(session *s, kvl_err *err) {
    kvl_policy *list = NULL;
    size_t n = 0;
    KVL_TRY(kvl_sweep_options_policies(&list, &n, &s->left_out, &s->options.run, err));
    s->policies = kvl_calloc(n + 1, sizeof *s->policies);
    if (s->policies == NULL) {
        kvl_free(list);
        return kvl_fail_nomem(err, "policies");
    }
    for (size_t i = 0; i < n; i++) {
        s->policies[i + 1] = kvl_timing_once(&list[i]); /* as it will run, and be written */
    }
    kvl_free(list);
    s->run.n_policies = n + 1;
    s->run.policies = s->policies;
    kvl_policy_init(&s->policies[0]);
    return kvl_policy_parse(&s->policies[0], "none", err);
}

/* Lengths of the options, or those of the default that the model can hold. */
static kvl_status fit_lengths(session *s, kvl_err *err) {
    kvl_needle_options *o = &s->options;
    const size_t n_context = s->setup.model->shape.n_context;
    const size_t most = n_context - kvl_min_size(n_context, o->max_new);
    const bool is_default = o->n_lengths == 0;
    for (size_t n = 256; is_default && n <= kvl_min_size(most, 1024); n *= 2) {
        o->lengths[o->n_lengths++] = n;
    }
    if (o->n_lengths == 0) {
        return kvl_fail(err, KVL_E_USAGE, "--length: expected lengths of at most %zu tokens, found none",
                        most);
    }
    for (size_t i = 0; i < o->n_lengths; i++) {
        if (o->lengths[i] > most) {
            return kvl_fail(err, KVL_E_USAGE,
                            "--length: expected at most %zu (the context of %s is %zu, an answer takes %zu), "
                            "found %zu",
                            most, s->setup.model->name, n_context, o->max_new, o->lengths[i]);
        }
    }
    return KVL_OK;
}

/* ---- one task, one length ---- */

static void free_trials(session *s) {
    for (size_t i = 0; s->prompts != NULL && i < s->n_prompts; i++) {
        kvl_retrieval_prompt_free(&s->prompts[i]);
    }
    kvl_retrieval_free(s->results, s->n_prompts * s->run.n_policies);
    kvl_free(s->prompts);
    kvl_free(s->results);
    s->prompts = NULL;
    s->results = NULL;
}

static kvl_status make_prompts(session *s, kvl_err *err) {
    const kvl_needle_options *o = &s->options;
    s->n_prompts = o->n_depths * o->n_trials;
    s->prompts = kvl_calloc(s->n_prompts, sizeof *s->prompts);
    s->results = kvl_calloc(s->n_prompts * s->run.n_policies, sizeof *s->results);
    if (s->prompts == NULL || s->results == NULL) {
        return kvl_fail_nomem(err, "needle");
    }
    for (size_t i = 0; i < s->n_prompts; i++) {
        const kvl_retrieval_point point = {.task = o->tasks[s->task],
                                           .n_tokens = o->lengths[s->length],
                                           .depth = (unsigned)o->depths[i / o->n_trials],
                                           .trial = i % o->n_trials,
                                           .seed = o->seed};
        KVL_TRY(kvl_retrieval_make(&s->prompts[i], s->maker, &point, err));
    }
    return KVL_OK;
}

static kvl_status run_length(session *s, kvl_err *err) {
    const kvl_needle_options *o = &s->options;
    KVL_TRY(make_prompts(s, err));
    const kvl_retrieval_config config = {
        .tokenizer = s->setup.tokenizer,
        .prompts = s->prompts,
        .n_prompts = s->n_prompts,
        .policies = s->policies + 1,
        .n_policies = s->run.n_policies - 1,
        .is_query_aware = o->is_query_aware,
        .max_new = o->max_new,
        .memory_bytes = o->run.memory_bytes != 0 ? o->run.memory_bytes : kvl_most_memory(),
        .progress = show_progress,
        .progress_ud = s,
    };
    if (s->task == 0 && s->length == 0) {
        const kvl_sample sample = {.name = "prompt", .ids = s->prompts[0].ids};
        KVL_TRY(kvl_identity_check(s->setup.engine, &sample, err));
    }
    kvl_progress_begin(&s->progress, o->run.is_quiet);
    const kvl_status status = kvl_retrieval_run(s->results, s->setup.engine, &config, err);
    kvl_progress_end(&s->progress);
    KVL_TRY(status);
    if (!s->progress.is_terminal) {
        kvl_progress_line(&s->progress, "%s, %zu tokens: %zu prompts under %zu policies",
                          o->tasks[s->task]->name, o->lengths[s->length], s->n_prompts, s->run.n_policies);
    }
    kvl_needle_count(&s->run, s->task, s->length, s->results);
    const size_t n_before = s->lines.len;
    KVL_TRY(kvl_needle_write_trials(&s->lines, &s->run, s->task, s->length, s->prompts, s->results, err));
    if (o->format == KVL_NEEDLE_JSONL) {
        kvl_str_puts(&s->out, kvl_str_text(&s->lines) + n_before);
    } else if (o->format == KVL_NEEDLE_CSV) {
        kvl_needle_write_csv(&s->out, &s->run, s->task, s->length);
    }
    return flush(s, err);
}

static kvl_status run_task(session *s, kvl_err *err) {
    const kvl_needle_options *o = &s->options;
    char data_dir[4096];
    snprintf(data_dir, sizeof data_dir, "%s/data", kvl_data_root());
    KVL_TRY(kvl_prompt_maker_create(&s->maker, s->setup.tokenizer, s->run.chat,
                                    o->is_filler_auto ? o->tasks[s->task]->filler : o->filler, data_dir,
                                    err));
    kvl_status status = KVL_OK;
    for (s->length = 0; s->length < o->n_lengths && status == KVL_OK; s->length++) {
        status = run_length(s, err);
        free_trials(s);
    }
    kvl_prompt_maker_destroy(s->maker);
    s->maker = NULL;
    KVL_TRY(status);
    const size_t n_before = s->lines.len;
    KVL_TRY(kvl_needle_write_pairs(&s->lines, &s->run, s->task, err));
    if (o->format == KVL_NEEDLE_JSONL) {
        kvl_str_puts(&s->out, kvl_str_text(&s->lines) + n_before);
    } else if (o->format == KVL_NEEDLE_MD) {
        kvl_needle_write_grids(&s->out, &s->run, s->task);
    }
    return flush(s, err);
}

/* After everything was printed. */
static kvl_status keep(session *s, kvl_err *err) {
    const kvl_needle_options *o = &s->options;
    json_t *tasks = json_array();
    for (size_t i = 0; i < o->n_tasks; i++) {
        json_array_append_new(tasks, json_string(o->tasks[i]->name));
    }
    const kvl_keep what = {
        .kind = "needle",
        .model = s->setup.model,
        .isa = kvl_engine_isa(s->setup.engine),
        .command = kvl_str_text(&s->command),
        .options = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:s, s:s, s:o, s:o}", "tasks", tasks,
                             "lengths", kvl_keep_counts(o->lengths, o->n_lengths), "depths",
                             kvl_keep_counts(o->depths, o->n_depths), "n_trials", (json_int_t)o->n_trials,
                             "max_new", (json_int_t)o->max_new, "seed", (json_int_t)o->seed, "is_query_aware",
                             (int)o->is_query_aware, "chat", kvl_chat_name(s->run.chat), "filler",
                             o->is_filler_auto ? "auto" : kvl_filler_name(o->filler), "tokenizer",
                             kvl_keep_hash(kvl_tokenizer_hash(s->setup.tokenizer)), "policies",
                             kvl_keep_policies(s->policies, s->run.n_policies, &s->setup.model->shape)),
    };
    KVL_TRY(kvl_keep_document(&o->store, NULL, &what, &s->lines, err));
    return kvl_report_arg_write(&o->report, &o->store, NULL, s->setup.model->name, NULL, err);
}

static kvl_status run_session(session *s, kvl_err *err) {
    const kvl_needle_options *o = &s->options;
    KVL_TRY(kvl_report_arg_check(&o->report, &o->store, NULL, err));
    KVL_TRY(make_policies(s, err));
    KVL_TRY(kvl_setup_open(&s->setup, &o->run, s->policies, s->run.n_policies, err));
    KVL_TRY(fit_lengths(s, err));
    s->run.options = o;
    s->run.setup = &s->setup;
    s->run.chat = o->is_chat_auto ? kvl_chat_of(s->setup.tokenizer) : o->chat;
    s->run.command = kvl_str_text(&s->command);
    s->run.left_out = kvl_str_text(&s->left_out);
    s->run.cells =
        kvl_calloc(o->n_tasks * s->run.n_policies * o->n_lengths * o->n_depths, sizeof *s->run.cells);
    if (s->run.cells == NULL) {
        return kvl_fail_nomem(err, "needle");
    }
    if (o->format == KVL_NEEDLE_CSV) {
        kvl_needle_write_csv_head(&s->out);
    }
    for (s->task = 0; s->task < o->n_tasks; s->task++) {
        KVL_TRY(run_task(s, err));
    }
    if (o->format == KVL_NEEDLE_MD) {
        kvl_needle_write_foot(&s->out, &s->run);
    }
    KVL_TRY(flush(s, err));
    return keep(s, err);
}

kvl_status kvl_cmd_needle(int argc, char **argv, kvl_err *err) {
    session *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "needle");
    }
    kvl_status status = kvl_needle_options_parse(&s->options, argc, argv, err);
    if (status == KVL_OK && s->options.run.is_help) {
        kvl_needle_options_help(&s->out);
        status = flush(s, err);
    } else if (status == KVL_OK && kvl_settings_are_shown(&s->options.run.settings)) {
        status = kvl_settings_print(&s->options.run.settings, err);
    } else if (status == KVL_OK) {
        kvl_args_command(&s->command, argc, argv);
        status = run_session(s, err);
    }
    kvl_setup_close(&s->setup);
    kvl_free(s->run.cells);
    kvl_free(s->policies);
    kvl_str_free(&s->left_out);
    kvl_str_free(&s->command);
    kvl_str_free(&s->out);
    kvl_str_free(&s->lines);
    kvl_needle_options_free(&s->options);
    kvl_free(s);
    return status;
}
