/* kvlab bench as a user runs it: options, formats, columns, errors. Times are looked at only for being there.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The table of llama-bench, in its order; then ours. */
static const char *const theirs[] = {
    "build_commit", "build_number", "cpu_info",       "gpu_info",   "backends",     "model_filename",
    "model_type",   "model_size",   "model_n_params", "n_batch",    "n_ubatch",     "n_threads",
    "cpu_mask",     "cpu_strict",   "poll",           "type_k",     "type_v",       "n_gpu_layers",
    "split_mode",   "main_gpu",     "no_kv_offload",  "flash_attn", "tensor_split", "use_mmap",
    "embeddings",   "n_prompt",     "n_gen",          "n_depth",    "test_time",    "avg_ns",
    "stddev_ns",    "avg_ts",       "stddev_ts"};
static const char *const ours[] = {"press",
                                   "keep_ratio",
                                   "policy",
                                   "calibration",
                                   "isa",
                                   "arith",
                                   "kv_residual",
                                   "kv_hadamard",
                                   "median_ns",
                                   "median_ts",
                                   "compress_ns",
                                   "kv_bytes_live",
                                   "kv_bytes_reserved",
                                   "kv_bytes_peak",
                                   "scratch_bytes",
                                   "weight_bytes",
                                   "peak_rss_bytes",
                                   "gflops",
                                   "gb_per_s",
                                   "limit_gflops",
                                   "limit_gb_per_s",
                                   "limit_percent"};
enum { n_theirs = sizeof theirs / sizeof theirs[0], n_ours = sizeof ours / sizeof ours[0] };

/* Ends of a command: one stream alone. The comment hides test_run's own redirection. */
#define ONLY_RESULT " 2>/dev/null #"
#define ONLY_ERRORS " 2>&1 >/dev/null #"

static const char *run(const char *args) {
    int exit_code = -1;
    const char *text = test_run(&exit_code, args);
    if (exit_code != 0) {
        fail_msg("%s: exit code %d: %s", args, exit_code, text);
    }
    return text;
}

/* An array of rows; standard error is left out. */
static json_t *run_json(const char *args) {
    char command[1024];
    json_t *json = NULL;
    snprintf(command, sizeof command, "bench -o json %s" ONLY_RESULT, args);
    const char *text = run(command);
    assert_ok(kvl_json_parse(&json, text, strlen(text), "bench", &assert_ok_err));
    assert_true(json_is_array(json));
    return json;
}

static json_int_t get(const json_t *rows, size_t row, const char *name) {
    const json_t *value = json_object_get(json_array_get(rows, row), name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static double get_real(const json_t *rows, size_t row, const char *name) {
    const json_t *value = json_object_get(json_array_get(rows, row), name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Names in order, with the samples between theirs and ours. */
static void check_columns(json_t *object) {
    size_t i = 0;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        const char *expected = i < n_theirs        ? theirs[i]
                               : i == n_theirs     ? "samples_ns"
                               : i == n_theirs + 1 ? "samples_ts"
                                                   : ours[i - n_theirs - 2];
        assert_string_equal(name, expected);
        i++;
    }
    assert_int_equal(i, n_theirs + n_ours + 2);
}

/* Averages, deviations and medians are those of the samples; rates and shares follow from them. */
static void check_figures(const json_t *rows, size_t row, size_t n_samples) {
    const json_t *object = json_array_get(rows, row);
    const json_t *samples = json_object_get(object, "samples_ns");
    double n_tokens = (double)(get(rows, row, "n_prompt") + get(rows, row, "n_gen"));
    double sum = 0, squares = 0;
    assert_int_equal(json_array_size(samples), n_samples);
    for (size_t i = 0; i < n_samples; i++) {
        double ns = json_number_value(json_array_get(samples, i));
        double ts = json_number_value(json_array_get(json_object_get(object, "samples_ts"), i));
        assert_true(ns > 0 && fabs(ts - n_tokens * 1e9 / ns) < 1e-3 * ts);
        sum += ns;
    }
    for (size_t i = 0; i < n_samples; i++) {
        double difference = json_number_value(json_array_get(samples, i)) - sum / (double)n_samples;
        squares += difference * difference;
    }
    assert_true(fabs((double)get(rows, row, "avg_ns") - sum / (double)n_samples) <= 1);
    assert_true(fabs((double)get(rows, row, "stddev_ns") - sqrt(squares / (double)(n_samples - 1))) <= 2);
    assert_true(get_real(rows, row, "limit_percent") > 0);
    assert_true(get_real(rows, row, "limit_gb_per_s") > 0);
}

static void test_rows(void **state) {
    (void)state;
    json_t *rows = run_json("-p 8,12 -n 4 -pg 6,3 -d 0,32 -r 3 -t 1,2");
    static const int expected[][3] = {{8, 0, 0},  {12, 0, 0},  {0, 4, 0},  {6, 3, 0},
                                      {8, 0, 32}, {12, 0, 32}, {0, 4, 32}, {6, 3, 32}};
    assert_int_equal(json_array_size(rows), 16);
    for (size_t i = 0; i < 16; i++) {
        check_columns(json_array_get(rows, i));
        check_figures(rows, i, 3);
        assert_int_equal(get(rows, i, "n_threads"), i < 8 ? 1 : 2);
        assert_int_equal(get(rows, i, "n_prompt"), expected[i % 8][0]);
        assert_int_equal(get(rows, i, "n_gen"), expected[i % 8][1]);
        assert_int_equal(get(rows, i, "n_depth"), expected[i % 8][2]);
        const json_t *row = json_array_get(rows, i);
        bool is_pair = i % 4 == 3;
        assert_true(json_is_null(json_object_get(row, "gflops")) == (is_pair || i % 4 == 2));
        assert_true(json_is_null(json_object_get(row, "gb_per_s")) == (is_pair || i % 4 != 2));
        int n_cached = expected[i % 8][0] + expected[i % 8][1] + expected[i % 8][2];
        assert_int_equal(get(rows, i, "kv_bytes_live"), n_cached * 12288);
        assert_true(get(rows, i, "kv_bytes_reserved") >= get(rows, i, "kv_bytes_live"));
    }
    assert_int_equal(get(rows, 0, "model_n_params"), 6836224);
    assert_int_equal(get(rows, 0, "n_batch"), 2048);
    json_decref(rows);
}

/* Policies come behind the full cache where there is a depth, and free memory. */
static void test_policies(void **state) {
    (void)state;
    json_t *rows =
        run_json("-p 0 -n 4 -d 0,200 -r 2 -t 1 -P 'knorm:skip=0,streaming(sinks=2):size=20' --ratio 0.5,0.1");
    static const char *const presses[] = {"none", "none", "knorm", "knorm", "streaming(sinks=2)"};
    static const int kept[] = {0, 200, 100, 20, 20};
    assert_int_equal(json_array_size(rows), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(json_string_value(json_object_get(row, "press")), presses[i]);
        assert_true((get(rows, i, "compress_ns") > 0) == (i >= 2));
        /* five of six layers where layer 0 is skipped */
        int n_entries = i == 2 || i == 3 ? 5 * kept[i] + 200 : 6 * kept[i];
        double keep = get_real(rows, i, "keep_ratio");
        assert_true(fabs(keep - (i < 2 ? 1.0 : n_entries / 1200.0)) < 1e-12);
        assert_int_equal(get(rows, i, "kv_bytes_live"), (n_entries + 6 * 4) * 2048);
    }
    json_decref(rows);
}

/* 85 tokens of 12288 bytes are within 1 MiB; 321 of 3264, in q8_0. */
static void test_budgets(void **state) {
    (void)state;
    json_t *rows = run_json("-p 0 -n 4 -d 400 -r 1 -t 1 -P knorm,recency --kv-budget 1MiB --ratio 0.5");
    static const int kept[] = {400, 200, 85, 200, 85};
    assert_int_equal(json_array_size(rows), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(get(rows, i, "kv_bytes_live"), (kept[i] + 4) * 12288);
    }
    json_decref(rows);
    rows = run_json("-p 0 -n 4 -d 400 -r 1 -t 1 -P knorm --kv-budget 1MiB -ctk q8_0 -ctv q8_0");
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal(get(rows, 1, "kv_bytes_live"), (321 + 4) * 3264);
    json_decref(rows);
    rows = run_json("-p 0 -n 4 -d 100 -r 1 -t 1 -P knorm --compression-ratio 0.75");
    assert_int_equal(get(rows, 1, "kv_bytes_live"), (25 + 4) * 12288);
    json_decref(rows);
}

static void test_lists(void **state) {
    (void)state;
    json_t *rows = run_json("-p 2-8*2 -p 3 -n 0 -r 1 -t 1 --no-warmup -b 2-6+4");
    static const int prompts[] = {2, 4, 8, 3};
    assert_int_equal(json_array_size(rows), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(get(rows, i, "n_prompt"), prompts[i % 4]);
        assert_int_equal(get(rows, i, "n_batch"), i < 4 ? 2 : 6);
        assert_int_equal(get(rows, i, "n_ubatch"), i < 4 ? 2 : 6);
        assert_int_equal(get(rows, i, "stddev_ns"), 0);
    }
    json_decref(rows);
    rows = run_json("-p 4 -n 0 -r 1 -t 1 -m models/novels-7m -m models/novels-7m");
    assert_int_equal(json_array_size(rows), 2);
    json_decref(rows);
    rows = run_json("-p 0 -n 0");
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
}

/* A line of names and two rows, each with as many values. */
static void test_csv_and_jsonl(void **state) {
    (void)state;
    const char *text = run("bench -p 4 -n 2 -r 1 -t 1 -o csv" ONLY_RESULT);
    kvl_str names = {0};
    for (size_t i = 0; i < n_theirs + n_ours; i++) {
        kvl_str_printf(&names, "%s%s", i != 0 ? "," : "", i < n_theirs ? theirs[i] : ours[i - n_theirs]);
    }
    kvl_str_puts(&names, "\n\"");
    assert_memory_equal(text, names.data, names.len);
    kvl_str_free(&names);
    size_t n_lines = 0;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, n_lines++) {
        size_t n_commas = 0;
        bool is_quoted = false;
        for (const char *c = line; *c != '\n'; c++) {
            is_quoted ^= *c == '"';
            n_commas += *c == ',' && !is_quoted;
        }
        assert_int_equal(n_commas, n_theirs + n_ours - 1);
    }
    assert_int_equal(n_lines, 3);
    /* the second output goes to standard error, alone */
    text = run("bench -p 4 -n 2 -r 1 -t 1 -o csv -oe jsonl" ONLY_ERRORS);
    for (n_lines = 0; *text != '\0'; text = strchr(text, '\n') + 1, n_lines++) {
        json_t *object = NULL;
        assert_ok(kvl_json_parse(&object, text, strcspn(text, "\n"), "line", &assert_ok_err));
        check_columns(object);
        json_decref(object);
    }
    assert_int_equal(n_lines, 2);
}

static void test_sql(void **state) {
    (void)state;
    const char *text = run("bench -p 4 -n 2 -r 1 -t 1 -o sql -m models/novels-7m" ONLY_RESULT);
    assert_memory_equal(text, "CREATE TABLE IF NOT EXISTS llama_bench (\n  build_commit TEXT,\n", 60);
    assert_non_null(strstr(text, "  limit_percent REAL\n);\n\nINSERT INTO llama_bench (build_commit, "));
    assert_non_null(strstr(text, ", NULL, ")); /* gb_per_s of a prompt */
    assert_non_null(strstr(text, "'models/novels-7m'"));
    if (system("command -v sqlite3 >/dev/null") == 0) {
        text =
            run("bench -p 4 -n 2 -r 1 -t 1 -o sql 2>/dev/null | sqlite3 :memory: '.read /dev/stdin' \"SELECT "
                "n_prompt, n_gen, typeof(avg_ts), typeof(gflops), press FROM llama_bench\"");
        assert_string_equal(text, "4|0|real|real|none\n0|2|real|null|none\n");
    }
}

static void test_tables(void **state) {
    (void)state;
    const char *text = run("bench -p 4 -n 2 -pg 3,2 -d 40 -P knorm -r 1 -t 1" ONLY_RESULT);
    assert_memory_equal(text, "| model  ", 9);
    static const char *const parts[] = {"|         pp4 @ d40 |",
                                        "|         tg2 @ d40 |",
                                        "|     pp3+tg2 @ d40 |",
                                        "| knorm              |   0.5 |",
                                        " GFLOP/s |",
                                        " GB/s |",
                                        "± 0.00 |",
                                        "\nbuild: ",
                                        "not included: tokenising"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(text, i < 3 ? parts[i] + 10 : parts[i]) == NULL) {
            fail_msg("'%s' is not in\n%s", parts[i], text);
        }
    }
    text = run("bench -p 4 -n 0 -r 1 -t 1 -o table" ONLY_RESULT);
    assert_null(strchr(text, '|'));
    assert_non_null(strstr(text, " pp4 "));
    text = run("bench -p 4 -n 0 -r 1 -t 1" ONLY_ERRORS);
    assert_memory_equal(text, "limits: ", 8);
    assert_non_null(strstr(run("bench --help"), "-p, --n-prompt"));
    assert_null(strstr(run("bench --help"), "ngl"));
}

static void test_errors(void **state) {
    (void)state;
    static const struct {
        const char *args, *part;
        int exit_code;
    } cases[] = {
        {"-ngl 99", "processor only", 2},
        {"--n-gpu-layers 99", "processor only", 2},
        {"-fa 1", "one attention", 2},
        {"-ctk q5_0", "expected f32, f16, bf16, q8_0, q4_0, q4_1 or iq4_nl, found 'q5_0'", 2},
        {"--kv-residual 3", "--kv-residual: expected a quantised cache type (-ctk, -ctv), found f32 and f32",
         2},
        {"--kv-residual x", "--kv-residual: expected 0 to 1048576 tokens, found 'x'", 2},
        {"--kv-hadamard yes", "--kv-hadamard: expected on or off, found 'yes'", 2},
        {"-ctk q4_0 -m tests/golden/families/llama",
         "expected heads of a multiple of 32 dimensions, found 16", 2},
        {"-mmp 0", "packed into memory", 2},
        {"-m models/novels-7m -hff x.gguf", "-hff: expected", 2},
        {"-embd 1", "embedding", 2},
        {"-C 0x3", "taskset", 2},
        {"-ub 512", "rows of one pass are fixed", 2},
        {"-p 1-", "--n-prompt: expected", 2},
        {"-p 8-4", "--n-prompt: expected", 2},
        {"-p 0-8*2", "--n-prompt: expected", 2},
        {"-p 1-8*1", "--n-prompt: expected", 2},
        {"-p 1-8+0", "--n-prompt: expected", 2},
        {"-p 1-65", "--n-prompt: expected up to 64", 2},
        {"-p 5,,6", "separated by commas", 2},
        {"-p -5", "--n-prompt: expected", 2},
        {"-b 0", "--batch-size: expected", 2},
        {"-t 0", "--threads: expected", 2},
        {"-t 257", "--threads: expected", 2},
        {"-pg 512", "-pg: expected two numbers", 2},
        {"-pg 512,0", "-pg: expected two numbers", 2},
        {"-r 0.5", "keep ratios: --ratio", 2},
        {"-r 0", "--repetitions: expected", 2},
        {"--ratio 1", "--ratio: expected", 2},
        {"--compression-ratio 0", "--compression-ratio: expected", 2},
        {"-P knorm -d 40 --kv-budget 1KiB -p 2 -n 0 -t 1", "bytes: expected at least 12288 for 40 tokens", 2},
        {"-o xml", "--output: expected", 2},
        {"-oe xml", "--output-err: expected", 2},
        {"-P knorm", "expected a depth above 0", 2},
        {"-P snapkw -d 5", "unknown press 'snapkw'", 2},
        {"-P knorm:size=50 -d 40 -p 2 -n 0 -t 1", "expected to evict at depth 40", 2},
        {"--isa sse9", "instruction set", 2},
        {"--n-promt 5", "did you mean --n-prompt", 2},
        {"novels", "expected options only", 2},
        {"-p", "expected N[,...], found nothing", 2},
        {"-m /nowhere", "E_IO", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int exit_code = -1;
        char args[256];
        snprintf(args, sizeof args, "bench %s", cases[i].args);
        const char *text = test_run(&exit_code, args);
        if (strstr(text, cases[i].part) == NULL || exit_code != cases[i].exit_code) {
            fail_msg("%s: exit code %d, %s", args, exit_code, text);
        }
    }
}

/* What was measured before an error is still valid JSON. */
static void test_rows_before_an_error(void **state) {
    (void)state;
    int exit_code = -1;
    json_t *rows = NULL;
    const char *text =
        test_run(&exit_code, "bench -p 4 -n 0 -r 1 -t 1 -o json -m models/novels-7m -m /nowhere" ONLY_RESULT);
    assert_int_equal(exit_code, 4);
    assert_ok(kvl_json_parse(&rows, text, strlen(text), "bench", &assert_ok_err));
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_csv_and_jsonl),
        cmocka_unit_test(test_sql),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_rows_before_an_error),
    };
    /* relative paths of models stay short in the output */
    return chdir(test_path("")) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
