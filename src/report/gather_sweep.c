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

static kvl_status take_sweep(void *ud, const kvl_document *d, kvl_err *err) {
    finder *f = ud;
    if (strcmp(d->kind, "sweep") != 0 || strcmp(d->group, f->group) != 0) {
        return KVL_OK;
    }
    kvl_document_free(&f->found);
    f->found = (kvl_document){.kind = kvl_strdup(d->kind),
                              .model = kvl_strdup(d->model),
                              .command = kvl_strdup(d->command),
                              .lines = kvl_strndup(d->lines, d->n_bytes),
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

/* A table has the texts of all sweeps of the group, and the policies with a cell on each: of sweeps of
 * different texts, or one that was stopped, that is not what the newest would print, and a reader must know.
 */
static kvl_status note_sweeps(kvli_gather *g, struct kvli_sweep_cells *s, size_t n_other_texts) {
    kvl_str other = {0};
    kvl_str left_out = {0};
    kvl_str_printf(&other,
                   "samples of other sweeps are in it too: %zu; the protocol's line and the command are the "
                   "newest sweep's",
                   n_other_texts);
    kvl_str_printf(&left_out,
                   "left out, without a cell on each of the %zu texts stored: %zu of %zu policies; the sweep "
                   "was stopped, or others had other texts",
                   s->report.n_samples, s->rows.n_left_out, s->rows.n_left_out + s->rows.n_rows);
    kvl_status status = KVL_OK;
    KVL_GO(kvl_str_check(&other, "report", g->err));
    KVL_GO(kvl_str_check(&left_out, "report", g->err));
    if (n_other_texts != 0) {
        add_note(g, &s->report, &other);
    }
    if (s->rows.n_left_out != 0) {
        add_note(g, &s->report, &left_out);
    }
    status = g->status;
done:
    kvl_str_free(&other);
    kvl_str_free(&left_out);
    return status;
}

/* How many samples have a full cache and are none of the sweep's; 0 where it names none. */
static size_t count_others(const kvl_records *records, const json_t *samples) {
    size_t n = 0;
    for (size_t i = 0; json_array_size(samples) != 0 && i < records->n; i++) {
        const kvl_record *r = &records->items[i];
        bool is_own = r->role != KVL_ROLE_BASELINE;
        for (size_t k = 0; !is_own && k < json_array_size(samples); k++) {
            const char *name = json_string_value(json_array_get(samples, k));
            is_own = name != NULL && strcmp(name, r->sample) == 0;
        }
        n += !is_own;
    }
    return n;
}

typedef struct reading {
    struct kvli_sweep_cells *cells;
    bool has_mean_ppl;
    size_t n_other_texts; /* samples that the newest sweep does not have */
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
    r->n_other_texts = count_others(&r->cells->records, json_object_get(line, "samples"));
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
    KVL_TRY(note_sweeps(g, s, r.n_other_texts));
    c->sweep = &s->report;
    return KVL_OK;
}
