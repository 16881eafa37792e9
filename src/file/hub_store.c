/* One file into the cache: lock -> blobs/ETAG.incomplete -> size and hash -> blobs/ETAG -> link.
 *
 * The blob's name is the hash of its content, so that nothing wrong can ever stand under a right name. The
 * hash is taken from the finished file and not from the stream: a transfer may be resumed by another process.
 * System calls about locks and links are here because their meaning is the hub layout's. */
#include "file/hub_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

typedef unsigned long long ull; /* for %llu */

enum { LOCK_POLL_MS = 100, HASH_BYTES = 1 << 20, EVENT_BYTES = 64 << 20, SHA1_DIGITS = 40 };

static kvl_status fail_os(kvl_err *err, const kvl_str *path, const char *what) {
    return kvl_fail(err, KVL_E_IO, "%s: cannot be %s: %s", kvl_str_text(path), what, strerror(errno));
}

/* True when fd still is what stands at the path: the other program may remove a lock file it releases. */
static bool is_same_file(int fd, const char *path) {
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Waits for the lock of a blob; *fd is to be closed, which releases it. */
static kvl_status lock_blob(int *fd, const kvli_http *h, const kvli_hub_place *place,
                            const kvli_hub_file *file, kvl_err *err) {
    kvl_str path = {0}, note = {0};
    bool is_told = false;
    kvl_status status = KVL_OK;
    KVL_GO(kvl_dir_create(kvl_str_text(&place->lock_dir), err));
    kvl_str_printf(&path, "%s/%s.lock", kvl_str_text(&place->lock_dir), file->etag);
    KVL_GO(kvl_str_check(&path, "path of a lock", err));
    for (;;) {
        *fd = open(kvl_str_text(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
        if (*fd < 0) {
            KVL_GO(fail_os(err, &path, "opened"));
        }
        while (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR) {
                KVL_GO(fail_os(err, &path, "locked"));
            }
            kvl_str_clear(&note);
            kvl_str_printf(&note, "%s: waiting for another process that downloads it", file->path);
            if (!is_told) {
                KVL_GO(kvli_http_event(h, KVL_HUB_NOTE, kvl_str_text(&note), 0, 0, err));
                is_told = true;
            }
            KVL_GO(kvli_http_wait(h, LOCK_POLL_MS, file->path, err));
        }
        if (is_same_file(*fd, kvl_str_text(&path))) {
            break;
        }
        close(*fd);
        *fd = -1;
    }
done:
    if (status != KVL_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    kvl_str_free(&path);
    kvl_str_free(&note);
    return status;
}

static kvl_status hash_file(EVP_MD_CTX *ctx, int fd, const kvli_http *h, const kvli_hub_file *file,
                            kvl_err *err) {
    char *part = kvl_alloc(HASH_BYTES, 1);
    kvl_status status = part != NULL ? KVL_OK : kvl_fail_nomem(err, file->path);
    for (uint64_t at = 0; status == KVL_OK && at < file->n_bytes;) {
        ssize_t got = pread(fd, part, HASH_BYTES, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            status = kvl_fail(err, KVL_E_IO, "%s: cannot be read back: %s", file->path,
                              got < 0 ? strerror(errno) : "the file became shorter");
            break;
        }
        EVP_DigestUpdate(ctx, part, (size_t)got);
        bool is_due = (at + (uint64_t)got) / EVENT_BYTES != at / EVENT_BYTES;
        at += (uint64_t)got;
        if (is_due) {
            status = kvli_http_event(h, KVL_HUB_PROGRESS, file->path, file->n_bytes, file->n_bytes, err);
        }
    }
    kvl_free(part);
    return status;
}

/* Compares the content with the name: SHA-256 for 64 digits, git's blob SHA-1 for 40. E_NET: they differ. */
static kvl_status check_hash(int fd, const kvli_http *h, const kvli_hub_file *file, kvl_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;
    char digits[2 * EVP_MAX_MD_SIZE + 1] = "";
    bool is_git = strlen(file->etag) == SHA1_DIGITS;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    kvl_status status = KVL_OK;
    if (ctx == NULL || EVP_DigestInit_ex(ctx, is_git ? EVP_sha1() : EVP_sha256(), NULL) != 1) {
        KVL_GO(kvl_fail_nomem(err, "hash of a download"));
    }
    if (is_git) {
        char head[32];
        int n = snprintf(head, sizeof head, "blob %llu", (ull)file->n_bytes);
        EVP_DigestUpdate(ctx, head, (size_t)n + 1); /* with the NUL */
    }
    KVL_GO(hash_file(ctx, fd, h, file, err));
    if (EVP_DigestFinal_ex(ctx, digest, &n_digest) != 1) {
        KVL_GO(kvl_fail_nomem(err, "hash of a download"));
    }
    for (unsigned i = 0; i < n_digest; i++) {
        snprintf(digits + 2 * i, 3, "%02x", digest[i]);
    }
    if (strcmp(digits, file->etag) != 0) {
        status = kvl_fail(err, KVL_E_NET, "%s: expected %s %s, found %s; the download is thrown away",
                          file->path, is_git ? "git SHA-1" : "SHA-256", file->etag, digits);
    }
done:
    EVP_MD_CTX_free(ctx);
    return status;
}

/* Continues or starts DIR/blobs/ETAG.incomplete, checks it and gives it its name. */
static kvl_status download(kvli_http *h, const kvl_str *blob, const kvli_hub_file *file, const char *url,
                           kvl_err *err) {
    kvl_str path = {0};
    struct stat st;
    kvl_status status = KVL_OK;
    kvli_sink sink = {.fd = -1, .max_bytes = file->n_bytes};
    kvl_str_printf(&path, "%s.incomplete", kvl_str_text(blob));
    KVL_GO(kvl_str_check(&path, "path of a blob", err));
    sink.fd = open(kvl_str_text(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (sink.fd < 0 || fstat(sink.fd, &st) != 0) {
        KVL_GO(fail_os(err, &path, "opened"));
    }
    sink.n_bytes = (uint64_t)st.st_size <= file->n_bytes ? (uint64_t)st.st_size : 0;
    if (ftruncate(sink.fd, (off_t)sink.n_bytes) != 0 || lseek(sink.fd, 0, SEEK_END) < 0) {
        KVL_GO(fail_os(err, &path, "written"));
    }
    if (sink.n_bytes < file->n_bytes) {
        KVL_GO(kvli_http_get(h, &sink, url, file->path, err));
    }
    status = check_hash(sink.fd, h, file, err);
    if (status == KVL_E_NET) {
        unlink(kvl_str_text(&path)); /* nothing of it can be trusted */
    }
    if (status == KVL_OK && (fsync(sink.fd) != 0 || rename(kvl_str_text(&path), kvl_str_text(blob)) != 0)) {
        status = fail_os(err, &path, "renamed");
    }
done:
    if (sink.fd >= 0) {
        close(sink.fd);
    }
    kvl_str_free(&path);
    return status;
}

/* The snapshot's relative link to the blob; replaces a link to something else. */
static kvl_status link_blob(const kvli_hub_place *place, const kvli_hub_file *file, kvl_err *err) {
    kvl_str path = {0}, target = {0}, dir = {0};
    kvl_status status = KVL_OK;
    kvli_hub_snapshot_path(&path, kvl_str_text(&place->repo_dir), place->commit, file->path);
    kvl_str_puts(&target, "../../");
    for (const char *c = file->path; *c != '\0'; c++) {
        kvl_str_puts(&target, *c == '/' ? "../" : "");
    }
    kvl_str_printf(&target, "blobs/%s", file->etag);
    KVL_GO(kvl_str_check(&path, "path of a file", err));
    KVL_GO(kvl_str_check(&target, "path of a file", err));
    kvl_str_append(&dir, kvl_str_text(&path), (size_t)(strrchr(kvl_str_text(&path), '/') - path.data));
    KVL_GO(kvl_str_check(&dir, "path of a file", err));
    KVL_GO(kvl_dir_create(kvl_str_text(&dir), err));
    if ((unlink(kvl_str_text(&path)) != 0 && errno != ENOENT) ||
        (symlink(kvl_str_text(&target), kvl_str_text(&path)) != 0 && errno != EEXIST)) {
        status = fail_os(err, &path, "linked");
    }
done:
    kvl_str_free(&path);
    kvl_str_free(&target);
    kvl_str_free(&dir);
    return status;
}

kvl_status kvli_hub_store(kvli_http *h, const kvli_hub_place *place, const kvli_hub_file *file,
                          const char *url, kvl_err *err) {
    kvl_str blob = {0};
    struct stat st;
    int lock = -1;
    kvl_status status = KVL_OK;
    kvl_str_printf(&blob, "%s/blobs", kvl_str_text(&place->repo_dir));
    KVL_GO(kvl_str_check(&blob, "path of a blob", err));
    KVL_GO(kvl_dir_create(kvl_str_text(&blob), err));
    kvl_str_printf(&blob, "/%s", file->etag);
    KVL_GO(kvl_str_check(&blob, "path of a blob", err));
    KVL_GO(lock_blob(&lock, h, place, file, err));
    /* another process may have finished it; a blob of another size comes from a broken disk or program */
    if (stat(kvl_str_text(&blob), &st) != 0 || (uint64_t)st.st_size != file->n_bytes) {
        KVL_GO(download(h, &blob, file, url, err));
    }
    KVL_GO(link_blob(place, file, err));
done:
    if (lock >= 0) {
        close(lock);
    }
    kvl_str_free(&blob);
    return status;
}
