/* The program as a user meets it: exit codes, one clear line for every bad input, and the documented outputs.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct outcome {
    int exit_code;
    char *out; /* stdout, or stderr for run_error */
    size_t n;
} outcome;

static outcome run(const char *redirect, const char *args) {
    char command[4096];
    kvl_str text = {0};
    snprintf(command, sizeof command, "cd '%s' && '%s' %s %s", test_temp_dir(), getenv("KVL_PROGRAM"), args,
             redirect);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char part[4096];
    for (size_t got = 0; (got = fread(part, 1, sizeof part, pipe)) != 0;) {
        kvl_str_append(&text, part, got);
    }
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return (outcome){WEXITSTATUS(status), text.data != NULL ? text.data : kvl_strndup("", 0), text.len};
}

static outcome run_ok(const char *args) {
    outcome o = run("2>/dev/null", args);
    if (o.exit_code != 0) {
        fail_msg("%s: exit code %d", args, o.exit_code);
    }
    return o;
}

/* Expects the exit code, nothing on stdout, and one line on stderr that holds the part. */
static void check_error(const char *args, int exit_code, const char *part) {
    outcome out = run("2>/dev/null", args);
    outcome err = run("2>&1 >/dev/null", args);
    if (err.exit_code != exit_code || strstr(err.out, part) == NULL) {
        fail_msg("%s: expected exit %d and '%s', found exit %d: %s", args, exit_code, part, err.exit_code,
                 err.out);
    }
    assert_int_equal(out.n, 0);
    assert_ptr_equal(strchr(err.out, '\n'), err.out + err.n - 1); /* exactly one line */
    assert_int_equal(strncmp(err.out, "kvlab: E_", 9), 0);
    kvl_free(out.out);
    kvl_free(err.out);
}

static void test_bad_usage(void **state) {
    (void)state;
    check_error("sweeep", 2, "did you mean sweep");
    check_error("sweep --presset ucurve", 2, "did you mean --preset");
    check_error("sweep --preset ucurv", 2, "did you mean ucurve");
    check_error("sweep --preset", 2, "expected NAME|FILE.yaml, found nothing");
    check_error("sweep -x", 2, "unknown option '-x'");
    check_error("sweep extra", 2, "found 'extra'");
    check_error("sweep --timing=yes", 2, "expected no value");
    check_error("sweep -r 0", 2, "--ratio: expected a keep ratio above 0 and at most 1, found '0'");
    check_error("sweep -r -1", 2, "found '-1'");
    check_error("sweep -r 1.5", 2, "found '1.5'");
    check_error("sweep -r nan", 2, "found 'nan'");
    check_error("sweep -r 0.5,,0.4", 2, "separated by commas");
    check_error("sweep --compression-ratio 1", 2, "compression ratio");
    check_error("sweep -P nosuch", 2, "unknown press 'nosuch'");
    check_error("sweep -P 'knorm(up)'", 2, "low|high");
    check_error("sweep -P knorm:keep=2", 2, "found '2'");
    check_error("sweep -P knorm:colour=1", 2, "unknown key 'colour'");
    check_error("sweep --samples A61", 2, "sample A61: expected an article from 1 to 60");
    check_error("sweep --samples W1 -f x", 2, "expected --samples or --file, found both");
    check_error("sweep -t 0", 2, "--threads");
    check_error("sweep -t 1000", 2, "--threads");
    check_error("sweep -o xml", 2, "found 'xml'");
    check_error("sweep --isa mmx", 2, "found 'mmx'");
    check_error("sweep --max-tokens 1025", 2, "expected at most 1024 (the context of novels-7m), found 1025");
    check_error("sweep --max-tokens 1e3", 2, "whole number");
    check_error(
        "sweep --preset ucurve-compare --max-tokens 100", 2,
        "expected at least 258 tokens per sample (it scores from step 256), found 100 (--max-tokens)");
    check_error("sweep --memory 2GB", 2, "--memory: expected a size as 8GiB, 512MiB or 65536, found '2GB'");
    check_error("sweep --memory 0", 2, "--memory");
    check_error("sweep --dry-run --timing", 2, "--dry-run: expected no --timing");
    check_error("sweep --dry-run -o csv", 2, "-o table or json");
    check_error("sweep --dry-run --nll n", 2, "expected --nll or --dry-run, found both");
    check_error("sweep --timing -o csv", 2, "--timing: expected -o table or jsonl");
    check_error("sweep --timing --nll n", 2, "expected --nll or --timing, found both");
}

/* The next line of *text without its end, or NULL; *text moves on. */
static char *next_line(char **text) {
    char *line = *text;
    char *end = strchr(line, '\n');
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    *text = end + 1;
    return line;
}

static void write_text(const char *name, const char *text) {
    test_save(test_temp_path(name), text, strlen(text));
}

static void test_bad_texts(void **state) {
    (void)state;
    write_text("empty.txt", "");
    write_text("blank.txt", " \n \n");
    write_text("one.txt", "a");
    check_error("sweep -f empty.txt", 3, "empty.txt: expected a text");
    check_error("sweep -f blank.txt", 3, "white space");
    check_error("sweep -f one.txt", 3, "at least 2 tokens");
    check_error("sweep -f absent.txt", 4, "absent.txt: cannot be opened");
    check_error("sweep -f .", 4, "regular file");
    write_text("short.txt", "only a few words here\n");
    check_error("sweep --preset ucurve-compare -f short.txt", 3, "expected more than 257 tokens");
}

/* Copies the model into a fresh folder below the temporary one. */
static void copy_model(const char *name) {
    char command[8192];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'",
             test_temp_path(name), test_path("models/novels-7m"), test_temp_path(name), test_temp_path(name));
    assert_int_equal(system(command), 0);
}

static void edit(const char *file, const char *from, const char *to) {
    size_t n = 0;
    char *text = NULL;
    assert_int_equal(kvl_file_load(&text, &n, test_temp_path(file), 1 << 28, NULL), KVL_OK);
    char *at = strstr(text, from);
    assert_non_null(at);
    kvl_str out = {0};
    kvl_str_append(&out, text, (size_t)(at - text));
    kvl_str_puts(&out, to);
    kvl_str_append(&out, at + strlen(from), n - (size_t)(at - text) - strlen(from));
    test_save(test_temp_path(file), kvl_str_text(&out), out.len);
    kvl_str_free(&out);
    kvl_free(text);
}

static void test_bad_models(void **state) {
    (void)state;
    check_error("sweep -m nowhere", 4, "nowhere");
    copy_model("m1");
    edit("m1/config.json", "\"gpt_neox\"", "\"nosuch\"");
    check_error("sweep -m m1", 3, "nosuch");
    copy_model("m2");
    edit("m2/config.json", "\"hidden_size\": 256", "\"hidden_size\": 128");
    check_error("sweep -m m2", 3, "m2/");
    copy_model("m3");
    edit("m3/config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 0");
    check_error("sweep -m m3", 3, "num_attention_heads");
    copy_model("m4");
    assert_int_equal(truncate(test_temp_path("m4/model.safetensors"), 1000000), 0);
    check_error("sweep -m m4", 3, "model.safetensors");
    copy_model("m5");
    assert_int_equal(remove(test_temp_path("m5/tokenizer.json")), 0);
    check_error("sweep -m m5", 4, "tokenizer.json");
    copy_model("m6");
    write_text("m6/tokenizer.json", "{\"model\":{\"type\":\"WordPiece\"}}");
    check_error("sweep -m m6", 3, "model.type: expected BPE");
    copy_model("m7");
    edit("m7/config.json", "\"gelu\"", "\"swish9\"");
    check_error("sweep -m m7", 3, "swish9");
    copy_model("m8");
    write_text("m8/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    check_error("sweep -m m8", 3, "LFS");
}

/* A NaN weight: the last four bytes of the file belong to the last tensor. */
static void test_nan_weight(void **state) {
    (void)state;
    copy_model("m9");
    FILE *f = fopen(test_temp_path("m9/model.safetensors"), "r+b");
    assert_non_null(f);
    fseek(f, -2, SEEK_END);
    fwrite("\xff\x7f", 1, 2, f);
    fclose(f);
    check_error("sweep -m m9", 3, "E_NONFINITE");
}

static void test_nothing_half_written(void **state) {
    (void)state;
    write_text("plain", "a file, not a folder");
    check_error("sweep -r 0.5 --max-tokens 40 --no-chart -q --nll nowhere/x.jsonl -o jsonl", 4,
                "nowhere/x.jsonl");
    outcome o = run("2>&1 >/dev/null", "sweep -r 0.5 --max-tokens 40 --out plain");
    assert_int_equal(o.exit_code, 4);
    kvl_free(o.out);
    o = run("2>&1 >/dev/full", "sweep -r 0.5 --max-tokens 40 --no-chart");
    assert_int_equal(o.exit_code, 4);
    assert_non_null(strstr(o.out, "standard output"));
    kvl_free(o.out);
}

static void test_table_and_pictures(void **state) {
    (void)state;
    outcome o = run_ok("sweep --out pics");
    assert_non_null(strstr(o.out, "181.26"));
    assert_non_null(strstr(o.out, "explosion"));
    assert_non_null(strstr(o.out, "this is the U-curve"));
    assert_non_null(strstr(o.out, "every step scored, no BOS;"));
    assert_non_null(strstr(o.out, "; 12681 tokens computed, 15354 if every cell ran alone\n"));
    assert_non_null(strstr(o.out, "full cache"));
    assert_true(kvl_file_exists(test_temp_path("pics/ucurve.novels-7m.png")));
    assert_true(kvl_file_exists(test_temp_path("pics/ucurve.novels-7m.svg")));
    assert_true(kvl_file_exists(test_temp_path("pics/ucurve.novels-7m.pdf")));
    kvl_free(o.out);
    o = run_ok("sweep --preset ucurve-dead --no-chart -r 0.5");
    assert_non_null(strstr(o.out, "nothing evicted"));
    assert_null(strstr(o.out, "U-curve"));
    kvl_free(o.out);
}

/* Every line is an object with the documented fields; 11 ratios x 5 samples. */
/* Step by step below 300 KiB: layer 0, left alone, holds 127 tokens of 2048 bytes; 4 entries are left for the
 * heads of each other layer, (307200 - 260096) / 10240 = 4.6. In f16 it is (307200 - 130048) / 5120 = 34.6.
 */
static void test_budgets(void **state) {
    (void)state;
    static const struct {
        const char *types;
        int n_bytes;
    } cases[] = {{"", 127 * 2048 + 4 * 10240}, {"-ctk f16 -ctv f16", 127 * 1024 + 34 * 5120}};
    for (size_t i = 0; i < 2; i++) {
        char args[256];
        char part[64];
        snprintf(args, sizeof args,
                 "sweep -o jsonl --no-chart -P knorm,recency --kv-budget 300KiB --max-tokens 128 %s",
                 cases[i].types);
        outcome o = run_ok(args);
        snprintf(part, sizeof part, "\"kv_bytes_live\":%d,", cases[i].n_bytes);
        size_t n = 0;
        for (const char *at = o.out; (at = strstr(at, part)) != NULL; at++) {
            n++;
        }
        assert_int_equal(n, 10); /* two presses on five samples */
        assert_non_null(strstr(o.out, "\"policy\":\"knorm:bytes=300KiB:cap=1:skip=0\",\"keep_ratio\":null"));
        kvl_free(o.out);
    }
    outcome o =
        run_ok("sweep -o csv --no-chart -P knorm,recency:size=9 --kv-budget 300KiB -r 0.5 --max-tokens 48");
    assert_non_null(strstr(o.out, "\"knorm:keep=0.5:"));
    assert_non_null(strstr(o.out, "knorm:bytes=300KiB:"));
    assert_non_null(strstr(o.out, "recency:size=9:"));
    assert_null(strstr(o.out, "recency:bytes"));
    kvl_free(o.out);
    check_error("sweep -P knorm --kv-budget 30KiB --max-tokens 128", 2,
                "policy knorm: bytes: expected at least 270336 for 127 tokens");
    check_error("sweep --kv-budget 1XB", 2, "--kv-budget: expected a size");
}

static void test_jsonl(void **state) {
    (void)state;
    static const char *const fields[] = {
        "schema",   "preset",   "model",   "press", "policy",         "keep_ratio",    "sample",
        "n_tokens", "n_scored", "nll_sum", "ppl",   "kept_per_layer", "kv_bytes_live", "wall_ns"};
    outcome o = run_ok("sweep -o jsonl --no-chart --nll nll.jsonl");
    size_t n_lines = 0;
    char *rest = o.out;
    for (char *line = NULL; (line = next_line(&rest)) != NULL; n_lines++) {
        json_t *cell = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(cell);
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            assert_non_null(json_object_get(cell, fields[i]));
        }
        assert_string_equal(json_string_value(json_object_get(cell, "schema")), "kvlab.cell/1");
        assert_true(json_is_false(json_object_get(cell, "bos")));
        double n = (double)json_integer_value(json_object_get(cell, "n_scored"));
        double ppl = exp(json_real_value(json_object_get(cell, "nll_sum")) / n);
        assert_true(fabs(ppl / json_real_value(json_object_get(cell, "ppl")) - 1) < 1e-12);
        /* live bytes: entries x 4 heads x 64 dimensions x 2 x 4 bytes */
        double entries = 0;
        const json_t *kept = json_object_get(cell, "kept_per_layer");
        for (size_t l = 0; l < json_array_size(kept); l++) {
            entries += json_number_value(json_array_get(kept, l));
        }
        assert_true(entries * 4 * 64 * 8 == json_number_value(json_object_get(cell, "kv_bytes_live")));
        json_decref(cell);
    }
    assert_int_equal(n_lines, 55);
    kvl_free(o.out);
    char *nll = NULL;
    size_t n = 0;
    assert_int_equal(kvl_file_load(&nll, &n, test_temp_path("nll.jsonl"), 1 << 28, NULL), KVL_OK);
    size_t n_nll_lines = 0;
    for (const char *c = nll; *c != '\0'; c++) {
        n_nll_lines += *c == '\n';
    }
    assert_int_equal(n_nll_lines, 60); /* and the baseline on the same tokens */
    kvl_free(nll);
}

static void test_formats_and_options(void **state) {
    (void)state;
    outcome csv = run_ok("sweep -o csv --no-chart -r 0.9,0.5 -P knorm,recency --max-tokens 64");
    assert_int_equal(strncmp(csv.out, "press,policy,keep_ratio", 23), 0);
    assert_non_null(strstr(csv.out, "\"recency\",\"recency:keep=0.5:cap=32:skip=0\""));
    kvl_free(csv.out);
    outcome md = run_ok("sweep -o md --no-chart -r 0.5 --max-tokens 64");
    assert_non_null(strstr(md.out, "|---:|"));
    kvl_free(md.out);
    outcome json = run_ok("sweep -o json --no-chart --compression-ratio 0.25 --max-tokens 64");
    json_t *root = json_loads(json.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_array_size(json_object_get(root, "rows")), 2);
    json_decref(root);
    kvl_free(json.out);
    write_text(
        "text.txt",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
        "foolishness, it was the epoch of belief, it was the epoch of incredulity.\n");
    outcome own = run_ok("sweep -f text.txt -r 0.5 -P knorm:cap=8 --no-chart");
    assert_non_null(strstr(own.out, "One sample: no interval"));
    kvl_free(own.out);
}

/* Five samples, untouched up to step 31: 1233 - 5 x 32 tokens read a compressed cache. */
static void test_affected_tokens(void **state) {
    (void)state;
    outcome o = run_ok("sweep -o json --no-chart -r 0.95");
    json_t *root = json_loads(o.out, JSON_REJECT_DUPLICATES, NULL);
    const json_t *row = json_array_get(json_object_get(root, "rows"), 1);
    double n_affected = json_number_value(json_object_get(row, "n_affected"));
    double n_scored = json_number_value(json_object_get(row, "n_scored"));
    assert_true(n_affected == 1073 && n_scored == 1233);
    /* what came before differs by nothing: the two means are one sum over two counts */
    double all = json_number_value(json_object_get(row, "delta_nll"));
    double affected = json_number_value(json_object_get(row, "delta_affected"));
    assert_true(fabs(all * n_scored - affected * n_affected) < 1e-9);
    json_decref(root);
    kvl_free(o.out);
}

static void test_same_bits_for_all_threads(void **state) {
    (void)state;
    outcome one = run_ok("sweep -t 1 -o csv --no-chart --isa avx2 --max-tokens 128");
    outcome three = run_ok("sweep -t 3 -o csv --no-chart --isa=avx2 --max-tokens=128");
    assert_string_equal(one.out, three.out);
    kvl_free(one.out);
    kvl_free(three.out);
}

static json_t *plan_of(const char *args) {
    char command[600];
    snprintf(command, sizeof command, "sweep --dry-run -o json %s", args);
    outcome o = run_ok(command);
    json_t *plan = json_loads(o.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(plan);
    kvl_free(o.out);
    return plan;
}

static uint64_t number_of(const json_t *object, const char *key) {
    assert_true(json_is_integer(json_object_get(object, key)));
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* The plan as JSON, and a run that is cut by the memory it states: the same table. */
static void test_memory_and_waves(void **state) {
    (void)state;
    static const char args[] = "-r 0.9,0.5 -P knorm,recency --max-tokens 64";
    char command[512];
    json_t *whole = plan_of(args);
    assert_string_equal(json_string_value(json_object_get(whole, "schema")), "kvlab.sweep-plan/1");
    assert_int_equal(number_of(whole, "n_cells"), 25);
    assert_int_equal(json_array_size(json_object_get(whole, "cells")), 25);
    assert_int_equal(json_array_size(json_object_get(whole, "waves")), 1);
    assert_true(number_of(whole, "rows") < number_of(whole, "rows_naive"));
    assert_true(json_real_value(json_object_get(whole, "estimated_s")) > 0);
    uint64_t fixed = number_of(whole, "weight_bytes") + number_of(whole, "scratch_bytes");
    uint64_t limit = fixed + number_of(whole, "kv_bytes") / 3;
    snprintf(command, sizeof command, "%s --memory %llu", args, (unsigned long long)limit);
    json_t *cut = plan_of(command);
    size_t n_waves = json_array_size(json_object_get(cut, "waves"));
    assert_true(n_waves >= 3 && fixed + number_of(cut, "kv_bytes") <= limit);
    assert_true(number_of(cut, "memory_bytes") == limit);
    snprintf(command, sizeof command, "sweep --no-chart -o csv %s", args);
    outcome a = run_ok(command);
    snprintf(command, sizeof command, "sweep --no-chart -o csv %s --memory %llu", args,
             (unsigned long long)limit);
    outcome b = run_ok(command);
    assert_string_equal(a.out, b.out);
    snprintf(command, sizeof command, "sweep --no-chart %s --memory %llu", args, (unsigned long long)limit);
    outcome c = run_ok(command);
    char part[64];
    snprintf(part, sizeof part, "if every cell ran alone, in %zu waves", n_waves);
    assert_non_null(strstr(c.out, part));
    snprintf(command, sizeof command, "sweep %s --memory %llu", args, (unsigned long long)fixed);
    check_error(command, 5, "E_NOMEM: sweep: expected at least ");
    json_decref(whole);
    json_decref(cut);
    kvl_free(a.out);
    kvl_free(b.out);
    kvl_free(c.out);
}

static void test_dry_run(void **state) {
    (void)state;
    outcome o = run_ok("sweep --dry-run -r 0.9,0.5 --memory 2GiB");
    assert_non_null(strstr(o.out, "3 policies (the baseline is one) x 5 samples = 15 cells\n"));
    /* 1791 in one pass, with the baseline; 32 steps of each sample for both policies, then each its own */
    assert_non_null(strstr(o.out, "tokens   4097 through the model instead of 5490: 25 % is shared"));
    assert_non_null(strstr(o.out, "limit 2.0 GiB"));
    assert_non_null(strstr(o.out, "from 3 passes of "));
    assert_null(strstr(o.out, "knorm:keep=0.9"));
    kvl_free(o.out);
    o = run_ok("sweep --dry-run -r 0.9,0.5 -v");
    assert_non_null(strstr(o.out, "knorm:keep=0.9:cap=32:skip=0\n"));
    kvl_free(o.out);
    o = run_ok("sweep --dry-run -r 0.5 --preset ucurve-dead");
    assert_non_null(strstr(o.out, "1 of 1 policies never act on texts of at most 512 tokens"));
    kvl_free(o.out);
}

/* A policy given twice runs once and is reported once; keep 1 is the baseline. */
static void test_policies_given_twice(void **state) {
    (void)state;
    outcome o =
        run_ok("sweep --no-chart --max-tokens 40 -r 0.5 -P knorm,knorm:keep=0.50,none,recency:keep=1");
    assert_non_null(strstr(o.out,
                           "note: not run again: knorm:keep=0.5:cap=32:skip=0 (given twice), none (the "
                           "baseline), recency:keep=1:cap=32:skip=0 (the baseline)"));
    kvl_free(o.out);
    o = run_ok("sweep --no-chart --max-tokens 40 -r 0.5 -P knorm,knorm -o csv");
    size_t n_lines = 0;
    for (char *rest = o.out; next_line(&rest) != NULL;) {
        n_lines++;
    }
    assert_int_equal(n_lines, 3); /* head, baseline, one policy */
    kvl_free(o.out);
}

static void test_a_line_per_cell(void **state) {
    (void)state;
    static const char args[] = "sweep --no-chart --max-tokens 40 -r 0.5";
    char command[128];
    snprintf(command, sizeof command, "%s -q", args);
    outcome o = run("2>&1 >/dev/null", command);
    assert_int_equal(o.n, 0);
    kvl_free(o.out);
    o = run("2>&1 >/dev/null", args);
    size_t n_lines = 0;
    char *rest = o.out;
    for (char *line = NULL; (line = next_line(&rest)) != NULL; n_lines++) {
        char start[32];
        snprintf(start, sizeof start, "cell %zu of 10: ", n_lines + 1);
        assert_int_equal(strncmp(line, start, strlen(start)), 0);
        assert_non_null(strstr(line, ": PPL "));
    }
    assert_int_equal(n_lines, 10);
    kvl_free(o.out);
    snprintf(command, sizeof command, "%s -v -q", args);
    o = run("2>&1 >/dev/null", command);
    assert_int_equal(o.n, 0);
    kvl_free(o.out);
}

static void test_timing(void **state) {
    (void)state;
    outcome o = run_ok("sweep --timing -r 0.5");
    assert_non_null(strstr(o.out, "TTFT"));
    assert_non_null(strstr(o.out, "92.9 %"));
    kvl_free(o.out);
    o = run_ok("sweep --timing -r 0.5 -o jsonl");
    char *rest = o.out;
    json_t *full = json_loads(next_line(&rest), 0, NULL);
    json_t *half = json_loads(next_line(&rest), 0, NULL);
    assert_non_null(half);
    double full_bytes = json_number_value(json_object_get(full, "kv_bytes_live"));
    double half_bytes = json_number_value(json_object_get(half, "kv_bytes_live"));
    assert_true(full_bytes == 512.0 * 6 * 4 * 64 * 8);
    assert_true(half_bytes == (512.0 + 5 * 256) * 4 * 64 * 8); /* layer 0 is left alone */
    json_decref(full);
    json_decref(half);
    kvl_free(o.out);
}

static void test_help(void **state) {
    (void)state;
    outcome o = run_ok("--help");
    assert_non_null(strstr(o.out, "sweep"));
    kvl_free(o.out);
    o = run_ok("sweep --help");
    assert_non_null(strstr(o.out, "kv-stream512"));
    assert_non_null(strstr(o.out, "prefill-continue"));
    assert_non_null(strstr(o.out, "kvlab press show NAME"));
    kvl_free(o.out);
    o = run_ok("--version");
    assert_non_null(strstr(o.out, "kvlab 0."));
    kvl_free(o.out);
    o = run("2>/dev/null", "");
    assert_int_equal(o.exit_code, 2);
    kvl_free(o.out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_usage),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_nan_weight),
        cmocka_unit_test(test_nothing_half_written),
        cmocka_unit_test(test_table_and_pictures),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_affected_tokens),
        cmocka_unit_test(test_formats_and_options),
        cmocka_unit_test(test_same_bits_for_all_threads),
        cmocka_unit_test(test_memory_and_waves),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_policies_given_twice),
        cmocka_unit_test(test_a_line_per_cell),
        cmocka_unit_test(test_timing),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
