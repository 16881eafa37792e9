/* The rows for machines: CSV and JSON, all digits. */
#include "report/report_int.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

static void put_csv_text(kvl_str *out, const char *text) {
    kvl_str_puts(out, "\"");
    for (; *text != '\0'; text++) {
        kvl_str_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    }
    kvl_str_puts(out, "\"");
}

static const char *stage_text(const kvl_report_row *row) {
    return !row->is_baseline && !row->has_evicted ? "nothing evicted" : kvl_stage_name(row->stage);
}

double *kvli_adjusted(const kvl_report *r) {
    double *p = kvl_calloc(2 * r->n_rows, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        const kvl_report_row *row = &r->rows[i];
        p[r->n_rows + i] =
            !row->is_baseline && row->has_evicted && row->delta.has_interval ? row->delta.p : (double)NAN;
    }
    kvl_holm(p, p + r->n_rows, r->n_rows);
    return p;
}

/* A number in front of which a comma stands; nothing where there is none. */
static void put_number(kvl_str *out, bool is_known, double x) {
    if (is_known && !isnan(x)) {
        kvl_str_printf(out, ",%.17g", x);
    } else {
        kvl_str_puts(out, ",");
    }
}

static void put_csv_row(kvl_str *out, const kvl_report_row *row, double p_holm, const char *protocol) {
    const bool has_interval = row->delta.has_interval && !row->is_baseline;
    put_csv_text(out, row->press);
    kvl_str_puts(out, ",");
    put_csv_text(out, row->policy);
    kvl_str_printf(out, ",%.17g,%.17g,%.17g,%.17g,%s,%.17g,%.17g", row->keep_ratio, 1.0 - row->keep_ratio,
                   row->ppl, row->change_percent, stage_text(row), row->pooled_nll, row->delta.mean);
    put_number(out, has_interval, row->delta.low);
    put_number(out, has_interval, row->delta.high);
    kvl_str_printf(out, ",%zu,%zu,%.17g,%zu,%llu,%.17g,%zu", row->n_scored, row->kept_min, row->kept_mean,
                   row->kept_max, (unsigned long long)row->kv_bytes, row->period_tok, row->n_affected);
    put_number(out, row->n_affected != 0, row->delta_affected.mean);
    put_number(out, true, p_holm);
    put_number(out, has_interval, row->smallest);
    kvl_str_puts(out, ",");
    put_csv_text(out, protocol);
    kvl_str_puts(out, "\n");
}

void kvli_write_csv(kvl_str *out, const kvl_report *r) {
    double *p_holm = kvli_adjusted(r);
    out->failed = out->failed || p_holm == NULL;
    kvl_str_puts(out,
                 "press,policy,keep_ratio,compression_ratio,ppl,change_percent,stage,pooled_nll,delta_nll,"
                 "delta_low,delta_high,n_scored,kept_min,kept_mean,kept_max,kv_bytes,period_tok,n_affected,"
                 "delta_affected,p_holm,smallest_detectable,protocol\n");
    for (size_t i = 0; i < r->n_rows && p_holm != NULL; i++) {
        put_csv_row(out, &r->rows[i], p_holm[i], r->protocol);
    }
    kvl_free(p_holm);
}

/* Bits per byte over n bytes; null where they are not known. */
static json_t *bits_per_byte(double nats, size_t n_bytes) {
    return n_bytes != 0 ? kvl_json_number(nats / (log(2.0) * (double)n_bytes)) : json_null();
}

/* Bytes of all texts of a row; 0 where those of one are not known. */
static size_t row_bytes(const kvl_report_row *row, size_t n_texts) {
    size_t n = 0;
    for (size_t i = 0; row->texts != NULL && i < n_texts; i++) {
        if (row->texts[i].n_bytes == 0) {
            return 0;
        }
        n += row->texts[i].n_bytes;
    }
    return n;
}

static json_t *text_list(const kvl_report_row *row, size_t n_texts) {
    json_t *list = json_array();
    for (size_t i = 0; row->texts != NULL && i < n_texts; i++) {
        const kvl_report_text *t = &row->texts[i];
        json_t *o = json_object();
        json_object_set_new(o, "text", json_string(t->name));
        json_object_set_new(o, "n_windows", json_integer((json_int_t)t->n_windows));
        json_object_set_new(o, "n_scored", json_integer((json_int_t)t->n_scored));
        json_object_set_new(o, "nll_sum", kvl_json_number(t->nll_sum));
        json_object_set_new(o, "ppl", kvl_json_number(exp(t->nll_sum / (double)t->n_scored)));
        json_object_set_new(o, "bits_per_byte", bits_per_byte(t->nll_sum, t->n_bytes));
        json_array_append_new(list, o);
    }
    return list;
}

/* "delta_low", "delta_high" and so on; null without an interval. */
static void set_interval(json_t *o, const char *name, const kvl_estimate *e) {
    char key[64];
    snprintf(key, sizeof key, "%s_low", name);
    json_object_set_new(o, key, e->has_interval ? kvl_json_number(e->low) : json_null());
    snprintf(key, sizeof key, "%s_high", name);
    json_object_set_new(o, key, e->has_interval ? kvl_json_number(e->high) : json_null());
}

static void set_difference(json_t *o, const kvl_report *r, const kvl_report_row *row, double p_holm) {
    json_object_set_new(o, "delta_nll", kvl_json_number(row->delta.mean));
    set_interval(o, "delta", &row->delta);
    if (r->block_tokens != 0) {
        set_interval(o, "delta_half_blocks", &row->delta_half);
        set_interval(o, "delta_twice_blocks", &row->delta_twice);
    }
    json_object_set_new(o, "p_holm", kvl_json_number(p_holm));
    json_object_set_new(o, "smallest_detectable", kvl_json_number(row->smallest));
    json_object_set_new(o, "n_affected", json_integer((json_int_t)row->n_affected));
    json_object_set_new(o, "delta_affected",
                        row->n_affected != 0 ? kvl_json_number(row->delta_affected.mean) : json_null());
    set_interval(o, "delta_affected", &row->delta_affected);
    json_object_set_new(o, "inside_interval", json_boolean(kvli_is_inside(row)));
}

static json_t *row_object(const kvl_report *r, const kvl_report_row *row, double p_holm) {
    json_t *o = json_object();
    json_object_set_new(o, "press", json_string(row->press));
    json_object_set_new(o, "policy", json_string(row->policy));
    json_object_set_new(o, "keep_ratio", kvl_json_number(row->keep_ratio));
    json_object_set_new(o, "ppl", kvl_json_number(row->ppl));
    json_object_set_new(o, "change_percent", kvl_json_number(row->change_percent));
    json_object_set_new(o, "stage", json_string(stage_text(row)));
    json_object_set_new(o, "pooled_nll", kvl_json_number(row->pooled_nll));
    set_difference(o, r, row, p_holm);
    json_object_set_new(o, "n_scored", json_integer((json_int_t)row->n_scored));
    json_object_set_new(o, "kept_min", json_integer((json_int_t)row->kept_min));
    json_object_set_new(o, "kept_mean", kvl_json_number(row->kept_mean));
    json_object_set_new(o, "kept_max", json_integer((json_int_t)row->kept_max));
    json_object_set_new(o, "kv_bytes", json_integer((json_int_t)row->kv_bytes));
    json_object_set_new(o, "period_tok", kvl_json_number(row->period_tok));
    json_object_set_new(o, "bits_per_byte",
                        bits_per_byte(row->pooled_nll * (double)row->n_scored, row_bytes(row, r->n_samples)));
    json_object_set_new(o, "texts", text_list(row, r->n_samples));
    return o;
}

/* How intervals were made. */
static void set_method(json_t *o, const kvl_report *r) {
    const bool is_bootstrap = r->n_resamples != 0;
    json_object_set_new(o, "intervals",
                        json_string(!is_bootstrap          ? "Student's t over samples"
                                    : r->block_tokens != 0 ? "widened percentile bootstrap over blocks"
                                                           : "widened percentile bootstrap over samples"));
    json_object_set_new(o, "n_resamples",
                        is_bootstrap ? json_integer((json_int_t)r->n_resamples) : json_null());
    json_object_set_new(o, "seed", is_bootstrap ? json_integer((json_int_t)r->seed) : json_null());
    json_object_set_new(o, "block_tokens",
                        r->block_tokens != 0 ? json_integer((json_int_t)r->block_tokens) : json_null());
}

void kvli_write_json(kvl_str *out, const kvl_report *r) {
    double *p_holm = kvli_adjusted(r);
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:[], s:[]}", "schema", "kvlab.report/1", "title", r->title,
        "protocol", r->protocol, "ppl", r->has_mean_ppl ? "mean of the samples' PPLs" : "exp of pooled_nll",
        "how", r->how, "command", r->command, "n_samples", (json_int_t)r->n_samples, "notes", "rows");
    out->failed = out->failed || p_holm == NULL;
    set_method(root, r);
    for (size_t i = 0; i < r->n_notes; i++) {
        json_array_append_new(json_object_get(root, "notes"), json_string(r->notes[i]));
    }
    for (size_t i = 0; i < r->n_rows && p_holm != NULL; i++) {
        json_array_append_new(json_object_get(root, "rows"), row_object(r, &r->rows[i], p_holm[i]));
    }
    kvl_free(p_holm);
    (void)!kvl_json_write(out, root, true, NULL); /* a failure stays in out */
}
