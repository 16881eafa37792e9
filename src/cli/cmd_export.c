/* kvlab export: what a store holds, for other programs. */
#include "cli/cmd.h"
#include "cli/export.h"
#include "cli/store_options.h"

#include "base/os.h"
#include "store/exchange.h"

#include <string.h>

enum { AS_JSONL, AS_CSV, AS_MD, AS_LLAMA_BENCH, AS_LM_EVAL, AS_SQLITE };
static const char *const formats[] = {"jsonl", "csv", "md", "llama-bench", "lm-eval", "sqlite"};

static const kvl_arg table[] = {
    KVL_STORE_FILE_ARGS,
    {KVL_STORE_FORMAT, 'o', "output", "FORMAT",
     "jsonl (all there is, for kvlab import), csv (a line for each cell), md (the table of a group), "
     "llama-bench (rows "
     "of kvlab bench, as its JSON lines), lm-eval (a results_*.json for each policy of a group) or sqlite (a "
     "copy of the "
     "store, which may be in use)"},
    KVL_STORE_GROUP_ARG,
    {KVL_STORE_OUT, 0, "out", "PATH",
     "file to write instead of standard output; of lm-eval the folder (default out)"},
    KVL_STORE_HELP_ARG,
};

/* Where lines go: a file that appears whole, or standard output. */
typedef struct writer {
    kvl_sink sink;
    bool has_file;
    const char *group; /* of which cells are written; NULL: all */
    kvl_str line;
} writer;

static kvl_status put(writer *w, kvl_err *err) {
    const kvl_status status = w->has_file ? kvl_sink_write(&w->sink, kvl_str_text(&w->line), w->line.len, err)
                                          : kvl_print(kvl_str_text(&w->line), w->line.len, err);
    kvl_str_clear(&w->line);
    return status;
}

static kvl_status put_cell(void *ud, const kvl_record *r, const char *why, size_t n_attempts, kvl_err *err) {
    writer *w = ud;
    KVL_TRY(kvl_record_write_line(&w->line, r, why, n_attempts, err));
    return put(w, err);
}

/* With a group its own documents only. */
static kvl_status put_document(void *ud, const kvl_document *d, kvl_err *err) {
    writer *w = ud;
    if (w->group != NULL && (d->group == NULL || strcmp(d->group, w->group) != 0)) {
        return KVL_OK;
    }
    KVL_TRY(kvl_document_write_line(&w->line, d, err));
    return put(w, err);
}

static kvl_status put_bench(void *ud, const kvl_document *d, kvl_err *err) {
    writer *w = ud;
    if (strcmp(d->kind, "bench") != 0) {
        return KVL_OK;
    }
    kvl_str_append(&w->line, d->lines, d->n_bytes);
    return put(w, err);
}

static kvl_status write_all(writer *w, const kvl_store_options *o, kvl_store *store, const char *group,
                            kvl_err *err) {
    switch (o->format) {
    case AS_JSONL:
        w->group = o->group != NULL ? group : NULL;
        KVL_TRY(kvl_store_each_cell(store, w->group, put_cell, w, err));
        return kvl_store_each_document(store, put_document, w, err);
    case AS_LLAMA_BENCH: return kvl_store_each_document(store, put_bench, w, err);
    case AS_CSV:
        KVL_TRY(kvl_export_csv(&w->line, store, o->group != NULL ? group : NULL, err));
        return put(w, err);
    default: KVL_TRY(kvl_export_table(&w->line, store, group, KVL_FORMAT_MD, err)); return put(w, err);
    }
}

static kvl_status export(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    writer w = {0};
    kvl_store_groups groups = {0};
    size_t index = 0;
    const bool needs_group = o->group != NULL || o->format == AS_MD || o->format == AS_LM_EVAL;
    kvl_status status = kvl_store_find_groups(store, &groups, err);
    KVL_GO(status);
    KVL_GO(needs_group ? kvl_store_pick_group(&index, &groups, o->group, err) : KVL_OK);
    if (o->format == AS_SQLITE) {
        KVL_GO(o->out != NULL
                   ? kvl_store_backup(store, o->out, err)
                   : kvl_fail(err, KVL_E_USAGE, "--out: expected the file of the copy, found none"));
        goto done;
    }
    if (o->format == AS_LM_EVAL) {
        KVL_GO(kvl_export_lm_eval(out, store, &groups.items[index], o->out != NULL ? o->out : "out", err));
        goto done;
    }
    w.has_file = o->out != NULL;
    KVL_GO(w.has_file ? kvl_sink_open(&w.sink, o->out, err) : KVL_OK);
    status = write_all(&w, o, store, needs_group ? groups.items[index].group : NULL, err);
    if (w.has_file && status == KVL_OK) {
        status = kvl_sink_commit(&w.sink, err);
    } else if (w.has_file) {
        kvl_sink_discard(&w.sink);
    }
done:
    kvl_str_free(&w.line);
    kvl_store_groups_free(&groups);
    return status;
}

kvl_status kvl_cmd_export(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "export [OPTIONS]\n\nWhat a store holds, for other programs and other stores.",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .formats = formats,
        .n_formats = sizeof formats / sizeof formats[0],
        .operand = "operands",
        .mode = KVL_STORE_READ,
        .run = export,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
