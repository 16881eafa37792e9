/* The curve table for terminals and as Markdown: one list of cells, two frames. */
#include "report/report_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { n_columns = 12, cell_bytes = 96 };

static const struct {
    const char *head;
    int width; /* columns on a terminal */
    bool is_left;
} columns[n_columns] = {
    {"keep", 5, false},
    {"evicted", 7, false},
    {"PPL", 8, false},
    {"change", 9, false},
    {"", 1, true},
    {"stage", 15, true},
    {"ΔNLL [95 % interval]", 26, true},
    {"scored", 6, false},
    {"kept min/mean/max", 17, false},
    {"KV KiB", 8, false},
    {"period", 6, false},
    {"", 1, true},
};

static void pad(kvl_str *out, int n) {
    for (int i = 0; i < n; i++) {
        kvl_str_puts(out, " ");
    }
}

/* Pipes would end a Markdown cell; control characters drive terminals. */
static void put_safe(kvl_str *out, const char *text, bool is_markdown) {
    while (*text != '\0') {
        const size_t n_control = kvl_control_bytes(text);
        if (is_markdown && strchr("|<>\\`*_", *text) != NULL) {
            kvl_str_puts(out, "\\");
        }
        kvl_str_append(out, n_control != 0 ? "?" : text, 1);
        text += n_control != 0 ? n_control : 1;
    }
}

/* Direction of the pooled NLL against the row above of the same press; a change below 0.5 % is level. */
static const char *trend(const kvl_report *r, size_t i) {
    const kvl_report_row *row = &r->rows[i];
    if (i == 0 || row->is_baseline || r->rows[i - 1].is_baseline ||
        strcmp(r->rows[i - 1].press, row->press) != 0) {
        return " ";
    }
    double ratio = row->ppl / r->rows[i - 1].ppl;
    return ratio > 1.005 ? "↑" : ratio < 0.995 ? "↓" : "→";
}

static void fill_cells(char cells[n_columns][cell_bytes], const kvl_report *r, size_t i) {
    const kvl_report_row *row = &r->rows[i];
    bool is_plain = row->is_baseline;
    memset(cells, 0, (size_t)n_columns * cell_bytes);
    snprintf(cells[0], cell_bytes, "%.4g", row->keep_ratio);
    snprintf(cells[1], cell_bytes, "%.4g %%", 100.0 * (1.0 - row->keep_ratio));
    snprintf(cells[2], cell_bytes, "%.2f", row->ppl);
    /* a difference below the last digit has no sign */
    double change = fabs(row->change_percent) < 0.05 ? 0.0 : row->change_percent;
    snprintf(cells[3], cell_bytes, is_plain ? "-" : "%+.1f %%", change);
    snprintf(cells[4], cell_bytes, "%s", trend(r, i));
    snprintf(cells[5], cell_bytes, "%s",
             !is_plain && !row->has_evicted ? "nothing evicted" : kvl_stage_name(row->stage));
    if (!is_plain && row->delta.has_interval) {
        snprintf(cells[6], cell_bytes, "%+.4f [%+.4f, %+.4f]", row->delta.mean, row->delta.low,
                 row->delta.high);
    } else {
        snprintf(cells[6], cell_bytes, is_plain ? "-" : "%+.4f", row->delta.mean);
    }
    snprintf(cells[7], cell_bytes, "%zu", row->n_scored);
    snprintf(cells[8], cell_bytes, "%zu/%.1f/%zu", row->kept_min, row->kept_mean, row->kept_max);
    snprintf(cells[9], cell_bytes, "%.1f", (double)row->kv_bytes / 1024.0);
    snprintf(cells[10], cell_bytes, row->period_tok > 0 ? "%.3g" : "-", row->period_tok);
    snprintf(cells[11], cell_bytes, "%s", !is_plain && kvli_is_inside(row) ? "≈" : "");
}

static void write_line(kvl_str *out, char cells[n_columns][cell_bytes], bool is_markdown) {
    kvl_str_puts(out, is_markdown ? "|" : "");
    for (int c = 0; c < n_columns; c++) {
        int gap = columns[c].width - (int)kvl_text_columns(cells[c]);
        if (is_markdown) {
            kvl_str_printf(out, " %s |", cells[c]);
            continue;
        }
        pad(out, columns[c].is_left ? 0 : gap);
        kvl_str_puts(out, cells[c]);
        pad(out, columns[c].is_left && c + 1 < n_columns ? gap : 0);
        kvl_str_puts(out, c + 1 < n_columns ? "  " : "");
    }
    while (!is_markdown && out->len != 0 && out->data[out->len - 1] == ' ') {
        out->data[--out->len] = '\0';
    }
    kvl_str_puts(out, "\n");
}

static void write_head(kvl_str *out, bool is_markdown) {
    char cells[n_columns][cell_bytes];
    for (int c = 0; c < n_columns; c++) {
        snprintf(cells[c], cell_bytes, "%s", columns[c].head);
    }
    write_line(out, cells, is_markdown);
    if (is_markdown) {
        kvl_str_puts(out, "|");
        for (int c = 0; c < n_columns; c++) {
            kvl_str_puts(out, columns[c].is_left ? "---|" : "---:|");
        }
        kvl_str_puts(out, "\n");
    }
}

static bool has_several_presses(const kvl_report *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_rows; i = kvli_group_end(r, i)) {
        n += !r->rows[i].is_baseline;
    }
    return n > 1;
}

static void write_note(kvl_str *out, const char *label, const char *text, bool is_markdown) {
    kvl_str_printf(out, "%s%s", is_markdown ? "- " : "", label);
    put_safe(out, text, is_markdown);
    kvl_str_puts(out, "\n");
}

void kvli_write_table(kvl_str *out, const kvl_report *r, bool is_markdown) {
    bool is_grouped = has_several_presses(r);
    kvl_str_puts(out, is_markdown ? "## " : "");
    put_safe(out, r->title, is_markdown);
    kvl_str_puts(out, is_markdown ? "\n\n" : "\n");
    put_safe(out, r->protocol, is_markdown);
    kvl_str_puts(out, "\n\n");
    write_head(out, is_markdown);
    for (size_t i = 0; i < r->n_rows; i++) {
        char cells[n_columns][cell_bytes];
        bool is_first = i == 0 || strcmp(r->rows[i].press, r->rows[i - 1].press) != 0;
        fill_cells(cells, r, i);
        if (is_grouped && is_first && is_markdown) {
            kvl_str_printf(out, "| **%s** |%s\n", r->rows[i].press, " | | | | | | | | | | |");
        } else if (is_grouped && is_first) {
            put_safe(out, r->rows[i].press, false);
            kvl_str_puts(out, "\n");
        }
        write_line(out, cells, is_markdown);
    }
    kvl_str_puts(out, "\n");
    kvli_write_reading(out, r);
    kvl_str_puts(out, is_markdown ? "\n" : "");
    for (size_t i = 0; i < r->n_notes; i++) {
        write_note(out, "note: ", r->notes[i], is_markdown);
    }
    if (r->how[0] != '\0') { /* cells of a sweep that has not ended tell neither */
        write_note(out, "", r->how, is_markdown);
    }
    if (r->command[0] != '\0') {
        write_note(out, "again: ", r->command, is_markdown);
    }
}

void kvl_report_write(kvl_str *out, const kvl_report *r, kvl_format format) {
    switch (format) {
    case KVL_FORMAT_CSV: kvli_write_csv(out, r); break;
    case KVL_FORMAT_JSON: kvli_write_json(out, r); break;
    default: kvli_write_table(out, r, format == KVL_FORMAT_MD); break;
    }
}
