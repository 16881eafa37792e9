/* The reading of a report in plain words: only what the rows' intervals allow. */
#include "report/report_int.h"

#include <math.h>
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
        kvl_str_printf(out, "; not told apart from the best: keep %g to %g", high, low);
    }
}

/* Rows of which no loss may be claimed. */
static void write_equivalent(kvl_str *out, const kvl_report *r, size_t first, size_t end) {
    bool is_first = true;
    for (size_t i = first; i < end; i++) {
        const kvl_report_row *row = &r->rows[i];
        if (row->has_evicted && kvl_equivalence(row->delta, KVL_MARGIN_NATS) == KVL_EQUIVALENT) {
            if (is_first) {
                kvl_str_printf(out, "; no loss beyond %g nats at keep ", KVL_MARGIN_NATS);
            }
            kvl_str_printf(out, "%s%g", is_first ? "" : ", ", row->keep_ratio);
            is_first = false;
        }
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
    write_equivalent(out, r, first, end);
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

/* What a mark says, of intervals that could have shown something: what they could have. */
static void write_marks(kvl_str *out, const kvl_report *r) {
    double least = (double)INFINITY;
    double most = 0;
    bool has_few = true;
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        if (row->is_baseline || !row->has_evicted || !row->delta.has_interval) {
            continue;
        }
        has_few = row->delta.is_few;
        if (!has_few && kvli_is_inside(row) &&
            kvl_equivalence(row->delta, KVL_MARGIN_NATS) == KVL_UNDECIDED) {
            least = fmin(least, row->smallest);
            most = fmax(most, row->smallest);
        }
    }
    kvl_str_puts(out, "; ≈ marks intervals that hold 0");
    if (has_few) {
        kvl_str_puts(out, ": no difference seen");
    } else if (most > 0) {
        kvl_str_printf(out, ": no difference seen; smallest detectable about %.2g", least);
        if (most > 1.05 * least) {
            kvl_str_printf(out, " to %.2g", most);
        }
        kvl_str_puts(out, " nats");
    }
    kvl_str_puts(out, ".\n");
}

/* How wide intervals are with blocks of half and of twice the length, as shares of those shown. */
static void write_block_lengths(kvl_str *out, const kvl_report *r) {
    double low[2] = {(double)INFINITY, (double)INFINITY};
    double high[2] = {0, 0};
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        const kvl_estimate *others[2] = {&row->delta_half, &row->delta_twice};
        const double width = row->delta.high - row->delta.low;
        for (size_t k = 0; k < 2 && width > 0 && others[k]->has_interval; k++) {
            low[k] = fmin(low[k], (others[k]->high - others[k]->low) / width);
            high[k] = fmax(high[k], (others[k]->high - others[k]->low) / width);
        }
    }
    if (high[0] > 0 && high[1] > 0) {
        kvl_str_printf(
            out,
            "With blocks of half the length intervals are %.2f to %.2f times as wide, of twice the "
            "length %.2f to %.2f.\n",
            low[0], high[0], low[1], high[1]);
    }
}

/* What intervals take for independent, and how they are made. */
static void write_method(kvl_str *out, const kvl_report *r) {
    size_t n_rows = 0;
    for (size_t i = 0; i < r->n_rows; i++) {
        n_rows += !r->rows[i].is_baseline && r->rows[i].has_evicted;
    }
    if (r->block_tokens != 0) {
        kvl_str_printf(out,
                       "One sample: its %zu blocks of at least %zu tokens are taken as independent "
                       "(bootstrap, %zu resamples, widened percentiles, seed %llu).\n",
                       r->rows[r->n_rows - 1].delta.n_clusters, r->block_tokens, r->n_resamples,
                       (unsigned long long)r->seed);
        write_block_lengths(out, r);
    } else if (r->n_samples < 2) {
        kvl_str_puts(out, "One sample: no interval can be given.\n");
    } else if (r->n_resamples == 0) {
        kvl_str_printf(
            out,
            "Only %zu samples: the interval uses Student's t with %zu degree%s of freedom and is rough.\n",
            r->n_samples, r->n_samples - 1, r->n_samples == 2 ? "" : "s");
    } else {
        kvl_str_printf(out,
                       "Intervals: bootstrap over the %zu samples, %zu resamples, widened percentiles, seed "
                       "%llu.\n",
                       r->n_samples, r->n_resamples, (unsigned long long)r->seed);
    }
    if (r->n_resamples != 0 && n_rows > 1) {
        kvl_str_printf(out,
                       "Each interval speaks of its row alone; p-values adjusted for all %zu rows (Holm) are "
                       "in -o json and csv.\n",
                       n_rows);
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
    kvl_str_printf(
        out,
        "ΔNLL: pooled nats per token above the same tokens with the full cache, 95 %% interval clustered by "
        "%s",
        r->block_tokens != 0 ? "block of tokens" : "sample");
    write_marks(out, r);
    write_method(out, r);
}
