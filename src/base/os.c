/* POSIX and Linux calls in one place. */
#define _GNU_SOURCE
#include "base/os.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

kvl_status kvl_file_open(kvl_file *out, const char *path, kvl_err *err) {
    *out = (kvl_file){.fd = -1};
    /* O_NONBLOCK: opening a pipe must not wait for its writer before fstat can refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return kvl_fail(err, KVL_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return kvl_fail(err, KVL_E_IO, "%s: expected a regular file, found something else", path);
    }
    out->path = kvl_strdup(path);
    if (out->path == NULL) {
        close(fd);
        return kvl_fail_nomem(err, path);
    }
    out->fd = fd;
    out->n_bytes = (uint64_t)st.st_size;
    return KVL_OK;
}

kvl_status kvl_file_read(const kvl_file *f, uint64_t offset, void *dst, uint64_t n_bytes, kvl_err *err) {
    uint8_t *to = dst;
    uint64_t done = 0;
    while (done < n_bytes) {
        uint64_t part = n_bytes - done < (1u << 30) ? n_bytes - done : (1u << 30);
        ssize_t got = pread(f->fd, to + done, (size_t)part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return kvl_fail(err, KVL_E_IO, "%s: reading at byte %llu failed: %s", f->path,
                            (unsigned long long)(offset + done), strerror(errno));
        }
        if (got == 0) {
            return kvl_fail(err, KVL_E_IO, "%s: expected %llu bytes at byte %llu, found %llu", f->path,
                            (unsigned long long)n_bytes, (unsigned long long)offset,
                            (unsigned long long)done);
        }
        done += (uint64_t)got;
    }
    return KVL_OK;
}

void kvl_file_close(kvl_file *f) {
    if (f->path != NULL) {
        close(f->fd);
        kvl_free(f->path);
    }
    *f = (kvl_file){.fd = -1};
}

kvl_status kvl_file_load(char **out, size_t *n_bytes, const char *path, uint64_t max_bytes, kvl_err *err) {
    kvl_file f;
    *out = NULL;
    KVL_TRY(kvl_file_open(&f, path, err));
    kvl_status status = KVL_OK;
    char *bytes = NULL;
    if (f.n_bytes > max_bytes) {
        status = kvl_fail(err, KVL_E_LIMIT, "%s: expected at most %llu bytes, found %llu", path,
                          (unsigned long long)max_bytes, (unsigned long long)f.n_bytes);
        goto done;
    }
    bytes = kvl_calloc((size_t)f.n_bytes + 1, 1);
    if (bytes == NULL) {
        status = kvl_fail_nomem(err, path);
        goto done;
    }
    KVL_GO(kvl_file_read(&f, 0, bytes, f.n_bytes, err));
    *out = bytes;
    *n_bytes = (size_t)f.n_bytes;
    bytes = NULL;
done:
    kvl_free(bytes);
    kvl_file_close(&f);
    return status;
}

static bool write_all(int fd, const uint8_t *bytes, size_t n) {
    while (n != 0) {
        ssize_t put = write(fd, bytes, n);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return false;
        }
        bytes += put;
        n -= (size_t)put;
    }
    return true;
}

kvl_status kvl_sink_open(kvl_sink *out, const char *path, kvl_err *err) {
    const size_t n = strlen(path);
    const size_t room = n + 32;
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) { /* renaming would take its place */
        *out = (kvl_sink){.fd = -1};
        return kvl_fail(err, KVL_E_IO, "%s: cannot be written: expected a file, found %s", path,
                        S_ISDIR(there.st_mode) ? "a folder" : "a device or pipe");
    }
    *out = (kvl_sink){.fd = -1, .path = kvl_strndup(path, n), .temp = kvl_calloc(room, 1)};
    if (out->path == NULL || out->temp == NULL) {
        kvl_sink_discard(out);
        return kvl_fail_nomem(err, path);
    }
    (void)snprintf(out->temp, room, "%s.%ld.part", path, (long)getpid());
    out->fd = open(out->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) {
        const int saved = errno;
        kvl_sink_discard(out);
        return kvl_fail(err, KVL_E_IO, "%s: cannot be written: %s", path, strerror(saved));
    }
    return KVL_OK;
}

kvl_status kvl_sink_write(kvl_sink *s, const void *bytes, size_t n, kvl_err *err) {
    return write_all(s->fd, bytes, n)
               ? KVL_OK
               : kvl_fail(err, KVL_E_IO, "%s: writing failed: %s", s->path, strerror(errno));
}

kvl_status kvl_sink_commit(kvl_sink *s, kvl_err *err) {
    const bool is_written = fsync(s->fd) == 0;
    int saved = errno;
    const bool is_closed = close(s->fd) == 0;
    s->fd = -1;
    if (is_written && is_closed && rename(s->temp, s->path) == 0) {
        kvl_free(s->temp);
        s->temp = NULL;
        kvl_sink_discard(s);
        return KVL_OK;
    }
    saved = is_written ? errno : saved;
    const kvl_status status = kvl_fail(err, KVL_E_IO, "%s: writing failed: %s", s->path, strerror(saved));
    kvl_sink_discard(s);
    return status;
}

void kvl_sink_discard(kvl_sink *s) {
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->temp != NULL) {
        unlink(s->temp);
    }
    kvl_free(s->path);
    kvl_free(s->temp);
    *s = (kvl_sink){.fd = -1};
}

kvl_status kvl_file_save(const char *path, const void *bytes, size_t n_bytes, kvl_err *err) {
    kvl_sink sink;
    KVL_TRY(kvl_sink_open(&sink, path, err));
    const kvl_status status = kvl_sink_write(&sink, bytes, n_bytes, err);
    if (status != KVL_OK) {
        kvl_sink_discard(&sink);
        return status;
    }
    return kvl_sink_commit(&sink, err);
}

bool kvl_file_exists(const char *path) { return access(path, F_OK) == 0; }

kvl_status kvl_dir_create(const char *path, kvl_err *err) {
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return kvl_fail(err, KVL_E_IO, "%s: expected a path of 1 to 4095 bytes", path);
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        struct stat st;
        if (mkdir(part, 0777) != 0 && (errno != EEXIST || stat(part, &st) != 0 || !S_ISDIR(st.st_mode))) {
            return kvl_fail(err, KVL_E_IO, "%s: cannot be created as a folder: %s", part, strerror(errno));
        }
    }
    return KVL_OK;
}

uint64_t kvl_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void kvl_utc_text(char out[21]) {
    struct tm utc = {.tm_mday = 1, .tm_year = 70};
    time_t now = time(NULL);
    gmtime_r(&now, &utc);
    strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void kvl_sleep_ms(unsigned ms) {
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

unsigned kvl_cpu_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

uint64_t kvl_peak_rss_bytes(void) {
    /* VmHWM can be reset, ru_maxrss cannot */
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        unsigned long long value = 0;
        if (sscanf(line, "VmHWM: %llu kB", &value) == 1) {
            kib = value;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    struct rusage usage;
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
        kib = (uint64_t)usage.ru_maxrss;
    }
    return kib * 1024u;
}

void kvl_peak_rss_reset(void) {
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "5", 1);
        close(fd);
    }
}
