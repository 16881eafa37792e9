/* kvlab ls: what a store holds. */
#include "cli/cmd.h"
#include "cli/listing.h"
#include "cli/store_options.h"

static const char *const formats[] = {"table", "md", "csv", "jsonl"};

static const kvl_arg table[] = {
    KVL_STORE_FILE_ARGS,
    {KVL_STORE_FORMAT, 'o', "output", "FORMAT", "table, md, csv or jsonl"},
    KVL_STORE_HELP_ARG,
};

/* Groups of cells and documents are both things that were kept. */
static const kvl_listing_column columns[] = {{"kind", false},   {"key", false},      {"model", false},
                                             {"preset", false}, {"protocol", false}, {"cells", true},
                                             {"failed", true},  {"newest", false},   {"command", false}};

static kvl_status add_document(void *ud, const kvl_document *d, kvl_err *err) {
    kvl_listing *l = ud;
    (void)err;
    kvl_listing_add(l, "%s", d->kind);
    kvl_listing_add(l, "%.12s", d->key);
    kvl_listing_add(l, "%s", d->model);
    kvl_listing_add(l, "%s", "");
    kvl_listing_add(l, "%s", "");
    kvl_listing_add(l, "%s", "");
    kvl_listing_add(l, "%s", "");
    kvl_listing_add(l, "%s", d->made);
    kvl_listing_add(l, "%s", d->command);
    return KVL_OK;
}

static kvl_status list(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    kvl_listing l = {.columns = columns, .n_columns = sizeof columns / sizeof columns[0]};
    kvl_store_groups groups = {0};
    kvl_status status = kvl_store_find_groups(store, &groups, err);
    for (size_t i = 0; i < groups.n; i++) {
        const kvl_store_group *g = &groups.items[i];
        kvl_listing_add(&l, "%s", "cells");
        kvl_listing_add(&l, "%.12s", g->group);
        kvl_listing_add(&l, "%s", g->model);
        kvl_listing_add(&l, "%s", g->preset);
        kvl_listing_add(&l, "%s", g->protocol);
        kvl_listing_add(&l, "%zu", g->n_cells);
        kvl_listing_add(&l, "%zu", g->n_failed);
        kvl_listing_add(&l, "%s", g->newest);
        kvl_listing_add(&l, "%s", "");
    }
    KVL_GO(status);
    KVL_GO(kvl_store_each_document(store, add_document, &l, err));
    KVL_GO(kvl_listing_write(out, &l, (kvl_listing_format)o->format, err));
done:
    kvl_store_groups_free(&groups);
    kvl_listing_free(&l);
    return status;
}

kvl_status kvl_cmd_ls(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "ls [OPTIONS]\n\nWhat a store holds: groups of cells that may stand in one table, newest "
                 "first, and what "
                 "other commands found.",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .formats = formats,
        .n_formats = sizeof formats / sizeof formats[0],
        .operand = "operands",
        .mode = KVL_STORE_READ,
        .run = list,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
