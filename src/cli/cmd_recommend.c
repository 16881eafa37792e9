/* kvlab recommend: a model, limits and texts in; the setting to deploy out. */
#include "cli/args.h"
#include "cli/calibration_arg.h"
#include "cli/cmd.h"
#include "cli/keep.h"
#include "cli/progress.h"
#include "cli/recommend_options.h"
#include "cli/recommend_report.h"
#include "cli/setup.h"

#include "base/alloc.h"
#include "base/os.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* How much a run does. */
typedef struct effort {
    const char *tune, *test; /* samples; of different documents */
    size_t tune_windows;     /* of a sample, at most */
    size_t test_windows;
    size_t n_finalists;
    size_t n_repetitions;
} effort;

static const effort quick = {"B1-B5 A1-A20", "B6-B10 A31-A60", 1, 1, 8, 11};
static const effort full = {"B1-B5 A1-A30", "B6-B10 A31-A60", 2, 3, KVL_MAX_FINALISTS, 21};

enum { DEFAULT_PROMPT = 512, DEFAULT_NEW = 128, TIMED_TOKENS = 32 };

/* All that a run owns. */
typedef struct session {
    kvl_recommend_options options;
    const effort *effort;
    kvl_model *model;
    kvl_tokenizer *tokenizer;
    kvl_calibration *calibration; /* NULL: no policy needs one */
    kvl_ids prompt_ids;           /* of the words below */
    kvl_prompts prompts;
    kvl_samples texts;
    kvl_cuts tune, test;
    kvl_recommend_config config;
    kvl_recommend result;
    kvl_str texts_text;
    kvl_str command;
    kvl_progress progress;
    size_t last_stage; /* whose progress is shown; SIZE_MAX: none */
} session;

static bool show_progress(void *ud, const kvl_recommend_progress *p) {
    static const char *const stages[KVL_RECOMMEND_STAGES] = {"presses",     "budgets",        "protections",
                                                             "cache types", "held-out texts", "times"};
    session *s = ud;
    char what[64];
    snprintf(what, sizeof what, "%zu of %d: %s", p->stage + 1, (int)KVL_RECOMMEND_STAGES, stages[p->stage]);
    if (p->stage != s->last_stage) {
        kvl_progress_begin(&s->progress, s->options.is_quiet);
        s->progress.first_done = p->rows_done;
        s->last_stage = p->stage;
        if (!s->progress.is_terminal) {
            kvl_progress_line(&s->progress, "%s", what);
        }
    }
    kvl_progress_show(&s->progress, &(kvl_progress_state){.what = what,
                                                          .done = p->rows_done,
                                                          .total = p->rows_total,
                                                          .unit = p->rows_total != 0 ? "tokens" : NULL});
    return !kvl_is_stopping();
}

/* ---- what is searched ---- */

/* Whether policies take channels from keys, which quantised caches cannot store. */
static bool has_thinner(const kvl_recommend_options *o) {
    size_t i = 0;
    while (i < o->n_policies && kvl_press_thinner(o->policies[i].tree) == NULL) {
        i++;
    }
    return i < o->n_policies;
}

/* The types of the cache now, and smaller ones that its heads and what is searched can be stored in. */
static void set_forms(session *s) {
    static const kvl_kv_type smaller[] = {KVL_KV_F16, KVL_KV_Q8_0, KVL_KV_Q4_0};
    kvl_recommend_config *c = &s->config;
    const kvl_shape *shape = &s->model->shape;
    c->forms[c->n_forms++] = (kvl_form){shape->key_type, shape->value_type};
    const size_t n = s->options.has_same_types  ? 0
                     : has_thinner(&s->options) ? 1
                     : s->options.is_full       ? 3
                                                : 2;
    for (size_t i = 0; i < n; i++) {
        kvl_shape like = *shape;
        like.key_type = like.value_type = smaller[i];
        if (kvl_shape_kv_bytes(&like) < kvl_shape_kv_bytes(shape) &&
            kvl_cache_check_shape(&like, NULL) == KVL_OK) {
            c->forms[c->n_forms++] = (kvl_form){smaller[i], smaller[i]};
        }
    }
}

/* Adds for each form the ratio that just fits a limit of bytes: cut to three digits. */
static void add_fitting_ratios(session *s) {
    kvl_recommend_options *o = &s->options;
    for (size_t f = 0; f < s->config.n_forms && o->wish.max_bytes != 0; f++) {
        kvl_shape like = s->model->shape;
        like.key_type = s->config.forms[f].key_type;
        like.value_type = s->config.forms[f].value_type;
        const double n_entries = floor((double)o->wish.max_bytes / (double)kvl_shape_kv_bytes(&like));
        const double ratio =
            floor(1000 * (n_entries - (double)s->config.n_new) / (double)s->config.n_prompt) / 1000;
        if (ratio > 0 && ratio < 1) {
            o->n_ratios = kvl_ratio_insert(o->ratios, o->n_ratios, ratio);
        }
    }
}

/* The prompt and what follows it, within the model's context. */
static kvl_status set_lengths(session *s, kvl_err *err) {
    const kvl_recommend_options *o = &s->options;
    const size_t n_context = s->model->shape.n_context;
    size_t n_new = o->n_new;
    size_t n_prompt = o->n_prompt;
    if (n_new == 0) {
        const size_t n_left = n_context > n_prompt + 1 ? n_context - n_prompt - 1 : 1;
        n_new = kvl_min_size(DEFAULT_NEW, o->n_prompt != 0 ? n_left : kvl_max_size(1, n_context / 4));
    }
    if (n_prompt == 0) {
        n_prompt = kvl_min_size(DEFAULT_PROMPT, n_context > n_new + 1 ? n_context - n_new - 1 : 1);
    }
    if (n_prompt + n_new + 1 > n_context) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "--prompt, --new: expected at most %zu tokens with the one that is predicted last (the "
            "context of %s), found %zu",
            n_context, s->model->name, n_prompt + n_new + 1);
    }
    s->config.n_prompt = n_prompt;
    s->config.n_new = n_new;
    return KVL_OK;
}

/* ---- texts ---- */

static void describe(session *s, const char *what, const char *names, const kvl_cuts *cuts) {
    kvl_str_printf(&s->texts_text, "  %s %s: %zu windows of %zu texts, %zu scored tokens", what, names,
                   cuts->windows.n, cuts->n_texts, cuts->windows.n * s->config.n_new);
    if (cuts->n_short != 0) {
        kvl_str_printf(&s->texts_text, "; %zu left out, shorter than a window", cuts->n_short);
    }
    kvl_str_puts(&s->texts_text, "\n");
}

static kvl_status cut_samples(session *s, kvl_cuts *cuts, const char *names, size_t n_most, kvl_err *err) {
    char data_dir[4096];
    kvl_samples texts;
    snprintf(data_dir, sizeof data_dir, "%s/data", kvl_data_root());
    KVL_TRY(kvl_samples_load(&texts, names, data_dir, s->tokenizer, err));
    const kvl_status status =
        kvl_cut(cuts, &texts, 0, 1, KVL_WHOLE, s->config.n_prompt, s->config.n_new, n_most, err);
    kvl_samples_free(&texts);
    return status;
}

/* The user's own: every second file, or the halves of a single one. */
static kvl_status cut_files(session *s, kvl_err *err) {
    enum { TUNE_WINDOWS = 25, TEST_WINDOWS = 35 }; /* as many as the samples give */
    const size_t n_files = s->options.n_files;
    const bool is_single = n_files == 1;
    const size_t n_tune = is_single ? 1 : (n_files + 1) / 2;
    const size_t n_test = is_single ? 1 : n_files / 2;
    const size_t more = s->options.is_full ? 3 : 1;
    for (size_t i = 0; i < n_files; i++) {
        KVL_TRY(kvl_samples_add_file(&s->texts, s->options.files[i], s->tokenizer, err));
    }
    KVL_TRY(kvl_cut(&s->tune, &s->texts, 0, 2, is_single ? KVL_FIRST_HALF : KVL_WHOLE, s->config.n_prompt,
                    s->config.n_new, more * ((TUNE_WINDOWS + n_tune - 1) / n_tune), err));
    KVL_TRY(kvl_cut(&s->test, &s->texts, is_single ? 0 : 1, 2, is_single ? KVL_SECOND_HALF : KVL_WHOLE,
                    s->config.n_prompt, s->config.n_new, more * ((TEST_WINDOWS + n_test - 1) / n_test), err));
    describe(s, "chosen on ", is_single ? "first half of the file" : "files 1, 3, ...", &s->tune);
    describe(s, "tested on ", is_single ? "second half of the file" : "files 2, 4, ...", &s->test);
    if (s->test.n_texts < KVL_FEW_CLUSTERS) {
        kvl_str_puts(&s->texts_text,
                     "             intervals take windows for independent: they speak of these "
                     "texts, not of others\n");
    }
    return KVL_OK;
}

static kvl_status load_texts(session *s, kvl_err *err) {
    if (s->options.n_files != 0) {
        return cut_files(s, err);
    }
    KVL_TRY(cut_samples(s, &s->tune, s->effort->tune, s->effort->tune_windows, err));
    KVL_TRY(cut_samples(s, &s->test, s->effort->test, s->effort->test_windows, err));
    describe(s, "chosen on ", s->effort->tune, &s->tune);
    describe(s, "tested on ", s->effort->test, &s->test);
    return KVL_OK;
}

/* ---- the run ---- */

static kvl_status open_model(session *s, kvl_err *err) {
    const kvl_recommend_options *o = &s->options;
    kvl_str path = {0};
    kvl_status status = KVL_OK;
    s->config.options = (kvl_engine_options){.n_threads = o->n_threads, .isa = o->isa};
    KVL_GO(kvl_model_arg_resolve(&path, &o->model, err));
    KVL_GO(kvl_model_open_as(&s->model, kvl_str_text(&path), o->arith, o->n_threads, err));
    KVL_GO(kvl_calibration_arg_apply(&s->calibration, o->calibration, s->model, o->policies, o->n_policies,
                                     &s->config.options, err));
    KVL_GO(kvl_cache_arg_apply(&o->cache, &s->model->shape, err));
    KVL_GO(kvl_tokenizer_open_for(&s->tokenizer, kvl_str_text(&path), s->model, err));
    KVL_GO(kvl_prompts_encode(&s->prompts, &s->prompt_ids, s->tokenizer, err));
    s->config.prompts = &s->prompts;
done:
    kvl_str_free(&path);
    return status;
}

static kvl_status set_config(session *s, kvl_err *err) {
    kvl_recommend_config *c = &s->config;
    kvl_recommend_options *o = &s->options;
    KVL_TRY(set_lengths(s, err));
    set_forms(s);
    if (o->max_kv_ratio > 0) {
        const double n_tokens = (double)(c->n_prompt + c->n_new);
        const double n_bytes = o->max_kv_ratio * n_tokens * (double)kvl_shape_kv_bytes(&s->model->shape);
        o->wish.max_bytes = n_bytes > 1 ? (uint64_t)n_bytes : 1; /* 0 is no limit */
    }
    add_fitting_ratios(s);
    KVL_TRY(load_texts(s, err));
    c->tune = &s->tune;
    c->test = &s->test;
    c->policies = o->policies;
    c->n_policies = o->n_policies;
    c->ratios = o->ratios;
    c->n_ratios = o->n_ratios;
    c->wish = o->wish;
    c->n_finalists = s->effort->n_finalists;
    c->n_repetitions = s->effort->n_repetitions;
    c->n_timed = kvl_min_size(c->n_new, TIMED_TOKENS);
    c->memory_bytes = o->memory_bytes != 0 ? o->memory_bytes : kvl_most_memory();
    c->progress = show_progress;
    c->progress_ud = s;
    return KVL_OK;
}

static json_t *limit_json(const kvl_time_limit *limit) {
    return json_pack("[o, o]", kvl_json_number(limit->ratio), kvl_json_number(limit->ns));
}

/* What the search and its answer follow from; times are those of so many threads. */
static json_t *options_json(const session *s) {
    const kvl_recommend_config *c = &s->config;
    json_t *forms = json_array(), *ratios = json_array();
    for (size_t i = 0; i < c->n_forms; i++) {
        json_array_append_new(forms, json_pack("[s, s]", kvl_kv_type_name(c->forms[i].key_type),
                                               kvl_kv_type_name(c->forms[i].value_type)));
    }
    for (size_t i = 0; i < c->n_ratios; i++) {
        json_array_append_new(ratios, json_real(c->ratios[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
                     "policies", kvl_keep_policies(c->policies, c->n_policies, &s->model->shape), "ratios",
                     ratios, "forms", forms, "n_prompt", (json_int_t)c->n_prompt, "n_new",
                     (json_int_t)c->n_new, "max_loss", kvl_json_number(c->wish.max_loss), "max_bytes",
                     (json_int_t)c->wish.max_bytes, "ttft", limit_json(&c->wish.ttft), "tpot",
                     limit_json(&c->wish.tpot), "n_finalists", (json_int_t)c->n_finalists, "n_repetitions",
                     (json_int_t)c->n_repetitions, "n_timed", (json_int_t)c->n_timed, "threads",
                     (json_int_t)s->result.n_threads, "tokenizer",
                     kvl_keep_hash(kvl_tokenizer_hash(s->tokenizer)), "tune",
                     kvl_keep_samples(&c->tune->windows), "test", kvl_keep_samples(&c->test->windows));
}

/* After everything was printed. */
static kvl_status keep(session *s, const kvl_recommend_info *info, kvl_err *err) {
    const kvl_keep what = {.kind = "recommend",
                           .model = s->model,
                           .isa = s->result.isa,
                           .command = kvl_str_text(&s->command),
                           .options = options_json(s)};
    kvl_str lines = {0};
    kvl_status status = kvl_recommend_write_lines(&lines, info, err);
    if (status == KVL_OK) {
        status = kvl_keep_document(&s->options.store, s->options.out_dir, &what, &lines, err);
        if (status == KVL_OK) {
            status = kvl_report_arg_write(&s->options.report, &s->options.store, s->options.out_dir,
                                          s->model->name, NULL, err);
        }
    } else {
        json_decref(what.options);
    }
    kvl_str_free(&lines);
    return status;
}

static kvl_status write_results(session *s, kvl_err *err) {
    const kvl_recommend_info info = {.options = &s->options,
                                     .config = &s->config,
                                     .result = &s->result,
                                     .model = s->model,
                                     .texts = kvl_str_text(&s->texts_text),
                                     .command = kvl_str_text(&s->command)};
    kvl_str out = {0};
    char path[4096];
    kvl_status status = kvl_recommend_write(&out, &info, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    if (status == KVL_OK && s->options.has_chart) {
        KVL_TRY(kvl_dir_create(s->options.out_dir, err));
        snprintf(path, sizeof path, "%s/recommend.%s", s->options.out_dir, s->model->name);
        KVL_TRY(kvl_recommend_chart(&info, path, err));
        fprintf(stderr, "picture: %s.png, .svg and .pdf\n", path);
    }
    return status == KVL_OK ? keep(s, &info, err) : status;
}

static kvl_status run_session(session *s, kvl_err *err) {
    const kvl_recommend_options *o = &s->options;
    KVL_TRY(kvl_report_arg_check(&o->report, &o->store, o->out_dir, err));
    s->effort = o->is_full ? &full : &quick;
    KVL_TRY(open_model(s, err));
    KVL_TRY(set_config(s, err));
    s->last_stage = SIZE_MAX;
    const kvl_status status = kvl_recommend_run(&s->result, s->model, &s->config, err);
    kvl_progress_end(&s->progress);
    return status == KVL_OK ? write_results(s, err) : status;
}

static void close_session(session *s) {
    kvl_recommend_free(&s->result);
    kvl_cuts_free(&s->tune);
    kvl_cuts_free(&s->test);
    kvl_samples_free(&s->texts);
    kvl_ids_free(&s->prompt_ids);
    kvl_tokenizer_close(s->tokenizer);
    kvl_model_close(s->model);
    kvl_calibration_destroy(s->calibration);
    kvl_str_free(&s->texts_text);
    kvl_str_free(&s->command);
    kvl_recommend_options_free(&s->options);
}

kvl_status kvl_cmd_recommend(int argc, char **argv, kvl_err *err) {
    session *s = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(err, "recommend");
    }
    kvl_status status = kvl_recommend_options_parse(&s->options, argc, argv, err);
    if (status == KVL_OK && s->options.is_help) {
        kvl_str help = {0};
        kvl_recommend_options_help(&help);
        status = kvl_print(kvl_str_text(&help), help.len, err);
        kvl_str_free(&help);
    } else if (status == KVL_OK && kvl_settings_are_shown(&s->options.settings)) {
        status = kvl_settings_print(&s->options.settings, err);
    } else if (status == KVL_OK) {
        kvl_args_command(&s->command, argc, argv);
        status = run_session(s, err);
    }
    close_session(s);
    kvl_free(s);
    return status;
}
