/* Passages in the making, and figures in words. */
#include "report/analysis_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- passages ---- */

static void passage_free(kvl_passage *p) {
    for (size_t i = 0; p->cells != NULL && i < p->n_rows * p->n_columns; i++) {
        kvl_free(p->cells[i]);
    }
    kvl_free(p->cells);
    kvl_free(p->text);
    *p = (kvl_passage){0};
}

void kvl_passages_free(kvl_passages *b) {
    for (size_t i = 0; i < b->n; i++) {
        passage_free(&b->items[i]);
    }
    kvl_free(b->items);
    *b = (kvl_passages){0};
}

/* A new one at the end, with the text of the line; NULL without memory. */
static kvl_passage *add(kvli_say *s, kvl_passage_kind kind) {
    kvl_passages *p = s->out;
    kvl_passage *items = kvl_resize(p->items, p->n, p->n + 1, sizeof *items);
    if (items == NULL) {
        s->failed = true;
        return NULL;
    }
    p->items = items;
    kvl_passage *item = &items[p->n++];
    *item = (kvl_passage){.kind = kind, .text = kvl_strndup(kvl_str_text(&s->line), s->line.len)};
    s->failed = s->failed || s->line.failed || item->text == NULL;
    kvl_str_clear(&s->line);
    return item->text != NULL ? item : NULL;
}

void kvli_say_end(kvli_say *s, kvl_passage_kind kind) {
    if (s->line.len != 0) {
        add(s, kind);
    }
}

void kvli_head(kvli_say *s, const char *en, const char *zh) {
    kvl_str_puts(&s->line, kvl_word(s->lang, en, zh));
    kvli_say_end(s, KVL_PASSAGE_HEAD);
}

void kvli_space(kvl_str *out, kvl_lang lang) {
    if (lang != KVL_ZH && out->len != 0 && out->data[out->len - 1] != ' ') {
        kvl_str_puts(out, " ");
    }
}

void kvli_say_cell(kvli_say *s, const char *text) {
    kvl_str_append(&s->cells, text, strlen(text) + 1);
    s->n_cells++;
}

void kvli_say_table(kvli_say *s, size_t n_columns) {
    const size_t n_cells = s->n_cells;
    kvl_passage *item = n_cells > n_columns ? add(s, KVL_PASSAGE_TABLE) : NULL;
    const char *cell = kvl_str_text(&s->cells);
    if (item != NULL) {
        item->cells = kvl_calloc(n_cells, sizeof *item->cells);
        item->n_columns = n_columns;
        item->n_rows = item->cells != NULL ? n_cells / n_columns : 0;
        s->failed = s->failed || s->cells.failed || item->cells == NULL;
        for (size_t i = 0; !s->failed && i < item->n_rows * n_columns; i++) {
            item->cells[i] = kvl_strdup(cell);
            s->failed = item->cells[i] == NULL;
            cell += strlen(cell) + 1;
        }
    }
    kvl_str_clear(&s->line);
    kvl_str_clear(&s->cells);
    s->n_cells = 0;
}

void kvli_put_missing(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *en, const char *zh,
                      const char *command) {
    kvli_space(out, lang);
    kvl_str_printf(out, "%s%s`", kvl_word(lang, en, zh), kvl_word(lang, ": ", "，可运行 "));
    kvl_command_for(out, c, command);
    kvl_str_puts(out, kvl_word(lang, "`.", "`。"));
}

void kvli_missing(kvli_say *s, const char *en, const char *zh, const char *command) {
    kvli_put_missing(&s->line, s->content, s->lang, en, zh, command);
}

/* ---- figures ---- */

bool kvli_is_told(const kvl_estimate *e) {
    return e->has_interval && !e->is_few && isfinite(e->mean) && isfinite(e->low) && isfinite(e->high);
}

bool kvli_is_above(const kvl_estimate *e, double bound) { return kvli_is_told(e) && e->low > bound; }

bool kvli_is_below(const kvl_estimate *e, double bound) { return kvli_is_told(e) && e->high < bound; }

kvli_words kvli_nats(const kvl_estimate *e) {
    kvli_words w = {"n/a"};
    if (kvli_is_told(e)) {
        snprintf(w.text, sizeof w.text, "%+.3f [%+.3f, %+.3f]", e->mean, e->low, e->high);
    } else if (isfinite(e->mean)) {
        snprintf(w.text, sizeof w.text, "%+.3f", e->mean);
    }
    return w;
}

/* Nats to percent; large ones without digits that nobody reads. */
static void put_percent(char *out, size_t size, double nats) {
    const double percent = 100 * expm1(nats);
    snprintf(out, size, fabs(percent) < 100 ? "%+.1f" : "%+.0f", percent);
}

kvli_words kvli_ppl_change(const kvl_estimate *e) {
    kvli_words w = {"n/a"};
    char mean[24], low[24], high[24];
    put_percent(mean, sizeof mean, e->mean);
    put_percent(low, sizeof low, e->low);
    put_percent(high, sizeof high, e->high);
    if (kvli_is_told(e)) {
        snprintf(w.text, sizeof w.text, "%s %% [%s, %s]", mean, low, high);
    } else if (isfinite(e->mean)) {
        snprintf(w.text, sizeof w.text, "%s %%", mean);
    }
    return w;
}

kvli_words kvli_share(const kvl_estimate *e) {
    kvli_words w = {"n/a"};
    if (kvli_is_told(e)) {
        snprintf(w.text, sizeof w.text, "%.0f %% [%.0f, %.0f]", 100 * e->mean, 100 * e->low, 100 * e->high);
    } else if (isfinite(e->mean)) {
        snprintf(w.text, sizeof w.text, "%.0f %%", 100 * e->mean);
    }
    return w;
}

kvli_words kvli_size(double n_bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    kvli_words w;
    size_t unit = 0;
    while (n_bytes >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        n_bytes /= 1024;
        unit++;
    }
    snprintf(w.text, sizeof w.text, unit == 0 || n_bytes >= 100 ? "%.0f %s" : "%.3g %s", n_bytes,
             units[unit]);
    return w;
}

kvli_words kvli_keep(const kvl_report_row *row) {
    kvli_words w;
    if (row->keep_ratio > 0 && row->keep_ratio <= 1) {
        snprintf(w.text, sizeof w.text, "%.4g", row->keep_ratio);
    } else {
        snprintf(w.text, sizeof w.text, "%.60s", row->policy);
    }
    return w;
}

kvli_words kvli_period(kvl_lang lang, double period_tok) {
    kvli_words w;
    if (period_tok == 1) {
        snprintf(w.text, sizeof w.text, "%s", kvl_word(lang, "every token", "每个 token"));
    } else if (lang == KVL_ZH) {
        snprintf(w.text, sizeof w.text, "每 %.3g 个 token", period_tok);
    } else {
        snprintf(w.text, sizeof w.text, "every %.3g tokens", period_tok);
    }
    return w;
}
