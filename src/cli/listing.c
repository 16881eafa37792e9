/* Lists as tables, Markdown, CSV and JSON lines. */
#include "cli/listing.h"

#include "base/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kvl_listing_add(kvl_listing *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    kvl_texts_vadd(&l->cells, fmt, args);
    va_end(args);
}

void kvl_listing_add_real(kvl_listing *l, double x) {
    if (isfinite(x)) {
        kvl_listing_add(l, "%.17g", x);
    } else {
        kvl_listing_add(l, "%s", "");
    }
}

void kvl_listing_free(kvl_listing *l) { kvl_texts_free(&l->cells); }

static const char *cell_at(const kvl_listing *l, size_t i) { return kvl_texts_at(&l->cells, i); }

static size_t n_cells(const kvl_listing *l) { return l->cells.n; }

static void put_plain(kvl_str *out, const char *text, bool is_markdown) {
    while (*text != '\0') {
        const size_t n_control = kvl_control_bytes(text);
        if (is_markdown && strchr("|<\\`", *text) != NULL) {
            kvl_str_puts(out, "\\");
        }
        kvl_str_append(out, n_control != 0 ? "?" : text, 1);
        text += n_control != 0 ? n_control : 1;
    }
}

static void write_table(kvl_str *out, const kvl_listing *l) {
    size_t widths[32] = {0};
    for (size_t c = 0; c < l->n_columns; c++) {
        widths[c] = kvl_text_columns(l->columns[c].name);
        for (size_t i = c; i < n_cells(l); i += l->n_columns) {
            const size_t width = kvl_text_columns(cell_at(l, i));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    for (size_t row = 0; row <= n_cells(l) / l->n_columns; row++) {
        for (size_t c = 0; c < l->n_columns; c++) {
            const char *text = row == 0 ? l->columns[c].name : cell_at(l, (row - 1) * l->n_columns + c);
            const int gap = (int)(widths[c] - kvl_text_columns(text));
            const bool is_last = c + 1 == l->n_columns;
            kvl_str_printf(out, "%s%*s", c != 0 ? "  " : "", l->columns[c].is_number ? gap : 0, "");
            put_plain(out, text, false);
            kvl_str_printf(out, "%*s", l->columns[c].is_number || is_last ? 0 : gap, "");
        }
        kvl_str_puts(out, "\n");
    }
}

static void write_markdown(kvl_str *out, const kvl_listing *l) {
    for (size_t c = 0; c < l->n_columns; c++) {
        kvl_str_printf(out, "| %s ", l->columns[c].name);
    }
    kvl_str_puts(out, "|\n");
    for (size_t c = 0; c < l->n_columns; c++) {
        kvl_str_puts(out, l->columns[c].is_number ? "|---:" : "|---");
    }
    kvl_str_puts(out, "|\n");
    for (size_t i = 0; i < n_cells(l); i++) {
        kvl_str_puts(out, "| ");
        put_plain(out, cell_at(l, i), true);
        kvl_str_puts(out, (i + 1) % l->n_columns == 0 ? " |\n" : " ");
    }
}

/* Whether a spreadsheet would compute the cell: its beginning says so, and it is no plain number. */
static bool is_formula(const char *text) {
    char *end = NULL;
    if (text[0] == '\0' || strchr("=+-@\t\r", text[0]) == NULL) {
        return false;
    }
    (void)strtod(text, &end);
    return end == text || *end != '\0';
}

static void write_csv(kvl_str *out, const kvl_listing *l) {
    for (size_t c = 0; c < l->n_columns; c++) {
        kvl_str_printf(out, "%s%s", c != 0 ? "," : "", l->columns[c].name);
    }
    for (size_t i = 0; i < n_cells(l); i++) {
        const char *text = cell_at(l, i);
        const bool has_guard = is_formula(text);
        const bool has_quotes = has_guard || strpbrk(text, ",\"\r\n") != NULL;
        kvl_str_puts(out, i % l->n_columns == 0 ? "\n" : ",");
        kvl_str_puts(out, has_quotes ? "\"" : "");
        kvl_str_puts(out, has_guard ? "'" : "");
        for (; *text != '\0'; text++) {
            kvl_str_append(out, "\"\"", *text == '"' ? 1 : 0);
            kvl_str_append(out, text, 1);
        }
        kvl_str_puts(out, has_quotes ? "\"" : "");
    }
    kvl_str_puts(out, "\n");
}

static json_t *json_cell(const kvl_listing *l, size_t i) {
    const char *text = cell_at(l, i);
    if (!l->columns[i % l->n_columns].is_number) {
        return json_string(text);
    }
    return text[0] == '\0' ? json_null() : json_loads(text, JSON_DECODE_ANY, NULL);
}

static kvl_status write_lines(kvl_str *out, const kvl_listing *l, kvl_err *err) {
    for (size_t row = 0; row < n_cells(l) / l->n_columns; row++) {
        json_t *o = json_object();
        for (size_t c = 0; c < l->n_columns; c++) {
            json_object_set_new(o, l->columns[c].name, json_cell(l, row * l->n_columns + c));
        }
        KVL_TRY(kvl_json_write(out, o, false, err));
    }
    return KVL_OK;
}

kvl_status kvl_listing_write(kvl_str *out, const kvl_listing *l, kvl_listing_format format, kvl_err *err) {
    KVL_TRY(kvl_str_check(&l->cells.bytes, "list", err));
    switch (format) {
    case KVL_LISTING_MD: write_markdown(out, l); break;
    case KVL_LISTING_CSV: write_csv(out, l); break;
    case KVL_LISTING_JSONL: KVL_TRY(write_lines(out, l, err)); break;
    default: write_table(out, l); break;
    }
    return kvl_str_check(out, "list", err);
}
