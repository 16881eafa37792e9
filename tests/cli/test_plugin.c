/* Presses from shared objects: the example outside the tree, and every way in which one can be wrong. */
#include "support.h"

#include "kvlab_press.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---- */

static void shell(const char *command) {
    if (system(command) != 0) {
        fail_msg("failed: %s", command);
    }
}

/* Compiles the text to NAME.so in the temporary folder, as a user would: one line of cc. */
static void compile(const char *name, const char *text) {
    char command[8192];
    char file[64];
    snprintf(file, sizeof file, "%s.c", name);
    test_save(test_temp_path(file), text, strlen(text));
    snprintf(command, sizeof command, "cd '%s' && cc -std=c11 -I'%s' -I'%s' -fPIC -shared -o %s.so %s.c",
             test_temp_dir(), test_path("include"), test_path("src"), name, name);
    shell(command);
}

/* A plug-in whose score is an expression, with these fields, and what stands at its end. */
static void compile_press(const char *name, const char *score, const char *fields, const char *end) {
    char text[4096];
    snprintf(text, sizeof text,
             "#include <kvlab_press.h>\n#include <math.h>\n"
             "void elsewhere(void);\n"
             "static const kvl_option options[] = {{.name = \"x\", .kind = KVL_OPTION_NUMBER, .offset = 8,\n"
             "  .initial = \"7\", .min = 0, .max = 5, .help = \"\"}};\n"
             "static void score(const void *c, const kvl_head_view *view, float *scores, float *scratch) {\n"
             "  (void)c; (void)scratch; (void)options;\n"
             "  for (size_t j = 0; j < view->n; j++) scores[j] = %s;\n}\n"
             "static const kvl_press press = {%s};\n%s\n",
             score, fields, end);
    compile(name, text);
}

#define NAMED(name) ".name = \"" name "\", .summary = \"\", .source = \"\""
#define END "KVL_PRESS_PLUGIN(press);"

/* ---- running ---- */

/* Runs the program in the temporary folder; expects its exit code, and the part in what it says. */
static const char *run(const char *environment, const char *args, int exit_code, const char *part) {
    static char *out;
    char command[8192];
    kvl_str text = {0};
    snprintf(command, sizeof command, "cd '%s' && %s '%s' %s 2>&1", test_temp_dir(), environment,
             getenv("KVL_PROGRAM"), args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char block[4096];
    for (size_t got = 0; (got = fread(block, 1, sizeof block, pipe)) != 0;) {
        kvl_str_append(&text, block, got);
    }
    const int status = pclose(pipe) / 256;
    if (status != exit_code || strstr(kvl_str_text(&text), part) == NULL) {
        fail_msg("%s: expected exit %d and '%s', found exit %d: %s", args, exit_code, part, status,
                 kvl_str_text(&text));
    }
    kvl_free(out);
    out = kvl_strndup(kvl_str_text(&text), text.len);
    kvl_str_free(&text);
    return out;
}

/* One line on standard error. */
static void check_error(const char *file, int exit_code, const char *part) {
    char args[256];
    snprintf(args, sizeof args, "sweep --press-so %s -P knorm", file);
    const char *said = run("", args, exit_code, part);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    assert_int_equal(strncmp(said, "kvlab: E_", 9), 0);
}

/* The nll_sum of the last cell of a sweep's JSON lines, as text. */
static void last_nll(char out[32], const char *lines) {
    const char *at = lines;
    for (const char *next = lines; (next = strstr(next, "\"nll_sum\"")) != NULL; next++) {
        at = next;
    }
    assert_int_equal(sscanf(at, "\"nll_sum\": %31[0-9.e+-]", out), 1);
}

static void make_example(void) {
    char command[8192];
    snprintf(command, sizeof command,
             "cp '%s'/farnorm.c '%s'/Makefile '%s' && make -s -C '%s' KVLAB_CFLAGS='-I%s -I%s'",
             test_path("examples/press_plugin"), test_path("examples/press_plugin"), test_temp_dir(),
             test_temp_dir(), test_path("include"), test_path("src"));
    shell(command);
}

#define SHORT "sweep -q --no-chart --max-tokens 48 -o jsonl -r 0.5 "

/* Without its bonus for age the example is knorm: the same bits, alone and within a wrapper. */
static void test_example(void **state) {
    (void)state;
    make_example();
    char mine[32], knorm[32], aged[32];
    last_nll(mine, run("", SHORT "-P 'farnorm(age=0)' --press-so farnorm.so", 0, "\"farnorm@"));
    last_nll(knorm, run("", SHORT "-P knorm", 0, "\"knorm\""));
    last_nll(aged, run("", SHORT "-P farnorm --press-so farnorm.so", 0, "\"farnorm@"));
    assert_string_equal(mine, knorm);
    assert_string_not_equal(aged, knorm);
    last_nll(mine, run("", SHORT "-P 'adakv(farnorm(0))' --press-so ./farnorm.so", 0, "adakv(farnorm@"));
    last_nll(knorm, run("", SHORT "-P 'adakv(knorm)'", 0, "adakv(knorm)"));
    assert_string_equal(mine, knorm);
    run("", "plan --press-so farnorm.so -P farnorm -c 64", 0, "farnorm@");
    run("", "bench --press-so farnorm.so -P farnorm -d 32 -p 0 -n 2 -r 1 -o jsonl", 0,
        "\"press\":\"farnorm@");
    run("", "sweep --press-so farnorm.so --help", 0, "farnorm");
    run("", "sweep -q --no-chart --max-tokens 48 -r 0.5 -P farnorm --press-so farnorm.so", 0,
        " is a plug-in: farnorm.so");
    run("", "press show farnorm --press-so farnorm.so", 0, "farnorm.so (SHA-256 ");
}

/* Records name the file by the first digits of its SHA-256, which a policy's text may ask for. */
static void test_hash(void **state) {
    (void)state;
    make_example();
    char command[8192], digits[9], args[256];
    snprintf(command, sizeof command, "sha256sum '%s'", test_temp_path("farnorm.so"));
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%8s", digits), 1);
    pclose(pipe);
    snprintf(args, sizeof args, SHORT "--press-so farnorm.so -P farnorm@%s", digits);
    char part[64];
    snprintf(part, sizeof part, "\"policy\":\"farnorm@%s:keep=0.5", digits);
    run("", args, 0, part);
    run("", SHORT "--press-so farnorm.so -P farnorm@01234567", 2, "expected the loaded plug-in @");
    run("", SHORT "-P knorm@01234567", 2, "expected no hash (it comes with kvlab), found '@01234567'");
    run("", SHORT "-P farnorm", 2, "unknown press 'farnorm'");
}

static void test_path_variable(void **state) {
    (void)state;
    make_example();
    char command[8192];
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p folder && cp farnorm.so folder && echo > folder/note.txt", test_temp_dir());
    shell(command);
    run("KVL_PRESS_PATH=folder", SHORT "-P farnorm", 0, "\"farnorm@");
    run("KVL_PRESS_PATH=:folder/farnorm.so:", SHORT "-P farnorm", 0, "\"farnorm@");
    run("KVL_PRESS_PATH=folder", SHORT "-P farnorm --press-so folder/farnorm.so", 0, "\"farnorm@");
    run("KVL_PRESS_PATH=folder:nowhere", SHORT "-P farnorm", 4, "nowhere: cannot be opened");
    run("KVL_PRESS_PATH=folder", SHORT "-P farnorm --press-so farnorm.so", 3,
        "farnorm.so: press farnorm: expected a new name, found that of folder/farnorm.so");
}

static void test_broken_files(void **state) {
    (void)state;
    check_error("nowhere.so", 4, "nowhere.so: cannot be opened");
    check_error(".", 4, "regular file");
    test_save(test_temp_path("text.so"), "no object\n", 10);
    check_error("text.so", 3, "text.so: expected a shared object that can be loaded: file too short");
    compile("empty", "int nothing;\n");
    check_error("empty.so", 3, "expected the symbol kvl_press_plugin_v1 (KVL_PRESS_PLUGIN), found none");
    compile_press("other", "(elsewhere(), 0)", NAMED("other") ", .score = score", END);
    check_error("other.so", 3, "undefined symbol: elsewhere");
}

static void test_wrong_interface(void **state) {
    (void)state;
    char part[128];
    compile_press("old", "0", NAMED("old") ", .score = score",
                  "const kvl_press_plugin kvl_press_plugin_v1 = {KVL_PRESS_ABI + 1, "
                  "{KVL_PRESS_ABI_TYPES(KVL_PRESS_ABI_SIZE)}, &press};");
    check_error("old.so", 3, "old.so: plug-in interface: expected version 1, found 2; compile it with");
    compile_press(
        "small", "0", NAMED("small") ", .score = score",
        "const kvl_press_plugin kvl_press_plugin_v1 = {KVL_PRESS_ABI, {sizeof press - 8}, &press};");
    snprintf(part, sizeof part, "plug-in interface: kvl_press: expected %zu bytes, found %zu; compile it",
             sizeof(kvl_press), sizeof(kvl_press) - 8);
    check_error("small.so", 3, part);
    compile_press("null", "0", NAMED("null") ", .score = score",
                  "const kvl_press_plugin kvl_press_plugin_v1 = {KVL_PRESS_ABI, "
                  "{KVL_PRESS_ABI_TYPES(KVL_PRESS_ABI_SIZE)}, (void *)0};");
    check_error("null.so", 3, "null.so: expected a press, found none");
}

static void test_wrong_presses(void **state) {
    (void)state;
    compile_press("taken", "0", NAMED("knorm") ", .score = score", END);
    check_error("taken.so", 3, "press knorm: expected a new name, found that of a press of kvlab");
    compile_press("spaced", "0", NAMED("a b") ", .score = score", END);
    check_error("spaced.so", 3, "name of the press: expected 1 to 40 of a-z, 0-9, - and _, found 'a b'");
    compile_press("silent", "0", ".name = \"silent\", .source = \"\", .score = score", END);
    check_error("silent.so", 3, "press silent: expected a summary, found none");
    compile_press("idle", "0", NAMED("idle"), END);
    check_error("idle.so", 3, "press idle: expected either score or score_layer, found none");
    compile_press("large", "0", NAMED("large") ", .score = score, .conf_bytes = 513", END);
    check_error("large.so", 3, "conf_bytes: expected at most 512, found 513");
    compile_press("beyond", "0",
                  NAMED("beyond") ", .score = score, .options = options, .n_options = 1, .conf_bytes = 8",
                  END);
    check_error("beyond.so", 3, "option x: expected it to end within conf_bytes = 8, found offset 8");
    compile_press("default", "0",
                  NAMED("default") ", .score = score, .options = options, .n_options = 1, .conf_bytes = 16",
                  END);
    check_error("default.so", 3,
                "default: press default: option x: expected a number from 0 to 5, found '7'");
    compile_press("nan", "j == 3 ? NAN : 1", NAMED("nan") ", .score = score", END);
    run("", SHORT "-P nan --press-so nan.so", 6, "press nan: ");
}

/* Every header that a plug-in comes to is one that is installed. */
static void test_headers(void **state) {
    (void)state;
    char command[8192];
    char line[4096];
    size_t n_bytes = 0;
    size_t n = 0;
    char *build = test_load("meson.build", &n_bytes);
    snprintf(command, sizeof command,
             "echo '#include \"kvlab_press.h\"' | cc -std=c11 -I'%s' -I'%s' -M -x c - | tr ' ' '\\n' | "
             "sed -n 's|^%s/||p'",
             test_path("include"), test_path("src"), test_path("src"));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe) != NULL) {
        char word[4200];
        line[strcspn(line, "\n")] = '\0';
        snprintf(word, sizeof word, "'%s'", line);
        if (strstr(build, word) == NULL) {
            fail_msg("meson.build: expected %s among the installed headers, found others", word);
        }
        n++;
    }
    pclose(pipe);
    kvl_free(build);
    assert_true(n >= 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),         cmocka_unit_test(test_hash),
        cmocka_unit_test(test_path_variable),   cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_wrong_interface), cmocka_unit_test(test_wrong_presses),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
