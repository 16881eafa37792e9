/* Driving Chromium: messages are JSON, a NUL behind each, written to its descriptor 3 and read from 4. */
#include "report/browser.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 120000 };

static struct {
    pid_t pid;
    int to, from;
    json_int_t last_id;
    char session[80];
    bool is_loaded;
    kvl_str received, complaints;
} browser = {.to = -1, .from = -1};

/* ---- the process ---- */

static const char *find_program(void) {
    static const char *const paths[] = {"/usr/bin/chromium", "/usr/bin/chromium-browser",
                                        "/usr/bin/google-chrome"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (access(paths[i], X_OK) == 0) {
            return paths[i];
        }
    }
    return NULL;
}

bool browser_is_there(void) { return find_program() != NULL; }

/* Of the child: the pipes become 3 and 4; what it prints is of no interest. */
static void become_browser(const char *program, int in, int out) {
    char profile[4200];
    const int quiet = open("/dev/null", O_RDWR);
    const int high_in = fcntl(in, F_DUPFD, 10);
    const int high_out = fcntl(out, F_DUPFD, 10);
    snprintf(profile, sizeof profile, "--user-data-dir=%s", test_temp_path("profile"));
    setpgid(0, 0);
    dup2(quiet, 0);
    dup2(quiet, 1);
    dup2(quiet, 2);
    dup2(high_in, 3);
    dup2(high_out, 4);
    execl(program, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
          "--no-first-run", "--disable-background-networking", "--disable-extensions", "--hide-scrollbars",
          profile, "--remote-debugging-pipe", (char *)NULL);
    _exit(127);
}

static json_t *call_in(const char *session, const char *method, json_t *params);

void browser_start(void) {
    int to[2], from[2];
    test_temp_dir();
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    signal(SIGPIPE, SIG_IGN);
    browser.pid = fork();
    assert_true(browser.pid >= 0);
    if (browser.pid == 0) {
        become_browser(find_program(), to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    browser.to = to[1];
    browser.from = from[0];
    json_t *target = call_in(NULL, "Target.createTarget", json_pack("{s:s}", "url", "about:blank"));
    json_t *attached =
        call_in(NULL, "Target.attachToTarget",
                json_pack("{s:O, s:b}", "targetId", json_object_get(target, "targetId"), "flatten", 1));
    snprintf(browser.session, sizeof browser.session, "%s",
             json_string_value(json_object_get(attached, "sessionId")));
    json_decref(target);
    json_decref(attached);
    static const char *const domains[] = {"Page.enable", "Runtime.enable", "Log.enable"};
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
        json_decref(browser_call(domains[i], NULL));
    }
}

void browser_stop(void) {
    if (browser.pid > 0) {
        kill(-browser.pid, SIGKILL); /* its own group: it and its children, nothing to be saved */
        waitpid(browser.pid, NULL, 0);
    }
    close(browser.to);
    close(browser.from);
    kvl_str_free(&browser.received);
    kvl_str_free(&browser.complaints);
}

/* ---- messages ---- */

static void send_message(json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    const size_t n = strlen(text) + 1;
    for (size_t done = 0; done < n;) {
        const ssize_t sent = write(browser.to, text + done, n - done);
        if (sent <= 0 && errno != EINTR) {
            fail_msg("browser: does not listen: %s", strerror(errno));
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    free(text);
    json_decref(message);
}

/* The next whole message. */
static json_t *receive(void) {
    kvl_str *r = &browser.received;
    const char *end = NULL;
    while (r->len == 0 || (end = memchr(r->data, '\0', r->len)) == NULL) {
        char part[65536];
        struct pollfd wait = {.fd = browser.from, .events = POLLIN};
        if (poll(&wait, 1, PATIENCE_MS) == 0) {
            fail_msg("browser: no answer for %d s", PATIENCE_MS / 1000);
        }
        const ssize_t n = read(browser.from, part, sizeof part);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            fail_msg("browser: has ended");
        }
        kvl_str_append(r, part, n > 0 ? (size_t)n : 0);
    }
    const size_t n = (size_t)(end - r->data);
    json_t *message = json_loadb(r->data, n, 0, NULL);
    assert_non_null(message);
    memmove(r->data, r->data + n + 1, r->len - n - 1);
    r->len -= n + 1;
    return message;
}

static void complain(const char *what, const json_t *params) {
    char *text = json_dumps(params, JSON_COMPACT);
    kvl_str_printf(&browser.complaints, "%s: %.400s\n", what, text);
    free(text);
}

static void take_event(const json_t *message) {
    const char *method = json_string_value(json_object_get(message, "method"));
    const json_t *params = json_object_get(message, "params");
    if (strcmp(method, "Page.loadEventFired") == 0) {
        browser.is_loaded = true;
    } else if (strcmp(method, "Runtime.exceptionThrown") == 0 ||
               strcmp(method, "Runtime.consoleAPICalled") == 0 || strcmp(method, "Log.entryAdded") == 0) {
        complain(method, params);
    }
}

/* Sends a call and takes events until its answer is there. */
static json_t *call_in(const char *session, const char *method, json_t *params) {
    const json_int_t id = ++browser.last_id;
    json_t *message = json_pack("{s:I, s:s, s:o}", "id", id, "method", method, "params",
                                params != NULL ? params : json_object());
    if (session != NULL) {
        json_object_set_new(message, "sessionId", json_string(session));
    }
    send_message(message);
    for (;;) {
        json_t *answer = receive();
        if (json_object_get(answer, "method") != NULL) {
            take_event(answer);
        } else if (json_integer_value(json_object_get(answer, "id")) == id) {
            json_t *result = json_incref(json_object_get(answer, "result"));
            if (result == NULL) {
                fail_msg("browser: %s: %s", method,
                         json_string_value(json_object_get(json_object_get(answer, "error"), "message")));
            }
            json_decref(answer);
            return result;
        }
        json_decref(answer);
    }
}

json_t *browser_call(const char *method, json_t *params) { return call_in(browser.session, method, params); }

/* ---- pages ---- */

void browser_open(const char *path) {
    kvl_str url = {0};
    kvl_str_printf(&url, "file://%s", path);
    browser.is_loaded = false;
    json_decref(browser_call("Page.navigate", json_pack("{s:s}", "url", kvl_str_text(&url))));
    kvl_str_free(&url);
    while (!browser.is_loaded) {
        json_t *event = receive();
        if (json_object_get(event, "method") != NULL) {
            take_event(event);
        }
        json_decref(event);
    }
}

json_t *browser_eval(const char *expression) {
    json_t *result = browser_call("Runtime.evaluate", json_pack("{s:s, s:b, s:b}", "expression", expression,
                                                                "returnByValue", 1, "awaitPromise", 1));
    const json_t *thrown = json_object_get(result, "exceptionDetails");
    if (thrown != NULL) {
        char *text = json_dumps(thrown, JSON_COMPACT);
        fail_msg("browser: %.60s: %.600s", expression, text);
    }
    json_t *value = json_incref(json_object_get(json_object_get(result, "result"), "value"));
    json_decref(result);
    return value;
}

void browser_show(int width, int height, const char *theme, const char *media) {
    json_decref(browser_call("Emulation.setDeviceMetricsOverride",
                             json_pack("{s:i, s:i, s:i, s:b}", "width", width, "height", height,
                                       "deviceScaleFactor", 1, "mobile", 0)));
    json_decref(browser_call("Emulation.setEmulatedMedia",
                             json_pack("{s:s, s:[{s:s, s:s}]}", "media", media, "features", "name",
                                       "prefers-color-scheme", "value", theme)));
}

void browser_shoot(const char *path, size_t n_least) {
    json_t *metrics = browser_call("Page.getLayoutMetrics", NULL);
    const json_t *size = json_object_get(metrics, "cssContentSize");
    json_t *shot = browser_call("Page.captureScreenshot",
                                json_pack("{s:s, s:b, s:{s:i, s:i, s:O, s:O, s:i}}", "format", "png",
                                          "captureBeyondViewport", 1, "clip", "x", 0, "y", 0, "width",
                                          json_object_get(size, "width"), "height",
                                          json_object_get(size, "height"), "scale", 1));
    const char *text = json_string_value(json_object_get(shot, "data"));
    const size_t n = strlen(text);
    unsigned char *png = kvl_calloc(n, 1);
    const int n_png = EVP_DecodeBlock(png, (const unsigned char *)text, (int)n);
    assert_true(n_png > 0 && (size_t)n_png >= n_least);
    if (path != NULL) {
        test_save(path, png, (size_t)n_png);
    }
    kvl_free(png);
    json_decref(shot);
    json_decref(metrics);
}

const char *browser_complaints(void) {
    static char text[4000];
    snprintf(text, sizeof text, "%s", kvl_str_text(&browser.complaints));
    kvl_str_clear(&browser.complaints);
    return text;
}
