/* Downloads that must fail, wait or stop: refusals, hostile answers, full disks, other processes. */
#include "hub_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *header;
        const char *token;
        const char *part;
    } bad[] = {
        {401, "X-Error-Code: RepoNotFound\r\n", NULL, "HTTP 401 RepoNotFound"},
        {401, "", NULL, "set HF_TOKEN"},
        {401, "", "hf_x", "the token (HF_TOKEN) is not accepted"},
        {403, "X-Error-Code: GatedRepo\r\n", "hf_x", "HTTP 403 GatedRepo"},
        {404, "X-Error-Code: RevisionNotFound\r\n", NULL, "HTTP 404 RevisionNotFound"},
        {418, "X-Error-Code: a\x1b[2J\r\n", NULL, "HTTP 418 a\\x1b[2J"},
        {429, "Retry-After: 100000\r\n", NULL, "it asks to wait 100000 s"},
        {204, "", NULL, "expected HTTP 200"},
    };
    static const char *const places[] = {"/api/models/", "config.json"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            kvl_str out = {0};
            kvl_err err = {0};
            server.status = bad[i].status;
            server.header = bad[i].header;
            size_t n_before = server.n_log;
            hub_set_fault(&server, HUB_STATUS, "GET", places[k], false, 100);
            kvl_status status =
                fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, NULL, bad[i].token, &err);
            if (status != KVL_E_NET || strstr(err.msg, bad[i].part) == NULL) {
                fail_msg("expected '%s', found %s: %s", bad[i].part, kvl_status_name(status), err.msg);
            }
            assert_null(strstr(err.msg, "hf_x"));
            assert_int_equal(100 - server.n_faults, 1); /* no second try */
            assert_true(server.n_log > n_before);
            kvl_str_free(&out);
        }
    }
    memcpy(server.url, "http://127.0.0.1:1", sizeof "http://127.0.0.1:1"); /* nobody there */
    check_fails("org/name", KVL_E_NET, "org/name: download failed");
}

static void test_retries(void **state) {
    (void)state;
    static const int codes[] = {429, 500, 503};
    for (size_t i = 0; i < 3; i++) {
        events e = {0};
        kvl_str out = {0};
        server.status = codes[i];
        server.header = "Retry-After: 0\r\n";
        hub_set_fault(&server, HUB_STATUS, "HEAD", "sub/", false, 2);
        char model[64];
        snprintf(model, sizeof model, i == 0 ? "org/name:Q4_K_M" : "org/name%zu:Q4_K_M", i);
        assert_ok(fetch_with(&out, model, (kvl_hub_fetch_options){0}, &e, NULL, &assert_ok_err));
        assert_int_equal(server.n_faults, 0);
        assert_non_null(strstr(kvl_str_text(&e.notes), "next try in 0.0 s"));
        kvl_str_free(&out);
        free_events(&e);
    }
    hub_set_fault(&server, HUB_STATUS, "GET", "/api/models", false, 100);
    check_fails("org/name", KVL_E_NET, "HTTP 503");
    assert_int_equal(server.n_faults, 95); /* five tries */
}

static void test_redirect_loop(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_LOOP, "GET", "/api/models", false, 1000);
    check_fails("org/name", KVL_E_NET, "expected at most 8 redirects, found more");
    assert_int_equal(server.n_log, 9);
    hub_set_fault(&server, HUB_LOOP, "HEAD", "config.json", false, 1000);
    check_fails("org/name", KVL_E_NET, "redirects");
    hub_set_fault(&server, HUB_LOOP, "HEAD", "config.json", false, 3);
    fetch_ok("org/name");
}

static void test_stall(void **state) {
    (void)state;
    kvl_str out = {0};
    kvl_hub_fetch_options options = {.stall_ms = 500};
    hub_set_fault(&server, HUB_STALL, "GET", "model.safetensors", true, 1);
    assert_ok(fetch_with(&out, "org/name", options, NULL, NULL, &assert_ok_err));
    assert_true(hub_count(&server, "GET", "model.safetensors", 1) >=
                2); /* more on a machine that stalls too */
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    kvl_str_free(&out);
}

static void test_interrupt(void **state) {
    (void)state;
    kvl_str out = {0};
    kvl_err err = {0};
    events e = {.stop_after = LARGE / 4};
    hub_set_fault(&server, HUB_STALL, "GET", "model.safetensors", true, 1);
    assert_int_equal(fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, &e, NULL, &err),
                     KVL_E_INTERRUPTED);
    assert_non_null(strstr(err.msg, "model.safetensors"));
    assert_true(size_of(blob(2, ".incomplete")) >= LARGE / 4);
    assert_false(has(REPO "refs/main"));
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    assert_int_equal(hub_count(&server, "GET", "tokenizer.json", 0), 1);
    events at_note = {.stop_at = "next try"};
    server.status = 500;
    hub_set_fault(&server, HUB_STATUS, "GET", "/api/models", false, 1);
    assert_int_equal(fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, &at_note, NULL, NULL),
                     KVL_E_INTERRUPTED);
    kvl_str_free(&out);
    free_events(&e);
    free_events(&at_note);
}

static void test_bad_lists(void **state) {
    (void)state;
    server.listing = "{\"sha\":\"" HUB_COMMIT "\",\"siblings\":[{\"rfilename\":\"config.json\"},"
                     "{\"rfilename\":\"../../../../evil.safetensors\"}]}";
    check_fails("org/name", KVL_E_PATH, "evil.safetensors");
    server.listing = "{\"sha\":\"" HUB_COMMIT "\",\"siblings\":[{\"rfilename\":\"pytorch_model.bin\"}]}";
    check_fails("org/name", KVL_E_MISSING, "expected model.safetensors in the repository");
    server.listing = "<html>log in</html>";
    check_fails("org/name", KVL_E_JSON, "/api/models/org/name/revision/main");
    server.listing = "{\"sha\":\"ffffffffffffffffffffffffffffffffffffffff\",\"siblings\":["
                     "{\"rfilename\":\"sub/m-Q4_K_M.gguf\"}]}";
    check_fails("org/name", KVL_E_NET, "expected X-Repo-Commit ffff");
    size_t n = 33u << 20;
    char *huge = malloc(n + 1);
    assert_non_null(huge);
    memset(huge, ' ', n);
    huge[n] = '\0';
    server.listing = huge;
    check_fails("org/name", KVL_E_LIMIT, "expected at most 33554432 bytes");
    free(huge);
    assert_false(has("hub"));
}

static void test_odd_paths(void **state) {
    (void)state;
    static const char list[] =
        "{\"sha\":\"" HUB_COMMIT "\",\"siblings\":[{\"rfilename\":\"a b/%41?#.gguf\"}]}";
    server.listing = list;
    check_fails("org/name", KVL_E_NET, "HTTP 404 EntryNotFound");
    assert_int_equal(hub_count(&server, "HEAD", "/resolve/" HUB_COMMIT "/a%20b/%2541%3F%23.gguf", 0), 1);
}

static void test_tokens(void **state) {
    (void)state;
    kvl_str out = {0};
    kvl_err err = {0};
    static const char *const bad[] = {"a b", "a\r\nX: y", "\xc3\xa4", "a\tb"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, NULL, bad[i], &err),
                         KVL_E_USAGE);
        assert_null(strstr(err.msg, bad[i]));
    }
    assert_int_equal(server.n_log, 0);
    test_save(test_temp_path("token"), " hf_file\n", 9);
    fetch_ok("org/name:Q4_K_M");
    assert_string_equal(server.log[0].token, "Bearer hf_file");
    unlink(test_temp_path("token"));
    kvl_str_free(&out);
}

static void test_disk(void **state) {
    (void)state;
    struct rlimit old, low;
    server.header = "X-Linked-Size: 1000000000000000000\r\n";
    hub_set_fault(&server, HUB_HEADER, "HEAD", "config.json", false, 1);
    check_fails("org/name", KVL_E_IO, "free bytes on the disk");
    assert_int_equal(hub_count(&server, "GET", "/resolve/", -1), 0);
    signal(SIGXFSZ, SIG_IGN); /* then writing beyond the limit is an error as on a full disk */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){1 << 20, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    kvl_err err = {0};
    kvl_str out = {0};
    kvl_status status = fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, NULL, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, KVL_E_IO);
    assert_non_null(strstr(err.msg, "model.safetensors: cannot be stored"));
    assert_int_equal(size_of(blob(2, ".incomplete")), 1 << 20);
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    test_save(test_temp_path("plain"), "x", 1);
    kvl_hub hub;
    kvl_hub_name name;
    kvl_hub_env env = {.hf_hub_cache = test_temp_path("plain"), .hf_endpoint = server.url};
    assert_ok(kvl_hub_name_parse(&name, "org/name", &assert_ok_err));
    assert_ok(kvl_hub_open(&hub, &env, &assert_ok_err));
    assert_int_equal(kvl_hub_fetch(&out, &hub, &name, &(kvl_hub_fetch_options){0}, NULL), KVL_E_IO);
    kvl_hub_close(&hub);
    kvl_str_free(&out);
}

/* A blob that another program left with another size, and a snapshot link to elsewhere. */
static void test_repair(void **state) {
    (void)state;
    char target[128];
    fetch_ok("org/name");
    test_save(blob(1, ""), "short", 5);
    unlink(test_temp_path(SNAPSHOT "config.json"));
    assert_int_equal(symlink("../../blobs/nothing", test_temp_path(SNAPSHOT "config.json")), 0);
    fetch_ok("org/name");
    check_file(SNAPSHOT "config.json", "{\"a\":1}\n", 8);
    snprintf(target, sizeof target, "../../blobs/%s", hub_etag(&server.files[1]));
    check_link(SNAPSHOT "config.json", target);
}

static void release_on_note(const char *text) {
    if (strstr(text, "waiting for another process") != NULL) {
        hub_release(&server);
    }
}

static void *fetch_in_thread(void *ud) {
    kvl_str out = {0};
    kvl_status *status = ud;
    *status = fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, NULL, NULL, NULL);
    kvl_str_free(&out);
    return NULL;
}

/* The first fetch is held in the middle of the file until the second one says that it waits. */
static void test_two_at_once(void **state) {
    (void)state;
    pthread_t first;
    kvl_status first_status = KVL_E_CHECK;
    kvl_str out = {0};
    events e = {.on_note = release_on_note};
    hub_set_fault(&server, HUB_HOLD, "GET", "model.safetensors", true, 1);
    assert_int_equal(pthread_create(&first, NULL, fetch_in_thread, &first_status), 0);
    while (hub_count(&server, "GET", "model.safetensors", 1) == 0) {
        kvl_sleep_ms(1);
    }
    kvl_status status = fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, &e, NULL, NULL);
    pthread_join(first, NULL);
    assert_int_equal(status, KVL_OK);
    assert_int_equal(first_status, KVL_OK);
    assert_non_null(strstr(kvl_str_text(&e.notes), "model.safetensors: waiting for another process"));
    assert_int_equal(hub_count(&server, "GET", "model.safetensors", 1), 1);
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    kvl_str_free(&out);
    free_events(&e);
}

static int lock_fd = -1;
static unsigned n_lock_notes;

/* As filelock releases: the file goes while others wait for it. */
static void drop_lock(const char *text) {
    char path[512];
    if (strstr(text, "waiting") != NULL) {
        snprintf(path, sizeof path, "hub/.locks/models--org--name/%s.lock", hub_etag(&server.files[4]));
        assert_int_equal(unlink(test_temp_path(path)), 0);
        close(lock_fd);
        n_lock_notes++;
    }
}

static void test_lock_of_others(void **state) {
    (void)state;
    char path[512];
    kvl_str out = {0};
    events stop = {.stop_at = "waiting"}, e = {.on_note = drop_lock};
    assert_ok(kvl_dir_create(test_temp_path("hub/.locks/models--org--name"), &assert_ok_err));
    snprintf(path, sizeof path, "hub/.locks/models--org--name/%s.lock", hub_etag(&server.files[4]));
    lock_fd = open(test_temp_path(path), O_RDWR | O_CREAT, 0644);
    assert_int_equal(flock(lock_fd, LOCK_EX), 0);
    assert_int_equal(fetch_with(&out, "org/name:Q4_K_M", (kvl_hub_fetch_options){0}, &stop, NULL, NULL),
                     KVL_E_INTERRUPTED);
    assert_ok(fetch_with(&out, "org/name:Q4_K_M", (kvl_hub_fetch_options){0}, &e, NULL, &assert_ok_err));
    assert_int_equal(n_lock_notes, 1);
    assert_true(has(path)); /* a new one, ours */
    kvl_str_free(&out);
    free_events(&stop);
    free_events(&e);
}

static void test_no_memory(void **state) {
    (void)state;
    kvl_status status = KVL_E_NOMEM;
    int64_t n = 0;
    for (; status != KVL_OK; n++) {
        kvl_str out = {0};
        kvl_alloc_fail_after(n);
        status = fetch_with(&out, "org/name:Q4_K_M", (kvl_hub_fetch_options){0}, NULL, "hf_x", NULL);
        kvl_alloc_fail_after(-1);
        kvl_str_free(&out);
        if (status != KVL_OK && status != KVL_E_NOMEM) {
            fail_msg("allocation %d: %s", (int)n, kvl_status_name(status));
        }
        assert_true(n < 500);
    }
    assert_true(n > 30);
    check_file(SNAPSHOT "sub/m-Q4_K_M.gguf", "GGUF4", 5);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, hub_fixture_start, hub_fixture_stop)
    const struct CMUnitTest tests[] = {
        T(test_refusals),    T(test_retries),        T(test_redirect_loop), T(test_stall), T(test_interrupt),
        T(test_bad_lists),   T(test_odd_paths),      T(test_tokens),        T(test_disk),  T(test_repair),
        T(test_two_at_once), T(test_lock_of_others), T(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
