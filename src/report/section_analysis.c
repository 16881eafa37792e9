/* The written analysis: what the statements of this run come to. */
#include "report/page.h"

#include "base/alloc.h"

#include <string.h>

static bool has(const kvl_content *c) {
    return c->sweep != NULL || c->cause != NULL || c->time != NULL || c->needle != NULL || c->choice != NULL;
}

/* Columns of numbers stand right: all cells behind the head begin with a digit or a sign, or are empty. */
static bool is_numeric(const kvl_passage *t, size_t column) {
    for (size_t r = 1; r < t->n_rows; r++) {
        const char c = t->cells[r * t->n_columns + column][0];
        if (c != '\0' && strchr("0123456789+-", c) == NULL) {
            return false;
        }
    }
    return t->n_rows > 1;
}

static kvl_status put_table(kvl_page *p, const kvl_passage *t, kvl_err *err) {
    bool *is_number = kvl_calloc(t->n_columns, sizeof *is_number);
    if (is_number == NULL) {
        return kvl_fail_nomem(err, "analysis");
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        is_number[c] = is_numeric(t, c);
    }
    const char *const *cells = (const char *const *)t->cells;
    if (t->n_rows != 0) {
        kvl_page_table(p, t->text, cells, is_number, t->n_columns, cells + t->n_columns, t->n_rows - 1);
    }
    kvl_free(is_number);
    return KVL_OK;
}

static void put_element(kvl_page *p, const char *tag, const char *text) {
    kvl_str_printf(p->out, "<%s>", tag);
    kvl_html_prose(p->out, text);
    kvl_str_printf(p->out, "</%s>\n", tag);
}

static kvl_status put_passages(kvl_page *p, const kvl_passages *passages, kvl_err *err) {
    bool is_list = false;
    for (size_t i = 0; i < passages->n; i++) {
        const kvl_passage *item = &passages->items[i];
        if ((item->kind == KVL_PASSAGE_ITEM) != is_list) {
            kvl_str_puts(p->out, is_list ? "</ul>\n" : "<ul>\n");
            is_list = !is_list;
        }
        switch (item->kind) {
        case KVL_PASSAGE_HEAD: put_element(p, "h3", item->text); break;
        case KVL_PASSAGE_TEXT: kvl_page_paragraph(p, item->text); break;
        case KVL_PASSAGE_ITEM: put_element(p, "li", item->text); break;
        case KVL_PASSAGE_TABLE: KVL_TRY(put_table(p, item, err)); break;
        }
    }
    kvl_str_puts(p->out, is_list ? "</ul>\n" : "");
    return KVL_OK;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_passages passages = {0};
    kvl_status status = kvl_analysis_make(&passages, p->content, p->lang, err);
    if (status == KVL_OK) {
        status = put_passages(p, &passages, err);
    }
    kvl_passages_free(&passages);
    return status;
}

const kvl_section kvli_section_analysis = {
    .id = "analysis", .title_en = "Analysis", .title_zh = "分析", .has = has, .write = write};
