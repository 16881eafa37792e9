/* Sweep files: what they say is what the command line would have said, and presets are such files. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static void write_text(const char *name, const char *text) {
    test_save(test_temp_path(name), text, strlen(text));
}

/* Runs in the temporary folder; the copy of all it printed is the caller's. */
static char *run(int exit_code, const char *args) {
    kvl_str command = {0};
    kvl_str text = {0};
    char part[4096];
    kvl_str_printf(&command, "cd '%s' && exec 2>&1 '%s' %s", test_temp_dir(), getenv("KVL_PROGRAM"), args);
    FILE *pipe = popen(kvl_str_text(&command), "r");
    assert_non_null(pipe);
    for (size_t got = 0; (got = fread(part, 1, sizeof part, pipe)) != 0;) {
        kvl_str_append(&text, part, got);
    }
    const int status = pclose(pipe);
    kvl_str_free(&command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != exit_code) {
        fail_msg("%s: expected exit code %d, found status %d: %s", args, exit_code, status,
                 kvl_str_text(&text));
    }
    return text.data != NULL ? text.data : kvl_strndup("", 0);
}

static void check_error(const char *args, int exit_code, const char *part) {
    char *text = run(exit_code, args);
    if (strstr(text, part) == NULL || strchr(text, '\n') != text + strlen(text) - 1) {
        fail_msg("%s: expected one line with '%s', found '%s'", args, part, text);
    }
    kvl_free(text);
}

static void check_file_error(const char *content, const char *part) {
    write_text("bad.yaml", content);
    check_error("sweep -C bad.yaml", 2, part);
}

static void test_bad_files(void **state) {
    (void)state;
    check_file_error("\n# a comment\nratos: 0.5\n",
                     "kvlab: E_USAGE: bad.yaml:3: unknown key 'ratos'; did you mean ratio");
    check_file_error("polices: [knorm]\n", "bad.yaml:1: unknown key 'polices'; did you mean policies");
    check_file_error("xyzzy: 1\n", "bad.yaml:1: unknown key 'xyzzy'\n");
    check_file_error("help: true\n", "bad.yaml:1: help stands on a command line only");
    check_file_error("config: other.yaml\n", "bad.yaml:1: config stands on a command line only");
    check_file_error("ratio: [0.5, 2]\n",
                     "bad.yaml:1: --ratio: expected a keep ratio above 0 and at most 1, found '2'");
    check_file_error("ratio:\n  - 0.5\n  - none\n", "bad.yaml:3: --ratio: expected a keep ratio");
    check_file_error("threads: [1]\n", "bad.yaml:1: threads: expected N, found a list");
    check_file_error("threads: {a: 1}\n", "bad.yaml:1: threads: expected N, found a mapping");
    check_file_error("threads:\n", "bad.yaml:1: threads: expected N, found nothing");
    check_file_error("threads: 1e1\n",
                     "bad.yaml:1: --threads: expected a whole number from 1 to 256, found '1e1'");
    check_file_error("quality: yes\n", "bad.yaml:1: quality: expected true or false, found 'yes'");
    check_file_error("kv-hadamard: no\n", "bad.yaml:1: --kv-hadamard: expected on or off, found 'no'");
    check_file_error("samples: []\n", "bad.yaml:1: samples: expected NAMES, found a list");
    check_file_error("press: [[knorm]]\n", "bad.yaml:1: press: expected PRESS[,...], found a list");
    check_file_error("arith: f64\n", "bad.yaml:1: ");
    check_file_error("preset: ucurv\n", "bad.yaml:1: --preset: unknown 'ucurv'; did you mean ucurve");
    check_file_error("[ratio]\n", "bad.yaml:1: expected options as 'key: value', found a list");
    check_file_error("mean-ppl: true\n", "bad.yaml:1: mean-ppl: expected policies beside it");
    check_file_error("preset: ucurve\npolicies: [knorm]\n",
                     "bad.yaml:1: expected preset or policies, found both");
    check_file_error("samples: W1\nfile: x\n", "expected --samples or --file, found both");
    check_file_error("timing: true\nnll: n\n", "expected --nll or --timing, found both");
    write_text("bad.yaml", "a: 1\nthreads: 1\nthreads: 2\n");
    check_error("sweep -C bad.yaml", 3, "E_DUP: bad.yaml:3:1: key 'threads' stands already in line 2");
    write_text("bad.yaml", "threads: 1\n\tratio: 1\n");
    check_error("sweep -C bad.yaml", 3,
                "E_YAML: bad.yaml:2:1: expected blanks in front of the line, found a tab");
    write_text("bad.yaml", "press: &p knorm\n");
    check_error("sweep -C bad.yaml", 3, "E_UNSUPPORTED: bad.yaml:1:8: expected no anchors");
    check_error("sweep -C none.yaml", 4, "none.yaml: cannot be opened");
    check_error("sweep -C", 2, "expected FILE, found nothing");
}

static void test_bad_presets(void **state) {
    (void)state;
    check_file_error("policies: [knorn]\nsamples: W1\nstream: {max-tokens: 9}\n",
                     "bad.yaml:1: unknown press 'knorn'");
    check_file_error("policies:\n  - knorm\n  - knorm:colour=1\nsamples: W1\nstream: {max-tokens: 9}\n",
                     "bad.yaml:3: ");
    check_file_error("policies: knorm\nstream:\n  max-token: 9\n",
                     "bad.yaml:3: unknown key 'max-token' of stream; did you mean max-tokens");
    check_file_error("policies: knorm\nstream: {max-tokens: 0}\n",
                     "bad.yaml:2: max-tokens: expected a whole number from 1 to 16777216, found '0'");
    check_file_error("policies: knorm\nstream: {max-tokens: 99, prefill: 9, count-from: 8}\n",
                     "bad.yaml:2: stream: expected count-from of at least prefill");
    check_file_error("policies: knorm\nstream: 256\n", "bad.yaml:2: stream: expected a mapping, found '256'");
    check_file_error("policies: knorm\nstream: {prefill: 4}\n", "bad.yaml:2: stream: expected max-tokens");
    check_file_error("policies: knorm\nmean-ppl: on\nstream: {max-tokens: 9}\n",
                     "bad.yaml:2: mean-ppl: expected true or false, found 'on'");
    check_file_error("policies: knorm\nnote: \"two\\nlines\"\nstream: {max-tokens: 9}\n",
                     "bad.yaml:2: note: expected a line of text");
    check_file_error("policies: knorm\nratio: 0.5,x\nstream: {max-tokens: 9}\n",
                     "bad.yaml:2: ratio: expected keep ratios above 0 and at most 1, found '0.5,x'");
    check_file_error("policies: knorm\nprotocol: streams\n", "bad.yaml:2: protocol: expected a protocol");
    check_file_error("policies: knorm\nstream: {max-tokens: 90}\n",
                     "preset bad: expected samples, --samples or --file");
    write_text("bad.yaml", "policies: knorm\n");
    check_error("sweep -C bad.yaml", 3,
                "bad.yaml: expected stream with max-tokens, or a protocol of windows");
    write_text("bad.yaml", "ratio: 0.5\n");
    check_error("sweep --preset bad.yaml", 3, "bad.yaml: expected a preset with policies, found none");
    write_text("bad.yaml", "preset: ucurve\n");
    check_error("sweep --preset ./bad.yaml", 2,
                "./bad.yaml:1: expected a preset, found a file that names one");
    write_text("a name.yaml", "policies: knorm\nstream: {max-tokens: 9}\n");
    check_error("sweep --preset \"a name.yaml\"", 2, "a name.yaml: expected a file name of letters");
    check_error("sweep --preset ./none.yaml", 4, "./none.yaml: cannot be opened");
}

/* A data folder without presets, or with one that is broken. */
static void test_presets_folder(void **state) {
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/root", test_temp_dir());
    assert_int_equal(setenv("KVL_DATA_DIR", path, 1), 0);
    check_error("sweep", 3, "root/presets: expected the folder of presets: No such file");
    check_error("sweep --help", 3, "root/presets: expected the folder of presets: No such file");
    assert_ok(kvl_dir_create(test_temp_path("root/presets"), NULL));
    check_error("sweep --help", 3, "root/presets: expected presets (*.yaml), found none");
    write_text("root/presets/ucurve.yaml", "policies: [knorm]\nstream: {max-tokens: none}\n");
    check_error("sweep", 2, "root/presets/ucurve.yaml:2: max-tokens: expected a whole number");
    check_error("sweep --help", 2, "root/presets/ucurve.yaml:2: max-tokens: expected a whole number");
    write_text("root/presets/ucurve.yaml", "policies: [knorm]\nstream: {max-tokens: 99}\nthreads: 1\n");
    check_error("sweep --help", 2, "root/presets/ucurve.yaml:3: unknown key 'threads' of a preset");
    assert_int_equal(unsetenv("KVL_DATA_DIR"), 0);
}

/* ---- the same run ---- */

/* The per-token NLLs that a run leaves, each bit of them. */
static char *nlls_of(const char *args) {
    char command[1024];
    char *bytes = NULL;
    size_t n = 0;
    snprintf(command, sizeof command, "sweep -q --no-chart --nll n.jsonl %s", args);
    kvl_free(run(0, command));
    assert_ok(kvl_file_load(&bytes, &n, test_temp_path("n.jsonl"), 1 << 24, NULL));
    return bytes;
}

static void check_same_run(const char *a, const char *b) {
    char *first = nlls_of(a);
    char *second = nlls_of(b);
    assert_true(strlen(first) > 1000);
    assert_string_equal(first, second);
    kvl_free(first);
    kvl_free(second);
}

static void test_a_file_is_a_command_line(void **state) {
    (void)state;
    write_text("s.yaml",
               "# lists, texts with commas, flags, words that YAML would take for others\n"
               "preset: ucurve-fair\npress: [\"knorm(high)\", 'snapkv(window=8,kernel=3):recent=4']\n"
               "ratio: [0.9, \"0.50\"]\nsamples:\n  - W1\n  - P1\nmax-tokens: 0090\nkv-hadamard: off\n"
               "cache-type-k: q8_0\nbos: never\nthreads: \"2\"\nquality: false\n");
    check_same_run("-C s.yaml",
                   "--preset ucurve-fair -P \"knorm(high),snapkv(window=8,kernel=3):recent=4\" -r 0.9,0.5 "
                   "--samples \"W1 P1\" --max-tokens 90 -ctk q8_0 --bos never");
    /* what the command line says wins: a value, a list as a whole, and what stands for it */
    check_same_run(
        "-C s.yaml -P knorm -ctk f16 --samples W2",
        "--preset ucurve-fair -P knorm -r 0.9,0.5 --samples W2 --max-tokens 90 -ctk f16 --bos never");
    check_same_run(
        "-C s.yaml -P knorm --kv-budget 200KiB --preset ucurve",
        "--preset ucurve -P knorm --kv-budget 200KiB --samples W1 --samples P1 --max-tokens 90 -ctk q8_0 "
        "--bos never");
    write_text("text.txt",
               "It was a bright cold day in April, and the clocks were striking thirteen. Nobody looked up.");
    check_same_run(
        "-C s.yaml -f text.txt -P knorm:cap=8",
        "--preset ucurve-fair -P knorm:cap=8 -r 0.9,0.5 -f text.txt --max-tokens 90 -ctk q8_0 --bos never");
    write_text("t.yaml", "no-store: true\nplot: true\nsamples: W1\nratio: 0.5\nmax-tokens: 60\n");
    check_same_run("-C t.yaml --store t.db --no-plot", "--samples W1 -r 0.5 --max-tokens 60");
    assert_true(kvl_file_exists(test_temp_path("t.db")));
    write_text("t.yaml", "timing: true\nsamples: W1\nratio: 0.5\nmax-tokens: 60\n");
    check_same_run("-C t.yaml --timing=false", "--samples W1 -r 0.5 --max-tokens 60");
}

/* Without comments, which say where a value came from. */
static void strip_comments(char *text) {
    char *to = text;
    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n');
        char *comment = line[0] == '#' ? line : strstr(line, " # ");
        const size_t n = (size_t)((comment != NULL && comment < end ? comment : end) - line);
        memmove(to, line, n);
        to += n;
        if (n != 0) {
            *to++ = '\n';
        }
        line = end + 1;
    }
    *to = '\0';
}

static void check_round_trip(const char *args, const char *const *lines) {
    char command[1024];
    snprintf(command, sizeof command, "sweep --show-config %s", args);
    char *shown = run(0, command);
    for (; *lines != NULL; lines++) {
        if (strstr(shown, *lines) == NULL) {
            fail_msg("%s: expected '%s', found %s", args, *lines, shown);
        }
    }
    write_text("shown.yaml", shown);
    char *again = run(0, "sweep --show-config -C shown.yaml");
    strip_comments(shown);
    strip_comments(again);
    assert_true(strlen(shown) > 20);
    assert_string_equal(shown, again);
    check_same_run(args, "-C shown.yaml");
    kvl_free(shown);
    kvl_free(again);
}

static void test_show_config(void **state) {
    (void)state;
    static const char *const defaults[] = {
        "\npreset: ucurve # default\n",
        "\nratio: [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3] # preset\n",
        "\nsamples: \"W1 W2 W3 P1 P2\" # preset\n",
        "\nmax-tokens: 40 # command line\n",
        "\n# not set: model, ",
        "\n#   - \"knorm:cap=32:skip=0\"\n",
        "\n#   baseline-tokens: 512\n",
        NULL};
    check_round_trip("--max-tokens 40", defaults);
    static const char *const windows[] = {
        "\npreset: prefill-continue # command line\n",    "\nprotocol: prefill-continue # preset\n",
        "\npress: \"snapkv(window=8)\" # command line\n", "\nprefill: 40 # command line\n",
        "\nratio: [0.5, 0.25] # command line\n",          NULL};
    check_round_trip("--preset prefill-continue -P \"snapkv(window=8)\" -r 0.5 -r 0.25 --prefill 40 --score "
                     "20 --samples W1",
                     windows);
    write_text("s.yaml", "preset: ucurve-fair\nthreads: 1\nmax-tokens: 50\nquality: true\noutput: md\n");
    static const char *const layers[] = {"\npreset: ucurve-fair # s.yaml:1\n",
                                         "\nthreads: 2 # command line\n", "\nmax-tokens: 50 # s.yaml:3\n",
                                         "\nquality: false # command line\n", NULL};
    check_round_trip("-C s.yaml -t 1 -t 2 --quality=false --samples W1", layers);
    write_text("own.yaml", "policies: [\"knorm:cap=20\"]\nsamples: [W1, W2]\nstream: {max-tokens: "
                           "60}\nthreads: 1\nratio: 0.5,0.25\n");
    static const char *const own[] = {"\npreset: own.yaml # own.yaml:1\n", "\nthreads: 1 # own.yaml:4\n",
                                      "\nsamples: [W1, W2] # own.yaml:2\n", NULL};
    check_round_trip("-C own.yaml", own);
    check_error("sweep --show-config -P knorn", 2, "unknown press 'knorn'"); /* only what would run */
    check_error("sweep --show-config --dry-run -o csv", 2, "--dry-run");
}

/* Whether a word stands in a text by itself. */
static bool has_word(const char *text, const char *word, size_t n) {
    for (const char *at = strchr(text, word[0]); at != NULL; at = strchr(at + 1, word[0])) {
        if (strncmp(at, word, n) == 0 && (at == text || strchr(" \n", at[-1]) != NULL) &&
            strchr(",:\n", at[n]) != NULL && at[n] != '\0') {
            return true;
        }
    }
    return false;
}

/* Each option of the help is a key, set or not, but those that are of a command line only. */
static void test_every_option_is_a_key(void **state) {
    (void)state;
    char *help = run(0, "sweep --help");
    char *shown = run(0, "sweep --show-config");
    size_t n_keys = 0;
    size_t n_others = 0;
    for (const char *line = strstr(help, "options:\n"); line != NULL && line[1] != '\0';
         line = strchr(line + 1, '\n')) {
        const char *end = strchr(line + 1, '\n');
        const char *name = strstr(line, "--");
        if (end == line + 1) {
            break;
        }
        if (name == NULL || name > line + 18) {
            continue;
        }
        const size_t n = strcspn(name + 2, " \n");
        n_keys += has_word(shown, name + 2, n);
        n_others += !has_word(shown, name + 2, n);
    }
    assert_true(n_keys > 30);
    assert_int_equal(n_others, 3); /* help, config, show-config */
    kvl_free(help);
    kvl_free(shown);
}

/* ---- presets ---- */

static json_t *plan_of(const char *args) {
    char command[1024];
    char path[4096];
    json_t *plan = NULL;
    snprintf(command, sizeof command, "sweep --dry-run -o json %s >plan.json", args);
    kvl_free(run(0, command));
    snprintf(path, sizeof path, "%s", test_temp_path("plan.json"));
    assert_ok(kvl_json_load(&plan, path, 1 << 26, NULL));
    json_object_del(plan, "memory_bytes"); /* what is free and how fast it was depend on the moment */
    json_object_del(plan, "measured_rows_per_s");
    json_object_del(plan, "estimated_s");
    return plan;
}

/* A preset by its name, as a path and as a sweep file: the same cells. */
static void test_shipped_presets(void **state) {
    (void)state;
    static const char *const names[] = {"ucurve-2phase", "ucurve-compare", "prefill-continue", "kv-fix512"};
    for (size_t i = 0; i < 4; i++) {
        char args[8500];
        const char *more = i == 2 ? "--samples B1" : "";
        snprintf(args, sizeof args, "--preset %s %s", names[i], more);
        json_t *by_name = plan_of(args);
        snprintf(args, sizeof args, "--preset %s/%s.yaml %s", test_path("presets"), names[i], more);
        json_t *by_path = plan_of(args);
        snprintf(args, sizeof args, "-C %s/%s.yaml %s", test_path("presets"), names[i], more);
        json_t *by_file = plan_of(args);
        assert_true(json_equal(by_name, by_path));
        assert_true(json_equal(by_name, by_file));
        assert_string_equal(json_string_value(json_object_get(by_name, "preset")), names[i]);
        json_decref(by_name);
        json_decref(by_path);
        json_decref(by_file);
    }
}

/* One's own, with options beside what only presets have; its file names the results. */
static void test_own_preset(void **state) {
    (void)state;
    write_text("mine.yaml", "policies: \"knorm:cap=32:skip=0\"\nratio: [0.9, 0.5]\nsamples: W1 P1\n"
                            "stream: {max-tokens: 80, baseline-tokens: 100}\nmean-ppl: true\nthreads: 1\n"
                            "note: >-\n  made for\n  a test\n");
    char *text = run(0, "sweep -q --preset ./mine.yaml --out pics");
    assert_non_null(strstr(text, "mine on novels-7m\n"));
    assert_non_null(strstr(text, "mean of the samples"));
    assert_non_null(strstr(text, "one pass over at most 100 tokens"));
    assert_non_null(strstr(text, "note: made for a test\n"));
    assert_non_null(strstr(text, ", 1 thread,"));
    assert_true(kvl_file_exists(test_temp_path("pics/mine.novels-7m.png")));
    kvl_free(text);
    check_same_run("--preset mine.yaml", "-C mine.yaml");
    check_same_run("--preset mine.yaml -r 0.5 --samples W1", "-C mine.yaml -r 0.5 --samples W1");
}

/* A plan tells which cells are stored, counts the others, and leaves the store alone. */
static void test_plan_of_the_rest(void **state) {
    (void)state;
    const char *const options = "-C rest.yaml --store rest.db -o json";
    write_text("rest.yaml", "samples: W1 W2\nmax-tokens: 60\npress: knorm:cap=20\nratio: [0.9, 0.5]\n");
    json_t *plan = plan_of(options);
    const json_int_t rows = json_integer_value(json_object_get(plan, "rows"));
    assert_int_equal(json_integer_value(json_object_get(plan, "n_stored")), 0);
    assert_false(kvl_file_exists(test_temp_path("rest.db"))); /* not made */
    json_decref(plan);
    kvl_free(run(0, "sweep -q --no-chart -C rest.yaml --store rest.db -r 0.5 --samples W2"));
    plan = plan_of(options);
    assert_int_equal(json_integer_value(json_object_get(plan, "n_cells")), 6);
    assert_int_equal(json_integer_value(json_object_get(plan, "n_stored")), 2);
    assert_in_range(json_integer_value(json_object_get(plan, "rows")), 1, rows - 1);
    size_t index = 0;
    json_t *cell = NULL;
    json_array_foreach(json_object_get(plan, "cells"), index, cell) {
        const char *policy = json_string_value(json_object_get(cell, "policy"));
        const bool is_stored = strcmp(json_string_value(json_object_get(cell, "sample")), "W2") == 0 &&
                               strstr(policy, "0.9") == NULL;
        assert_int_equal(json_is_true(json_object_get(cell, "is_stored")), is_stored);
    }
    assert_int_equal(index, 6);
    json_decref(plan);
    char *text = run(0, "sweep --dry-run -v -C rest.yaml --store rest.db -r 0.5 --samples W2");
    assert_non_null(strstr(text, "\nstore    2 of 2 cells are in rest.db: what follows is of the others\n"
                                 "tokens   0 through the model instead of 0: 0 % is shared"));
    assert_non_null(strstr(text, "\nstore  W2 "));
    kvl_free(text);
    plan = plan_of("-C rest.yaml --no-store -r 0.5 --samples W2");
    assert_int_equal(json_integer_value(json_object_get(plan, "n_stored")), 0);
    json_decref(plan);
}

/* The files that the documentation shows are such files. */
static void test_examples_of_the_docs(void **state) {
    (void)state;
    size_t n_bytes = 0;
    size_t n_files = 0;
    char *text = test_load("docs/sweep-files.md", &n_bytes);
    for (const char *at = strstr(text, "```yaml\n"); at != NULL; at = strstr(at, "```yaml\n")) {
        const char *begin = at + strlen("```yaml\n");
        const char *end = strstr(begin, "```");
        assert_non_null(end);
        test_save(test_temp_path("example.yaml"), begin, (size_t)(end - begin));
        char *shown = run(0, "sweep -C example.yaml --show-config");
        assert_non_null(strstr(shown, "# example.yaml:"));
        kvl_free(shown);
        n_files++;
        at = end;
    }
    assert_int_equal(n_files, 2);
    kvl_free(text);
}

/* The same of commands without presets. */
static void test_other_commands(void **state) {
    (void)state;
    static const struct {
        const char *args, *content, *line;
    } cases[] = {
        {"explain -C c.yaml --only H3", "only: H8,H9\nbudget: full\nseed: 3\n",
         "\nbudget: full # c.yaml:2\nonly: H3 # command line\nseed: 3 # c.yaml:3\n"},
        {"needle -C c.yaml --kv-budget 1MiB", "length: [64, 128]\nratio: [0.5, 0.3]\ntask: needle\n",
         "\ntask: needle # c.yaml:3\nlength: [64, 128] # c.yaml:1\nkv-budget: 1MiB # command line\n"},
        {"recommend -C c.yaml --max-kv-ratio 0.5", "ttft: +10%\nkv-budget: 1MiB\nsame-types: true\n",
         "\nmax-kv-ratio: 0.5 # command line\nttft: \"+10%\" # c.yaml:1\nsame-types: true # c.yaml:3\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char args[256];
        write_text("c.yaml", cases[i].content);
        snprintf(args, sizeof args, "%s --show-config", cases[i].args);
        char *shown = run(0, args);
        if (strstr(shown, cases[i].line) == NULL) {
            fail_msg("%s: expected '%s', found %s", cases[i].args, cases[i].line, shown);
        }
        write_text("c.yaml", shown);
        snprintf(args, sizeof args, "%.*s -C c.yaml --show-config", (int)strcspn(cases[i].args, " "),
                 cases[i].args);
        char *again = run(0, args);
        strip_comments(shown);
        strip_comments(again);
        assert_string_equal(shown, again);
        kvl_free(shown);
        kvl_free(again);
    }
    write_text("c.yaml", "preset: ucurve\n");
    check_error("needle -C c.yaml", 2, "c.yaml:1: unknown key 'preset'");
    write_text("c.yaml", "max-dnl: 1\n");
    check_error("recommend -C c.yaml", 2, "c.yaml:1: unknown key 'max-dnl'; did you mean max-dnll");
    write_text("c.yaml", "- seed\n");
    check_error("explain -C c.yaml", 2, "c.yaml:1: expected options as 'key: value', found a list");
    write_text("c.yaml", "trials: 2\nlength: 120\npress: knorm\n");
    char *by_file = run(0, "needle -q -C c.yaml -o csv");
    char *by_line = run(0, "needle -q -n 2 -c 120 -P knorm -o csv");
    assert_true(strlen(by_file) > 100);
    assert_string_equal(by_file, by_line);
    kvl_free(by_file);
    kvl_free(by_line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_presets),
        cmocka_unit_test(test_presets_folder),
        cmocka_unit_test(test_a_file_is_a_command_line),
        cmocka_unit_test(test_show_config),
        cmocka_unit_test(test_every_option_is_a_key),
        cmocka_unit_test(test_shipped_presets),
        cmocka_unit_test(test_own_preset),
        cmocka_unit_test(test_examples_of_the_docs),
        cmocka_unit_test(test_plan_of_the_rest),
        cmocka_unit_test(test_other_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
