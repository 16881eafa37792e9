/* What the files of the report room share. */
#ifndef KVL_REPORT_REPORT_INT_H
#define KVL_REPORT_REPORT_INT_H

#include "report/report.h"

/* Characters that are not seen but act: controls, ends of lines, and those that turn what follows. */
bool kvli_is_hidden(int32_t c);

/* End of the run of rows with the press of row `first`. */
size_t kvli_group_end(const kvl_report *r, size_t first);
/* Whether the interval of the row's difference holds 0. */
bool kvli_is_inside(const kvl_report_row *row);
/* Rows of highest and lowest ΔNLL among those that evicted; `end` when none did. */
void kvli_group_extremes(const kvl_report *r, size_t first, size_t end, size_t *worst, size_t *best);
/* p of each row's difference, adjusted by Holm for all that evicted: [n_rows], to be freed; NULL without
 * memory. NAN: not of them. */
double *kvli_adjusted(const kvl_report *r);
/* Appends the reading in plain words. */
void kvli_write_reading(kvl_str *out, const kvl_report *r);

void kvli_write_table(kvl_str *out, const kvl_report *r, bool is_markdown);
void kvli_write_csv(kvl_str *out, const kvl_report *r);
void kvli_write_json(kvl_str *out, const kvl_report *r);

#endif
