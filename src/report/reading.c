/* The reading of a report in plain words: only what the rows' intervals allow. */
#include "report/report_int.h"

#include <string.h>

size_t kvli_group_end(const kvl_report *r, size_t first) {
    size_t end = first + 1;
    while (end < r->n_rows && !r->rows[end].is_baseline &&
           strcmp(r->rows[end].press, r->rows[first].press) == 0) {
        end++;
    }
    return end;
}

bool kvli_is_inside(const kvl_report_row *row) {
    return row->delta.has_interval && row->delta.low <= 0 && row->delta.high >= 0;
}

void kvli_group_extremes(const kvl_report *r, size_t first, size_t end, size_t *worst, size_t *best) {
    *worst = *best = end;
    for (size_t i = first; i < end; i++) {
        if (!r->rows[i].has_evicted) {
            continue;
        }
        if (*worst == end || r->rows[i].delta.mean > r->rows[*worst].delta.mean) {
            *worst = i;
        }
        if (*best == end || r->rows[i].delta.mean < r->rows[*best].delta.mean) {
            *best = i;
        }
    }
}

static void write_range(kvl_str *out, const kvl_report *r, size_t first, size_t end) {
    double high = 0;
    double low = 2;
    for (size_t i = first; i < end; i++) {
        if (r->rows[i].stage == KVL_STAGE_BEST) {
            high = r->rows[i].keep_ratio > high ? r->rows[i].keep_ratio : high;
            low = r->rows[i].keep_ratio < low ? r->rows[i].keep_ratio : low;
        }
    }
    if (high > low) {
        kvl_str_printf(out, "; not told apart from it: keep %g to %g", high, low);
    }
}

static void write_group(kvl_str *out, const kvl_report *r, size_t first, size_t end) {
    size_t worst = 0;
    size_t best = 0;
    kvli_group_extremes(r, first, end, &worst, &best);
    if (best == end) {
        kvl_str_printf(out, "%s evicted nothing: its rows say nothing about it.\n", r->rows[first].press);
        return;
    }
    const kvl_report_row *b = &r->rows[best];
    const kvl_report_row *w = &r->rows[worst];
    kvl_str_printf(out, "%s: best at keep %g (%+.3f nats/token)", b->press, b->keep_ratio, b->delta.mean);
    if (worst != best) {
        kvl_str_printf(out, ", worst at keep %g (%+.3f)", w->keep_ratio, w->delta.mean);
    }
    write_range(out, r, first, end);
    kvl_str_puts(out, ".\n");
    if (b->n_affected != 0 && b->n_affected < b->n_scored) {
        kvl_str_printf(out, "Over the tokens that read a compressed cache (%zu of %zu) the best costs %+.3f",
                       b->n_affected, b->n_scored, b->delta_affected.mean);
        kvl_str_printf(out, worst != best ? ", the worst %+.3f.\n" : ".\n", w->delta_affected.mean);
    }
    bool is_lightest = worst == first && end - first > 1;
    if (is_lightest && w->stage == KVL_STAGE_EXPLOSION) {
        kvl_str_puts(out, "The lightest compression is the worst: this is the U-curve.");
        if (w->period_tok > 0 && b->period_tok > w->period_tok) {
            kvl_str_printf(out, " It compresses every %.3g token%s, the best every %.3g.", w->period_tok,
                           w->period_tok == 1 ? "" : "s", b->period_tok);
        }
        kvl_str_puts(out, "\n");
    }
}

void kvli_write_reading(kvl_str *out, const kvl_report *r) {
    for (size_t first = 0; first < r->n_rows;) {
        size_t end = kvli_group_end(r, first);
        if (!r->rows[first].is_baseline) {
            write_group(out, r, first, end);
        }
        first = end;
    }
    const size_t n_blocks = r->n_samples == 1 && r->rows[r->n_rows - 1].delta.has_interval
                                ? r->rows[r->n_rows - 1].delta.n_clusters
                                : 0;
    kvl_str_printf(
        out,
        "ΔNLL: pooled nats per token above the same tokens with the full cache, 95 %% interval clustered by "
        "%s; ≈ marks intervals that hold 0: no difference seen.\n",
        n_blocks != 0 ? "block of tokens" : "sample");
    if (n_blocks != 0) {
        kvl_str_printf(out, "One sample: its %zu blocks of tokens are taken as independent (bootstrap).\n",
                       n_blocks);
    } else if (r->n_samples < 2) {
        kvl_str_puts(out, "One sample: no interval can be given.\n");
    } else if (r->n_samples < 20) {
        kvl_str_printf(
            out,
            "Only %zu samples: the interval uses Student's t with %zu degree%s of freedom and is rough.\n",
            r->n_samples, r->n_samples - 1, r->n_samples == 2 ? "" : "s");
    }
}
