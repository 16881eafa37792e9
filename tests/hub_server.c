/* The hub of the tests. Allocates nothing by base/alloc.h, whose failing switch is for the client. */
#include "hub_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>

static void must(bool is_good, const char *what) {
    if (!is_good) {
        perror(what);
        abort();
    }
}

const char *hub_etag(const hub_file *file) {
    static _Thread_local char texts[8][65];
    static _Thread_local unsigned next;
    char *text = texts[next++ % 8];
    char head[32];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, file->is_large ? EVP_sha256() : EVP_sha1(), NULL);
    if (!file->is_large) {
        EVP_DigestUpdate(ctx, head, (size_t)snprintf(head, sizeof head, "blob %zu", file->n) + 1);
    }
    EVP_DigestUpdate(ctx, file->bytes, file->n);
    EVP_DigestFinal_ex(ctx, digest, &n_digest);
    EVP_MD_CTX_free(ctx);
    for (unsigned i = 0; i < n_digest; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    return text;
}

static bool send_all(int fd, const char *bytes, size_t n) {
    while (n != 0) {
        ssize_t put = send(fd, bytes, n, MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        bytes += put;
        n -= (size_t)put;
    }
    return true;
}

static void send_text(int fd, const char *text) { send_all(fd, text, strlen(text)); }

static void read_header(char *out, size_t cap, const char *text, const char *name) {
    const char *at = strcasestr(text, name);
    if (at != NULL) {
        snprintf(out, cap, "%.*s", (int)strcspn(at + strlen(name), "\r\n"), at + strlen(name));
    }
}

static bool read_request(int fd, hub_request *r) {
    char text[4096];
    size_t n = 0;
    text[0] = '\0';
    while (strstr(text, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        text[n] = '\0';
    }
    read_header(r->token, sizeof r->token, text, "\r\nAuthorization: ");
    read_header(r->range, sizeof r->range, text, "\r\nRange: bytes=");
    return sscanf(text, "%7s %511s", r->method, r->path) == 2;
}

/* Logs a request and takes one fault when it is meant. */
static hub_fault take_fault(hub_server *h, const hub_request *r) {
    hub_fault fault = HUB_GOOD;
    pthread_mutex_lock(&h->mutex);
    must(h->n_log < HUB_MAX_LOG, "log of the test server");
    h->log[h->n_log++] = *r;
    if (h->n_faults != 0 && strcmp(r->method, h->fault_method) == 0 &&
        strstr(r->path, h->fault_part) != NULL && r->is_cdn == h->is_fault_cdn) {
        h->n_faults--;
        fault = h->fault;
    }
    pthread_mutex_unlock(&h->mutex);
    return fault;
}

static void send_list(hub_server *h, int fd) {
    char body[8192];
    size_t n = 0;
    if (h->listing == NULL) {
        n = (size_t)snprintf(body, sizeof body, "{\"sha\":\"" HUB_COMMIT "\",\"extra\":1,\"siblings\":[");
        for (size_t i = 0; i < h->n_files; i++) {
            n += (size_t)snprintf(body + n, sizeof body - n, "%s{\"rfilename\":\"%s\"}", i != 0 ? "," : "",
                                  h->files[i].path);
        }
        snprintf(body + n, sizeof body - n, "]}");
    }
    const char *text = h->listing != NULL ? h->listing : body;
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             strlen(text));
    send_text(fd, head);
    send_text(fd, text);
}

/* The file whose "PREFIX/PATH" ends the request's path (percent signs of spaces only). */
static const hub_file *find_file(const hub_server *h, const char *path) {
    for (size_t i = 0; i < h->n_files; i++) {
        char want[256];
        size_t n = (size_t)snprintf(want, sizeof want, "/%s", h->files[i].path);
        size_t n_path = strlen(path);
        if (n_path >= n && strcmp(path + n_path - n, want) == 0) {
            return &h->files[i];
        }
    }
    return NULL;
}

static void send_partly(hub_server *h, int fd, const char *bytes, size_t n, hub_fault fault) {
    char byte = 0;
    bool is_halved = fault == HUB_DROP || fault == HUB_DROP_SILENT || fault == HUB_STALL || fault == HUB_HOLD;
    size_t n_first = is_halved ? n / 2 : n;
    if (!send_all(fd, bytes, n_first)) {
        return;
    }
    if (fault == HUB_STALL) {
        while (recv(fd, &byte, 1, 0) > 0) {
        }
    } else if (fault == HUB_HOLD) {
        pthread_mutex_lock(&h->mutex);
        while (!h->is_released) {
            pthread_cond_wait(&h->released, &h->mutex);
        }
        pthread_mutex_unlock(&h->mutex);
        send_all(fd, bytes + n_first, n - n_first);
    }
}

static void send_body(hub_server *h, int fd, const hub_file *file, const hub_request *r, hub_fault fault) {
    char head[512];
    char *bytes = malloc(file->n + 10);
    size_t start = fault == HUB_IGNORE_RANGE ? 0 : strtoull(r->range, NULL, 10);
    bool is_part = r->range[0] != '\0' && fault != HUB_IGNORE_RANGE;
    bool is_head = strcmp(r->method, "HEAD") == 0;
    must(bytes != NULL, "memory of the test server");
    memset(bytes, 'x', file->n + 10);
    memcpy(bytes, file->bytes, file->n);
    bytes[file->n / 2] = (char)(bytes[file->n / 2] ^ (fault == HUB_FLIP));
    if (is_part && start >= file->n) {
        send_text(fd, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        free(bytes);
        return;
    }
    start += fault == HUB_OTHER_RANGE ? 1 : 0;
    size_t n = file->n - start + (fault == HUB_LONGER ? 10 : 0);
    int len = snprintf(head, sizeof head, "HTTP/1.1 %s\r\n%s", is_part ? "206 Partial Content" : "200 OK",
                       fault == HUB_HEADER ? h->header : "");
    if (fault != HUB_DROP_SILENT) {
        len += snprintf(head + len, sizeof head - (size_t)len, "Content-Length: %zu\r\n", n);
    }
    if (is_part) {
        len += snprintf(head + len, sizeof head - (size_t)len, "Content-Range: bytes %zu-%zu/%zu\r\n", start,
                        file->n - 1, file->n);
    }
    snprintf(head + len, sizeof head - (size_t)len,
             "ETag: \"%s\"\r\nX-Repo-Commit: " HUB_COMMIT "\r\nConnection: close\r\n\r\n", hub_etag(file));
    send_text(fd, head);
    if (!is_head) {
        send_partly(h, fd, bytes + start, n, fault);
    }
    free(bytes);
}

static void answer(hub_server *h, int fd, const hub_request *r) {
    char text[1024];
    hub_fault fault = take_fault(h, r);
    const hub_file *file = find_file(h, r->path);
    if (fault == HUB_STATUS) {
        snprintf(text, sizeof text, "HTTP/1.1 %d Fault\r\n%sContent-Length: 5\r\nConnection: close\r\n\r\n%s",
                 h->status, h->header != NULL ? h->header : "",
                 strcmp(r->method, "HEAD") == 0 ? "" : "oops\n");
        send_text(fd, text);
    } else if (fault == HUB_LOOP) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n"
                 "Connection: close\r\n\r\n",
                 r->path);
        send_text(fd, text);
    } else if (strncmp(r->path, "/api/models/", 12) == 0) {
        send_list(h, fd);
    } else if (file == NULL) {
        send_text(fd, "HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n"
                      "Connection: close\r\n\r\n");
    } else if (file->is_large && !r->is_cdn) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 302 Found\r\n%sX-Linked-Etag: \"%s\"\r\nX-Linked-Size: "
                 "%zu\r\nX-Repo-Commit: " HUB_COMMIT
                 "\r\nETag: \"not-this\"\r\nLocation: http://127.0.0.1:%u/%s\r\n"
                 "Content-Length: 0\r\nConnection: close\r\n\r\n",
                 fault == HUB_HEADER ? h->header : "", hub_etag(file), file->n, h->listeners[1].port,
                 file->path);
        send_text(fd, text);
    } else {
        send_body(h, fd, file, r, fault);
    }
}

typedef struct connection {
    struct hub_listener *listener;
    int fd;
} connection;

static void *serve_connection(void *ud) {
    connection *c = ud;
    hub_request r = {.is_cdn = c->listener->is_cdn};
    if (read_request(c->fd, &r)) {
        answer(c->listener->hub, c->fd, &r);
    }
    close(c->fd);
    free(c);
    return NULL;
}

static void *serve(void *ud) {
    struct hub_listener *l = ud;
    for (int fd = -1; (fd = accept(l->fd, NULL, NULL)) >= 0;) {
        connection *c = malloc(sizeof *c);
        must(c != NULL, "memory of the test server");
        *c = (connection){l, fd};
        pthread_mutex_lock(&l->hub->mutex);
        must(l->hub->n_connections < HUB_MAX_LOG, "connections of the test server");
        pthread_create(&l->hub->connections[l->hub->n_connections++], NULL, serve_connection, c);
        pthread_mutex_unlock(&l->hub->mutex);
    }
    return NULL;
}

void hub_start(hub_server *h) {
    *h = (hub_server){0};
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->released, NULL);
    for (int i = 0; i < 2; i++) {
        struct hub_listener *l = &h->listeners[i];
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof address;
        l->hub = h;
        l->is_cdn = i == 1;
        l->fd = socket(AF_INET, SOCK_STREAM, 0);
        must(l->fd >= 0 && bind(l->fd, (struct sockaddr *)&address, n) == 0 && listen(l->fd, 64) == 0,
             "listen");
        getsockname(l->fd, (struct sockaddr *)&address, &n);
        l->port = ntohs(address.sin_port);
        pthread_create(&l->thread, NULL, serve, l);
    }
    snprintf(h->url, sizeof h->url, "http://127.0.0.1:%u", h->listeners[0].port);
}

void hub_stop(hub_server *h) {
    hub_release(h);
    for (int i = 0; i < 2; i++) {
        shutdown(h->listeners[i].fd, SHUT_RDWR); /* ends accept */
        pthread_join(h->listeners[i].thread, NULL);
        close(h->listeners[i].fd);
    }
    for (size_t i = 0; i < h->n_connections; i++) {
        pthread_join(h->connections[i], NULL);
    }
    pthread_mutex_destroy(&h->mutex);
    pthread_cond_destroy(&h->released);
}

void hub_add(hub_server *h, const char *path, const char *bytes, size_t n, bool is_large) {
    must(h->n_files < HUB_MAX_FILES, "files of the test server");
    h->files[h->n_files++] = (hub_file){path, bytes, n, is_large};
}

void hub_set_fault(hub_server *h, hub_fault fault, const char *method, const char *part, bool is_cdn, int n) {
    h->fault = fault;
    h->fault_method = method;
    h->fault_part = part;
    h->is_fault_cdn = is_cdn;
    h->n_faults = n;
}

void hub_release(hub_server *h) {
    pthread_mutex_lock(&h->mutex);
    h->is_released = true;
    pthread_cond_broadcast(&h->released);
    pthread_mutex_unlock(&h->mutex);
}

size_t hub_count(hub_server *h, const char *method, const char *part, int is_cdn) {
    size_t n = 0;
    pthread_mutex_lock(&h->mutex);
    for (size_t i = 0; i < h->n_log; i++) {
        n += (method[0] == '\0' || strcmp(h->log[i].method, method) == 0) &&
             strstr(h->log[i].path, part) != NULL && (is_cdn < 0 || h->log[i].is_cdn == (is_cdn == 1));
    }
    pthread_mutex_unlock(&h->mutex);
    return n;
}
