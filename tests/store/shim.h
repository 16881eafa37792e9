/* A file system that fails on demand, between SQLite and the real one.
 *
 * Operations that change or synchronise files are counted. Operation number `fail_at` fails: once, or with
 * all that follow, as if the power went. Meanwhile the shim remembers what a disk is sure to hold: a write
 * counts from the next synchronisation of its file on. shim_cut_power brings the files to what a disk may
 * hold: what is sure, and of the rest nothing, everything, or a part of it, also parts of single writes.
 */
#ifndef KVL_TESTS_STORE_SHIM_H
#define KVL_TESTS_STORE_SHIM_H

#include "made_up.h"

#include <sqlite3.h>
#include <unistd.h>

typedef enum shim_loss { LOSE_ALL, LOSE_NONE, LOSE_SOME, N_LOSSES } shim_loss;

enum { shim_sector = 512, shim_most_files = 8, shim_most_ops = 4096 };

/* A change that is not sure yet: bytes at an offset, a new length, or that the name is gone. */
typedef struct shim_op {
    char *bytes; /* NULL: truncation to `offset` */
    size_t offset, n;
    bool is_deletion;
} shim_op;

typedef struct shim_disk {
    char path[512];
    char *bytes; /* [n] sure */
    size_t n;
    bool exists;                /* surely */
    shim_op ops[shim_most_ops]; /* [n_ops] */
    size_t n_ops;
} shim_disk;

static struct {
    sqlite3_vfs vfs, *real;
    long n_ops, fail_at; /* -1: never */
    bool goes_on;        /* all that follow fail too */
    bool has_failed;
    int code; /* of the failure; 0: by what was asked for */
    shim_disk disks[shim_most_files];
    size_t n_disks;
} shim = {.fail_at = -1};

typedef struct shim_file {
    sqlite3_file base;
    shim_disk *disk; /* NULL: a temporary file */
    bool syncs_folder;
    sqlite3_file *real;
} shim_file;

static inline bool shim_must_fail(void) {
    const long i = shim.n_ops++;
    const bool fails = shim.fail_at >= 0 && (i == shim.fail_at || (shim.goes_on && i > shim.fail_at));
    shim.has_failed |= fails;
    return fails;
}

static inline int shim_failure(int code) { return shim.code != 0 ? shim.code : code; }

static inline shim_disk *shim_find(const char *path) {
    for (size_t i = 0; i < shim.n_disks; i++) {
        if (strcmp(shim.disks[i].path, path) == 0) {
            return &shim.disks[i];
        }
    }
    assert_true(shim.n_disks < shim_most_files);
    shim_disk *d = &shim.disks[shim.n_disks++];
    memset(d, 0, sizeof *d);
    snprintf(d->path, sizeof d->path, "%s", path);
    if (kvl_file_exists(path)) {
        assert_ok(kvl_file_load(&d->bytes, &d->n, path, 1 << 28, NULL));
        d->exists = true;
    }
    return d;
}

static inline void shim_note(shim_disk *d, const void *bytes, size_t n, size_t offset) {
    if (d == NULL) {
        return;
    }
    assert_true(d->n_ops < shim_most_ops);
    shim_op *op = &d->ops[d->n_ops++];
    *op = (shim_op){.offset = offset, .n = n};
    if (bytes != NULL) {
        op->bytes = kvl_strndup(bytes, n);
        assert_non_null(op->bytes);
    }
}

static inline void shim_resize(shim_disk *d, size_t n) {
    char *bytes = kvl_calloc(n, 1);
    assert_non_null(bytes);
    memcpy(bytes, d->bytes != NULL ? d->bytes : "", kvl_min_size(n, d->n));
    kvl_free(d->bytes);
    d->bytes = bytes;
    d->n = n;
}

/* Brings the first n bytes of a change to the disk. */
static inline void shim_apply(shim_disk *d, const shim_op *op, size_t n) {
    if (op->bytes == NULL) {
        shim_resize(d, op->offset);
        return;
    }
    if (op->offset + n > d->n) {
        shim_resize(d, op->offset + n);
    }
    memcpy(d->bytes + op->offset, op->bytes, n);
}

/* Drops the first n changes. */
static inline void shim_forget(shim_disk *d, size_t n) {
    for (size_t i = 0; i < n; i++) {
        kvl_free(d->ops[i].bytes);
    }
    memmove(d->ops, d->ops + n, (d->n_ops - n) * sizeof *d->ops);
    d->n_ops -= n;
}

/* The folder is synchronised: what was deleted stays so. */
static inline void shim_make_deletions_sure(void) {
    for (size_t i = 0; i < shim.n_disks; i++) {
        shim_disk *d = &shim.disks[i];
        for (size_t k = d->n_ops; k-- > 0;) {
            if (d->ops[k].is_deletion) {
                shim_forget(d, k + 1);
                shim_resize(d, 0);
                d->exists = false;
                break;
            }
        }
    }
}

static inline void shim_make_sure(shim_disk *d) {
    for (size_t i = 0; i < d->n_ops; i++) {
        shim_apply(d, &d->ops[i], d->ops[i].n);
    }
    shim_forget(d, d->n_ops);
    d->exists = true;
}

/* ---- what SQLite calls ---- */

static int shim_close(sqlite3_file *f) {
    shim_file *s = (shim_file *)f;
    const int rc = s->real->pMethods != NULL ? s->real->pMethods->xClose(s->real) : SQLITE_OK;
    sqlite3_free(s->real);
    return rc;
}
static int shim_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xRead(real, to, n, at);
}
static int shim_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
    shim_file *s = (shim_file *)f;
    if (shim_must_fail()) {
        return shim_failure(SQLITE_IOERR_WRITE);
    }
    shim_note(s->disk, from, (size_t)n, (size_t)at);
    return s->real->pMethods->xWrite(s->real, from, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n) {
    shim_file *s = (shim_file *)f;
    if (shim_must_fail()) {
        return SQLITE_IOERR_TRUNCATE;
    }
    shim_note(s->disk, NULL, 0, (size_t)n);
    return s->real->pMethods->xTruncate(s->real, n);
}
static int shim_sync(sqlite3_file *f, int flags) {
    shim_file *s = (shim_file *)f;
    (void)flags;
    if (shim_must_fail()) {
        return SQLITE_IOERR_FSYNC;
    }
    if (s->disk != NULL) {
        shim_make_sure(s->disk);
    }
    if (s->syncs_folder) { /* as SQLite does at the first synchronisation of a log */
        shim_make_deletions_sure();
        s->syncs_folder = false;
    }
    return SQLITE_OK; /* the real disk need not hurry */
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xFileSize(real, n);
}
static int shim_lock(sqlite3_file *f, int level) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xLock(real, level);
}
static int shim_unlock(sqlite3_file *f, int level) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xUnlock(real, level);
}
static int shim_reserved(sqlite3_file *f, int *out) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xCheckReservedLock(real, out);
}
static int shim_control(sqlite3_file *f, int op, void *arg) {
    sqlite3_file *real = ((shim_file *)f)->real;
    /* hints that would change the file behind the shim's back */
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE || op == SQLITE_FCNTL_MMAP_SIZE) {
        return SQLITE_NOTFOUND;
    }
    return real->pMethods->xFileControl(real, op, arg);
}
static int shim_sector_size(sqlite3_file *f) {
    (void)f;
    return shim_sector;
}
static int shim_traits(sqlite3_file *f) {
    (void)f;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}
static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xShmMap(real, page, size, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xShmLock(real, at, n, flags);
}
static void shim_shm_barrier(sqlite3_file *f) {
    sqlite3_file *real = ((shim_file *)f)->real;
    real->pMethods->xShmBarrier(real);
}
static int shim_shm_unmap(sqlite3_file *f, int is_deleted) {
    sqlite3_file *real = ((shim_file *)f)->real;
    return real->pMethods->xShmUnmap(real, is_deleted);
}

static int shim_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags) {
    static const sqlite3_io_methods methods = {
        2,           shim_close,   shim_read,     shim_write,       shim_truncate,  shim_sync,
        shim_size,   shim_lock,    shim_unlock,   shim_reserved,    shim_control,   shim_sector_size,
        shim_traits, shim_shm_map, shim_shm_lock, shim_shm_barrier, shim_shm_unmap, NULL,
        NULL};
    shim_file *s = (shim_file *)f;
    (void)vfs;
    s->base.pMethods = NULL;
    s->disk = name != NULL ? shim_find(name) : NULL;
    s->real = sqlite3_malloc(shim.real->szOsFile);
    if (s->real == NULL) {
        return SQLITE_NOMEM;
    }
    memset(s->real, 0, (size_t)shim.real->szOsFile);
    const int rc = shim.real->xOpen(shim.real, name, s->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        sqlite3_free(s->real);
        return rc;
    }
    s->syncs_folder = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    s->base.pMethods = &methods;
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder) {
    (void)vfs;
    if (shim_must_fail()) {
        return SQLITE_IOERR_DELETE;
    }
    const int rc = shim.real->xDelete(shim.real, name, 0);
    if (rc == SQLITE_OK) {
        shim_disk *d = shim_find(name);
        shim_note(d, NULL, 0, 0);
        d->ops[d->n_ops - 1].is_deletion = true;
        if (sync_folder != 0) {
            shim_make_deletions_sure();
        }
    }
    return rc;
}

/* ---- what tests call ---- */

static inline void shim_start(void) {
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "shim";
    shim.vfs.szOsFile = sizeof(shim_file);
    shim.vfs.xOpen = shim_open;
    shim.vfs.xDelete = shim_delete;
    assert_int_equal(sqlite3_vfs_register(&shim.vfs, 1), SQLITE_OK);
}

static inline void shim_stop(void) {
    assert_int_equal(sqlite3_vfs_register(shim.real, 1), SQLITE_OK);
    assert_int_equal(sqlite3_vfs_unregister(&shim.vfs), SQLITE_OK);
}

/* From here on operation number fail_at fails (-1: none), and nothing is known of any disk. */
static inline void shim_arm(long fail_at, bool goes_on, int code) {
    for (size_t i = 0; i < shim.n_disks; i++) {
        shim_forget(&shim.disks[i], shim.disks[i].n_ops);
        kvl_free(shim.disks[i].bytes);
    }
    shim.n_disks = 0;
    shim.n_ops = 0;
    shim.fail_at = fail_at;
    shim.goes_on = goes_on;
    shim.has_failed = false;
    shim.code = code;
}

/* Leaves what a disk may hold; every connection is closed. `draw` chooses among the uncertain. */
static inline void shim_cut_power(shim_loss loss, uint64_t draw) {
    uint64_t index = 0;
    for (size_t i = 0; i < shim.n_disks; i++) {
        shim_disk *d = &shim.disks[i];
        bool exists = d->exists;
        for (size_t k = 0; k < d->n_ops; k++) {
            const shim_op *op = &d->ops[k];
            const uint64_t luck = kvl_rng_draw(2, draw, index++);
            const size_t n_sectors = op->n / shim_sector;
            if (loss == LOSE_NONE || (loss == LOSE_SOME && luck % 2 != 0)) {
                const bool is_torn = loss == LOSE_SOME && luck / 2 % 4 == 0 && n_sectors > 1;
                shim_apply(d, op, is_torn ? luck / 8 % n_sectors * shim_sector : op->n);
                exists = !op->is_deletion;
            }
        }
        unlink(d->path);
        if (exists) {
            FILE *f = fopen(d->path, "wb");
            assert_non_null(f);
            assert_int_equal(fwrite(d->bytes != NULL ? d->bytes : "", 1, d->n, f), d->n);
            assert_int_equal(fclose(f), 0);
        }
    }
    shim_arm(-1, false, 0);
}

#endif
