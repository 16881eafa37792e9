/* kvlab trace: what every step of a sweep saw, from the file that kvlab sweep --trace wrote. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/trace_out.h"

#include "base/alloc.h"
#include "base/os.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_POLICY, OPT_TEXT, OPT_LAYER, OPT_HEAD, OPT_STEP, OPT_HEADS, OPT_FORMAT, OPT_HELP };

static const kvl_arg table[] = {
    {OPT_POLICY, 'P', "policy", "POLICY", "one policy of the trace: its text, or the beginning of one only"},
    {OPT_TEXT, 0, "text", "NAME", "one text of it"},
    {OPT_LAYER, 0, "layer", "N", "one layer, from 0"},
    {OPT_HEAD, 0, "head", "N", "one KV head, from 0"},
    {OPT_STEP, 0, "step", "N", "one step: without -o csv or jsonl a picture of what its query sees"},
    {OPT_FORMAT, 'o', "output", "FORMAT", "table, md, or csv or jsonl: one line for each step"},
    {OPT_HEADS, 0, "heads", NULL, "one line for each step and head"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct options {
    const char *path, *policy, *text;
    kvl_trace_pick pick;
    kvl_trace_format format;
    bool has_heads;
    bool is_help;
} options;

static kvl_status set_number(size_t *out, const char *option, const char *value, kvl_err *err) {
    char *end = NULL;
    const unsigned long n = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n > 1u << 24) {
        return kvl_fail(err, KVL_E_USAGE, "%s: expected a whole number from 0 to %u, found '%.80s'", option,
                        1u << 24, value);
    }
    *out = n;
    return KVL_OK;
}

static kvl_status set_format(options *o, const char *value, kvl_err *err) {
    static const char *const names[] = {"table", "md", "csv", "jsonl"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--output", value, names, sizeof names / sizeof names[0], err));
    o->format = (kvl_trace_format)index;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    switch (id) {
    case OPT_POLICY: o->policy = value; return KVL_OK;
    case OPT_TEXT: o->text = value; return KVL_OK;
    case OPT_LAYER: return set_number(&o->pick.layer, "--layer", value, err);
    case OPT_HEAD: return set_number(&o->pick.head, "--head", value, err);
    case OPT_STEP: return set_number(&o->pick.step, "--step", value, err);
    case OPT_FORMAT: return set_format(o, value, err);
    case OPT_HEADS: o->has_heads = true; return KVL_OK;
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: break;
    }
    if (o->path != NULL) {
        return kvl_fail(err, KVL_E_USAGE, "trace: expected one file, found '%.80s' too", value);
    }
    o->path = value;
    return KVL_OK;
}

/* ---- what was picked ---- */

static kvl_status find_policy(options *o, const kvl_trace *t, kvl_err *err) {
    size_t n_found = 0;
    for (size_t p = 0; o->policy != NULL && p < t->n_policies; p++) {
        if (strcmp(t->policies[p].text, o->policy) == 0) {
            o->pick.policy = p;
            return KVL_OK;
        }
        if (strncmp(t->policies[p].text, o->policy, strlen(o->policy)) == 0) {
            o->pick.policy = p;
            n_found++;
        }
    }
    if (o->policy == NULL || n_found == 1) {
        return KVL_OK;
    }
    kvl_str all = {0};
    for (size_t p = 0; p < t->n_policies; p++) {
        kvl_str_printf(&all, "%s%s", p == 0 ? "" : ", ", t->policies[p].text);
    }
    const kvl_status status =
        kvl_fail(err, KVL_E_USAGE, "--policy: '%.80s' begins %zu policies; expected one of %s", o->policy,
                 n_found, kvl_str_text(&all));
    kvl_str_free(&all);
    return status;
}

static kvl_status find_text(options *o, const kvl_trace *t, kvl_err *err) {
    for (size_t i = 0; o->text != NULL && i < t->n_texts; i++) {
        if (strcmp(t->texts[i].name, o->text) == 0) {
            o->pick.text = i;
            return KVL_OK;
        }
    }
    return o->text == NULL ? KVL_OK
                           : kvl_fail(err, KVL_E_USAGE,
                                      "--text: expected one of the %zu texts of the trace "
                                      "(the first is %s), found '%.80s'",
                                      t->n_texts, t->texts[0].name, o->text);
}

static kvl_status check_below(const char *option, size_t pick, size_t n, kvl_err *err) {
    return pick == SIZE_MAX || pick < n
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE, "%s: expected a number below %zu, found %zu", option, n, pick);
}

static kvl_status find_pick(options *o, const kvl_trace *t, kvl_err *err) {
    KVL_TRY(find_policy(o, t, err));
    KVL_TRY(find_text(o, t, err));
    KVL_TRY(check_below("--layer", o->pick.layer, t->n_layers, err));
    KVL_TRY(check_below("--head", o->pick.head, t->n_kv_heads, err));
    const size_t end = kvl_pick_end(o->pick.text, t->n_texts);
    for (size_t i = kvl_pick_first(o->pick.text); i < end; i++) {
        KVL_TRY(check_below("--step", o->pick.step, t->texts[i].n_tokens - 1, err));
    }
    return KVL_OK;
}

/* ---- output ---- */

/* Calls write for each cell that is picked, printing what it makes. */
static kvl_status print_cells(const options *o, const kvl_trace *t, kvl_err *err) {
    const bool is_lines = o->format == KVL_TRACE_CSV || o->format == KVL_TRACE_JSONL;
    kvl_str out = {0};
    kvl_status status = KVL_OK;
    kvl_trace_pick pick = o->pick;
    if (o->format == KVL_TRACE_CSV) {
        kvl_trace_write_columns(&out, o->has_heads);
    }
    for (size_t p = kvl_pick_first(o->pick.policy); p < kvl_pick_end(o->pick.policy, t->n_policies); p++) {
        for (size_t i = kvl_pick_first(o->pick.text); i < kvl_pick_end(o->pick.text, t->n_texts); i++) {
            pick.policy = p;
            pick.text = i;
            KVL_GO(is_lines ? kvl_trace_write_steps(&out, t, &pick, o->format == KVL_TRACE_JSONL,
                                                    o->has_heads, err)
                            : kvl_trace_write_picture(&out, t, &pick, err));
            if (!is_lines) {
                kvl_str_puts(&out, "\n");
            }
            KVL_GO(kvl_print(kvl_str_text(&out), out.len, err));
            kvl_str_clear(&out);
        }
    }
done:
    kvl_str_free(&out);
    return status;
}

static kvl_status print_summary(const options *o, const kvl_trace *t, kvl_err *err) {
    kvl_str out = {0};
    kvl_status status = kvl_trace_write_summary(&out, t, &o->pick, o->format == KVL_TRACE_MD, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    return status;
}

static kvl_status run(options *o, kvl_err *err) {
    char *bytes = NULL;
    size_t n = 0;
    kvl_trace *t = NULL;
    kvl_status status = KVL_OK;
    KVL_GO(o->path != NULL ? KVL_OK
                           : kvl_fail(err, KVL_E_USAGE,
                                      "trace: expected a file (kvlab sweep --trace FILE "
                                      "writes one), found none"));
    const bool is_lines = o->format == KVL_TRACE_CSV || o->format == KVL_TRACE_JSONL;
    KVL_GO(is_lines || !o->has_heads
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE, "--heads: expected -o csv or jsonl, found another"));
    KVL_GO(o->has_heads || (!is_lines && o->pick.step != SIZE_MAX) ||
                   (o->pick.layer == SIZE_MAX && o->pick.head == SIZE_MAX)
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE,
                          "--layer, --head: expected --heads, or --step for a picture, found neither"));
    KVL_GO(kvl_file_load(&bytes, &n, o->path, (uint64_t)1 << 36, err));
    KVL_GO(kvl_trace_read(&t, bytes, n, o->path, err));
    KVL_GO(find_pick(o, t, err));
    KVL_GO(is_lines || o->pick.step != SIZE_MAX ? print_cells(o, t, err) : print_summary(o, t, err));
done:
    kvl_trace_free(t);
    kvl_free(bytes);
    return status;
}

kvl_status kvl_cmd_trace(int argc, char **argv, kvl_err *err) {
    options o = {.pick = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX}};
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err));
    if (!o.is_help) {
        return run(&o, err);
    }
    kvl_str help = {0};
    kvl_str_puts(&help,
                 "usage: kvlab trace [OPTIONS] FILE\n\n"
                 "What every step of a sweep saw: figures of each policy, the steps themselves, or one "
                 "of them as a picture. kvlab sweep --trace FILE writes it.\n\noptions:\n");
    kvl_args_help(table, n_table, &help);
    kvl_status status = kvl_print(kvl_str_text(&help), help.len, err);
    kvl_str_free(&help);
    return status;
}
