/* Writing cells, and the table that they make. */
#include "report/cells.h"

#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static const char dash[] = "–";

void kvli_cell(kvl_texts *c, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    kvl_texts_add(c, "%s%s", n >= 0 ? text : "", n >= (int)sizeof text ? "…" : "");
}

void kvli_cell_number(kvl_texts *c, double x, int n_digits) {
    if (isnan(x)) {
        kvli_cell(c, "%s", dash);
    } else {
        kvli_cell(c, "%.*f", n_digits, x);
    }
}

void kvli_cell_estimate(kvl_texts *c, const kvl_estimate *e, int n_digits) {
    if (isnan(e->mean)) {
        kvli_cell(c, "%s", dash);
    } else if (e->has_interval) {
        kvli_cell(c, "%+.*f [%+.*f, %+.*f]", n_digits, e->mean, n_digits, e->low, n_digits, e->high);
    } else {
        kvli_cell(c, "%+.*f", n_digits, e->mean);
    }
}

static kvl_status put(kvl_page *p, const kvl_texts *c, const char *caption, const kvli_column *columns,
                      size_t n_columns, kvl_err *err) {
    const char **cells = kvl_calloc(c->n + 1, sizeof *cells);
    const char **heads = kvl_calloc(n_columns, sizeof *heads);
    bool *is_number = kvl_calloc(n_columns, sizeof *is_number);
    const bool is_good = cells != NULL && heads != NULL && is_number != NULL;
    for (size_t i = 0; i < c->n && is_good; i++) {
        cells[i] = kvl_texts_at(c, i);
    }
    for (size_t i = 0; i < n_columns && is_good; i++) {
        heads[i] = kvl_word(p->lang, columns[i].head_en, columns[i].head_zh);
        is_number[i] = columns[i].is_number;
    }
    if (is_good) {
        kvl_page_table(p, caption, heads, is_number, n_columns, cells, c->n / n_columns);
    }
    kvl_free(is_number);
    kvl_free(heads);
    kvl_free(cells);
    return is_good ? KVL_OK : kvl_fail_nomem(err, "table");
}

kvl_status kvli_cells_put(kvl_page *p, kvl_texts *c, const char *caption, const kvli_column *columns,
                          size_t n_columns, kvl_err *err) {
    kvl_status status = kvl_str_check(&c->bytes, "table", err);
    if (status == KVL_OK) {
        status = put(p, c, caption, columns, n_columns, err);
    }
    kvl_texts_free(c);
    return status;
}
