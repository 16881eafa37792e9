/* All rows of the sweep with every figure, and what each text says. */
#include "report/phrases.h"
#include "report/cells.h"
#include "report/report_int.h"
#include "report/terms.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

/* Above it a page leaves figures of single texts to the export. */
enum { MOST_TEXT_CELLS = 20000 };

static bool has(const kvl_content *c) { return c->sweep != NULL && c->sweep->n_rows != 0; }

static const char *stage_word(const kvl_report_row *row, kvl_lang lang) {
    if (!row->is_baseline && !row->has_evicted) {
        return kvl_word(lang, "nothing evicted", "未驱逐");
    }
    return kvl_term_stage(lang, row->stage);
}

/* ---- quality ---- */

static kvl_status put_quality(kvl_page *p, const kvl_report *r, kvl_err *err) {
    static const kvli_column columns[] = {
        {"press", "压缩规则", false},
        {"keep", "保留率", true},
        {"PPL", "PPL", true},
        {"PPL change %", "PPL 变化 %", true},
        {"stage", "阶段", false},
        {"ΔNLL [95 %]", "ΔNLL [95 %]", true},
        {"p (Holm)", "p（Holm）", true},
        {"detectable", "可检出", true},
        {"ΔNLL, affected", "ΔNLL（受影响）", true},
    };
    enum { n_columns = sizeof columns / sizeof columns[0] };
    kvl_texts cells = {0};
    double *p_holm = kvli_adjusted(r);
    if (p_holm == NULL) {
        return kvl_fail_nomem(err, "table");
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        kvl_estimate delta = row->delta;
        delta.mean = row->is_baseline ? (double)NAN : delta.mean;
        kvli_cell(&cells, "%s", row->is_baseline ? kvl_word(p->lang, "full cache", "完整缓存") : row->press);
        kvli_cell(&cells, "%.4g", row->keep_ratio);
        kvli_cell_number(&cells, row->ppl, 2);
        kvli_cell(&cells, row->is_baseline ? "–" : "%+.1f", row->change_percent);
        kvli_cell(&cells, "%s", stage_word(row, p->lang));
        kvli_cell_estimate(&cells, &delta, 4);
        kvli_cell(&cells, isnan(p_holm[i]) ? "–" : "%.2g", p_holm[i]);
        kvli_cell_number(&cells, row->is_baseline ? (double)NAN : row->smallest, 4);
        kvli_cell_number(&cells, row->n_affected != 0 ? row->delta_affected.mean : (double)NAN, 4);
    }
    kvl_free(p_holm);
    return kvli_cells_put(
        p, &cells,
        kvl_word(p->lang,
                 "Quality of every row. PPL and its change: as the protocol takes the mean. "
                 "ΔNLL, detectable and affected: nats/token, on the tokens of both.",
                 "每一行的质量。PPL 及其变化：按协议取均值。ΔNLL、可检出与受影响：nats/token，"
                 "与完整缓存比较相同的 token。"),
        columns, n_columns, err);
}

/* ---- what was counted ---- */

static kvl_status put_counts(kvl_page *p, const kvl_report *r, kvl_err *err) {
    static const kvli_column columns[] = {
        {"policy", "策略", false},
        {"evicted %", "驱逐 %", true},
        {"scored", "计分 token", true},
        {"affected", "受影响 token", true},
        {"kept, least", "保留（最少）", true},
        {"mean", "平均", true},
        {"most", "最多", true},
        {"KV KiB", "KV KiB", true},
        {"period", "周期", true},
    };
    enum { n_columns = sizeof columns / sizeof columns[0] };
    kvl_texts cells = {0};
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        kvli_cell(&cells, "%s", row->policy);
        kvli_cell(&cells, "%.4g", 100 * (1 - row->keep_ratio));
        kvli_cell(&cells, "%zu", row->n_scored);
        kvli_cell(&cells, "%zu", row->n_affected);
        kvli_cell(&cells, "%zu", row->kept_min);
        kvli_cell_number(&cells, row->kept_mean, 1);
        kvli_cell(&cells, "%zu", row->kept_max);
        kvli_cell_number(&cells, (double)row->kv_bytes / 1024, 1);
        kvli_cell(&cells, row->period_tok > 0 ? "%.3g" : "–", row->period_tok);
    }
    return kvli_cells_put(
        p, &cells,
        kvl_word(p->lang,
                 "Entries kept per head of compressed layers, live bytes at the end of a "
                 "text, tokens from one compression to the next",
                 "被压缩层每个头保留的条目数、文本结束时的实际字节数、两次压缩之间的 token 数"),
        columns, n_columns, err);
}

/* ---- each text ---- */

static double text_ppl(const kvl_report_text *t) {
    return t->n_scored != 0 ? exp(t->nll_sum / (double)t->n_scored) : (double)NAN;
}

/* Texts down, keep ratios across: rows [first, end) of one press, behind the full cache. */
static kvl_status put_texts_of(kvl_page *p, const kvl_report *r, size_t first, size_t end, kvl_err *err) {
    const size_t n_rows = end - first;
    kvli_column *columns = kvl_calloc(n_rows + 2, sizeof *columns);
    char(*heads)[32] = kvl_calloc(n_rows, sizeof *heads);
    kvl_texts cells = {0};
    kvl_status status = columns != NULL && heads != NULL ? KVL_OK : kvl_fail_nomem(err, "table");
    KVL_GO(status);
    columns[0] = (kvli_column){"text", "文本", false};
    columns[1] = (kvli_column){"full cache", "完整缓存", true};
    for (size_t i = 0; i < n_rows; i++) {
        snprintf(heads[i], sizeof heads[i], "%.4g", r->rows[first + i].keep_ratio);
        columns[i + 2] = (kvli_column){heads[i], heads[i], true};
    }
    for (size_t t = 0; t < r->n_samples; t++) {
        kvli_cell(&cells, "%s", r->rows[first].texts[t].name);
        kvli_cell_number(&cells, r->rows[0].texts != NULL ? text_ppl(&r->rows[0].texts[t]) : (double)NAN, 2);
        for (size_t i = first; i < end; i++) {
            kvli_cell_number(&cells, r->rows[i].texts != NULL ? text_ppl(&r->rows[i].texts[t]) : (double)NAN,
                             2);
        }
    }
    kvl_str_puts(p->out, "<details><summary>");
    kvl_html_text(p->out, r->rows[first].press);
    kvl_str_puts(p->out, "</summary>\n");
    status = kvli_cells_put(p, &cells,
                            kvl_word(p->lang, "PPL of each text, by keep ratio", "每篇文本的 PPL，按保留率"),
                            columns, n_rows + 2, err);
    kvl_str_puts(p->out, "</details>\n");
done:
    kvl_free(columns);
    kvl_free(heads);
    return status;
}

static kvl_status put_texts(kvl_page *p, const kvl_report *r, kvl_err *err) {
    kvl_str_printf(p->out, "<h3>%s</h3>\n", kvl_word(p->lang, "Each text", "每篇文本"));
    if (r->n_rows * r->n_samples > MOST_TEXT_CELLS) {
        kvl_page_paragraph(p, kvl_word(p->lang, "Too many for a page. This command lists them:",
                                       "太多，不适合放在页面里。可用下面的命令列出："));
        kvl_page_command(p, "kvlab export -o csv");
        return KVL_OK;
    }
    for (size_t i = 0; i < r->n_rows;) {
        const size_t end = kvli_group_end(r, i);
        if (!r->rows[i].is_baseline && r->rows[i].texts != NULL) {
            KVL_TRY(put_texts_of(p, r, i, end, err));
        }
        i = end;
    }
    return KVL_OK;
}

/* ---- data ---- */

/* The rows as a file that the page carries itself. */
static kvl_status put_download(kvl_page *p, const kvl_report *r, kvl_err *err) {
    kvl_str csv = {0};
    kvl_report_write(&csv, r, KVL_FORMAT_CSV);
    kvl_str_puts(p->out, "<p><a download=\"rows.csv\" href=\"data:text/csv;charset=utf-8,");
    for (size_t i = 0; i < csv.len; i++) {
        const char c = csv.data[i];
        const bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == ',' || c == '.';
        kvl_str_printf(p->out, is_plain ? "%c" : "%%%02X", (unsigned char)c);
    }
    kvl_str_printf(p->out, "\">%s</a></p>\n",
                   kvl_word(p->lang, "All rows with all digits as CSV", "全部行的 CSV（全部数位）"));
    const kvl_status status = kvl_str_check(&csv, "rows", err);
    kvl_str_free(&csv);
    return status;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_report *r = p->content->sweep;
    kvl_str protocol = {0};
    kvli_put_protocol(&protocol, p->lang, r->protocol);
    kvl_page_paragraph(p, kvl_str_text(&protocol));
    kvl_str_free(&protocol);
    KVL_TRY(put_quality(p, r, err));
    KVL_TRY(put_counts(p, r, err));
    KVL_TRY(put_download(p, r, err));
    return put_texts(p, r, err);
}

const kvl_section kvli_section_tables = {
    .id = "tables", .title_en = "Tables", .title_zh = "表格", .has = has, .write = write};
