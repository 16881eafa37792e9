/* Downloads: what ends up in the cache, what is asked of whom, and how broken transfers are continued. */
#include "hub_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_checkpoint(void **state) {
    (void)state;
    char target[128];
    kvl_str out = {0};
    events e = {0};
    kvl_err err = {0};
    /* the hashes of the test hub are git's and sha256sum's */
    assert_string_equal(hub_etag(&server.files[0]), "ce013625030ba8dba906f756967f9e9ca394464a");
    assert_string_equal(hub_etag(&(hub_file){"x", "hello\n", 6, true}),
                        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    assert_ok(fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, &e, "hf_secret", &err));
    assert_string_equal(kvl_str_text(&out), test_temp_path(REPO "snapshots/" HUB_COMMIT));
    assert_string_equal(kvl_str_text(&e.files), "config.json\nmodel.safetensors\ntokenizer.json\n");
    check_file(SNAPSHOT "config.json", "{\"a\":1}\n", 8);
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    check_file(REPO "refs/main", HUB_COMMIT, 40); /* no line end */
    snprintf(target, sizeof target, "../../blobs/%s", hub_etag(&server.files[2]));
    check_link(SNAPSHOT "model.safetensors", target);
    assert_false(has(SNAPSHOT "README.md"));
    assert_int_equal(size_of(blob(2, ".incomplete")), UINT64_MAX);
    /* what is asked of whom: HEAD stays with the hub, the token too */
    assert_int_equal(hub_count(&server, "GET", "model.safetensors", 1), 1);
    assert_int_equal(hub_count(&server, "HEAD", "", 1), 0);
    assert_int_equal(hub_count(&server, "", "/resolve/" HUB_COMMIT "/", 0), 6);
    for (size_t i = 0; i < server.n_log; i++) {
        assert_string_equal(server.log[i].token, server.log[i].is_cdn ? "" : "Bearer hf_secret");
    }
    kvl_str_free(&out);
    free_events(&e);
}

static void test_again_and_find(void **state) {
    (void)state;
    kvl_hub hub;
    kvl_hub_name name;
    kvl_str out = {0};
    kvl_hub_env env = {.hf_home = test_temp_dir()};
    fetch_ok("org/name@refs/pr/1");
    assert_true(has(REPO "refs/refs/pr/1"));
    assert_int_equal(hub_count(&server, "GET", "/revision/refs%2Fpr%2F1", 0), 1);
    size_t n_before = server.n_log;
    fetch_ok("org/name"); /* the snapshot has it all: the list is asked for, nothing else */
    assert_int_equal(server.n_log, n_before + 1);
    assert_ok(kvl_hub_name_parse(&name, "org/name", &assert_ok_err));
    assert_ok(kvl_hub_open(&hub, &env, &assert_ok_err));
    assert_ok(kvl_hub_find(&out, &hub, &name, NULL, &assert_ok_err));
    assert_string_equal(kvl_str_text(&out), test_temp_path(REPO "snapshots/" HUB_COMMIT));
    kvl_hub_close(&hub);
    kvl_str_free(&out);
    fetch_ok("org/name@" HUB_COMMIT);
    assert_false(has(REPO "refs/" HUB_COMMIT));
}

static void test_gguf(void **state) {
    (void)state;
    char target[128];
    kvl_str out = {0};
    assert_ok(fetch_with(&out, "org/name:q8_0", (kvl_hub_fetch_options){0}, NULL, NULL, &assert_ok_err));
    assert_string_equal(kvl_str_text(&out), test_temp_path(SNAPSHOT "sub/m-Q8_0-00001-of-00002.gguf"));
    check_file(SNAPSHOT "sub/m-Q8_0-00002-of-00002.gguf", "GGUF8b", 6);
    assert_false(has(SNAPSHOT "config.json"));
    snprintf(target, sizeof target, "../../../blobs/%s", hub_etag(&server.files[5]));
    check_link(SNAPSHOT "sub/m-Q8_0-00001-of-00002.gguf", target);
    kvl_str_clear(&out);
    kvl_hub_fetch_options options = {.file = "sub/m-Q4_K_M.gguf"};
    assert_ok(fetch_with(&out, "org/name", options, NULL, NULL, &assert_ok_err));
    assert_string_equal(kvl_str_text(&out), test_temp_path(SNAPSHOT "sub/m-Q4_K_M.gguf"));
    kvl_str_free(&out);
    check_fails("org/name:Q2_K", KVL_E_MISSING, "a .gguf file of Q2_K in the repository (revision main)");
}

static void test_dry_run(void **state) {
    (void)state;
    kvl_str out = {0};
    events e = {0};
    kvl_hub_fetch_options options = {.is_dry_run = true};
    assert_ok(fetch_with(&out, "org/name", options, &e, NULL, &assert_ok_err));
    assert_int_equal(e.n_files, 3);
    assert_int_equal(hub_count(&server, "GET", "/resolve/", -1), 0);
    assert_false(has("hub"));
    kvl_str_free(&out);
    free_events(&e);
}

/* A drop in the middle: the rest is asked for, not the whole. */
static void test_drop_and_resume(void **state) {
    (void)state;
    events e = {0};
    kvl_str out = {0};
    hub_set_fault(&server, HUB_DROP, "GET", "model.safetensors", true, 2);
    assert_ok(fetch_with(&out, "org/name", (kvl_hub_fetch_options){0}, &e, NULL, &assert_ok_err));
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    assert_int_equal(hub_count(&server, "GET", "model.safetensors", 1), 3);
    assert_non_null(strstr(kvl_str_text(&e.notes), "next try in"));
    const hub_request *last = NULL;
    for (size_t i = 0; i < server.n_log; i++) {
        last = server.log[i].is_cdn ? &server.log[i] : last;
    }
    assert_int_equal(strtoul(last->range, NULL, 10), LARGE / 2 + LARGE / 4);
    kvl_str_free(&out);
    free_events(&e);
}

static void test_drop_without_length(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_DROP_SILENT, "GET", "model.safetensors", true, 1);
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    assert_int_equal(hub_count(&server, "GET", "model.safetensors", 1), 2);
}

/* Too many drops end the fetch; the next one goes on where it ended. */
static void test_resume_later(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_DROP, "GET", "model.safetensors", true, 1000);
    check_fails("org/name", KVL_E_NET, "model.safetensors: download failed");
    uint64_t n_here = size_of(blob(2, ".incomplete"));
    assert_true(n_here > LARGE / 2 && n_here < LARGE);
    assert_false(has(REPO "refs/main"));
    hub_set_fault(&server, HUB_GOOD, "", "", true, 0);
    size_t n_before = server.n_log;
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    bool is_resumed = false;
    for (size_t i = n_before; i < server.n_log; i++) {
        is_resumed |= server.log[i].is_cdn && strtoull(server.log[i].range, NULL, 10) == n_here;
    }
    assert_true(is_resumed);
}

static void test_range_ignored(void **state) {
    (void)state;
    fetch_ok("org/name:Q4_K_M");
    test_save(blob(2, ".incomplete"), large, 1000);
    hub_set_fault(&server, HUB_IGNORE_RANGE, "GET", "model.safetensors", true, 1000);
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    assert_int_equal(hub_count(&server, "GET", "model.safetensors", 1), 1);
}

static void test_other_range(void **state) {
    (void)state;
    fetch_ok("org/name:Q4_K_M");
    test_save(blob(2, ".incomplete"), large, 1000);
    hub_set_fault(&server, HUB_OTHER_RANGE, "GET", "model.safetensors", true, 1);
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
}

static void test_unfinished_is_wrong(void **state) {
    (void)state;
    fetch_ok("org/name:Q4_K_M");
    char *wrong = kvl_calloc(LARGE, 1);
    assert_non_null(wrong);
    test_save(blob(2, ".incomplete"), wrong, 1000); /* right size so far, wrong bytes */
    check_fails("org/name", KVL_E_NET, "expected SHA-256");
    assert_int_equal(size_of(blob(2, ".incomplete")), UINT64_MAX);
    test_save(blob(2, ".incomplete"), wrong, LARGE); /* complete, and wrong: no transfer, no trust */
    check_fails("org/name", KVL_E_NET, "expected SHA-256");
    kvl_str longer = {0};
    kvl_str_append(&longer, large, LARGE);
    kvl_str_puts(&longer, "more");
    test_save(blob(2, ".incomplete"), kvl_str_text(&longer), longer.len);
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
    kvl_str_free(&longer);
    kvl_free(wrong);
}

static void test_wrong_content(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_FLIP, "GET", "model.safetensors", true, 1);
    check_fails("org/name", KVL_E_NET, "model.safetensors: expected SHA-256");
    assert_int_equal(size_of(blob(2, ".incomplete")), UINT64_MAX);
    assert_false(has(SNAPSHOT "model.safetensors"));
    assert_false(has(REPO "refs/main"));
    hub_set_fault(&server, HUB_FLIP, "GET", "tokenizer.json", false, 1);
    check_fails("org/name", KVL_E_NET, "tokenizer.json: expected git SHA-1");
    fetch_ok("org/name");
}

static void test_wrong_size(void **state) {
    (void)state;
    hub_set_fault(&server, HUB_LONGER, "GET", "model.safetensors", true, 1);
    check_fails("org/name", KVL_E_NET, "expected at most 3145728 bytes, found more");
    hub_set_fault(&server, HUB_HEADER, "HEAD", "tokenizer.json", false, 1);
    server.header = "X-Linked-Size: 3\r\n"; /* more than there is: the end never comes */
    check_fails("org/name", KVL_E_NET, "tokenizer.json: ");
    hub_set_fault(&server, HUB_HEADER, "HEAD", "tokenizer.json", false, 1);
    server.header = "X-Linked-Size: 1\r\n";
    check_fails("org/name", KVL_E_NET, "tokenizer.json: expected at most 1 bytes, found more");
    assert_false(has(SNAPSHOT "tokenizer.json"));
    fetch_ok("org/name");
    check_file(SNAPSHOT "model.safetensors", large, LARGE);
}

static void test_bad_heads(void **state) {
    (void)state;
    static const struct {
        const char *header;
        const char *part;
    } bad[] = {
        {"X-Linked-Etag: \"../../../x\"\r\n", "expected an ETag"},
        {"X-Linked-Etag: \"ABCDEF0123456789abcdef0123456789abcdef01\"\r\n", "expected an ETag"},
        {"X-Linked-Size: -1\r\n", "expected X-Linked-Size"},
        {"X-Linked-Size: 99999999999999999999\r\n", "expected X-Linked-Size"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        server.header = bad[i].header;
        hub_set_fault(&server, HUB_HEADER, "HEAD", "config.json", false, 1);
        check_fails("org/name", KVL_E_NET, bad[i].part);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, hub_fixture_start, hub_fixture_stop)
    const struct CMUnitTest tests[] = {
        T(test_checkpoint),      T(test_again_and_find),      T(test_gguf),          T(test_dry_run),
        T(test_drop_and_resume), T(test_drop_without_length), T(test_resume_later),  T(test_range_ignored),
        T(test_other_range),     T(test_unfinished_is_wrong), T(test_wrong_content), T(test_wrong_size),
        T(test_bad_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
