/* Records as a matrix: policies by samples. */
#ifndef KVL_REPORT_ROWS_INT_H
#define KVL_REPORT_ROWS_INT_H

#include "report/rows.h"

typedef struct kvli_matrix {
    const kvl_record **cells;    /* [n_policies, n_samples]; the baseline first */
    const kvl_record **one_pass; /* [n_samples], or NULL: the protocol has none */
    size_t *cluster;             /* [n_samples] */
    size_t n_policies, n_samples, n_clusters;
    size_t n_left_out;
} kvli_matrix;

kvl_status kvli_matrix_make(kvli_matrix *out, const kvl_records *records, kvl_err *err) KVL_MUST_USE;
void kvli_matrix_free(kvli_matrix *m);

static inline const kvl_record *kvli_matrix_cell(const kvli_matrix *m, size_t policy, size_t sample) {
    return m->cells[policy * m->n_samples + sample];
}

/* Name of a policy's curve: its press, and those keys in which policies of the same press differ (but the
 * budget). */
void kvli_name_curve(kvl_str *out, const kvli_matrix *m, size_t policy);
/* Keep ratio of a policy: its own; for fixed sizes and bytes the share of what the mean text has; for
 * outcomes what they were. */
double kvli_keep_of(const kvli_matrix *m, size_t policy);

#endif
