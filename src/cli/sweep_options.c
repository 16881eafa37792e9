/* Options of `kvlab sweep`. */
#include "cli/sweep_options.h"

#include "base/alloc.h"
#include "cli/args.h"
#include "cli/press_text.h"
#include "cli/sweep_config.h"
#include "press/plugin.h"

#include <stdlib.h>
#include <string.h>

enum option_id {
    opt_file = 1,
    opt_samples,
    opt_format,
    opt_preset,
    opt_max_tokens,
    opt_protocol,
    opt_ctx_size,
    opt_stride,
    opt_prefill,
    opt_score,
    opt_bos,
    opt_out,
    opt_nll,
    opt_quality,
    opt_trace,
    opt_dry_run,
    opt_timing,
    opt_resume,
    opt_no_resume,
    opt_portrait,
    opt_no_chart,
    opt_plot,
    opt_no_plot,
    opt_color,
    opt_verbose,
};

static const kvl_arg table[] = {
    {opt_preset, 0, "preset", "NAME|FILE.yaml",
     "protocol, policies and samples (default ucurve; list below)"},
    KVL_CONFIG_ARGS,
    KVL_RUN_POLICY_ARGS,
    {opt_file, 'f', "file", "TEXT", "text file to score instead of the preset's samples (repeatable)"},
    {opt_samples, 0, "samples", "NAMES",
     "samples instead of the preset's, as \"A1-A60 B1\" (W rows, P pages, B books, A articles, C1) "
     "(repeatable)"},
    {opt_format, 'o', "output", "FORMAT", "table, md, csv, json (the table) or jsonl (one object per cell)"},
    {opt_max_tokens, 0, "max-tokens", "N",
     "tokens of each sample; where they are not cut into windows at most the model's context"},
    {opt_protocol, 0, "protocol", "NAME", "how texts become windows (default: the preset's; list below)"},
    {opt_ctx_size, 'c', "ctx-size", "N", "tokens of a window"},
    {opt_stride, 0, "stride", "N", "tokens from a window to the next"},
    {opt_prefill, 0, "prefill", "N", "tokens in front of a window's first compression; none is scored"},
    {opt_score, 0, "score", "N", "tokens scored in a window"},
    {opt_bos, 0, "bos", "WHEN", "token in front of texts: model (as it asks), always or never"},
    {opt_dry_run, 0, "dry-run", NULL,
     "print cells, rows, waves, bytes and time; run nothing (-o table or json)"},
    {opt_timing, 0, "timing", NULL, "measure prefill, compression, TTFT, TPOT and memory instead of quality"},
    KVL_STORE_ARGS,
    KVL_REPORT_ARGS,
    {opt_resume, 0, "resume", NULL, "go on from what is stored (as it does unless told otherwise)"},
    {opt_no_resume, 0, "no-resume", NULL, "compute cells that are stored too: they must come out the same"},
    {opt_portrait, 0, "portrait", NULL,
     "keep also what the first text looks like: keys, attention, when they go"},
    {opt_out, 0, "out", "DIR", "folder of the picture and the store (default out)"},
    {opt_no_chart, 0, "no-chart", NULL, "no picture"},
    {opt_plot, 0, "plot", NULL, "the curve in characters below the table, also where stdout is no terminal"},
    {opt_no_plot, 0, "no-plot", NULL, "not so on terminals either"},
    {opt_color, 0, "color", "WHEN",
     "colours of that curve: auto (on terminals without NO_COLOR), always, never"},
    {opt_quality, 0, "quality", NULL,
     "compare each prediction with the full cache's: KL, same top, calibration, bits per byte (-o table, md "
     "or "
     "jsonl; lists of them with --nll)"},
    {opt_nll, 0, "nll", "FILE", "write the per-token NLLs, one JSON object per cell"},
    {opt_trace, 0, "trace", "FILE", "write what every step saw, for kvlab trace"},
    {opt_verbose, 'v', "verbose", NULL,
     "a line per finished cell on terminals too; every cell of a --dry-run"},
    KVL_RUN_ENGINE_ARGS,
};
enum { n_table = sizeof table / sizeof table[0] };

static kvl_status add_press(void *ud, const char *word, kvl_err *err) {
    kvl_sweep_options *o = ud;
    if (o->n_presses == KVL_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--press: expected at most %d items", KVL_MAX_LIST);
    }
    kvl_str *copy = &o->list_text[o->n_presses];
    kvl_str_puts(copy, word);
    KVL_TRY(kvl_str_check(copy, "--press", err));
    o->presses[o->n_presses++] = kvl_str_text(copy);
    return KVL_OK;
}

/* Inserts in decreasing order; a ratio given twice counts once. */
static kvl_status add_ratio(void *ud, double ratio, const char *option, const char *word, kvl_err *err) {
    kvl_sweep_options *o = ud;
    if (!(ratio > 0.0 && ratio <= 1.0)) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected %s, found '%.80s'", option,
                        strcmp(option, "--ratio") == 0 ? "a keep ratio above 0 and at most 1"
                                                       : "a compression ratio of at least 0 and below 1",
                        word);
    }
    size_t i = 0;
    while (i < o->n_ratios && o->ratios[i] > ratio) {
        i++;
    }
    if (i < o->n_ratios && o->ratios[i] == ratio) {
        return KVL_OK;
    }
    if (o->n_ratios == KVL_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected at most %d items", option, KVL_MAX_LIST);
    }
    memmove(&o->ratios[i + 1], &o->ratios[i], (o->n_ratios - i) * sizeof o->ratios[0]);
    o->ratios[i] = ratio;
    o->n_ratios++;
    return KVL_OK;
}

/* A budget given twice counts once. */
static kvl_status add_budget(void *ud, const char *word, kvl_err *err) {
    kvl_sweep_options *o = ud;
    uint64_t n_bytes = 0;
    KVL_TRY(kvl_args_bytes(&n_bytes, "--kv-budget", word, err));
    for (size_t i = 0; i < o->n_budgets; i++) {
        if (o->budgets[i] == n_bytes) {
            return KVL_OK;
        }
    }
    if (o->n_budgets == KVL_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--kv-budget: expected at most %d items", KVL_MAX_LIST);
    }
    o->budgets[o->n_budgets++] = n_bytes;
    return KVL_OK;
}

static kvl_status set_format(kvl_sweep_options *o, const char *value, kvl_err *err) {
    static const char *const names[] = {"table", "md", "csv", "json", "jsonl"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--output", value, names, sizeof names / sizeof names[0], err));
    o->format = (kvl_sweep_format)index;
    return KVL_OK;
}

kvl_status kvl_run_arg_take(kvl_sweep_options *o, int id, const char *value, bool *is_taken, kvl_err *err) {
    size_t n = 0;
    KVL_TRY(kvl_cache_arg_take(&o->cache, id, value, is_taken, err));
    if (*is_taken || kvl_model_arg_take(&o->model, id, value)) {
        *is_taken = true;
        return KVL_OK;
    }
    *is_taken = true;
    switch (id) {
    case KVL_RUN_PRESS: return kvl_args_items(value, add_press, o, err);
    case KVL_RUN_RATIO: return kvl_args_keep_ratios(value, add_ratio, o, err);
    case KVL_RUN_COMPRESSION: return kvl_args_compression_ratios(value, add_ratio, o, err);
    case KVL_RUN_BUDGET: return kvl_args_items(value, add_budget, o, err);
    case KVL_RUN_THREADS:
        KVL_TRY(kvl_args_count(&n, "--threads", value, 256, err));
        o->n_threads = (unsigned)n;
        return KVL_OK;
    case KVL_RUN_MEMORY: return kvl_args_bytes(&o->memory_bytes, "--memory", value, err);
    case KVL_RUN_ISA: o->isa = value; return KVL_OK;
    case KVL_RUN_ARITH: return kvl_arith_find(&o->arith, value, err);
    case KVL_ARG_CALIBRATION: o->calibration = value; return KVL_OK;
    case KVL_ARG_PRESS_SO: return kvl_press_load(value, err);
    case KVL_RUN_QUIET: o->is_quiet = true; return KVL_OK;
    case KVL_RUN_HELP: o->is_help = true; return KVL_OK;
    default: *is_taken = false; return KVL_OK;
    }
}

static kvl_status set_protocol(kvl_sweep_options *o, const char *value, kvl_err *err) {
    size_t n = 0;
    size_t index = 0;
    const char *names[16];
    const kvl_window_protocol *all = kvl_window_protocols(&n);
    for (size_t i = 0; i < n; i++) {
        names[i] = all[i].name;
    }
    KVL_TRY(kvl_args_choice(&index, "--protocol", value, names, n, err));
    o->protocol = &all[index];
    return KVL_OK;
}

static kvl_status set_bos(kvl_sweep_options *o, const char *value, kvl_err *err) {
    const char *const names[] = {kvl_bos_name(KVL_BOS_MODEL), kvl_bos_name(KVL_BOS_ALWAYS),
                                 kvl_bos_name(KVL_BOS_NEVER)};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--bos", value, names, 3, err));
    o->bos = (kvl_bos)index;
    return KVL_OK;
}

/* Options of the protocol; *is_taken becomes whether this is one. */
static kvl_status take_protocol_option(kvl_sweep_options *o, int id, const char *value, bool *is_taken,
                                       kvl_err *err) {
    enum { most = 1 << 24 };
    *is_taken = true;
    switch (id) {
    case opt_protocol: return set_protocol(o, value, err);
    case opt_ctx_size: return kvl_args_count(&o->rule.window, "--ctx-size", value, most, err);
    case opt_stride: return kvl_args_count(&o->rule.stride, "--stride", value, most, err);
    case opt_prefill: return kvl_args_count(&o->rule.prefill, "--prefill", value, most, err);
    case opt_score: return kvl_args_count(&o->rule.score, "--score", value, most, err);
    case opt_bos: return set_bos(o, value, err);
    default: *is_taken = false; return KVL_OK;
    }
}

/* The same of options of the curve in characters. */
static kvl_status take_plot_option(kvl_sweep_options *o, int id, const char *value, bool *is_taken,
                                   kvl_err *err) {
    static const char *const whens[] = {"auto", "always", "never"};
    size_t index = 0;
    *is_taken = true;
    switch (id) {
    case opt_plot: o->wants_plot = true; return KVL_OK;
    case opt_no_plot: o->wants_no_plot = true; return KVL_OK;
    case opt_color:
        KVL_TRY(kvl_args_choice(&index, "--color", value, whens, 3, err));
        o->color = (kvl_color)index;
        return KVL_OK;
    default: *is_taken = false; return KVL_OK;
    }
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    kvl_sweep_options *o = ud;
    bool is_taken = false;
    KVL_TRY(kvl_run_arg_take(o, id, value, &is_taken, err));
    is_taken = is_taken || kvl_store_arg_take(&o->store, id, value);
    if (!is_taken) {
        KVL_TRY(kvl_report_arg_take(&o->report, id, value, &is_taken, err));
    }
    if (!is_taken) {
        KVL_TRY(take_protocol_option(o, id, value, &is_taken, err));
    }
    if (!is_taken) {
        KVL_TRY(take_plot_option(o, id, value, &is_taken, err));
    }
    if (is_taken) {
        return KVL_OK;
    }
    switch (id) {
    case opt_file:
        if (o->n_files == KVL_MAX_LIST) {
            return kvl_fail(err, KVL_E_USAGE, "--file: expected at most %d files", KVL_MAX_LIST);
        }
        o->files[o->n_files++] = value;
        return KVL_OK;
    case opt_samples:
        kvl_str_printf(&o->samples_text, "%s%s", o->samples_text.len != 0 ? " " : "", value);
        o->samples = kvl_str_text(&o->samples_text);
        return kvl_str_check(&o->samples_text, "--samples", err);
    case opt_format: return set_format(o, value, err);
    case opt_preset: return KVL_OK; /* read before all others */
    case opt_max_tokens: return kvl_args_count(&o->max_tokens, "--max-tokens", value, 1u << 24, err);
    case opt_out: o->out_dir = value; return KVL_OK;
    case opt_nll: o->nll_path = value; return KVL_OK;
    case opt_quality: o->wants_quality = true; return KVL_OK;
    case opt_trace: o->trace_path = value; return KVL_OK;
    case opt_dry_run: o->is_dry_run = true; return KVL_OK;
    case opt_resume: o->has_no_resume = false; return KVL_OK;
    case opt_no_resume: o->has_no_resume = true; return KVL_OK;
    case opt_portrait: o->wants_portrait = true; return KVL_OK;
    case opt_timing: o->is_timing = true; return KVL_OK;
    case opt_no_chart: o->has_chart = false; return KVL_OK;
    case opt_verbose: o->is_verbose = true; return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* Options that exclude each other. */
static kvl_status check_options(const kvl_sweep_options *o, kvl_err *err) {
    const bool is_plan_format = o->format == KVL_SWEEP_TABLE || o->format == KVL_SWEEP_JSON;
    if (o->wants_quality && !o->is_dry_run &&
        (o->is_timing || o->format == KVL_SWEEP_CSV || o->format == KVL_SWEEP_JSON)) {
        return kvl_fail(err, KVL_E_USAGE, "--quality: expected no --timing, and -o table, md or jsonl");
    }
    if (o->is_dry_run && (o->is_timing || !is_plan_format)) {
        return kvl_fail(err, KVL_E_USAGE, "--dry-run: expected no --timing, and -o table or json");
    }
    if (o->is_timing && o->format != KVL_SWEEP_TABLE && o->format != KVL_SWEEP_JSONL) {
        return kvl_fail(err, KVL_E_USAGE, "--timing: expected -o table or jsonl, found another");
    }
    if (o->wants_plot &&
        (o->wants_no_plot || o->is_timing || o->is_dry_run || o->format != KVL_SWEEP_TABLE)) {
        return kvl_fail(err, KVL_E_USAGE, "--plot: expected no %s",
                        o->wants_no_plot ? "--no-plot"
                        : o->is_timing   ? "--timing"
                        : o->is_dry_run  ? "--dry-run"
                                         : "-o but table");
    }
    if (o->trace_path != NULL && o->is_timing) {
        return kvl_fail(err, KVL_E_USAGE, "expected --trace or --timing, found both");
    }
    if (o->nll_path != NULL && (o->is_timing || o->is_dry_run)) {
        return kvl_fail(err, KVL_E_USAGE, "expected --nll or %s, found both",
                        o->is_timing ? "--timing" : "--dry-run");
    }
    if (o->samples != NULL && o->n_files != 0) {
        return kvl_fail(err, KVL_E_USAGE, "expected --samples or --file, found both");
    }
    if (o->samples == NULL && o->n_files == 0) {
        return kvl_fail(err, KVL_E_USAGE, "preset %s: expected samples, --samples or --file, found none",
                        o->preset->name);
    }
    return KVL_OK;
}

/* Each group is one choice: of a model, of budgets, of texts, of a store, of a plot, of resuming. */
static const int groups[][4] = {{KVL_ARG_MODEL, KVL_ARG_HF_REPO, KVL_ARG_HF_FILE},
                                {KVL_RUN_RATIO, KVL_RUN_COMPRESSION, KVL_RUN_BUDGET},
                                {opt_file, opt_samples},
                                {KVL_ARG_STORE, KVL_ARG_NO_STORE},
                                {opt_plot, opt_no_plot},
                                {opt_resume, opt_no_resume}};

kvl_status kvl_sweep_options_parse(kvl_sweep_options *o, int argc, char **argv, kvl_err *err) {
    *o = (kvl_sweep_options){.out_dir = "out",
                             .has_chart = true,
                             .protocol = kvl_window_protocol_find("stream"),
                             .settings = KVL_SETTINGS(table, groups)};
    KVL_TRY(kvl_press_path_load(err));
    KVL_TRY(kvl_sweep_config_apply(o, opt_preset, argc, argv, set_option, err));
    return o->is_help ? KVL_OK : check_options(o, err);
}

void kvl_sweep_options_free(kvl_sweep_options *o) {
    for (size_t i = 0; i < KVL_MAX_LIST; i++) {
        kvl_str_free(&o->list_text[i]);
    }
    kvl_str_free(&o->samples_text);
    kvl_preset_destroy(o->own_preset);
    kvl_settings_free(&o->settings);
}

kvl_status kvl_sweep_options_help(kvl_str *out, kvl_err *err) {
    size_t n = 0;
    KVL_TRY(kvl_sweep_presets_load(err));
    kvl_str_puts(
        out, "usage: kvlab sweep [OPTIONS]\n\nQuality at every keep ratio: the table on standard output, the "
             "curve as PNG and SVG.\n\noptions:\n");
    kvl_args_help(table, n_table, out);
    kvl_press_help(out);
    kvl_str_puts(
        out,
        "\na policy is PRESS[(OPTIONS)][:KEY=VALUE]... with the keys\n"
        "  keep=R size=N bytes=SIZE cap=N trigger=ge|gt cadence=step|N|once sinks=N recent=N skip=A+B|none\n"
        "  order=time|score positions=true|cache-length\n\npresets:\n");
    const kvl_preset *const *presets = kvl_presets(&n);
    for (size_t i = 0; i < n; i++) {
        kvl_str_printf(out, "  %-18s %s\n", presets[i]->name, presets[i]->summary);
    }
    const kvl_window_protocol *protocols = kvl_window_protocols(&n);
    kvl_str_puts(out, "\nprotocols:\n");
    for (size_t i = 0; i < n; i++) {
        kvl_str_printf(out, "  %-18s %s\n", protocols[i].name, protocols[i].summary);
    }
    return kvl_str_check(out, "help", err);
}

/* Adds a policy unless it is there or keeps everything. */
static void add_policy(kvl_policy *list, size_t *n, const kvl_policy *policy, kvl_str *left_out) {
    kvl_str text = {0};
    kvl_policy_text(policy, &text);
    bool is_baseline = kvl_policy_press(policy)->is_identity ||
                       (policy->size_tok == 0 && policy->n_bytes == 0 && policy->keep_ratio >= 1 &&
                        !kvl_press_is_outcome(policy->tree));
    bool is_there = false;
    for (size_t i = 0; i < *n && !is_there; i++) {
        kvl_str other = {0};
        kvl_policy_text(&list[i], &other);
        is_there = strcmp(kvl_str_text(&text), kvl_str_text(&other)) == 0;
        kvl_str_free(&other);
    }
    if (is_baseline || is_there) {
        kvl_str_printf(left_out, "%s%s (%s)", left_out->len != 0 ? ", " : "", kvl_str_text(&text),
                       is_baseline ? "the baseline" : "given twice");
    } else {
        list[(*n)++] = *policy;
    }
    kvl_str_free(&text);
}

/* The i-th policy of the preset; or the i-th press given, which takes schedule and protections from the
 * preset's first policy, then its own keys. A budget of bytes (0: none) comes before these. */
static kvl_status policy_at(kvl_policy *out, const kvl_sweep_options *o, size_t i, uint64_t n_bytes,
                            kvl_err *err) {
    kvl_policy_init(out);
    KVL_TRY(kvl_policy_parse(out, o->preset->policies[o->n_presses != 0 ? 0 : i], err));
    if (n_bytes != 0) {
        kvl_policy_set_bytes(out, n_bytes);
    }
    return o->n_presses != 0 ? kvl_policy_parse(out, o->presses[i], err) : KVL_OK;
}

/* Adds the i-th policy at every ratio and every budget, or once where it has a budget. */
static kvl_status add_policies(kvl_policy *list, size_t *n, kvl_str *left_out, const kvl_sweep_options *o,
                               size_t i, kvl_err *err) {
    kvl_policy policy;
    KVL_TRY(policy_at(&policy, o, i, 0, err));
    const bool has_budget = policy.size_tok != 0 || policy.n_bytes != 0 || /* maybe of the preset */
                            (o->n_presses != 0 && kvl_policy_text_has_budget(o->presses[i]));
    if (kvl_policy_press(&policy)->is_identity || has_budget || kvl_press_is_outcome(policy.tree)) {
        add_policy(list, n, &policy, left_out);
        return KVL_OK;
    }
    for (size_t r = 0; r < o->n_ratios; r++) {
        policy.keep_ratio = o->ratios[r];
        if (policy.keep_ratio < 1) { /* 1 is the baseline of every list */
            add_policy(list, n, &policy, left_out);
        }
    }
    for (size_t b = 0; b < o->n_budgets; b++) {
        KVL_TRY(policy_at(&policy, o, i, o->budgets[b], err));
        add_policy(list, n, &policy, left_out);
    }
    return KVL_OK;
}

kvl_status kvl_sweep_options_policies(kvl_policy **out, size_t *n, kvl_str *left_out,
                                      const kvl_sweep_options *o, kvl_err *err) {
    size_t n_texts = o->n_presses;
    while (o->n_presses == 0 && o->preset->policies[n_texts] != NULL) {
        n_texts++;
    }
    *n = 0;
    *out = kvl_calloc(n_texts * (o->n_ratios + o->n_budgets + 1), sizeof **out);
    kvl_status status = *out != NULL ? KVL_OK : kvl_fail_nomem(err, "policies");
    for (size_t i = 0; i < n_texts && status == KVL_OK; i++) {
        status = add_policies(*out, n, left_out, o, i, err);
    }
    if (status != KVL_OK) {
        kvl_free(*out);
        *out = NULL;
    }
    return status;
}
