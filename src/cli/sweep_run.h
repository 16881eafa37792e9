/* A finished sweep with all that describes it: what the printers of `kvlab sweep` share. */
#ifndef KVL_CLI_SWEEP_RUN_H
#define KVL_CLI_SWEEP_RUN_H

#include "base/json.h"
#include "cli/sweep_options.h"
#include "protocol/sweep.h"
#include "report/rows.h"
#include "text/tokenizer.h"

typedef struct kvl_sweep_run_info {
    const kvl_sweep_options *options;
    const kvl_engine *engine;
    const kvl_samples *texts;
    const kvl_samples *samples; /* what was run: the texts, or windows of them */
    const kvl_tokenizer *tokenizer;
    uint64_t tokenizer_hash;
    kvl_protocol protocol; /* after cutting */
    kvl_window_rule rule;  /* the same of windows */
    bool has_mean_ppl;     /* PPL is the mean of the texts' PPLs, as published */
    kvl_sweep sweep;
    size_t rows_computed, rows_naive, n_waves; /* of it, with what was recalled from a store */
    size_t *n_bytes;        /* [n_samples] of text that the scored tokens are, 0: not known; or NULL */
    size_t *one_pass_bytes; /* the same of the one-pass baseline */
    size_t *text_bytes; /* [n_samples] as in kvl_record.n_text_bytes; SIZE_MAX: not counted yet; or NULL */
    kvl_str notes[16];  /* what the reader must know */
    size_t n_notes;
    const char *command;
} kvl_sweep_run_info;

/* Adds a note; silently drops it when 16 are there. */
kvl_str *kvl_sweep_add_note(kvl_sweep_run_info *info);

/* A report with all that it points into; free with kvl_sweep_report_free. */
typedef struct kvl_sweep_report {
    kvl_report report;
    kvl_records records;
    kvl_rows rows;
    const char *notes[16];
    kvl_str title, protocol, how;
} kvl_sweep_report;

/* Cells -> records -> rows: means, paired intervals, stages. */
kvl_status kvl_sweep_report_make(kvl_sweep_report *out, kvl_sweep_run_info *info, kvl_err *err) KVL_MUST_USE;
void kvl_sweep_report_free(kvl_sweep_report *r);

/* One JSON object per cell and line (schema kvlab.cell/1); and the per-token NLLs (schema kvlab.nll/1). */
kvl_status kvl_sweep_write_cells(kvl_str *out, const kvl_sweep_run_info *info, kvl_err *err) KVL_MUST_USE;
/* The same object of one cell whose sample's baseline is known; NULL without memory. */
json_t *kvl_sweep_cell_object(const kvl_sweep_run_info *info, const kvl_cell *cell, kvl_record_role role);
kvl_status kvl_sweep_write_nll(kvl_str *out, const kvl_sweep_run_info *info, kvl_err *err) KVL_MUST_USE;

#endif
