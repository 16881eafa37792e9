/* Requests to the hub, by libcurl.
 *
 * Redirects are followed here, hop by hop, so that three rules hold whatever the version of libcurl: the
 * token goes to the endpoint's own origin only (and never in clear text to another machine), an https
 * endpoint never leads to http, and a HEAD stops where the endpoint sends to another host (signed addresses
 * there are for GET).
 *
 * A transfer that broke is taken up at the byte where it stopped; 429 and 5xx are tried again after what the
 * server asks for, or after a wait that doubles. */
#include "file/hub_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef unsigned long long ull; /* for %llu */

enum {
    MAX_REDIRECTS = 8,
    MAX_TRIES = 5,               /* without progress between them */
    MAX_RETRY_AFTER_S = 120,     /* a longer wait is the user's decision */
    PROGRESS_BYTES = 1 << 20,    /* so much is progress: the count of tries starts anew */
    POLL_MS = 50,                /* between looks at the stop flag */
    EVENT_NS = 100 * 1000 * 1000 /* between progress events */
};

/* One answer, or what was read of it. */
typedef struct answer {
    char etag[72];
    char linked_etag[72];
    char linked_size[24];
    char commit[KVLI_HUB_COMMIT + 2];
    char error_code[40];
    char length[24];
    uint64_t range_start;
    bool has_range;
} answer;

typedef struct request {
    kvli_http *h;
    const char *what;
    kvli_sink *sink; /* NULL: HEAD */
    answer got;
    bool is_begun;      /* the body of this hop has begun */
    bool must_restart;  /* the server answered another range */
    bool is_too_long;   /* more bytes than expected */
    int os_error;       /* of writing */
    bool is_transient;  /* of the last failure */
    long retry_after_s; /* as the server asks; 0 for nothing */
    uint64_t n_best;    /* most bytes seen: progress is more than this */
    uint64_t last_event_ns;
    uint64_t last_byte_ns; /* of this hop; 0: not begun */
    curl_off_t n_last;     /* bytes of this hop at that time */
    bool is_stalled;
    kvl_status event_status; /* of the last event */
} request;

kvl_status kvli_http_event(const kvli_http *h, kvl_hub_event_kind kind, const char *text, uint64_t n_done,
                           uint64_t n_bytes, kvl_err *err) {
    kvl_hub_event event = {kind, text, n_done, n_bytes};
    if (h->options->event != NULL && !h->options->event(h->options->event_ud, &event)) {
        return kvl_fail(err, KVL_E_INTERRUPTED, "%.200s: download stopped; the next fetch continues it",
                        text);
    }
    return KVL_OK;
}

kvl_status kvli_http_wait(const kvli_http *h, uint64_t wait_ms, const char *what, kvl_err *err) {
    for (uint64_t left = wait_ms; left != 0;) {
        uint64_t part = left < POLL_MS ? left : POLL_MS;
        KVL_TRY(kvli_http_event(h, KVL_HUB_PROGRESS, what, 0, 0, err));
        kvl_sleep_ms((unsigned)part);
        left -= part;
    }
    return KVL_OK;
}

/* Value of a header line when it has this name, trimmed; too long values are left out as a whole. */
static void take(char *out, size_t cap, const char *line, size_t n, const char *name) {
    size_t n_name = strlen(name);
    if (n <= n_name || line[n_name] != ':' || strncasecmp(line, name, n_name) != 0) {
        return;
    }
    const char *value = line + n_name + 1;
    const char *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }
    out[0] = '\0';
    if ((size_t)(end - value) < cap) {
        memcpy(out, value, (size_t)(end - value));
        out[end - value] = '\0';
    }
}

/* Removes quotes and a weak mark: W/"x" -> x. */
static void strip_etag(char *etag) {
    char *from = strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
    size_t n = strlen(from);
    if (n >= 2 && from[0] == '"' && from[n - 1] == '"') {
        from++;
        n -= 2;
    }
    memmove(etag, from, n);
    etag[n] = '\0';
}

static bool read_count(uint64_t *out, const char *text) {
    uint64_t n = 0;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++) {
        if (!kvl_mul_u64(n, 10, &n) || !kvl_add_u64(n, (uint64_t)(*c - '0'), &n)) {
            return false;
        }
    }
    *out = n;
    return text[0] >= '0' && text[0] <= '9';
}

static size_t on_header(char *line, size_t size, size_t n, void *ud) {
    request *r = ud;
    answer *a = &r->got;
    char range[48] = "";
    n *= size;
    if (n >= 5 && strncmp(line, "HTTP/", 5) == 0) { /* the next answer; what the hub said of the file stays */
        a->etag[0] = a->length[0] = a->error_code[0] = '\0';
        a->has_range = false;
    }
    take(a->etag, sizeof a->etag, line, n, "etag");
    take(a->linked_etag, sizeof a->linked_etag, line, n, "x-linked-etag");
    take(a->linked_size, sizeof a->linked_size, line, n, "x-linked-size");
    take(a->commit, sizeof a->commit, line, n, "x-repo-commit");
    take(a->error_code, sizeof a->error_code, line, n, "x-error-code");
    take(a->length, sizeof a->length, line, n, "content-length");
    take(range, sizeof range, line, n, "content-range");
    if (strncasecmp(range, "bytes ", 6) == 0) {
        a->has_range = read_count(&a->range_start, range + 6);
    }
    return n;
}

static bool empty_sink(kvli_sink *sink) {
    sink->n_bytes = 0;
    if (sink->text != NULL) {
        kvl_str_clear(sink->text);
        return true;
    }
    return ftruncate(sink->fd, 0) == 0 && lseek(sink->fd, 0, SEEK_SET) == 0;
}

/* At the first bytes of a body: does it continue where the sink ends? */
static bool begin_body(request *r, long http) {
    kvli_sink *sink = r->sink;
    r->is_begun = true;
    if (http == 206 && (!r->got.has_range || r->got.range_start != sink->n_bytes)) {
        r->must_restart = true;
        return false;
    }
    if (http == 200 && sink->n_bytes != 0 && !empty_sink(sink)) {
        r->os_error = errno;
        return false;
    }
    return true;
}

static bool write_sink(request *r, const char *bytes, size_t n) {
    kvli_sink *sink = r->sink;
    if (n > sink->max_bytes - sink->n_bytes) {
        r->is_too_long = true;
        return false;
    }
    if (sink->text != NULL) {
        kvl_str_append(sink->text, bytes, n);
        sink->n_bytes += n;
        r->os_error = sink->text->failed ? ENOMEM : 0;
        return !sink->text->failed;
    }
    while (n != 0) {
        ssize_t put = write(sink->fd, bytes, n);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            r->os_error = errno;
            return false;
        }
        sink->n_bytes += (uint64_t)put;
        bytes += put;
        n -= (size_t)put;
    }
    return true;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ud) {
    request *r = ud;
    long http = 0;
    n *= size;
    curl_easy_getinfo(r->h->curl, CURLINFO_RESPONSE_CODE, &http);
    if (r->sink == NULL || (http != 200 && http != 206)) {
        return n; /* text of an error or of a redirect */
    }
    if (!r->is_begun && !begin_body(r, http)) {
        return n + 1; /* another number than n ends the transfer */
    }
    return write_sink(r, bytes, n) ? n : n + 1;
}

static uint64_t stall_ms(const request *r) {
    return r->h->options->stall_ms != 0 ? r->h->options->stall_ms : 30000;
}

/* Called at every piece of data, and about once a second without any: connecting included. libcurl's own
 * limit on slow transfers takes an average over seconds. */
static int on_progress(void *ud, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
                       curl_off_t ul_now) {
    request *r = ud;
    uint64_t now = kvl_clock_ns();
    (void)dl_total, (void)ul_total, (void)ul_now;
    if (r->last_byte_ns == 0 || dl_now != r->n_last) {
        r->last_byte_ns = now;
        r->n_last = dl_now;
    }
    r->is_stalled = now - r->last_byte_ns > stall_ms(r) * 1000000;
    if (now - r->last_event_ns >= EVENT_NS) {
        bool is_file = r->sink != NULL && r->sink->text == NULL;
        r->last_event_ns = now;
        r->event_status = kvli_http_event(r->h, KVL_HUB_PROGRESS, r->what, is_file ? r->sink->n_bytes : 0,
                                          is_file ? r->sink->max_bytes : 0, NULL);
    }
    return r->event_status != KVL_OK || r->is_stalled;
}

/* Scheme, host and port as "https://host:443" in *out; false when the text is no address. */
static bool put_origin(kvl_str *out, const char *text, bool *is_private) {
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool is_good = url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                   curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                   curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    if (is_good) {
        kvl_str_printf(out, "%s://%s:%s", scheme, host, port);
        *is_private = strcmp(scheme, "https") == 0 || strcasecmp(host, "localhost") == 0 ||
                      strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    return is_good;
}

/* Whether url is at the endpoint's origin, and whether a token may travel there. */
static kvl_status judge(const kvli_http *h, const char *url, bool *is_own, bool *may_have_token,
                        kvl_err *err) {
    kvl_str ours = {0}, theirs = {0};
    bool is_private = false;
    kvl_status status = KVL_OK;
    if (!put_origin(&ours, h->endpoint, &is_private) || !put_origin(&theirs, url, &is_private)) {
        KVL_GO(kvl_fail(err, KVL_E_NET, "%.100s: expected a web address, found '%.200s'", h->endpoint, url));
    }
    KVL_GO(kvl_str_check(&ours, "web address", err));
    KVL_GO(kvl_str_check(&theirs, "web address", err));
    *is_own = strcasecmp(kvl_str_text(&ours), kvl_str_text(&theirs)) == 0;
    *may_have_token = *is_own && is_private;
done:
    kvl_str_free(&ours);
    kvl_str_free(&theirs);
    return status;
}

kvl_status kvli_http_open(kvli_http *h, const char *endpoint, const char *token,
                          const kvl_hub_fetch_options *options, kvl_err *err) {
    *h = (kvli_http){.options = options, .endpoint = endpoint, .token = token};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return kvl_fail_nomem(err, "libcurl");
    }
    h->curl = curl_easy_init();
    if (h->curl == NULL) {
        curl_global_cleanup();
        return kvl_fail_nomem(err, "libcurl");
    }
    return KVL_OK;
}

void kvli_http_close(kvli_http *h) {
    if (h->curl != NULL) {
        curl_easy_cleanup(h->curl);
        curl_global_cleanup();
        h->curl = NULL;
    }
}

static void set_options(request *r, const char *url, struct curl_slist *headers, char *detail) {
    CURL *c = r->h->curl;
    bool is_https = strncmp(r->h->endpoint, "https:", 6) == 0;
    curl_easy_reset(c); /* keeps connections */
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, is_https ? "https" : "https,http");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "kvlab/" KVL_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_NOBODY, r->sink == NULL ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, r);
    if (r->sink != NULL && r->sink->n_bytes != 0 && r->sink->text == NULL) {
        char range[24];
        snprintf(range, sizeof range, "%llu-", (ull)r->sink->n_bytes);
        curl_easy_setopt(c, CURLOPT_RANGE, range); /* not RESUME_FROM: that makes a whole answer an error */
    }
}

/* Why the transfer itself failed. */
static kvl_status fail_transfer(request *r, CURLcode code, const char *detail, kvl_err *err) {
    if (code == CURLE_ABORTED_BY_CALLBACK && r->event_status == KVL_OK) {
        r->is_transient = true;
        return kvl_fail(err, KVL_E_NET, "%.200s: no byte came for %llu s", r->what, (ull)stall_ms(r) / 1000);
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return kvl_fail(err, KVL_E_INTERRUPTED, "%.200s: download stopped; the next fetch continues it",
                        r->what);
    }
    if (r->os_error == ENOMEM) {
        return kvl_fail_nomem(err, r->what);
    }
    if (r->os_error != 0) {
        return kvl_fail(err, KVL_E_IO, "%.200s: cannot be stored: %s", r->what, strerror(r->os_error));
    }
    if (r->is_too_long) {
        return kvl_fail(err, r->sink->text != NULL ? KVL_E_LIMIT : KVL_E_NET,
                        "%.200s: expected at most %llu bytes, found more", r->what, (ull)r->sink->max_bytes);
    }
    bool is_unreachable = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT;
    r->is_transient = r->must_restart || (is_unreachable && r->h->has_answered) ||
                      code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
                      code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_HTTP2 ||
                      code == CURLE_HTTP2_STREAM;
    if (r->must_restart) {
        if (!empty_sink(r->sink)) {
            return kvl_fail(err, KVL_E_IO, "%.200s: cannot be stored: %s", r->what, strerror(errno));
        }
        detail = "the server answers another range than asked for";
    }
    return kvl_fail(err, KVL_E_NET, "%.200s: download failed: %s", r->what,
                    detail[0] != '\0' ? detail : curl_easy_strerror(code));
}

/* One hop. */
static kvl_status perform(request *r, const char *url, long *http, kvl_err *err) {
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    bool is_own = false, may_have_token = false;
    KVL_TRY(judge(r->h, url, &is_own, &may_have_token, err));
    if (may_have_token && r->h->token[0] != '\0') {
        kvl_str line = {0};
        kvl_str_printf(&line, "Authorization: Bearer %s", r->h->token);
        headers = line.failed ? NULL : curl_slist_append(NULL, kvl_str_text(&line));
        kvl_str_free(&line);
        if (headers == NULL) {
            return kvl_fail_nomem(err, r->what);
        }
    }
    r->is_begun = r->must_restart = r->is_too_long = r->is_stalled = false;
    r->last_byte_ns = 0;
    r->os_error = 0;
    set_options(r, url, headers, detail);
    CURLcode code = curl_easy_perform(r->h->curl);
    curl_slist_free_all(headers);
    curl_easy_getinfo(r->h->curl, CURLINFO_RESPONSE_CODE, http);
    r->h->has_answered = r->h->has_answered || *http != 0;
    return code != CURLE_OK ? fail_transfer(r, code, detail, err) : KVL_OK;
}

/* Why an answer is no good, and whether it is worth another try. */
static kvl_status fail_http(request *r, long http, kvl_err *err) {
    const char *reason = NULL;
    curl_off_t after = 0;
    curl_easy_getinfo(r->h->curl, CURLINFO_RETRY_AFTER, &after);
    r->retry_after_s = (long)(after > 0 ? after : 0);
    r->is_transient = (http == 416 || http == 429 || http >= 500) && r->retry_after_s <= MAX_RETRY_AFTER_S;
    if (http == 416 && r->sink != NULL && !empty_sink(r->sink)) {
        return kvl_fail(err, KVL_E_IO, "%.200s: cannot be stored: %s", r->what, strerror(errno));
    }
    switch (http) {
    case 401:
        reason = r->h->token[0] != '\0' ? "the token (HF_TOKEN) is not accepted"
                                        : "no such repository, or a private or gated one: set HF_TOKEN";
        break;
    case 403: reason = "no access; a gated model needs HF_TOKEN and its conditions accepted there"; break;
    case 404: reason = "no such repository, revision or file"; break;
    case 429: reason = "too many requests"; break;
    default: reason = "expected HTTP 200"; break;
    }
    kvl_str wait = {0};
    if (r->retry_after_s != 0) {
        kvl_str_printf(&wait, "; it asks to wait %ld s", r->retry_after_s);
    }
    const char *code = r->got.error_code; /* "GatedRepo", "RevisionNotFound" ... */
    kvl_fail(err, KVL_E_NET, "%.200s: HTTP %ld%s%s from %.100s: %s%s", r->what, http,
             code[0] != '\0' ? " " : "", code, r->h->endpoint, reason, kvl_str_text(&wait));
    kvl_str_free(&wait);
    return KVL_E_NET;
}

/* All hops of one try. */
static kvl_status follow(request *r, const char *first_url, kvl_err *err) {
    kvl_str url = {0};
    long http = 0;
    kvl_status status = KVL_OK;
    r->got = (answer){0};
    kvl_str_puts(&url, first_url);
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
        char *next = NULL;
        bool is_own = false, may_have_token = false;
        KVL_GO(kvl_str_check(&url, r->what, err));
        KVL_GO(perform(r, kvl_str_text(&url), &http, err));
        curl_easy_getinfo(r->h->curl, CURLINFO_REDIRECT_URL, &next);
        if (next == NULL) {
            status = http == 200 || http == 206 ? KVL_OK : fail_http(r, http, err);
            goto done;
        }
        KVL_GO(judge(r->h, next, &is_own, &may_have_token, err));
        if (r->sink == NULL && !is_own) {
            goto done;
        }
        kvl_str_clear(&url);
        kvl_str_puts(&url, next);
    }
    status = kvl_fail(err, KVL_E_NET, "%.200s: expected at most %d redirects, found more", r->what,
                      (int)MAX_REDIRECTS);
done:
    kvl_str_free(&url);
    return status;
}

/* Waits before the next try and says why. */
static kvl_status pause_before(request *r, unsigned n_tries, const char *reason, kvl_err *err) {
    kvl_str note = {0};
    uint64_t first_ms = r->h->options->retry_ms != 0 ? r->h->options->retry_ms : 1000;
    uint64_t wait_ms = r->retry_after_s != 0 ? (uint64_t)r->retry_after_s * 1000 : first_ms << (n_tries - 1);
    kvl_str_printf(&note, "%.300s; next try in %llu.%llu s", reason, (ull)(wait_ms / 1000),
                   (ull)(wait_ms % 1000 / 100));
    kvl_status status = kvl_str_check(&note, r->what, err);
    if (status == KVL_OK) {
        status = kvli_http_event(r->h, KVL_HUB_NOTE, kvl_str_text(&note), 0, 0, err);
    }
    kvl_str_free(&note);
    return status != KVL_OK ? status : kvli_http_wait(r->h, wait_ms, r->what, err);
}

static kvl_status run(request *r, const char *url, kvl_err *err) {
    kvl_err reason = {0};
    for (unsigned n_tries = 1;; n_tries++) {
        r->is_transient = false;
        r->retry_after_s = 0;
        kvl_status status = follow(r, url, &reason);
        bool is_file = r->sink != NULL && r->sink->text == NULL;
        if (status == KVL_OK && is_file && r->sink->n_bytes < r->sink->max_bytes) {
            r->is_transient = true;
            status = kvl_fail(&reason, KVL_E_NET, "%.200s: expected %llu bytes, found %llu", r->what,
                              (ull)r->sink->max_bytes, (ull)r->sink->n_bytes);
        }
        if (status == KVL_OK) {
            return KVL_OK;
        }
        if (is_file && r->sink->n_bytes >= r->n_best + PROGRESS_BYTES) {
            n_tries = 1;
            r->n_best = r->sink->n_bytes;
        }
        if (!r->is_transient || n_tries == MAX_TRIES) {
            return kvl_fail(err, status, "%s", reason.msg);
        }
        KVL_TRY(pause_before(r, n_tries, reason.msg, err));
    }
}

kvl_status kvli_http_get(kvli_http *h, kvli_sink *sink, const char *url, const char *what, kvl_err *err) {
    request r = {.h = h, .what = what, .sink = sink, .n_best = sink->n_bytes};
    return run(&r, url, err);
}

kvl_status kvli_http_head(kvli_http *h, kvli_head *out, const char *url, const char *what, kvl_err *err) {
    request r = {.h = h, .what = what};
    *out = (kvli_head){0};
    KVL_TRY(run(&r, url, err));
    const answer *a = &r.got;
    memcpy(out->etag, a->linked_etag[0] != '\0' ? a->linked_etag : a->etag, sizeof out->etag);
    strip_etag(out->etag);
    memcpy(out->commit, a->commit, sizeof out->commit);
    out->commit[KVLI_HUB_COMMIT] = '\0';
    out->has_size = read_count(&out->n_bytes, a->linked_size[0] != '\0' ? a->linked_size : a->length);
    return KVL_OK;
}
