/* kvlab fetch, and models by name, as a user meets them: exit codes, stdout, stderr. */
#include "hub_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a command line of the program against the test hub; both streams are static until the next call. */
static int run(const char *args, const char **out, const char **errors) {
    static char texts[2][8192];
    char command[8192];
    snprintf(
        command, sizeof command,
        "cd '%s' && HF_HOME='%s' HF_ENDPOINT=%s HF_HUB_CACHE= HF_TOKEN= HF_TOKEN_PATH= %s >out.txt 2>err.txt",
        test_temp_dir(), test_temp_dir(), server.url, args);
    int status = system(command);
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(test_temp_path(i == 0 ? "out.txt" : "err.txt"), "r");
        assert_non_null(f);
        texts[i][fread(texts[i], 1, sizeof texts[i] - 1, f)] = '\0';
        fclose(f);
    }
    *out = texts[0];
    *errors = texts[1];
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Expects an exit code, nothing on stdout and a part of the one error line. */
static void check_error(const char *args, int exit_code, const char *part) {
    const char *out = NULL, *errors = NULL;
    char command[1024];
    snprintf(command, sizeof command, "'%s' %s", getenv("KVL_PROGRAM"), args);
    int found = run(command, &out, &errors);
    if (found != exit_code || strstr(errors, part) == NULL || out[0] != '\0') {
        fail_msg("%s: expected exit %d and '%s', found exit %d: %s", args, exit_code, part, found, errors);
    }
}

static int run_program(const char *before, const char *args, const char **out, const char **errors) {
    char command[1024];
    snprintf(command, sizeof command, "%s '%s' %s", before, getenv("KVL_PROGRAM"), args);
    return run(command, out, errors);
}

static void test_fetch(void **state) {
    (void)state;
    const char *out = NULL, *errors = NULL;
    char want[4200];
    assert_int_equal(run_program("", "fetch org/name:q8_0", &out, &errors), 0);
    snprintf(want, sizeof want, "%s/" SNAPSHOT "sub/m-Q8_0-00001-of-00002.gguf\n", test_temp_dir());
    assert_string_equal(out, want);
    assert_string_equal(errors, "sub/m-Q8_0-00001-of-00002.gguf: 6 bytes\n"
                                "sub/m-Q8_0-00002-of-00002.gguf: 6 bytes\n"); /* no bar without a terminal */
    assert_int_equal(run_program("", "fetch org/name:q8_0", &out, &errors), 0);
    assert_string_equal(out, want);
    assert_non_null(strstr(errors, "6 bytes, already in the cache\n"));
    assert_int_equal(run_program("", "fetch -q org/name -hff sub/m-Q4_K_M.gguf", &out, &errors), 0);
    assert_non_null(strstr(out, "/sub/m-Q4_K_M.gguf\n"));
    assert_string_equal(errors, "");
    assert_int_equal(run_program("HF_TOKEN=hf_secret", "fetch org/name", &out, &errors), 0);
    assert_null(strstr(errors, "hf_secret"));
    assert_string_equal(server.log[server.n_log - 1].token, "Bearer hf_secret");
}

static void test_dry_run(void **state) {
    (void)state;
    const char *out = NULL, *errors = NULL;
    assert_int_equal(run_program("", "fetch --dry-run org/name", &out, &errors), 0);
    assert_string_equal(out, "              8 bytes                0 in the cache  config.json\n"
                             "        3145728 bytes                0 in the cache  model.safetensors\n"
                             "              2 bytes                0 in the cache  tokenizer.json\n"
                             "        3145738 bytes                0 in the cache  in all\n");
    assert_string_equal(errors, "");
    assert_false(has("hub"));
}

static void test_errors(void **state) {
    (void)state;
    check_error("fetch", 2, "expected ORG/NAME");
    check_error("fetch name", 2, "expected ORG/NAME");
    check_error("fetch a/b c/d", 2, "found 'c/d' too");
    check_error("fetch a/b --hf-fil x", 2, "did you mean --hf-file");
    check_error("fetch a/b -hff", 2, "option --hff: expected FILE, found nothing");
    check_error("fetch --offline org/name", 3, "kvlab fetch org/name");
    assert_int_equal(server.n_log, 0);
    check_error("fetch org/name:Q1_0", 3, "a .gguf file of Q1_0");
    server.status = 401;
    hub_set_fault(&server, HUB_STATUS, "GET", "/api/", false, 1);
    check_error("fetch org/name", 4, "E_NET: org/name: HTTP 401");
    const char *out = NULL, *errors = NULL;
    assert_int_equal(run_program("HF_HUB_OFFLINE=1", "fetch org/name", &out, &errors), 3);
    assert_int_equal(run_program("HF_ENDPOINT=ftp://x", "fetch org/name", &out, &errors), 2);
    assert_int_equal(run_program("env -u HOME -u XDG_CACHE_HOME HF_HOME=", "fetch org/name", &out, &errors),
                     2);
}

/* The program's own model, put into the cache as plain files. */
static void test_models_by_name(void **state) {
    (void)state;
    const char *out = NULL, *errors = NULL;
    char command[8192];
    check_error("inspect org/name", 3, "get it with: kvlab fetch org/name (");
    check_error("inspect -hf org/name@v1", 3, "get it with: kvlab fetch org/name@v1 (");
    check_error("sweep -hf org/name:q8_0 --offline", 3, "get it with: kvlab fetch org/name:q8_0 (");
    assert_int_equal(server.n_log, 0); /* nothing is downloaded in passing */
    check_error("sweep -m x -hf org/name", 2, "one of -m and -hf");
    check_error("sweep -hff x.gguf", 2, "expected -hf");
    check_error("inspect a b", 2, "found 'b' too");
    snprintf(command, sizeof command,
             "mkdir -p '%s/" REPO "refs' '%s/" REPO "snapshots' && printf %s >'%s/" REPO "refs/main' && "
             "cp -r '%s' '%s/" SNAPSHOT "'",
             test_temp_dir(), test_temp_dir(), HUB_COMMIT, test_temp_dir(), test_path("models/novels-7m"),
             test_temp_dir());
    assert_int_equal(system(command), 0);
    assert_int_equal(run_program("", "inspect org/name", &out, &errors), 0);
    assert_non_null(strstr(out, "6 layers, width 256"));
    assert_int_equal(run_program("", "inspect --hf-repo=org/name@" HUB_COMMIT, &out, &errors), 0);
    assert_int_equal(
        run_program("", "sweep -hf org/name -o jsonl --no-chart -r 0.5 --max-tokens 40", &out, &errors), 0);
    assert_non_null(strstr(out, "\"model\":\"name\""));
    assert_int_equal(run_program("", "fetch --offline org/name", &out, &errors), 0);
    assert_non_null(strstr(out, "/snapshots/" HUB_COMMIT "\n"));
}

/* SIGINT in the middle of a file: exit 130, and what has come stays. */
static void test_interrupt(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_STALL, "GET", "model.safetensors", true, 1);
    setenv("HF_HOME", test_temp_dir(), 1);
    setenv("HF_ENDPOINT", server.url, 1);
    pid_t pid = fork();
    if (pid == 0) {
        execl(getenv("KVL_PROGRAM"), "kvlab", "fetch", "-q", "org/name", (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    for (uint64_t n = 0; n == 0 || n == UINT64_MAX; n = size_of(blob(2, ".incomplete"))) {
        kvl_sleep_ms(5);
    }
    assert_int_equal(kill(pid, SIGINT), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_true(size_of(blob(2, ".incomplete")) > 0);
    assert_false(has(REPO "refs/main"));
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, hub_fixture_start, hub_fixture_stop)
    const struct CMUnitTest tests[] = {
        T(test_fetch), T(test_dry_run), T(test_errors), T(test_models_by_name), T(test_interrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
