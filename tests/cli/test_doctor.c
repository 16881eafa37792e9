/* kvlab doctor on this source tree, and on damaged copies of its data. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "models/novels-7m"

static void shell(const char *command) { assert_int_equal(system(command), 0); }

/* A fresh copy of model and goldens; the program is pointed at it. The text stays a link. */
static const char *fresh_copy(void) {
    char command[16384];
    const char *root = test_temp_path("root");
    snprintf(
        command, sizeof command,
        "rm -rf '%s' && mkdir -p '%s/models' '%s/data' && cp -R '%s' '%s/models/' && cp '%s' '%s/data/' && "
        "ln -s '%s' '%s/data/'",
        root, root, root, test_path(MODEL), root, test_path("data/doctor.json"), root,
        test_path("data/wiki.test.raw"), root);
    shell(command);
    assert_int_equal(setenv("KVL_DATA_DIR", root, 1), 0);
    return root;
}

/* Changes n bytes of a file of the copy. */
static void overwrite(const char *name, long offset, const void *bytes, size_t n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", test_temp_path("root"), name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* The first line of the output that begins so, cut at its end. */
static const char *line_of(const char *text, const char *start) {
    static char line[1024];
    const char *at = strstr(text, start);
    if (at == NULL) {
        fail_msg("expected '%s' in\n%s", start, text);
    }
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

static const char *failing(int expected_exit_code) {
    int exit_code = -1;
    const char *text = test_run(&exit_code, "doctor");
    if (exit_code != expected_exit_code) {
        fail_msg("exit code %d:\n%s", exit_code, text);
    }
    return text;
}

static void test_healthy(void **state) {
    (void)state;
    static const char *const names[] = {"version", "isa",     "data",       "file",   "model", "tokenizer",
                                        "nll",     "threads", "processors", "memory", "clock"};
    int exit_code = -1;
    json_t *json = NULL;
    fresh_copy();
    const char *text = test_run(&exit_code, "doctor -o json");
    assert_int_equal(exit_code, 0);
    assert_ok(kvl_json_parse(&json, text, strlen(text), "doctor", &assert_ok_err));
    assert_int_equal(json_integer_value(json_object_get(json, "failed")), 0);
    const json_t *checks = json_object_get(json, "checks");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t n_found = 0;
        for (size_t k = 0; k < json_array_size(checks); k++) {
            const json_t *check = json_array_get(checks, k);
            n_found += strcmp(json_string_value(json_object_get(check, "check")), names[i]) == 0;
            assert_string_not_equal(json_string_value(json_object_get(check, "result")), "FAIL");
        }
        assert_true(n_found >= 1);
    }
    json_decref(json);
    text = test_run(&exit_code, "doctor");
    assert_non_null(strstr(line_of(text, "ok    nll"), "4.299067 nats"));
    assert_null(strstr(text, "FAIL"));
}

static void test_flipped_byte(void **state) {
    (void)state;
    fresh_copy();
    overwrite(MODEL "/model.safetensors", 9000001, "\x3a", 1);
    const char *text = failing(6);
    assert_non_null(strstr(line_of(text, "FAIL  file"), "model.safetensors: hash: expected"));
    assert_non_null(strstr(text, "expected every check to pass, found 1 that failed"));
}

/* Weights that are finite and wrong show in the likelihood too. */
static void test_wrong_weights(void **state) {
    (void)state;
    static const char zeros[400000];
    fresh_copy();
    overwrite(MODEL "/model.safetensors", 9000000, zeros, sizeof zeros);
    assert_non_null(strstr(line_of(failing(6), "FAIL  nll"), "expected a mean NLL of 4.299067"));
}

static void test_infinite_weight(void **state) {
    (void)state;
    static const uint16_t infinity = 0x7c00;
    fresh_copy();
    overwrite(MODEL "/model.safetensors", 9000000, &infinity, sizeof infinity);
    const char *text = failing(6);
    assert_non_null(strstr(line_of(text, "FAIL  model"), "E_NONFINITE"));
    line_of(text, "ok    tokenizer");
    assert_non_null(strstr(line_of(text, "note  nll"), "not checked"));
}

static void test_missing_merge(void **state) {
    (void)state;
    size_t n = 0;
    fresh_copy();
    char *bytes = test_load(MODEL "/tokenizer.json", &n);
    char *merges = strstr(bytes, "\"merges\": [");
    assert_non_null(merges);
    char *first = strchr(merges + 11, '[');
    char *end = strchr(first, ']') + 2; /* behind the comma */
    memset(first, ' ', (size_t)(end - first));
    overwrite(MODEL "/tokenizer.json", 0, bytes, n);
    kvl_free(bytes);
    const char *text = failing(6);
    assert_non_null(strstr(line_of(text, "FAIL  tokenizer"), "E_CHECK: text 0"));
    assert_non_null(strstr(line_of(text, "FAIL  file"), "tokenizer.json"));
}

static void test_no_data(void **state) {
    (void)state;
    char command[4096];
    const char *root = fresh_copy();
    snprintf(command, sizeof command, "rm '%s/" MODEL "/model.safetensors'", root);
    shell(command);
    const char *text = failing(6);
    assert_non_null(strstr(line_of(text, "FAIL  file"), "E_IO"));
    line_of(text, "FAIL  model");
    overwrite("data/doctor.json", 0, "[]", 2);
    assert_non_null(strstr(line_of(failing(6), "FAIL  data"), "E_JSON"));
    test_save(test_temp_path("root/data/doctor.json"), "{\"model\":\"" MODEL "\",\"nll\":3}", 36);
    line_of(failing(6), "FAIL  tokenizer"); /* goldens without texts check nothing: not a pass */
    assert_int_equal(setenv("KVL_DATA_DIR", test_temp_path("nowhere"), 1), 0);
    assert_non_null(strstr(line_of(failing(6), "FAIL  data"), "E_IO"));
    int exit_code = -1;
    assert_non_null(strstr(test_run(&exit_code, "doctor -o xml"), "expected table or json"));
    assert_int_equal(exit_code, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),       cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_wrong_weights), cmocka_unit_test(test_infinite_weight),
        cmocka_unit_test(test_missing_merge), cmocka_unit_test(test_no_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
