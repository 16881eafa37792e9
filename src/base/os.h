/* The system calls of the library: files, clock, processor count, memory counters. */
#ifndef KVL_BASE_OS_H
#define KVL_BASE_OS_H

#include "base/status.h"

typedef struct kvl_file {
    int fd;
    uint64_t n_bytes; /* by fstat at opening */
    char *path;       /* as given; for messages */
} kvl_file;

/* Opens a regular file for reading; directories, pipes and devices are refused at once (E_IO). */
kvl_status kvl_file_open(kvl_file *out, const char *path, kvl_err *err) KVL_MUST_USE;
/* Reads exactly n bytes at offset (short reads and EINTR are handled); E_IO when the file is shorter. */
kvl_status kvl_file_read(const kvl_file *f, uint64_t offset, void *dst, uint64_t n_bytes,
                         kvl_err *err) KVL_MUST_USE;
void kvl_file_close(kvl_file *f);
/* Whole file, NUL-terminated, owned by the caller (kvl_free); E_LIMIT above max_bytes. */
kvl_status kvl_file_load(char **out, size_t *n_bytes, const char *path, uint64_t max_bytes,
                         kvl_err *err) KVL_MUST_USE;
/* Writes through a temporary file and rename: the path holds all bytes or is left as it was. */
kvl_status kvl_file_save(const char *path, const void *bytes, size_t n_bytes, kvl_err *err) KVL_MUST_USE;
/* The same piece by piece. Ends with commit, also when that fails, or with discard, which leaves the path as
 * it was and may be called again. E_IO, E_NOMEM. */
typedef struct kvl_sink {
    int fd;
    char *path, *temp;
} kvl_sink;
kvl_status kvl_sink_open(kvl_sink *out, const char *path, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_sink_write(kvl_sink *s, const void *bytes, size_t n, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_sink_commit(kvl_sink *s, kvl_err *err) KVL_MUST_USE;
void kvl_sink_discard(kvl_sink *s);
bool kvl_file_exists(const char *path);
/* Creates a directory and its parents when absent. */
kvl_status kvl_dir_create(const char *path, kvl_err *err) KVL_MUST_USE;

uint64_t kvl_clock_ns(void); /* monotonic */
/* The calendar's time as a label, UTC: "2026-01-31T23:59:59Z" in out [21]. */
void kvl_utc_text(char out[21]);
void kvl_sleep_ms(unsigned ms); /* or shorter, when a signal comes */
unsigned kvl_cpu_count(void);   /* processors this process may run on (affinity mask); >= 1 */

/* Peak resident memory of the process since its start or the last reset. */
uint64_t kvl_peak_rss_bytes(void);
/* Starts a new peak where the system can (Linux: /proc/self/clear_refs); otherwise the old one stays. */
void kvl_peak_rss_reset(void);

#endif
