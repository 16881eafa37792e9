/* The cells of a table of a page, written one after the other. */
#ifndef KVL_REPORT_CELLS_H
#define KVL_REPORT_CELLS_H

#include "base/texts.h"
#include "report/section.h"

typedef struct kvli_column {
    const char *head_en, *head_zh;
    bool is_number;
} kvli_column;

/* Adds a cell, row by row; errors stick. A long one ends in an ellipsis. */
void kvli_cell(kvl_texts *c, const char *fmt, ...) KVL_PRINTF(2, 3);
/* "+0.1234 [+0.1000, +0.1500]"; without an interval the number alone; a dash for NAN. */
void kvli_cell_estimate(kvl_texts *c, const kvl_estimate *e, int n_digits);
/* A number, or a dash for NAN. */
void kvli_cell_number(kvl_texts *c, double x, int n_digits);
/* Writes the table, whose rows have n_columns cells, and empties c. E_NOMEM. */
kvl_status kvli_cells_put(kvl_page *p, kvl_texts *c, const char *caption, const kvli_column *columns,
                          size_t n_columns, kvl_err *err) KVL_MUST_USE;

#endif
