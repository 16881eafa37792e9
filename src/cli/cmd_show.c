/* kvlab show: all about a cell, or the table of a group. */
#include "cli/cmd.h"
#include "cli/export.h"
#include "cli/store_options.h"

#include "base/json.h"
#include "store/exchange.h"

#include <math.h>
#include <string.h>

/* kvl_format by name. */
static const char *const formats[] = {"table", "md", "csv", "json"};

static const kvl_arg table[] = {
    KVL_STORE_FILE_ARGS,
    {KVL_STORE_FORMAT, 'o', "output", "FORMAT", "table, md, csv or json; of a cell table or json"},
    KVL_STORE_HELP_ARG,
};

/* A JSON text, indented; control characters are escaped there. Nothing for none. */
static kvl_status put_json(kvl_str *out, const char *name, const char *text, kvl_err *err) {
    json_t *value = NULL;
    if (text == NULL || text[0] == '\0') {
        return KVL_OK;
    }
    KVL_TRY(kvl_json_parse(&value, text, strlen(text), name, err));
    kvl_str_printf(out, "\n%s ", name);
    return kvl_json_write(out, value, true, err);
}

static kvl_status show_record(kvl_str *out, const kvl_record *r, kvl_err *err) {
    kvl_str_printf(out, "key       %s\ngroup     %s\n", r->key, r->group);
    kvl_str_printf(out, "scored    %zu tokens from step %zu on: NLL %.17g nats, PPL %.6g\n", r->n_scored,
                   r->first_scored, r->nll_sum, exp(r->nll_sum / (double)r->n_scored));
    kvl_str_printf(out, "affected  %zu tokens: NLL %.17g nats, full cache %.17g\n", r->n_affected,
                   r->nll_affected, r->nll_affected_full);
    kvl_str_printf(out,
                   "cache     %zu to %zu entries per head, mean %.6g; %llu bytes live; %zu compressions, "
                   "steps %zu to %zu\n",
                   r->kept_min, r->kept_max, r->kept_mean, (unsigned long long)r->kv_bytes_live, r->n_events,
                   r->first_event, r->last_event);
    KVL_TRY(put_json(out, "identity", r->identity, err));
    return put_json(out, "facts", r->facts, err);
}

static kvl_status show_cell(const kvl_store_options *o, kvl_store *store, const char *key, kvl_str *out,
                            kvl_err *err) {
    kvl_record record = {0};
    bool is_there = false;
    kvl_status status = kvl_store_get(store, key, &record, &is_there, err);
    if (status == KVL_OK && !is_there) {
        status =
            kvl_fail(err, KVL_E_USAGE, "cell %.12s: expected one that is done, found one that failed", key);
    } else if (status == KVL_OK) {
        status = o->format == KVL_FORMAT_JSON ? kvl_record_write_line(out, &record, NULL, 0, err)
                                              : show_record(out, &record, err);
    }
    kvl_record_free(&record);
    return status;
}

static kvl_status show(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    char key[KVL_KEY_TEXT];
    size_t n_found = 0;
    size_t index = 0;
    const char *prefix = o->n_operands != 0 ? o->operands[0] : NULL;
    kvl_store_groups groups = {0};
    KVL_TRY(kvl_store_find_groups(store, &groups, err));
    kvl_err not_a_group;
    kvl_status status = kvl_store_pick_group(&index, &groups, prefix, prefix != NULL ? &not_a_group : err);
    if (status == KVL_OK) {
        status = kvl_export_table(out, store, groups.items[index].group, (kvl_format)o->format, err);
        goto done;
    }
    if (prefix == NULL) {
        goto done;
    }
    KVL_GO(kvl_store_find_key(store, prefix, key, &n_found, err));
    if (n_found != 1) {
        KVL_GO(kvl_fail(err, KVL_E_USAGE,
                        "expected the beginning of one key of a cell or group, found '%.70s' of %s; kvlab ls "
                        "lists groups, kvlab export -o csv cells",
                        prefix, n_found == 0 ? "none" : "several"));
    }
    status = show_cell(o, store, key, out, err);
done:
    kvl_store_groups_free(&groups);
    return status;
}

kvl_status kvl_cmd_show(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "show [KEY] [OPTIONS]\n\nThe table of a group of cells, or all about one cell. KEY: the "
                 "beginning of its key "
                 "(default: the newest group).",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .formats = formats,
        .n_formats = sizeof formats / sizeof formats[0],
        .most = 1,
        .operand = "key",
        .mode = KVL_STORE_READ,
        .run = show,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
