/* kvlab tokenize: output, options, errors. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static const char *run(const char *args, int *exit_code) {
    char command[4096];
    snprintf(command, sizeof command, "tokenize %s", args);
    return test_run(exit_code, command);
}

static void expect(const char *args, int want_exit, const char *want) {
    int exit_code = -1;
    const char *text = run(args, &exit_code);
    if (exit_code != want_exit || strstr(text, want) == NULL) {
        fail_msg("tokenize %s: expected exit %d and '%s', found exit %d: %s", args, want_exit, want,
                 exit_code, text);
    }
}

static void test_ids_and_tokens(void **state) {
    (void)state;
    expect("-p 'Hi there' --ids", 0, "[40, 73, 478]\n");
    expect("-p 'Hi there' --show-count", 0,
           "    40 -> 'H'\n    73 -> 'i'\n   478 -> ' there'\nTotal number of tokens: 3\n");
    expect("-p '' --ids", 0, "[]\n");
    expect("-p 'a<|endoftext|>' --ids --parse-special", 0, ", 0]\n");
    int exit_code = 0;
    assert_null(strstr(run("-p 'a<|endoftext|>' --ids", &exit_code), ", 0]"));
}

static void test_bos_and_files(void **state) {
    (void)state;
    char args[1024];
    const char *model = test_path("tests/golden/tokenizer/files/gguf-llama2.gguf");
    snprintf(args, sizeof args, "-m '%s' -p a", model);
    expect(args, 0, "     1 -> '<s>'\n");
    snprintf(args, sizeof args, "-m '%s' -p a --no-bos", model);
    int exit_code = 0;
    assert_null(strstr(run(args, &exit_code), "<s>"));
    test_save(test_temp_path("text"), "Hi there", 8);
    snprintf(args, sizeof args, "-f '%s' --ids", test_temp_path("text"));
    expect(args, 0, "[40, 73, 478]\n");
    snprintf(args, sizeof args, "-f - --ids < '%s'", test_temp_path("text"));
    expect(args, 0, "[40, 73, 478]\n");
}

/* What a token holds never reaches the terminal as a control sequence. */
static void test_nothing_drives_the_terminal(void **state) {
    (void)state;
    int exit_code = -1;
    test_save(test_temp_path("escape"), "\x1b]0;x\x07\xc2\x9b", 8);
    char args[1024];
    snprintf(args, sizeof args, "-f '%s'", test_temp_path("escape"));
    const char *text = run(args, &exit_code);
    assert_int_equal(exit_code, 0);
    assert_non_null(strstr(text, "\\x1b"));
    for (const char *c = text; *c != '\0'; c++) {
        assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
    }
    assert_null(strstr(text, "\xc2\x9b"));
}

static void test_errors(void **state) {
    (void)state;
    expect("", 2, "expected one of -p TEXT and -f FILE, found neither");
    expect("-p a -f b", 2, "found both");
    expect("word", 2, "found 'word'");
    expect("-p a --idz", 2, "did you mean --ids");
    expect("-f /nonexistent/file", 4, "/nonexistent/file");
    expect("-p a -m /nonexistent", 4, "/nonexistent");
    expect("--help", 0, "llama-tokenize");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_tokens),
        cmocka_unit_test(test_bos_and_files),
        cmocka_unit_test(test_nothing_drives_the_terminal),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
