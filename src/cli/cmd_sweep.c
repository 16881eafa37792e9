/* kvlab sweep: model, samples and policies in; table, picture and records out. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/keep.h"
#include "cli/portrait.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "cli/sweep_config.h"
#include "cli/sweep_options.h"
#include "cli/sweep_plan.h"
#include "cli/sweep_quality.h"
#include "cli/sweep_protocol.h"
#include "cli/sweep_run.h"
#include "cli/sweep_store.h"
#include "cli/sweep_timing.h"

#include "base/alloc.h"
#include "base/os.h"
#include "press/plugin.h"
#include "protocol/timing.h"
#include "protocol/trace.h"
#include "report/plot.h"
#include "report/section.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* All that a run owns. */
typedef struct session {
    kvl_sweep_options options;
    kvl_setup setup;
    kvl_samples texts;
    kvl_samples windows; /* of them, where the protocol cuts any */
    kvl_policy *policies;
    size_t n_policies;
    kvl_sweep_run_info info;
    kvl_str command;
    uint64_t memory_bytes; /* limit of a sweep; 0: none */
    kvl_progress progress;
    uint64_t start_ns;
    kvl_sweep_store store;
    size_t stop_rows;  /* rows after which to stop, since it was asked for; 0: it was not */
    kvl_status status; /* of keeping cells: what stopped the sweep */
    kvl_err err;
} session;

static void print_cell(session *s, const kvl_sweep_progress *p) {
    const kvl_cell *c = p->finished;
    kvl_str text = {0};
    if (c->policy == 0) {
        kvl_str_puts(&text, "none");
    } else {
        kvl_policy_text(&s->policies[c->policy - 1], &text);
    }
    kvl_progress_line(&s->progress, "cell %zu of %zu: %s on %s: PPL %.2f, %zu compressions", p->cells_done,
                      p->cells_total, kvl_str_text(&text), s->info.samples->items[c->sample].name,
                      exp(c->nll_sum / (double)c->n_scored), c->n_events);
    kvl_str_free(&text);
}

/* Whether the sweep goes on. When the user asks to stop, a wave that has nearly ended ends first. */
static bool goes_on(session *s, const kvl_sweep_progress *p) {
    enum { most_seconds = 10 };
    if (!kvl_is_stopping()) {
        return true;
    }
    if (s->stop_rows == 0) {
        const double seconds = (double)(kvl_clock_ns() - s->start_ns) * 1e-9;
        const double left = (double)(p->wave_rows - p->rows_done) * seconds / (double)(p->rows_done + 1);
        s->stop_rows = left < most_seconds ? p->wave_rows : p->rows_done;
        if (p->wave_rows > p->rows_done && left < most_seconds) {
            kvl_progress_end(&s->progress);
            fprintf(stderr, "finishing %zu cells, about %.0f s; again: stop at once\n",
                    p->wave_cells - p->cells_done, ceil(left));
        }
    }
    return p->rows_done < s->stop_rows || p->rows_done == p->rows_total;
}

static bool show_progress(void *ud, const kvl_sweep_progress *p) {
    session *s = ud;
    if (p->finished != NULL) {
        s->status = kvl_sweep_store_keep(&s->store, p->finished, p->is_one_pass, &s->err);
        if (s->status == KVL_OK && !p->is_one_pass && (s->options.is_verbose || !s->progress.is_terminal)) {
            print_cell(s, p);
        }
        return s->status == KVL_OK;
    }
    char count[64];
    snprintf(count, sizeof count, "%zu of %zu cells", p->cells_done, p->cells_total);
    kvl_progress_show(&s->progress, &(kvl_progress_state){.what = s->options.preset->name,
                                                          .count = count,
                                                          .done = p->rows_done,
                                                          .total = p->rows_total,
                                                          .unit = "tokens"});
    return goes_on(s, p);
}

static void note_calibration(session *s) {
    kvl_str *note = s->setup.calibration != NULL ? kvl_sweep_add_note(&s->info) : NULL;
    if (note != NULL) {
        kvl_str_printf(note, "statistics of the model: %016llx, of %llu tokens (text:hash:tokens): %s",
                       (unsigned long long)s->setup.calibration->hash,
                       (unsigned long long)s->setup.calibration->n_tokens,
                       kvl_str_text(&s->setup.calibration->texts));
    }
}

static kvl_status load_samples(session *s, kvl_err *err) {
    char data_dir[4096];
    snprintf(data_dir, sizeof data_dir, "%s/data", kvl_data_root());
    if (s->options.n_files == 0) {
        return kvl_samples_load(&s->texts, s->options.samples, data_dir, s->setup.tokenizer, err);
    }
    for (size_t i = 0; i < s->options.n_files; i++) {
        KVL_TRY(kvl_samples_add_file(&s->texts, s->options.files[i], s->setup.tokenizer, err));
    }
    return KVL_OK;
}

static void note_idle_policies(session *s) {
    const kvl_sweep *sweep = &s->info.sweep;
    size_t n_idle = 0;
    for (size_t p = 1; p < sweep->n_policies; p++) {
        size_t n_events = 0;
        for (size_t i = 0; i < sweep->n_samples; i++) {
            n_events += kvl_sweep_cell(sweep, p, i)->n_events;
        }
        n_idle += n_events == 0;
    }
    kvl_str *note = n_idle != 0 ? kvl_sweep_add_note(&s->info) : NULL;
    if (note != NULL) {
        kvl_str_printf(note, "%zu of %zu policies never act on texts of at most %zu tokens: nothing evicted",
                       n_idle, sweep->n_policies - 1, s->info.protocol.max_tokens);
    }
}

static kvl_status run_traced(session *s, kvl_sweep_config *config, kvl_err *err) {
    kvl_trace_writer *w = NULL;
    KVL_TRY(kvl_trace_create(&w, s->options.trace_path, s->setup.engine,
                             kvl_tokenizer_hash(s->setup.tokenizer), config, err));
    kvl_trace_attach(w, config);
    const kvl_status status = kvl_sweep_run(&s->info.sweep, s->setup.engine, config, err);
    if (status != KVL_OK) {
        kvl_trace_discard(w);
        return status;
    }
    return kvl_trace_commit(w, err);
}

/* What a sweep that was stopped says. */
static kvl_status fail_stopped(session *s, size_t n_cells, kvl_err *err) {
    if (s->status != KVL_OK) {
        *err = s->err;
        return s->status;
    }
    if (s->store.store == NULL) {
        return kvl_fail(err, KVL_E_INTERRUPTED, "stopped: no cell is kept, there is no store");
    }
    return kvl_fail(err, KVL_E_INTERRUPTED,
                    "stopped: %zu of %zu cells are in %s; the same command goes on from there",
                    s->store.n_kept, n_cells, kvl_str_text(&s->store.path));
}

/* What the sweep would have computed at once: a table does not tell how often it was stopped. */
static kvl_status count_whole(session *s, const kvl_sweep_config *config, kvl_err *err) {
    kvl_sweep_config whole = *config;
    kvl_sweep plan = {0};
    whole.recall = NULL;
    KVL_TRY(kvl_sweep_plan(&plan, s->setup.engine, &whole, err));
    s->info.rows_computed = plan.rows_planned;
    s->info.rows_naive = plan.rows_naive;
    s->info.n_waves = plan.n_waves;
    kvl_sweep_free(&plan);
    return KVL_OK;
}

/* Whether more is asked for than is stored. */
static bool needs_more(const session *s) { return s->options.wants_quality || s->options.trace_path != NULL; }

/* Cells that are in the store are not run again, unless more is asked for than is stored. */
static kvl_status use_store(session *s, kvl_sweep_config *config, kvl_err *err) {
    config->recall = kvl_sweep_store_recall;
    config->recall_ud = &s->store;
    return kvl_sweep_store_open(&s->store, &s->info, &s->options.store,
                                !s->options.has_no_resume && !needs_more(s), err);
}

static kvl_status compute(session *s, kvl_sweep_config *config, kvl_err *err) {
    const size_t n_cells = (s->n_policies + 1) * s->info.samples->n;
    KVL_TRY(use_store(s, config, err));
    KVL_TRY(kvl_identity_check(s->setup.engine, &s->info.samples->items[0], err));
    if (needs_more(s) && s->store.store != NULL && !s->options.is_quiet) {
        fprintf(stderr, "--%s needs more than is stored: every cell is run\n",
                s->options.wants_quality ? "quality" : "trace");
    }
    s->start_ns = kvl_clock_ns();
    kvl_progress_begin(&s->progress, s->options.is_quiet);
    kvl_status status = s->options.trace_path != NULL
                            ? run_traced(s, config, err)
                            : kvl_sweep_run(&s->info.sweep, s->setup.engine, config, err);
    kvl_progress_end(&s->progress);
    s->info.rows_computed = s->info.sweep.rows_computed;
    s->info.rows_naive = s->info.sweep.rows_naive;
    s->info.n_waves = s->info.sweep.n_waves;
    if (status == KVL_OK && s->info.sweep.n_known != 0) {
        status = count_whole(s, config, err);
    }
    return status == KVL_E_INTERRUPTED ? fail_stopped(s, n_cells, err) : status;
}

static kvl_status run_sweep(session *s, kvl_err *err) {
    kvl_sweep_config config = {
        .protocol = s->info.protocol,
        .samples = s->info.samples,
        .policies = s->policies,
        .n_policies = s->n_policies,
        .memory_bytes = s->memory_bytes,
        .wants_quality = s->options.wants_quality,
        .progress = show_progress,
        .progress_ud = s,
    };
    if (s->options.is_dry_run) {
        if (s->options.trace_path != NULL) {
            kvl_trace_attach(NULL, &config);
        }
        KVL_TRY(use_store(s, &config, err));
        KVL_TRY(kvl_sweep_plan(&s->info.sweep, s->setup.engine, &config, err));
    } else {
        KVL_TRY(compute(s, &config, err));
        if (s->options.wants_quality) {
            KVL_TRY(kvl_sweep_count_bytes(&s->info, s->setup.tokenizer, err));
        }
    }
    note_idle_policies(s);
    return KVL_OK;
}

static kvl_status write_plan(session *s, kvl_err *err) {
    const kvl_sweep *sweep = &s->info.sweep;
    kvl_sweep_plan_info plan = {.run = &s->info,
                                .memory_bytes = s->memory_bytes,
                                .store = s->store.store != NULL ? kvl_str_text(&s->store.path) : NULL,
                                .is_kept = s->store.is_kept};
    kvl_str out = {0};
    plan.n_timed_rows = kvl_max_size(1, kvl_sweep_mean_rows(sweep));
    KVL_TRY(kvl_timing_pass(&plan.pass_ns, s->setup.engine, plan.n_timed_rows, err));
    kvl_status status = kvl_sweep_write_plan(&out, &plan, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    return status;
}

static kvl_status save_chart(session *s, const kvl_report *report, kvl_err *err) {
    char path[4096];
    if (!s->options.has_chart) {
        return KVL_OK;
    }
    KVL_TRY(kvl_dir_create(s->options.out_dir, err));
    const char *other = kvl_sweep_other_protocol(&s->options);
    snprintf(path, sizeof path, "%s/%s%s%s.%s", s->options.out_dir, s->options.preset->name,
             other[0] != '\0' ? "." : "", other, s->setup.model->name);
    const kvl_content content = {.sweep = (kvl_report *)report}; /* only read */
    const kvl_caption caption = {
        .title = report->title, .line = report->protocol, .command = report->command};
    const kvl_chart *chart = kvl_chart_of_sweep(&content);
    if (chart == NULL) {
        return KVL_OK;
    }
    KVL_TRY(kvl_chart_save(chart, &content, KVL_EN, &caption, path, err));
    fprintf(stderr, "picture: %s.png, .svg and .pdf\n", path);
    return KVL_OK;
}

/* The curve in characters, for whoever reads the table on a terminal. */
static void put_plot(const session *s, const kvl_report *report, kvl_str *out) {
    const bool is_shown =
        s->options.wants_plot || (!s->options.wants_no_plot && kvl_terminal_is(STDOUT_FILENO));
    if (is_shown && s->options.format == KVL_SWEEP_TABLE) {
        kvl_str_puts(out, "\n");
        kvl_plot_curve(out, report, kvl_terminal_width(STDOUT_FILENO),
                       kvl_terminal_has_color(STDOUT_FILENO, s->options.color));
    }
}

static kvl_status write_results(session *s, kvl_err *err) {
    kvl_sweep_report report;
    kvl_str out = {0};
    KVL_TRY(kvl_sweep_report_make(&report, &s->info, err));
    kvl_status status = kvl_sweep_store_describe(&s->store, &report.report, err);
    KVL_GO(status);
    if (s->options.nll_path != NULL) {
        KVL_GO(kvl_sweep_write_nll(&out, &s->info, err));
        KVL_GO(kvl_file_save(s->options.nll_path, kvl_str_text(&out), out.len, err));
        kvl_str_clear(&out);
    }
    if (s->options.format == KVL_SWEEP_JSONL) {
        KVL_GO(kvl_sweep_write_cells(&out, &s->info, err));
    } else {
        kvl_report_write(&out, &report.report, (kvl_format)s->options.format);
        if (s->options.wants_quality) {
            KVL_GO(kvl_sweep_write_quality(&out, &s->info, s->options.format == KVL_SWEEP_MD, err));
        }
        put_plot(s, &report.report, &out);
        KVL_GO(kvl_str_check(&out, "report", err));
    }
    KVL_GO(kvl_print(kvl_str_text(&out), out.len, err));
    KVL_GO(save_chart(s, &report.report, err));
done:
    kvl_str_free(&out);
    kvl_sweep_report_free(&report);
    return status;
}

/* Of a report it is a part. */
static kvl_status keep_portrait(session *s, kvl_err *err) {
    kvl_keep what = {.kind = "portrait",
                     .model = s->setup.model,
                     .isa = kvl_engine_isa(s->setup.engine),
                     .command = s->info.command};
    kvl_str lines = {0};
    if ((!s->options.wants_portrait && s->options.report.path == NULL) || s->store.store == NULL) {
        return KVL_OK;
    }
    kvl_status status =
        kvl_portrait_make(&lines, &what.options, &s->info, s->setup.engine, s->policies, s->n_policies, err);
    if (status == KVL_OK) {
        status = kvl_sweep_store_document(&s->store, &what, &lines, err);
    }
    kvl_str_free(&lines);
    return status;
}

static kvl_status run_timing(session *s, kvl_err *err) {
    size_t longest = 0;
    kvl_str out = {0}, lines = {0};
    for (size_t i = 1; i < s->texts.n; i++) {
        longest = s->texts.items[i].ids.n > s->texts.items[longest].ids.n ? i : longest;
    }
    kvl_status status = kvl_sweep_timing(&out, &lines, s->setup.engine, &s->texts.items[longest], s->policies,
                                         s->n_policies, s->options.format == KVL_SWEEP_JSONL, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    if (status == KVL_OK) {
        const kvl_keep what = {.kind = "timing",
                               .model = s->setup.model,
                               .isa = kvl_engine_isa(s->setup.engine),
                               .command = s->info.command,
                               .options = kvl_sweep_timing_options(s->setup.engine, &s->texts.items[longest],
                                                                   s->policies, s->n_policies)};
        status = kvl_keep_document(&s->options.store, s->options.out_dir, &what, &lines, err);
    }
    kvl_str_free(&out);
    kvl_str_free(&lines);
    return status;
}

static kvl_status write_page(const session *s, const char *group, kvl_err *err) {
    return kvl_report_arg_write(&s->options.report, &s->options.store, s->options.out_dir,
                                s->setup.model->name, group, err);
}

/* Where presses came from that are not kvlab's own. */
static void note_plugins(session *s) {
    size_t n = 0;
    const kvl_press *const *presses = kvl_presses(&n);
    for (size_t i = 0; i < n; i++) {
        const bool is_plugin = kvl_press_hash(presses[i])[0] != '\0';
        kvl_str *note = is_plugin ? kvl_sweep_add_note(&s->info) : NULL;
        if (note != NULL) {
            kvl_str_printf(note, "%s@%s is a plug-in: %s", presses[i]->name, kvl_press_hash(presses[i]),
                           kvl_press_file(presses[i]));
        }
    }
}

static kvl_status run_session(session *s, kvl_err *err) {
    KVL_TRY(kvl_report_arg_check(&s->options.report, &s->options.store, s->options.out_dir, err));
    KVL_TRY(kvl_sweep_store_check(&s->options, err));
    kvl_str left_out = {0};
    kvl_status status = kvl_sweep_options_policies(&s->policies, &s->n_policies, &left_out, &s->options, err);
    kvl_str *note = left_out.len != 0 ? kvl_sweep_add_note(&s->info) : NULL;
    if (note != NULL) {
        kvl_str_printf(note, "not run again: %s", kvl_str_text(&left_out));
    }
    kvl_str_free(&left_out);
    KVL_TRY(status);
    note_plugins(s);
    s->memory_bytes = s->options.memory_bytes != 0 ? s->options.memory_bytes : kvl_most_memory();
    KVL_TRY(kvl_setup_open(&s->setup, &s->options, s->policies, s->n_policies, err));
    note_calibration(s);
    KVL_TRY(load_samples(s, err));
    s->info.options = &s->options;
    s->info.engine = s->setup.engine;
    s->info.tokenizer = s->setup.tokenizer;
    s->info.tokenizer_hash = kvl_tokenizer_hash(s->setup.tokenizer);
    KVL_TRY(
        kvl_sweep_fit(&s->info, &s->texts, &s->windows, s->setup.tokenizer, s->policies, s->n_policies, err));
    s->info.command = kvl_str_text(&s->command);
    if (s->options.is_timing) {
        KVL_TRY(run_timing(s, err));
        return write_page(s, NULL, err);
    }
    KVL_TRY(run_sweep(s, err));
    if (s->options.is_dry_run) {
        return write_plan(s, err);
    }
    KVL_TRY(write_results(s, err));
    KVL_TRY(keep_portrait(s, err));
    return write_page(s, s->store.identity.group, err);
}

static void close_session(session *s) {
    kvl_sweep_store_close(&s->store);
    kvl_sweep_free_bytes(&s->info);
    kvl_sweep_free(&s->info.sweep);
    for (size_t i = 0; i < s->info.n_notes; i++) {
        kvl_str_free(&s->info.notes[i]);
    }
    kvl_samples_free(&s->windows);
    kvl_samples_free(&s->texts);
    kvl_setup_close(&s->setup);
    kvl_free(s->policies);
    kvl_str_free(&s->command);
    kvl_sweep_options_free(&s->options);
}

static kvl_status show_config(session *s, kvl_err *err) {
    kvl_str text = {0};
    kvl_str left_out = {0};
    kvl_status status = /* shown is only what would run */
        kvl_sweep_options_policies(&s->policies, &s->n_policies, &left_out, &s->options, err);
    kvl_sweep_config_show(&s->options, &text);
    if (status == KVL_OK) {
        status = kvl_str_check(&text, "options", err);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&text), text.len, err);
    }
    kvl_str_free(&left_out);
    kvl_str_free(&text);
    return status;
}

kvl_status kvl_cmd_sweep(int argc, char **argv, kvl_err *err) {
    session *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "sweep");
    }
    kvl_status status = kvl_sweep_options_parse(&s->options, argc, argv, err);
    if (status == KVL_OK && s->options.is_help) {
        kvl_str help = {0};
        status = kvl_sweep_options_help(&help, err);
        if (status == KVL_OK) {
            status = kvl_print(kvl_str_text(&help), help.len, err);
        }
        kvl_str_free(&help);
    } else if (status == KVL_OK && kvl_settings_are_shown(&s->options.settings)) {
        status = show_config(s, err);
    } else if (status == KVL_OK) {
        kvl_args_command(&s->command, argc, argv);
        status = run_session(s, err);
    }
    close_session(s);
    kvl_free(s);
    return status;
}
