/* Records of cells -> the rows of a report: means, paired intervals, stages.
 *
 * The same code makes them right after a sweep and from a store, so that every printed figure can be made
 * again from what is stored.
 */
#ifndef KVL_REPORT_ROWS_H
#define KVL_REPORT_ROWS_H

#include "report/report.h"
#include "store/store.h"

/* Rows and their strings. Names of texts are borrowed from the records. */
typedef struct kvl_rows {
    kvl_report_row *rows;      /* [n_rows] baseline first */
    kvl_report_text *per_text; /* [n_rows, n_texts] */
    kvl_str *texts;            /* [2 * n_rows] press and policy */
    size_t n_rows, n_texts;
    size_t n_left_out; /* policies without a record on each sample */
    size_t block_tokens, n_resamples;
    uint64_t seed;
    bool has_mean_ppl;
} kvl_rows;

/* Reads the NLLs of a record: nll [n_scored]. */
typedef kvl_status kvl_rows_load(void *ud, const kvl_record *record, double *nll, kvl_err *err);

/* Makes a row of every policy that has a record on all samples. Samples are those of the baseline's records;
 * samples and policies come in the order in which the list first names them. Samples of a text that follow
 * each other are one cluster.
 *   records       of one group; NLLs are not looked at, except
 *   load          for those of one long text, whose blocks are its clusters
 *   has_mean_ppl  PPL is the mean of the samples' PPLs, not that of all tokens
 * Errors: E_STORE where the records have no baseline, E_NOMEM, those of load. *out is the caller's
 * (kvl_rows_free), also after an error. */
kvl_status kvl_rows_make(kvl_rows *out, const kvl_records *records, bool has_mean_ppl, kvl_rows_load *load,
                         void *ud, kvl_err *err) KVL_MUST_USE;
void kvl_rows_free(kvl_rows *r);
/* Puts rows, texts and method into a report; its words are the caller's. */
void kvl_rows_report(kvl_report *report, const kvl_rows *r);

#endif
