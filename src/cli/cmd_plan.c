/* kvlab plan: the memory of a deployment, from headers only. */
#include "cli/args.h"
#include "cli/calibration_arg.h"
#include "cli/cmd.h"
#include "cli/model_arg.h"
#include "cli/press_arg.h"

#include "base/json.h"
#include "base/os.h"
#include "engine/plan.h"
#include "press/plugin.h"

#include <stdio.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { MAX_RATIOS = 64, MAX_TOKENS = 1 << 24, MAX_NOTES = 4, CELL_BYTES = KVL_BYTES_TEXT };
enum {
    OPT_CONTEXT,
    OPT_PRESS,
    OPT_RATIO,
    OPT_COMPRESSION,
    OPT_BUDGET,
    OPT_THREADS,
    OPT_MEMORY,
    OPT_FORMAT,
    OPT_HELP
};

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    KVL_CACHE_TYPE_ARGS,
    KVL_CALIBRATION_ARGS,
    {OPT_CONTEXT, 'c', "ctx", "N", "tokens of the prompt (default: the model's context)"},
    {OPT_PRESS, 'P', "press", "POLICY", "press or whole policy (default knorm)"},
    KVL_PRESS_ARGS,
    {OPT_RATIO, 'r', "ratio", "RATIO[,...]", "keep ratios, above 0 and at most 1 (default 0.5,0.2)"},
    {OPT_COMPRESSION, 0, "compression-ratio", "C[,...]", "the same as 1 - keep ratio"},
    {OPT_BUDGET, 0, "kv-budget", "SIZE[,...]",
     "bytes of keys and values that are kept, instead of ratios (or beside those of -r)"},
    {OPT_THREADS, 't', "threads", "N", "threads (default: the processors this process may use)"},
    {OPT_MEMORY, 0, "memory", "SIZE", "also the longest prompt in so much memory, as 8GiB or 512MiB"},
    {OPT_FORMAT, 'o', "output", "FORMAT", "table, md, csv or json (bytes in the last two)"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef enum format { TABLE, MD, CSV, JSON } format;

typedef struct options {
    kvl_model_arg model;
    kvl_cache_arg cache;
    const char *calibration; /* NULL: none */
    const char *press;
    size_t n_tokens; /* 0: the model's context */
    double ratios[MAX_RATIOS];
    size_t n_ratios;
    uint64_t budgets[MAX_RATIOS]; /* bytes */
    size_t n_budgets;
    unsigned n_threads;
    uint64_t memory_bytes; /* 0: not asked */
    format format;
    bool is_help;
} options;

/* One line of the result. */
typedef struct row {
    double keep_ratio; /* 1: the full cache; of size= and bytes=: kept / seen */
    kvl_plan plan;
    uint64_t process_bytes; /* program and plan at the worst moment */
    size_t longest;         /* in the memory given */
} row;

typedef struct report {
    const options *o;
    const kvl_model *model;
    size_t n_tokens;
    uint64_t program_bytes;
    uint64_t kv_token_bytes;
    kvl_str policy;
    bool has_schedule; /* of its own */
    row rows[2 * MAX_RATIOS + 1];
    size_t n_rows;
    kvl_str notes[MAX_NOTES];
    size_t n_notes;
} report;

/* ---- options ---- */

static kvl_status add_ratio(void *ud, double ratio, const char *option, const char *word, kvl_err *err) {
    options *o = ud;
    if (!(ratio > 0 && ratio <= 1) || o->n_ratios == MAX_RATIOS) {
        return kvl_fail(err, KVL_E_USAGE,
                        "%s: expected up to %d keep ratios above 0 and at most 1, found '%.80s'", option,
                        MAX_RATIOS, word);
    }
    o->ratios[o->n_ratios++] = ratio;
    return KVL_OK;
}

static kvl_status add_budget(void *ud, const char *word, kvl_err *err) {
    options *o = ud;
    if (o->n_budgets == MAX_RATIOS) {
        return kvl_fail(err, KVL_E_USAGE, "--kv-budget: expected at most %d items", MAX_RATIOS);
    }
    return kvl_args_bytes(&o->budgets[o->n_budgets++], "--kv-budget", word, err);
}

static kvl_status set_format(format *out, const char *value, kvl_err *err) {
    static const char *const names[] = {"table", "md", "csv", "json"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--output", value, names, sizeof names / sizeof names[0], err));
    *out = (format)index;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    bool is_taken = false;
    KVL_TRY(kvl_cache_arg_take(&o->cache, id, value, &is_taken, err));
    if (is_taken || kvl_model_arg_take(&o->model, id, value)) {
        return KVL_OK;
    }
    size_t n = 0;
    switch (id) {
    case KVL_ARG_CALIBRATION: o->calibration = value; return KVL_OK;
    case KVL_ARG_PRESS_SO: return kvl_press_load(value, err);
    case OPT_CONTEXT: return kvl_args_count(&o->n_tokens, "--ctx", value, MAX_TOKENS, err);
    case OPT_PRESS: o->press = value; return KVL_OK;
    case OPT_RATIO: return kvl_args_keep_ratios(value, add_ratio, o, err);
    case OPT_COMPRESSION: return kvl_args_compression_ratios(value, add_ratio, o, err);
    case OPT_BUDGET: return kvl_args_items(value, add_budget, o, err);
    case OPT_THREADS:
        KVL_TRY(kvl_args_count(&n, "--threads", value, 256, err));
        o->n_threads = (unsigned)n;
        return KVL_OK;
    case OPT_MEMORY: return kvl_args_bytes(&o->memory_bytes, "--memory", value, err);
    case OPT_FORMAT: return set_format(&o->format, value, err);
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* ---- computing ---- */

static void add_row(report *r, const kvl_policy *policy) {
    const options *o = r->o;
    row *to = &r->rows[r->n_rows++];
    kvl_plan_make(&to->plan, r->model, policy, o->n_threads, r->n_tokens);
    to->process_bytes = r->program_bytes + to->plan.peak_bytes;
    const bool is_counted = policy->size_tok != 0 || policy->n_bytes != 0;
    to->keep_ratio = kvl_policy_press(policy)->is_identity ? 1
                     : kvl_press_is_outcome(policy->tree)
                         ? (double)to->plan.kv_live_bytes / (double)to->plan.kv_prefill_bytes
                     : is_counted ? (double)to->plan.n_kept / (double)r->n_tokens
                                  : policy->keep_ratio;
    if (o->memory_bytes > r->program_bytes) {
        size_t most = r->model->shape.has_positions ? r->model->shape.n_context : MAX_TOKENS;
        to->longest =
            kvl_plan_longest(r->model, policy, o->n_threads, most, o->memory_bytes - r->program_bytes);
    }
}

static void add_notes(report *r) {
    const kvl_shape *s = &r->model->shape;
    uint32_t n_local = kvl_model_local_layers(r->model);
    if (r->n_tokens > s->n_context) {
        kvl_str_printf(&r->notes[r->n_notes++], "%zu tokens are beyond the model's context of %u%s",
                       r->n_tokens, s->n_context,
                       s->has_positions ? "; its positions are learned, so that it cannot run them"
                                        : ": it can run them, but was not trained for them");
    }
    if (n_local != 0) {
        kvl_str_printf(&r->notes[r->n_notes++],
                       "%u of %u layers see the last %u tokens only; their caches keep all entries all the "
                       "same, and are counted so",
                       n_local, s->n_layers, s->window);
    }
    kvl_str_puts(
        &r->notes[r->n_notes++],
        r->has_schedule
            ? "the press acts by its schedule; what it does behind the prompt is not followed"
            : "compression comes after the whole prompt is cached: keep ratios change what is left for "
              "decoding, not the peak of the prefill");
}

static kvl_status add_checked(report *r, const kvl_policy *policy, kvl_err *err) {
    KVL_TRY(kvl_budget_check(policy, &r->model->shape, r->n_tokens, err));
    add_row(r, policy);
    return KVL_OK;
}

/* The policy with its own budget, or with each of those given. */
static kvl_status add_rows(report *r, kvl_policy *policy, kvl_err *err) {
    static const double defaults[] = {0.5, 0.2};
    const options *o = r->o;
    if (kvl_policy_press(policy)->is_identity) {
        return KVL_OK;
    }
    if (kvl_policy_text_has_budget(r->o->press) || kvl_press_is_outcome(policy->tree)) {
        return add_checked(r, policy, err);
    }
    const bool is_default = o->n_ratios + o->n_budgets == 0;
    for (size_t i = 0; i < (is_default ? 2 : o->n_ratios); i++) {
        policy->keep_ratio = is_default ? defaults[i] : o->ratios[i];
        if (policy->keep_ratio < 1) {
            add_row(r, policy);
        }
    }
    for (size_t i = 0; i < o->n_budgets; i++) {
        kvl_policy_set_bytes(policy, o->budgets[i]);
        KVL_TRY(add_checked(r, policy, err));
    }
    return KVL_OK;
}

static kvl_status compute(report *r, kvl_err *err) {
    const options *o = r->o;
    kvl_policy policy;
    kvl_policy full;
    kvl_policy_init(&policy);
    kvl_policy_init(&full);
    KVL_TRY(kvl_policy_parse(&full, "none", err));
    KVL_TRY(kvl_policy_parse(&policy, o->press, err));
    if (r->model->shape.calibration == NULL && kvl_policy_press(&policy)->spares != NULL) {
        return kvl_fail(err, KVL_E_USAGE,
                        "press %s: expected --calibration FILE, since its lengths follow "
                        "from that (kvlab calibrate makes one); found none",
                        kvl_policy_press(&policy)->name);
    }
    r->n_tokens = o->n_tokens != 0 ? o->n_tokens : r->model->shape.n_context;
    r->kv_token_bytes = kvl_shape_kv_bytes(&r->model->shape);
    r->program_bytes = kvl_peak_rss_bytes();
    kvl_policy_press_text(&policy, &r->policy);
    r->has_schedule = kvl_policy_has_schedule(&policy);
    add_row(r, &full);
    KVL_TRY(add_rows(r, &policy, err));
    add_notes(r);
    return KVL_OK;
}

/* ---- writing ---- */

/* The columns: head on a terminal, name in CSV and JSON, bytes or a count. The last one needs --memory. */
enum { N_COLUMNS = 11 };
static const struct {
    const char *head, *name;
    bool is_bytes;
} columns[N_COLUMNS] = {
    {"keep", "keep_ratio", false},
    {"kept/head", "kept_entries", false},
    {"room", "room_tokens", false},
    {"KV prompt", "kv_prefill_bytes", true},
    {"KV kept", "kv_live_bytes", true},
    {"KV reserved", "kv_reserved_bytes", true},
    {"KV peak", "kv_peak_bytes", true},
    {"noted", "noted_bytes", true},
    {"scratch", "scratch_bytes", true},
    {"process peak", "process_peak_bytes", true},
    {"longest prompt", "longest_prompt_tokens", false},
};

static size_t n_columns(const report *r) { return r->o->memory_bytes != 0 ? N_COLUMNS : N_COLUMNS - 1; }

static uint64_t value_of(const row *w, size_t column) {
    const uint64_t values[N_COLUMNS] = {0,
                                        w->plan.n_kept,
                                        w->plan.n_room,
                                        w->plan.kv_prefill_bytes,
                                        w->plan.kv_live_bytes,
                                        w->plan.kv_reserved_bytes,
                                        w->plan.kv_peak_bytes,
                                        w->plan.noted_bytes,
                                        w->plan.scratch_bytes,
                                        w->process_bytes,
                                        w->longest};
    return values[column];
}

static void print_cell(char text[CELL_BYTES], const row *w, size_t column, bool is_exact) {
    if (column == 0) {
        snprintf(text, CELL_BYTES, is_exact ? "%.17g" : "%.4g", w->keep_ratio);
    } else if (columns[column].is_bytes && !is_exact) {
        kvl_print_bytes(text, value_of(w, column));
    } else {
        snprintf(text, CELL_BYTES, "%llu", (ull)value_of(w, column));
    }
}

static void write_line(kvl_str *out, const report *r, const row *w) {
    for (size_t c = 0; c < n_columns(r); c++) {
        char text[CELL_BYTES];
        snprintf(text, sizeof text, "%s", r->o->format == CSV ? columns[c].name : columns[c].head);
        if (w != NULL) {
            print_cell(text, w, c, r->o->format == CSV);
        }
        switch (r->o->format) {
        case CSV: kvl_str_printf(out, "%s%s", c != 0 ? "," : "", text); break;
        case MD: kvl_str_printf(out, "%s %s |", c == 0 ? "|" : "", text); break;
        default:
            kvl_str_printf(out, "%s%*s", c != 0 ? "  " : "", (int)kvl_max_size(9, strlen(columns[c].head)),
                           text);
            break;
        }
    }
    kvl_str_puts(out, "\n");
}

static void write_text(kvl_str *out, const report *r) {
    char weights[CELL_BYTES], program[CELL_BYTES];
    char cache[KVL_CACHE_TEXT];
    kvl_cache_text(cache, &r->model->shape);
    kvl_print_bytes(weights, r->model->weight_bytes);
    kvl_print_bytes(program, r->program_bytes);
    kvl_str_printf(out,
                   "%s%s: %zu tokens prefilled%s%s%s; %u threads\n"
                   "weights %s (packed as stored), keys and values %llu bytes per token (%s), program %s\n\n",
                   r->o->format == MD ? "## " : "", r->model->name, r->n_tokens,
                   r->has_schedule ? " under " : ", then ", kvl_str_text(&r->policy),
                   r->has_schedule ? "" : " once", r->o->n_threads, weights, (ull)r->kv_token_bytes, cache,
                   program);
    write_line(out, r, NULL);
    for (size_t c = 0; c < n_columns(r) && r->o->format == MD; c++) {
        kvl_str_puts(out, c == 0 ? "|---:|" : "---:|");
    }
    kvl_str_puts(out, r->o->format == MD ? "\n" : "");
    for (size_t i = 0; i < r->n_rows; i++) {
        write_line(out, r, &r->rows[i]);
    }
    kvl_str_puts(out, "\n");
    for (size_t i = 0; i < r->n_notes; i++) {
        kvl_str_printf(out, "%snote: %s\n", r->o->format == MD ? "- " : "", kvl_str_text(&r->notes[i]));
    }
}

static kvl_status write_json(kvl_str *out, const report *r, kvl_err *err) {
    json_t *rows = json_array();
    json_t *notes = json_array();
    for (size_t i = 0; i < r->n_rows; i++) {
        json_t *object = json_pack("{s:f}", columns[0].name, r->rows[i].keep_ratio);
        for (size_t c = 1; c < n_columns(r); c++) {
            json_object_set_new(object, columns[c].name, json_integer((json_int_t)value_of(&r->rows[i], c)));
        }
        json_array_append_new(rows, object);
    }
    for (size_t i = 0; i < r->n_notes; i++) {
        json_array_append_new(notes, json_string(kvl_str_text(&r->notes[i])));
    }
    return kvl_json_write(
        out,
        json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "model", r->model->name,
                  "arch", r->model->arch, "prompt_tokens", (json_int_t)r->n_tokens, "context_tokens",
                  (json_int_t)r->model->shape.n_context, "press", kvl_str_text(&r->policy), "threads",
                  (json_int_t)r->o->n_threads, "weight_bytes", (json_int_t)r->model->weight_bytes,
                  "kv_bytes_per_token", (json_int_t)r->kv_token_bytes, "program_bytes",
                  (json_int_t)r->program_bytes, "memory_bytes", (json_int_t)r->o->memory_bytes, "rows", rows,
                  "notes", notes),
        true, err);
}

static kvl_status write_report(kvl_str *out, const report *r, kvl_err *err) {
    if (r->o->format == JSON) {
        return write_json(out, r, err);
    }
    if (r->o->format != CSV) {
        write_text(out, r);
        return kvl_str_check(out, "plan", err);
    }
    write_line(out, r, NULL);
    for (size_t i = 0; i < r->n_rows; i++) {
        write_line(out, r, &r->rows[i]);
    }
    return kvl_str_check(out, "plan", err);
}

static kvl_status plan(kvl_str *out, const options *o, kvl_err *err) {
    report r = {.o = o};
    kvl_model *model = NULL;
    kvl_calibration *calibration = NULL;
    kvl_str path = {0};
    kvl_status status = KVL_OK;
    KVL_GO(kvl_model_arg_resolve(&path, &o->model, err));
    KVL_GO(kvl_model_open_headers(&model, kvl_str_text(&path), err));
    KVL_GO(kvl_cache_arg_apply(&o->cache, &model->shape, err));
    if (o->calibration != NULL) {
        KVL_GO(kvl_calibration_load(&calibration, o->calibration, model, err));
        model->shape.calibration = calibration;
    }
    r.model = model;
    KVL_GO(compute(&r, err));
    KVL_GO(write_report(out, &r, err));
done:
    for (size_t i = 0; i < MAX_NOTES; i++) {
        kvl_str_free(&r.notes[i]);
    }
    kvl_str_free(&r.policy);
    kvl_str_free(&path);
    kvl_model_close(model);
    kvl_calibration_destroy(calibration);
    return status;
}

kvl_status kvl_cmd_plan(int argc, char **argv, kvl_err *err) {
    options o = {.press = "knorm", .n_threads = kvl_cpu_count()};
    kvl_str out = {0};
    KVL_TRY(kvl_press_path_load(err));
    kvl_status status = kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err);
    if (status == KVL_OK && o.is_help) {
        kvl_str_puts(&out, "usage: kvlab plan [OPTIONS]\n\nMemory of a prompt of so many tokens that is "
                           "compressed once, from the model's headers only.\n\n");
        kvl_args_help(table, n_table, &out);
    } else if (status == KVL_OK) {
        status = plan(&out, &o, err);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    return status;
}
