/* Cells -> the rows of the curve table. */
#include "cli/sweep_protocol.h"
#include "cli/sweep_records.h"
#include "cli/sweep_run.h"

#include <string.h>

kvl_str *kvl_sweep_add_note(kvl_sweep_run_info *info) {
    static const size_t n_max = sizeof info->notes / sizeof info->notes[0];
    return info->n_notes < n_max ? &info->notes[info->n_notes++] : NULL;
}

/* NLLs of a record, which stands where its cell does. */
typedef struct loader {
    const kvl_sweep *sweep;
    const kvl_records *records;
} loader;

static kvl_status load_nll(void *ud, const kvl_record *r, double *nll, kvl_err *err) {
    (void)err;
    const loader *l = ud;
    const kvl_sweep *s = l->sweep;
    const size_t index = (size_t)(r - l->records->items);
    const size_t n_one_pass = s->one_pass != NULL ? s->n_samples : 0;
    const kvl_cell *c = index < n_one_pass ? &s->one_pass[index] : &s->cells[index - n_one_pass];
    memcpy(nll, c->nll, c->n_scored * sizeof *nll);
    return KVL_OK;
}

static void describe(kvl_sweep_report *out, const kvl_sweep_run_info *info) {
    char cache[KVL_CACHE_TEXT];
    const kvl_model *model = kvl_engine_model(info->engine);
    const char *other = kvl_sweep_other_protocol(info->options);
    kvl_str_printf(&out->title, "%s%s%s on %s", info->options->preset->name, other[0] != '\0' ? " by " : "",
                   other, model->name);
    kvl_sweep_describe_protocol(&out->protocol, info);
    kvl_cache_text(cache, &model->shape);
    kvl_str_printf(&out->how,
                   "kvlab %s, %s, %u thread%s, %s (stored %s), cache %s, model hash %016llx; identity "
                   "check passed; %zu tokens "
                   "computed, %zu if every cell ran alone",
                   KVL_VERSION, kvl_engine_isa(info->engine), kvl_engine_threads(info->engine),
                   kvl_engine_threads(info->engine) == 1 ? "" : "s", kvl_arith_name(model->arith),
                   model->stored_dtype, cache, (unsigned long long)model->hash, info->rows_computed,
                   info->rows_naive);
    if (info->n_waves > 1) {
        kvl_str_printf(&out->how, ", in %zu waves", info->n_waves);
    }
    for (size_t i = 0; i < info->n_notes; i++) {
        out->notes[i] = kvl_str_text(&info->notes[i]);
    }
    out->report = (kvl_report){
        .title = kvl_str_text(&out->title),
        .protocol = kvl_str_text(&out->protocol),
        .how = kvl_str_text(&out->how),
        .command = info->command,
        .notes = out->notes,
        .n_notes = info->n_notes,
    };
    kvl_rows_report(&out->report, &out->rows);
}

kvl_status kvl_sweep_report_make(kvl_sweep_report *out, kvl_sweep_run_info *info, kvl_err *err) {
    loader l = {.sweep = &info->sweep, .records = &out->records};
    *out = (kvl_sweep_report){0};
    kvl_status status = kvl_sweep_records(&out->records, info, err);
    KVL_GO(status);
    KVL_GO(kvl_rows_make(&out->rows, &out->records, info->has_mean_ppl, load_nll, &l, err));
    describe(out, info);
    KVL_GO(kvl_str_check(&out->how, "report", err));
done:
    if (status != KVL_OK) {
        kvl_sweep_report_free(out);
    }
    return status;
}

void kvl_sweep_report_free(kvl_sweep_report *r) {
    kvl_rows_free(&r->rows);
    kvl_records_free(&r->records);
    kvl_str_free(&r->title);
    kvl_str_free(&r->protocol);
    kvl_str_free(&r->how);
    *r = (kvl_sweep_report){0};
}
