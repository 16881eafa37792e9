/* kvlab inspect as a user runs it. */
#include "support.h"

#include "gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Output (both streams) of the program; *exit_code is set. Static. */
static const char *run(const char *args, const char *path, int *exit_code) {
    static char text[16384];
    char command[4096];
    snprintf(command, sizeof command, "'%s' inspect %s '%s' 2>&1", getenv("KVL_PROGRAM"), args, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(text, 1, sizeof text - 1, pipe);
    text[n] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    *exit_code = WEXITSTATUS(status);
    return text;
}

static void test_checkpoint(void **state) {
    (void)state;
    int exit_code = -1;
    const char *text = run("", test_path("models/novels-7m"), &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "6 layers, width 256, 4 heads of 64"));
    /* 2 (key, value) * 6 layers * 4 heads * 64 dimensions * 4 bytes */
    assert_non_null(strstr(text, "12288 bytes of keys and values per token"));
    assert_non_null(strstr(text, "6836224"));
}

static void test_gguf(void **state) {
    (void)state;
    int exit_code = -1;
    const char *text = run("-t -k", test_path("tests/fuzz/corpus/gguf/small.gguf"), &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "GGUF version 3, 4 metadata entries"));
    assert_non_null(strstr(text, "general.architecture = llama"));
    assert_non_null(strstr(text, "list = [2 values]"));
    assert_non_null(strstr(text, "[2, 4]  a\n"));
    assert_non_null(strstr(text, "Q8_0"));
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
    assert_non_null(strstr(run("--tensor", "x", &exit_code), "--tensors"));
    assert_int_equal(exit_code, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_large_file_is_not_read),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
