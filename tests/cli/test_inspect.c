/* kvlab inspect as a user runs it. */
#include "support.h"

#include "gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Output (both streams) of the program; *exit_code is set. Static. */
static const char *run(const char *args, const char *path, int *exit_code) {
    char command[4096];
    snprintf(command, sizeof command, "inspect %s '%s'", args, path);
    return test_run(exit_code, command);
}

static json_t *run_json(const char *args, const char *path) {
    json_t *json = NULL;
    int exit_code = -1;
    const char *text = run(args, path, &exit_code);
    assert_int_equal(exit_code, 0);
    assert_ok(kvl_json_parse(&json, text, strlen(text), "inspect", &assert_ok_err));
    return json;
}

static json_int_t int_of(const json_t *json, const char *name) {
    assert_true(json_is_integer(json_object_get(json, name)));
    return json_integer_value(json_object_get(json, name));
}

static void test_checkpoint(void **state) {
    (void)state;
    int exit_code = -1;
    const char *text = run("", test_path("models/novels-7m"), &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "6 layers, width 256, 4 heads of 64"));
    /* 2 (key, value) * 6 layers * 4 heads * 64 dimensions * 4 bytes */
    assert_non_null(strstr(text, "12288 bytes of keys and values per token"));
    assert_non_null(strstr(text, "f16 would be 6144"));
    assert_non_null(strstr(text, "6836224"));
}

/* By hand for novels-7m: matrices are f16 in the file and in memory (and have multiples of 32 columns),
 * vectors f16 in the file and f32 in memory. */
static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *name;
        json_int_t n_matrix;
        json_int_t n_vector;
    } kinds[] = {{"embedding", 4096 * 256, 0},
                 {"output", 4096 * 256, 0},
                 {"attention", 6 * (256 * 768 + 256 * 256), 6 * (768 + 256)},
                 {"feed-forward", 6 * 2 * 256 * 1024, 6 * (1024 + 256)},
                 {"norms", 0, (2 * 6 + 1) * 2 * 256}};
    json_t *json = run_json("-o json -t", test_path("models/novels-7m"));
    const json_t *model = json_object_get(json, "model");
    assert_true(json_is_true(json_object_get(json, "can_run")));
    assert_int_equal(int_of(model, "n_params"), 6836224);
    assert_int_equal(int_of(model, "kv_bytes_per_token_f16"), 6144);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const json_t *kind = json_object_get(json_object_get(model, "kinds"), kinds[i].name);
        assert_int_equal(int_of(kind, "file_bytes"), (kinds[i].n_matrix + kinds[i].n_vector) * 2);
        assert_int_equal(int_of(kind, "memory_bytes"), kinds[i].n_matrix * 2 + kinds[i].n_vector * 4);
    }
    assert_int_equal(int_of(json_object_get(json_object_get(json, "types"), "F16"), "values"), 6836224);
    assert_int_equal(json_array_size(json_object_get(json, "tensors")), 76);
    json_decref(json);
}

static void save_model(const char *config) {
    char command[4096];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -R '%s' '%s'", test_temp_path("m"),
             test_path("tests/golden/families/llama"), test_temp_path("m"));
    assert_int_equal(system(command), 0);
    test_save(test_temp_path("m/config.json"), config, strlen(config));
}

/* What is there is shown all the same, with the reason why it does not run. */
static void test_not_supported(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *status, *reason;
    } cases[] = {
        {"\"llama\"", "\"mamba\"", "E_UNSUPPORTED", "found 'mamba'"},
        {"\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"dynamic\"}", "E_UNSUPPORTED",
         "found 'dynamic'"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "E_EXTRA", "expected only tensors"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "E_MISSING", "expected tensor"},
        {"\"intermediate_size\": 96", "\"intermediate_size\": 95", "E_SHAPE", "expected [95, 64]"},
    };
    size_t n = 0;
    char *config = test_load("tests/golden/families/llama/config.json", &n);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvl_str changed = {0};
        const char *at = strstr(config, cases[i].from);
        assert_non_null(at);
        kvl_str_printf(&changed, "%.*s%s%s", (int)(at - config), config, cases[i].to,
                       at + strlen(cases[i].from));
        save_model(kvl_str_text(&changed));
        json_t *json = run_json("-o json", test_temp_path("m"));
        assert_true(json_is_false(json_object_get(json, "can_run")));
        assert_string_equal(json_string_value(json_object_get(json, "status")), cases[i].status);
        assert_non_null(strstr(json_string_value(json_object_get(json, "reason")), cases[i].reason));
        assert_non_null(json_object_get(json_object_get(json, "types"), "F16"));
        json_decref(json);
        kvl_str_free(&changed);
    }
    int exit_code = -1;
    assert_non_null(strstr(run("", test_temp_path("m"), &exit_code), "cannot be run: E_SHAPE"));
    kvl_free(config);
    /* a type whose size is not known makes the whole file unreadable */
    char *gguf = test_load("tests/fuzz/corpus/gguf/small.gguf", &n);
    assert_int_equal(gguf[0xf8], 8); /* type of tensor b: Q8_0 */
    gguf[0xf8] = 16;
    test_save(test_temp_path("iq2.gguf"), gguf, n);
    kvl_free(gguf);
    assert_non_null(strstr(run("", test_temp_path("iq2.gguf"), &exit_code), "IQ2_XXS"));
    assert_int_equal(exit_code, 3);
}

static void test_gguf(void **state) {
    (void)state;
    int exit_code = -1;
    const char *text = run("-t -k", test_path("tests/fuzz/corpus/gguf/small.gguf"), &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "GGUF version 3, 4 metadata entries"));
    assert_non_null(strstr(text, "cannot be run: E_"));
    assert_non_null(strstr(text, "general.architecture = llama"));
    assert_non_null(strstr(text, "list = [2 values]"));
    assert_non_null(strstr(text, "[2, 4]  a\n"));
    assert_non_null(strstr(text, "Q8_0"));
    json_t *json = run_json("-k -o json", test_path("tests/golden/families/gemma3/model.gguf"));
    const json_t *model = json_object_get(json, "model");
    assert_int_equal(int_of(model, "n_local_layers"), 6);
    assert_int_equal(int_of(json_object_get(json_object_get(model, "kinds"), "output"), "memory_bytes"),
                     0); /* tied */
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "metadata"), "general.architecture")),
        "gemma3");
    json_decref(json);
}

/* Bytes read by this process and by the children it has waited for; 0 where the system does not say. */
static unsigned long long bytes_read(void) {
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    if (f == NULL || fscanf(f, "rchar: %llu", &n) != 1) {
        n = 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

/* A sparse file of 5 GB: the program reads the first megabyte. */
static void test_large_file_is_not_read(void **state) {
    (void)state;
    kvl_str f = {0};
    int exit_code = -1;
    const uint64_t n_bytes = 5ull << 30;
    put_head(&f, 3, 1, 1);
    put_string(&f, "general.architecture", "llama");
    put_info(&f, "large", 2, (const uint64_t[]){1 << 15, n_bytes >> 17}, 0, 0);
    put_data(&f, 0);
    const char *path = test_temp_path("large.gguf");
    test_save(path, f.data, f.len);
    unsigned long long before = bytes_read();
    if (before == 0 || truncate(path, (off_t)(f.len + n_bytes)) != 0) {
        skip(); /* a file system without sparse files */
    }
    assert_non_null(strstr(run("-t", path, &exit_code), "5368709120 bytes"));
    assert_int_equal(exit_code, 0);
    unsigned long long n_read = bytes_read() - before;
    assert_in_range(n_read, 1 << 20, 8 << 20);
    kvl_str_free(&f);
    assert_int_equal(unlink(path), 0);
}

static void test_errors(void **state) {
    (void)state;
    int exit_code = -1;
    assert_non_null(strstr(run("", test_temp_path("none.gguf"), &exit_code), "E_IO"));
    assert_int_equal(exit_code, 4);
    test_save(test_temp_path("text.gguf"), "not a model at all", 18);
    assert_non_null(strstr(run("", test_temp_path("text.gguf"), &exit_code), "E_MAGIC"));
    assert_int_equal(exit_code, 3);
    assert_non_null(strstr(run("-o xml", "x", &exit_code), "expected table or json"));
    assert_non_null(strstr(run("--tensor", "x", &exit_code), "--tensors"));
    assert_int_equal(exit_code, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_not_supported),
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_large_file_is_not_read),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
