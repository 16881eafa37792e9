/* What commands found is in the store: the lines they print, once for each thing they follow from. */
#include "support.h"

#include "store/store.h"

#include <stdio.h>
#include <string.h>

static const char *run(int expected, const char *args, const char *store, const char *more) {
    char command[4096];
    int exit_code = -1;
    snprintf(command, sizeof command, "%s --store '%s' %s 2>/dev/null #", args, store, more);
    const char *text = test_run(&exit_code, command);
    if (exit_code != expected) {
        fail_msg("%s: exit code %d: %s", command, exit_code, text);
    }
    return text;
}

static size_t n_documents;

static kvl_status count(void *ud, const kvl_document *document, kvl_err *err) {
    (void)ud;
    (void)err;
    assert_int_equal(strlen(document->key), 64);
    assert_string_equal(document->model, "novels-7m");
    n_documents++;
    return KVL_OK;
}

static size_t count_documents(const char *path) {
    kvl_store *s = NULL;
    kvl_err err = {0};
    n_documents = 0;
    assert_ok(kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err));
    assert_ok(kvl_store_each_document(s, count, NULL, &err));
    kvl_store_close(s);
    return n_documents;
}

static kvl_document get(const char *path, const char *kind) {
    kvl_store *s = NULL;
    kvl_document d;
    kvl_err err = {0};
    bool is_there = false;
    assert_ok(kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err));
    assert_ok(kvl_store_get_document(s, kind, "novels-7m", &d, &is_there, &err));
    kvl_store_close(s);
    if (!is_there) {
        fail_msg("no document %s in %s", kind, path);
    }
    return d;
}

#define NEEDLE "needle -n 1 -c 160 --depth 50 --max-new 4 -P knorm -q"
#define BENCH "bench -p 16 -n 4 -r 1"
#define EXPLAIN "explain -q --only h11 --samples 'A1-A3'"
#define RECOMMEND "recommend -q -P streaming,knorm -r 0.5 --prompt 64 --new 16 --same-types --no-chart"

/* The lines of a run are those that it prints when asked for them. */
static void lines_are_what_is_printed(void **state) {
    static const struct {
        const char *kind, *args;
    } cases[] = {{"needle", NEEDLE}, {"bench", BENCH}, {"explain-only", EXPLAIN}, {"recommend", RECOMMEND}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = test_temp_path(cases[i].kind);
        const char *text = run(0, cases[i].args, path, "-o jsonl");
        kvl_document d = get(path, cases[i].kind);
        assert_true(d.n_bytes > 200);
        assert_string_equal(d.lines, text);
        assert_int_equal(strncmp(d.command, "kvlab ", 6), 0);
        assert_non_null(strstr(d.command, "-o jsonl"));
        kvl_document_free(&d);
    }
}

/* The format of the output changes nothing, an option that does makes another document. */
static void the_key_is_of_what_lines_follow_from(void **state) {
    (void)state;
    const char *path = test_temp_path("keys");
    assert_non_null(strstr(run(0, NEEDLE, path, ""), "## needle"));
    kvl_document first = get(path, "needle");
    assert_non_null(strstr(first.lines, "kvlab.needle-trial/1"));
    assert_non_null(strstr(first.lines, "kvlab.needle-cell/1"));
    assert_non_null(strstr(first.lines, "kvlab.needle-pair/1"));
    assert_non_null(strstr(run(0, NEEDLE, path, "-o csv -t 1"), "task,policy"));
    kvl_document again = get(path, "needle");
    assert_string_equal(again.key, first.key);
    assert_string_equal(again.lines, first.lines);
    assert_int_equal(count_documents(path), 1);
    run(0, NEEDLE, path, "--seed 7");
    run(0, NEEDLE, path, "-ctk f16");
    run(0, NEEDLE, path, "-r 0.25");
    assert_int_equal(count_documents(path), 4);
    kvl_document_free(&first);
    kvl_document_free(&again);
}

/* Where nothing can be stored, everything was printed before. */
static void a_store_that_fails_is_told_behind_the_results(void **state) {
    (void)state;
    assert_non_null(strstr(run(4, NEEDLE, test_temp_dir(), ""), "again: kvlab needle"));
    assert_non_null(strstr(run(4, BENCH, test_temp_dir(), ""), "build:"));
    const char *path = test_temp_path("nothing");
    int exit_code = -1;
    test_run(&exit_code, NEEDLE); /* of the environment of tests: none */
    assert_int_equal(exit_code, 0);
    run(2, NEEDLE, path, "--no-store");
    assert_false(kvl_file_exists(path));
}

/* A section of a paper is made of what was kept; without a curve it says how to get one. */
static void sections_are_made_of_what_is_kept(void **state) {
    (void)state;
    const char *path = test_temp_path("paper.db");
    const char *tex = test_temp_path("section.tex"), *md = test_temp_path("section.md");
    char args[1024];
    size_t n = 0;
    run(0, NEEDLE, path, "");
    snprintf(args, sizeof args, "report --format tex --out '%s'", tex);
    assert_non_null(strstr(run(0, args, path, ""), "section.tex"));
    kvl_err err = {0};
    char *text = NULL;
    assert_ok(kvl_file_load(&text, &n, tex, 1u << 20, &err));
    assert_non_null(strstr(text, "\\section{KV cache compression on novels-7m}"));
    assert_non_null(strstr(text, "No curve is stored: \\texttt{kvlab sweep}."));
    assert_non_null(strstr(text, "\\item retrieval: \\texttt{kvlab needle -n 1"));
    kvl_free(text);
    snprintf(args, sizeof args, "report --format md --lang zh --out '%s'", md);
    run(0, args, path, "");
    assert_ok(kvl_file_load(&text, &n, md, 1u << 20, &err));
    assert_non_null(strstr(text, "# novels-7m 上的 KV 缓存压缩"));
    kvl_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_what_is_printed),
        cmocka_unit_test(the_key_is_of_what_lines_follow_from),
        cmocka_unit_test(a_store_that_fails_is_told_behind_the_results),
        cmocka_unit_test(sections_are_made_of_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
