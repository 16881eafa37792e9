/* A trace as tables for people, and the picture of one step. */
#include "cli/trace_out.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- tables whose first column is a policy ---- */

typedef struct table {
    kvl_str *out;
    bool is_md;
    int width; /* of the first column */
} table;

static void put_first(const table *t, const char *text) {
    if (t->is_md) {
        kvl_str_printf(t->out, "| %s |", text);
    } else {
        kvl_str_printf(t->out, "  %-*s", t->width, text);
    }
}

static void put_word(const table *t, const char *word) {
    kvl_str_printf(t->out, t->is_md ? " %s |" : " %7s", word);
}

static void put_share(const table *t, double x) {
    char word[32];
    snprintf(word, sizeof word, isnan(x) ? "-" : "%.1f %%", 100 * x);
    put_word(t, word);
}

static void put_plain(const table *t, double x) {
    char word[32];
    snprintf(word, sizeof word, isnan(x) ? "-" : "%.1f", x);
    put_word(t, word);
}

static void put_nats(const table *t, const kvl_tally *x) {
    char word[32];
    snprintf(word, sizeof word, x->n == 0 ? "-" : "%+.3f", x->sum / (double)x->n);
    put_word(t, word);
}

static void begin_table(const table *t, const char *title) {
    kvl_str_printf(t->out, t->is_md ? "\n**%s**\n\n" : "\n%s\n", title);
    put_first(t, "policy");
}

/* After the names of n columns. */
static void end_names(const table *t, size_t n) {
    kvl_str_puts(t->out, t->is_md ? "\n|---|" : "\n");
    for (size_t i = 0; t->is_md && i < n; i++) {
        kvl_str_puts(t->out, "--:|");
    }
    kvl_str_puts(t->out, t->is_md ? "\n" : "");
}

/* ---- the summary ---- */

typedef struct summary {
    table t;
    const kvl_trace *trace;
    const kvl_trace_pick *pick;
    kvl_trace_figures *figures; /* [n_policies] */
} summary;

static const size_t lags[] = {1, 2, 3, 4, 8, 16, 32, 64};
enum { n_lags = sizeof lags / sizeof lags[0] };

typedef void row_fn(const summary *s, const kvl_trace_figures *f, size_t n);

static void put_rows(const summary *s, row_fn *row, size_t n) {
    const size_t end = kvl_pick_end(s->pick->policy, s->trace->n_policies);
    for (size_t p = kvl_max_size(1, kvl_pick_first(s->pick->policy)); p < end; p++) {
        put_first(&s->t, s->trace->policies[p].text);
        row(s, &s->figures[p], n);
        kvl_str_puts(s->t.out, "\n");
    }
}

static void row_of_sight(const summary *s, const kvl_trace_figures *f, size_t n) {
    const kvl_visibility mean = kvl_visibility_mean(&f->seen);
    (void)n;
    for (size_t i = 0; i < n_lags; i++) {
        put_share(&s->t, mean.lags[lags[i] - 1]);
    }
    put_plain(&s->t, mean.run);
    put_plain(&s->t, mean.age);
    put_share(&s->t, mean.old);
    put_share(&s->t, mean.n_newest);
    put_plain(&s->t, mean.n_keys);
    put_nats(&s->t, &f->excess);
}

static void put_sight(const summary *s) {
    static const char *const names[] = {"run", "age", "old", "newest", "keys", "dNLL"};
    enum { n_names = sizeof names / sizeof names[0] };
    begin_table(&s->t, "What queries see: heads (and steps) that hold the key so many tokens before");
    for (size_t i = 0; i < n_lags; i++) {
        char word[32];
        snprintf(word, sizeof word, "lag %zu", lags[i]);
        put_word(&s->t, word);
    }
    for (size_t i = 0; i < n_names; i++) {
        put_word(&s->t, names[i]);
    }
    end_names(&s->t, n_lags + n_names);
    put_rows(s, row_of_sight, 0);
    kvl_str_printf(
        s->t.out,
        "%srun: unbroken from lag 1 on. age: of visible keys, in steps. old: visible keys older than %d "
        "steps. newest: the token just read, dropped at a compression. keys: visible, the "
        "query's own included. dNLL: nats per token above the full cache.\n",
        s->t.is_md ? "\n" : "  ", KVL_OLD_STEPS);
}

static void row_of_phases(const summary *s, const kvl_trace_figures *f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put_nats(&s->t, &f->by_phase[i]);
    }
}

static void row_of_blocks(const summary *s, const kvl_trace_figures *f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put_nats(&s->t, &f->by_block[i]);
    }
}

static void row_of_lost(const summary *s, const kvl_trace_figures *f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put_share(&s->t, f->lost[i].n != 0 ? f->lost[i].sum / (double)f->lost[i].n : (double)NAN);
    }
}

/* A table whose columns are numbers from 0 on, times step. */
static void put_numbered(const summary *s, const char *title, row_fn *row, size_t n, size_t step) {
    begin_table(&s->t, title);
    for (size_t i = 0; i < n; i++) {
        char word[32];
        snprintf(word, sizeof word, "%zu", i * step);
        put_word(&s->t, word);
    }
    end_names(&s->t, n);
    put_rows(s, row, n);
}

static void put_trace(const summary *s) {
    const kvl_trace *t = s->trace;
    kvl_str_printf(s->t.out, "trace of %s (%016llx) by %s: ", t->model, (unsigned long long)t->model_hash,
                   t->made_by);
    if (s->pick->text != SIZE_MAX) {
        kvl_str_puts(s->t.out, t->texts[s->pick->text].name);
    } else {
        kvl_str_printf(s->t.out, "%zu texts", t->n_texts);
    }
    kvl_str_printf(s->t.out, ", %u layers of %u KV heads; steps since the first compression of each text\n",
                   t->n_layers, t->n_kv_heads);
    put_sight(s);
    size_t n_blocks = 0;
    for (size_t p = 0; p < t->n_policies; p++) {
        n_blocks = kvl_max_size(n_blocks, s->figures[p].n_blocks);
    }
    put_numbered(s, "dNLL by steps since the last compression", row_of_phases, KVL_N_PHASES, 1);
    put_numbered(s, "dNLL by the step of the text, from so many on", row_of_blocks, n_blocks,
                 KVL_BLOCK_STEPS);
    put_numbered(s, "Attention lost: what queries give with the full cache to keys that are gone, by layer",
                 row_of_lost, t->n_layers, 1);
}

kvl_status kvl_trace_write_summary(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick, bool is_md,
                                   kvl_err *err) {
    summary s = {.t = {out, is_md, (int)strlen("policy")},
                 .trace = t,
                 .pick = pick,
                 .figures = kvl_calloc(t->n_policies, sizeof *s.figures)};
    kvl_status status = s.figures != NULL ? KVL_OK : kvl_fail_nomem(err, "figures of a trace");
    const size_t end = kvl_pick_end(pick->policy, t->n_policies);
    for (size_t p = kvl_pick_first(pick->policy); p < end && status == KVL_OK; p++) {
        s.t.width = (int)kvl_max_size((size_t)s.t.width, strlen(t->policies[p].text));
        status = kvl_trace_figures_make(&s.figures[p], t, p, pick->text, err);
    }
    if (status == KVL_OK) {
        put_trace(&s);
        status = kvl_str_check(out, "trace", err);
    }
    for (size_t p = 0; s.figures != NULL && p < t->n_policies; p++) {
        kvl_trace_figures_free(&s.figures[p]);
    }
    kvl_free(s.figures);
    return status;
}

/* ---- one step ---- */

enum { picture_columns = 64 };

/* One character for each few positions 0 .. token: all held, some, none. */
static void put_positions(kvl_str *out, const kvl_departures *d, uint32_t layer, uint32_t head,
                          size_t token) {
    const size_t per = (token + picture_columns) / picture_columns;
    for (size_t first = 0; first <= token; first += per) {
        const size_t end = kvl_min_size(first + per, token + 1);
        size_t n = 0;
        for (size_t p = first; p < end; p++) {
            n += kvl_departures_visible(d, layer, head, p, token);
        }
        kvl_str_puts(out, n == end - first ? "#" : n != 0 ? "+" : ".");
    }
}

static void put_head(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick, const kvl_departures *d,
                     uint32_t layer, uint32_t head) {
    size_t n_keys = 0;
    for (size_t p = 0; p <= pick->step; p++) {
        n_keys += kvl_departures_visible(d, layer, head, p, pick->step);
    }
    kvl_str_printf(out, "  %5u %4u %5zu %6.1f %%  ", layer, head, n_keys,
                   100 * kvl_trace_lost(t, pick->policy, pick->text, pick->step, layer, head));
    put_positions(out, d, layer, head, pick->step);
    kvl_str_puts(out, "\n");
}

kvl_status kvl_trace_write_picture(kvl_str *out, const kvl_trace *t, const kvl_trace_pick *pick,
                                   kvl_err *err) {
    kvl_departures *d = NULL;
    KVL_TRY(kvl_trace_log(&d, t, pick->policy, pick->text, err));
    const size_t phase = kvl_step_phase(d, pick->step);
    const size_t per = (pick->step + picture_columns) / picture_columns;
    kvl_str_printf(out, "%s on %s, what the query of token %zu sees", t->policies[pick->policy].text,
                   t->texts[pick->text].name, pick->step);
    if (phase == SIZE_MAX) {
        kvl_str_puts(out, "; no compression so far");
    } else {
        kvl_str_printf(out, "; %zu steps since the last compression", phase);
    }
    const double nll = kvl_trace_nll(t, pick->policy, pick->text, pick->step);
    if (!isnan(nll)) {
        kvl_str_printf(out, "; NLL %.3f, with the full cache %.3f", nll,
                       kvl_trace_nll(t, 0, pick->text, pick->step));
    }
    kvl_str_printf(out,
                   "\n\n  layer head  keys     lost  positions from 0 on, %zu a mark: # all there, + some, "
                   ". none\n",
                   per);
    for (size_t l = kvl_pick_first(pick->layer); l < kvl_pick_end(pick->layer, t->n_layers); l++) {
        for (size_t h = kvl_pick_first(pick->head); h < kvl_pick_end(pick->head, t->n_kv_heads); h++) {
            put_head(out, t, pick, d, (uint32_t)l, (uint32_t)h);
        }
    }
    kvl_departures_destroy(d);
    return kvl_str_check(out, "trace", err);
}
