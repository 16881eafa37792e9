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

/* ---- what the newest sweep of the group says ---- */

typedef struct finder {
    const char *group;
    kvl_document found; /* kind NULL: none yet */
} finder;

static char *copy(const char *text, size_t n) { return kvl_strndup(text, n); }

static kvl_status take_sweep(void *ud, const kvl_document *d, kvl_err *err) {
    finder *f = ud;
    if (strcmp(d->kind, "sweep") != 0 || strcmp(d->group, f->group) != 0) {
        return KVL_OK;
    }
    kvl_document_free(&f->found);
    f->found = (kvl_document){.kind = copy(d->kind, strlen(d->kind)),
                              .model = copy(d->model, strlen(d->model)),
                              .command = copy(d->command, strlen(d->command)),
                              .lines = copy(d->lines, d->n_bytes),
                              .n_bytes = d->n_bytes};
    const bool has_all =
        f->found.kind != NULL && f->found.model != NULL && f->found.command != NULL && f->found.lines != NULL;
    return has_all ? KVL_OK : kvl_fail_nomem(err, "report");
}

static void read_notes(kvli_gather *g, const json_t *line, kvl_report *r) {
    const json_t *notes = kvli_get_list(g, line, "notes");
    const char **own = kvli_own(g, json_array_size(notes), sizeof *own);
    for (size_t i = 0; i < json_array_size(notes) && g->status == KVL_OK; i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        own[i] = kvli_own_text(g, note != NULL ? note : "");
    }
    r->notes = own;
    r->n_notes = json_array_size(notes);
}

/* One more note behind those of the sweep. */
static void add_note(kvli_gather *g, kvl_report *r, const kvl_str *note) {
    const char **own = kvli_own(g, r->n_notes + 1, sizeof *own);
    if (own == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n_notes; i++) {
        own[i] = r->notes[i];
    }
    own[r->n_notes++] = kvli_own_text(g, kvl_str_text(note));
    r->notes = own;
}

/* A table has the policies with a cell on each text of the group: of sweeps of different texts, or one that
 * was stopped, that is not all, and a reader must know it. */
static kvl_status note_left_out(kvli_gather *g, struct kvli_sweep_cells *s) {
    kvl_str note = {0};
    if (s->rows.n_left_out == 0) {
        return KVL_OK;
    }
    kvl_str_printf(&note,
                   "left out, without a cell on each of the %zu texts stored: %zu of %zu policies; the sweep "
                   "was stopped, or others had other texts",
                   s->report.n_samples, s->rows.n_left_out, s->rows.n_left_out + s->rows.n_rows);
    kvl_status status = kvl_str_check(&note, "report", g->err);
    if (status == KVL_OK) {
        add_note(g, &s->report, &note);
        status = g->status;
    }
    kvl_str_free(&note);
    return status;
}

typedef struct reading {
    struct kvli_sweep_cells *cells;
    bool has_mean_ppl;
} reading;

static void read_sweep(kvli_gather *g, const json_t *line, void *ud) {
    reading *r = ud;
    kvl_report *report = &r->cells->report;
    if (!kvli_is_schema(line, "kvlab.sweep/1")) {
        return;
    }
    report->title = kvli_get_text(g, line, "title");
    report->protocol = kvli_get_text(g, line, "protocol");
    report->how = kvli_get_text(g, line, "how");
    r->has_mean_ppl = kvli_get_bool(g, line, "has_mean_ppl");
    read_notes(g, line, report);
    if (g->status == KVL_OK) {
        g->status = kvli_order_records(&r->cells->records, line, g->err);
    }
}

/* Words and order; of a sweep that has not ended there are none, and records have an order of their own. */
static kvl_status read_words(kvli_gather *g, kvl_store *store, reading *r) {
    const kvl_content *c = g->content;
    finder f = {.group = c->group};
    kvl_report *report = &r->cells->report;
    kvl_status status = kvl_store_each_document(store, take_sweep, &f, g->err);
    report->title = c->model;
    report->protocol = c->protocol_name;
    report->how = report->command = "";
    if (status == KVL_OK && f.found.kind != NULL) {
        g->document = &f.found;
        report->command = kvli_own_text(g, f.found.command);
        kvli_each_line(g, read_sweep, r);
        status = g->status;
    } else if (status == KVL_OK) {
        status = kvli_order_records(&r->cells->records, NULL, g->err);
    }
    kvl_document_free(&f.found);
    return status;
}

kvl_status kvli_gather_sweep(kvli_gather *g, kvl_store *store) {
    kvl_content *c = g->content;
    struct kvli_sweep_cells *s = c->cells = kvl_calloc(1, sizeof *s);
    reading r = {.cells = s};
    if (s == NULL) {
        return kvl_fail_nomem(g->err, "report");
    }
    KVL_TRY(kvl_store_list(store, c->group, &s->records, g->err));
    if (s->records.n == 0) {
        return KVL_OK;
    }
    KVL_TRY(read_words(g, store, &r));
    KVL_TRY(kvl_rows_make(&s->rows, &s->records, r.has_mean_ppl, load_nll, store, g->err));
    kvl_rows_report(&s->report, &s->rows);
    KVL_TRY(note_left_out(g, s));
    c->sweep = &s->report;
    return KVL_OK;
}
