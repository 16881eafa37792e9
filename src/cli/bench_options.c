/* Parsing of `kvlab bench`'s options: lists and ranges as llama-bench has them. */
#include "cli/bench_options.h"

#include "base/os.h"
#include "cli/args.h"
#include "cli/calibration_arg.h"
#include "cli/press_arg.h"
#include "cli/press_text.h"
#include "engine/engine.h"
#include "press/plugin.h"

#include <string.h>

enum option_id {
    OPT_PROMPT,
    OPT_GEN,
    OPT_PAIR,
    OPT_DEPTH,
    OPT_BATCH,
    OPT_PASS,
    OPT_THREADS,
    OPT_REPETITIONS,
    OPT_PRESS,
    OPT_RATIO,
    OPT_COMPRESSION,
    OPT_BUDGET,
    OPT_FORMAT,
    OPT_ERROR_FORMAT,
    OPT_NO_WARMUP,
    OPT_ISA,
    OPT_ARITH,
    OPT_HELP,
    /* options of llama-bench that do not apply, by the reason */
    OPT_NO_GPU,
    OPT_FLASH,
    OPT_NO_MMAP,
    OPT_NO_AFFINITY,
    OPT_NO_EMBEDDINGS,
};

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    {OPT_PROMPT, 'p', "n-prompt", "N[,...]", "tokens of the prompt, test ppN (default 512; 0: no such test)"},
    {OPT_GEN, 'n', "n-gen", "N[,...]", "tokens generated, test tgN (default 128; 0: no such test)"},
    {OPT_PAIR, 0, "prompt-gen", "PP,TG", "one more test: a prompt, then generation (repeatable)"},
    {OPT_PAIR, 0, "pg", "PP,TG", NULL},
    {OPT_DEPTH, 'd', "n-depth", "N[,...]", "tokens in the cache before, untimed (default 0)"},
    {OPT_BATCH, 'b', "batch-size", "N[,...]", "tokens handed to the engine at once (default 2048)"},
    {OPT_PASS, 0, "ubatch-size", "N", "rows of one pass: fixed here, only that number is taken"},
    {OPT_PASS, 0, "ub", "N", NULL},
    {OPT_THREADS, 't', "threads", "N[,...]", "threads (default: the processors this process may use)"},
    {OPT_REPETITIONS, 'r', "repetitions", "N", "repetitions of each test (default 5)"},
    {OPT_PRESS, 'P', "press", "POLICY[,...]", "compress the cache at depth, beside the full cache; needs -d"},
    KVL_PRESS_ARGS,
    {OPT_RATIO, 0, "ratio", "RATIO[,...]",
     "keep ratios of the policies (default 0.5; -r counts repetitions)"},
    {OPT_COMPRESSION, 0, "compression-ratio", "C[,...]", "the same as 1 - keep ratio"},
    {OPT_BUDGET, 0, "kv-budget", "SIZE[,...]",
     "bytes of keys and values at depth instead of ratios (or beside those given)"},
    {OPT_FORMAT, 'o', "output", "FORMAT", "md, csv, json, jsonl, sql or table (default md)"},
    {OPT_ERROR_FORMAT, 0, "output-err", "FORMAT", "a second output on standard error"},
    {OPT_ERROR_FORMAT, 0, "oe", "FORMAT", NULL},
    {OPT_NO_WARMUP, 0, "no-warmup", NULL, "no run before those that count"},
    {OPT_ISA, 0, "isa", "NAME", "force an instruction set: c, base, avx2, avx512, avx512bf16 (default auto)"},
    KVL_CACHE_TYPE_ARGS,
    KVL_CALIBRATION_ARGS,
    {OPT_ARITH, 0, "arith", "NAME",
     "arithmetic of products: f32 (exact, default), bf16, int8 (rounded) or amx_bf16 (bf16 by AMX tiles)"},
    KVL_STORE_ARGS,
    KVL_REPORT_ARGS,
    {OPT_HELP, 'h', "help", NULL, "this text"},
    {OPT_NO_GPU, 0, "ngl", "N", NULL},
    {OPT_NO_GPU, 0, "n-gpu-layers", "N", NULL},
    {OPT_NO_GPU, 0, "ncmoe", "N", NULL},
    {OPT_NO_GPU, 0, "sm", "MODE", NULL},
    {OPT_NO_GPU, 0, "split-mode", "MODE", NULL},
    {OPT_NO_GPU, 0, "mg", "N", NULL},
    {OPT_NO_GPU, 0, "main-gpu", "N", NULL},
    {OPT_NO_GPU, 0, "nkvo", "N", NULL},
    {OPT_NO_GPU, 0, "no-kv-offload", "N", NULL},
    {OPT_NO_GPU, 0, "dev", "LIST", NULL},
    {OPT_NO_GPU, 0, "device", "LIST", NULL},
    {OPT_NO_GPU, 0, "ts", "LIST", NULL},
    {OPT_NO_GPU, 0, "tensor-split", "LIST", NULL},
    {OPT_NO_GPU, 0, "rpc", "LIST", NULL},
    {OPT_FLASH, 0, "fa", "N", NULL},
    {OPT_FLASH, 0, "flash-attn", "N", NULL},
    {OPT_NO_MMAP, 0, "mmp", "N", NULL},
    {OPT_NO_MMAP, 0, "mmap", "N", NULL},
    {OPT_NO_AFFINITY, 'C', "cpu-mask", "MASK", NULL},
    {OPT_NO_AFFINITY, 0, "cpu-strict", "N", NULL},
    {OPT_NO_AFFINITY, 0, "numa", "MODE", NULL},
    {OPT_NO_AFFINITY, 0, "poll", "N", NULL},
    {OPT_NO_AFFINITY, 0, "prio", "N", NULL},
    {OPT_NO_EMBEDDINGS, 0, "embd", "N", NULL},
    {OPT_NO_EMBEDDINGS, 0, "embeddings", "N", NULL},
};
enum { n_table = sizeof table / sizeof table[0] };

static const char *const reasons[] = {
    [OPT_NO_GPU - OPT_NO_GPU] =
        "-ngl, -sm, -mg, -nkvo, -dev, -ts and -rpc do not apply: kvlab computes on the "
        "processor only",
    [OPT_FLASH - OPT_NO_GPU] =
        "-fa does not apply: there is one attention, which never stores a score matrix",
    [OPT_NO_MMAP - OPT_NO_GPU] = "-mmp does not apply: weights are packed into memory when a model is opened",
    [OPT_NO_AFFINITY - OPT_NO_GPU] = "-C, --cpu-strict, --numa, --poll and --prio do not apply: use taskset, "
                                     "numactl or nice",
    [OPT_NO_EMBEDDINGS - OPT_NO_GPU] = "-embd does not apply: there are no embedding models here",
};

/* ---- lists ---- */

typedef struct list_target {
    kvl_bench_list *list;
    const char *option;
    size_t min, max;
} list_target;

static bool add_number(kvl_bench_list *list, uint64_t n, size_t min, size_t max) {
    if (n < min || n > max || list->n == KVL_BENCH_MAX_LIST) {
        return false;
    }
    list->items[list->n++] = (size_t)n;
    return true;
}

/* N, or FIRST-LAST, FIRST-LAST+STEP, FIRST-LAST*FACTOR. */
static bool add_range(const list_target *t, const char *word) {
    uint64_t first = 0, last = 0, step = 1;
    size_t n_first = strcspn(word, "-");
    if (!kvl_parse_count(&first, word, n_first)) {
        return false;
    }
    if (word[n_first] == '\0') {
        return add_number(t->list, first, t->min, t->max);
    }
    const char *rest = word + n_first + 1;
    size_t n_last = strcspn(rest, "+*");
    char kind = rest[n_last];
    if (!kvl_parse_count(&last, rest, n_last) || last < first || last > t->max ||
        (kind != '\0' && !kvl_parse_count(&step, rest + n_last + 1, strlen(rest + n_last + 1))) ||
        step < (kind == '*' ? 2u : 1u) || step > t->max || (kind == '*' && first == 0)) {
        return false;
    }
    for (uint64_t i = first; i <= last; i = kind == '*' ? i * step : i + step) {
        if (!add_number(t->list, i, t->min, t->max)) {
            return false;
        }
    }
    return true;
}

static kvl_status add_item(void *ud, const char *word, kvl_err *err) {
    const list_target *t = ud;
    if (!add_range(t, word)) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "%s: expected up to %d numbers from %zu to %zu, or ranges as 1-8, 1-8+2 or 1-8*2, found "
            "'%.80s'",
            t->option, KVL_BENCH_MAX_LIST, t->min, t->max, word);
    }
    return KVL_OK;
}

static kvl_status add_list(kvl_bench_list *list, const char *option, size_t min, size_t max,
                           const char *value, kvl_err *err) {
    return kvl_args_items(value, add_item, &(list_target){list, option, min, max}, err);
}

/* ---- single options ---- */

enum { MAX_TOKENS = 1 << 24, MAX_THREADS = 256, MAX_REPETITIONS = 1000 };

static kvl_status add_pair(kvl_bench_options *o, const char *value, kvl_err *err) {
    uint64_t prompt = 0, gen = 0;
    size_t n = strcspn(value, ",");
    if (value[n] == '\0' || !kvl_parse_count(&prompt, value, n) ||
        !kvl_parse_count(&gen, value + n + 1, strlen(value + n + 1)) ||
        !add_number(&o->pair_prompts, prompt, 1, MAX_TOKENS) ||
        !add_number(&o->pair_gens, gen, 1, MAX_TOKENS)) {
        return kvl_fail(err, KVL_E_USAGE, "-pg: expected two numbers from 1 as 512,128, found '%.80s'",
                        value);
    }
    return KVL_OK;
}

static kvl_status check_pass(const char *value, kvl_err *err) {
    uint64_t n = 0;
    if (!kvl_parse_count(&n, value, strlen(value)) || n != kvl_engine_pass_rows()) {
        return kvl_fail(err, KVL_E_USAGE,
                        "-ub: the rows of one pass are fixed in this engine: expected %zu, found '%.80s'; -b "
                        "sets how many tokens are handed over at once",
                        kvl_engine_pass_rows(), value);
    }
    return KVL_OK;
}

static kvl_status add_press(void *ud, const char *word, kvl_err *err) {
    kvl_bench_options *o = ud;
    if (o->n_presses == KVL_BENCH_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--press: expected at most %d items", KVL_BENCH_MAX_LIST);
    }
    kvl_str *copy = &o->press_texts[o->n_presses];
    kvl_str_puts(copy, word);
    o->presses[o->n_presses++] = kvl_str_text(copy);
    return kvl_str_check(copy, "--press", err);
}

static kvl_status add_ratio(void *ud, double ratio, const char *option, const char *word, kvl_err *err) {
    kvl_bench_options *o = ud;
    if (!(ratio > 0 && ratio < 1) || o->n_ratios == KVL_BENCH_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected up to %d ratios above 0 and below 1, found '%.80s'",
                        option, KVL_BENCH_MAX_LIST, word);
    }
    o->ratios[o->n_ratios++] = ratio;
    return KVL_OK;
}

static kvl_status add_budget(void *ud, const char *word, kvl_err *err) {
    kvl_bench_options *o = ud;
    if (o->n_budgets == KVL_BENCH_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--kv-budget: expected at most %d items", KVL_BENCH_MAX_LIST);
    }
    return kvl_args_bytes(&o->budgets[o->n_budgets++], "--kv-budget", word, err);
}

static kvl_status set_format(kvl_bench_format *out, const char *option, const char *value, kvl_err *err) {
    static const char *const names[] = {"md", "csv", "json", "jsonl", "sql", "table"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, option, value, names, sizeof names / sizeof names[0], err));
    *out = (kvl_bench_format)index;
    return KVL_OK;
}

static kvl_status set_repetitions(kvl_bench_options *o, const char *value, kvl_err *err) {
    uint64_t n = 0;
    if (!kvl_parse_count(&n, value, strlen(value)) || n == 0 || n > MAX_REPETITIONS) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "--repetitions: expected a whole number from 1 to %d (keep ratios: --ratio), found '%.80s'",
            MAX_REPETITIONS, value);
    }
    o->n_repetitions = (size_t)n;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    kvl_bench_options *o = ud;
    bool is_model = id == KVL_ARG_MODEL || id == KVL_ARG_HF_REPO;
    if (is_model && o->n_models == KVL_BENCH_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE, "--model: expected at most %d models", KVL_BENCH_MAX_LIST);
    }
    o->n_models += is_model; /* -hff belongs to the model before it */
    bool is_taken = false;
    KVL_TRY(kvl_cache_arg_take(&o->cache, id, value, &is_taken, err));
    if (!is_taken) {
        KVL_TRY(kvl_report_arg_take(&o->report, id, value, &is_taken, err));
    }
    if (is_taken || kvl_store_arg_take(&o->store, id, value) ||
        kvl_model_arg_take(&o->models[o->n_models != 0 ? o->n_models - 1 : 0], id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_PROMPT: return add_list(&o->prompts, "--n-prompt", 0, MAX_TOKENS, value, err);
    case OPT_GEN: return add_list(&o->gens, "--n-gen", 0, MAX_TOKENS, value, err);
    case OPT_PAIR: return add_pair(o, value, err);
    case OPT_DEPTH: return add_list(&o->depths, "--n-depth", 0, MAX_TOKENS, value, err);
    case OPT_BATCH: return add_list(&o->batches, "--batch-size", 1, MAX_TOKENS, value, err);
    case OPT_PASS: return check_pass(value, err);
    case OPT_THREADS: return add_list(&o->threads, "--threads", 1, MAX_THREADS, value, err);
    case OPT_REPETITIONS: return set_repetitions(o, value, err);
    case OPT_PRESS: return kvl_args_items(value, add_press, o, err);
    case OPT_RATIO: return kvl_args_keep_ratios(value, add_ratio, o, err);
    case OPT_COMPRESSION: return kvl_args_compression_ratios(value, add_ratio, o, err);
    case OPT_BUDGET: return kvl_args_items(value, add_budget, o, err);
    case OPT_FORMAT: return set_format(&o->format, "--output", value, err);
    case OPT_ERROR_FORMAT: return set_format(&o->error_format, "--output-err", value, err);
    case OPT_NO_WARMUP: o->has_warmup = false; return KVL_OK;
    case OPT_ISA: o->isa = value; return KVL_OK;
    case OPT_ARITH: return kvl_arith_find(&o->arith, value, err);
    case KVL_ARG_CALIBRATION: o->calibration = value; return KVL_OK;
    case KVL_ARG_PRESS_SO: return kvl_press_load(value, err);
    case OPT_HELP: o->is_help = true; return KVL_OK;
    case -1: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    default: return kvl_fail(err, KVL_E_USAGE, "%s", reasons[id - OPT_NO_GPU]);
    }
}

/* ---- all together ---- */

static kvl_status add_policy(kvl_bench_options *o, const kvl_policy *policy, kvl_err *err) {
    if (o->n_policies == KVL_BENCH_MAX_LIST) {
        return kvl_fail(err, KVL_E_USAGE,
                        "--press, --ratio, --kv-budget: expected at most %d policies in all",
                        KVL_BENCH_MAX_LIST - 1);
    }
    o->policies[o->n_policies++] = *policy;
    return KVL_OK;
}

/* The full cache, then every press at every ratio and budget, or once where its text has a budget. */
static kvl_status make_policies(kvl_bench_options *o, kvl_err *err) {
    kvl_policy_init(&o->policies[0]);
    KVL_TRY(kvl_policy_parse(&o->policies[0], "none", err));
    o->n_policies = 1;
    for (size_t i = 0; i < o->n_presses; i++) {
        kvl_policy policy;
        kvl_policy_init(&policy);
        KVL_TRY(kvl_policy_parse(&policy, o->presses[i], err));
        if (kvl_policy_press(&policy)->is_identity) {
            continue;
        }
        if (kvl_policy_text_has_budget(o->presses[i]) || kvl_press_is_outcome(policy.tree)) {
            KVL_TRY(add_policy(o, &policy, err));
            continue;
        }
        for (size_t r = 0; r < o->n_ratios; r++) {
            policy.keep_ratio = o->ratios[r];
            KVL_TRY(add_policy(o, &policy, err));
        }
        for (size_t b = 0; b < o->n_budgets; b++) {
            kvl_policy_set_bytes(&policy, o->budgets[b]);
            KVL_TRY(add_policy(o, &policy, err));
        }
    }
    size_t deepest = 0;
    for (size_t i = 0; i < o->depths.n; i++) {
        deepest = kvl_max_size(deepest, o->depths.items[i]);
    }
    for (size_t p = 1; p < o->n_policies && deepest == 0; p++) {
        if (kvl_policy_has_schedule(&o->policies[p])) {
            continue;
        }
        return kvl_fail(
            err, KVL_E_USAGE,
            "--press: it compresses the cache at depth: expected a depth above 0 (-d), found none");
    }
    return KVL_OK;
}

static void set_default(kvl_bench_list *list, size_t value) {
    if (list->n == 0) {
        list->items[list->n++] = value;
    }
}

kvl_status kvl_bench_options_parse(kvl_bench_options *o, int argc, char **argv, kvl_err *err) {
    *o = (kvl_bench_options){.n_repetitions = 5, .has_warmup = true, .error_format = KVL_BENCH_NONE};
    KVL_TRY(kvl_press_path_load(err));
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, o, err));
    set_default(&o->prompts, 512);
    set_default(&o->gens, 128);
    set_default(&o->depths, 0);
    set_default(&o->batches, 2048);
    set_default(&o->threads, kvl_cpu_count());
    if (o->n_ratios + o->n_budgets == 0) {
        o->ratios[o->n_ratios++] = 0.5;
    }
    o->n_models += o->n_models == 0;
    return make_policies(o, err);
}

void kvl_bench_options_free(kvl_bench_options *o) {
    for (size_t i = 0; i < KVL_BENCH_MAX_LIST; i++) {
        kvl_str_free(&o->press_texts[i]);
    }
}

void kvl_bench_options_help(kvl_str *out) {
    kvl_str_puts(out,
                 "usage: kvlab bench [OPTIONS]\n\nSpeed of prompts and of generation at stated depths, with "
                 "the full cache and with compressed ones, in percent of\nwhat this machine can do. Options "
                 "mean what they mean to llama-bench; lists take N,N, 1-8, 1-8+2 and 1-8*2.\n\noptions:\n");
    kvl_args_help(table, n_table, out);
    kvl_press_help(out);
}
