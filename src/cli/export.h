/* Formats of `kvlab export`, and tables of stored cells. */
#ifndef KVL_CLI_EXPORT_H
#define KVL_CLI_EXPORT_H

#include "base/str.h"
#include "report/report.h"
#include "store/store.h"

/* A line for each cell of a group (NULL: of all), its columns as members of a record. */
kvl_status kvl_export_csv(kvl_str *out, kvl_store *store, const char *group, kvl_err *err) KVL_MUST_USE;
/* The table of a group, as kvlab sweep prints it, in a format of kvl_report_write. */
kvl_status kvl_export_table(kvl_str *out, kvl_store *store, const char *group, kvl_format format,
                            kvl_err *err) KVL_MUST_USE;
/* A results_*.json as lm-evaluation-harness 0.4.13 writes it for each policy of a group, below `folder`;
 * appends their paths to `out`. Metrics that it does not define have the protocol in their names. */
kvl_status kvl_export_lm_eval(kvl_str *out, kvl_store *store, const kvl_store_group *group,
                              const char *folder, kvl_err *err) KVL_MUST_USE;
#endif
