/* Fixture of the download tests. */
#include "hub_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

hub_server server;
char large[LARGE];

static bool on_event(void *ud, const kvl_hub_event *event) {
    events *e = ud;
    if (event->kind == KVL_HUB_PROGRESS) {
        return e->stop_after == 0 || event->n_done < e->stop_after;
    }
    kvl_str_printf(event->kind == KVL_HUB_NOTE ? &e->notes : &e->files, "%s\n", event->text);
    e->n_files += event->kind == KVL_HUB_FILE;
    if (event->kind == KVL_HUB_NOTE && e->on_note != NULL) {
        e->on_note(event->text);
    }
    return e->stop_at == NULL || strstr(event->text, e->stop_at) == NULL;
}

void free_events(events *e) {
    kvl_str_free(&e->notes);
    kvl_str_free(&e->files);
}

int hub_fixture_start(void **state) {
    (void)state;
    char command[4200];
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (char)(i * 2654435761u >> 13);
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(command, sizeof command, "rm -rf '%s/hub'", test_temp_dir());
    hub_start(&server);
    hub_add(&server, "README.md", "hello\n", 6, false);
    hub_add(&server, "config.json", "{\"a\":1}\n", 8, false);
    hub_add(&server, "model.safetensors", large, LARGE, true);
    hub_add(&server, "tokenizer.json", "{}", 2, false);
    hub_add(&server, "sub/m-Q4_K_M.gguf", "GGUF4", 5, true);
    hub_add(&server, "sub/m-Q8_0-00001-of-00002.gguf", "GGUF8a", 6, true);
    hub_add(&server, "sub/m-Q8_0-00002-of-00002.gguf", "GGUF8b", 6, true);
    return system(command);
}

int hub_fixture_stop(void **state) {
    (void)state;
    hub_stop(&server);
    return 0;
}

kvl_status fetch_with(kvl_str *out, const char *model, kvl_hub_fetch_options options, events *e,
                      const char *token, kvl_err *err) {
    kvl_hub hub;
    kvl_hub_name name;
    kvl_hub_env env = {.hf_home = test_temp_dir(), .hf_endpoint = server.url, .hf_token = token};
    options.retry_ms = 1;
    options.event = e != NULL ? on_event : NULL;
    options.event_ud = e;
    kvl_status status = kvl_hub_name_parse(&name, model, err);
    if (status == KVL_OK) {
        status = kvl_hub_open(&hub, &env, err);
        if (status == KVL_OK) {
            status = kvl_hub_fetch(out, &hub, &name, &options, err);
        }
        kvl_hub_close(&hub);
    }
    return status;
}

void fetch_ok(const char *model) {
    kvl_str out = {0};
    kvl_err err = {0};
    if (fetch_with(&out, model, (kvl_hub_fetch_options){0}, NULL, NULL, &err) != KVL_OK) {
        fail_msg("%s: %s: %s", model, kvl_status_name(err.status), err.msg);
    }
    kvl_str_free(&out);
}

void check_fails(const char *model, kvl_status want, const char *part) {
    kvl_str out = {0};
    kvl_err err = {0};
    kvl_status status = fetch_with(&out, model, (kvl_hub_fetch_options){0}, NULL, NULL, &err);
    if (status != want || strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected %s '%s', found %s: %s", model, kvl_status_name(want), part,
                 kvl_status_name(status), err.msg);
    }
    assert_int_equal(out.len, 0);
    kvl_str_free(&out);
}

bool has(const char *path) { return kvl_file_exists(test_temp_path(path)); }

const char *blob(size_t i, const char *ending) {
    static char path[256];
    snprintf(path, sizeof path, REPO "blobs/%s%s", hub_etag(&server.files[i]), ending);
    return test_temp_path(path);
}

void check_file(const char *path, const char *bytes, size_t n) {
    char *found = NULL;
    size_t n_found = 0;
    assert_ok(kvl_file_load(&found, &n_found, test_temp_path(path), 1 << 28, &assert_ok_err));
    assert_int_equal(n_found, n);
    assert_memory_equal(found, bytes, n);
    kvl_free(found);
}

void check_link(const char *path, const char *target) {
    char found[512];
    ssize_t n = readlink(test_temp_path(path), found, sizeof found - 1);
    assert_true(n > 0);
    found[n] = '\0';
    assert_string_equal(found, target);
}

uint64_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}
