/* Options of `kvlab recommend`. */
#include "cli/recommend_options.h"

#include "base/alloc.h"
#include "cli/args.h"
#include "cli/calibration_arg.h"
#include "cli/press_arg.h"
#include "cli/press_text.h"
#include "cli/progress.h"
#include "press/plugin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum option_id {
    opt_loss,
    opt_budget,
    opt_kv_ratio,
    opt_ttft,
    opt_tpot,
    opt_prompt,
    opt_new,
    opt_file,
    opt_press,
    opt_ratio,
    opt_same_types,
    opt_effort,
    opt_threads,
    opt_isa,
    opt_arith,
    opt_memory,
    opt_format,
    opt_out,
    opt_no_chart,
    opt_quiet,
    opt_help,
};

/* Those that need no statistics and no second pass; recency is streaming without sinks, which stage 3 tries.
 */
#define DEFAULT_PRESSES                                                                                      \
    "snapkv,tova,observed,h2o,expected-attention,keydiff,lagkv,knorm,streaming,adakv(snapkv),"               \
    "criticalkv(snapkv),chunkkv(snapkv)"
static const double default_ratios[] = {0.9, 0.75, 0.5, 0.35, 0.25, 0.1, 0.05};

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    KVL_CONFIG_ARGS,
    {opt_loss, 0, "max-dnll", "NATS", "loss that is allowed, nats per token above the full cache (0.05)"},
    {opt_budget, 0, "kv-budget", "SIZE", "bytes of keys and values at the end, as 64MiB: the best within it"},
    {opt_kv_ratio, 0, "max-kv-ratio", "RATIO", "the same as a share of the full cache's"},
    {opt_ttft, 0, "ttft", "LIMIT",
     "time to first token, compression included: +10% on the full cache's, or 120ms"},
    {opt_tpot, 0, "tpot", "LIMIT", "time per token behind it: the same"},
    {opt_prompt, 0, "prompt", "N", "tokens of the prompt (default 512, or what the context leaves)"},
    {opt_new, 0, "new", "N", "tokens that follow (default 128)"},
    {opt_file, 'f', "file", "TEXT",
     "a text of yours instead of books and articles (repeatable): every second one is to test on; of a "
     "single "
     "one the second half"},
    {opt_press, 'P', "press", "PRESS[,...]", "presses to search, or whole policies (default: list below)"},
    KVL_PRESS_ARGS,
    {opt_ratio, 'r', "ratio", "RATIO[,...]", "keep ratios to search (0.9,0.75,0.5,0.35,0.25,0.1,0.05)"},
    KVL_CACHE_TYPE_ARGS,
    {opt_same_types, 0, "same-types", NULL,
     "do not search smaller types of the cache (f16, q8_0; full: q4_0)"},
    {opt_effort, 0, "budget", "quick|full", "texts, windows, finalists and repetitions (quick)"},
    KVL_CALIBRATION_ARGS,
    {opt_threads, 't', "threads", "N", "threads (default: the processors this process may use)"},
    {opt_isa, 0, "isa", "NAME", "force an instruction set: c, base, avx2, avx512, avx512bf16 (default auto)"},
    {opt_arith, 0, "arith", "NAME", "arithmetic of products: f32 (exact, default), bf16, int8 or amx_bf16"},
    {opt_memory, 0, "memory", "SIZE", "for weights, caches and scratch (default: 80 % of what is free)"},
    {opt_format, 'o', "output", "FORMAT", "table, md, csv or jsonl (one object per finalist)"},
    {opt_out, 0, "out", "DIR", "folder of the picture and of the store (default out)"},
    KVL_STORE_ARGS,
    KVL_REPORT_ARGS,
    {opt_no_chart, 0, "no-chart", NULL, "no picture"},
    KVL_QUIET_ARGS(opt_quiet),
    {opt_help, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

/* ---- values ---- */

static kvl_status parse_number(double *out, const char *option, const char *value, double above, double most,
                               kvl_err *err) {
    char *end = NULL;
    *out = strtod(value, &end);
    if (end == value || *end != '\0' || !(*out > above && *out <= most)) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected a number above %g and at most %g, found '%.40s'",
                        option, above, most, value);
    }
    return KVL_OK;
}

kvl_status kvl_time_limit_parse(kvl_time_limit *out, const char *option, const char *value, kvl_err *err) {
    char *end = NULL;
    const double number = strtod(value, &end);
    const bool has_sign = value[0] == '+' || value[0] == '-';
    *out = (kvl_time_limit){0};
    if (end != value && has_sign && strcmp(end, "%") == 0 && number > -100 && number <= 1e6) {
        out->ratio = 1 + number / 100;
    } else if (end != value && !has_sign && (*end == '\0' || strcmp(end, "ms") == 0) && number > 0 &&
               number <= 1e9) {
        out->ns = number * 1e6;
    } else {
        return kvl_fail(err, KVL_E_USAGE,
                        "%s: expected a change as +10%% or -5%%, or milliseconds as 120ms, found '%.40s'",
                        option, value);
    }
    return KVL_OK;
}

size_t kvl_ratio_insert(double *ratios, size_t n, double ratio) {
    size_t i = 0;
    while (i < n && ratios[i] > ratio) {
        i++;
    }
    if (i < n && ratios[i] == ratio) {
        return n;
    }
    memmove(&ratios[i + 1], &ratios[i], (n - i) * sizeof *ratios);
    ratios[i] = ratio;
    return n + 1;
}

static kvl_status add_ratio(void *ud, double ratio, const char *option, const char *word, kvl_err *err) {
    enum { ROOM = 4 }; /* for ratios that fit a budget of bytes */
    kvl_recommend_options *o = ud;
    if (!(ratio > 0.0 && ratio < 1.0)) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected a keep ratio above 0 and below 1, found '%.80s'",
                        option, word);
    }
    if (o->n_ratios == KVL_RECOMMEND_LIST - ROOM) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected at most %d items", option, KVL_RECOMMEND_LIST - ROOM);
    }
    o->n_ratios = kvl_ratio_insert(o->ratios, o->n_ratios, ratio);
    return KVL_OK;
}

static kvl_status add_press(void *ud, const char *word, kvl_err *err) {
    kvl_recommend_options *o = ud;
    if (o->n_policies == KVL_RECOMMEND_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--press: expected at most %d items", KVL_RECOMMEND_LIST);
    }
    kvl_policy *policy = &o->policies[o->n_policies];
    kvl_policy_init(policy);
    KVL_TRY(kvl_policy_parse(policy, word, err));
    o->n_policies++;
    return KVL_OK;
}

static kvl_status set_format(kvl_recommend_options *o, const char *value, kvl_err *err) {
    static const char *const names[] = {"table", "md", "csv", "jsonl"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--output", value, names, sizeof names / sizeof names[0], err));
    o->format = (kvl_recommend_format)index;
    return KVL_OK;
}

static kvl_status set_effort(kvl_recommend_options *o, const char *value, kvl_err *err) {
    static const char *const names[] = {"quick", "full"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--budget", value, names, 2, err));
    o->is_full = index == 1;
    return KVL_OK;
}

static kvl_status add_file(kvl_recommend_options *o, const char *value, kvl_err *err) {
    if (o->n_files == KVL_RECOMMEND_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--file: expected at most %d files", KVL_RECOMMEND_LIST);
    }
    o->files[o->n_files++] = value;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    kvl_recommend_options *o = ud;
    size_t n = 0;
    bool is_taken = false;
    KVL_TRY(kvl_cache_arg_take(&o->cache, id, value, &is_taken, err));
    if (!is_taken) {
        KVL_TRY(kvl_report_arg_take(&o->report, id, value, &is_taken, err));
    }
    if (is_taken || kvl_model_arg_take(&o->model, id, value) || kvl_store_arg_take(&o->store, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case opt_loss: return parse_number(&o->wish.max_loss, "--max-dnll", value, 0, 10, err);
    case opt_budget: return kvl_args_bytes(&o->wish.max_bytes, "--kv-budget", value, err);
    case opt_kv_ratio: return parse_number(&o->max_kv_ratio, "--max-kv-ratio", value, 0, 1, err);
    case opt_ttft: return kvl_time_limit_parse(&o->wish.ttft, "--ttft", value, err);
    case opt_tpot: return kvl_time_limit_parse(&o->wish.tpot, "--tpot", value, err);
    case opt_prompt: return kvl_args_count(&o->n_prompt, "--prompt", value, 1u << 24, err);
    case opt_new: return kvl_args_count(&o->n_new, "--new", value, 1u << 24, err);
    case opt_file: return add_file(o, value, err);
    case opt_press: return kvl_args_items(value, add_press, o, err);
    case KVL_ARG_PRESS_SO: return kvl_press_load(value, err);
    case opt_ratio: return kvl_args_keep_ratios(value, add_ratio, o, err);
    case opt_same_types: o->has_same_types = true; return KVL_OK;
    case opt_effort: return set_effort(o, value, err);
    case KVL_ARG_CALIBRATION: o->calibration = value; return KVL_OK;
    case opt_threads:
        KVL_TRY(kvl_args_count(&n, "--threads", value, 256, err));
        o->n_threads = (unsigned)n;
        return KVL_OK;
    case opt_isa: o->isa = value; return KVL_OK;
    case opt_arith: return kvl_arith_find(&o->arith, value, err);
    case opt_memory: return kvl_args_bytes(&o->memory_bytes, "--memory", value, err);
    case opt_format: return set_format(o, value, err);
    case opt_out: o->out_dir = value; return KVL_OK;
    case opt_no_chart: o->has_chart = false; return KVL_OK;
    case opt_quiet: o->is_quiet = true; return KVL_OK;
    case opt_help: o->is_help = true; return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* ---- all of them ---- */

static kvl_status fill_in(kvl_recommend_options *o, kvl_err *err) {
    if (o->wish.max_bytes != 0 && o->max_kv_ratio > 0) {
        return kvl_fail(err, KVL_E_USAGE, "--kv-budget: expected no --max-kv-ratio beside it, found both");
    }
    if (o->n_policies == 0) {
        KVL_TRY(kvl_args_items(DEFAULT_PRESSES, add_press, o, err));
    }
    for (size_t i = 0; o->n_ratios == 0 && i < sizeof default_ratios / sizeof default_ratios[0]; i++) {
        o->ratios[i] = default_ratios[i];
    }
    if (o->n_ratios == 0) {
        o->n_ratios = sizeof default_ratios / sizeof default_ratios[0];
    }
    return KVL_OK;
}

static const int groups[][4] = {{KVL_ARG_MODEL, KVL_ARG_HF_REPO, KVL_ARG_HF_FILE},
                                {opt_budget, opt_kv_ratio},
                                {KVL_ARG_STORE, KVL_ARG_NO_STORE}};

kvl_status kvl_recommend_options_parse(kvl_recommend_options *o, int argc, char **argv, kvl_err *err) {
    *o = (kvl_recommend_options){.wish = {.max_loss = 0.05},
                                 .settings = KVL_SETTINGS(table, groups),
                                 .out_dir = "out",
                                 .has_chart = true};
    o->policies = kvl_calloc(KVL_RECOMMEND_LIST, sizeof *o->policies);
    if (o->policies == NULL) {
        return kvl_fail_nomem(err, "options");
    }
    KVL_TRY(kvl_press_path_load(err));
    KVL_TRY(kvl_settings_take(&o->settings, argc, argv, set_option, o, err));
    return fill_in(o, err);
}

void kvl_recommend_options_free(kvl_recommend_options *o) {
    kvl_free(o->policies);
    kvl_settings_free(&o->settings);
}

void kvl_recommend_options_help(kvl_str *out) {
    kvl_str_puts(out,
                 "usage: kvlab recommend [OPTIONS]\n\nA compression setting to deploy: searched on some "
                 "texts, confirmed on others, timed beside the full\ncache. The first line is the answer.\n"
                 "\noptions:\n");
    kvl_args_help(table, n_table, out);
    kvl_str_puts(out, "\nsearched by default: " DEFAULT_PRESSES "\n");
}
