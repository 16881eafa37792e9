/* A hub for tests: two HTTP servers on 127.0.0.1 (the hub, and the other host that large files come from),
 * with faults on demand and a log of what was asked. One thread per connection, one request per connection.
 */
#ifndef KVL_TESTS_HUB_SERVER_H
#define KVL_TESTS_HUB_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HUB_MAX_FILES = 12, HUB_MAX_LOG = 4096 };

#define HUB_COMMIT "0123456789abcdef0123456789abcdef01234567"

typedef struct hub_file {
    const char *path;
    const char *bytes;
    size_t n;
    bool is_large; /* by redirect from the other host, SHA-256; else from the hub itself, git SHA-1 */
} hub_file;

/* What requests of one kind do instead of answering well, n_faults times. */
typedef enum hub_fault {
    HUB_GOOD,
    HUB_STATUS,       /* answers `status` with `header` */
    HUB_DROP,         /* half of the body, then the connection ends */
    HUB_DROP_SILENT,  /* the same without Content-Length: the client must count */
    HUB_STALL,        /* half of the body, then silence until the client leaves */
    HUB_HOLD,         /* half of the body, the rest after hub_release */
    HUB_IGNORE_RANGE, /* the whole body with 200 */
    HUB_OTHER_RANGE,  /* 206 with bytes from another place */
    HUB_FLIP,         /* one bit of the body is wrong */
    HUB_LONGER,       /* ten bytes more than promised */
    HUB_LOOP,         /* a redirect to itself */
    HUB_HEADER,       /* the good answer with `header` in front, which wins over later ones */
} hub_fault;

typedef struct hub_request {
    char method[8];
    char path[512];
    char token[128]; /* value of Authorization */
    char range[48];
    bool is_cdn;
} hub_request;

typedef struct hub_server {
    hub_file files[HUB_MAX_FILES];
    size_t n_files;
    const char *listing; /* body of the list instead of the true one; or NULL */
    hub_fault fault;
    const char *fault_method; /* "HEAD", "GET"; */
    const char *fault_part;   /* of the path; */
    bool is_fault_cdn;        /* and of which server */
    int n_faults;
    int status;         /* of HUB_STATUS */
    const char *header; /* "Name: value\r\n" */
    char url[64];

    hub_request log[HUB_MAX_LOG];
    size_t n_log;
    pthread_mutex_t mutex; /* of log and faults */
    pthread_cond_t released;
    bool is_released;
    struct hub_listener {
        struct hub_server *hub;
        bool is_cdn;
        int fd;
        unsigned port;
        pthread_t thread;
    } listeners[2];
    pthread_t connections[HUB_MAX_LOG];
    size_t n_connections;
} hub_server;

/* Starts with no files; add them before the first request. */
void hub_start(hub_server *h);
void hub_stop(hub_server *h);
void hub_add(hub_server *h, const char *path, const char *bytes, size_t n, bool is_large);
/* Name of a file's blob; static buffer per call, for the next 8. */
const char *hub_etag(const hub_file *file);
void hub_set_fault(hub_server *h, hub_fault fault, const char *method, const char *part, bool is_cdn, int n);
/* Lets HUB_HOLD go on. */
void hub_release(hub_server *h);
/* Requests so far of a method ("" any) whose path holds `part`, at the hub (0), the other host (1), both
 * (-1). */
size_t hub_count(hub_server *h, const char *method, const char *part, int is_cdn);

#endif
