/* The rows of a group's cells. */
#include "report/gather_int.h"

#include "base/alloc.h"
#include "report/rows.h"

#include <string.h>

struct kvli_sweep_cells {
    kvl_records records; /* rows borrow names of texts from them */
    kvl_rows rows;
    kvl_report report;
};

void kvli_sweep_cells_free(struct kvli_sweep_cells *s) {
    if (s != NULL) {
        kvl_rows_free(&s->rows);
        kvl_records_free(&s->records);
        kvl_free(s);
    }
}

static kvl_status load_nll(void *ud, const kvl_record *r, double *nll, kvl_err *err) {
    kvl_store *store = ud;
    kvl_record whole = {0};
    bool is_there = false;
    kvl_status status = kvl_store_get(store, r->key, &whole, &is_there, err);
    if (status == KVL_OK && (!is_there || whole.nll == NULL || whole.n_scored != r->n_scored)) {
        status = kvl_fail(err, KVL_E_STORE, "store: cell %.12s: expected %zu NLLs, found none", r->key,
                          r->n_scored);
    }
    if (status == KVL_OK) {
        memcpy(nll, whole.nll, r->n_scored * sizeof *nll);
    }
    kvl_record_free(&whole);
    return status;
}

/* Of an object in a text that the program wrote itself; "" where it is not there. */
static char *text_in(kvli_gather *g, const json_t *o, const char *name) {
    const char *text = json_string_value(json_object_get(o, name));
    return kvli_own_text(g, text != NULL ? text : "");
}

/* What a cell of the group tells of how all of them were made. */
static kvl_status read_facts(kvli_gather *g, kvl_store *store, struct kvli_sweep_cells *s,
                             bool *has_mean_ppl) {
    kvl_record cell = {0};
    bool is_there = false;
    json_t *facts = NULL;
    KVL_TRY(kvl_store_get(store, s->records.items[s->records.n - 1].key, &cell, &is_there, g->err));
    kvl_status status =
        is_there ? KVL_OK : kvl_fail(g->err, KVL_E_STORE, "store: a cell that is listed is not there");
    KVL_GO(status);
    KVL_GO(kvl_json_parse(&facts, cell.facts, strlen(cell.facts), "facts of a cell", g->err));
    s->report.command = text_in(g, facts, "command");
    s->report.how = text_in(g, facts, "how");
    *has_mean_ppl = json_is_true(json_object_get(facts, "has_mean_ppl"));
    status = g->status;
done:
    json_decref(facts);
    kvl_record_free(&cell);
    return status;
}

kvl_status kvli_gather_sweep(kvli_gather *g, kvl_store *store) {
    kvl_content *c = g->content;
    bool has_mean_ppl = false;
    struct kvli_sweep_cells *s = c->cells = kvl_calloc(1, sizeof *s);
    if (s == NULL) {
        return kvl_fail_nomem(g->err, "report");
    }
    KVL_TRY(kvl_store_list(store, c->group, &s->records, g->err));
    if (s->records.n == 0) {
        return KVL_OK;
    }
    KVL_TRY(read_facts(g, store, s, &has_mean_ppl));
    KVL_TRY(kvl_rows_make(&s->rows, &s->records, has_mean_ppl, load_nll, store, g->err));
    s->report.title = c->model;
    s->report.protocol = c->protocol_name;
    kvl_rows_report(&s->report, &s->rows);
    c->sweep = &s->report;
    return KVL_OK;
}
