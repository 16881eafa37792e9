/* Models that are in the hub cache: where it is, what is found in it, what an absence says. */
#include "support.h"

#include "file/hub.h"
#include "file/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define BLOB "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void check_places(kvl_hub_env env, const char *cache_dir, const char *token_path) {
    kvl_hub hub;
    assert_ok(kvl_hub_open(&hub, &env, &assert_ok_err));
    assert_string_equal(kvl_str_text(&hub.cache_dir), cache_dir);
    assert_string_equal(kvl_str_text(&hub.token_path), token_path);
    kvl_hub_close(&hub);
}

static void test_places(void **state) {
    (void)state;
    kvl_hub_env env = {.home = "/h"};
    check_places(env, "/h/.cache/huggingface/hub", "/h/.cache/huggingface/token");
    env.xdg_cache_home = "relative";
    check_places(env, "/h/.cache/huggingface/hub", "/h/.cache/huggingface/token");
    env.xdg_cache_home = "/x";
    check_places(env, "/x/huggingface/hub", "/x/huggingface/token");
    env.hf_home = "";
    check_places(env, "/x/huggingface/hub", "/x/huggingface/token");
    env.hf_home = "~/hf";
    check_places(env, "/h/hf/hub", "/h/hf/token");
    env.hf_token_path = "/t";
    check_places(env, "/h/hf/hub", "/t");
    env.hf_hub_cache = "/c";
    check_places(env, "/c", "/t");
    env.hf_token = "secret";
    check_places(env, "/c", "");
    kvl_hub hub;
    assert_int_equal(kvl_hub_open(&hub, &(kvl_hub_env){0}, NULL), KVL_E_USAGE);
    kvl_hub_close(&hub);
}

static void test_endpoints(void **state) {
    (void)state;
    static const char *const bad[] = {"ftp://x", "huggingface.co", "https://user:pw@x", "https://x?y",
                                      "https://x y"};
    kvl_hub hub;
    kvl_hub_env env = {.home = "/h"};
    assert_ok(kvl_hub_open(&hub, &env, &assert_ok_err));
    assert_string_equal(kvl_str_text(&hub.endpoint), "https://huggingface.co");
    kvl_hub_close(&hub);
    env.hf_endpoint = "http://mirror:8080/hub//";
    assert_ok(kvl_hub_open(&hub, &env, &assert_ok_err));
    assert_string_equal(kvl_str_text(&hub.endpoint), "http://mirror:8080/hub");
    kvl_hub_close(&hub);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        env.hf_endpoint = bad[i];
        assert_int_equal(kvl_hub_open(&hub, &env, NULL), KVL_E_USAGE);
        kvl_hub_close(&hub);
    }
}

/* Text file below the cache "hub" of the test folder. */
static void put(const char *path, const char *text) {
    char full[4096];
    snprintf(full, sizeof full, "%s/hub/%s", test_temp_dir(), path);
    *strrchr(full, '/') = '\0';
    assert_ok(kvl_dir_create(full, &assert_ok_err));
    full[strlen(full)] = '/';
    test_save(full, text, strlen(text));
}

static void put_link(const char *path, const char *target) {
    char full[4096];
    put(path, "");
    snprintf(full, sizeof full, "%s/hub/%s", test_temp_dir(), path);
    assert_int_equal(unlink(full), 0);
    assert_int_equal(symlink(target, full), 0);
}

static void clear_cache(void) {
    char command[4200];
    snprintf(command, sizeof command, "rm -rf '%s/hub'", test_temp_dir());
    assert_int_equal(system(command), 0);
}

static kvl_status find(kvl_str *out, const char *model, const char *file, kvl_err *err) {
    kvl_hub hub;
    kvl_hub_name name;
    kvl_hub_env env = {.hf_home = test_temp_dir()};
    kvl_status status = kvl_hub_name_parse(&name, model, err);
    if (status == KVL_OK) {
        status = kvl_hub_open(&hub, &env, err);
        if (status == KVL_OK) {
            status = kvl_hub_find(out, &hub, &name, file, err);
        }
        kvl_hub_close(&hub);
    }
    return status;
}

/* Expects the path, given from snapshots/COMMIT on. */
static void check_found(const char *model, const char *file, const char *path) {
    kvl_str out = {0};
    char want[4096];
    kvl_err err = {0};
    if (find(&out, model, file, &err) != KVL_OK) {
        fail_msg("%s: %s", model, err.msg);
    }
    snprintf(want, sizeof want, "%s/hub/models--org--name/snapshots/" COMMIT "%s", test_temp_dir(), path);
    assert_string_equal(kvl_str_text(&out), want);
    kvl_str_free(&out);
}

static void check_missing(const char *model, const char *file, const char *part1, const char *part2) {
    kvl_str out = {0};
    kvl_err err = {0};
    kvl_status status = find(&out, model, file, &err);
    if (status != KVL_E_MISSING || strstr(err.msg, part1) == NULL || strstr(err.msg, part2) == NULL) {
        fail_msg("%s: found %s: %s", model, kvl_status_name(status), err.msg);
    }
    assert_int_equal(out.len, 0);
    kvl_str_free(&out);
}

#define SNAPSHOT "models--org--name/snapshots/" COMMIT "/"

static void test_checkpoint(void **state) {
    (void)state;
    clear_cache();
    check_missing("org/name", NULL, "kvlab fetch org/name (", "refs/main");
    put("models--org--name/refs/main", COMMIT "\n");
    check_missing("org/name", NULL, "kvlab fetch org/name (", "model.safetensors");
    put(SNAPSHOT "model.safetensors", "x"); /* a plain file, as on systems without links */
    check_missing("org/name", NULL, "kvlab fetch org/name (", "config.json");
    put("models--org--name/blobs/" BLOB, "{}");
    put_link(SNAPSHOT "config.json", "../../blobs/" BLOB);
    check_found("org/name", NULL, "");
    check_found("org/name@" COMMIT, NULL, "");
    check_missing("org/name@v2", NULL, "kvlab fetch org/name@v2 (", "refs/v2");
    put("models--org--name/refs/refs/pr/7", COMMIT);
    check_found("org/name@refs/pr/7", NULL, "");
    check_missing("org/other", NULL, "org/other", "refs/main");
    check_missing("org/name@0000456789abcdef0123456789abcdef01234567", NULL, "kvlab fetch",
                  "model.safetensors");
}

static void test_broken_cache(void **state) {
    (void)state;
    clear_cache();
    put("models--org--name/refs/main", "../../../../etc");
    put(SNAPSHOT "config.json", "{}");
    kvl_str out = {0};
    kvl_err err = {0};
    assert_int_equal(find(&out, "org/name", NULL, &err), KVL_E_PATH);
    assert_non_null(strstr(err.msg, "expected a commit"));
    put("models--org--name/refs/main", "");
    assert_int_equal(find(&out, "org/name", NULL, &err), KVL_E_PATH);
    put("models--org--name/refs/main", COMMIT);
    put_link(SNAPSHOT "model.safetensors", "../../blobs/nothing"); /* a link to nothing is a miss */
    check_missing("org/name", NULL, "kvlab fetch", "model.safetensors");
    put("models--org--name/.no_exist/" COMMIT "/model.safetensors", "");
    check_missing("org/name", NULL, "found in the hub cache that it has none", "model.safetensors");
    kvl_str_free(&out);
}

static void test_shards(void **state) {
    (void)state;
    clear_cache();
    put("models--org--name/refs/main", COMMIT);
    put(SNAPSHOT "config.json", "{}");
    put(SNAPSHOT "model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}");
    put(SNAPSHOT "s1.safetensors", "x");
    check_missing("org/name", NULL, "kvlab fetch", "s2.safetensors");
    put(SNAPSHOT "s2.safetensors", "x");
    check_found("org/name", NULL, "");
    put(SNAPSHOT "model.safetensors.index.json", "no json");
    kvl_str out = {0};
    assert_int_equal(find(&out, "org/name", NULL, NULL), KVL_E_JSON);
    kvl_str_free(&out);
}

static void test_gguf(void **state) {
    (void)state;
    clear_cache();
    put("models--org--name/refs/main", COMMIT);
    put("models--org--name/blobs/" BLOB, "x");
    put_link(SNAPSHOT "m-Q8_0.gguf", "../../blobs/" BLOB);
    check_found("org/name", NULL, "/m-Q8_0.gguf");
    check_found("org/name:q8_0", NULL, "/m-Q8_0.gguf");
    check_missing("org/name:q4_0", NULL, "kvlab fetch org/name:q4_0 (", "a .gguf file of q4_0");
    put_link(SNAPSHOT "m-Q4_K_M.gguf", "../../blobs/" BLOB);
    check_found("org/name", NULL, "/m-Q4_K_M.gguf");
    check_found("org/name", "m-Q8_0.gguf", "/m-Q8_0.gguf");
    check_missing("org/name@main", "x/y.gguf", "kvlab fetch org/name -hff x/y.gguf (", "expected x/y.gguf");
    put(SNAPSHOT "F16/m-F16-00001-of-00002.gguf", "x");
    check_missing("org/name:f16", NULL, "kvlab fetch", "F16/m-F16-00002-of-00002.gguf");
    put(SNAPSHOT "F16/m-F16-00002-of-00002.gguf", "x");
    check_found("org/name:f16", NULL, "/F16/m-F16-00001-of-00002.gguf");
}

/* Weights behind huggingface_hub's store of shared blobs: a link to a link, twice judged. */
static void test_shared_blobs(void **state) {
    (void)state;
    static const char xet[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    char target[300], shared[256];
    size_t n = 0;
    kvl_tensors *tensors = NULL;
    kvl_str dir = {0}, full = {0};
    clear_cache();
    char *bytes = test_load("tests/golden/neox/f16/model.safetensors", &n);
    put("models--org--name/refs/main", COMMIT);
    put(SNAPSHOT "config.json", "{}");
    snprintf(shared, sizeof shared, "blobs/bb/%s", xet);
    put(shared, "");
    kvl_str_printf(&full, "%s/hub/%s", test_temp_dir(), shared);
    test_save(kvl_str_text(&full), bytes, n);
    snprintf(target, sizeof target, "../../%s", shared);
    put_link("models--org--name/blobs/" BLOB, target);
    put_link(SNAPSHOT "model.safetensors", "../../blobs/" BLOB);
    assert_ok(find(&dir, "org/name", NULL, &assert_ok_err));
    assert_ok(kvl_tensors_open_dir(&tensors, kvl_str_text(&dir), &assert_ok_err));
    kvl_tensors_close(tensors);
    put_link("models--org--name/blobs/" BLOB, "../../../outside");
    assert_int_equal(kvl_tensors_open_dir(&tensors, kvl_str_text(&dir), NULL), KVL_E_PATH);
    put_link(shared, "../../../outside"); /* the shared blob itself must be a file */
    put_link("models--org--name/blobs/" BLOB, target);
    assert_int_equal(kvl_tensors_open_dir(&tensors, kvl_str_text(&dir), NULL), KVL_E_PATH);
    kvl_free(bytes);
    kvl_str_free(&dir);
    kvl_str_free(&full);
}

static void test_no_memory(void **state) {
    (void)state;
    clear_cache();
    put("models--org--name/refs/main", COMMIT);
    put(SNAPSHOT "config.json", "{}");
    put(SNAPSHOT "sub/model.gguf", "x");
    put(SNAPSHOT "s.safetensors", "x");
    put(SNAPSHOT "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"s.safetensors\"}}");
    kvl_status status = KVL_E_NOMEM;
    for (int64_t n = 0; status != KVL_OK; n++) {
        kvl_str out = {0};
        kvl_alloc_fail_after(n);
        status = find(&out, "org/name", NULL, NULL);
        kvl_alloc_fail_after(-1);
        kvl_str_free(&out);
        if (status != KVL_OK && status != KVL_E_NOMEM) {
            fail_msg("allocation %d: %s", (int)n, kvl_status_name(status));
        }
        assert_true(n < 200);
        assert_true(status != KVL_OK || n > 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),       cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_checkpoint),   cmocka_unit_test(test_broken_cache),
        cmocka_unit_test(test_shards),       cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_shared_blobs), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
