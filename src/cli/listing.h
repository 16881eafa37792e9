/* Lists that commands print: a row after the other, as a table for people, Markdown, CSV or JSON lines. */
#ifndef KVL_CLI_LISTING_H
#define KVL_CLI_LISTING_H

#include "base/texts.h"

typedef enum kvl_listing_format {
    KVL_LISTING_TABLE,
    KVL_LISTING_MD,
    KVL_LISTING_CSV,
    KVL_LISTING_JSONL
} kvl_listing_format;

typedef struct kvl_listing_column {
    const char *name;
    bool is_number; /* stands right; no quotes in JSON, where an empty cell is null */
} kvl_listing_column;

typedef struct kvl_listing {
    const kvl_listing_column *columns; /* [n_columns] */
    size_t n_columns;
    kvl_texts cells;
} kvl_listing;

/* Adds the next cell, row by row; errors stick. */
void kvl_listing_add(kvl_listing *l, const char *fmt, ...) KVL_PRINTF(2, 3);
/* A number with all its digits; empty where it is not finite. */
void kvl_listing_add_real(kvl_listing *l, double x);
/* Appends the list with the names of its columns. In tables control characters are shown as '?'; in CSV a
 * cell that a spreadsheet would take for a formula (= + - @ at its beginning, and no number) gets a ' in
 * front. E_NOMEM. */
kvl_status kvl_listing_write(kvl_str *out, const kvl_listing *l, kvl_listing_format format,
                             kvl_err *err) KVL_MUST_USE;
void kvl_listing_free(kvl_listing *l);

#endif
