/* Paths and files of the tests. */
#include "support.h"

#include "protocol/calibrate.h"
#include "protocol/preset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Runs of the program keep nothing, unless a test says where. */
__attribute__((constructor)) static void set_no_store(void) { setenv("KVL_STORE", "none", 1); }

static const char *join(const char *dir, const char *name) {
    static char paths[8][4096];
    static unsigned next;
    char *path = paths[next++ % 8];
    if (snprintf(path, sizeof paths[0], "%s/%s", dir, name) >= (int)sizeof paths[0]) {
        fail_msg("path too long: %s", name);
    }
    return path;
}

const char *test_path(const char *relative) {
    const char *root = getenv("KVL_TEST_ROOT");
    return join(root != NULL ? root : ".", relative);
}

static char temp_dir[4096];

static void remove_temp_dir(void) {
    char command[4200];
    snprintf(command, sizeof command, "rm -rf '%s'", temp_dir);
    if (system(command) != 0) {
        fprintf(stderr, "cannot remove %s\n", temp_dir);
    }
}

const char *test_temp_dir(void) {
    if (temp_dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(temp_dir, sizeof temp_dir, "%s/kvlab-test-XXXXXX", base != NULL ? base : "/tmp");
        if (mkdtemp(temp_dir) == NULL) {
            fail_msg("no temporary folder at %s", temp_dir);
        }
        atexit(remove_temp_dir);
    }
    return temp_dir;
}

const char *test_temp_path(const char *name) { return join(test_temp_dir(), name); }

char *test_load(const char *relative, size_t *n_bytes) {
    char *bytes = NULL;
    kvl_err err = {0};
    if (kvl_file_load(&bytes, n_bytes, test_path(relative), (uint64_t)1 << 30, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return bytes;
}

json_t *test_load_json(const char *relative) {
    json_t *json = NULL;
    kvl_err err = {0};
    if (kvl_json_load(&json, test_path(relative), (uint64_t)1 << 30, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return json;
}

void test_save(const char *path, const void *bytes, size_t n) {
    kvl_err err = {0};
    if (kvl_file_save(path, bytes, n, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
}

const char *test_run(int *exit_code, const char *args) {
    static char text[65536];
    kvl_str command = {0};
    kvl_str_printf(&command, "'%s' %s 2>&1", getenv("KVL_PROGRAM"), args);
    FILE *pipe = popen(kvl_str_text(&command), "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof text - 1, pipe)] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    *exit_code = WEXITSTATUS(status);
    kvl_str_free(&command);
    return text;
}

kvl_policy test_policy(const char *text) {
    kvl_policy p;
    kvl_err err = {0};
    kvl_policy_init(&p);
    if (kvl_policy_parse(&p, text, &err) != KVL_OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    return p;
}

void test_load_presets(void) {
    kvl_err err = {0};
    if (kvl_presets_load(test_path("presets"), &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
}

kvl_calibration *test_calibrate(kvl_engine *engine) {
    enum { most_ids = 256, n_texts = 2 };
    static int32_t ids[n_texts][most_ids];
    kvl_sample items[n_texts] = {{.name = "first", .hash = 1}, {.name = "second", .hash = 2}};
    const kvl_samples texts = {.items = items, .n = n_texts};
    kvl_calibration *out = NULL;
    kvl_err err = {0};
    json_t *all = test_load_json("tests/golden/press/ids.json");
    for (size_t i = 0; i < n_texts; i++) {
        const json_t *list = json_array_get(json_object_get(all, "calibration"), i);
        items[i].ids = (kvl_ids){.ids = ids[i], .n = json_array_size(list)};
        assert_in_range(items[i].ids.n, 1, most_ids);
        for (size_t t = 0; t < items[i].ids.n; t++) {
            ids[i][t] = (int32_t)json_integer_value(json_array_get(list, t));
        }
    }
    json_decref(all);
    if (kvl_calibrate(&out, engine, &texts, most_ids, NULL, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return out;
}
