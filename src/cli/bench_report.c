/* Writing the rows of `kvlab bench`: one record as JSON from which CSV and SQL follow; a table for people. */
#include "cli/bench_report.h"

#include "base/alloc.h"
#include "base/json.h"
#include "cli/calibration_arg.h"
#include "cli/commit.h"
#include "protocol/timing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TABLE_NAME "llama_bench" /* what the tools that read such files look for */

/* ---- figures ---- */

typedef struct figures {
    double avg_ns, stddev_ns, median_ns;
    double avg_ts, stddev_ts, median_ts; /* tokens per second */
    double flop_per_ns, bytes_per_ns; /* at the median; NaN where a test is of the other kind, or of both */
    double limit_percent;             /* time at the limits / median time; NaN when a limit is unknown */
} figures;

/* Mean and standard deviation (n - 1) of n values; 0 for one. */
static void describe(double *avg, double *stddev, const double *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    *avg = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - *avg) * (x[i] - *avg);
    }
    *stddev = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

static kvl_status compute(figures *f, const kvl_bench_row *row, kvl_err *err) {
    const kvl_bench_config *c = row->config;
    const kvl_bench_result *r = row->result;
    size_t n = c->n_repetitions;
    double n_tokens = (double)(c->n_prompt + c->n_gen);
    double *x = kvl_alloc(n, sizeof *x);
    if (x == NULL) {
        return kvl_fail_nomem(err, "bench");
    }
    describe(&f->avg_ns, &f->stddev_ns, r->samples_ns, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = n_tokens * 1e9 / r->samples_ns[i];
    }
    describe(&f->avg_ts, &f->stddev_ts, x, n);
    f->median_ts = kvl_timing_median(x, n);
    memcpy(x, r->samples_ns, n * sizeof *x);
    f->median_ns = kvl_timing_median(x, n);
    kvl_free(x);
    f->flop_per_ns = c->n_gen == 0 ? r->n_flop / f->median_ns : (double)NAN;
    f->bytes_per_ns = c->n_prompt == 0 ? r->n_bytes / f->median_ns : (double)NAN;
    bool is_known = (c->n_prompt == 0 || row->limits.flop_per_ns > 0) && row->limits.bytes_per_ns > 0;
    double limit_ns = r->n_bytes / row->limits.bytes_per_ns;
    limit_ns += c->n_prompt != 0 ? r->n_flop / row->limits.flop_per_ns : 0;
    f->limit_percent = is_known ? 100 * limit_ns / f->median_ns : (double)NAN;
    return KVL_OK;
}

static uint64_t stored_bytes(const kvl_model *m) {
    uint64_t n = 0;
    for (size_t i = 0; i < KVL_N_WEIGHT_KINDS; i++) {
        n += m->kinds[i].stored_bytes;
    }
    return n;
}

/* "135M" and "8.0B", or "134.52 M" and "8.03 B". */
static const char *params_text(char out[24], uint64_t n, bool is_short) {
    bool is_large = n >= 1000000000u;
    snprintf(out, 24, "%.*f%s%s",
             !is_short  ? 2
             : is_large ? 1
                        : 0,
             (double)n * (is_large ? 1e-9 : 1e-6), is_short ? "" : " ", is_large ? "B" : "M");
    return out;
}

/* ---- the record ---- */

static json_t *record_theirs(const kvl_bench_row *row, const figures *f) {
    const kvl_bench_config *c = row->config;
    const kvl_model *m = kvl_engine_model(row->engine);
    char params[24];
    char type[64];
    snprintf(type, sizeof type, "%s %s %s", m->arch, params_text(params, m->n_params, true), m->stored_dtype);
    return json_pack(
        "{s:s,s:i,s:s,s:s,s:s, s:s,s:s,s:I,s:I, s:I,s:I,s:I, s:s,s:b,s:i,s:s,s:s, "
        "s:i,s:s,s:i,s:b,s:b,s:s,s:b,s:b,"
        "s:I,s:I,s:I, s:s,s:I,s:I,s:f,s:f}",
        "build_commit", KVL_COMMIT, "build_number", 0, "cpu_info", row->machine->cpu, "gpu_info", "",
        "backends", "CPU", "model_filename", m->path, "model_type", type, "model_size",
        (json_int_t)stored_bytes(m), "model_n_params", (json_int_t)m->n_params, "n_batch",
        (json_int_t)c->n_batch, "n_ubatch", (json_int_t)kvl_min_size(c->n_batch, kvl_engine_pass_rows()),
        "n_threads", (json_int_t)kvl_engine_threads(row->engine), "cpu_mask", "0x0", "cpu_strict", 0, "poll",
        0, "type_k", kvl_kv_type_name(m->shape.key_type), "type_v", kvl_kv_type_name(m->shape.value_type),
        "n_gpu_layers", 0, "split_mode", "none", "main_gpu", 0, "no_kv_offload", 0, "flash_attn", 0,
        "tensor_split", "0.00", "use_mmap", 0, "embeddings", 0, "n_prompt", (json_int_t)c->n_prompt, "n_gen",
        (json_int_t)c->n_gen, "n_depth", (json_int_t)c->n_depth, "test_time", row->test_time, "avg_ns",
        (json_int_t)llround(f->avg_ns), "stddev_ns", (json_int_t)llround(f->stddev_ns), "avg_ts", f->avg_ts,
        "stddev_ts", f->stddev_ts);
}

static json_t *record_ours(const kvl_bench_row *row, const figures *f, const char *press,
                           const char *policy) {
    const kvl_bench_result *r = row->result;
    const kvl_shape *shape = &kvl_engine_model(row->engine)->shape;
    double peak = row->limits.flop_per_ns;
    char calibration[KVL_CALIBRATION_TEXT];
    kvl_calibration_text(calibration, row->policy, shape);
    return json_pack(
        "{s:s,s:f,s:s,s:s,s:s,s:s,s:i,s:b, s:I,s:f,s:I, s:I,s:I,s:I,s:I,s:I,s:I, s:o,s:o,s:o,s:f,s:o}",
        "press", press, "keep_ratio", row->result->keep_ratio, "policy", policy, "calibration", calibration,
        "isa", kvl_engine_isa(row->engine), "arith", kvl_arith_name(kvl_engine_model(row->engine)->arith),
        "kv_residual", (int)shape->n_residual, "kv_hadamard", shape->has_hadamard, "median_ns",
        (json_int_t)llround(f->median_ns), "median_ts", f->median_ts, "compress_ns",
        (json_int_t)llround(r->compress_ns), "kv_bytes_live", (json_int_t)r->kv_bytes_live,
        "kv_bytes_reserved", (json_int_t)r->kv_bytes_reserved, "kv_bytes_peak", (json_int_t)r->kv_bytes_peak,
        "scratch_bytes", (json_int_t)r->scratch_bytes, "weight_bytes",
        (json_int_t)kvl_engine_model(row->engine)->weight_bytes, "peak_rss_bytes",
        (json_int_t)r->peak_rss_bytes, "gflops", kvl_json_number(f->flop_per_ns), "gb_per_s",
        kvl_json_number(f->bytes_per_ns), "limit_gflops", kvl_json_number(peak > 0 ? peak : (double)NAN),
        "limit_gb_per_s", row->limits.bytes_per_ns, "limit_percent", kvl_json_number(f->limit_percent));
}

/* All columns in order; NULL without memory. With `has_samples` their arrays stand between theirs and ours.
 */
static json_t *record(const kvl_bench_row *row, const figures *f, bool has_samples) {
    const kvl_bench_config *c = row->config;
    kvl_str press = {0};
    kvl_str policy = {0};
    kvl_policy_press_text(row->policy, &press);
    kvl_policy_text(row->policy, &policy);
    json_t *all = record_theirs(row, f);
    json_t *ours = record_ours(row, f, kvl_str_text(&press), kvl_str_text(&policy));
    json_t *ns = json_array();
    json_t *ts = json_array();
    bool is_good = !press.failed && !policy.failed;
    for (size_t i = 0; i < c->n_repetitions && has_samples; i++) {
        double sample = row->result->samples_ns[i];
        is_good = is_good && json_array_append_new(ns, json_integer((json_int_t)llround(sample))) == 0;
        is_good = is_good &&
                  json_array_append_new(ts, json_real((double)(c->n_prompt + c->n_gen) * 1e9 / sample)) == 0;
    }
    if (has_samples) {
        is_good = is_good && json_object_set(all, "samples_ns", ns) == 0;
        is_good = is_good && json_object_set(all, "samples_ts", ts) == 0;
    }
    is_good = is_good && json_object_update(all, ours) == 0;
    json_decref(ns);
    json_decref(ts);
    json_decref(ours);
    kvl_str_free(&press);
    kvl_str_free(&policy);
    if (!is_good) {
        json_decref(all);
        return NULL;
    }
    return all;
}

/* ---- CSV and SQL ---- */

static void put_quoted(kvl_str *out, const char *text, char quote) {
    kvl_str_append(out, &quote, 1);
    for (const char *c = text; *c != '\0'; c++) {
        kvl_str_append(out, c, 1);
        if (*c == quote) {
            kvl_str_append(out, c, 1);
        }
    }
    kvl_str_append(out, &quote, 1);
}

static void put_value(kvl_str *out, const json_t *value, bool is_sql) {
    if (json_is_string(value)) {
        put_quoted(out, json_string_value(value), is_sql ? '\'' : '"');
    } else if (json_is_real(value)) {
        kvl_str_printf(out, "%.17g", json_real_value(value));
    } else if (json_is_null(value)) {
        kvl_str_puts(out, is_sql ? "NULL" : "");
    } else {
        kvl_str_printf(out, "%lld", json_is_true(value) ? 1 : (long long)json_integer_value(value));
    }
}

static const char *sql_type(const char *name, const json_t *value) {
    bool is_rate = strstr(name, "gflops") != NULL || strstr(name, "_per_s") != NULL ||
                   strcmp(name, "limit_percent") == 0;
    return is_rate || json_is_real(value) ? "REAL" : json_is_string(value) ? "TEXT" : "INTEGER";
}

static void put_row(kvl_str *out, json_t *object, bool is_sql) {
    const char *name;
    json_t *value;
    const char *separator = "";
    json_object_foreach(object, name, value) {
        kvl_str_puts(out, separator);
        put_value(out, value, is_sql);
        separator = is_sql ? ", " : ",";
    }
}

static void put_names(kvl_str *out, json_t *object, const char *separator) {
    const char *name;
    json_t *value;
    const char *before = "";
    json_object_foreach(object, name, value) {
        kvl_str_printf(out, "%s%s", before, name);
        before = separator;
    }
}

static void put_csv(kvl_str *out, json_t *object, bool is_first) {
    if (is_first) {
        put_names(out, object, ",");
        kvl_str_puts(out, "\n");
    }
    put_row(out, object, false);
    kvl_str_puts(out, "\n");
}

static void put_sql(kvl_str *out, json_t *object, bool is_first) {
    const char *name;
    json_t *value;
    const char *separator = "";
    if (is_first) {
        kvl_str_puts(out, "CREATE TABLE IF NOT EXISTS " TABLE_NAME " (\n");
        json_object_foreach(object, name, value) {
            kvl_str_printf(out, "%s  %s %s", separator, name, sql_type(name, value));
            separator = ",\n";
        }
        kvl_str_puts(out, "\n);\n\n");
    }
    kvl_str_puts(out, "INSERT INTO " TABLE_NAME " (");
    put_names(out, object, ", ");
    kvl_str_puts(out, ") VALUES (");
    put_row(out, object, true);
    kvl_str_puts(out, ");\n");
}

/* ---- the table ---- */

enum { N_COLUMNS = 18, CELL_BYTES = 64 };
static const struct {
    const char *head;
    int width;
    bool is_left;
} columns[N_COLUMNS] = {
    {"model", 24, true},        {"size", 10, false},
    {"params", 10, false},      {"backend", 14, true},
    {"threads", 7, false},      {"n_batch", 7, false},
    {"test", 15, false},        {"t/s", 20, false},
    {"press", 18, true},        {"keep", 5, false},
    {"median t/s", 10, false},  {"rate", 14, false},
    {"% of limit", 10, false},  {"compress ms", 11, false},
    {"KV live MiB", 11, false}, {"KV reserved MiB", 15, false},
    {"scratch MiB", 11, false}, {"peak RSS MiB", 12, false},
};

static void put_cell(kvl_str *out, size_t column, const char *text, bool is_md) {
    const int n_shown = (int)kvl_text_columns(text);
    int pad = columns[column].width > n_shown ? columns[column].width - n_shown : 0;
    bool is_left = columns[column].is_left;
    kvl_str_printf(out, "%s%*s%s%*s%s", is_md ? "| " : "", is_left ? 0 : pad, "", text, is_left ? pad : 0, "",
                   is_md ? " " : "  ");
}

static void put_head(kvl_str *out, bool is_md) {
    for (size_t i = 0; i < N_COLUMNS; i++) {
        put_cell(out, i, columns[i].head, is_md);
    }
    kvl_str_puts(out, is_md ? "|\n|" : "\n");
    for (size_t i = 0; i < N_COLUMNS && is_md; i++) {
        kvl_str_printf(out, " %.*s%s |", columns[i].width - !columns[i].is_left,
                       "------------------------------", columns[i].is_left ? "" : ":");
    }
    kvl_str_puts(out, is_md ? "\n" : "");
}

static void test_name(char out[CELL_BYTES], const kvl_bench_config *c) {
    int n = c->n_prompt != 0 && c->n_gen != 0
                ? snprintf(out, CELL_BYTES, "pp%zu+tg%zu", c->n_prompt, c->n_gen)
            : c->n_prompt != 0 ? snprintf(out, CELL_BYTES, "pp%zu", c->n_prompt)
                               : snprintf(out, CELL_BYTES, "tg%zu", c->n_gen);
    if (c->n_depth != 0) {
        snprintf(out + n, (size_t)(CELL_BYTES - n), " @ d%zu", c->n_depth);
    }
}

/* Of a prompt its operations, of a generation its bytes, of both together nothing. */
static void put_rate(char out[CELL_BYTES], const figures *f) {
    if (!isnan(f->flop_per_ns)) {
        snprintf(out, CELL_BYTES, "%.1f GFLOP/s", f->flop_per_ns);
    } else if (!isnan(f->bytes_per_ns)) {
        snprintf(out, CELL_BYTES, "%.1f GB/s", f->bytes_per_ns);
    }
}

static void put_table_row(kvl_str *out, const kvl_bench_row *row, const figures *f, bool is_md) {
    const double mib = 1.0 / 1048576;
    const kvl_bench_result *r = row->result;
    const kvl_model *m = kvl_engine_model(row->engine);
    char cells[N_COLUMNS][CELL_BYTES] = {{0}};
    char params[24];
    kvl_str press = {0};
    kvl_policy_press_text(row->policy, &press);
    size_t i = 0;
#define CELL(...) snprintf(cells[i++], CELL_BYTES, __VA_ARGS__)
    CELL("%s %s %s", m->arch, params_text(params, m->n_params, true), m->stored_dtype);
    CELL("%.2f MiB", (double)stored_bytes(m) * mib);
    CELL("%s", params_text(params, m->n_params, false));
    CELL("CPU %s %s", kvl_engine_isa(row->engine), kvl_arith_name(kvl_engine_model(row->engine)->arith));
    CELL("%u", kvl_engine_threads(row->engine));
    CELL("%zu", row->config->n_batch);
    test_name(cells[i++], row->config);
    CELL("%.2f ± %.2f", f->avg_ts, f->stddev_ts);
    CELL("%s", kvl_str_text(&press));
    CELL("%.3g", row->result->keep_ratio);
    CELL("%.2f", f->median_ts);
    put_rate(cells[i++], f);
    if (!isnan(f->limit_percent)) {
        snprintf(cells[i], CELL_BYTES, "%.1f", f->limit_percent);
    }
    i++;
    CELL("%.3f", r->compress_ns * 1e-6);
    CELL("%.2f", (double)r->kv_bytes_live * mib);
    CELL("%.2f", (double)r->kv_bytes_reserved * mib);
    CELL("%.2f", (double)r->scratch_bytes * mib);
    CELL("%.1f", (double)r->peak_rss_bytes * mib);
#undef CELL
    for (i = 0; i < N_COLUMNS; i++) {
        put_cell(out, i, cells[i], is_md);
    }
    kvl_str_puts(out, is_md ? "|\n" : "\n");
    kvl_str_free(&press);
}

/* ---- all formats ---- */

void kvl_bench_write_head(kvl_str *out, kvl_bench_format format) {
    if (format == KVL_BENCH_JSON) {
        kvl_str_puts(out, "[\n");
    } else if (format == KVL_BENCH_MD || format == KVL_BENCH_TABLE) {
        put_head(out, format == KVL_BENCH_MD);
    }
}

kvl_status kvl_bench_write_row(kvl_str *out, kvl_bench_format format, const kvl_bench_row *row, size_t index,
                               kvl_err *err) {
    figures f;
    KVL_TRY(compute(&f, row, err));
    if (format == KVL_BENCH_MD || format == KVL_BENCH_TABLE) {
        put_table_row(out, row, &f, format == KVL_BENCH_MD);
        return kvl_str_check(out, "bench", err);
    }
    bool is_json = format == KVL_BENCH_JSON || format == KVL_BENCH_JSONL;
    json_t *object = record(row, &f, is_json);
    if (object == NULL) {
        return kvl_fail_nomem(err, "bench");
    }
    if (is_json) {
        kvl_str_puts(out, format == KVL_BENCH_JSON && index != 0 ? ",\n" : "");
        return kvl_json_write(out, object, format == KVL_BENCH_JSON, err);
    }
    (format == KVL_BENCH_SQL ? put_sql : put_csv)(out, object, index == 0);
    json_decref(object);
    return kvl_str_check(out, "bench", err);
}

void kvl_bench_write_foot(kvl_str *out, kvl_bench_format format, const kvl_machine *machine, size_t n_rows) {
    if (format == KVL_BENCH_JSON) {
        kvl_str_puts(out, "]\n");
    } else if (n_rows != 0 && (format == KVL_BENCH_MD || format == KVL_BENCH_TABLE)) {
        kvl_str_printf(
            out,
            "\nbuild: " KVL_COMMIT " (%s)\ncpu: %s\nnot included: tokenising, prefill and compression "
            "of the depth\n%% of limit: time that the operations of the prompt and the bytes read by "
            "the generation take at\nthe limits measured in the same minute, over the median time; "
            "above 100 where weights stay in a cache\n",
            KVL_VERSION, machine->cpu);
    }
}
