/* What the files of the hub share: lists of paths, the choice among them, places in the cache, requests. */
#ifndef KVL_FILE_HUB_INT_H
#define KVL_FILE_HUB_INT_H

#include "file/hub.h"

#include <curl/curl.h>

enum {
    KVLI_HUB_COMMIT = 40,       /* digits of a commit */
    KVLI_HUB_MAX_FILES = 20000, /* of a repository */
    KVLI_HUB_MAX_PATH = 1024,   /* bytes of a path in a repository */
};

/* True for a path that stays below its folder: no empty, "." or ".." part, no backslash, no control
 * character, at most KVLI_HUB_MAX_PATH bytes. */
bool kvli_hub_is_safe_path(const char *path);
/* True for exactly n lower-case hexadecimal digits. */
bool kvli_hub_is_hex(const char *text, size_t n);

/* Paths of a repository, sorted by bytes. */
typedef struct kvli_hub_list {
    char **paths; /* owned */
    size_t n;
    size_t cap;
} kvli_hub_list;

/* Copies path; E_LIMIT above KVLI_HUB_MAX_FILES. Sort once all are there. */
kvl_status kvli_hub_list_add(kvli_hub_list *list, const char *path, kvl_err *err) KVL_MUST_USE;
void kvli_hub_list_sort(kvli_hub_list *list);
bool kvli_hub_list_has(const kvli_hub_list *list, const char *path);
void kvli_hub_list_free(kvli_hub_list *list);
/* Reads the hub's answer about a revision: `sha` and `siblings[].rfilename`. `what` is for messages. */
kvl_status kvli_hub_list_parse(kvli_hub_list *list, char commit[KVLI_HUB_COMMIT + 1], const char *json,
                               size_t n_json, const char *what, kvl_err *err) KVL_MUST_USE;

/* Reduces a sorted list to the files of the wanted model. *main becomes the GGUF file to open, "" for a
 * checkpoint. E_MISSING: *missing says what the list lacks (err is not set). */
kvl_status kvli_hub_choose(kvli_hub_list *list, kvl_str *main, kvl_str *missing, const kvl_hub_name *name,
                           const char *file, kvl_err *err) KVL_MUST_USE;

/* Appends CACHE/models--ORG--NAME. */
void kvli_hub_repo_dir(kvl_str *out, const kvl_hub *hub, const kvl_hub_name *name);
/* Appends DIR/snapshots/COMMIT, and /PATH unless path is empty. */
void kvli_hub_snapshot_path(kvl_str *out, const char *repo_dir, const char *commit, const char *path);

/* One connection to the hub with what all requests share. */
typedef struct kvli_http {
    CURL *curl;
    const kvl_hub_fetch_options *options;
    const char *endpoint;
    const char *token; /* "" for none; goes to the endpoint's own origin only */
    bool has_answered; /* then a name or a host that cannot be reached is worth a retry */
} kvli_http;

kvl_status kvli_http_open(kvli_http *h, const char *endpoint, const char *token,
                          const kvl_hub_fetch_options *options, kvl_err *err) KVL_MUST_USE;
void kvli_http_close(kvli_http *h);

/* Where the body of an answer goes: a file that continues at n_bytes, or a text that starts anew. */
typedef struct kvli_sink {
    kvl_str *text; /* NULL: fd */
    int fd;
    uint64_t n_bytes;   /* here already */
    uint64_t max_bytes; /* of a file: its size, shorter is an error too; of a text: the limit */
} kvli_sink;

/* What the endpoint says of a file. */
typedef struct kvli_head {
    char etag[72]; /* without quotes; "" when absent or longer */
    char commit[KVLI_HUB_COMMIT + 1];
    uint64_t n_bytes;
    bool has_size;
} kvli_head;

/* GET with redirects, retries and resuming. `what` names the thing in messages and progress. */
kvl_status kvli_http_get(kvli_http *h, kvli_sink *sink, const char *url, const char *what,
                         kvl_err *err) KVL_MUST_USE;
/* HEAD that follows redirects within the endpoint only: what another host says is not asked for. */
kvl_status kvli_http_head(kvli_http *h, kvli_head *out, const char *url, const char *what,
                          kvl_err *err) KVL_MUST_USE;
/* Hands an event to the caller; E_INTERRUPTED when it wants to stop. */
kvl_status kvli_http_event(const kvli_http *h, kvl_hub_event_kind kind, const char *text, uint64_t n_done,
                           uint64_t n_bytes, kvl_err *err) KVL_MUST_USE;
/* Sleeps, polling for a stop. */
kvl_status kvli_http_wait(const kvli_http *h, uint64_t wait_ms, const char *what, kvl_err *err) KVL_MUST_USE;

/* One wanted file and its place. */
typedef struct kvli_hub_file {
    const char *path; /* in the repository; borrowed */
    char etag[72];
    uint64_t n_bytes;
    bool is_cached; /* the snapshot has it */
} kvli_hub_file;

typedef struct kvli_hub_place {
    kvl_str repo_dir;
    kvl_str lock_dir;
    char commit[KVLI_HUB_COMMIT + 1];
} kvli_hub_place;

/* Brings one file into the cache: lock, blob from url unless it is there, check, name, link. */
kvl_status kvli_hub_store(kvli_http *h, const kvli_hub_place *place, const kvli_hub_file *file,
                          const char *url, kvl_err *err) KVL_MUST_USE;

#endif
