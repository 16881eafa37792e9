/* Options of `kvlab needle`. */
#include "cli/needle_options.h"

#include "cli/args.h"
#include "cli/press_text.h"

#include <string.h>

enum option_id {
    opt_task,
    opt_length,
    opt_depth,
    opt_trials,
    opt_question,
    opt_chat,
    opt_filler,
    opt_max_new,
    opt_seed,
    opt_format,
};

static const kvl_arg table[] = {
    {opt_task, 0, "task", "NAME[,...]", "what is hidden and asked for (default needle; list below)"},
    {opt_length, 'c', "length", "N[,...]",
     "tokens of the whole prompt (default 256,512,1024, as far as the context goes)"},
    {opt_depth, 0, "depth", "P[,...]", "percent of the filler before the needle (default 0,25,50,75,100)"},
    {opt_trials, 'n', "trials", "N", "prompts of each length and depth (default 10)"},
    {opt_question, 0, "question", "WHEN",
     "after or before the compression: it does not know the question (default), or does"},
    {opt_chat, 0, "chat", "FORMAT", "auto (chatml if the tokenizer has its tokens; default), none or chatml"},
    {opt_filler, 0, "filler", "TEXT", "auto (the task's; default), noise or books"},
    {opt_max_new, 0, "max-new", "N", "tokens of an answer (default 32)"},
    {opt_seed, 0, "seed", "N", "of all draws (default 0)"},
    {opt_format, 'o', "output", "FORMAT", "md (grids; default), csv (cells) or jsonl (trials and cells)"},
    KVL_CONFIG_ARGS,
    KVL_STORE_ARGS,
    KVL_REPORT_ARGS,
    KVL_RUN_POLICY_ARGS,
    KVL_RUN_ENGINE_ARGS,
};
enum { n_table = sizeof table / sizeof table[0] };

static kvl_status add_task(void *ud, const char *word, kvl_err *err) {
    kvl_needle_options *o = ud;
    if (o->n_tasks == KVL_NEEDLE_MAX) {
        return kvl_fail(err, KVL_E_USAGE, "--task: expected at most %d items", KVL_NEEDLE_MAX);
    }
    KVL_TRY(kvl_retrieval_find(&o->tasks[o->n_tasks], word, err));
    for (size_t i = 0; i < o->n_tasks; i++) {
        if (o->tasks[i] == o->tasks[o->n_tasks]) {
            return kvl_fail(err, KVL_E_USAGE, "--task: expected distinct tasks, found %s twice", word);
        }
    }
    o->n_tasks++;
    return KVL_OK;
}

typedef struct number_list {
    const char *option;
    size_t *items, *n;
    size_t min, max;
} number_list;

static kvl_status add_number(void *ud, const char *word, kvl_err *err) {
    const number_list *list = ud;
    uint64_t n = 0;
    if (!kvl_parse_count(&n, word, strlen(word)) || n < list->min || n > list->max ||
        *list->n == KVL_NEEDLE_MAX) {
        return kvl_fail(err, KVL_E_USAGE,
                        "%s: expected up to %d whole numbers from %zu to %zu, found '%.80s'", list->option,
                        KVL_NEEDLE_MAX, list->min, list->max, word);
    }
    for (size_t i = 0; i < *list->n; i++) {
        if (list->items[i] == n) {
            return kvl_fail(err, KVL_E_USAGE, "%s: expected distinct numbers, found %s twice", list->option,
                            word);
        }
    }
    list->items[(*list->n)++] = (size_t)n;
    return KVL_OK;
}

static kvl_status set_seed(uint64_t *out, const char *value, kvl_err *err) {
    if (!kvl_parse_count(out, value, strlen(value))) {
        return kvl_fail(err, KVL_E_USAGE, "--seed: expected a whole number from 0, found '%.80s'", value);
    }
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    static const char *const chats[] = {"none", "chatml", "auto"};
    static const char *const fillers[] = {"noise", "books", "auto"};
    static const char *const formats[] = {"md", "csv", "jsonl"};
    static const char *const moments[] = {"after", "before"};
    kvl_needle_options *o = ud;
    size_t n = 0;
    bool is_taken = false;
    KVL_TRY(kvl_run_arg_take(&o->run, id, value, &is_taken, err));
    if (!is_taken) {
        KVL_TRY(kvl_report_arg_take(&o->report, id, value, &is_taken, err));
    }
    if (is_taken || kvl_store_arg_take(&o->store, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case opt_task: return kvl_args_items(value, add_task, o, err);
    case opt_length:
        return kvl_args_items(value, add_number,
                              &(number_list){"--length", o->lengths, &o->n_lengths, 1, 1u << 24}, err);
    case opt_depth:
        return kvl_args_items(value, add_number, &(number_list){"--depth", o->depths, &o->n_depths, 0, 100},
                              err);
    case opt_trials: return kvl_args_count(&o->n_trials, "--trials", value, 100000, err);
    case opt_max_new: return kvl_args_count(&o->max_new, "--max-new", value, 4096, err);
    case opt_seed: return set_seed(&o->seed, value, err);
    case opt_question:
        KVL_TRY(kvl_args_choice(&n, "--question", value, moments, 2, err));
        o->is_query_aware = n == 1;
        return KVL_OK;
    case opt_chat:
        KVL_TRY(kvl_args_choice(&n, "--chat", value, chats, KVL_N_CHATS + 1, err));
        o->is_chat_auto = n == KVL_N_CHATS;
        o->chat = o->is_chat_auto ? KVL_CHAT_NONE : (kvl_chat)n;
        return KVL_OK;
    case opt_filler:
        KVL_TRY(kvl_args_choice(&n, "--filler", value, fillers, KVL_N_FILLERS + 1, err));
        o->is_filler_auto = n == KVL_N_FILLERS;
        o->filler = o->is_filler_auto ? KVL_FILLER_NOISE : (kvl_filler)n;
        return KVL_OK;
    case opt_format:
        KVL_TRY(kvl_args_choice(&n, "--output", value, formats, 3, err));
        o->format = (kvl_needle_format)n;
        return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* Policies act once: this is what those without words of their own begin with. */
static const kvl_preset *policy_defaults(void) {
    static const char *const policies[] = {"knorm:cadence=once", "snapkv:cadence=once",
                                           "streaming:cadence=once", NULL};
    static const double ratios[] = {0.5, 0};
    static const kvl_preset preset = {.name = "needle", .policies = policies, .keep_ratios = ratios};
    return &preset;
}

static const int groups[][4] = {{KVL_ARG_MODEL, KVL_ARG_HF_REPO, KVL_ARG_HF_FILE},
                                {KVL_RUN_RATIO, KVL_RUN_COMPRESSION, KVL_RUN_BUDGET},
                                {KVL_ARG_STORE, KVL_ARG_NO_STORE}};

kvl_status kvl_needle_options_parse(kvl_needle_options *o, int argc, char **argv, kvl_err *err) {
    *o = (kvl_needle_options){.run.preset = policy_defaults(),
                              .run.settings = KVL_SETTINGS(table, groups),
                              .n_trials = 10,
                              .max_new = 32,
                              .is_chat_auto = true,
                              .is_filler_auto = true};
    KVL_TRY(kvl_press_path_load(err));
    KVL_TRY(kvl_settings_take(&o->run.settings, argc, argv, set_option, o, err));
    if (o->n_tasks == 0) {
        KVL_TRY(add_task(o, "needle", err));
    }
    for (size_t i = 0; o->n_depths == 0 && i <= 4; i++) {
        o->depths[i] = 25 * i;
    }
    o->n_depths = o->n_depths != 0 ? o->n_depths : 5;
    if (o->run.n_ratios + o->run.n_budgets == 0) {
        o->run.ratios[o->run.n_ratios++] = 0.5;
    }
    return KVL_OK;
}

void kvl_needle_options_free(kvl_needle_options *o) { kvl_sweep_options_free(&o->run); }

void kvl_needle_options_help(kvl_str *out) {
    size_t n = 0;
    kvl_str_puts(out,
                 "usage: kvlab needle [OPTIONS]\n\nWhether facts in a context are still found when the cache "
                 "was compressed: depth by length, beside the full cache.\n\noptions:\n");
    kvl_args_help(table, n_table, out);
    const kvl_retrieval_task *tasks = kvl_retrieval_tasks(&n);
    kvl_str_puts(out, "\ntasks:\n");
    for (size_t i = 0; i < n; i++) {
        kvl_str_printf(out, "  %-10s %s\n             %s\n", tasks[i].name, tasks[i].summary,
                       tasks[i].source);
    }
    kvl_press_help(out);
}
