/* What a sweep shows while it runs and at its end, on terminals and elsewhere. */
#define _GNU_SOURCE /* pseudo-terminals */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char sweep[] = "sweep --no-chart -P streaming -r 0.5,0.25 --samples 'W1 W2' --max-tokens 96";

static void run_child(const char *terminal, int stream, const char *command) {
    const int tty = open(terminal, O_RDWR | O_NOCTTY);
    const int none = open("/dev/null", O_RDWR);
    dup2(none, STDIN_FILENO);
    dup2(stream == STDOUT_FILENO ? tty : none, STDOUT_FILENO);
    dup2(stream == STDERR_FILENO ? tty : none, STDERR_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* What the program writes to a terminal of so many columns as one of its streams. */
static kvl_str on_terminal(int stream, unsigned short columns, const char *environment, const char *args) {
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct termios raw;
    kvl_str command = {0};
    kvl_str out = {0};
    char part[4096];
    int exit_code = 0;
    kvl_str_printf(&command, "unset NO_COLOR; TERM=xterm %s '%s' %s", environment, getenv("KVL_PROGRAM"),
                   args);
    const int host = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(host >= 0 && grantpt(host) == 0 && unlockpt(host) == 0);
    const int keep = open(ptsname(host), O_RDWR | O_NOCTTY);
    assert_true(keep >= 0 && tcgetattr(keep, &raw) == 0);
    cfmakeraw(&raw);
    assert_true(tcsetattr(keep, TCSANOW, &raw) == 0 && ioctl(host, TIOCSWINSZ, &size) == 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_child(ptsname(host), stream, kvl_str_text(&command));
    }
    close(keep);
    for (ssize_t n = 0; (n = read(host, part, sizeof part)) > 0;) { /* EIO once the child has closed it */
        kvl_str_append(&out, part, (size_t)n);
    }
    close(host);
    assert_int_equal(waitpid(child, &exit_code, 0), child);
    assert_int_equal(exit_code, 0);
    kvl_str_free(&command);
    return out;
}

static const char *last_part(const char *text, size_t n) {
    const size_t all = strlen(text);
    return text + (all > n ? all - n : 0);
}

static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        n++;
    }
    return n;
}

/* One line, drawn over itself, that leaves a column free and nothing behind. */
static void test_bar(void **state) {
    (void)state;
    static const unsigned short widths[] = {120, 80, 40, 20, 8};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        kvl_str out = on_terminal(STDERR_FILENO, widths[i], "", sweep);
        const char *text = kvl_str_text(&out);
        assert_null(strchr(text, '\n'));
        assert_string_equal(last_part(text, 4), "\r\x1b[K");
        assert_true(count(text, "\r") >= 2);
        for (const char *line = text; *line != '\0'; line++) {
            assert_int_equal(*line, '\r');
            const size_t n = strcspn(line + 1, "\x1b");
            assert_true(n < widths[i]);
            assert_int_equal(strncmp(line + 1 + n, "\x1b[K", 3), 0);
            if (widths[i] >= 80 && n != 0) {
                char shown[256];
                snprintf(shown, sizeof shown, "%.*s", (int)n, line + 1);
                assert_non_null(strstr(shown, "ucurve ["));
                assert_non_null(strstr(shown, " of 6 cells"));
            }
            line += n + 3;
        }
        kvl_str_free(&out);
    }
}

static void test_lines(void **state) {
    (void)state;
    char args[512];
    int exit_code = 0;
    snprintf(args, sizeof args, "%s 2>&1 >/dev/null #", sweep);
    const char *text = test_run(&exit_code, args);
    assert_int_equal(count(text, "cell "), 6);
    assert_int_equal(count(text, "\n"), 6);
    assert_non_null(strstr(text, "cell 6 of 6: "));
    assert_null(strchr(text, 0x1b));
    snprintf(args, sizeof args, "%s --no-progress 2>&1 >/dev/null #", sweep);
    assert_string_equal(test_run(&exit_code, args), "");
    snprintf(args, sizeof args, "%s -q 2>&1 >/dev/null #", sweep);
    assert_string_equal(test_run(&exit_code, args), "");
    kvl_str out = on_terminal(STDERR_FILENO, 80, "TERM=dumb", sweep);
    assert_int_equal(count(kvl_str_text(&out), "cell "), 6);
    assert_null(strchr(kvl_str_text(&out), 0x1b));
    kvl_str_free(&out);
    snprintf(args, sizeof args, "%s -v", sweep); /* lines that stay, above the bar */
    out = on_terminal(STDERR_FILENO, 80, "", args);
    const char *shown = kvl_str_text(&out);
    assert_int_equal(count(shown, "cell "), 6);
    assert_int_equal(
        count(shown, "\r\x1b[Kcell ") + count(shown, "\ncell ") + (strncmp(shown, "cell ", 5) == 0), 6);
    kvl_str_free(&out);
}

/* The columns of a stdout that is a terminal; colours as NO_COLOR and --color say. */
static void test_plot(void **state) {
    (void)state;
    static const struct {
        const char *environment, *options;
        bool has_plot, has_color;
    } cases[] = {{"", "", true, true},
                 {"NO_COLOR=1", "", true, false},
                 {"NO_COLOR=", "", true, true},
                 {"TERM=dumb", "", false, false},
                 {"TERM=dumb", "--plot", true, false},
                 {"", "--color never", true, false},
                 {"NO_COLOR=1", "--color=always", true, true},
                 {"", "--no-plot", false, false},
                 {"", "-o md", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char args[512];
        snprintf(args, sizeof args, "%s %s", sweep, cases[i].options);
        kvl_str out = on_terminal(STDOUT_FILENO, 60, cases[i].environment, args);
        const char *plot = strstr(kvl_str_text(&out), "perplexity (");
        assert_int_equal(strstr(kvl_str_text(&out), "full cache ") != NULL && plot != NULL &&
                             strstr(plot, "\xe2\xa2") != NULL,
                         cases[i].has_plot);
        assert_int_equal(strchr(kvl_str_text(&out), 0x1b) != NULL, cases[i].has_color);
        kvl_str_free(&out);
    }
}

static void test_plot_in_a_file(void **state) {
    (void)state;
    char args[512];
    int exit_code = 0;
    snprintf(args, sizeof args, "%s 2>/dev/null", sweep);
    assert_null(strstr(test_run(&exit_code, args), "\xe2\xa2"));
    snprintf(args, sizeof args, "%s --plot 2>/dev/null", sweep);
    const char *text = test_run(&exit_code, args);
    assert_non_null(strstr(text, "\xe2\xa2"));
    assert_non_null(strstr(text, "o streaming"));
    assert_null(strchr(text, 0x1b));
    snprintf(args, sizeof args, "%s --plot --color always 2>/dev/null", sweep);
    assert_non_null(strchr(test_run(&exit_code, args), 0x1b));
    static const char *const bad[][2] = {{"-o csv", "--plot: expected no -o but table"},
                                         {"--no-plot", "--plot: expected no --no-plot"},
                                         {"--dry-run", "--plot: expected no --dry-run"},
                                         {"--color sometimes", "--color"}};
    for (size_t i = 0; i < 4; i++) {
        snprintf(args, sizeof args, "%s --plot %s", sweep, bad[i][0]);
        assert_non_null(strstr(test_run(&exit_code, args), bad[i][1]));
        assert_int_equal(exit_code, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bar), cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_plot), cmocka_unit_test(test_plot_in_a_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
