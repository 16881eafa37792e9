/* What the tests of downloads share: a hub with one repository of two kinds of models, fetches from it into a
 * cache below the temporary folder, and looks into that cache. */
#ifndef KVL_TESTS_HUB_FIXTURE_H
#define KVL_TESTS_HUB_FIXTURE_H

#include "support.h"

#include "file/hub.h"
#include "hub_server.h"

enum { LARGE = 3 << 20 };

#define REPO "hub/models--org--name/"
#define SNAPSHOT REPO "snapshots/" HUB_COMMIT "/"

/* Files: 0 README.md, 1 config.json, 2 model.safetensors (LARGE), 3 tokenizer.json, 4 sub/m-Q4_K_M.gguf,
 * 5 and 6 the parts of sub/m-Q8_0. */
extern hub_server server;
extern char large[LARGE]; /* content of model.safetensors */

/* Setup and teardown of a test: a fresh hub, no cache. */
int hub_fixture_start(void **state);
int hub_fixture_stop(void **state);

/* What the events of a fetch said, and what they answer. */
typedef struct events {
    kvl_str notes;
    kvl_str files;
    size_t n_files;
    const char *stop_at; /* note or file that ends the fetch; NULL for none */
    uint64_t stop_after; /* bytes that end it; 0 for none */
    void (*on_note)(const char *text);
} events;
void free_events(events *e);

/* Fetches without waits between tries; e and token may be NULL. */
kvl_status fetch_with(kvl_str *out, const char *model, kvl_hub_fetch_options options, events *e,
                      const char *token, kvl_err *err);
void fetch_ok(const char *model);
/* Expects the status and a part of the message. */
void check_fails(const char *model, kvl_status want, const char *part);

/* Paths below the temporary folder. */
bool has(const char *path);
void check_file(const char *path, const char *bytes, size_t n);
void check_link(const char *path, const char *target);
/* Absolute path of the blob of file i, with an ending. Static. */
const char *blob(size_t i, const char *ending);
/* UINT64_MAX when absent. */
uint64_t size_of(const char *path);

#endif
